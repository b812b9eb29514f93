package podinfolookup

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// collide makes the podkey of each Testcr produce its name, as if all Pods had the same
// md5.
func (f *fixture) collide() {
	f.foreign.podKeyOf = func(entry *testcrcache.Entry) (cache.ObjectName, bool) {
		key, err := cache.ParseObjectName(entry.Spec().PodKey)
		return key, err == nil && key.Namespace != ""
	}
}

func TestController_plan_Collision(t *testing.T) {
	one, two := web(1), web(2)
	want := testcrOf(one)
	other := func(change func(*v1.Testcr)) *v1.Testcr {
		return testcrOf(two, func(t *v1.Testcr) { t.Name = want.Name }, change)
	}
	ofTwo := other(func(*v1.Testcr) {})
	tests := []struct {
		name      string
		isEdited  bool   // the podkey does not produce the name
		namespace string // watched
		pods      []*corev1.Pod
		pod       *v1.Testcr
		stored    *v1.Testcr
		want      Verb
	}{
		{name: "both Pods exist", pods: []*corev1.Pod{one, two}, pod: want, stored: ofTwo, want: Foreign},
		{name: "the other Pod alone exists", pods: []*corev1.Pod{two}, stored: ofTwo, want: Unchanged},
		{name: "the other Pod is gone", pods: []*corev1.Pod{one}, pod: want, stored: ofTwo, want: Updated},
		{name: "both Pods are gone", stored: ofTwo, want: Deleted},
		{name: "the other Pod is not watched", namespace: "other", pods: []*corev1.Pod{one}, pod: want, stored: ofTwo, want: Foreign},
		{name: "the podkey of another Pod was written by hand", isEdited: true, pods: []*corev1.Pod{one, two}, pod: want, stored: ofTwo, want: Updated},
		{
			name: "nonsense was written by hand", pods: []*corev1.Pod{one, two}, pod: want,
			stored: other(func(t *v1.Testcr) { t.Spec.PodKey = "a/b/c" }), want: Updated,
		},
		{name: "it is not ours", pods: []*corev1.Pod{one, two}, pod: want, stored: other(withoutLabels), want: Foreign},
		{name: "a finalizer keeps it, and the other Pod exists", pods: []*corev1.Pod{two}, stored: other(deleting), want: Unchanged},
		{
			name: "it is the Testcr of the Pod itself", pods: []*corev1.Pod{one, two}, pod: want,
			stored: testcrOf(one, func(t *v1.Testcr) { t.Spec.PodIP = "x" }), want: Updated,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := watching(t, test.namespace, test.pods...)
				f.runCaches(t)
				synctest.Wait()
				if !test.isEdited {
					f.collide()
				}
				if got, _ := f.plan(keyOfWeb(1), test.pod, entryOf(t, test.stored)); got != test.want {
					t.Errorf("verb is %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestForeign_reportCollision(t *testing.T) {
	want := testcrOf(web(1))
	stored := testcrOf(web(2), func(t *v1.Testcr) { t.Name, t.UID = want.Name, "2" })
	another := testcrOf(web(2), func(t *v1.Testcr) { t.Name, t.UID = want.Name, "3" })
	report := func(t *testing.T, f *fixture, stored *v1.Testcr) {
		t.Helper()
		verb, err := f.apply(f.ctx, keyOfWeb(1), trigger{}, Foreign, want, entryOf(t, stored))
		if verb != Foreign || err != nil {
			t.Fatalf("apply returned %s, %v", verb, err)
		}
	}
	t.Run("a collision is reported once for each Testcr", func(t *testing.T) {
		f := setup{}.build(t)
		report(t, f, stored)
		report(t, f, stored)
		if diff := cmp.Diff([]string{NameCollision}, f.takeEvents()); diff != "" {
			t.Errorf("Events (-want +got):\n%s", diff)
		}
		report(t, f, another)
		if diff := cmp.Diff([]string{NameCollision}, f.takeEvents()); diff != "" {
			t.Errorf("Events (-want +got):\n%s", diff)
		}
		if got := f.api.takeRequests(); got != nil {
			t.Errorf("requests: %v", got)
		}
	})
	t.Run("the Pod is queued when the other Testcr is deleted", func(t *testing.T) {
		f := setup{}.build(t)
		f.queueOnly()
		report(t, f, stored)
		f.handlers.testcrDeleted(entryOf(t, another))
		f.strays.take()
		if got := f.queued(); got != nil {
			t.Errorf("queued for another Testcr: %v", got)
		}
		f.handlers.testcrDeleted(entryOf(t, stored))
		if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(1)}, f.queued()); diff != "" {
			t.Errorf("queued keys (-want +got):\n%s", diff)
		}
		if n := len(f.states.keys); n != 0 {
			t.Error("the collision is remembered")
		}
	})
	t.Run("a standby forgets the collision without queueing the Pod", func(t *testing.T) {
		f := setup{}.build(t)
		report(t, f, stored)
		f.handlers.testcrDeleted(entryOf(t, stored))
		if n := f.queue.Len() + len(f.states.keys); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
	t.Run("the collision of a Pod that is deleted is forgotten", func(t *testing.T) {
		f := setup{}.build(t)
		report(t, f, stored)
		f.handlers.podDeleted(f.ctx, cache.DeletedFinalStateUnknown{Key: keyOfWeb(1).String()})
		if n := len(f.states.keys); n != 0 {
			t.Error("the collision is remembered")
		}
	})
	t.Run("a Testcr without a UID ends no collision", func(t *testing.T) {
		f := setup{}.build(t)
		f.queueOnly()
		f.states.update(keyOfWeb(1), func(state *keyState) { state.isPruned = true })
		if got := f.foreign.forget(""); got != nil {
			t.Errorf("waiting keys: %v", got)
		}
	})
}

func TestForeign_report(t *testing.T) {
	foreign := testcrOf(web(1), func(t *v1.Testcr) { t.Labels, t.Spec.PodKey, t.UID = nil, "a/b", "2" })
	t.Run("a foreign Testcr is left alone, and reported until it is deleted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, foreign)
			f.runCaches(t)
			f.run(t)
			synctest.Wait()
			if diff := cmp.Diff([]string{ForeignTestcr}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
			f.queue.Add(keyOfWeb(1))
			synctest.Wait()
			if got := f.takeEvents(); got != nil {
				t.Errorf("Events of the next sync: %v", got)
			}
			if got := f.api.takeRequests(); got != nil {
				t.Errorf("requests: %v", got)
			}
			f.api.remove(t, foreign.Name)
			synctest.Wait()
			f.foreign.reported.Range(func(any, any) bool {
				t.Error("it is remembered")
				return true
			})
		})
	})
}
