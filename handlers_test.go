package podinfolookup

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

func TestHandlers_resync(t *testing.T) {
	t.Run("the return of the CRD is no change of any Pod", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(2)))
			f.api.put(t, testcrOf(web(3), func(t *v1.Testcr) { t.Spec.PodKey = "shop/x" }))
			f.runCaches(t)
			synctest.Wait()
			f.queueOnly()
			f.queue.AddRateLimited(keyOfWeb(1))
			f.repairs.note(keyOfWeb(1))
			f.handlers.resync()
			if n := f.queue.NumRequeues(keyOfWeb(1)); n != 0 {
				t.Error("the backoff of earlier failures is kept")
			}
			if diff := cmp.Diff(map[cache.ObjectName]keyState(nil), f.states.keys, compareStates); diff != "" && len(f.states.keys) > 0 {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(1), keyOfWeb(2)}, f.queued()); diff != "" {
				t.Errorf("queued keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]struct{}{nameFor(keyOfWeb(3)): {}}, f.strays.take()); diff != "" {
				t.Errorf("strays (-want +got):\n%s", diff)
			}
		})
	})
}

func TestHandlers_begin(t *testing.T) {
	tests := []struct {
		name      string
		namespace string // watched, "" for all
		stored    *v1.Testcr
		want      []cache.ObjectName // that have a trigger
	}{
		{name: "a Testcr without a Pod", stored: testcrOf(web(2)), want: []cache.ObjectName{keyOfWeb(2)}},
		{name: "a Testcr whose podkey does not produce its name", stored: testcrOf(web(2), edited)},
		{name: "a Testcr of another namespace", namespace: "other", stored: testcrOf(web(2))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := watching(t, test.namespace)
				f.api.put(t, test.stored)
				f.runCaches(t)
				synctest.Wait()
				f.handlers.begin()
				var got []cache.ObjectName
				for key, state := range f.states.keys {
					got = append(got, key)
					if diff := cmp.Diff(trigger{podChanged: true}, state.trigger, compareStates); diff != "" {
						t.Errorf("trigger (-want +got):\n%s", diff)
					}
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("keys with a state (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(test.want, f.queued()); diff != "" {
					t.Errorf("queued keys (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestHandlers_testcrDeleted_Check(t *testing.T) {
	for _, test := range []struct {
		name string
		pods []*corev1.Pod
		want bool
	}{
		{name: "the CRD is checked if the Pod of the Testcr exists", pods: []*corev1.Pod{web(1)}, want: true},
		{name: "the CRD is not checked if the Pod is gone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var checks atomic.Int64
				f := setup{pods: test.pods, check: func(context.Context) error {
					checks.Add(1)
					return nil
				}}.build(t)
				f.api.put(t, testcrOf(web(1)))
				f.runCaches(t)
				synctest.Wait()
				before := checks.Load()
				f.api.remove(t, nameFor(keyOfWeb(1)))
				<-time.After(time.Second) // virtual time
				synctest.Wait()
				if n := checks.Load() - before; (n > 0) != test.want {
					t.Errorf("%d checks, want some: %t", n, test.want)
				}
			})
		})
	}
}

// lifeOf returns the states of a Pod's life.
func lifeOf(pod *corev1.Pod) (created, scheduled, running, terminating *corev1.Pod) {
	created = pod
	scheduled = created.DeepCopy()
	scheduled.Spec.NodeName = "node-1"
	running = scheduled.DeepCopy()
	running.Status.Phase, running.Status.PodIP = corev1.PodRunning, "10.0.0.1"
	terminating = running.DeepCopy()
	terminating.DeletionTimestamp = new(metav1.Now())
	return created, scheduled, running, terminating
}

func TestHandlers_podChanged_Coalesces(t *testing.T) {
	const soon, late = coalesceDelay / 2, 2 * coalesceDelay
	tests := []struct {
		name  string
		waits [4]time.Duration // after each state; 0 leaves the state out
		want  []Verb
	}{
		{name: "a usual life", waits: [4]time.Duration{soon, late, late, soon}, want: []Verb{Added, Updated, Deleted}},
		{name: "a Pod that waits for a node", waits: [4]time.Duration{late, late, late, soon}, want: []Verb{Added, Updated, Updated, Deleted}},
		{name: "a Pod that takes time to end", waits: [4]time.Duration{soon, late, late, late}, want: []Verb{Added, Updated, Updated, Deleted}},
		{name: "a Pod that is deleted before it has a node", waits: [4]time.Duration{soon}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := setup{}.build(t)
				f.runCaches(t)
				stop, done := f.run(t)
				synctest.Wait()
				created, scheduled, running, terminating := lifeOf(web(1))
				for i, pod := range []*corev1.Pod{created, scheduled, running, terminating} {
					switch {
					case test.waits[i] == 0:
						continue
					case i == 0:
						f.createPod(t, pod)
					default:
						f.updatePod(t, pod)
					}
					<-time.After(test.waits[i]) // virtual time
				}
				f.deletePod(t, created)
				<-time.After(late)
				synctest.Wait()
				stop()
				<-done
				if diff := cmp.Diff(test.want, f.takeVerbs()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestHandlers_testcrEvent(t *testing.T) {
	edit := func(podKey string) *v1.Testcr { return testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodKey = podKey }) }
	tests := []struct {
		name       string
		old        *v1.Testcr
		entry      *v1.Testcr
		wantQueued []cache.ObjectName
		wantStrays map[string]struct{}
	}{
		{name: "its Pod is queued", old: testcrOf(web(1)), entry: testcrOf(web(1)), wantQueued: []cache.ObjectName{keyOfWeb(1)}},
		{
			name: "its podkey was edited", old: testcrOf(web(1)), entry: edit("shop/web-2"),
			wantQueued: []cache.ObjectName{keyOfWeb(1)}, wantStrays: map[string]struct{}{nameFor(keyOfWeb(1)): {}},
		},
		{
			name: "its podkey was corrected", old: edit("shop/web-2"), entry: testcrOf(web(1)),
			wantQueued: []cache.ObjectName{keyOfWeb(1)}, wantStrays: map[string]struct{}{nameFor(keyOfWeb(1)): {}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			f.handlers.testcrEvent(entryOf(t, test.old), entryOf(t, test.entry))
			if diff := cmp.Diff(test.wantQueued, f.queued()); diff != "" {
				t.Errorf("queued keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantStrays, f.strays.take()); diff != "" {
				t.Errorf("strays (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("a Testcr of another namespace is not queued", func(t *testing.T) {
		f := setup{namespaces: []string{"other"}}.build(t)
		f.queueOnly()
		f.handlers.testcrChanged(entryOf(t, testcrOf(web(1))))
		if got := f.queued(); got != nil {
			t.Errorf("queued keys: %v", got)
		}
	})
}

func TestHandlers_Tombstones(t *testing.T) {
	f := setup{}.build(t)
	f.queueOnly()
	t.Run("a Testcr that was deleted while no watch was open is queued", func(t *testing.T) {
		handler := testcrcache.Handler(f.handlers.testcrEvent)
		handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "x", Obj: entryOf(t, testcrOf(web(1)))})
		handler.OnDelete("x")
		if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(1)}, f.queued()); diff != "" {
			t.Errorf("queued keys (-want +got):\n%s", diff)
		}
	})
	t.Run("a Pod that was deleted while no watch was open is queued", func(t *testing.T) {
		f.handlers.podDeleted(f.ctx, cache.DeletedFinalStateUnknown{Key: "shop/web-1", Obj: nil})
		if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(1)}, f.queued()); diff != "" {
			t.Errorf("queued keys (-want +got):\n%s", diff)
		}
		if got := f.states.takeTrigger(keyOfWeb(1)); !got.podChanged || got.firstEvent.IsZero() {
			t.Errorf("the trigger is %v", got)
		}
	})
}

func TestHandlers_Share(t *testing.T) {
	t.Run("a Pod and its Testcr share memory, whichever comes first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(1)))
			f.api.put(t, testcrOf(web(2)))
			f.runCaches(t)
			synctest.Wait()
			f.createPod(t, web(2))
			f.createPod(t, web(3))
			synctest.Wait()
			f.api.put(t, testcrOf(web(3)))
			synctest.Wait()
			for i := 1; i <= 3; i++ {
				if f.testcrs.Get(nameFor(keyOfWeb(i))).Spec() != f.pods.Pod(keyOfWeb(i)).Spec() {
					t.Errorf("web-%d has two specs", i)
				}
			}
		})
	})
}
