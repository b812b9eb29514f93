// Package controller_test runs controllers in this process, and the built program, against
// a real API server: the life of Pods, hostile Pods and Testcrs, and other writers.
package controller_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
	// protobuf lets strings through that JSON cannot hold.
	protobuf kubernetes.Interface
	runs     atomic.Int64
)

// TestMain has the tests of whole clusters (hostile_*_test.go) run first, one after
// another, since those that share the API server are parallel.
func TestMain(m *testing.M) {
	testenv.Parallel(6)
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) {
		env, binary = e, path
		config := rest.CopyConfig(e.AdminConfig)
		config.ContentType = runtime.ContentTypeProtobuf
		protobuf = kubernetes.NewForConfigOrDie(config)
	})
}

// running is a controller at work on one namespace.
type running struct {
	*podinfolookup.Controller
	userAgent string
	logs      ktesting.Underlier
	lead      func() // begins its work
	stop      func()
}

// wrapper puts itself between the controller and the API server.
type wrapper func(http.RoundTripper) http.RoundTripper

// run starts a controller for namespaces; it is stopped with the test at the
// latest. Each has a user agent of its own, so that its writes can be counted.
func run(t *testing.T, wrap wrapper, namespaces ...string) *running {
	t.Helper()
	r := prepare(t, wrap, podinfolookup.Config{Workers: 4}, namespaces...)
	r.lead()
	return r
}

// prepare makes a controller that does all but lead: its caches follow.
func prepare(t *testing.T, wrap wrapper, of podinfolookup.Config, namespaces ...string) *running {
	t.Helper()
	config := rest.CopyConfig(env.Config)
	config.UserAgent = fmt.Sprintf("%s/%d", t.Name(), runs.Add(1))
	if wrap != nil {
		config.Wrap(func(rt http.RoundTripper) http.RoundTripper { return wrap(rt) })
	}
	typed := rest.CopyConfig(config)
	typed.ContentType = runtime.ContentTypeProtobuf
	clientset := kubernetes.NewForConfigOrDie(typed)
	reader, err := wire.NewTestcrReader(config)
	if err != nil {
		t.Fatal(err)
	}
	testcrs, err := testcrcache.New(testcrcache.Config{
		Client: dynamic.NewForConfigOrDie(wire.ShortAnswers(config)), Reader: reader,
		Check: func(ctx context.Context) error {
			return testcrcache.CheckCRD(ctx, discovery.ToDiscoveryInterfaceWithContext(clientset.Discovery()))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true), ktesting.Verbosity(4)))
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logger))
	background, stopBackground := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logger))
	pods, err := podcache.New(clientset, namespaces...)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { pods.RunWithContext(background) })
	of.Pods, of.Testcrs = pods, testcrs
	controller, err := podinfolookup.New(ctx, of)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { testcrs.RunWithContext(background) })
	done := make(chan error, 1)
	r := &running{Controller: controller, userAgent: config.UserAgent, logs: logger.GetSink().(ktesting.Underlier)}
	r.lead = sync.OnceFunc(func() { go func() { done <- controller.Run(ctx) }() })
	r.stop = sync.OnceFunc(func() {
		cancel()
		r.lead() // it ends at once, if it has not begun yet
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		stopBackground()
		wg.Wait()
	})
	t.Cleanup(r.stop)
	return r
}

// synced starts a controller as run does and waits until it is ready.
func synced(t *testing.T, wrap wrapper, namespaces ...string) *running {
	t.Helper()
	r := run(t, wrap, namespaces...)
	testenv.Eventually(t, func(context.Context) error { return r.Ready() })
	return r
}

// verbs returns what the controller has asked the API server to write so far,
// with the answers: "create 201".
func (r *running) verbs(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, w := range env.Writes(t, r.userAgent) {
		out = append(out, fmt.Sprintf("%s %d", w.Verb, w.ResponseStatus.Code))
	}
	return out
}

func testcrs() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

func pods(ns string) interface {
	Create(context.Context, *corev1.Pod, metav1.CreateOptions) (*corev1.Pod, error)
	Get(context.Context, string, metav1.GetOptions) (*corev1.Pod, error)
	Update(context.Context, *corev1.Pod, metav1.UpdateOptions) (*corev1.Pod, error)
	UpdateStatus(context.Context, *corev1.Pod, metav1.UpdateOptions) (*corev1.Pod, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
} {
	return env.Clients.CoreV1().Pods(ns)
}

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
	}
}

