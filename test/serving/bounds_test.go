package serving_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// What docs/security.md says of tokens that are new, from one address.
const newTokens, newTokensASecond = 50, 5

// clientFrom returns a client with a loopback address of its own.
func clientFrom(t *testing.T, address string) *http.Client {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // G402: of no matter here
		DialContext:       dialer.DialContext,
		ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func bearing(token string) http.Header {
	return http.Header{"Authorization": {login("Bearer", token)}}
}

func TestLogin_ForgedTokensHaveABudgetAndLockNobodyOut(t *testing.T) {
	t.Parallel()
	const floodFor = 12 * time.Second // longer than an accepted token is cached
	namespace := env.Namespace(t, "")
	known, fresh := account(t, namespace, "known", "list"), account(t, namespace, "fresh", "list")
	for _, path := range []string{"/metrics", "/v1/pods", "/v1/events", "/v1/pods/default/none"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			var reviews atomic.Int64
			s := start(t, env.Proxy(t, func(r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/tokenreviews") {
					reviews.Add(1)
				}
				return false
			}), anywhere)
			flooding := *s // from the same address as the one who is known
			flooding.client = clientFrom(t, "127.0.0.2")
			if err := flooding.answers(t.Context(), all, bearing(known), http.StatusNotFound); err != nil {
				t.Fatal(err)
			}
			before, begun := reviews.Load(), time.Now()
			ctx, stop := context.WithCancel(t.Context())
			var flood sync.WaitGroup
			defer flood.Wait()
			defer stop()
			var sent, refused atomic.Int64
			for i := range 4 {
				flood.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						got, err := flooding.get(ctx, path, bearing(fmt.Sprintf("forged-%d-%d", i, n)))
						if err != nil {
							continue // the flood has ended
						}
						sent.Add(1)
						switch got.code {
						case http.StatusTooManyRequests:
							refused.Add(1)
							if got.header.Get("Retry-After") == "" {
								t.Error("429 without Retry-After")
							}
						case http.StatusUnauthorized:
						default:
							t.Errorf("a forged token gets %d %q", got.code, got.body)
						}
					}
				})
			}
			testenv.Eventually(t, func(context.Context) error {
				if sent.Load() < 4*newTokens {
					return fmt.Errorf("%d requests were sent", sent.Load())
				}
				return nil
			})
			if err := s.answers(t.Context(), all, bearing(fresh), http.StatusNotFound); err != nil {
				t.Errorf("a new login from another address: %v", err)
			}
			asked := 0
			for time.Since(begun) < floodFor {
				asked++
				if err := flooding.answers(t.Context(), all, bearing(known), http.StatusNotFound); err != nil {
					t.Fatalf("a login that is known, from the same address, after %s: %v", time.Since(begun), err)
				}
				if err := flooding.answers(t.Context(), "/livez", nil, http.StatusOK); err != nil {
					t.Fatal(err)
				}
			}
			stop()
			flood.Wait()
			took := time.Since(begun)
			// Each of the two valid tokens is reviewed once in 10 s.
			most := int64(newTokens + newTokensASecond*took.Seconds() + 4 + took.Seconds()/5)
			if n := reviews.Load() - before; n > most || refused.Load() == 0 {
				t.Errorf("%d TokenReviews in %s for %d forged tokens, %d of them refused; want at most %d", n, took, sent.Load(), refused.Load(), most)
			}
			t.Logf("%d TokenReviews in %s for %d forged tokens; a known one asked %d times", reviews.Load()-before, took, sent.Load(), asked)
		})
	}
}

// stream opens an event stream, which ends with the test.
func (s *server) stream(t *testing.T, token string) (code int, ended <-chan struct{}) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = bearing(token)
	response, err := s.client.Do(request) //nolint:bodyclose // the goroutine below closes it
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = response.Body.Close() }()
		_, _ = io.Copy(io.Discard, response.Body) // until either end closes it
	}()
	return response.StatusCode, done
}

