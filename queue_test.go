package podinfolookup

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func TestRun_Again(t *testing.T) {
	t.Run("each of several terms catches up with what a standby has seen", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(0)}}.build(t)
			f.runCaches(t)
			synctest.Wait()
			isEmpty := func(when string) {
				t.Helper()
				if n := f.queue.Len() + len(f.states.keys); n > 0 {
					t.Errorf("%d keys are left %s", n, when)
				}
			}
			for i := 1; i <= 4; i++ {
				f.runFor(t, 5*time.Second)
				isEmpty("by a term")
				if f.started.Load() || !f.queue.ShuttingDown() {
					t.Error("it counts as running")
				}
				if i < 4 {
					f.createPod(t, web(i))
				}
				<-time.After(time.Second) // virtual time
				isEmpty("by a standby")
			}
			var want []Write
			for i := range 4 {
				want = append(want, Write{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(i)})
			}
			if diff := cmp.Diff(want, f.takeWrites()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
}

func TestRun_ForgetsWrites(t *testing.T) {
	t.Run("a Testcr that another replica has deleted between two terms is created at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(0)}}.build(t)
			f.api.mute() // the cache never contains the first write
			f.runCaches(t)
			synctest.Wait()
			f.runFor(t, time.Second/2)
			f.api.remove(t, nameFor(keyOfWeb(0)))
			f.runFor(t, confirmDelay/2)
			if diff := cmp.Diff([]Verb{Added, Added}, f.takeVerbs()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
}

func TestRun_WritesInFullAgain(t *testing.T) {
	tests := []struct {
		name  string
		terms []time.Duration
	}{
		{name: "in the same term", terms: []time.Duration{reducedFor + time.Second}},
		{name: "in the next term", terms: []time.Duration{time.Second, reducedFor + time.Second}},
	}
	for _, test := range tests {
		t.Run("a reduced Testcr is written in full "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pod := web(0)
				pod.Labels = map[string]string{"app": "web"}
				f := setup{pods: []*corev1.Pod{pod}}.build(t)
				isRefused := false
				f.api.before = func(string, string) error {
					if isRefused {
						return nil
					}
					isRefused = true
					return apierrors.NewInvalid(v1.GroupVersionKind.GroupKind(), "x", nil)
				}
				f.runCaches(t)
				for _, term := range test.terms {
					f.runFor(t, term)
				}
				if diff := cmp.Diff([]Verb{Added, Updated}, f.takeVerbs()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{TestcrReduced}, f.takeEvents()); diff != "" {
					t.Errorf("Events (-want +got):\n%s", diff)
				}
				if got := f.api.stored(t, nameFor(keyOfWeb(0))); got.Spec.Truncated || got.Spec.Labels["app"] != "web" {
					t.Errorf("the Testcr is not complete: %+v", got.Spec)
				}
			})
		})
	}
}

func TestRun_LeavesNothingQueued(t *testing.T) {
	t.Run("keys that wait at the end do not stay in the metric of the queue's depth", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var pods []*corev1.Pod
			for i := range 100 {
				pods = append(pods, web(i))
			}
			f := setup{pods: pods}.build(t)
			f.runCaches(t)
			synctest.Wait()
			release := make(chan struct{})
			f.api.before = func(string, string) error {
				<-release
				return nil
			}
			stop, done := f.run(t)
			synctest.Wait()
			stop()
			synctest.Wait()
			close(release)
			<-done
			if n := f.queue.Len(); n > 0 {
				t.Errorf("%d keys are left in the queue", n)
			}
			if got := len(f.takeWrites()); got != 1 {
				t.Errorf("%d writes, want the one in flight", got)
			}
		})
	})
}

func TestRunQueue_BeforeRun(t *testing.T) {
	t.Run("keys are dropped before the first Run", func(t *testing.T) {
		q := newRunQueue()
		q.Add(keyOfWeb(0))
		q.AddAfter(keyOfWeb(0), 0)
		if n := q.Len(); n != 0 {
			t.Errorf("%d keys are queued", n)
		}
	})
}
