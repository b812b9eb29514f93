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

// aftermath is what a replica has left behind, of whose last writes the next one
// has yet to hear.
type aftermath struct {
	right map[string]any // the Testcrs by the name of their Pod
	pods  []*corev1.Pod
	gone  *corev1.Pod
}

// leave has Pods change, go and come while a replica writes, which ends then. At
// first there are both of it and the next; between the two, stall is called.
func leave(t *testing.T, ns string, next func() *running, stall func()) (*running, *aftermath) {
	t.Helper()
	changed, replaced, gone, same := create(t, ns, newPod("changed")), create(t, ns, newPod("replaced")),
		create(t, ns, newPod("gone")), create(t, ns, newPod("same"))
	before := synced(t, nil, ns)
	for _, pod := range []*corev1.Pod{changed, replaced, gone, same} {
		waitTrue(t, pod)
	}
	after := next()
	testenv.Eventually(t, func(context.Context) error { return after.Synced() })

	stall()
	status(func(s *corev1.PodStatus) { s.Phase, s.PodIP = corev1.PodRunning, "10.0.0.8" })(t, changed)
	remove(t, replaced)
	replaced = create(t, ns, newPod("replaced"))
	remove(t, gone)
	left := &aftermath{right: map[string]any{}, pods: []*corev1.Pod{changed, replaced, create(t, ns, newPod("fresh")), same}, gone: gone}
	for _, pod := range left.pods {
		left.right[pod.Name] = waitTrue(t, pod).Object
	}
	waitGone(t, nameOf(gone))
	before.stop()
	return after, left
}

// stands fails unless all is as the replica left it.
func (a *aftermath) stands(t *testing.T) {
	t.Helper()
	now := map[string]any{}
	for _, pod := range a.pods {
		now[pod.Name] = mustRead(t, nameOf(pod)).Object
	}
	if diff := cmp.Diff(a.right, now); diff != "" {
		t.Errorf("Testcrs (-as the replica before left them +now):\n%s", diff)
	}
	waitGone(t, nameOf(a.gone))
}

// TestController_TakesOverWithOldCaches has a replica take over whose watches have told
// nothing since some Pods changed, went and came, all of which the replica
// before it has written: nothing of that may be undone.
func TestController_TakesOverWithOldCaches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		old      []string
		replicas bool // Config.LeaderElected: there are other replicas
		known    int  // how many of the five names are in a cache, those of testcrs or pods
	}{
		{name: "of pods", old: []string{"pods"}, replicas: true, known: 5},
		{name: "of testcrs", old: []string{"testcrs"}, replicas: true, known: 5},
		{name: "of both", old: []string{"pods", "testcrs"}, replicas: true, known: 4},
		// It learns from conflicts, as long as there are any: this is not promised.
		{name: "of both, unaware of the other", old: []string{"pods", "testcrs"}, known: 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ns := env.Namespace(t, "")
			stall := &staller{resources: test.old}
			verbs := &verbsOf{count: map[podinfolookup.Verb]int{}}
			var flow func()
			after, left := leave(t, ns, func() *running {
				return prepare(t, stall.wrap, podinfolookup.Config{Workers: 4, LeaderElected: test.replicas, OnSync: verbs.synced}, ns)
			}, func() { flow = stall.stall() })
			defer flow()

			after.lead()
			testenv.Eventually(t, func(context.Context) error {
				if got := verbs.get(); got["unchanged"] < test.known {
					return fmt.Errorf("syncs: %v, want %d unchanged", got, test.known)
				}
				return nil
			})
			left.stands(t)
			if !test.replicas {
				after.stop()
				return
			}
			flow()
			left.stands(t)
			followsOn(t, after, left)
		})
	}
}

// followsOn changes one Pod and removes another: these alone may be written.
func followsOn(t *testing.T, r *running, left *aftermath) {
	t.Helper()
	changes, goes := left.pods[0], left.pods[3]
	pod, err := pods(changes.Namespace).Get(t.Context(), changes.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	status(func(s *corev1.PodStatus) { s.PodIP = "10.0.0.9" })(t, pod)
	waitTrue(t, pod)
	remove(t, goes)
	waitGone(t, nameOf(goes))
	r.stop()
	var writes []string
	for _, w := range env.Writes(t, r.userAgent) {
		if w.ResponseStatus.Code < 300 {
			writes = append(writes, w.Verb+" "+w.ObjectRef.Name)
		}
	}
	want := sorted([]string{"update " + nameOf(changes), "delete " + nameOf(goes)})
	// The Pod may be seen as it terminates.
	writes = slices.DeleteFunc(sorted(writes), func(write string) bool { return write == "update "+nameOf(goes) })
	if diff := cmp.Diff(want, writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}
