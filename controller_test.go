package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

func TestMain(m *testing.M) {
	// Without client-go's brake on floods of errors: its clock is one for the
	// whole process, and each bubble of virtual time begins anew.
	utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1]
	goleak.VerifyTestMain(m)
}

func TestDecide(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"}}
	want := FromPod(pod)
	changed := func(change func(*Testcr)) *Testcr {
		t := FromPod(pod)
		change(t)
		return t
	}
	stored := changed(func(*Testcr) {})
	tests := []struct {
		name       string
		namespace  string // watched, "" for all
		want, have *Testcr
		verb       Verb
	}{
		{"no Pod and no Testcr need nothing", "", nil, nil, nothing},
		{"a Pod without a Testcr gets one", "", want, nil, Added},
		{"a Testcr that is right is left alone", "", want, stored, nothing},
		{"a Testcr that differs is updated", "", want, changed(func(t *Testcr) { t.Spec.PodIP = "x" }), Updated},
		{"a Testcr of an earlier Pod of the name is overwritten", "", want, changed(func(t *Testcr) { t.Spec.PodUID = "0" }), Updated},
		{"a Testcr that does not decode is updated", "", want, changed(func(t *Testcr) { t.malformed = true }), Updated},
		{"a Testcr without our label is adopted when it is of the Pod", "", want, changed(func(t *Testcr) { t.Labels = nil }), Updated},
		{"a Testcr without our label that is of another Pod is left alone", "", want,
			changed(func(t *Testcr) { t.Labels, t.Spec.PodKey = nil, "a/b" }), foreign},
		{"a Testcr with our label is overwritten whatever its key", "", want, changed(func(t *Testcr) { t.Spec.PodKey = "a/b" }), Updated},
		{"a Testcr whose Pod is gone is deleted", "", nil, stored, Deleted},
		{"a Testcr without our label is not deleted", "", nil, changed(func(t *Testcr) { t.Labels = nil }), nothing},
		{"a Testcr of the watched namespace is deleted", "shop", nil, stored, Deleted},
		{"a Testcr of another namespace is not deleted", "other", nil, stored, nothing},
		{"a Testcr whose key does not make its name is deleted by who watches the namespace of its label", "shop", nil,
			changed(func(t *Testcr) { t.Spec.PodKey, t.Spec.Namespace = "other/b", "other" }), Deleted},
		{"a Testcr whose key does not make its name is deleted by who watches its spec.namespace", "other", nil,
			changed(func(t *Testcr) { t.Spec.PodKey, t.Spec.Namespace = "x", "other" }), Deleted},
		{"a Testcr whose key does not make its name is not deleted by who watches another namespace", "b", nil,
			changed(func(t *Testcr) { t.Spec.PodKey = "b/b" }), nothing},
		{"a Testcr without key and namespace is deleted by everybody", "b", nil,
			changed(func(t *Testcr) {
				t.Spec.PodKey, t.Spec.Namespace = "", ""
				delete(t.Labels, LabelNamespace)
			}), Deleted},
		{"a Testcr whose key does not make its name is deleted by who watches all", "", nil,
			changed(func(t *Testcr) { t.Spec.PodKey = "shop/b" }), Deleted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &Controller{pods: podCaches{test.namespace: nil}, hash: md5Hex}
			if got := c.decide(cache.NewObjectName("shop", "web"), test.want, test.have); got != test.verb {
				t.Errorf("verb is %q, want %q", got, test.verb)
			}
		})
	}
}

