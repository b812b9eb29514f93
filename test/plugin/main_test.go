// Package plugin_test runs kubectl podinfo against a real API server, mostly as
// the command itself through its streams, and as a program where that matters.
package plugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/plugin"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env  *testenv.Env
	etcd *clientv3.Client
	// programs is a folder with the plugin and its completion, for PATH.
	programs string
)

func TestMain(m *testing.M) {
	testenv.Main(m, func(e *testenv.Env) {
		env, programs = e, filepath.Join(e.Dir, "programs")
		if err := build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		var err error
		etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{e.ControlPlane.Etcd.URL.String()}, Logger: zap.NewNop()})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		e.AtEnd = func() { _ = etcd.Close() }
	})
}

func build() error {
	source := filepath.Join(testenv.Root(), "cmd", "kubectl-podinfo")
	cmd := exec.Command("go", "build", "-race", "-o", filepath.Join(programs, "kubectl-podinfo"), ".") //nolint:noctx // there is no test yet
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return os.Symlink(filepath.Join(source, "kubectl_complete-podinfo"), filepath.Join(programs, "kubectl_complete-podinfo"))
}

// result is what a run of the plugin has left.
type result struct {
	Stdout, Stderr string
	Code           int
}

// run runs the plugin as the user of a kubeconfig.
func run(t *testing.T, kubeconfig, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &stdout, ErrOut: &stderr}
	code := plugin.Run(t.Context(), append([]string{"--kubeconfig=" + kubeconfig}, args...), streams)
	return result{stdout.String(), stderr.String(), code}
}

// running is a run of the plugin that goes on until the test ends it.
type running struct {
	Stdin          *io.PipeWriter
	Stdout, Stderr *testenv.Output
	stop           context.CancelFunc
	ended          chan int
}

func start(t *testing.T, kubeconfig string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	in, stdin := io.Pipe()
	r := &running{Stdin: stdin, Stdout: &testenv.Output{}, Stderr: &testenv.Output{}, stop: cancel, ended: make(chan int, 1)}
	streams := genericiooptions.IOStreams{In: in, Out: r.Stdout, ErrOut: r.Stderr}
	go func() { r.ended <- plugin.Run(ctx, append([]string{"--kubeconfig=" + kubeconfig}, args...), streams) }()
	t.Cleanup(func() {
		cancel()
		_ = in.Close()
		if t.Failed() {
			t.Logf("standard output:\n%s\nstandard error:\n%s", r.Stdout, r.Stderr)
		}
	})
	return r
}

// end interrupts the run and returns its exit code.
func (r *running) end() int {
	r.stop()
	return <-r.ended
}

// has waits until standard output has text.
func (r *running) has(t *testing.T, text string) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error { return r.Stdout.Has(text) })
}

// pod returns a running Pod, of which tests change what they are about.
func pod(key string, ips ...string) *corev1.Pod {
	namespace, name, _ := strings.Cut(key, "/")
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("00000000-0000-4000-8000-" + fmt.Sprintf("%012x", len(key)))},
		Spec:       corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "nginx:1.29"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for i, ip := range ips {
		if i == 0 {
			p.Status.PodIP = ip
		}
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

func testcrs() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

// create creates pods and their Testcrs, as the controller does, for as long as the test
// runs. The API server's watch cache has the Testcrs when it returns.
func create(t *testing.T, pods ...*corev1.Pod) {
	t.Helper()
	createPods(t, pods...)
	for _, p := range pods {
		put(t, desired.FromPod(p))
	}
}

// createPods creates Pods alone. They are put into etcd, because the API server gives
// each Pod a UID of its own, and refuses what hostile ones have in them.
func createPods(t *testing.T, pods ...*corev1.Pod) {
	t.Helper()
	for _, p := range pods {
		putPod(t, p)
		t.Cleanup(func() { removePod(context.WithoutCancel(t.Context()), t, p) })
	}
}

func etcdKey(p *corev1.Pod) string { return "/registry/pods/" + p.Namespace + "/" + p.Name }

func putPod(t *testing.T, p *corev1.Pod) {
	t.Helper()
	p = p.DeepCopy()
	p.APIVersion, p.Kind = "v1", "Pod"
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Put(t.Context(), etcdKey(p), string(data)); err != nil {
		t.Fatal(err)
	}
}

func removePod(ctx context.Context, t *testing.T, p *corev1.Pod) {
	t.Helper()
	if _, err := etcd.Delete(ctx, etcdKey(p)); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, c *v1.Testcr) {
	t.Helper()
	created, err := testcrs().Create(t.Context(), testenv.Object(c), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context()) // that one has ended
		if err := testcrs().Delete(ctx, c.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		// The next test may use the same IPs.
		gone(ctx, t, c.Name)
	})
	cached(t, created.GetName(), created.GetResourceVersion())
}

// cached waits until a read of version 0, as the plugin makes them, has this.
func cached(t *testing.T, name, version string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		got, err := testcrs().Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
		if err == nil && got.GetResourceVersion() != version {
			err = fmt.Errorf("version %s, want %s", got.GetResourceVersion(), version)
		}
		return err
	})
}

func gone(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	// A list that is not of version 0 waits for all that has happened.
	options := metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	if list, err := testcrs().List(ctx, options); err == nil && len(list.Items) > 0 {
		t.Errorf("%s is still there", name)
	}
}

// change overwrites the Testcr of a Pod.
func change(t *testing.T, p *corev1.Pod) {
	t.Helper()
	c := desired.FromPod(p)
	have, err := testcrs().Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.ResourceVersion = have.GetResourceVersion()
	changed, err := testcrs().Update(t.Context(), testenv.Object(c), metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cached(t, c.Name, changed.GetResourceVersion())
	putPod(t, p)
}

func remove(t *testing.T, p *corev1.Pod) {
	t.Helper()
	removePod(t.Context(), t, p)
	if err := testcrs().Delete(t.Context(), desired.FromPod(p).Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// requests counts what passes a proxy.
type requests struct {
	mu   sync.Mutex
	seen []string
}

// proxy returns a kubeconfig whose requests are recorded.
func (r *requests) proxy(t *testing.T) string {
	t.Helper()
	return env.Proxy(t, func(request *http.Request) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, request.Method+" "+request.URL.Path)
		return false
	})
}

func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}
