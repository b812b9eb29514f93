package cli_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestASignalStopsTheProgramCleanly(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			namespace := env.Namespace(t, "")
			p := start(t, namespace)
			createPod(t, namespace, "nginx")
			hasTestcr(t, namespace, "nginx", true)
			p.Signal(t, signal)
			if code := p.Wait(t, testenv.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
			// Each write is in the feed, also one of the last moment.
			if err := p.Stdout.Has("add: " + namespace + "/nginx\n"); err != nil {
				t.Error(err)
			}
			if lines := strings.Split(strings.TrimSpace(p.Stderr.String()), "\n"); !strings.Contains(lines[len(lines)-1], `"Stopped"`) {
				t.Errorf("the last line is not of the stop:\n%s", p.Stderr)
			}
		})
	}
}

func TestASignalStopsTheProgramWhileItAsksAServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{})
			listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			go func() {
				if c, err := listener.Accept(); err == nil {
					close(asked)
					t.Cleanup(func() { _ = c.Close() })
				}
			}()
			login := testenv.Login{
				Cluster: &clientcmdapi.Cluster{Server: scheme + "://" + listener.Addr().String()}, User: &clientcmdapi.AuthInfo{},
			}
			p := command(t, "--kubeconfig="+login.Write(t)).Start(t)
			wait(t, asked)
			p.Signal(t, syscall.SIGTERM)
			if code := p.Wait(t, testenv.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if diff := cmp.Diff("", p.Stdout.String()+p.Stderr.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func wait(t *testing.T, until <-chan struct{}) {
	t.Helper()
	select {
	case <-until:
	case <-time.After(testenv.Patience):
		t.Fatalf("not within %s", testenv.Patience)
	}
}

// hanging is a proxy that, once told to, answers no request of one kind.
type hanging struct {
	method, path string
	on           atomic.Bool
	requests     atomic.Int32 // that hang or hung
}

func (h *hanging) hang(r *http.Request) bool {
	if !h.on.Load() || r.Method != h.method || !strings.HasSuffix(r.URL.Path, h.path) {
		return false
	}
	h.requests.Add(1)
	return true
}

func (h *hanging) waitFor(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		if h.requests.Load() == 0 {
			return errors.New("no request hangs yet")
		}
		return nil
	})
}

// writing returns a program with a write in flight that is never answered.
func writing(t *testing.T, change func(*testenv.Program)) *testenv.Program {
	t.Helper()
	h := &hanging{method: http.MethodPost, path: "/testcrs"}
	namespace := env.Namespace(t, "")
	p := command(t, "--kubeconfig="+env.Proxy(t, h.hang), "--namespace="+namespace)
	change(p)
	p.Start(t).Ready(t)
	h.on.Store(true) // not the one with dryRun before the start
	createPod(t, namespace, "nginx")
	h.waitFor(t)
	return p
}

func TestAStopWaitsForWritesInFlightButNotForEver(t *testing.T) {
	t.Parallel()
	p := writing(t, func(*testenv.Program) {})
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// All that can hold up a stop at once still has to fit into 5 s.
func TestAStopIsInTimeWhenEverythingHangs(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	h := &hanging{method: http.MethodPost, path: "/testcrs"}
	p := command(t, "--kubeconfig="+env.Proxy(t, h.hang), "--namespace="+namespace)
	blockStdout(t, p)
	p.Start(t).Ready(t)
	createPod(t, namespace, "printed")
	hasTestcr(t, namespace, "printed", true)
	h.on.Store(true)
	createPod(t, namespace, "hanging")
	h.waitFor(t)
	half, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Address(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = half.Close() })
	if _, err := half.Write([]byte("GET /livez HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestASecondSignalEndsTheProgramAtOnce(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			p := writing(t, func(*testenv.Program) {})
			begun := time.Now()
			testenv.Eventually(t, func(context.Context) error { // the second may come too soon to count as another signal
				if p.Running() == nil {
					_ = p.Cmd().Process.Signal(signal) // it may end just now
					return errors.New("still running")
				}
				return nil
			})
			if took := time.Since(begun); took > 2*time.Second { // a patient stop takes 3 s here
				t.Errorf("it took %s", took)
			}
			if code := p.Wait(t, testenv.StopWithin); code != -1 {
				t.Errorf("exit code %d, want an end by the signal", code)
			}
		})
	}
}

func TestASignalStopsTheProgramDuringTheFirstList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		path string
	}{
		{"of the Pods", "/pods"},
		{"of the Testcrs", "/testcrs"},
		{"of the CRD's discovery", "/apis/stable.example.com/v1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := &hanging{method: http.MethodGet, path: test.path}
			asked := atomic.Int32{}
			p := command(t, "--namespace="+env.Namespace(t, ""), "--kubeconfig="+env.Proxy(t, func(r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/apis/stable.example.com/v1") && asked.Add(1) == 1 {
					return false // preflight
				}
				h.on.Store(true)
				return h.hang(r)
			})).Start(t)
			h.waitFor(t)
			code, body, err := p.Get(t.Context(), t, "/readyz")
			if code != http.StatusServiceUnavailable || err != nil {
				t.Errorf("/readyz: %d %s, %v", code, body, err)
			}
			if code, body, err := p.Get(t.Context(), t, "/livez"); code != http.StatusOK || err != nil {
				t.Errorf("/livez: %d %s, %v", code, body, err)
			}
			p.Signal(t, syscall.SIGTERM)
			if code := p.Wait(t, testenv.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestProbesAnswerAndNothingBelowThemDoes(t *testing.T) {
	t.Parallel()
	p := start(t, env.Namespace(t, ""))
	tests := []struct {
		path string
		want int
	}{
		{"/livez", http.StatusOK}, {"/readyz", http.StatusOK}, {"/livez/more", http.StatusNotFound}, {"/readyz/more", http.StatusNotFound},
	}
	for _, test := range tests {
		if code, body, err := p.Get(t.Context(), t, test.path); code != test.want || err != nil {
			t.Errorf("%s: %d %q %v, want %d", test.path, code, body, err, test.want)
		}
	}
}
