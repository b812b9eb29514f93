package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const eventsPath = "/v1/events"

var testPaths = Paths{Metrics: "/metrics", Events: eventsPath, Pod: "/v1/pods/{namespace}/{name}"}

// serving returns the address of a server with handler, on loopback.
func serving(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s, err := Listen(t.Context(), Config{Address: "127.0.0.1:0", Paths: testPaths})
	if err != nil {
		t.Fatal(err)
	}
	s.Handle(Probe{}, Probe{}, handler)
	if err := s.Serve(t.Context(), func(err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(context.WithoutCancel(t.Context())) })
	return s.listener.Addr().String()
}

// reply is an answer that was read to its end.
type reply struct {
	code   int
	header http.Header
	body   string
}

// ask sends a request as it is written.
func ask(t *testing.T, address, request string) reply {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
}

func TestLimitRequest(t *testing.T) {
	t.Parallel()
	address := serving(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "handled") })
	const ok, post = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	tests := []struct {
		name, request string
		wantCode      int
		wantBody      string
	}{
		{name: "a plain request", request: ok + "\r\n", wantCode: 200, wantBody: "handled"},
		{name: "only the header", request: strings.Replace(ok, "GET", "HEAD", 1) + "\r\n", wantCode: 200},
		{name: "a write", request: post, wantCode: 405, wantBody: "only GET and HEAD are served\n"},
		{name: "a write to a probe", request: strings.Replace(post, "/", "/livez", 1), wantCode: 405, wantBody: "only GET and HEAD are served\n"},
		{name: "what a browser asks before another site's script", request: strings.Replace(post, "POST", "OPTIONS", 1), wantCode: 405, wantBody: "only GET and HEAD are served\n"},
		{name: "a query as long as may be", request: get("/?" + strings.Repeat("q", 4096)), wantCode: 200, wantBody: "handled"},
		{name: "a longer query", request: get("/?" + strings.Repeat("q", 4097)), wantCode: 414, wantBody: "the query has 4097 bytes: at most 4096 are taken\n"},
		{name: "a small body", request: ok + "Content-Length: 2\r\n\r\n{}", wantCode: 200, wantBody: "handled"},
		{name: "a small body that never comes", request: ok + "Content-Length: 2\r\n\r\n", wantCode: 200, wantBody: "handled"},
		{name: "a larger body", request: ok + "Content-Length: 1025\r\n\r\n", wantCode: 413, wantBody: "the request has a body: leave it out\n"},
		{name: "a body of unknown size", request: ok + "Transfer-Encoding: chunked\r\n\r\n", wantCode: 413, wantBody: "the request has a body: leave it out\n"},
		{name: "a header as long as may be", request: ok + "A: " + strings.Repeat("a", 16<<10-len(ok)-8) + "\r\n\r\n", wantCode: 200, wantBody: "handled"},
		{name: "a longer header", request: ok + "A: " + strings.Repeat("a", 16<<10-len(ok)), wantCode: 431, wantBody: "431 Request Header Fields Too Large"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			begun := time.Now()
			got := ask(t, address, test.request)
			if got.code != test.wantCode || got.body != test.wantBody {
				t.Errorf("%d %q, want %d %q", got.code, got.body, test.wantCode, test.wantBody)
			}
			if took := time.Since(begun); took > readHeaderTimeout/2 {
				t.Errorf("it took %s: something was waited for", took)
			}
			if allow := got.header.Get("Allow"); (allow == "GET, HEAD") != (test.wantCode == 405) {
				t.Errorf("Allow: %q", allow)
			}
			if test.wantCode != 431 { // which net/http answers by itself
				checkSecurityHeaders(t, got.header)
			}
		})
	}
}

