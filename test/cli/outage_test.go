package cli_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// relisted stands in front of an API server that cuts the first watch of Pods at
// once, is away for three lists, and is behind when it comes back.
type relisted struct {
	mu     sync.Mutex
	cut    bool
	away   int
	behind bool
}

func (s *relisted) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	if !s.answer(w, r) {
		next.ServeHTTP(w, r)
	}
}

// answer returns false for what the API server is to answer.
func (s *relisted) answer(w http.ResponseWriter, r *http.Request) bool {
	watch := r.URL.Query().Get("watch") != ""
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !strings.HasSuffix(r.URL.Path, "/pods"):
		return false
	case watch && !s.cut:
		s.cut = true
		w.Header().Set("Content-Type", "application/json;stream=watch")
	case !watch && s.cut && s.away < 3:
		s.away++
		http.Error(w, "away", http.StatusBadGateway)
	case !watch && s.cut && !s.behind:
		s.behind = true
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGatewayTimeout)
		_ = json.NewEncoder(w).Encode(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusGatewayTimeout,
			Reason: metav1.StatusReasonTimeout, Message: "Too large resource version",
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}},
		})
	default:
		return false
	}
	return true
}

func (s *relisted) kubeconfig(t *testing.T) string {
	t.Helper()
	target, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.FlushInterval = -1
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	if forward.Transport, err = rest.TransportFor(env.Config); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(forward, w, r) }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return testenv.Login{Cluster: &clientcmdapi.Cluster{Server: server.URL}, User: &clientcmdapi.AuthInfo{}}.Write(t)
}

// TestOutage_WithoutStreamedLists: the request that meets the end of an outage is
// not the one that met the outage. Each of its two causes is logged once, and its
// end is logged once all the same.
func TestOutage_WithoutStreamedLists(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	p := command(t, "--kubeconfig="+(&relisted{}).kubeconfig(t), "--namespace="+namespace)
	p.Cmd().Env = append(p.Cmd().Env, "KUBE_FEATURE_WatchListClient=false")
	p.Start(t)
	const begun, ended = `"Cannot list or watch, trying again"`, `"The API server answers again" resource="pods"`
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has(ended) })
	createPod(t, namespace, "nginx")
	hasTestcr(t, namespace, "nginx", true)
	if b, e := strings.Count(p.Stderr.String(), begun), strings.Count(p.Stderr.String(), ended); b < 1 || b > 2 || e != 1 {
		t.Errorf("an outage of two causes was logged %d times and its end %d times, want 1 or 2, and 1:\n%s", b, e, p.Stderr)
	}
}
