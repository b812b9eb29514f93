package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// driver leads Pods through their lives as the scheduler and kubelets do, each
// step at its moment whatever the others do.
type driver struct {
	*harness.Cluster
	o *options
	// wrote is called after each step with the Pod as it then is, nil at last.
	wrote func(ctx context.Context, i int, pod *corev1.Pod) error

	mu   sync.Mutex
	late []time.Duration // how long after its moment a step began
}

// wroteNothing is for a driver whose Pods another program writes the Testcrs of.
func wroteNothing(context.Context, int, *corev1.Pod) error { return nil }

// step waits for its moment.
func (d *driver) step(ctx context.Context, due time.Time) error {
	if err := harness.Pause(ctx, time.Until(due)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late = append(d.late, time.Since(due))
	return nil
}

// life leads the i-th Pod from its creation at start to its end.
func (d *driver) life(ctx context.Context, i int, start time.Time) error {
	pod, err := d.begin(ctx, i, start)
	if err != nil {
		return err
	}
	return d.end(ctx, i, pod, start.Add(d.o.life))
}

// begin creates a Pod at start, binds it and makes it Running and ready.
func (d *driver) begin(ctx context.Context, i int, start time.Time) (*corev1.Pod, error) {
	pod := harness.Pod(i)
	pods := d.Kube.CoreV1().Pods(pod.Namespace)
	if err := d.step(ctx, start); err != nil {
		return nil, err
	}
	pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	if err := d.wrote(ctx, i, pod); err != nil {
		return nil, err
	}
	if err := d.step(ctx, start.Add(d.o.scheduled)); err != nil {
		return nil, err
	}
	err = pods.Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace}, Target: corev1.ObjectReference{Kind: "Node", Name: harness.NodeName(i)},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	pod.Spec.NodeName = harness.NodeName(i)
	if err := d.wrote(ctx, i, pod); err != nil {
		return nil, err
	}
	if err := d.step(ctx, start.Add(d.o.ready)); err != nil {
		return nil, err
	}
	harness.SetRunning(pod, i, metav1.NewTime(time.Now().Truncate(time.Second)))
	pod.ResourceVersion = "" // whatever it is now
	if pod, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	return pod, d.wrote(ctx, i, pod)
}

// end deletes a Pod at start, and ends it once its grace is over; without grace
// it goes at once.
func (d *driver) end(ctx context.Context, i int, pod *corev1.Pod, start time.Time) error {
	pods := d.Kube.CoreV1().Pods(pod.Namespace)
	if err := d.step(ctx, start); err != nil {
		return err
	}
	if d.o.graceful > 0 {
		if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		pod.DeletionTimestamp = new(metav1.Now())
		if err := d.wrote(ctx, i, pod); err != nil {
			return err
		}
		if err := d.step(ctx, start.Add(d.o.graceful)); err != nil {
			return err
		}
	}
	err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	if err != nil && !apierrors.IsNotFound(err) { // a request that client-go makes twice, on a busy machine
		return err
	}
	return d.wrote(ctx, i, nil)
}

// churn begins lives at an even rate, numbered from first on, and returns once
// all have ended.
func (d *driver) churn(ctx context.Context, first, number int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	every := time.Second / time.Duration(d.o.rate)
	start := time.Now()
	var lives sync.WaitGroup
	for n := range number {
		due := start.Add(time.Duration(n) * every)
		if harness.Pause(ctx, time.Until(due)) != nil {
			break // the cause is told below
		}
		lives.Go(func() {
			if err := d.life(ctx, first+n, due); err != nil {
				cancel(fmt.Errorf("pod %d: %w", first+n, err))
			}
		})
	}
	lives.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return ctx.Err()
}

// rawWriter writes the Testcr of a Pod after each of its changes, encoded
// before, and takes the time of the request alone.
type rawWriter struct {
	raw *harness.Raw

	mu       sync.Mutex
	versions map[int]string
	took     []time.Duration
}

func (w *rawWriter) wrote(ctx context.Context, i int, pod *corev1.Pod) error {
	w.mu.Lock()
	version, exists := w.versions[i]
	w.mu.Unlock()
	var (
		body harness.Body
		err  error
	)
	if pod == nil {
		pod = harness.Pod(i)
		body, err = harness.BodyOf(pod)
		if err != nil {
			return err
		}
		start := time.Now()
		err = w.raw.Delete(ctx, body.Name)
		w.note(i, "", time.Since(start))
		return err
	}
	if body, err = harness.BodyOf(pod); err != nil {
		return err
	}
	start := time.Now()
	if exists {
		version, err = w.raw.Update(ctx, body, version)
	} else {
		version, err = w.raw.Create(ctx, body)
	}
	w.note(i, version, time.Since(start))
	return err
}

func (w *rawWriter) note(i int, version string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.took = append(w.took, took)
	if version == "" {
		delete(w.versions, i)
	} else {
		w.versions[i] = version
	}
}
