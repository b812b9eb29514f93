package lookup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var env *testenv.Env

func TestMain(m *testing.M) { testenv.Main(m, func(e *testenv.Env) { env = e }) }

// prepare returns the handler of a Lookup on the API server, and the informer
// that it listens to, which has yet to be run. wrap may be nil.
func prepare(t *testing.T, wrap transport.WrapperFunc) (http.Handler, *testcrcache.Cache) {
	t.Helper()
	config := rest.CopyConfig(env.Config)
	if wrap != nil {
		config.Wrap(wrap)
	}
	clientset := kubernetes.NewForConfigOrDie(config)
	reader, err := wire.NewTestcrReader(config)
	if err != nil {
		t.Fatal(err)
	}
	testcrs, err := testcrcache.New(testcrcache.Config{
		Client: dynamic.NewForConfigOrDie(config), Reader: reader,
		Check: func(ctx context.Context) error {
			return testcrcache.CheckCRD(ctx, discovery.ToDiscoveryInterfaceWithContext(clientset.Discovery()))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := lookup.New(t.Context(), testcrs, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	return l.Handler(), testcrs
}

// start returns the handler of a Lookup that is ready. Its informer stops with
// the test.
func start(t *testing.T, wrap transport.WrapperFunc) http.Handler {
	t.Helper()
	h, testcrs := prepare(t, wrap)
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logger))
	done := make(chan struct{})
	go func() {
		defer close(done)
		testcrs.RunWithContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	testenv.Eventually(t, func(ctx context.Context) error {
		if code, a := ask(ctx, t, h, "/v1/summary"); code != http.StatusOK {
			return fmt.Errorf("%d %s", code, a.Error)
		}
		return nil
	})
	return h
}

func get(ctx context.Context, h http.Handler, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	r.Header = header
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answer is what these tests read of any answer.
type answer struct {
	Error string
	lookup.View
	Items []lookup.Pod
	Pod   lookup.Pod
}

func ask(ctx context.Context, t *testing.T, h http.Handler, path string) (int, answer) {
	t.Helper()
	w := get(ctx, h, path, http.Header{})
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return w.Code, a
}

// waitFor waits until path is answered with these Pods, by their keys; with none
// it waits for 404.
func waitFor(t *testing.T, h http.Handler, path string, want ...string) answer {
	t.Helper()
	var last answer
	testenv.Eventually(t, func(ctx context.Context) error {
		var code int
		code, last = ask(ctx, t, h, path)
		got := make([]string, len(last.Items))
		for i := range last.Items {
			got[i] = last.Items[i].PodKey
		}
		wantCode := http.StatusOK
		if len(want) == 0 {
			wantCode = http.StatusNotFound
		}
		if code != wantCode || strings.Join(want, " ") != strings.Join(got, " ") {
			return fmt.Errorf("%s: %d %s %v, want %d %v", path, code, last.Error, got, wantCode, want)
		}
		return nil
	})
	return last
}

func testcrs() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

// create writes the Testcr of a Pod, as the controller would; it goes with the
// test.
func create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	testcr := desired.FromPod(pod)
	if _, err := testcrs().Create(t.Context(), testenv.Object(testcr), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := testcrs().Delete(context.WithoutCancel(t.Context()), testcr.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// update writes the Testcr of a Pod over the one that is there.
func update(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	u := testenv.Object(desired.FromPod(pod))
	have, err := testcrs().Get(t.Context(), u.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u.SetResourceVersion(have.GetResourceVersion())
	if _, err := testcrs().Update(t.Context(), u, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := testcrs().Delete(t.Context(), desired.FromPod(pod).Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// newPod is a running Pod; digit, of 1 to 9, makes its facts its own.
func newPod(namespace, name string, digit int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(fmt.Sprintf("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f%d", digit)),
			Labels: map[string]string{"app": "web"}, CreationTimestamp: metav1.Unix(1_700_000_000, 0),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprint("node-", digit), ServiceAccountName: "default",
			Containers:     []corev1.Container{{Name: "web", Image: "nginx:1.29"}},
			InitContainers: []corev1.Container{{Name: "setup", Image: "busybox"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: fmt.Sprint("192.168.7.", digit), PodIP: fmt.Sprint("10.7.0.", digit), StartTime: new(metav1.Unix(1_700_000_005, 0)),
			PodIPs:            []corev1.PodIP{{IP: fmt.Sprint("10.7.0.", digit)}, {IP: fmt.Sprint("fd00:7::", digit)}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", ContainerID: "containerd://" + idOf(digit)}},
		},
	}
}

func idOf(digit int) string { return strings.Repeat(fmt.Sprint(digit), 64) }
