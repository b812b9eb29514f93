package podinfolookup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

func TestReason(t *testing.T) {
	want := FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "2"}})
	earlier := FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"}})
	unlabelled := FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "2"}})
	unlabelled.Labels = nil
	event, start, testcr := cause{pod: true, since: time.Unix(1, 0)}, cause{pod: true}, cause{}
	tests := []struct {
		name       string
		cause      cause
		verb       Verb
		want, have *Testcr
		wantReason Reason
		repairs    bool
	}{
		{"a Pod that comes", event, Added, want, nil, PodChanged, false},
		{"a Pod that changes", event, Updated, want, want, PodChanged, false},
		{"a Pod that goes", event, Deleted, nil, want, PodChanged, false},
		{"another Pod under the name", event, Updated, want, earlier, PodReplaced, false},
		{"a Pod without a Testcr at the start", start, Added, want, nil, CaughtUp, false},
		{"a Pod that has changed before the start", start, Updated, want, want, CaughtUp, false},
		{"another Pod under the name before the start", start, Updated, want, earlier, PodReplaced, false},
		{"a Pod that went before the start", start, Deleted, nil, want, CaughtUp, false},
		{"a Testcr without our label", start, Updated, want, unlabelled, Adopted, false},
		{"a Testcr that lost our label", testcr, Updated, want, unlabelled, Adopted, false},
		{"a Testcr that was deleted", testcr, Added, want, nil, TestcrDeleted, true},
		{"a Testcr that was edited", testcr, Updated, want, want, TestcrEdited, true},
		{"a Testcr whose UID of the Pod was edited", testcr, Updated, want, earlier, TestcrEdited, true},
		{"a Testcr that was made without a Pod", testcr, Deleted, nil, want, TestcrOrphaned, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := test.cause.reason(test.verb, test.want, test.have)
			if got != test.wantReason || got.Repairs() != test.repairs {
				t.Errorf("reason %q, repairs %t; want %q, %t", got, got.Repairs(), test.wantReason, test.repairs)
			}
		})
	}
}

func TestCausesAreMergedAndForgotten(t *testing.T) {
	var c causes
	key, first := cache.NewObjectName("shop", "web"), time.Unix(1, 0)
	c.add(key, first)
	c.add(key, time.Unix(2, 0))
	if got := c.take(key); !got.pod || !got.since.Equal(first) {
		t.Errorf("the cause of two changes is %v", got)
	}
	if got := c.take(key); got.pod {
		t.Error("a cause is there twice")
	}
	for i := range causesKept + 1 {
		c.add(cache.MetaObjectToName(web(i)), first)
	}
	for i := range causesKept + 1 {
		c.take(cache.MetaObjectToName(web(i)))
	}
	if c.pods != nil {
		t.Error("the room of a large burst is kept")
	}
}

// standby is a controller whose informers run, but which was not told to.
func standby(t *testing.T, wrote func(Write), pods ...runtime.Object) (*Controller, *fake.Clientset) {
	t.Helper()
	client := fake.NewClientset(pods...)
	testcrs := newTestcrs(t, newDynamic())
	informer, err := NewPodInformer(client, metav1.NamespaceAll, testcrs)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(t.Context(), Config{Pods: map[string]*PodInformer{metav1.NamespaceAll: informer}, Testcrs: testcrs, Workers: 1, Wrote: wrote})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { testcrs.RunWithContext(ctx) })
	wg.Go(func() { informer.RunWithContext(ctx) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		c.queue.ShutDown()
	})
	return c, client
}

func TestAStandbyGathersNothingAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes []Write
		c, client := standby(t, func(w Write) { writes = append(writes, w) }, web(1))
		synctest.Wait()
		if err := c.Ready(); err != nil {
			t.Errorf("it has warm caches and is not ready: %v", err)
		}
		if _, err := client.CoreV1().Pods("shop").Create(t.Context(), web(2), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.testcrs.onReturned()
		synctest.Wait()
		if n := c.queue.Len() + len(c.causes.pods); n > 0 {
			t.Errorf("%d keys wait for nobody", n)
		}

		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = c.Run(ctx) }()
		synctest.Wait()
		<-time.After(time.Second) // virtual time
		if _, err := client.CoreV1().Pods("shop").Create(t.Context(), web(3), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		heard := time.Now()
		<-time.After(mergeFor)
		synctest.Wait()
		stop()
		<-done
		want := []Write{
			{Added, CaughtUp, cache.NewObjectName("shop", "web-1"), time.Time{}},
			{Added, CaughtUp, cache.NewObjectName("shop", "web-2"), time.Time{}},
			{Added, PodChanged, cache.NewObjectName("shop", "web-3"), heard},
		}
		byPod := cmp.Transformer("byPod", func(writes []Write) map[cache.ObjectName]Write {
			m := map[cache.ObjectName]Write{}
			for _, w := range writes {
				m[w.Pod] = w
			}
			return m
		})
		if diff := cmp.Diff(want, writes, byPod); diff != "" || len(writes) != len(want) {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
}

func TestAFailedSyncKeepsItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, reasons := false, []Reason{}
		c, _ := standby(t, func(w Write) { reasons = append(reasons, w.Reason) }, web(1))
		synctest.Wait()
		c.testcrs.client = delayed{c.testcrs.client, func(string) error {
			if failed {
				return nil
			}
			failed = true
			return apierrors.NewInternalError(errors.New("no"))
		}}
		ctx, stop := context.WithTimeout(t.Context(), time.Second) // virtual time
		defer stop()
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]Reason{CaughtUp}, reasons); diff != "" || !failed {
			t.Errorf("reasons (-want +got):\n%s", diff)
		}
	})
}

// The Testcrs are gone though no Pod has changed: that counts as drift.
func TestTheReturnOfTheCRDIsNoChangeOfAnyPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := standby(t, nil, web(1))
		synctest.Wait()
		c.queue.open() // no worker takes what is queued
		c.working.Store(true)
		c.testcrs.onReturned()
		key := cache.MetaObjectToName(web(1))
		if got := c.causes.take(key); got.pod || c.queue.Len() != 1 {
			t.Errorf("%d keys are queued, the cause is %v", c.queue.Len(), got)
		}
	})
}

// states are those of one Pod's life.
func states() (made, scheduled, running, terminating *corev1.Pod) {
	made = web(1)
	scheduled = made.DeepCopy()
	scheduled.Spec.NodeName = "node-1"
	running = scheduled.DeepCopy()
	running.Status.Phase, running.Status.PodIP = corev1.PodRunning, "10.0.0.1"
	terminating = running.DeepCopy()
	terminating.DeletionTimestamp = new(metav1.Now())
	return made, scheduled, running, terminating
}

func TestStatesThatRarelyLastAreMerged(t *testing.T) {
	const soon, late = mergeFor / 2, 2 * mergeFor
	tests := []struct {
		name  string
		waits [4]time.Duration // after each state; 0 leaves the state out
		want  []Verb
	}{
		{"a usual life", [4]time.Duration{soon, late, late, soon}, []Verb{Added, Updated, Deleted}},
		{"a Pod that waits for a node", [4]time.Duration{late, late, late, soon}, []Verb{Added, Updated, Updated, Deleted}},
		{"a Pod that takes its time to end", [4]time.Duration{soon, late, late, late}, []Verb{Added, Updated, Updated, Deleted}},
		{"a Pod that is gone before it has a node", [4]time.Duration{soon}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got []Verb
				c, client := standby(t, func(w Write) { got = append(got, w.Verb) })
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); _ = c.Run(ctx) }()
				synctest.Wait()
				pods := client.CoreV1().Pods("shop")
				made, scheduled, running, terminating := states()
				steps := []func() error{
					func() error { _, err := pods.Create(t.Context(), made, metav1.CreateOptions{}); return err },
					func() error { _, err := pods.Update(t.Context(), scheduled, metav1.UpdateOptions{}); return err },
					func() error { _, err := pods.Update(t.Context(), running, metav1.UpdateOptions{}); return err },
					func() error { _, err := pods.Update(t.Context(), terminating, metav1.UpdateOptions{}); return err },
				}
				for i, step := range steps {
					if test.waits[i] == 0 {
						continue
					}
					if err := step(); err != nil {
						t.Fatal(err)
					}
					<-time.After(test.waits[i]) // virtual time
				}
				if err := pods.Delete(t.Context(), made.Name, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				<-time.After(late)
				synctest.Wait()
				stop()
				<-done
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
			})
		})
	}
}
