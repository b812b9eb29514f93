package testcrcache

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/rest"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
	"github.com/weiyuanke/PodInfoLookup/internal/wire/wiretest"
)

var groupResource = v1.GroupVersionResource.GroupResource()

func newDynamic(objects ...runtime.Object) *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{v1.GroupVersionResource: "TestcrList"}, objects...)
}

// newCache returns a cache with the defaults of these tests for what config lacks.
func newCache(t *testing.T, config Config) *Cache {
	t.Helper()
	if config.Client == nil {
		config.Client = newDynamic()
	}
	if config.Reader == nil {
		config.Reader = wiretest.Reader(config.Client)
	}
	if config.Check == nil {
		config.Check = func(context.Context) error { return nil }
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a cache until the test ends.
func start(t *testing.T, c *Cache) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.RunWithContext(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
}

// put stores an entry as the watch does.
func put(t *testing.T, c *Cache, entry *Entry) {
	t.Helper()
	if err := c.GetStore().Update(entry); err != nil {
		t.Fatal(err)
	}
}

// entryOf returns an entry that has no content but its identity.
func entryOf(name, uid, version string) *Entry {
	return newEntry(&wire.Testcr{Testcr: v1.Testcr{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), ResourceVersion: version}}})
}

// inTurn returns one error after the other, then the last one for ever.
func inTurn(errs ...error) func() error {
	return func() error {
		err := errs[0]
		if len(errs) > 1 {
			errs = errs[1:]
		}
		return err
	}
}

func checking(next func() error) func(context.Context) error {
	return func(context.Context) error { return next() }
}

func wanted() *v1.Testcr {
	return desired.FromPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "p1", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "main", Image: "nginx"}}},
		Status: corev1.PodStatus{
			PodIP:             "10.0.0.7",
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://0123456789abcdef"}},
		},
	})
}

// storedAs returns the entry of wanted as the API server stores it, after edits.
func storedAs(edits ...func(*wire.Testcr)) *Entry {
	t := &wire.Testcr{Testcr: *wanted()}
	t.UID, t.ResourceVersion = "t1", "7"
	for _, edit := range edits {
		edit(t)
	}
	return newEntry(t)
}

// stubReader is a wire.TestcrReader.
type stubReader struct {
	list  func(metav1.ListOptions) (runtime.Object, error)
	watch func(metav1.ListOptions) (watch.Interface, error)
}

func (r stubReader) List(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
	return r.list(options)
}

func (r stubReader) Watch(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return r.watch(options)
}

// request is one that the API server received.
type request struct {
	Verb, URL string
	Body      map[string]any
}

// apiServer answers the requests of a real client, without a network.
type apiServer struct {
	mu       sync.Mutex
	requests []request
	answer   func(request) any // an object, an error or a text, which is a 404
}

func (s *apiServer) config() *rest.Config {
	return &rest.Config{Host: "http://api", Transport: s, QPS: -1}
}

func (s *apiServer) client(t *testing.T) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(wire.ShortAnswers(s.config()))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := request{Verb: r.Method, URL: r.URL.RequestURI()}
	if r.Body != nil {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if len(data) > 0 {
			if err := json.Unmarshal(data, &got.Body); err != nil {
				return nil, err
			}
		}
	}
	s.requests = append(s.requests, got)
	code, header := http.StatusOK, http.Header{"Content-Type": {"application/json"}}
	var body []byte
	var err error
	switch answer := s.answer(got).(type) {
	case string:
		code, body = http.StatusNotFound, []byte(answer)
		header.Set("Content-Type", "text/plain")
	case apierrors.APIStatus:
		status := answer.Status()
		code = int(status.Code)
		status.Kind, status.APIVersion = "Status", "v1"
		body, err = json.Marshal(status)
	case error:
		return nil, answer
	default:
		body, err = json.Marshal(answer)
	}
	return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, err
}
