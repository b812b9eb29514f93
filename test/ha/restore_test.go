package ha_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	// recovery is how long all may take to be right after the API server is back,
	// on a loaded machine.
	recovery = 15 * time.Second
	// distance is how many versions the API server is set back at least. While it
	// starts it makes some 100 itself.
	distance = 1000
	// bumped is the argument of `etcdutl snapshot restore --bump-revision`.
	bumped = 1_000_000_000
)

func testcrs() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

func start(t *testing.T, namespace, kubeconfig string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, binary, "--kubeconfig="+kubeconfig, "--bind-address=127.0.0.1:0", "--namespace="+namespace).Start(t).Ready(t)
}

func create(t *testing.T, namespace, name string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
	}
	if _, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, namespace, name, ip string) {
	t.Helper()
	status := fmt.Appendf(nil, `{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}]}}`, ip, ip)
	if _, err := env.Clients.CoreV1().Pods(namespace).Patch(t.Context(), name, types.MergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, namespace, name string) {
	t.Helper()
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := env.Clients.CoreV1().Pods(namespace).Delete(t.Context(), name, options); err != nil {
		t.Fatal(err)
	}
}

func nameFor(namespace, pod string) string {
	return v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, pod)))
}

// has waits until the Testcr of a Pod has an IP, or is gone for "-".
func has(t *testing.T, namespace, pod, ip string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error { return check(ctx, namespace, pod, ip) })
}

