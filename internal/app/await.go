package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/errlog"
)

const (
	// The checks before the start are tried again after 200 ms, doubling to 2 s,
	// which bounds how long after an outage the program begins.
	awaitRetryMin = 200 * time.Millisecond
	awaitRetryMax = 2 * time.Second

	// refusalStands is how long an API server that has just come must refuse a
	// login or a right to be believed: it may not have read its rules yet.
	refusalStands = 10 * time.Second
)

// waiting is for an API server that cannot be asked yet.
type waiting struct{ reason atomic.Pointer[error] }

// check is for /readyz.
func (w *waiting) check() error {
	if err := w.reason.Load(); err != nil {
		return fmt.Errorf("waiting for the API server: %s", cli.OneLine(*err))
	}
	return errors.New("waiting for the API server")
}

// ServeHTTP answers instead of the lookup.
func (w *waiting) ServeHTTP(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Retry-After", "1")
	http.Error(rw, "waiting for the API server, /readyz has the reason: try again later", http.StatusServiceUnavailable)
}

// until has ask tried until it succeeds, or fails in a way that no wait changes.
// onWait is called at each failure that is waited out.
func (w *waiting) until(ctx context.Context, ask func(context.Context) error, onWait func()) error {
	logger := klog.FromContext(ctx)
	backoff := wait.Backoff{Duration: awaitRetryMin, Factor: 2, Jitter: 0.2, Steps: math.MaxInt, Cap: awaitRetryMax}
	var log errlog.Limiter
	var refused time.Time
	for waited := false; ; waited = true {
		err := ask(ctx)
		if err == nil {
			if waited {
				logger.Info("The API server answers")
			}
			return nil
		}
		switch {
		case ctx.Err() != nil:
			return err
		case isTransient(err):
			refused = time.Time{}
		case !waited || !isRefusal(err):
			return err
		case refused.IsZero():
			refused = time.Now()
		case time.Since(refused) > refusalStands:
			return err
		}
		w.reason.Store(&err)
		onWait()
		if log.Allow(err) {
			logger.Error(err, "Waiting for the API server, trying again")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(backoff.Step()):
		}
	}
}

// isTransient reports whether err says that the API server is away or overloaded,
// as opposed to a server, a login or a right that is wrong.
func isTransient(err error) bool {
	var (
		name    *net.DNSError
		status  apierrors.APIStatus
		network net.Error
	)
	switch {
	case err == nil:
		return false
	case errors.As(err, &name):
		return !name.IsNotFound
	case errors.As(err, &status):
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	case errors.Is(err, errNoAnswer), errors.As(err, &network) && network.Timeout():
		return true
	case utilnet.IsProbableEOF(err), utilnet.IsHTTP2ConnectionLost(err):
		return true
	}
	return slices.ContainsFunc([]error{
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
		syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ETIMEDOUT,
	}, func(cause error) bool { return errors.Is(err, cause) })
}

// isRefusal reports whether err is a login or a right that is missing.
func isRefusal(err error) bool {
	var rights rightsError
	return errors.As(err, &rights) || apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err)
}
