package churn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	sampleInterval = 200 * time.Millisecond
	kubelets       = 20 // that end Pods concurrently
	queueDepth     = `workqueue_depth{name="pods"}`
)

// sample takes samples until stop is called.
func (t *tracker) sample(ctx context.Context, p *harness.Process, start time.Time) (stop func() []sample) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []sample)
	go func() {
		var samples []sample
		for tick := time.NewTicker(sampleInterval); ; {
			now, oldest, _ := t.state() // bench.idle returns the error
			one := sample{At: time.Since(start).Seconds(), Pods: now.pods, Testcrs: now.testcrs, Waiting: now.waiting, Oldest: oldest.Seconds() * 1000}
			if url, err := p.URL(ctx); err == nil {
				if found, err := harness.Scrape(ctx, url, queueDepth); err == nil {
					one.Depth = found[queueDepth]
				}
			}
			samples = append(samples, one)
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				done <- samples
				return
			}
		}
	}()
	return func() []sample {
		cancel()
		return <-done
	}
}

// massDeletes deletes the Pods of a namespace as the namespace controller does:
// one request sets all to terminating, and kubelets then end each of them.
func (b *bench) massDeletes(ctx context.Context) error {
	for round := range b.o.bursts {
		if b.o.deletes == 0 {
			return nil
		}
		if err := b.massDelete(ctx, round+1); err != nil {
			return fmt.Errorf("mass delete: %w", err)
		}
	}
	return nil
}

func (b *bench) massDelete(ctx context.Context, round int) error {
	namespace := fmt.Sprintf("%s-gone-%d", harness.UserAgent, round)
	if _, err := b.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	first := b.numbers(b.o.deletes)
	if err := b.FillIn(ctx, namespace, first, first+b.o.deletes); err != nil {
		return err
	}
	terminating := make(chan string, b.o.deletes)
	b.track.watchTerminating(func(in, name string) {
		if in == namespace {
			terminating <- name
		}
	})
	defer b.track.watchTerminating(nil)
	return b.withProgram(ctx, harness.PodInfoLookup, func(p *harness.Process) error {
		r := record{Measure: massDelete, Program: harness.PodInfoLookup, Round: round, Pods: b.o.deletes}
		pods := b.Kube.CoreV1().Pods(namespace)
		err := b.measure(ctx, p, &r, true, func() error {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			// One goroutine more than kubelets, for the request that deletes all.
			return harness.Parallel(kubelets+1, b.o.deletes+1, func(i int) error {
				if i == 0 {
					err := deleteAll(ctx, pods)
					if err != nil {
						cancel(err)
					}
					return err
				}
				select {
				case name := <-terminating:
					err := pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
					if apierrors.IsNotFound(err) { // client-go repeated the request
						return nil
					}
					return err
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(stepTimeout):
					return errors.New("no Pod terminates")
				}
			})
		})
		if err != nil {
			return err
		}
		return b.Add(r)
	})
}

func (t *tracker) watchTerminating(f func(namespace, name string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.onTerminating = f
}

// rollingRestarts replaces Pods, a limited number at a time. The next is created
// when an old one is gone.
func (b *bench) rollingRestarts(ctx context.Context) error {
	if b.o.restarts == 0 {
		return nil
	}
	old := b.numbers(b.o.restarts)
	if err := b.Fill(ctx, old, old+b.o.restarts); err != nil {
		return err
	}
	for round := range b.o.bursts {
		fresh := b.numbers(b.o.restarts)
		if err := b.rollingRestart(ctx, old, fresh, round+1); err != nil {
			return fmt.Errorf("rolling restart: %w", err)
		}
		old = fresh
	}
	return nil
}

func (b *bench) rollingRestart(ctx context.Context, old, fresh, round int) error {
	return b.withProgram(ctx, harness.PodInfoLookup, func(p *harness.Process) error {
		r := record{Measure: rollingRestart, Program: harness.PodInfoLookup, Round: round, Pods: b.o.restarts}
		d := &driver{Cluster: b.Cluster, o: b.o, changed: noWrite}
		err := b.measure(ctx, p, &r, true, func() error {
			return harness.Parallel(b.o.surge, b.o.restarts, func(i int) error {
				if _, err := d.begin(ctx, fresh+i, time.Now()); err != nil {
					return err
				}
				return d.end(ctx, old+i, harness.Pod(old+i), time.Now())
			})
		})
		if err != nil {
			return err
		}
		return b.Add(r)
	})
}

// deleteAll repeats the request until it succeeds, as the namespace controller
// does. For so many Pods it exceeds the request timeout of the API server.
func deleteAll(ctx context.Context, pods typedcorev1.PodInterface) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, sampleInterval, stepTimeout, true, func(ctx context.Context) (bool, error) {
		last = pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("delete all Pods: %w", cmp.Or(last, err))
	}
	return nil
}
