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
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// hush is a way to the API server on which the watch of Pods can fall silent, as
// on a connection that died without a word. It counts the looks at the lease.
type hush struct {
	mu     sync.Mutex
	silent chan struct{} // nil: all is let through
	looks  int
}

func newHush(t *testing.T) (h *hush, kubeconfig string) {
	t.Helper()
	target, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	h = &hush{}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport, forward.FlushInterval = transport, -1
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	forward.ModifyResponse = func(r *http.Response) error {
		path := r.Request.URL.Path
		if r.Request.Method == http.MethodGet && strings.Contains(path, "/leases/") {
			h.mu.Lock()
			h.looks++
			h.mu.Unlock()
		}
		if r.Request.URL.Query().Get("watch") == "true" && strings.HasSuffix(path, "/pods") {
			r.Body = &hushed{r.Body, r.Request.Context(), h}
		}
		return nil
	}
	server := httptest.NewServer(forward)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	login := testenv.Login{Cluster: &clientcmdapi.Cluster{Server: server.URL}, User: &clientcmdapi.AuthInfo{}}
	return h, login.Write(t)
}

// fall has the watch of Pods fall silent until rise is called.
func (h *hush) fall() (rise func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	silent := make(chan struct{})
	h.silent = silent
	return sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.silent = nil
		close(silent)
	})
}

// looked waits until the lease was looked at since.
func (h *hush) looked(t *testing.T) {
	t.Helper()
	count := func() int {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.looks
	}
	before := count()
	testenv.Eventually(t, func(context.Context) error {
		if count() < before+2 { // the first may have begun before
			return errors.New("nobody looked at the lease")
		}
		return nil
	})
}

type hushed struct {
	io.ReadCloser

	ctx  context.Context
	hush *hush
}

func (b *hushed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.hush.mu.Lock()
	silent := b.hush.silent
	b.hush.mu.Unlock()
	if silent != nil {
		select {
		case <-silent:
		case <-b.ctx.Done():
		}
	}
	return n, err
}

// setLease makes somebody the holder of the lease, as another candidate would, or
// releases it for "".
func setLease(t *testing.T, holder string) {
	t.Helper()
	leases := env.Clients.CoordinationV1().Leases("podinfolookup")
	testenv.Eventually(t, func(ctx context.Context) error { // the leader renews it meanwhile
		held, err := leases.Get(ctx, "podinfolookup", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if held.Spec.HolderIdentity = &holder; holder != "" {
			*held.Spec.LeaseTransitions++
		}
		now := metav1.NowMicro()
		held.Spec.RenewTime = &now
		_, err = leases.Update(ctx, held, metav1.UpdateOptions{})
		return err
	})
}

func holds(t *testing.T) string {
	t.Helper()
	var holder string
	testenv.Eventually(t, func(ctx context.Context) error {
		held, err := env.Clients.CoordinationV1().Leases("podinfolookup").Get(ctx, "podinfolookup", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if holder = *held.Spec.HolderIdentity; holder == "" || holder == "somebody" {
			return fmt.Errorf("the lease is held by %q", holder)
		}
		return nil
	})
	return holder
}

// TestHA_LeaseLostForAMoment loses the lease and has it again long before
// its renew deadline. Its watch of Pods is silent since before: what another has
// written meanwhile must stand.
func TestHA_LeaseLostForAMoment(t *testing.T) {
	namespace := env.Namespace(t, "")
	hush, kubeconfig := newHush(t)
	leader := command(t, kubeconfig, namespace, "--leader-elect-lease-duration=40s", "--leader-elect-renew-deadline=35s").Start(t).Ready(t)
	leads(t, leader)
	createPod(t, namespace, "changed")
	createPod(t, namespace, "same")
	wrote(t, leader, namespace, "changed")
	wrote(t, leader, namespace, "same")
	identity := holds(t)
	rise := hush.fall()
	defer rise()
	setLease(t, "somebody")
	hush.looked(t)

	// Somebody else writes a change that the leader of before has not seen.
	pods := env.Clients.CoreV1().Pods(namespace)
	pod, err := pods.Get(t.Context(), "changed", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, "10.0.0.9", []corev1.PodIP{{IP: "10.0.0.9"}}
	if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	next := command(t, env.Kubeconfig, namespace, "--leader-elect=false").Start(t)
	testenv.Eventually(t, func(context.Context) error { return next.Stdout.Has("update: " + namespace + "/changed\n") })
	next.Signal(t, syscall.SIGTERM)
	if code := next.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	testcrs := testcrs()
	changed := nameFor(namespace, "changed")
	want, err := testcrs.Get(t.Context(), changed, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}

	setLease(t, "")
	if holder := holds(t); holder != identity {
		t.Fatalf("the lease is held by %q, want %q", holder, identity)
	}
	// It works again once it repairs another Testcr; by the second time it has tried
	// again what failed without the lease.
	same := nameFor(namespace, "same")
	for range 2 {
		if err := testcrs.Delete(t.Context(), same, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		hasTestcr(t, namespace, "same")
	}
	rise()
	createPod(t, namespace, "after")
	wrote(t, leader, namespace, "after")
	got, err := testcrs.Get(t.Context(), changed, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Object, got.Object); diff != "" {
		t.Errorf("the Testcr (-as the other left it +now):\n%s", diff)
	}
}
