// Package serving_test talks to the built program over the network: who is let
// in where callers log in, by which certificate, and how much one caller may take.
package serving_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.Parallel(4)
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

// server is a run of the program and how to talk to it.
type server struct {
	*testenv.Program
	namespace string // --namespace: the Pods that it watches
	url       string
	client    *http.Client
}

// start runs the program until it is ready. Its certificate is not verified.
func start(t *testing.T, kubeconfig string, args ...string) *server {
	t.Helper()
	namespace := env.Namespace(t, "")
	args = append([]string{"--kubeconfig=" + kubeconfig, "--namespace=" + namespace, "-v=7"}, args...)
	s := &server{Program: testenv.Command(t, binary, args...).Start(t), namespace: namespace}
	_, port, err := net.SplitHostPort(s.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://127.0.0.1:" + port
	if s.Stderr.Has(" sha256=") == nil {
		s.url = "https://127.0.0.1:" + port
	}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // G402: tests look at the certificate themselves
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport}
	testenv.Eventually(t, func(ctx context.Context) error { return s.answers(ctx, "/readyz", nil, http.StatusOK) })
	return s
}

const (
	anywhere = "--bind-address=0.0.0.0:0" // not loopback
	loopback = "--bind-address=127.0.0.1:0"
)

// reply is an answer that was read to its end.
type reply struct {
	code        int
	header      http.Header
	body, proto string
	certificate *x509.Certificate // of the connection; nil without TLS
}

func (s *server) get(ctx context.Context, path string, header http.Header) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, testenv.Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		return reply{}, err
	}
	request.Header = header
	response, err := s.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	got := reply{code: response.StatusCode, header: response.Header, body: string(body), proto: response.Proto}
	if response.TLS != nil {
		got.certificate = response.TLS.PeerCertificates[0]
	}
	return got, err
}

// answers returns an error unless the answer has the code.
func (s *server) answers(ctx context.Context, path string, header http.Header, want int) error {
	got, err := s.get(ctx, path, header)
	if err == nil && got.code != want {
		err = fmt.Errorf("%s: %d %q, want %d", path, got.code, got.body, want)
	}
	return err
}

// account returns a token of a new service account that has the given verbs on
// Testcrs, once it has them.
func account(t *testing.T, namespace, name string, verbs ...string) string {
	t.Helper()
	meta := metav1.ObjectMeta{Name: name}
	accounts := env.Clients.CoreV1().ServiceAccounts(namespace)
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(verbs) > 0 {
		meta = metav1.ObjectMeta{GenerateName: "test-"}
		rbac := env.Clients.RbacV1()
		role, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"stable.example.com"}, Resources: []string{"testcrs"}, Verbs: verbs},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = rbac.ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, verb := range verbs {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + namespace + ":" + name,
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: "stable.example.com", Resource: "testcrs"},
		}}
		testenv.Eventually(t, func(ctx context.Context) error {
			answer, err := env.Clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err == nil && !answer.Status.Allowed {
				err = fmt.Errorf("it may not %s yet", verb)
			}
			return err
		})
	}
	request, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// pair is a certificate for 127.0.0.1 and its key, in PEM.
type pair struct{ cert, key []byte }

func newPair(t *testing.T, serial int64) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

// write puts the pair into a folder under the names of a Secret's keys.
func (p pair) write(t *testing.T, dir string) {
	t.Helper()
	for name, data := range map[string][]byte{"tls.crt": p.cert, "tls.key": p.key} {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Clone(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func files(dir string) []string {
	return []string{"--tls-cert-file=" + filepath.Join(dir, "tls.crt"), "--tls-private-key-file=" + filepath.Join(dir, "tls.key")}
}
