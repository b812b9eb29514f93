package chaos_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"k8s.io/client-go/rest"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// way is how the replicas reach the API server: through a proxy that ill-treats
// connections (toxiproxy), and behind it one that ill-treats requests.
type way struct {
	connections *toxiproxy.Proxy
	requests    *requestProxy
	server      *httptest.Server
	listener    *freezer
}

// requestProxy forwards requests, but for what its rule does to them.
type requestProxy struct {
	forward *httputil.ReverseProxy
	target  *url.URL
	via     http.RoundTripper
	rule    atomic.Pointer[rule]

	mu      sync.Mutex
	watches map[*http.Request]context.CancelFunc

	hits atomic.Int64 // requests that a rule has met
}

// rule is what happens to requests.
type rule struct {
	// handle answers the request, or returns false to let it pass.
	handle func(p *requestProxy, w http.ResponseWriter, r *http.Request) bool
	// deaf has watches go without bookmarks.
	deaf bool
}

func newWay(t *testing.T, config *rest.Config) *way {
	t.Helper()
	target, err := url.Parse(config.Host)
	must(t, err)
	via, err := rest.TransportFor(rest.AnonymousClientConfig(config)) // who asks shows a token
	must(t, err)
	p := &requestProxy{target: target, via: via, watches: map[*http.Request]context.CancelFunc{}}
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header["User-Agent"] = r.In.Header["User-Agent"]
		},
		Transport: via, FlushInterval: -1,
		// The client gets a reset stream, as from a server that has died.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	w := &way{requests: p, server: httptest.NewUnstartedServer(p)}
	w.listener = &freezer{Listener: w.server.Listener, conns: map[*frozen]struct{}{}}
	w.server.Listener = w.listener
	w.server.EnableHTTP2 = true
	w.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.server.StartTLS()
	t.Cleanup(func() {
		p.cut()
		w.listener.closeAll()
		w.server.CloseClientConnections()
		w.server.Close()
	})
	toxics := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w.connections = toxiproxy.NewProxy(toxics, "api", "127.0.0.1:0", w.server.Listener.Addr().String())
	must(t, w.connections.Start())
	t.Cleanup(w.connections.Stop)
	return w
}

// address is where the replicas connect to.
func (w *way) address() string { return "https://" + w.connections.Listen }

// poison adds a toxic to all connections, and returns what takes it away.
func (w *way) poison(kind, stream, attributes string) (remedy func(context.Context) error, err error) {
	_, err = w.connections.Toxics.AddToxicJson(strings.NewReader(
		fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":%s}`, kind, kind, stream, attributes)))
	return func(ctx context.Context) error { return w.connections.Toxics.RemoveToxic(ctx, kind) }, err
}

// ServeHTTP is what the replicas talk to.
func (p *requestProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body) // an answer that comes before the whole of it has ReverseProxy hang (golang.org/issue/80085)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rule := p.rule.Load()
	if rule != nil && rule.handle != nil && rule.handle(p, w, r) {
		p.hits.Add(1)
		return
	}
	if isWatch(r) {
		query := r.URL.Query()
		if rule != nil && rule.deaf && query.Get("sendInitialEvents") == "" {
			query.Del("allowWatchBookmarks")
			r.URL.RawQuery = query.Encode()
			p.hits.Add(1)
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		r = r.WithContext(ctx)
		p.mu.Lock()
		p.watches[r] = cancel
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			delete(p.watches, r)
			p.mu.Unlock()
		}()
	}
	p.forward.ServeHTTP(w, r)
}

// cut ends all watches.
func (p *requestProxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, cancel := range p.watches {
		cancel()
		p.hits.Add(1)
	}
}

func isWatch(r *http.Request) bool {
	watch := r.URL.Query().Get("watch")
	return watch == "1" || watch == "true"
}

func isWrite(r *http.Request) bool { return r.Method != http.MethodGet }

func isTestcr(r *http.Request) bool { return strings.Contains(r.URL.Path, "/testcrs") }

// answer refuses a part of the requests that which picks out.
func answer(code int, reason, retryAfter string, part float64, which func(*http.Request) bool) *rule {
	return &rule{handle: func(_ *requestProxy, w http.ResponseWriter, r *http.Request) bool {
		if !which(r) || rand.Float64() >= part { //nolint:gosec // G404: which of the requests that come is left to chance anyway
			return false
		}
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"chaos","reason":%q,"code":%d}`, reason, code)
		return true
	}}
}

// swallow has writes carried out, and their answers never come.
func swallow(part float64, hang time.Duration) *rule {
	return &rule{handle: func(p *requestProxy, _ http.ResponseWriter, r *http.Request) bool {
		if !isWrite(r) || !isTestcr(r) || rand.Float64() >= part { //nolint:gosec // G404: as above
			return false
		}
		p.hits.Add(1)
		out := r.Clone(context.WithoutCancel(r.Context()))
		out.URL.Scheme, out.URL.Host, out.RequestURI = p.target.Scheme, p.target.Host, ""
		response, err := p.via.RoundTrip(out)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(hang):
		}
		panic(http.ErrAbortHandler)
	}}
}

func TestAnAnswerThatComesBeforeTheWholeRequestArrives(t *testing.T) {
	asked := make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no")
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	insecure := rest.TLSClientConfig{Insecure: true}
	w := newWay(t, &rest.Config{Host: server.URL, TLSClientConfig: insecure})
	via, err := rest.TransportFor(&rest.Config{TLSClientConfig: insecure})
	must(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	body, sent := io.Pipe()
	go func() {
		_, _ = sent.Write([]byte("a part"))
		select {
		case <-asked: // without the rest, which then never comes
		case <-time.After(testenv.Poll):
			_ = sent.Close()
		}
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, w.address(), body)
	must(t, err)
	response, err := via.RoundTrip(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	if text, err := io.ReadAll(response.Body); err != nil || string(text) != "no" {
		t.Errorf("the answer is %q, %v", text, err)
	}
}

// freezer can make all its open connections go silent for ever, as a firewall does
// that has dropped their state: no end is notified, and nothing arrives.
type freezer struct {
	net.Listener

	mu    sync.Mutex
	conns map[*frozen]struct{}
}

type frozen struct {
	net.Conn

	owner  *freezer
	silent chan struct{} // closed when it goes silent
	closed chan struct{}
	once   sync.Once
	mute   sync.Once
}

// Accept waits for a connection.
func (f *freezer) Accept() (net.Conn, error) {
	conn, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &frozen{Conn: conn, owner: f, silent: make(chan struct{}), closed: make(chan struct{})}
	f.mu.Lock()
	f.conns[c] = struct{}{}
	f.mu.Unlock()
	return c, nil
}

// freeze silences all connections, and returns how many.
func (f *freezer) freeze() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.mute.Do(func() { close(c.silent) })
	}
	return len(f.conns)
}

func (f *freezer) closeAll() {
	f.mu.Lock()
	conns := make([]*frozen, 0, len(f.conns))
	for c := range f.conns {
		conns = append(conns, c)
	}
	f.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// Read gives nothing more once the connection is silent.
func (c *frozen) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.silent:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

// Write loses what is written once the connection is silent.
func (c *frozen) Write(b []byte) (int, error) {
	select {
	case <-c.silent:
		return len(b), nil
	default:
		return c.Conn.Write(b)
	}
}

// Close closes it. A silent one returns no error before the other end is closed.
func (c *frozen) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.owner.mu.Lock()
		delete(c.owner.conns, c)
		c.owner.mu.Unlock()
	})
	return c.Conn.Close()
}
