package rbac_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/cert"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// server is a run of the program as in yaml/deployment.yaml, but for the address.
type server struct {
	*testenv.Program
	client *http.Client
}

func start(t *testing.T, kubeconfig string, environment []string, args ...string) *server {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	s := &server{client: &http.Client{Transport: transport}}
	s.Program = testenv.Command(t, binary, append([]string{
		"--kubeconfig=" + kubeconfig, "--bind-address=127.0.0.1:0",
		"--tls-cert-file=" + filepath.Join(dir, "tls.crt"), "--tls-private-key-file=" + filepath.Join(dir, "tls.key"),
		"--leader-elect", "--leader-elect-resource-namespace=podinfolookup", "--print-changes=false", "--print-list=false",
	}, args...)...)
	s.Cmd().Env = append(s.Cmd().Env, environment...)
	s.Start(t)
	s.answers(t, "/readyz", "", http.StatusOK)
	// A standby is ready, too. If it stopped while it takes the lease, it could not
	// release a lease whose acquisition it has not observed.
	testenv.Eventually(t, func(context.Context) error { return s.Stderr.Has("Holding the lease") })
	return s
}

// answers waits until a path has an answer with the code.
func (s *server) answers(t *testing.T, path, token string, want int) {
	t.Helper()
	url := "https://" + s.Address(t) + path
	testenv.Eventually(t, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := s.client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != want {
			return fmt.Errorf("%s: %s, want %d", path, response.Status, want)
		}
		return nil
	})
}

// stop stops the program, which releases its lease.
func (s *server) stop(t *testing.T, lease string) {
	t.Helper()
	s.Signal(t, syscall.SIGTERM)
	if code := s.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	held, err := env.Clients.CoordinationV1().Leases("podinfolookup").Get(t.Context(), lease, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if holder := held.Spec.HolderIdentity; holder != nil && *holder != "" {
		t.Errorf("the lease is still held by %s", *holder)
	}
}

// live lets the program do all that it can do. idle tells what of its rights it
// has not used yet.
func live(t *testing.T, idle func() []right, lease string, args ...string) {
	t.Helper()
	other := &other{}
	s := start(t, env.Proxy(t, other.isAhead), nil, args...)
	pod := createPod(t, "nginx")
	other.of.Store(&pod)
	pod.run(t)
	testenv.Eventually(t, func(ctx context.Context) error { return pod.isTold(ctx, "spec.phase=Running") })
	if other.of.Load() != nil {
		t.Error("nobody was ahead of the program's update")
	}
	pod.delete(t)
	s.answers(t, "/v1/summary", caller(t, "reader", "podinfolookup-view"), http.StatusOK)

	// A person must act: a Testcr is in the way, then the CRD is gone, twice with
	// the same words, by which the second Event is a patch of the first.
	inTheWay(t, "blocked")
	blocked := createPod(t, "blocked")
	for range 2 {
		if err := env.DeleteCRD(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.answers(t, "/readyz", "", http.StatusServiceUnavailable)
		if err := env.ApplyCRD(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.answers(t, "/readyz", "", http.StatusOK)
	}
	testenv.Eventually(t, func(ctx context.Context) error { return blocked.isTold(ctx, "") })
	blocked.delete(t)
	testenv.Eventually(t, func(context.Context) error { // Events are sent when there is time, and the heartbeat is renewed each 10 s
		for _, r := range idle() {
			if r.Resource == "events" || strings.HasSuffix(r.Name, ".heartbeat") {
				return fmt.Errorf("not used yet: %+v", r)
			}
		}
		return nil
	})
	s.stop(t, lease)

	// An API server that does not stream lists, as those before 1.34, is asked for
	// them in the old way.
	start(t, env.Kubeconfig, []string{"KUBE_FEATURE_WatchListClient=false"}, args...).stop(t, lease)
}

// other writes a Testcr a moment before the program does, so that the program's
// own write is refused and it has to read.
type other struct{ of atomic.Pointer[pod] }

func (o *other) isAhead(r *http.Request) (hang bool) {
	pod := o.of.Load()
	if pod == nil || r.Method != http.MethodPut || path.Base(r.URL.Path) != pod.testcr() || !o.of.CompareAndSwap(pod, nil) {
		return false
	}
	_, _ = env.Dynamic.Resource(v1.GroupVersionResource).Patch(r.Context(), pod.testcr(), types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"by":"somebody"}}}`), metav1.PatchOptions{}) // if not, the right to get stays idle
	return false
}

// pod is a Pod of the namespace "default".
type pod string

func (p pod) testcr() string {
	return v1.NameFor(types.NamespacedName(cache.NewObjectName("default", string(p))))
}

// createPod creates a Pod. If nothing is in the way, its Testcr is there.
func createPod(t *testing.T, name string) pod {
	t.Helper()
	_, err := env.Clients.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := pod(name)
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := env.Dynamic.Resource(v1.GroupVersionResource).Get(ctx, p.testcr(), metav1.GetOptions{})
		return err
	})
	return p
}

// run does what a kubelet does.
func (p pod) run(t *testing.T) {
	t.Helper()
	_, err := env.Clients.CoreV1().Pods("default").Patch(t.Context(), string(p), types.MergePatchType,
		[]byte(`{"status":{"phase":"Running"}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
}

// isTold returns an error unless there is a Testcr of the Pod that the selector
// selects.
func (p pod) isTold(ctx context.Context, selector string) error {
	selector = strings.TrimPrefix(selector+",spec.podkey=default/"+string(p), ",")
	list, err := env.Dynamic.Resource(v1.GroupVersionResource).List(ctx, metav1.ListOptions{FieldSelector: selector})
	if err == nil && len(list.Items) != 1 {
		err = fmt.Errorf("%d Testcrs have %s", len(list.Items), selector)
	}
	return err
}

func (p pod) delete(t *testing.T) {
	t.Helper()
	if err := env.Clients.CoreV1().Pods("default").Delete(t.Context(), string(p), metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := env.Dynamic.Resource(v1.GroupVersionResource).Get(ctx, p.testcr(), metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("the Testcr of %s is still there", p)
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// inTheWay puts a Testcr that is not ours where that of a Pod would be.
func inTheWay(t *testing.T, name string) {
	t.Helper()
	u := testenv.Object(desired.FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "somebody", Name: "else", UID: "u"}}))
	u.SetName(pod(name).testcr())
	u.SetLabels(nil)
	if _, err := env.Dynamic.Resource(v1.GroupVersionResource).Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// caller returns a token of a new service account that has one of the roles which
// yaml/ has for others than the program.
func caller(t *testing.T, name, role string) string {
	t.Helper()
	apply(t, "rbac-view.yaml")
	apply(t, "rbac-metrics.yaml")
	namespace := env.Namespace(t, "")
	accounts := env.Clients.CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := env.Clients.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// The roles of rbac-view.yaml and rbac-metrics.yaml suffice, each for its own part.
func TestTheRolesForPeopleAndForScraping(t *testing.T) {
	s := start(t, env.Kubeconfig, nil, "--namespace=default", "--leader-elect-resource-name=podinfolookup")
	reader, scraper := caller(t, "reader", "podinfolookup-view"), caller(t, "scraper", "podinfolookup-metrics")
	s.answers(t, "/v1/summary", reader, http.StatusOK)
	s.answers(t, "/metrics", scraper, http.StatusOK)
	s.answers(t, "/v1/summary", scraper, http.StatusForbidden)
	s.answers(t, "/metrics", reader, http.StatusForbidden)
}