func TestEvents_OneUserLeavesPlacesForOthers(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	greedy, other := account(t, namespace, "greedy", "list"), account(t, namespace, "other", "list")
	s := start(t, env.Kubeconfig, anywhere)
	open := 0
	for range 64 {
		client := *s
		client.client = clientFrom(t, "127.0.0.1") // a connection has 32 streams at most
		code, _ := client.stream(t, greedy)
		if code == http.StatusOK {
			open++
		} else if code != http.StatusTooManyRequests {
			t.Fatalf("%d", code)
		}
	}
	if open != 16 {
		t.Errorf("one user has %d streams, want 16", open)
	}
	if code, _ := s.stream(t, other); code != http.StatusOK {
		t.Errorf("another user gets %d", code)
	}
}

func TestEvents_EndWithTheTokenOrTheRight(t *testing.T) {
	t.Parallel()
	const within = time.Minute + testenv.Patience
	namespace := env.Namespace(t, "")
	s := start(t, env.Kubeconfig, anywhere)
	_, goesOn := s.stream(t, account(t, namespace, "stays", "list"))
	revoke := map[string]func(t *testing.T, name string) error{
		"token": func(t *testing.T, name string) error {
			t.Helper()
			return env.Clients.CoreV1().ServiceAccounts(namespace).Delete(t.Context(), name, metav1.DeleteOptions{})
		},
		"right": func(t *testing.T, name string) error {
			t.Helper()
			bindings, err := env.Clients.RbacV1().ClusterRoleBindings().List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return err
			}
			want := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
			for i := range bindings.Items {
				if b := &bindings.Items[i]; len(b.Subjects) == 1 && b.Subjects[0] == want {
					return env.Clients.RbacV1().ClusterRoleBindings().Delete(t.Context(), b.Name, metav1.DeleteOptions{})
				}
			}
			return fmt.Errorf("no binding of %s", name)
		},
	}
	var revoked sync.WaitGroup
	for name, take := range revoke {
		code, ended := s.stream(t, account(t, namespace, name, "list"))
		if code != http.StatusOK {
			t.Fatalf("%s: %d", name, code)
		}
		if err := take(t, name); err != nil {
			t.Fatal(err)
		}
		revoked.Go(func() {
			select {
			case <-ended:
			case <-time.After(within):
				t.Errorf("the stream goes on %s after its %s was taken away", within, name)
			}
		})
	}
	revoked.Wait()
	select {
	case <-goesOn:
		t.Error("the stream of another user has ended")
	default:
	}
}

func TestLoopback_ServesNoOtherHostAndNoOtherSite(t *testing.T) {
	t.Parallel()
	s := start(t, env.Kubeconfig, loopback)
	tests := []struct {
		name, path, host string
		fetch            []string // Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest
		want             int
	}{
		{name: "its own address", path: "/v1/pods", want: 200},
		{name: "localhost", path: "/v1/pods", host: "localhost:9090", want: 200},
		{name: "IPv6", path: "/v1/pods", host: "[::1]:9090", want: 200},
		{name: "a DNS name", path: "/v1/pods", host: "example.com", want: 403},
		{name: "the address of somebody else", path: "/v1/pods", host: "8.8.8.8", want: 403},
		{name: "a zone", path: "/v1/pods", host: "[fe80::1%25lo]", want: 403},
		{name: "the page", path: "/v1/search?q=x", fetch: []string{"same-origin", "cors", "empty"}, want: 200},
		{name: "a link to the page", path: "/?q=x", fetch: []string{"cross-site", "navigate", "document"}, want: 200},
		{name: "a link to an answer", path: "/v1/pods", fetch: []string{"cross-site", "navigate", "document"}, want: 403},
		{name: "a script of another site", path: "/v1/pods", fetch: []string{"cross-site", "no-cors", "script"}, want: 403},
		{name: "a script of another port", path: "/v1/search", fetch: []string{"same-site", "cors", "empty"}, want: 403},
		{name: "a frame of another site", path: "/", fetch: []string{"cross-site", "navigate", "iframe"}, want: 403},
		{name: "the metrics for another site", path: "/metrics", fetch: []string{"cross-site", "no-cors", "image"}, want: 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+test.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = test.host
			for i, value := range test.fetch {
				request.Header.Set([]string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"}[i], value)
			}
			response, err := s.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("%d, want %d", response.StatusCode, test.want)
			}
		})
	}
}

