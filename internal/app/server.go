package app

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

// shutdownTimeout is what requests in flight get at a stop.
const shutdownTimeout = 500 * time.Millisecond

// server answers at the one address that the program has.
type server struct {
	listener net.Listener
	// certificate is nil for plain HTTP, which needs no login and is served on
	// loopback addresses alone.
	certificate dynamiccertificates.CertKeyContentProvider
	http        http.Server
	handler     atomic.Pointer[http.Handler] // of all paths
	announce    func()                       // logs the address, once, and follows the certificate's files
	stop        context.CancelFunc
}

// listen takes the address; "" takes none, and the server then does nothing.
func listen(ctx context.Context, o *options) (*server, error) {
	s := &server{announce: func() {}, stop: func() {}}
	if o.bindAddress == "" {
		return s, nil
	}
	var err error
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", o.bindAddress); err != nil {
		return nil, fmt.Errorf("--bind-address=%s: %w: choose another address, or stop what uses it", o.bindAddress, err)
	}
	// What is listened on decides, not what a name looks like.
	address, _ := s.listener.Addr().(*net.TCPAddr) // of "tcp" it is one
	if address.IP.IsLoopback() && o.tlsCertFile == "" {
		return s, nil
	}
	if s.certificate, err = certificateFrom(ctx, o, address); err != nil {
		_ = s.listener.Close() // the program ends for the other error
		return nil, err
	}
	return s, nil
}

// protected says that callers must log in: TLS comes with it, plain HTTP without.
func (s *server) protected() bool { return s.certificate != nil }

// metricsPath is where Prometheus looks by itself.
const metricsPath = "/metrics"

// answer has the probes answered by themselves, and all else by handler, from now
// on.
func (s *server) answer(livez, readyz probe, handler http.Handler) {
	mux := http.NewServeMux()
	mux.Handle("/livez", livez)
	mux.Handle("/readyz", readyz)
	if !s.protected() {
		handler = shared(handler) // with a login the guard does it, by user
	}
	mux.Handle("/", handler)
	var all http.Handler = mux
	s.handler.Store(&all)
}

// serve begins to serve what answer was called with, before or since; failed is
// called when it no longer can. What it serves is logged by announce.
func (s *server) serve(ctx context.Context, failed context.CancelCauseFunc) error {
	if s.listener == nil {
		return nil
	}
	// It outlives the signal, as the probes do until all else has stopped.
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.http = newHTTPServer(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*s.handler.Load()).ServeHTTP(w, r)
	}), s.protected())
	serve, follow := func() error { return s.http.Serve(s.listener) }, func() {}
	logger := klog.FromContext(ctx).WithValues("address", s.listener.Addr().String())
	if s.protected() {
		var err error
		if s.http.TLSConfig, follow, err = tlsConfig(ctx, s.certificate); err != nil {
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
		logger.Info("Serving /livez and /readyz")
	})
	go func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serving on %s: %w", s.listener.Addr(), err))
		}
	}()
	return nil
}

// newHTTPServer has the limits around handler. ctx is that of all requests.
func newHTTPServer(ctx context.Context, handler http.Handler, protected bool) http.Server {
	handler = wellFormed(handler)
	if !protected {
		handler = localNames(sameOrigin(handler))
	}
	open := &connections{max: maxConnections}
	return http.Server{
		Handler:           hardened(handler),
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes - headerSlop,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ConnState:         open.state,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          errorLog(),
	}
}

// close ends the server; requests in flight get shutdownTimeout, but streams end
// with their context.
func (s *server) close(ctx context.Context) {
	if s.listener == nil {
		return
	}
	s.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // what has not ended by now is cut
	}
	_ = s.listener.Close() // closed already unless it never served
}
