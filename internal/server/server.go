// Package server serves HTTP at the addresses of the program: probes, and a
// handler behind a login and limits. On a loopback address it is plain HTTP
// without a login, else TLS.
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"
)

// shutdownTimeout is how long requests in flight may take at a stop.
const shutdownTimeout = 500 * time.Millisecond

// Config is what the server listens on.
type Config struct {
	Address           string // HOST:PORT; "" serves nothing
	CertFile, KeyFile string // both or neither
	Paths             Paths
}

// Paths are the paths of the handler that have a right or a limit of their own.
type Paths struct {
	Metrics string
	Events  string // a stream
	Pod     string // a pattern of http.ServeMux with {namespace} and {name}
}

// Server serves at one address.
type Server struct {
	config   Config
	message  string       // of the log line with the address
	listener net.Listener // nil without an address
	// certificate is nil for plain HTTP, which needs no login and is served on
	// loopback addresses alone.
	certificate dynamiccertificates.CertKeyContentProvider
	http        http.Server
	handler     atomic.Pointer[http.Handler] // of all paths
	announce    func()
	stop        context.CancelFunc
}

// Listen listens on the address, before anything is served. Without an address all
// methods of the Server do nothing.
func Listen(ctx context.Context, c Config) (*Server, error) {
	s, address, err := listen(ctx, "--bind-address", c)
	if err != nil || c.Address == "" {
		return s, err
	}
	s.message = "Serving /livez and /readyz"
	if address.IP.IsLoopback() && c.CertFile == "" {
		return s, nil
	}
	if s.certificate, err = loadCertificate(ctx, c, address); err != nil {
		_ = s.listener.Close() // the program ends for the other error
		return nil, err
	}
	return s, nil
}

// ListenLocal listens on an address that must be loopback, to serve plain HTTP
// without a login. A port-forward to a Pod ends there.
func ListenLocal(ctx context.Context, address string, paths Paths) (*Server, error) {
	s, resolved, err := listen(ctx, "--local-bind-address", Config{Address: address, Paths: paths})
	if err != nil || address == "" {
		return s, err
	}
	s.message = "Serving port-forwards, without a login"
	if !resolved.IP.IsLoopback() {
		_ = s.listener.Close() // nothing was served
		return nil, fmt.Errorf("--local-bind-address=%s: %s is not loopback, and callers do not log in here: "+
			"choose a loopback address, or --bind-address", address, resolved.IP)
	}
	return s, nil
}

// listen returns a server that listens, and the address that a name resolved to. That
// address decides how it is served, not the name.
func listen(ctx context.Context, flag string, c Config) (*Server, *net.TCPAddr, error) {
	s := &Server{config: c, announce: func() {}, stop: func() {}}
	if c.Address == "" {
		return s, nil, nil
	}
	var err error
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.Address); err != nil {
		return nil, nil, fmt.Errorf("%s=%s: %w: choose another address, or stop what uses it", flag, c.Address, err)
	}
	address, _ := s.listener.Addr().(*net.TCPAddr) // of "tcp" it is one
	return s, address, nil
}

// RequiresLogin reports whether the server uses TLS, which a login comes with.
func (s *Server) RequiresLogin() bool { return s.certificate != nil }

// Handle replaces the probes and the handler of all other paths.
func (s *Server) Handle(livez, readyz Probe, handler http.Handler) {
	mux := http.NewServeMux()
	mux.Handle("/livez", livez)
	mux.Handle("/readyz", readyz)
	if !s.RequiresLogin() {
		handler = limitInFlight(s.config.Paths, handler) // with a login WithAuth does it, by user
	}
	mux.Handle("/", handler)
	var all http.Handler = mux
	s.handler.Store(&all)
}

// Serve starts to serve, after the first Handle. It calls failed when the server
// can no longer serve.
func (s *Server) Serve(ctx context.Context, failed context.CancelCauseFunc) error {
	if s.listener == nil {
		return nil
	}
	// Not cancelled by the signal: the probes respond until all else has stopped.
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.http = newHTTPServer(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*s.handler.Load()).ServeHTTP(w, r)
	}), s.RequiresLogin())
	serve, follow := func() error { return s.http.Serve(s.listener) }, func() {}
	logger := klog.FromContext(ctx).WithValues("address", s.listener.Addr().String())
	if s.RequiresLogin() {
		var err error
		if s.http.TLSConfig, follow, err = newTLSConfig(ctx, s.certificate); err != nil {
			return err
		}
		sha256, err := fingerprint(s.certificate)
		if err != nil {
			return err
		}
		logger = logger.WithValues("certificate", s.certificate.Name(), "sha256", sha256)
		serve = func() error { return s.http.ServeTLS(s.listener, "", "") }
	}
	s.announce = sync.OnceFunc(func() {
		follow()
		logger.Info(s.message)
	})
	go func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serving on %s: %w", s.listener.Addr(), err))
		}
	}()
	return nil
}

// Announce logs the address, once, and follows the files of the certificate.
func (s *Server) Announce() { s.announce() }

// newHTTPServer puts the limits around handler. All requests inherit ctx.
func newHTTPServer(ctx context.Context, handler http.Handler, login bool) http.Server {
	handler = limitRequest(handler)
	if !login {
		handler = rejectDNSNames(rejectCrossSite(handler))
	}
	open := &connections{max: maxConnections}
	return http.Server{
		Handler:           withSecurityHeaders(handler),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes - headerSlop,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxHTTP2Streams},
		ConnState:         open.onStateChange,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          errorLog(),
	}
}

// Close stops the server. Streams end at once, other requests within
// shutdownTimeout.
func (s *Server) Close(ctx context.Context) {
	if s.listener == nil {
		return
	}
	s.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // after the timeout requests are cut
	}
	_ = s.listener.Close() // closed already unless it never served
}