func check(ctx context.Context, namespace, pod, ip string) error {
	u, err := testcrs().Get(ctx, nameFor(namespace, pod), metav1.GetOptions{})
	if ip == "-" {
		if err == nil {
			return fmt.Errorf("the Testcr of %s is still there", pod)
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	spec, _ := u.Object["spec"].(map[string]any)
	if got, _ := spec["podip"].(string); got != ip {
		return fmt.Errorf("the Testcr of %s has podip %q, want %q", pod, got, ip)
	}
	return nil
}

// recovers waits until the Testcrs are those of want (by Pod, an IP or "-"), and
// has the program's own comparison find nothing.
func recovers(t *testing.T, namespace string, want map[string]string) {
	t.Helper()
	begun := time.Now()
	testenv.Eventually(t, func(ctx context.Context) error {
		var errs []error
		for pod, ip := range want {
			errs = append(errs, check(ctx, namespace, pod, ip))
		}
		return errors.Join(errs...)
	})
	took := time.Since(begun)
	t.Logf("all was right %s after the API server was back", took.Round(time.Millisecond))
	if took > recovery {
		t.Errorf("it took %s, want at most %s", took, recovery)
	}
	verify := testenv.Command(t, binary, "verify", "--kubeconfig="+env.Kubeconfig, "--settle=1s", "--namespace="+namespace).Start(t)
	if code := verify.Wait(t, testenv.Patience); code != 0 {
		t.Errorf("verify: exit code %d: %s%s", code, verify.Stdout, verify.Stderr)
	}
}

// advance makes versions, so that a restore of an earlier backup is far behind.
func advance(t *testing.T, namespace string) {
	t.Helper()
	maps := env.Clients.CoreV1().ConfigMaps(namespace)
	made, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "advance-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range distance {
		made.Data = map[string]string{"n": fmt.Sprint(i)}
		if made, err = maps.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProgram_RestoreOfEtcd(t *testing.T) {
	tests := []struct {
		name string
		bump uint64
	}{
		{name: "versions go back"},
		{name: "versions are bumped", bump: bumped},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ns := env.Namespace(t, "")
			p := start(t, ns, env.Kubeconfig)
			for _, pod := range []string{"stays", "changes", "goes", "comes-back", "edited", "deleted"} {
				create(t, ns, pod)
				run(t, ns, pod, "10.0.0.1")
				has(t, ns, pod, "10.0.0.1")
			}
			path := backup(t)

			run(t, ns, "changes", "10.0.0.2")
			has(t, ns, "changes", "10.0.0.2")
			create(t, ns, "comes")
			has(t, ns, "comes", "")
			remove(t, ns, "goes")
			has(t, ns, "goes", "-")
			remove(t, ns, "comes-back")
			create(t, ns, "comes-back")
			has(t, ns, "comes-back", "")
			edit := []byte(`{"spec":{"podip":"10.9.9.9"}}`)
			if _, err := testcrs().Patch(t.Context(), nameFor(ns, "edited"), types.MergePatchType, edit, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
			has(t, ns, "edited", "10.0.0.1")
			if err := testcrs().Delete(t.Context(), nameFor(ns, "deleted"), metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			has(t, ns, "deleted", "10.0.0.1")
			advance(t, ns)
			for i := range 5 {
				create(t, ns, fmt.Sprintf("late-%d", i))
			}
			has(t, ns, "late-4", "")

			restore(t, path, test.bump)
			want := map[string]string{"comes": "-", "late-0": "-", "late-4": "-"}
			for _, pod := range []string{"stays", "changes", "goes", "comes-back", "edited", "deleted"} {
				want[pod] = "10.0.0.1"
			}
			recovers(t, ns, want)
			run(t, ns, "stays", "10.0.0.3")
			create(t, ns, "after")
			remove(t, ns, "goes")
			recovers(t, ns, map[string]string{"stays": "10.0.0.3", "after": "", "goes": "-"})
			if err := p.Running(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestProgram_RestoreLosesUnconfirmedWrites restores a state in which writes of the
// program are missing that its watch had not confirmed.
func TestProgram_RestoreLosesUnconfirmedWrites(t *testing.T) {
	ns := env.Namespace(t, "")
	proxy := newProxy(t)
	start(t, ns, proxy.kubeconfig)
	for _, pod := range []string{"stays", "goes", "changes"} {
		create(t, ns, pod)
		run(t, ns, pod, "10.0.0.1")
		has(t, ns, pod, "10.0.0.1")
	}
	// A Pod without a Testcr, one whose Testcr is behind, and one that is to go.
	pass := proxy.holdWrites()
	defer pass()
	create(t, ns, "new")
	run(t, ns, "changes", "10.0.0.2")
	proxy.waitHeld(t, 2)
	path := backup(t)
	cut := proxy.stallWatch()
	defer cut()
	pass()
	has(t, ns, "new", "")
	has(t, ns, "changes", "10.0.0.2")
	remove(t, ns, "goes")
	has(t, ns, "goes", "-")
	advance(t, ns)

	restore(t, path, 0)
	cut()
	recovers(t, ns, map[string]string{"stays": "10.0.0.1", "new": "", "changes": "10.0.0.2", "goes": "10.0.0.1"})
}

// proxy stands between the program and the API server.
type proxy struct {
	kubeconfig string

	mu      sync.Mutex
	writes  chan struct{} // nil: writes of Testcrs pass; they wait until it is closed
	held    int
	stalled chan struct{} // nil: watches of Testcrs pass; they deliver nothing until it is closed, and end then
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	target, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport, forward.FlushInterval = transport, -1
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	forward.ModifyResponse = func(r *http.Response) error {
		if isTestcrs(r.Request) && r.Request.URL.Query().Get("watch") == "true" {
			r.Body = &stallingBody{r.Body, p}
		}
		return nil
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isTestcrs(r) && r.Method != http.MethodGet {
			p.hold()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.kubeconfig = testenv.Login{Cluster: &clientcmdapi.Cluster{Server: server.URL}, User: &clientcmdapi.AuthInfo{}}.Write(t)
	return p
}

func isTestcrs(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/"+v1.GroupVersionResource.Resource)
}

func (p *proxy) hold() {
	p.mu.Lock()
	writes := p.writes
	if writes != nil {
		p.held++
	}
	p.mu.Unlock()
	if writes != nil {
		<-writes
	}
}

// holdWrites holds up the program's writes until pass is called.
func (p *proxy) holdWrites() (pass func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	writes := make(chan struct{})
	p.writes = writes
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.writes = nil
		close(writes)
	})
}

func (p *proxy) waitHeld(t *testing.T, writes int) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held < writes {
			return fmt.Errorf("%d writes are held up, want %d", p.held, writes)
		}
		return nil
	})
}

// stallWatch has watches of Testcrs tell nothing more. The returned function ends
// them.
func (p *proxy) stallWatch() (cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stalled := make(chan struct{})
	p.stalled = stalled
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stalled = nil
		close(stalled)
	})
}

type stallingBody struct {
	io.ReadCloser
	proxy *proxy
}

func (b *stallingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.proxy.mu.Lock()
	stalled := b.proxy.stalled
	b.proxy.mu.Unlock()
	if stalled == nil {
		return n, err
	}
	<-stalled
	return 0, io.ErrUnexpectedEOF
}