func checkSecurityHeaders(t *testing.T, header http.Header) {
	t.Helper()
	want := http.Header{"X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"no-referrer"}, "Cross-Origin-Resource-Policy": {"same-origin"}}
	got := http.Header{}
	for name, values := range header {
		if want[name] != nil || strings.HasPrefix(name, "Access-Control-") {
			got[name] = values
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestRejectDNSNames(t *testing.T) {
	t.Parallel()
	address := serving(t, func(http.ResponseWriter, *http.Request) {})
	tests := []struct {
		host string
		want int
	}{
		{host: "127.0.0.1:9090", want: 200}, {host: "127.0.0.1", want: 200}, {host: "[::1]:9090", want: 200}, {host: "[::1]", want: 200}, {host: "localhost:9090", want: 200}, {host: "LocalHost", want: 200}, {host: "127.9.9.9", want: 200},
		{host: "10.1.2.3", want: 403}, {host: "8.8.8.8:9090", want: 403}, {host: "[fe80::1%25lo]", want: 403}, {host: "[::1%25lo]:9090", want: 403}, {host: "0.0.0.0", want: 403},
		{host: "example.com", want: 403}, {host: "example.com:9090", want: 403}, {host: "localhost.example.com", want: 403}, {host: "127.0.0.1.example.com", want: 403}, {host: "0x7f.1", want: 403}, {host: "", want: 403},
	}
	for _, test := range tests {
		for _, path := range []string{"/", "/livez"} {
			t.Run(test.host+path, func(t *testing.T) {
				t.Parallel()
				got := ask(t, address, strings.Replace(get(path), "localhost", test.host, 1))
				if got.code != test.want || test.want == 403 && strings.Count(got.body, "\n") != 1 {
					t.Errorf("%d %q, want %d", got.code, got.body, test.want)
				}
				checkSecurityHeaders(t, got.header)
			})
		}
	}
}

func TestRejectCrossSite(t *testing.T) {
	t.Parallel()
	address := serving(t, func(http.ResponseWriter, *http.Request) {})
	tests := []struct {
		name, path, site, mode, dest string
		want                         int
	}{
		{name: "no browser", path: "/v1/pods", want: 200},
		{name: "the page itself", path: "/v1/pods", site: "same-origin", mode: "cors", dest: "empty", want: 200},
		{name: "typed by the user", path: "/v1/pods", site: "none", mode: "navigate", dest: "document", want: 200},
		{name: "a link to the page", path: "/?q=web", site: "cross-site", mode: "navigate", dest: "document", want: 200},
		{name: "a link to an answer", path: "/v1/pods", site: "cross-site", mode: "navigate", dest: "document", want: 403},
		{name: "a script of another site", path: "/v1/pods", site: "cross-site", mode: "no-cors", dest: "script", want: 403},
		{name: "a script of another port", path: "/v1/pods", site: "same-site", mode: "cors", dest: "empty", want: 403},
		{name: "an image of another site", path: "/", site: "cross-site", mode: "no-cors", dest: "image", want: 403},
		{name: "a frame of another site", path: "/", site: "cross-site", mode: "navigate", dest: "iframe", want: 403},
		{name: "a stream of another site", path: "/v1/events", site: "cross-site", mode: "cors", dest: "empty", want: 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			header := ""
			for name, value := range map[string]string{"Site": test.site, "Mode": test.mode, "Dest": test.dest} {
				if value != "" {
					header += "Sec-Fetch-" + name + ": " + value + "\r\n"
				}
			}
			got := ask(t, address, strings.TrimSuffix(get(test.path), "\r\n")+header+"\r\n")
			if got.code != test.want || test.want == 403 && strings.Count(got.body, "\n") != 1 {
				t.Errorf("%d %q, want %d", got.code, got.body, test.want)
			}
			checkSecurityHeaders(t, got.header)
		})
	}
}

func TestLimitInFlight_StreamsAndProbes(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan string), make(chan struct{})
	address := serving(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- r.URL.Path
		<-leave
	})
	want := func(path string, code int, text string) {
		t.Helper()
		got := ask(t, address, get(path))
		if got.code != code || got.body != text || (got.header.Get("Retry-After") == "1") != (code == 429) {
			t.Errorf("%s: %d %q with %v, want %d %q", path, got.code, got.body, got.header, code, text)
		}
	}
	var clients sync.WaitGroup
	fill := func(path string, places int) {
		for range places {
			clients.Go(func() { want(path, 200, "") })
			select {
			case got := <-entered:
				if got != path {
					t.Errorf("%s was handled, want %s", got, path)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s is not handled", path)
			}
		}
	}
	fill("/v1/pods", 64)
	want("/v1/search", 429, "64 requests at once are served: try again later\n")
	want("/livez", 200, "ok\n")
	want("/readyz", 200, "ok\n")
	fill("/v1/events", 64)
	want("/v1/events", 429, "64 event streams at once are served: try again later\n")
	want("/livez", 200, "ok\n")
	close(leave)
	clients.Wait()
	go func() { <-entered }()
	want("/v1/search", 200, "")
}

func TestInFlight_acquire(t *testing.T) {
	l := inFlight{total: 3, each: 2}
	acquire := func(caller string, want bool) (release func()) {
		t.Helper()
		release, ok := l.acquire(caller)
		if ok != want {
			t.Errorf("acquire(%q): %t, want %t", caller, ok, want)
		}
		return release
	}
	a, b := acquire("a", true), acquire("a", true)
	acquire("a", false)
	c := acquire("b", true)
	acquire("c", false)
	for _, release := range []func(){a, b, c} {
		release()
	}
	if l.acquired != 0 || len(l.byCaller) != 0 {
		t.Errorf("%d are acquired, by %v", l.acquired, l.byCaller)
	}
	for range 3 { // without a login
		acquire("", true)
	}
	acquire("", false)
}

func TestWithSecurityHeaders_Panic(t *testing.T) {
	t.Parallel()
	address := serving(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			fmt.Fprint(w, "half an answer")
			_ = http.NewResponseController(w).Flush()
		}
		if r.URL.Path != "/well" {
			panic("on purpose")
		}
	})
	if got := ask(t, address, get("/whole")); got.code != http.StatusInternalServerError || got.body != "internal error: the log has the cause\n" {
		t.Errorf("%d %q", got.code, got.body)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/half", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an answer ends as a whole one: %q, %v", body, err)
	}
	if got := ask(t, address, get("/well")); got.code != http.StatusOK {
		t.Errorf("%d after a panic", got.code)
	}
}

