package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// install is a fake API server and kubelet with replicas of PodInfoLookup. The
// protocols are those of Kubernetes: SPDY, and SPDY in a WebSocket.
type install struct {
	url       string
	webSocket bool            // else the API server refuses WebSockets
	refused   map[string]bool // resources that the user has no right to

	mu       sync.Mutex
	replicas map[string]*replica
	hosts    []string // that the pages were asked for
}

type replica struct {
	page    string // address of its page; "" if nothing listens there
	unready bool
	open    []net.Conn // port-forwards
}

// newInstall serves replicas, each with its name as the page.
func newInstall(t *testing.T, webSocket bool, replicas ...string) *install {
	t.Helper()
	i := &install{webSocket: webSocket, refused: map[string]bool{}, replicas: map[string]*replica{}}
	for _, name := range replicas {
		page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			i.mu.Lock()
			defer i.mu.Unlock()
			i.hosts = append(i.hosts, r.Host)
			fmt.Fprint(w, name)
		}))
		t.Cleanup(page.Close)
		i.replicas[name] = &replica{page: page.Listener.Addr().String()}
	}
	kubelet := httptest.NewUnstartedServer(http.HandlerFunc(i.serveKubelet))
	kubelet.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	kubelet.Start()
	t.Cleanup(kubelet.Close)
	server := httptest.NewServer(i.apiServer(t, kubelet.URL))
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		for name := range i.replicas {
			i.end(name)
		}
	})
	i.url = server.URL
	return i
}

// end removes a replica and cuts its port-forwards.
func (i *install) end(name string) {
	i.mu.Lock()
	r := i.replicas[name]
	delete(i.replicas, name)
	i.mu.Unlock()
	i.cut(r)
}

func (i *install) cut(r *replica) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, conn := range r.open {
		_ = conn.Close() // it may be cut already
	}
}

func (i *install) setUnready(r *replica, unready bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	r.unready = unready
}

func (i *install) apiServer(t *testing.T, kubelet string) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/namespaces/podinfolookup/pods", func(w http.ResponseWriter, r *http.Request) {
		if i.isRefused(w, "pods") {
			return
		}
		if got := r.URL.Query().Get("labelSelector"); got != "app.kubernetes.io/name=podinfolookup" {
			t.Errorf("label selector %q", got)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(i.pods())
	})
	mux.HandleFunc("/api/v1/namespaces/podinfolookup/pods/{name}/portforward", func(w http.ResponseWriter, r *http.Request) {
		if i.isRefused(w, "pods/portforward") {
			return
		}
		to, err := url.Parse(kubelet + "/" + r.PathValue("name"))
		if err != nil {
			t.Error(err)
			return
		}
		var handler http.Handler = utilproxy.NewUpgradeAwareHandler(to, nil, false, true, responder{})
		switch isWebSocket := wsstream.IsWebSocketRequest(r); {
		case isWebSocket && !i.webSocket:
			http.Error(w, "no WebSocket here", http.StatusBadRequest)
			return
		case isWebSocket:
			handler = proxy.NewTunnelingHandler(handler)
		}
		handler.ServeHTTP(w, r)
	})
	return mux
}

type connKey struct{} // of the connection of a request to the kubelet

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusBadGateway)
}

// isRefused responds as an API server does to a user without a right.
func (i *install) isRefused(w http.ResponseWriter, resource string) bool {
	if !i.refused[resource] {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusForbidden)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusForbidden,
		Reason: metav1.StatusReasonForbidden, Message: resource + ` is forbidden: User "ann" cannot`,
	})
	return true
}