func TestController_want_EmptiedRecord(t *testing.T) {
	pod := &podState{spec: specOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"}})}
	kept := func(change func(*Testcr)) *Testcr {
		t := pod.testcr()
		t.DeletionTimestamp, t.Finalizers = &metav1.Time{}, []string{"example.com/hold"}
		change(t)
		return t
	}
	emptied := TestcrSpec{PodKey: "shop/web", PodName: "web", Namespace: "shop", Terminating: true}
	done := kept(func(t *Testcr) { t.Spec = emptied })
	done.Labels = objectLabels(&emptied)
	tests := []struct {
		name      string
		namespace string // watched, "" for all
		pod       *podState
		have      *Testcr
		verb      Verb
		want      *TestcrSpec
	}{
		{"its Pod is there", "", pod, kept(func(t *Testcr) { t.Spec.PodIP = "x" }), Updated, &pod.spec},
		{"its Pod is gone", "", nil, kept(func(*Testcr) {}), Updated, &emptied},
		{"its Pod is gone, and it is emptied", "", nil, done, nothing, &emptied},
		{"its Pod is there again", "", pod, done, Updated, &pod.spec},
		{"it is another's", "", nil, kept(func(t *Testcr) { t.Labels = nil }), nothing, nil},
		{"it is of another namespace", "other", nil, kept(func(*Testcr) {}), nothing, nil},
		{"it names no Pod", "", nil, kept(func(t *Testcr) { t.Spec.PodKey = "a/b" }), Updated, &TestcrSpec{Terminating: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &Controller{pods: podCaches{test.namespace: nil}, hash: md5Hex}
			key := cache.NewObjectName("shop", "web")
			want := c.want(key, test.pod, test.have)
			if got := c.decide(key, want, test.have); got != test.verb {
				t.Errorf("verb is %q, want %q", got, test.verb)
			}
			switch {
			case (want == nil) != (test.want == nil):
				t.Errorf("wanted is %v, want %v", want, test.want)
			case want != nil && (!want.Spec.equal(test.want) || want.Name != test.have.Name):
				t.Errorf("wanted is %s %+v, want %s %+v", want.Name, want.Spec, test.have.Name, test.want)
			}
		})
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	resource := GroupVersionResource.GroupResource()
	noObject := apierrors.NewNotFound(resource, "x")
	noResource := apierrors.NewGenericServerResponse(404, "POST", resource, "x", "404 page not found", 0, true)
	tests := []struct {
		name               string
		err                error
		wantStale, wantCRD bool
	}{
		{"none", nil, false, false},
		{"a conflict", apierrors.NewConflict(resource, "x", errors.New("old")), true, false},
		{"one that exists", apierrors.NewAlreadyExists(resource, "x"), true, false},
		{"a missing object", noObject, true, false},
		{"a missing resource", noResource, false, true},
		{"a resource that is being deleted",
			apierrors.NewForbidden(resource, "x", errors.New("create not allowed while custom resource definition is terminating")), false, true},
		{"a resource that is being deleted, before 1.34", terminatingBefore134(), false, true},
		{"a resource of another scope", apierrors.NewMethodNotSupported(resource, "create"), false, false},
		{"a missing right", withRemedy(apierrors.NewForbidden(resource, "x", nil)), false, false},
		{"a wrapped conflict", fmt.Errorf("wrapped: %w", apierrors.NewConflict(resource, "x", errors.New("old"))), true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if isStale(test.err) != test.wantStale || isCRDGone(test.err) != test.wantCRD {
				t.Errorf("stale %t, CRD gone %t; want %t, %t", isStale(test.err), isCRDGone(test.err), test.wantStale, test.wantCRD)
			}
		})
	}
	if got := withRemedy(apierrors.NewForbidden(resource, "x", nil)).Error(); !strings.Contains(got, "yaml/rbac.yaml") {
		t.Errorf("a missing right has no remedy: %s", got)
	}
}

// terminatingBefore134 is a 405, and only its message tells why.
func terminatingBefore134() error {
	err := apierrors.NewMethodNotSupported(GroupVersionResource.GroupResource(), "create")
	err.ErrStatus.Message = "create not allowed while custom resource definition is terminating"
	return err
}

func TestConfigIsChecked(t *testing.T) {
	testcrs := newTestcrs(t, newDynamic())
	informer, err := NewPodInformer(fake.NewClientset(), metav1.NamespaceAll, testcrs)
	if err != nil {
		t.Fatal(err)
	}
	pods := map[string]*PodInformer{metav1.NamespaceAll: informer}
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{"no workers", Config{Pods: pods, Testcrs: testcrs}, "workers must be at least 1, not 0"},
		{"no Pod informer", Config{Testcrs: testcrs, Workers: 1}, "a controller needs a Pod informer and the Testcr informer"},
		{"no Testcr informer", Config{Pods: pods, Workers: 1}, "a controller needs a Pod informer and the Testcr informer"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := New(t.Context(), test.config); err == nil || err.Error() != test.want {
				t.Errorf("error is %v, want %s", err, test.want)
			}
		})
	}
}