// pipes is a listener for clients in the same bubble of virtual time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// client is one connection of a client, and when the server closed it.
type client struct {
	net.Conn
	received strings.Builder
	closedAt time.Time // zero while it is open
}

func (p *pipes) dial(request string) *client {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	c := &client{Conn: ours}
	go func() {
		_, _ = io.Copy(&c.received, ours) // until the server closes it
		c.closedAt = time.Now()
	}()
	go func() { _, _ = io.WriteString(ours, request) }()
	synctest.Wait()
	return c
}

// virtual runs test with a server in virtual time.
func virtual(t *testing.T, handler http.HandlerFunc, test func(*testing.T, *pipes, *Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		s := &Server{config: Config{Paths: testPaths}, listener: p}
		s.Handle(Probe{}, Probe{}, handler)
		if err := s.Serve(t.Context(), func(err error) { t.Error(err) }); err != nil {
			t.Fatal(err)
		}
		test(t, p, s)
		s.Close(context.WithoutCancel(t.Context()))
	})
}

func TestServer_Serve_SlowAndIdleClients(t *testing.T) {
	tests := []struct {
		name     string
		begin    string // of the request
		dribble  string // sent each second
		wantOpen time.Duration
	}{
		{name: "nothing is sent", wantOpen: 5 * time.Second},
		{name: "the header comes byte by byte", begin: "GET / HTTP/1.1\r\nHost: localhost\r\nA: ", dribble: "a", wantOpen: 5 * time.Second},
		{name: "a connection is kept, but not used", begin: "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", wantOpen: 2 * time.Minute},
		{name: "a body is announced, but does not come", begin: "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, func(http.ResponseWriter, *http.Request) {}, func(t *testing.T, p *pipes, _ *Server) {
				t.Helper()
				begun := time.Now()
				c := p.dial(test.begin)
				for range 180 {
					<-time.After(time.Second)
					if test.dribble != "" {
						_, _ = io.WriteString(c, test.dribble) // to a closed one, in the end
					}
				}
				synctest.Wait()
				if open := c.closedAt.Sub(begun); open < test.wantOpen || open > test.wantOpen+time.Second {
					t.Errorf("open for %s, want %s", open, test.wantOpen)
				}
			})
		})
	}
}

