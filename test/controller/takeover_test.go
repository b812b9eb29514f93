package controller_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// staller holds up what the watches of some resources tell, as a connection does
// that has died without a word.
type staller struct {
	resources []string

	mu      sync.Mutex
	stalled chan struct{} // nil: nothing is held up
}

func (s *staller) wrap(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := rt.RoundTrip(req)
		if err != nil || req.URL.Query().Get("watch") != "true" {
			return resp, err
		}
		for _, resource := range s.resources {
			if strings.HasSuffix(req.URL.Path, "/"+resource) {
				resp.Body = &slowBody{resp.Body, req.Context(), s}
			}
		}
		return resp, err
	})
}

// stall begins to hold up, until the returned function is called.
func (s *staller) stall() (flow func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stalled := make(chan struct{})
	s.stalled = stalled
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stalled = nil
		close(stalled)
	})
}

type slowBody struct {
	io.ReadCloser

	ctx context.Context
	s   *staller
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.s.mu.Lock()
	stalled := b.s.stalled
	b.s.mu.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-b.ctx.Done():
		}
	}
	return n, err
}

// verbsOf collects what the syncs of a controller came to.
type verbsOf struct {
	mu    sync.Mutex
	count map[podinfolookup.Verb]int
}

func (v *verbsOf) synced(verb podinfolookup.Verb, _ time.Duration, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		verb = "failed"
	}
	v.count[verb]++
}

func (v *verbsOf) get() map[podinfolookup.Verb]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.count)
}

// TestTakesOverWithOldCaches has a replica take over whose watches have told
// nothing since some Pods changed, went and came, all of which the replica
// before it has written: nothing of that may be undone.
func TestTakesOverWithOldCaches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		old      []string
		replicas bool // it knows that it is not alone
	}{
		{"of pods", []string{"pods"}, true},
		{"of testcrs", []string{"testcrs"}, true},
		{"of both", []string{"pods", "testcrs"}, true},
		// It learns from conflicts, as long as there are any: this is not promised.
		{"of both, unaware of the other", []string{"pods", "testcrs"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ns := env.Namespace(t, "")
			stall := &staller{resources: test.old}
			verbs := &verbsOf{count: map[podinfolookup.Verb]int{}}
			changed, replaced, gone, same := create(t, ns, newPod("changed")), create(t, ns, newPod("replaced")),
				create(t, ns, newPod("gone")), create(t, ns, newPod("same"))
			before := synced(t, nil, ns)
			for _, pod := range []*corev1.Pod{changed, replaced, gone, same} {
				waitTrue(t, pod)
			}
			after := prepare(t, stall.wrap, podinfolookup.Config{Workers: 4, Replicas: test.replicas, Synced: verbs.synced}, ns)
			testenv.Eventually(t, func(context.Context) error { return after.Synced() })

			flow := stall.stall()
			defer flow()
			status(func(s *corev1.PodStatus) { s.Phase, s.PodIP = corev1.PodRunning, "10.0.0.8" })(t, changed)
			remove(t, replaced)
			replaced = create(t, ns, newPod("replaced"))
			remove(t, gone)
			fresh := create(t, ns, newPod("fresh"))
			right := map[string]any{}
			for _, pod := range []*corev1.Pod{changed, replaced, fresh, same} {
				right[pod.Name] = waitTrue(t, pod).Object
			}
			waitGone(t, nameOf(gone))
			before.stop()

			after.lead()
			// Each of the five names is in one cache at least, or in none for want of news.
			known := 5
			if len(test.old) == 2 {
				known = 4
			}
			testenv.Eventually(t, func(context.Context) error {
				if got := verbs.get(); got["unchanged"] < known {
					return fmt.Errorf("syncs: %v, want %d unchanged", got, known)
				}
				return nil
			})
			check := func() {
				t.Helper()
				now := map[string]any{}
				for _, pod := range []*corev1.Pod{changed, replaced, fresh, same} {
					now[pod.Name] = mustRead(t, nameOf(pod)).Object
				}
				if diff := cmp.Diff(right, now); diff != "" {
					t.Errorf("Testcrs (-as the replica before left them +now):\n%s", diff)
				}
				waitGone(t, nameOf(gone))
			}
			check()
			if !test.replicas {
				after.stop()
				return
			}
			// What happens from now on is followed once the watches tell of it.
			flow()
			check()
			changed, err := pods(ns).Get(t.Context(), changed.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			status(func(s *corev1.PodStatus) { s.PodIP = "10.0.0.9" })(t, changed)
			waitTrue(t, changed)
			remove(t, same)
			waitGone(t, nameOf(same))
			after.stop()
			writes := slices.DeleteFunc(sorted(after.verbs(t)), func(verb string) bool { return !strings.Contains(verb, " 20") })
			if diff := cmp.Diff([]string{"delete 200", "update 200"}, writes); diff != "" {
				t.Errorf("writes (-of the last two changes +got):\n%s", diff)
			}
		})
	}
}