// The rest runs on client-go's fakes and virtual time: it is about requests that
// hang or fail for long, which a real API server cannot be made to do.

func newDynamic() *dynamicfake.FakeDynamicClient {
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{GroupVersionResource: "TestcrList"})
}

func newTestcrs(t *testing.T, client *dynamicfake.FakeDynamicClient) *TestcrInformer {
	t.Helper()
	testcrs, err := NewTestcrInformer(client, nil, func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	testcrs.client = delayed{testcrs.client, func(string) error { return nil }}
	return testcrs
}

// delayed runs before on each create, outside the fake's lock: a reactor that
// blocks would block the fake's watches, too.
type delayed struct {
	dynamic.ResourceInterface
	before func(name string) error
}

func (d delayed) Create(ctx context.Context, u *unstructured.Unstructured, options metav1.CreateOptions, _ ...string) (*unstructured.Unstructured, error) {
	if err := d.before(u.GetName()); err != nil {
		return nil, err
	}
	return d.ResourceInterface.Create(ctx, plain(u), options)
}

func (d delayed) Update(ctx context.Context, u *unstructured.Unstructured, options metav1.UpdateOptions, _ ...string) (*unstructured.Unstructured, error) {
	return d.ResourceInterface.Update(ctx, plain(u), options)
}

// plain is u as an API server reads and counts it; the fakes copy objects, and a spec that
// is encoded to the end cannot be copied.
func plain(u *unstructured.Unstructured) *unstructured.Unstructured {
	data, err := u.MarshalJSON()
	if err == nil {
		u = &unstructured.Unstructured{}
		err = u.UnmarshalJSON(data)
	}
	if err != nil {
		panic(err)
	}
	u.SetResourceVersion(strconv.FormatInt(versions.Add(1), 10))
	return u
}

var versions atomic.Int64 // of what is written; the fakes give none

// start runs a controller with one worker on the fakes, with Pods to begin
// with. stop begins its end, and done is closed after it.
func start(t *testing.T, client *dynamicfake.FakeDynamicClient, before func(name string) error, pods ...runtime.Object) (c *Controller, stop func(), done chan struct{}) {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx, stop := context.WithCancel(klog.NewContext(t.Context(), logger))
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	testcrs := newTestcrs(t, client)
	informer, err := NewPodInformer(fake.NewClientset(pods...), metav1.NamespaceAll, testcrs)
	if err != nil {
		t.Fatal(err)
	}
	testcrs.client = delayed{testcrs.client, before}
	c, err = New(ctx, Config{
		Pods:    map[string]*PodInformer{metav1.NamespaceAll: informer},
		Testcrs: testcrs, Workers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { testcrs.RunWithContext(background) })
	wg.Go(func() { informer.RunWithContext(background) })
	done = make(chan struct{})
	go func() {
		defer close(done)
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-done
		stopBackground()
		wg.Wait()
	})
	return c, stop, done
}

func ended(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func web(i int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%d", i)}}
}

func TestRunDoesNotReturnWhileASyncRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, requests := make(chan struct{}), 0
		c, stop, done := start(t, newDynamic(), func(string) error {
			requests++
			<-release
			return nil
		}, web(1), web(2))
		synctest.Wait()
		if requests != 1 {
			t.Fatalf("%d requests are under way, want 1", requests)
		}
		stop()
		<-time.After(time.Minute) // virtual time
		if ended(done) {
			t.Error("Run returned while a request was under way")
		}
		close(release)
		synctest.Wait()
		if !ended(done) {
			t.Error("Run did not return after the last request")
		}
		if requests != 1 {
			t.Errorf("%d requests were made after the stop", requests-1)
		}
		var written int // whichever came first
		for _, pod := range []*corev1.Pod{web(1), web(2)} {
			if c.testcrs.get(FromPod(pod).Name) != nil {
				written++
			}
		}
		if written != 1 {
			t.Errorf("%d Testcrs are there: the request under way did not end well", written)
		}
	})
}

func TestRunReturnsBeforeTheCachesAreSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newDynamic()
		client.PrependReactor("list", "testcrs", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("no answer")
		})
		c, stop, done := start(t, client, func(string) error { return nil }, web(1))
		synctest.Wait()
		if err := c.Ready(); err == nil {
			t.Error("it is ready without Testcrs")
		}
		stop()
		synctest.Wait()
		if !ended(done) {
			t.Error("Run did not return")
		}
	})
}

func TestAFailingKeyBacksOffAndDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := web(0), web(1)
		var at []time.Duration
		begin := time.Now()
		c, stop, done := start(t, newDynamic(), func(name string) error {
			if name != FromPod(bad).Name {
				return nil
			}
			at = append(at, time.Since(begin))
			return apierrors.NewInternalError(errors.New("no"))
		}, bad, good)
		<-time.After(2 * retryMin) // virtual time
		if c.testcrs.get(FromPod(good).Name) == nil {
			t.Error("the other Pod waits, too")
		}
		<-time.After(4 * time.Minute) // virtual time
		stop()
		<-done
		if len(at) < 16 {
			t.Fatalf("only %d tries", len(at))
		}
		want := retryMin
		for i := 1; i < len(at); i++ {
			if got := at[i] - at[i-1]; got != want {
				t.Errorf("%s between tries %d and %d, want %s", got, i, i+1, want)
			}
			want = min(2*want, retryMax)
		}
	})
}

func TestWhatWentWhileNobodyWatchedIsBackWithin2Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newDynamic()
		client.PrependWatchReactor("testcrs", func(clienttesting.Action) (bool, watch.Interface, error) {
			return true, watch.NewFake(), nil // it tells nothing
		})
		var created []time.Time
		c, _, _ := start(t, client, func(string) error {
			created = append(created, time.Now())
			return nil
		}, web(1))
		synctest.Wait()
		if err := client.Resource(GroupVersionResource).Delete(t.Context(), FromPod(web(1)).Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.testcrs.GetStore().Bookmark(strconv.FormatInt(versions.Add(1), 10)) // as after another list
		<-time.After(time.Minute)                                             // virtual time
		if len(created) < 2 {
			t.Fatal("it was not created again")
		}
		if took := created[1].Sub(created[0]); took > 2*time.Second {
			t.Errorf("it was created again after %s, want 2 s at most", took)
		}
	})
}

func TestAWorkerThatIsStuckIsNotHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		c, _, _ := start(t, newDynamic(), func(string) error {
			<-release
			return nil
		}, web(1))
		<-time.After(stuckAfter - time.Second) // virtual time
		if err := c.Healthy(); err != nil {
			t.Errorf("too early: %v", err)
		}
		<-time.After(2 * time.Second) // virtual time
		if err := c.Healthy(); err == nil {
			t.Error("a worker is stuck and it is healthy")
		}
		close(release)
		synctest.Wait()
		if err := c.Healthy(); err != nil {
			t.Errorf("it goes on and is not healthy: %v", err)
		}
	})
}