func TestServer_Serve_EvictsTheLongestIdle(t *testing.T) {
	const keep = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	handler := func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == eventsPath {
			<-r.Context().Done()
		}
	}
	virtual(t, handler, func(t *testing.T, p *pipes, _ *Server) {
		t.Helper()
		stream := p.dial(strings.Replace(keep, "/", eventsPath, 1))
		kept, silent := p.dial(keep), p.dial("")
		for range maxConnections - 3 {
			p.dial("GET / HTTP/1.1\r\n")
		}
		go func() { _, _ = io.WriteString(kept, keep) }() // so that another one is idle for longer
		synctest.Wait()
		open := func() map[string]bool {
			synctest.Wait()
			return map[string]bool{"stream": stream.closedAt.IsZero(), "kept": kept.closedAt.IsZero(), "silent": silent.closedAt.IsZero()}
		}
		if diff := cmp.Diff(map[string]bool{"stream": true, "kept": true, "silent": true}, open()); diff != "" {
			t.Errorf("open before (-want +got):\n%s", diff)
		}
		probe := p.dial(strings.Replace(keep, "/", "/livez", 1))
		if diff := cmp.Diff(map[string]bool{"stream": true, "kept": true, "silent": false}, open()); diff != "" {
			t.Errorf("open after one more (-want +got):\n%s", diff)
		}
		if got := probe.received.String(); !strings.HasSuffix(got, "ok\n") {
			t.Errorf("the probe got %q", got)
		}
	})
}

func TestConnections_AllBusy(t *testing.T) {
	c := connections{max: 2}
	var conns []net.Conn
	for range 3 {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
		conns = append(conns, theirs)
	}
	for _, conn := range conns[:2] {
		c.onStateChange(conn, http.StateNew)
		c.onStateChange(conn, http.StateActive)
	}
	c.onStateChange(conns[2], http.StateNew)
	for i, wantClosed := range []bool{false, false, true} {
		if closed := errors.Is(conns[i].SetDeadline(time.Time{}), io.ErrClosedPipe); closed != wantClosed {
			t.Errorf("connection %d is closed: %t", i, closed)
		}
	}
	// The one that was closed had just read its request: nothing else can go.
	c.onStateChange(conns[2], http.StateActive)
	for _, conn := range conns {
		c.onStateChange(conn, http.StateClosed)
	}
	if len(c.open) > 0 || c.idle.Len() > 0 {
		t.Errorf("%d connections are remembered, %d as idle", len(c.open), c.idle.Len())
	}
}

func TestServer_Close_EndsStreams(t *testing.T) {
	const rounds = 60
	ended := make(chan error, 1)
	handler := func(w http.ResponseWriter, r *http.Request) {
		stream := http.NewResponseController(w)
		for range rounds {
			if err := stream.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(w, "data: x")
			if err := stream.Flush(); err != nil {
				t.Error(err)
			}
			select {
			case <-r.Context().Done():
				t.Errorf("cut: %v", context.Cause(r.Context()))
			case <-time.After(time.Second):
			}
		}
		<-r.Context().Done()
		ended <- r.Context().Err()
	}
	virtual(t, handler, func(t *testing.T, p *pipes, s *Server) {
		t.Helper()
		c := p.dial("GET " + eventsPath + " HTTP/1.1\r\nHost: localhost\r\n\r\n")
		<-time.After(2 * rounds * time.Second)
		synctest.Wait()
		if got := strings.Count(c.received.String(), "data: x"); got != rounds || !c.closedAt.IsZero() {
			t.Errorf("%d events, closed at %s", got, c.closedAt)
		}
		begun := time.Now()
		s.Close(context.WithoutCancel(t.Context()))
		if took := time.Since(begun); took >= shutdownTimeout {
			t.Errorf("the stream held the stop up for %s", took)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
