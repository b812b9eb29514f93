package churn

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

// driver changes Pods as the scheduler and kubelets do. Each step is due at a
// fixed time, whether or not other steps are late.
type driver struct {
	*harness.Cluster
	o *options
	// changed is called after each step with the Pod, or nil once it is gone.
	changed func(ctx context.Context, i int, pod *corev1.Pod) error

	mu   sync.Mutex
	late []time.Duration // delays of steps
}

// noWrite leaves the Testcrs to the program that is measured.
func noWrite(context.Context, int, *corev1.Pod) error { return nil }

// step waits until a step is due.
func (d *driver) step(ctx context.Context, due time.Time) error {
	if err := harness.Pause(ctx, time.Until(due)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.late = append(d.late, time.Since(due))
	return nil
}

// life creates the i-th Pod at start, runs it and ends it.
func (d *driver) life(ctx context.Context, i int, start time.Time) error {
	pod, err := d.begin(ctx, i, start)
	if err != nil {
		return err
	}
	return d.end(ctx, i, pod, start.Add(d.o.life))
}

// begin creates a Pod at start, binds it and sets it Running and ready.
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
	if err := d.changed(ctx, i, pod); err != nil {
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
	if err := d.changed(ctx, i, pod); err != nil {
		return nil, err
	}
	if err := d.step(ctx, start.Add(d.o.ready)); err != nil {
		return nil, err
	}
	harness.SetRunning(pod, i, metav1.NewTime(time.Now().Truncate(time.Second)))
	pod.ResourceVersion = "" // no precondition
	if pod, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	return pod, d.changed(ctx, i, pod)
}

// end deletes a Pod at start, and ends it after its grace period.
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
		if err := d.changed(ctx, i, pod); err != nil {
			return err
		}
		if err := d.step(ctx, start.Add(d.o.graceful)); err != nil {
			return err
		}
	}
	err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	if err != nil && !apierrors.IsNotFound(err) { // not found: client-go repeated the request
		return err
	}
	return d.changed(ctx, i, nil)
}

// churn starts lives at an even rate, numbered from first, and waits for their
// end.
func (d *driver) churn(ctx context.Context, first, number int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	every := time.Second / time.Duration(d.o.rate)
	start := time.Now()
	var lives sync.WaitGroup
	for n := range number {
		due := start.Add(time.Duration(n) * every)
		if harness.Pause(ctx, time.Until(due)) != nil {
			break // the cause is returned below
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

// rawWriter is the raw loop: it writes the Testcr of a Pod after each change. It
// measures the requests alone, without the encoding.
type rawWriter struct {
	raw *harness.Raw

	mu       sync.Mutex
	versions map[int]string
	took     []time.Duration
}

func (w *rawWriter) write(ctx context.Context, i int, pod *corev1.Pod) error {
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
