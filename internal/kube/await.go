package kube

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
	// The preflight is retried after 200 ms, doubling to 2 s, which bounds how long
	// after an outage the program starts.
	awaitRetryMin = 200 * time.Millisecond
	awaitRetryMax = 2 * time.Second

	// refusalTimeout is how long an API server that has just started may refuse a
	// login or a right before that is an error: it may not have read its rules yet.
	refusalTimeout = 10 * time.Second
)

// Waiter waits for an API server that is away. The zero value is ready for use.
type Waiter struct{ reason atomic.Pointer[error] }

// Check is a readiness check that fails with the reason of the wait.
func (w *Waiter) Check() error {
	if err := w.reason.Load(); err != nil {
		return fmt.Errorf("waiting for the API server: %s", cli.OneLine(*err))
	}
	return errors.New("waiting for the API server")
}

// Wait calls preflight until it succeeds, or until it fails in a way that no wait
// changes. onWait is called at each failure that is retried.
func (w *Waiter) Wait(ctx context.Context, preflight func(context.Context) error, onWait func()) error {
	logger := klog.FromContext(ctx)
	backoff := wait.Backoff{Duration: awaitRetryMin, Factor: 2, Jitter: 0.2, Steps: math.MaxInt, Cap: awaitRetryMax}
	var log errlog.Limiter
	var refusedSince time.Time
	for waited := false; ; waited = true {
		err := preflight(ctx)
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
			refusedSince = time.Time{}
		case !waited || !isRefusal(err):
			return err
		case refusedSince.IsZero():
			refusedSince = time.Now()
		case time.Since(refusedSince) > refusalTimeout:
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

// isTransient reports whether the API server is away or overloaded, as opposed to
// a wrong address, login or right.
func isTransient(err error) bool {
	var (
		dns     *net.DNSError
		status  apierrors.APIStatus
		network net.Error
	)
	switch {
	case err == nil:
		return false
	case errors.As(err, &dns):
		return !dns.IsNotFound
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

// isRefusal reports whether a login or a right is missing.
func isRefusal(err error) bool {
	var rights missingRightsError
	return errors.As(err, &rights) || apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err)
}