func create(t *testing.T, ns string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	pod, err := pods(ns).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func remove(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	now := int64(0)
	if err := pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
}

// release takes the finalizers of a Pod away, so that it is gone.
func release(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	merge := []byte(`{"metadata":{"finalizers":null}}`)
	_, err := env.Clients.CoreV1().Pods(pod.Namespace).Patch(t.Context(), pod.Name, types.MergePatchType, merge, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func nameOf(pod *corev1.Pod) string {
	return v1.NameFor(types.NamespacedName(cache.NewObjectName(pod.Namespace, pod.Name)))
}

// read returns the Testcr called name, nil when there is none.
func read(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	u, err := testcrs().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return u, err
}

// waitTrue waits until the Testcr of the Pod says what the live Pod calls for.
func waitTrue(t *testing.T, pod *corev1.Pod) *unstructured.Unstructured {
	t.Helper()
	var got *unstructured.Unstructured
	testenv.Eventually(t, func(ctx context.Context) error {
		live, err := pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got, err = read(ctx, nameOf(pod)); err != nil || got == nil {
			return errors.Join(err, errors.New("no Testcr"))
		}
		want := testenv.Object(desired.FromPod(live))
		if diff := cmp.Diff(want.Object["spec"], got.Object["spec"]); diff != "" {
			return fmt.Errorf("spec (-want +got):\n%s", diff)
		}
		for k, v := range want.GetLabels() {
			if got.GetLabels()[k] != v {
				return fmt.Errorf("label %s is %q, want %q", k, got.GetLabels()[k], v)
			}
		}
		return nil
	})
	return got
}

func waitGone(t *testing.T, name string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := read(ctx, name)
		if err == nil && u != nil {
			err = errors.New("the Testcr is still there")
		}
		return err
	})
}

func mustRead(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	u, err := read(t.Context(), name)
	if err != nil || u == nil {
		t.Fatalf("Testcr %s: %v, %v", name, u, err)
	}
	return u
}

func patch(t *testing.T, name, merge string) {
	t.Helper()
	if _, err := testcrs().Patch(t.Context(), name, types.MergePatchType, []byte(merge), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// between runs before on each request that matches, ahead of the API server.
type between struct {
	http.RoundTripper
	before func(*http.Request) error
}

func (b between) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.before(req); err != nil {
		return nil, err
	}
	return b.RoundTripper.RoundTrip(req)
}

// cutter lets a test cut watches and hold up what would replace them.
type cutter struct {
	mu   sync.Mutex
	open []*body
	gate chan struct{} // closed: requests pass
	old  bool          // the next watches ask for a version that is long gone
	gone atomic.Int32  // watches that were answered with 410
}

func (c *cutter) answered410() int32 { return c.gone.Load() }

// body is the stream of one watch. Cut, it ends as if the server had ended it in
// good order; it counts the 410 that comes as the first event.
type body struct {
	io.ReadCloser
	cut  atomic.Bool
	gone *atomic.Int32
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if bytes.Contains(p[:n], []byte("too old resource version")) {
		b.gone.Add(1)
	}
	if err != nil && b.cut.Load() {
		err = io.EOF
	}
	return n, err
}

func newCutter() *cutter {
	c := &cutter{gate: make(chan struct{})}
	close(c.gate)
	return c
}

// ending is how a watch ends.
type ending string

const (
	// An orderly end: the informers watch on from where they were.
	ended ending = "it ends"
	// The same, but the new watches ask for version 1, which the API server
	// answers with 410 for Testcrs (their CRD is younger than that).
	tooOld ending = "it ends and its version is too old"
	// A broken connection: the informers list anew, and deliver what was deleted
	// in between as a tombstone.
	broken ending = "it breaks"
)

// cut ends all watches and holds up new ones until the returned function is
// called.
func (c *cutter) cut(how ending) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gate := make(chan struct{})
	c.gate, c.old = gate, how == tooOld
	for _, b := range c.open {
		b.cut.Store(how != broken)
		_ = b.Close()
	}
	c.open = nil
	return func() { close(gate) }
}

func (c *cutter) wrap(rt http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		query := req.URL.Query()
		if query.Get("watch") != "true" {
			return rt.RoundTrip(req)
		}
		c.mu.Lock()
		gate := c.gate
		c.mu.Unlock()
		select {
		case <-gate:
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.old && query.Get("sendInitialEvents") == "" {
			req = req.Clone(req.Context())
			query.Set("resourceVersion", "1")
			req.URL.RawQuery = query.Encode()
		}
		resp, err := rt.RoundTrip(req)
		if err == nil {
			b := &body{ReadCloser: resp.Body, gone: &c.gone}
			c.open, resp.Body = append(c.open, b), b
		}
		return resp, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