func (i *install) pods() corev1.PodList {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for name, r := range i.replicas {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		pod.CreationTimestamp = metav1.NewTime(time.Unix(int64(name[0]), 0)) // z is the newest
		if !r.unready {
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		list.Items = append(list.Items, pod)
	}
	return list
}

// serveKubelet forwards the data stream of each connection to the page of the replica.
func (i *install) serveKubelet(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return
	}
	name := strings.Trim(r.URL.Path, "/")
	streams := make(chan httpstream.Stream, 64) // more than a test opens at once; their order counts
	c := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	if c == nil {
		return
	}
	defer func() { _ = c.Close() }()
	i.mu.Lock()
	replica := i.replicas[name]
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	replica.open = append(replica.open, conn)
	i.mu.Unlock()
	failures := map[string]httpstream.Stream{} // by request
	for {
		select {
		case <-c.CloseChan():
			return
		case s := <-streams:
			id := s.Headers().Get(corev1.PortForwardRequestIDHeader)
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				failures[id] = s
				continue
			}
			go forwardTo(replica.page, s, failures[id])
		}
	}
}

func forwardTo(page string, data, failure httpstream.Stream) {
	defer func() { _ = failure.Close() }()
	defer func() { _ = data.Close() }()
	conn, err := net.Dial("tcp", page) //nolint:noctx // it ends with the page's server
	if err != nil {
		fmt.Fprintf(failure, "error forwarding port: %v", err)
		return
	}
	defer func() { _ = conn.Close() }()
	go func() { _, _ = io.Copy(conn, data) }()
	_, _ = io.Copy(data, conn)
}

// web is a run of kubectl podinfo web.
type web struct {
	page      string
	stderr    *buffer
	interrupt context.CancelFunc
	code      chan int
}

// buffer is written and read at the same time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startWeb returns when the address of the page is printed.
func startWeb(t *testing.T, i *install, args ...string) *web {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	out, in := io.Pipe()
	w := &web{stderr: &buffer{}, interrupt: interrupt, code: make(chan int, 1)}
	args = append([]string{"web", "--port=0", "--kubeconfig=" + kubeconfig(t, i.url, "c"), "--context=c"}, args...)
	go func() {
		code := Run(ctx, args, genericiooptions.IOStreams{Out: in, ErrOut: w.stderr})
		_ = in.Close()
		w.code <- code
	}()
	t.Cleanup(interrupt)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no address of the page: %v, exit code %d, standard error:\n%s", err, <-w.code, w.stderr)
	}
	w.page = strings.TrimSpace(line)
	return w
}

// read returns the page.
func (w *web) read(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.page, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// eventually fails the test unless condition holds within half a minute.
func eventually(t *testing.T, w *web, condition func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%v; standard error:\n%s", last, w.stderr)
	}
}

func (w *web) reads(want string) func(context.Context) error {
	return func(ctx context.Context) error {
		got, err := w.read(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("the page is %q, want %q", got, want)
		}
		return err
	}
}

// reports returns an error unless standard error has text so many times.
func (w *web) reports(text string, times int) func(context.Context) error {
	return func(context.Context) error {
		if got := strings.Count(w.stderr.String(), text); got != times {
			return fmt.Errorf("standard error has %q %d times, want %d", text, got, times)
		}
		return nil
	}
}

