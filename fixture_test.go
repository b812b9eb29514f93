package podinfolookup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
	"github.com/weiyuanke/PodInfoLookup/internal/wire/wiretest"
)

func TestMain(m *testing.M) {
	// Without client-go's rate limit of errors: its clock is one for the process, and
	// each bubble of virtual time begins anew.
	utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1]
	goleak.VerifyTestMain(m)
}

// api is a fake of the API server's Testcrs. Unlike client-go's fake it assigns UIDs
// and versions, and refuses stale writes. Requests of the controller go through
// Resource, those of other clients through put and remove.
type api struct {
	*dynamicfake.FakeDynamicClient

	// before is called before each write of the controller, without any lock held: a
	// reactor that blocks would block the watches of the fake as well.
	before func(verb, name string) error
	// hang makes each create wait for the end of its context.
	hang bool

	mu       sync.Mutex
	prune    func(*unstructured.Unstructured) // changes what is stored, like the schema of an old CRD
	version  int64
	requests []string // the writes of the controller, as "verb name"
}

func newAPI() *api {
	return &api{
		FakeDynamicClient: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
			map[schema.GroupVersionResource]string{v1.GroupVersionResource: "TestcrList"}),
		before:  func(string, string) error { return nil },
		version: 1, // as that of the fake's first list
	}
}

func (a *api) Resource(gvr schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return resource{a.FakeDynamicClient.Resource(gvr), a}
}

type resource struct {
	dynamic.NamespaceableResourceInterface

	api *api
}

func (r resource) request(verb, name string) error {
	r.api.mu.Lock()
	r.api.requests = append(r.api.requests, verb+" "+name)
	r.api.mu.Unlock()
	return r.api.before(verb, name)
}

func (r resource) Create(ctx context.Context, u *unstructured.Unstructured, _ metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	if err := r.request("create", u.GetName()); err != nil {
		return nil, err
	}
	if r.api.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return r.api.store(ctx, u, true)
}

func (r resource) Update(ctx context.Context, u *unstructured.Unstructured, _ metav1.UpdateOptions, _ ...string) (*unstructured.Unstructured, error) {
	if err := r.request("update", u.GetName()); err != nil {
		return nil, err
	}
	return r.api.store(ctx, u, false)
}

func (r resource) Delete(ctx context.Context, name string, options metav1.DeleteOptions, _ ...string) error {
	if err := r.request("delete", name); err != nil {
		return err
	}
	r.api.mu.Lock()
	defer r.api.mu.Unlock()
	existing, err := r.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if p := options.Preconditions; p == nil || *p.UID != existing.GetUID() || *p.ResourceVersion != existing.GetResourceVersion() {
		return apierrors.NewConflict(v1.GroupVersionResource.GroupResource(), name, errors.New("precondition failed"))
	}
	return r.NamespaceableResourceInterface.Delete(ctx, name, metav1.DeleteOptions{})
}

// store creates or updates an object as the API server does.
func (a *api) store(ctx context.Context, u *unstructured.Unstructured, isNew bool) (*unstructured.Unstructured, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	group, client, out := v1.GroupVersionResource.GroupResource(), a.FakeDynamicClient.Resource(v1.GroupVersionResource), plain(u)
	existing, err := client.Get(ctx, u.GetName(), metav1.GetOptions{})
	switch {
	case isNew && err == nil:
		return nil, apierrors.NewAlreadyExists(group, u.GetName())
	case !isNew && err != nil:
		return nil, err
	case !isNew && u.GetResourceVersion() != "" && u.GetResourceVersion() != existing.GetResourceVersion():
		return nil, apierrors.NewConflict(group, u.GetName(), errors.New("the object has been modified"))
	case !isNew:
		out.SetUID(existing.GetUID())
		out.SetResourceVersion(existing.GetResourceVersion())
	case u.GetUID() == "":
		out.SetUID(types.UID(fmt.Sprintf("testcr-%d", a.version)))
	}
	if a.prune != nil {
		a.prune(out)
	}
	if !isNew && cmp.Equal(existing.Object, out.Object) {
		return existing, nil
	}
	a.version++
	out.SetResourceVersion(strconv.FormatInt(a.version, 10))
	if isNew {
		return client.Create(ctx, out, metav1.CreateOptions{})
	}
	return client.Update(ctx, out, metav1.UpdateOptions{})
}

