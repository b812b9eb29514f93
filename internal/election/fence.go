package election

// Leader election alone does not keep a former leader from writing. A process that
// was stopped, or a machine that was suspended, continues where it was, and sends
// the requests that it had prepared, though another replica leads by then.
//
// So a lease fence checks every write at the last place in this process, the
// transport: after the client's rate limiter, and again at each retry.

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// errNotLeading is why a write was not sent.
var errNotLeading = errors.New(
	"not sent: this replica does not hold the lease, or has not been able to renew it in time")

// leaseFence lets writes pass while the lease is held.
type leaseFence struct {
	// lasts is how long after the start of a renewal writes may be sent. It is half
	// way between the renew deadline, when the elector gives up, and the lease
	// duration, when another replica may lead. Requests in flight have the rest.
	lasts time.Duration

	mu      sync.Mutex
	renewed time.Time          // when the last renewal was sent
	held    context.Context    // ends when the fence closes; nil while it is closed
	cancel  context.CancelFunc // of held
}

// renew opens the fence, or keeps it open, after a renewal that was sent at begun.
func (f *leaseFence) renew(begun time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewed = begun
	if f.held == nil {
		f.held, f.cancel = context.WithCancel(context.Background())
	}
}

// close refuses writes from now on, and cancels those in flight.
func (f *leaseFence) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != nil {
		f.cancel()
	}
	f.held = nil
}

// sinceRenewal returns the age of the last renewal.
func (f *leaseFence) sinceRenewal() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.renewed)
}

// deadline returns when the fence closes without a renewal, and a context that
// ends when it closes before. The time is zero while the fence is closed.
func (f *leaseFence) deadline() (time.Time, context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		return time.Time{}, nil
	}
	deadline := f.renewed.Add(f.lasts)
	// Go's monotonic clock stops while a machine is suspended, and the wall clock may
	// be set back. The later of the two decides.
	if now := time.Now(); !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0)) {
		return time.Time{}, nil
	}
	return deadline, f.held
}

// wrap returns a copy of config whose writes pass the fence.
func (f *leaseFence) wrap(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return fencedTransport{next: next, fence: f} })
	return config
}

type fencedTransport struct {
	next  http.RoundTripper
	fence *leaseFence
}

// RoundTrip refuses a write while the fence is closed, and cancels it when the
// fence closes before the response.
func (t fencedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return t.next.RoundTrip(r)
	}
	deadline, held := t.fence.deadline()
	if deadline.IsZero() {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, errNotLeading
	}
	ctx, cancel := context.WithDeadlineCause(r.Context(), deadline, errNotLeading)
	stop := context.AfterFunc(held, cancel) //nolint:contextcheck // the fence outlives the request
	release := func() {
		stop()
		cancel()
	}
	response, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	response.Body = releasingBody{ReadCloser: response.Body, release: release}
	return response, nil
}

// WrappedRoundTripper is for client-go, which looks for the transport below.
func (t fencedTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// releasingBody releases the request's context when the response is closed.
type releasingBody struct {
	io.ReadCloser
	release func()
}

func (b releasingBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
