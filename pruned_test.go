package podinfolookup

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// pruneHostIP makes the API server store Testcrs without the host IP, as with a CRD that
// is older than this program.
func (a *api) pruneHostIP(isOn bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prune = nil
	if isOn {
		a.prune = func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, "spec", "hostip") }
	}
}

func onHost(i int) *corev1.Pod {
	pod := web(i)
	pod.Status.HostIP = "10.0.0.1"
	return pod
}

func (f *fixture) prunedKeys() []cache.ObjectName {
	return f.states.each(0, func(state *keyState) bool { return state.isPruned })
}

func TestPruned_note(t *testing.T) {
	const ended = "The API server stores what is written again"
	t.Run("a write that changes nothing is reported once, and one is retried until the CRD is replaced", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{onHost(1), onHost(2)}}.build(t)
			f.api.pruneHostIP(true)
			for i := 1; i <= 2; i++ {
				f.api.put(t, testcrOf(onHost(i)))
			}
			f.runCaches(t)
			f.run(t)
			<-time.After(6*prunedInterval + time.Second) // virtual time
			if got := f.takeWrites(); got != nil {
				t.Errorf("updates that changed nothing count as writes: %v", got)
			}
			if got := len(f.api.takeRequests()); got != 2+6 {
				t.Errorf("%d requests, want one for each Testcr and one each prunedInterval", got)
			}
			if diff := cmp.Diff([]string{CRDUnusable}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
			if got := len(f.prunedKeys()); got != 2 {
				t.Errorf("%d keys are pruned, want 2", got)
			}

			f.api.pruneHostIP(false)
			<-time.After(prunedInterval)
			synctest.Wait()
			for i := 1; i <= 2; i++ {
				if got := f.api.stored(t, nameFor(keyOfWeb(i))).Spec.HostIP; got != "10.0.0.1" {
					t.Errorf("host IP of web-%d is %q", i, got)
				}
			}
			if diff := cmp.Diff([]Verb{Updated, Updated}, f.takeVerbs()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if n := strings.Count(f.logs(), ended); n != 1 || !strings.Contains(f.logs(), "testcrs=2") || len(f.prunedKeys()) != 0 {
				t.Errorf("the end is logged %d times, and %d keys are pruned", n, len(f.prunedKeys()))
			}

			f.api.pruneHostIP(true)
			f.api.put(t, testcrOf(onHost(1)))
			<-time.After(time.Second)
			if got := f.takeEvents(); got != nil {
				t.Errorf("Events while the CRD may still be in replacement: %v", got)
			}
			<-time.After(2 * prunedInterval)
			if diff := cmp.Diff([]string{CRDUnusable}, f.takeEvents()); diff != "" {
				t.Errorf("the next Events (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("a create that is not stored as it is written counts as a write", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{onHost(1)}}.build(t)
			f.api.pruneHostIP(true)
			f.runCaches(t)
			f.runFor(t, time.Second/2)
			if diff := cmp.Diff([]Write{{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(1)}}, f.takeWrites()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{CRDUnusable}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
			if text := f.logs(); strings.Contains(text, "Sync failed") {
				t.Errorf("it is logged as a failed sync: %s", text)
			}
		})
	})
	t.Run("a pruned Testcr whose Pod is deleted is forgotten, and does not end the report", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{onHost(1), onHost(2)}}.build(t)
			f.api.pruneHostIP(true)
			f.runCaches(t)
			f.run(t)
			<-time.After(time.Second) // virtual time
			f.deletePod(t, onHost(1))
			<-time.After(2 * time.Second)
			if got := f.prunedKeys(); !cmp.Equal(got, []cache.ObjectName{keyOfWeb(2)}) {
				t.Errorf("pruned keys: %v", got)
			}
			if strings.Contains(f.logs(), ended) {
				t.Error("the end is reported")
			}
		})
	})
}

func TestPruned_noteMatches(t *testing.T) {
	want := testcrOf(web(1))
	tests := []struct {
		name       string
		isPruned   bool
		want       *v1.Testcr
		wantQueued []cache.ObjectName
		wantPruned []cache.ObjectName
	}{
		{name: "it was pruned", isPruned: true, want: want, wantQueued: []cache.ObjectName{keyOfWeb(2)}},
		{name: "it was not pruned", want: want, wantPruned: []cache.ObjectName{keyOfWeb(2)}},
		{name: "its Pod is gone", isPruned: true, wantPruned: []cache.ObjectName{keyOfWeb(2)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			f.states.update(keyOfWeb(1), func(state *keyState) { state.isPruned = test.isPruned })
			f.pruned.note(f.ctx, keyOfWeb(2), "x")
			f.pruned.noteMatches(f.ctx, keyOfWeb(1), test.want)
			if diff := cmp.Diff(test.wantQueued, f.queued()); diff != "" {
				t.Errorf("queued keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantPruned, f.prunedKeys()); diff != "" {
				t.Errorf("pruned keys (-want +got):\n%s", diff)
			}
			if f.pruned.isReported != (test.wantPruned != nil) {
				t.Errorf("the next one is reported: %t", !f.pruned.isReported)
			}
		})
	}
}
