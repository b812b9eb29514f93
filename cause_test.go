package podinfolookup

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

func TestReasonFor(t *testing.T) {
	want := testcrOf(web(1))
	same := entryOf(t, want)
	earlier := entryOf(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodUID = "0" }))
	unlabelled := entryOf(t, testcrOf(web(1), withoutLabels))
	kept := entryOf(t, testcrOf(web(1), deleting))
	emptied := desired.Emptied(kept.Testcr())
	event, start, testcr := trigger{podChanged: true, firstEvent: time.Unix(1, 0)}, trigger{podChanged: true}, trigger{}
	tests := []struct {
		name     string
		trigger  trigger
		verb     Verb
		want     *v1.Testcr
		stored   *testcrcache.Entry
		reason   Reason
		isRepair bool
	}{
		{name: "a Pod is created", trigger: event, verb: Added, want: want, reason: PodChanged},
		{name: "a Pod changes", trigger: event, verb: Updated, want: want, stored: same, reason: PodChanged},
		{name: "a Pod is deleted", trigger: event, verb: Deleted, stored: same, reason: PodChanged},
		{name: "a Pod is deleted and a finalizer keeps its Testcr", trigger: event, verb: Updated, want: emptied, stored: kept, reason: PodChanged},
		{name: "another Pod has the name", trigger: event, verb: Updated, want: want, stored: earlier, reason: PodReplaced},
		{name: "a Pod has no Testcr at the start", trigger: start, verb: Added, want: want, reason: CaughtUp},
		{name: "a Pod has changed before the start", trigger: start, verb: Updated, want: want, stored: same, reason: CaughtUp},
		{name: "another Pod has the name since before the start", trigger: start, verb: Updated, want: want, stored: earlier, reason: PodReplaced},
		{name: "a Pod was deleted before the start", trigger: start, verb: Deleted, stored: same, reason: CaughtUp},
		{name: "a Testcr has no label of ours", trigger: start, verb: Updated, want: want, stored: unlabelled, reason: Adopted},
		{name: "a Testcr lost our label", trigger: testcr, verb: Updated, want: want, stored: unlabelled, reason: Adopted},
		{name: "a Testcr was deleted", trigger: testcr, verb: Added, want: want, reason: TestcrDeleted, isRepair: true},
		{name: "a Testcr was edited", trigger: testcr, verb: Updated, want: want, stored: same, reason: TestcrEdited, isRepair: true},
		{name: "the UID of the Pod was edited in a Testcr", trigger: testcr, verb: Updated, want: want, stored: earlier, reason: TestcrEdited, isRepair: true},
		{name: "a Testcr was created without a Pod", trigger: testcr, verb: Deleted, stored: same, reason: TestcrOrphaned, isRepair: true},
		{
			name: "a finalizer keeps a Testcr without a Pod", trigger: testcr, verb: Updated, want: emptied, stored: kept,
			reason: TestcrOrphaned, isRepair: true,
		},
		{name: "a conflict is no event of the Pod", trigger: trigger{conflicted: true}, verb: Updated, want: want, stored: same, reason: TestcrEdited, isRepair: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := reasonFor(test.trigger, test.verb, test.want, test.stored)
			if got != test.reason || got.IsRepair() != test.isRepair {
				t.Errorf("reason %q, repair %t; want %q, %t", got, got.IsRepair(), test.reason, test.isRepair)
			}
		})
	}
}

func TestVerb_Writes(t *testing.T) {
	for verb, want := range map[Verb]bool{Added: true, Updated: true, Deleted: true, Unchanged: false, Foreign: false} {
		t.Run(string(verb), func(t *testing.T) {
			if got := verb.Writes(); got != want {
				t.Errorf("it writes: %t, want %t", got, want)
			}
		})
	}
}

