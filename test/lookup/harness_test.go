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
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

// prepare returns the handler of a Lookup on the API server, and its cache, which has
// yet to be run. wrap may be nil.
func prepare(t *testing.T, wrap transport.WrapperFunc) (http.Handler, *podcache.Cache) {
	t.Helper()
	return prepareWith(t, wrap, nil)
}

// prepareWith is prepare with a past, which may be nil.
func prepareWith(t *testing.T, wrap transport.WrapperFunc, past lookup.History) (http.Handler, *podcache.Cache) {
	t.Helper()
	config := rest.CopyConfig(env.Config)
	if wrap != nil {
		config.Wrap(wrap)
	}
	client, err := wire.NewPodClient(config)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := podcache.New(client)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lookup.New(t.Context(), lookup.Config{Pods: pods, Version: "v1.2.3", History: past})
	if err != nil {
		t.Fatal(err)
	}
	return l.Handler(), pods
}

// start returns the handler of a Lookup that is ready.
func start(t *testing.T) http.Handler {
	t.Helper()
	h, pods := prepare(t, nil)
	run(t, h, pods)
	return h
}

// run runs the cache until the test ends, and returns when h is ready.
func run(t *testing.T, h http.Handler, pods *podcache.Cache) {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logger))
	done := make(chan struct{})
	go func() {
		defer close(done)
		pods.RunWithContext(ctx)
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

// createTestcr writes the Testcr of a Pod, as the controller would; it goes with the
// test.
func createTestcr(t *testing.T, pod *corev1.Pod) {
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

// create makes a Pod with its status, and sets the fields that the API server does. It
// goes with the test.
func create(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	status := pod.Status
	have, err := env.Clients.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, pod) })
	*pod = *have
	pod.Status = status
	update(t, pod)
}

// update writes the status of a Pod.
func update(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	have, err := env.Clients.CoreV1().Pods(pod.Namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	*pod = *have
}

// remove deletes a Pod at once, also one that is gone already or waits for a finalizer.
func remove(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	pods := env.Clients.CoreV1().Pods(pod.Namespace)
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	_, err := pods.Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err == nil {
		err = pods.Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// newPod is a running Pod; digit, of 1 to 9, makes its facts its own.
func newPod(namespace, name string, digit int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(fmt.Sprintf("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f%d", digit)),
			Labels: map[string]string{"app": "web"}, CreationTimestamp: metav1.Unix(1_700_000_000, 0),
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "1", Controller: new(true)}},
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
