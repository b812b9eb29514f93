package app

import (
	"container/list"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
)

// What one client may take, so that the others and the probes get their share.
const (
	readHeaderTimeout = 5 * time.Second
	writeTimeout      = 10 * time.Second // an event stream extends its own
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	maxQueryBytes     = 4 << 10
	maxBodyBytes      = 1 << 10 // no body is wanted, but some clients send a small one
	maxConnections    = 512
	maxStreams        = 32 // of HTTP/2 on one connection
	maxRequests       = 64 // in the handler at once; event streams are counted apart
	maxEventStreams   = 64

	// net/http takes this much more than it is told to over HTTP/1.
	headerSlop = 4 << 10
)

// hardened is what every answer goes through: the headers that tell a browser to
// keep it to itself, and the recovery of a handler that panics.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		answer, logger := &answer{ResponseWriter: w}, klog.FromContext(r.Context())
		defer func() {
			if cause := recover(); cause != nil {
				answer.failed(logger, r.URL.Path, cause)
			}
		}()
		next.ServeHTTP(answer, r)
	})
}

// answer knows whether it has begun. Handlers flush it and set its deadlines
// through http.ResponseController.
type answer struct {
	http.ResponseWriter
	begun bool
}

// failed is the answer of a handler that panics.
func (a *answer) failed(logger klog.Logger, path string, cause any) {
	if cause == http.ErrAbortHandler { //nolint:errorlint // a panic's value, which nobody wraps
		panic(cause)
	}
	logger.Error(fmt.Errorf("%v", cause), "A request panicked", "path", path, "stack", string(debug.Stack()))
	if a.begun { // half an answer must not look like a whole one
		panic(http.ErrAbortHandler)
	}
	http.Error(a, "internal error: the log has the cause", http.StatusInternalServerError)
}

// WriteHeader begins the answer.
func (a *answer) WriteHeader(code int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(p []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(p)
}

// FlushError is for http.ResponseController, as Unwrap is.
func (a *answer) FlushError() error {
	a.begun = true
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap gives the deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// wellFormed refuses what no client of ours sends.
func wellFormed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// Nobody reads the body. Else net/http would, and wait for what has
			// not come yet before it answers.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are served", http.StatusMethodNotAllowed)
		case len(r.URL.RawQuery) > maxQueryBytes:
			http.Error(w, fmt.Sprintf("the query has %d bytes: at most %d are taken", len(r.URL.RawQuery), maxQueryBytes), http.StatusRequestURITooLong)
		case r.ContentLength > maxBodyBytes || r.ContentLength < 0: // below 0 is unknown
			http.Error(w, "the request has a body: leave it out", http.StatusRequestEntityTooLarge)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// localNames refuses the name of any other host. A web page can have its own name
// resolved to a loopback address, and would then read what needs no login there;
// the browser sends the name that it resolved.
func localNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalName(r.Host) {
			http.Error(w, `on a loopback address only "localhost" or a loopback IP address is served as the host`, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLocalName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.IsLoopback() && address.Zone() == "" || strings.EqualFold(host, "localhost")
}

// sameOrigin refuses what a browser sends on behalf of another site, but for a
// link to the page. The other site could not read the answer, but it could take
// places, and measure how long an answer takes.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		link := r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
		if (site == "cross-site" || site == "same-site") && !link {
			http.Error(w, "a browser sent this for another site: open the page itself", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// shared bounds how many requests are in next at once. Event streams have places
// of their own, since they stay and would take all. So have the metrics, which
// show that all places are taken. No user takes all places of a kind; without a
// login all callers are one.
func shared(next http.Handler) http.Handler {
	requests := &places{total: maxRequests, each: maxRequests / 2}
	streams := &places{total: maxEventStreams, each: maxEventStreams / 4}
	scrapes := &places{total: 2 * maxScrapes, each: maxScrapes}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, what := requests, "requests"
		switch r.URL.Path {
		case metricsPath:
			kind, what = scrapes, "scrapes"
		case lookup.EventsPath:
			kind, what = streams, "event streams"
		}
		user := ""
		if c := callerOf(r.Context()); c != nil {
			user = c.user.GetName()
		}
		release, ok := kind.take(user)
		if !ok {
			text := fmt.Sprintf("%d %s at once are served", kind.total, what)
			if user != "" {
				text += fmt.Sprintf(", %d of one user", kind.each)
			}
			tooMany(w, text)
			return
		}
		defer release()
		next.ServeHTTP(w, r)
	})
}

// connections keeps at most max connections open. One too many takes the place
// of the one that has been without a request for the longest, so that neither
// idle clients nor slow ones can keep a probe out. If all are in a request, which
// the timeouts keep short, the new one itself is closed.
type connections struct {
	max  int
	mu   sync.Mutex
	open map[net.Conn]*list.Element // nil while a request is served
	idle list.List                  // of net.Conn, the longest idle first
}

// state is the http.Server's ConnState.
func (c *connections) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.open[conn]; element != nil {
		c.idle.Remove(element)
	}
	switch state {
	case http.StateNew, http.StateIdle: // also while a request's header comes in
		if c.open == nil {
			c.open = map[net.Conn]*list.Element{}
		}
		c.open[conn] = c.idle.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
	case http.StateHijacked, http.StateClosed:
		delete(c.open, conn)
	}
	if longest := c.idle.Front(); longest != nil && len(c.open) > c.max {
		c.evict(longest)
	}
}

func (c *connections) evict(element *list.Element) {
	conn, _ := c.idle.Remove(element).(net.Conn)
	delete(c.open, conn)
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // TLS would first say goodbye, and wait for it
	}
	_ = conn.Close() // it may have gone by itself
}

// errorLog is what net/http has to say. That a handshake failed is mostly said of
// port scanners.
func errorLog() *log.Logger { return log.New(errorWriter{}, "", 0) }

type errorWriter struct{}

func (errorWriter) Write(p []byte) (int, error) {
	level := klog.Level(0)
	if strings.Contains(string(p), "TLS handshake error") {
		level = 4
	}
	klog.Background().V(int(level)).Info("HTTP server", "message", strings.TrimSpace(string(p)))
	return len(p), nil
}