// memory returns a field of /proc/PID/status in bytes.
func (s *server) memory(t *testing.T, field string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Cmd().Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(status), field+":")
	var kilobytes int64
	if _, err := fmt.Sscan(text, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// createLarge creates Pods with an image of 700 kB and the phase Running.
func createLarge(t *testing.T, namespace string, n int) {
	t.Helper()
	image := strings.Repeat("i", 700_000)
	for i := range n {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("large-%02d", i), Labels: map[string]string{"app": "large"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
		}
		if _, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnswers_AreBoundedInBytes(t *testing.T) {
	t.Parallel()
	const (
		pods, readers = 60, 10
		most          = 4<<20 + 64<<10 // of the rows, and what is around them
		mostWhole     = 1 << 20
		growth        = 256 << 20 // with the race detector
	)
	s := start(t, env.Kubeconfig, loopback)
	createLarge(t, s.namespace, pods)
	type list struct {
		Total    int
		Continue string
		Items    []struct {
			PodKey     string
			Labels     map[string]string
			Containers []any
			Omitted    []string
		}
	}
	read := func(ctx context.Context, path string) (body string, a list, err error) {
		got, err := s.get(ctx, path+"&namespace="+s.namespace, nil)
		if err == nil && got.code != http.StatusOK {
			err = fmt.Errorf("%s: %d %s", path, got.code, got.body)
		}
		if err == nil {
			err = json.Unmarshal([]byte(got.body), &a)
		}
		return got.body, a, err
	}
	testenv.Eventually(t, func(ctx context.Context) error {
		_, a, err := read(ctx, "/v1/search?limit=1")
		if err == nil && a.Total != pods {
			err = fmt.Errorf("%d Pods, want %d", a.Total, pods)
		}
		return err
	})
	reset := fmt.Sprintf("/proc/%d/clear_refs", s.Cmd().Process.Pid)
	if err := os.WriteFile(reset, []byte("5"), 0o600); err != nil { // the highest resident size from now on
		t.Fatal(err)
	}
	before := s.memory(t, "VmRSS")
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for _, path := range []string{"/v1/search?limit=500", "/v1/pods?limit=500", "/v1/search?limit=500&sort=age"} {
				body, a, err := read(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				if len(body) > most || len(a.Items) != pods || a.Continue != "" {
					t.Errorf("%s: %d bytes, %d Pods, want at most %d bytes and %d Pods", path, len(body), len(a.Items), most, pods)
				}
				for _, item := range a.Items {
					whole := item.Labels["app"] == "large" && len(item.Containers) == 1
					none := item.Labels == nil && item.Containers == nil
					told := strings.Join(item.Omitted, " ")
					switch search := strings.HasPrefix(path, "/v1/search"); {
					case search && none && told == "":
					case !search && whole && told == "":
					case !search && none && told == "labels containers" && len(body) > mostWhole/2:
					default:
						t.Errorf("%s: %s has %d labels, %d containers, omitted %q", path, item.PodKey, len(item.Labels), len(item.Containers), told)
					}
				}
			}
		})
	}
	reading.Wait()
	if peak := s.memory(t, "VmHWM"); peak-before > growth {
		t.Errorf("%d readers took %d MiB, want at most %d", readers, (peak-before)>>20, growth>>20)
	} else {
		t.Logf("%d readers took %d MiB beyond %d", readers, (peak-before)>>20, before>>20)
	}
	got, err := s.get(t.Context(), "/v1/pods/"+s.namespace+"/large-00", nil)
	if err != nil || !strings.Contains(got.body, `"containers":[{`) {
		t.Errorf("one Pod has no containers: %v %.200s", err, got.body)
	}
}
