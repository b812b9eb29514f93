package podinfolookup

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// TestRun_Again has three terms and, between them, changes that a standby hears of.
func TestRun_Again(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes []Write
		c, client := standby(t, func(w Write) { writes = append(writes, w) }, web(0))
		synctest.Wait()
		term := func() {
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = c.Run(ctx) }()
			<-time.After(5 * time.Second) // virtual time
			stop()
			<-done
			if n := c.queue.Len() + len(c.causes.pods); n > 0 {
				t.Errorf("%d keys are left behind", n)
			}
			if c.running.Load() || c.working.Load() {
				t.Error("it counts as running")
			}
		}
		for i := 1; i <= 3; i++ {
			term()
			if _, err := client.CoreV1().Pods("shop").Create(t.Context(), web(i), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Second)
			if n := c.queue.Len() + len(c.causes.pods); n > 0 {
				t.Errorf("a standby has %d keys that nobody takes", n)
			}
		}
		term()
		var want []Write
		for i := range 4 {
			want = append(want, Write{Added, CaughtUp, cache.MetaObjectToName(web(i)), time.Time{}})
		}
		if diff := cmp.Diff(want, writes); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
}

// TestRun_ForgetsItsWrites has another replica delete a Testcr between two terms.
func TestRun_ForgetsItsWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes []Verb
		c, _ := standby(t, func(w Write) { writes = append(writes, w.Verb) }, web(0))
		synctest.Wait()
		c.testcrs.learn(FromPod(web(0))) // of an earlier term; the watch never told
		ctx, stop := context.WithTimeout(t.Context(), sweepEvery/2)
		defer stop()
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]Verb{Added}, writes); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
}

// TestRun_WritesInFullAgain has a Testcr written without labels and containers in
// one term: the next one must try it in full in time.
func TestRun_WritesInFullAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes []Verb
		pod := web(0)
		pod.Labels = map[string]string{"app": "web"}
		c, _ := standby(t, func(w Write) { writes = append(writes, w.Verb) }, pod)
		synctest.Wait()
		refused := false
		c.testcrs.client = delayed{c.testcrs.client, func(string) error {
			if refused {
				return nil
			}
			refused = true
			return apierrors.NewInvalid(GroupVersionKind.GroupKind(), "x", nil)
		}}
		for _, lasts := range []time.Duration{time.Second, reducedFor + time.Second} {
			ctx, stop := context.WithTimeout(t.Context(), lasts) // virtual time
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
			stop()
		}
		if diff := cmp.Diff([]Verb{Added, Updated}, writes); diff != "" {
			t.Errorf("writes (-want +got):\n%s", diff)
		}
	})
}

// TestRun_LeavesNothingQueued stops while many keys wait: the metric of the
// queue's depth must not count them for ever.
func TestRun_LeavesNothingQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := standby(t, nil)
		synctest.Wait()
		ctx, stop := context.WithCancel(t.Context())
		c.testcrs.client = delayed{c.testcrs.client, func(string) error {
			stop()
			return nil
		}}
		for i := range 100 {
			if err := c.pods[metav1.NamespaceAll].GetStore().Add(&podState{spec: specOf(web(i))}); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		if n := c.queue.Len(); n > 0 {
			t.Errorf("%d keys are left in the queue", n)
		}
	})
}
