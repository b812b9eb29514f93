package testenv

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Login is one cluster and one user of a kubeconfig.
type Login struct {
	Cluster *clientcmdapi.Cluster
	User    *clientcmdapi.AuthInfo
}

// Login is the login of Env.Kubeconfig, to be changed at will.
func (e *Env) Login() Login {
	return Login{Cluster: e.cluster(), User: &clientcmdapi.AuthInfo{Token: e.Config.BearerToken}}
}

// User is the login of a new user, whose rights are those of the groups.
func (e *Env) User(t *testing.T, name string, groups ...string) Login {
	t.Helper()
	e.users.Lock()
	defer e.users.Unlock()
	user, err := e.AddUser(envtest.User{Name: name, Groups: append([]string{"system:authenticated"}, groups...)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := user.Config()
	return Login{
		Cluster: e.cluster(),
		User:    &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData},
	}
}

// Write returns a new kubeconfig with l under the context "test".
func (l Login) Write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*l.kubeconfig(), path); err != nil {
		t.Fatal(err)
	}
	return path
}

func (l Login) kubeconfig() *clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = l.Cluster
	config.AuthInfos["test"] = l.User
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	return config
}

// Proxy stands in front of the API server with the rights of Env.Config. A request that hang
// picks out is never answered. It returns the proxy's own kubeconfig.
func (e *Env) Proxy(t *testing.T, hang func(*http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(e.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(e.Config)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport, forward.FlushInterval = transport, -1
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hang(r) {
			_, _ = io.Copy(io.Discard, r.Body) // only then is the client's end noticed
			<-r.Context().Done()
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return Login{Cluster: &clientcmdapi.Cluster{Server: server.URL}, User: &clientcmdapi.AuthInfo{}}.Write(t)
}
