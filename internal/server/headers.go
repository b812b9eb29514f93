package server

import (
	"fmt"
	"log"
	"net/http"
	"runtime/debug"
	"strings"

	"k8s.io/klog/v2"
)

// withSecurityHeaders sets the headers that keep a response from other sites, and
// recovers from a panic of next.
func withSecurityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		tracking, logger := &trackingWriter{ResponseWriter: w}, klog.FromContext(r.Context())
		defer func() {
			if cause := recover(); cause != nil {
				tracking.recovered(logger, r.URL.Path, cause)
			}
		}()
		next.ServeHTTP(tracking, r)
	})
}

// trackingWriter records whether the response has begun. Handlers flush it and set
// its deadlines through http.ResponseController.
type trackingWriter struct {
	http.ResponseWriter
	begun bool
}

// recovered responds for a handler that panicked.
func (w *trackingWriter) recovered(logger klog.Logger, path string, cause any) {
	if cause == http.ErrAbortHandler { //nolint:errorlint // a panic's value, which nobody wraps
		panic(cause)
	}
	logger.Error(fmt.Errorf("%v", cause), "A request panicked", "path", path, "stack", string(debug.Stack()))
	if w.begun { // a truncated response must not look complete
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "internal error: the log has the cause", http.StatusInternalServerError)
}

func (w *trackingWriter) WriteHeader(code int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

func (w *trackingWriter) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// FlushError is for http.ResponseController, as Unwrap is.
func (w *trackingWriter) FlushError() error {
	w.begun = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *trackingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// errorLog returns the logger of net/http. Failed TLS handshakes are mostly those
// of port scanners, so they are logged at V(4).
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