// plain returns u as the API server reads it. The fake copies objects, and a spec that
// is encoded already cannot be copied.
func plain(u *unstructured.Unstructured) *unstructured.Unstructured {
	data, err := json.Marshal(u.Object)
	out := &unstructured.Unstructured{}
	if err = errors.Join(err, json.Unmarshal(data, &out.Object)); err != nil {
		panic(err)
	}
	if managed := out.GetManagedFields(); len(managed) == 1 && managed[0].Manager == "" {
		out.SetManagedFields(nil)
	}
	return out
}

// put creates or overwrites a Testcr as another client.
func (a *api) put(t *testing.T, testcr *v1.Testcr, changes ...func(*unstructured.Unstructured)) {
	t.Helper()
	u, err := wire.ToUnstructured(testcr)
	if err != nil {
		t.Fatal(err)
	}
	u.SetResourceVersion("")
	for _, change := range changes {
		change(u)
	}
	if _, err = a.store(t.Context(), u, true); apierrors.IsAlreadyExists(err) {
		_, err = a.store(t.Context(), u, false)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// remove deletes a Testcr as another client.
func (a *api) remove(t *testing.T, name string) {
	t.Helper()
	if err := a.FakeDynamicClient.Resource(v1.GroupVersionResource).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// stored returns a Testcr, or nil.
func (a *api) stored(t *testing.T, name string) *v1.Testcr {
	t.Helper()
	u, err := a.FakeDynamicClient.Resource(v1.GroupVersionResource).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	testcr, err := wire.Decode(u)
	if err != nil {
		t.Fatal(err)
	}
	return &testcr.Testcr
}

// takeRequests returns the writes of the controller since the last call.
func (a *api) takeRequests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	requests := a.requests
	a.requests = nil
	return requests
}

// mute makes all watches of Testcrs this one, which sends nothing by itself.
func (a *api) mute() *watch.FakeWatcher {
	w := watch.NewFake()
	a.PrependWatchReactor("testcrs", func(clienttesting.Action) (bool, watch.Interface, error) { return true, w, nil })
	return w
}

// interruptible returns a function that ends all open watches of Testcrs.
func (a *api) interruptible() (endWatches func()) {
	var mu sync.Mutex
	var open []watch.Interface
	a.PrependWatchReactor("testcrs", func(action clienttesting.Action) (bool, watch.Interface, error) {
		w, err := a.Tracker().Watch(action.GetResource(), "")
		mu.Lock()
		defer mu.Unlock()
		open = append(open, w)
		return true, w, err
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range open {
			w.Stop()
		}
		open = nil
	}
}

// setup is what a fixture begins with.
type setup struct {
	pods          []*corev1.Pod
	namespaces    []string // watched; all without any
	leaderElected bool
	workers       int                         // 1 if zero
	check         func(context.Context) error // of the CRD; nil finds it
}

// fixture is a controller on fakes.
type fixture struct {
	*Controller

	api      *api
	podsAPI  *fake.Clientset
	recorder *record.FakeRecorder
	ctx      context.Context // of the test, with the logger
	logs     func() string

	mu     sync.Mutex
	writes []Write
}

// build returns a fixture whose caches do not run.
func (s setup) build(t *testing.T) *fixture {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	f := &fixture{
		api: newAPI(), podsAPI: fake.NewClientset(), recorder: record.NewFakeRecorder(1000),
		ctx:  klog.NewContext(t.Context(), logger),
		logs: logger.GetSink().(ktesting.Underlier).GetBuffer().String,
	}
	for _, pod := range s.pods {
		if err := f.podsAPI.Tracker().Add(pod); err != nil {
			t.Fatal(err)
		}
	}
	if s.check == nil {
		s.check = func(context.Context) error { return nil }
	}
	pods, err := podcache.New(f.podsAPI, s.namespaces...)
	if err != nil {
		t.Fatal(err)
	}
	testcrs, err := testcrcache.New(testcrcache.Config{Client: f.api, Reader: wiretest.Reader(f.api), Check: s.check})
	if err != nil {
		t.Fatal(err)
	}
	f.Controller, err = New(f.ctx, Config{
		Pods: pods, Testcrs: testcrs, LeaderElected: s.leaderElected, Workers: max(s.workers, 1), Recorder: f.recorder,
		OnWrite: func(w Write) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.writes = append(f.writes, w)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.queue.ShutDown)
	return f
}

// runCaches runs the caches until the test ends, as in a standby.
func (f *fixture) runCaches(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(f.ctx))
	var running sync.WaitGroup
	running.Go(func() { f.testcrs.RunWithContext(ctx) })
	running.Go(func() { f.pods.RunWithContext(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
}

// run runs the controller. stop begins its end, and done is closed after it.
func (f *fixture) run(t *testing.T) (stop func(), done chan struct{}) {
	t.Helper()
	ctx, stop := context.WithCancel(f.ctx)
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return stop, done
}

// runFor runs the controller for a time.
func (f *fixture) runFor(t *testing.T, term time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(f.ctx, term)
	defer stop()
	if err := f.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// queueOnly makes events be queued, although nothing drains the queue.
func (f *fixture) queueOnly() {
	f.queue.open("pods")
}

// queued returns the queued keys, and drains the queue.
func (f *fixture) queued() (keys []cache.ObjectName) {
	for f.queue.Len() > 0 {
		key, _ := f.queue.Get()
		keys = append(keys, key)
		f.queue.Done(key)
	}
	return keys
}

// takeWrites returns the writes since the last call.
func (f *fixture) takeWrites() []Write {
	f.mu.Lock()
	defer f.mu.Unlock()
	writes := f.writes
	f.writes = nil
	return writes
}

func (f *fixture) takeVerbs() (verbs []Verb) {
	for _, w := range f.takeWrites() {
		verbs = append(verbs, w.Verb)
	}
	return verbs
}

// takeEvents returns the reasons of the Events since the last call.
func (f *fixture) takeEvents() (reasons []string) {
	for len(f.recorder.Events) > 0 {
		reasons = append(reasons, strings.Fields(<-f.recorder.Events)[1])
	}
	return reasons
}

// entryOf returns a Testcr as the cache contains it.
func entryOf(t *testing.T, testcr *v1.Testcr, changes ...func(*unstructured.Unstructured)) *testcrcache.Entry {
	t.Helper()
	a := newAPI()
	a.put(t, testcr, changes...)
	testcrs, err := testcrcache.New(testcrcache.Config{Client: a, Reader: wiretest.Reader(a)})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := testcrs.Live(t.Context(), testcr.Name)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// malformed gives a Testcr a field that it must not have.
func malformed(u *unstructured.Unstructured) { u.Object["spec"].(map[string]any)["unknown"] = "x" }

func web(i int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%d", i), UID: types.UID(fmt.Sprintf("pod-%d", i))}}
}

func keyOfWeb(i int) cache.ObjectName { return cache.MetaObjectToName(web(i)) }

func testcrOf(pod *corev1.Pod, changes ...func(*v1.Testcr)) *v1.Testcr {
	t := desired.FromPod(pod)
	for _, change := range changes {
		change(t)
	}
	return t
}

func withoutLabels(t *v1.Testcr) { t.Labels = nil }

// deleting makes a Testcr one that a finalizer keeps.
func deleting(t *v1.Testcr) {
	t.DeletionTimestamp, t.Finalizers = new(metav1.Unix(1, 0)), []string{"example.com/hold"}
}

func hasEnded(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// createPod creates a Pod as another client.
func (f *fixture) createPod(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := f.podsAPI.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) updatePod(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if _, err := f.podsAPI.CoreV1().Pods(pod.Namespace).Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) deletePod(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := f.podsAPI.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