func TestRun_Standby(t *testing.T) {
	t.Run("a standby queues nothing, and catches up when it runs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(9), func(t *v1.Testcr) { t.Spec.PodKey = "shop/x" })) // a stray
			f.runCaches(t)
			synctest.Wait()
			if err := f.Ready(); err != nil {
				t.Errorf("its caches are synced, and it is not ready: %v", err)
			}
			f.createPod(t, web(2))
			f.createPod(t, web(4))
			synctest.Wait()
			f.deletePod(t, web(4))
			f.enqueueAll()
			synctest.Wait()
			if n := f.queue.Len() + len(f.states.keys) + len(f.strays.take()); n > 0 {
				t.Errorf("%d keys are queued, and nothing drains the queue", n)
			}

			stop, done := f.run(t)
			synctest.Wait()
			<-time.After(2 * time.Second) // virtual time
			f.createPod(t, web(3))
			at := time.Now()
			<-time.After(coalesceDelay)
			synctest.Wait()
			stop()
			<-done
			want := []Write{
				{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(1)},
				{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(2)},
				{Verb: Deleted, Reason: TestcrOrphaned, Pod: cache.ObjectName{Name: nameFor(keyOfWeb(9))}},
				{Verb: Added, Reason: PodChanged, Pod: keyOfWeb(3), FirstEvent: at},
			}
			byPod := cmp.Transformer("byPod", func(writes []Write) map[cache.ObjectName]Write {
				m := map[cache.ObjectName]Write{}
				for _, w := range writes {
					m[w.Pod] = w
				}
				return m
			})
			writes := f.takeWrites()
			if diff := cmp.Diff(want, writes, byPod); diff != "" || len(writes) != len(want) {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
}

func TestController_processNext_Failure(t *testing.T) {
	t.Run("a failed sync keeps its trigger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			hasFailed := false
			f.api.before = func(string, string) error {
				if hasFailed {
					return nil
				}
				hasFailed = true
				return apierrors.NewInternalError(errors.New("no"))
			}
			f.runCaches(t)
			f.runFor(t, time.Second)
			if diff := cmp.Diff([]Write{{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(1)}}, f.takeWrites()); diff != "" || !hasFailed {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
}

func TestController_enqueueAll(t *testing.T) {
	t.Run("the return of the CRD is no change of any Pod", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(2)))
			f.api.put(t, testcrOf(web(3), func(t *v1.Testcr) { t.Spec.PodKey = "shop/x" }))
			f.runCaches(t)
			synctest.Wait()
			f.queueOnly()
			f.queue.AddRateLimited(keyOfWeb(1))
			f.noteRepair(keyOfWeb(1))
			f.enqueueAll()
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

func TestController_podChanged_Coalesces(t *testing.T) {
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

func TestController_testcrEvent(t *testing.T) {
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
			f.testcrEvent(entryOf(t, test.old), entryOf(t, test.entry))
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
		f.testcrChanged(entryOf(t, testcrOf(web(1))))
		if got := f.queued(); got != nil {
			t.Errorf("queued keys: %v", got)
		}
	})
}

func TestController_handlers_Tombstones(t *testing.T) {
	f := setup{}.build(t)
	f.queueOnly()
	t.Run("a Testcr that was deleted while no watch was open is queued", func(t *testing.T) {
		handler := testcrcache.Handler(f.testcrEvent)
		handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "x", Obj: entryOf(t, testcrOf(web(1)))})
		handler.OnDelete("x")
		if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(1)}, f.queued()); diff != "" {
			t.Errorf("queued keys (-want +got):\n%s", diff)
		}
	})
	t.Run("a Pod that was deleted while no watch was open is queued", func(t *testing.T) {
		f.podDeleted(f.ctx, cache.DeletedFinalStateUnknown{Key: "shop/web-1", Obj: nil})
		if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(1)}, f.queued()); diff != "" {
			t.Errorf("queued keys (-want +got):\n%s", diff)
		}
		if got := f.states.takeTrigger(keyOfWeb(1)); !got.podChanged || got.firstEvent.IsZero() {
			t.Errorf("the trigger is %v", got)
		}
	})
}

func TestController_handlers_Share(t *testing.T) {
	t.Run("a Pod and its Testcr share memory, whichever comes first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(1)))
			f.api.put(t, testcrOf(web(2)))
			f.runCaches(t)
			synctest.Wait()
			f.createPod(t, web(2))
			synctest.Wait()
			for i := 1; i <= 2; i++ {
				if f.testcrs.Get(nameFor(keyOfWeb(i))).Spec() != f.pods.Pod(keyOfWeb(i)).Spec() {
					t.Errorf("web-%d has two specs", i)
				}
			}
		})
	})
}