func TestWeb(t *testing.T) {
	for _, test := range []struct {
		name      string
		webSocket bool
	}{{"over a WebSocket", true}, {"over SPDY", false}} {
		t.Run(test.name, func(t *testing.T) {
			i := newInstall(t, test.webSocket, "a", "b")
			w := startWeb(t, i)
			if err := w.reads("b")(t.Context()); err != nil { // the newest
				t.Fatal(err)
			}
			host := strings.TrimSuffix(strings.TrimPrefix(w.page, "http://"), "/")
			i.mu.Lock()
			if slices.ContainsFunc(i.hosts, func(h string) bool { return h != host }) || !strings.HasPrefix(host, "127.0.0.1:") {
				t.Errorf("page %q, its replica was asked for the hosts %q", w.page, i.hosts)
			}
			i.mu.Unlock()
			if want := "by a port-forward to Pod podinfolookup/b, until Ctrl-C\n"; !strings.Contains(w.stderr.String(), want) {
				t.Errorf("standard error %q lacks %q", w.stderr, want)
			}
			// That replica goes, then all, then one comes back: the address stays.
			const again = "note: connected again, to Pod podinfolookup/a\n"
			i.end("b")
			eventually(t, w, w.reads("a"))
			eventually(t, w, w.reports(again, 1))
			last := i.replicas["a"]
			i.setUnready(last, true)
			i.cut(last)
			eventually(t, w, w.reports("none of the 1 Pods of PodInfoLookup in namespace podinfolookup is ready", 1))
			i.setUnready(last, false)
			eventually(t, w, w.reports(again, 2))
			if err := w.reads("a")(t.Context()); err != nil {
				t.Error(err)
			}
			w.interrupt()
			if code := <-w.code; code != exitOK {
				t.Errorf("exit code %d after an interrupt", code)
			}
			if _, err := w.read(t.Context()); err == nil {
				t.Error("the page is there after the end")
			}
			// A warning for each cause, not for each try.
			for _, want := range []string{
				"warning: the port-forward to Pod podinfolookup/b ended: lost connection to pod: trying again until Ctrl-C\n", " is ready",
			} {
				if err := w.reports(want, 1)(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestWeb_NextReplica(t *testing.T) {
	i := newInstall(t, true, "a", "b")
	i.replicas["b"].page = "" // an older version
	w := startWeb(t, i)
	if err := w.reads("a")(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.interrupt()
	if code := <-w.code; code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestWeb_Open(t *testing.T) {
	dir := t.TempDir()
	opened := filepath.Join(dir, "opened")
	script := "#!/bin/sh\necho \"$@\" >" + opened + ".new && mv " + opened + ".new " + opened + "\n"
	for _, name := range []string{"xdg-open", "open"} { // on Linux and on macOS
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil { //nolint:gosec // G306: it is run
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	w := startWeb(t, newInstall(t, true, "a"), "--open")
	eventually(t, w, func(context.Context) error {
		got, err := os.ReadFile(opened)
		if err == nil && string(got) != w.page+"\n" {
			err = fmt.Errorf("opened %q, want %q", got, w.page)
		}
		return err
	})
	w.interrupt()
	<-w.code

	t.Setenv("PATH", filepath.Join(dir, "empty"))
	w = startWeb(t, newInstall(t, true, "a"), "--open")
	eventually(t, w, w.reports("warning: no browser was opened: ", 1))
	w.interrupt()
	<-w.code
}

func TestWeb_Errors(t *testing.T) {
	const bind = "kubectl create rolebinding podinfolookup-portforward-NAME -n podinfolookup --role=podinfolookup-portforward --user=NAME"
	used, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = used.Close() })
	_, port, _ := net.SplitHostPort(used.Addr().String())
	tests := []struct {
		name     string
		replicas []string
		change   func(*install)
		args     []string
		wantCode int
		want     []string // parts of standard error
	}{
		{name: "no replica", wantCode: 1,
			want: []string{"no Pod of PodInfoLookup in namespace podinfolookup", "--podinfo-namespace", "kubectl apply -k yaml/", "http://127.0.0.1:9090/"}},
		{name: "no replica is ready", replicas: []string{"a"}, change: func(i *install) { i.replicas["a"].unready = true }, wantCode: 1,
			want: []string{"none of the 1 Pods", "kubectl -n podinfolookup describe pods"}},
		{name: "nothing listens", replicas: []string{"a"}, change: func(i *install) { i.replicas["a"].page = "" }, wantCode: 1,
			want: []string{"port-forward to Pod podinfolookup/a: no answer on its port 9091: unless it has just ended, ", " lack --local-bind-address=127.0.0.1:9091, "}},
		{name: "no right to list Pods", replicas: []string{"a"}, change: func(i *install) { i.refused["pods"] = true }, wantCode: 1,
			want: []string{`Error from server (Forbidden): pods is forbidden: User "ann" cannot`, bind}},
		{name: "no right to forward ports", replicas: []string{"a", "b"}, change: func(i *install) { i.refused["pods/portforward"] = true }, wantCode: 1,
			want: []string{`Error from server (Forbidden): `, `pods/portforward is forbidden: User "ann" cannot`, bind}},
		{name: "no right to forward ports over SPDY", replicas: []string{"a"}, change: func(i *install) {
			i.webSocket, i.refused["pods/portforward"] = false, true
		}, wantCode: 1, want: []string{bind}},
		{name: "a port that is in use", replicas: []string{"a"}, args: []string{"--port=" + port}, wantCode: 1,
			want: []string{"--port=" + port + ": ", "address already in use: choose another port, 0 takes a free one"}},
		{name: "several clusters", args: []string{"--all-contexts"}, wantCode: 2, want: []string{"web opens the page of one cluster"}},
		{name: "no port", args: []string{"--podinfo-port=0"}, wantCode: 2, want: []string{"--podinfo-port=0: must be a port from 1 on"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newInstall(t, true, test.replicas...)
			if test.change != nil {
				test.change(i)
			}
			var stdout, stderr bytes.Buffer
			args := append([]string{"web", "--kubeconfig=" + kubeconfig(t, i.url, "c")}, test.args...)
			if !slices.Contains(test.args, "--all-contexts") {
				args = append(args, "--context=c")
			}
			code := Run(t.Context(), args, genericiooptions.IOStreams{Out: &stdout, ErrOut: &stderr})
			if code != test.wantCode || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("exit code %d, want %d; standard output %q, standard error %q", code, test.wantCode, &stdout, &stderr)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("standard error %q lacks %q", &stderr, want)
				}
			}
		})
	}
}

// Many Pods and workloads are called "web".
func TestRemoveWebFrom(t *testing.T) {
	tests := []struct {
		args []string
		want string // the command
	}{
		{args: []string{"web"}, want: "web"},
		{args: []string{"--context=c", "web", "--open"}, want: "web"},
		{args: []string{"web", "--kubeconfig", "f", "--port=0"}, want: "web"},
		{args: []string{"web", "--help"}, want: "web"},
		{args: []string{"web", "--port=none"}, want: "web"},
		{args: []string{"web", "-v", "6"}, want: "web"},
		{args: []string{"web", "-v", "none"}, want: "web"},
		{args: []string{"web", "-A"}, want: "kubectl-podinfo"},
		{args: []string{"-A", "web"}, want: "kubectl-podinfo"},
		{args: []string{"web", "-v6", "--all-namespaces"}, want: "kubectl-podinfo"},
		{args: []string{"web", "-n", "shop"}, want: "kubectl-podinfo"},
		{args: []string{"web", "-o", "wide"}, want: "kubectl-podinfo"},
		{args: []string{"web", "-w"}, want: "kubectl-podinfo"},
		{args: []string{"--by", "workload", "web"}, want: "kubectl-podinfo"},
		{args: []string{"web", "cart"}, want: "kubectl-podinfo"},
		{args: []string{"cart", "web"}, want: "kubectl-podinfo"},
		{args: []string{"--", "web"}, want: "kubectl-podinfo"},
		{args: []string{"annotate"}, want: "annotate"},
	}
	for _, test := range tests {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			cmd := NewCommand(genericiooptions.NewTestIOStreamsDiscard())
			removeWebFrom(cmd, test.args)
			if got, _, err := cmd.Find(test.args); err != nil || got.Name() != test.want {
				t.Errorf("the command is %s, want %s; %v", got.Name(), test.want, err)
			}
		})
	}
}

func TestWebOptions_choosePort(t *testing.T) {
	used, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = used.Close() })
	address, _ := used.Addr().(*net.TCPAddr) // of "tcp4" it is one
	port := uint16(address.Port & (1<<16 - 1))
	o := &webOptions{port: port}
	if err := o.choosePort(t.Context(), false); err != nil || o.port == port || o.port == 0 {
		t.Errorf("port %d instead of the default %d, which is in use: %v", o.port, port, err)
	}
	o = &webOptions{port: port}
	if err := o.choosePort(t.Context(), true); err == nil {
		t.Errorf("port %d instead of %d, which was asked for", o.port, port)
	}
}
