package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Limits of one client, so that others and the probes get their share.
const (
	readHeaderTimeout = 5 * time.Second
	writeTimeout      = 10 * time.Second // an event stream extends its own
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
	maxQueryBytes     = 4 << 10
	maxBodyBytes      = 1 << 10 // no body is read, but some clients send a small one
	maxConnections    = 512
	maxHTTP2Streams   = 32 // on one connection
	maxRequests       = 64 // in the handler at once, without event streams
	maxEventStreams   = 64
	maxScrapes        = 8 // twice what internal/metrics renders at once

	// net/http accepts this much more than MaxHeaderBytes over HTTP/1.
	headerSlop = 4 << 10
)

// limitRequest refuses requests that no supported client sends.
//
// http.MaxBytesHandler and method patterns of ServeMux would not do: the one refuses
// a body only once it is read, the other has no text for the user.
func limitRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// No handler reads the body. Without a deadline net/http would read it before
			// it responds, and wait for what has not arrived.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
		}
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are served", http.StatusMethodNotAllowed)
		case len(r.URL.RawQuery) > maxQueryBytes:
			http.Error(w, fmt.Sprintf("the query has %d bytes: at most %d are taken", len(r.URL.RawQuery), maxQueryBytes),
				http.StatusRequestURITooLong)
		case r.ContentLength > maxBodyBytes || r.ContentLength < 0: // below 0 is unknown
			http.Error(w, "the request has a body: leave it out", http.StatusRequestEntityTooLarge)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// rejectDNSNames refuses hosts that are not loopback, against DNS rebinding. A web
// page can have its own name resolve to a loopback address, and could then read
// what needs no login there; the browser sends the name that it resolved.
func rejectDNSNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLoopbackHost(r.Host) {
			http.Error(w, `on a loopback address only "localhost" or a loopback IP address is served as the host`,
				http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.IsLoopback() && address.Zone() == "" || strings.EqualFold(host, "localhost")
}

// rejectCrossSite refuses requests that a browser sends for another site, except
// a link to the page. The other site could not read the response, but could use up
// the limits, and measure the time of a response.
func rejectCrossSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		link := r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" &&
			r.Header.Get("Sec-Fetch-Dest") == "document"
		if (site == "cross-site" || site == "same-site") && !link {
			http.Error(w, "a browser sent this for another site: open the page itself", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limitInFlight bounds the requests in next, by user and in total; without a login
// all callers are one. Event streams are counted apart, because they stay open.
// So are scrapes, because the metrics must show that the limit is reached.
func limitInFlight(paths Paths, next http.Handler) http.Handler {
	requests := &inFlight{total: maxRequests, each: maxRequests / 2}
	streams := &inFlight{total: maxEventStreams, each: maxEventStreams / 4}
	scrapes := &inFlight{total: maxScrapes, each: maxScrapes / 2}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit, what := requests, "requests"
		switch r.URL.Path {
		case paths.Metrics:
			limit, what = scrapes, "scrapes"
		case paths.Events:
			limit, what = streams, "event streams"
		}
		user := ""
		if c := callerFrom(r.Context()); c != nil {
			user = c.user.GetName()
		}
		release, ok := limit.acquire(user)
		if !ok {
			text := fmt.Sprintf("%d %s at once are served", limit.total, what)
			if user != "" {
				text += fmt.Sprintf(", %d of one user", limit.each)
			}
			tooManyRequests(w, text)
			return
		}
		defer release()
		next.ServeHTTP(w, r)
	})
}

// inFlight bounds what runs at once, in total and for each caller.
type inFlight struct {
	total, each int

	mu       sync.Mutex
	acquired int
	byCaller map[string]int // at most as many entries as are acquired
}

// acquire returns false at the limit, else the function that releases what was
// acquired. The caller "" is bounded by the total alone.
func (l *inFlight) acquire(caller string) (release func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acquired >= l.total || caller != "" && l.byCaller[caller] >= l.each {
		return nil, false
	}
	if l.byCaller == nil {
		l.byCaller = map[string]int{}
	}
	l.acquired++
	l.byCaller[caller]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.acquired--
		if l.byCaller[caller]--; l.byCaller[caller] == 0 {
			delete(l.byCaller, caller)
		}
	}, true
}

func tooManyRequests(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, text+": try again later", http.StatusTooManyRequests)
}
