package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// Probes are small: whoever takes longer than this to ask is no kubelet.
const (
	readHeaderTimeout = 5 * time.Second
	writeTimeout      = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 500 * time.Millisecond
	maxHeaderBytes    = 16 << 10
)

// server answers /livez and /readyz.
type server struct {
	listener net.Listener
	http     http.Server
}

// listen takes the address; "" takes none, and the server then does nothing.
func listen(ctx context.Context, address string) (*server, error) {
	if address == "" {
		return &server{}, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--bind-address=%s: %w: choose another address, or stop what uses it", address, err)
	}
	return &server{listener: listener}, nil
}

// serve answers from now on; failed is called when it no longer can.
func (s *server) serve(controller *podinfolookup.Controller, failed context.CancelCauseFunc) {
	if s.listener == nil {
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", probe(controller.Healthy))
	mux.HandleFunc("GET /readyz", probe(controller.Ready))
	s.http = http.Server{
		Handler:           mux,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
	}
	klog.Background().Info("Serving /livez and /readyz", "address", s.listener.Addr().String())
	go func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			failed(fmt.Errorf("serving on %s: %w", s.listener.Addr(), err))
		}
	}()
}

// close ends the server; requests in flight get shutdownTimeout.
func (s *server) close(ctx context.Context) {
	if s.listener == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // what has not ended by now is cut
	}
	_ = s.listener.Close() // closed already unless it never served
}

// probe answers 200 "ok", or 503 with what is wrong.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
