package lookup

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
)

const (
	// A view that is older than confirmAge is confirmed when somebody asks. From
	// waitAge on the answer waits for that, so that readers who ask often never wait.
	confirmAge = 2 * time.Second
	waitAge    = 4 * time.Second
	// confirmInterval bounds the requests to the API server.
	confirmInterval = time.Second
	// confirmWait bounds the delay of an answer, and confirmTimeout that of a request.
	confirmWait    = 500 * time.Millisecond
	confirmTimeout = 5 * time.Second
	// silentAfter is how long a request stays without an answer until the API server is
	// reported as silent. With eventsSilent that takes less than 10 s after it froze.
	silentAfter = 1500 * time.Millisecond
)

// confirmer has the age of the Pods confirmed by the API server. An idle watch delivers
// nothing, so without a request the cache cannot know that nothing has happened.
type confirmer struct {
	ctx  context.Context
	pods Pods

	mu      sync.Mutex
	begun   time.Time     // of the last request
	running chan struct{} // closed at the end of the request; nil without one
	silent  bool          // the last request confirmed nothing: no answer waits for the next
	// unanswered is when the first request began after which none was answered.
	unanswered time.Time
}

// ifOld confirms the view if it is old. It returns when that is done, or at once if an
// answer must not wait.
func (c *confirmer) ifOld(ctx context.Context) {
	age := time.Since(c.pods.AsOf())
	if age < confirmAge {
		return
	}
	running, mayWait := c.start() //nolint:contextcheck // the request is of all readers, so it outlives this one
	if running == nil || !mayWait || age < waitAge {
		return
	}
	timeout := time.NewTimer(confirmWait)
	defer timeout.Stop()
	select {
	case <-running:
	case <-ctx.Done():
	case <-timeout.C:
		c.setSilent(true)
	}
}

// start begins a request unless one is running or was sent within confirmInterval.
func (c *confirmer) start() (running <-chan struct{}, mayWait bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil && time.Since(c.begun) >= confirmInterval {
		c.begun, c.running = time.Now(), make(chan struct{})
		go c.run(c.running)
	}
	return c.running, !c.silent
}

func (c *confirmer) run(done chan struct{}) {
	ctx, cancel := context.WithTimeout(c.ctx, confirmTimeout)
	defer cancel()
	err := c.pods.Confirm(ctx)
	c.setSilent(err != nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if isAnswer(err) {
		c.unanswered = time.Time{}
	} else if c.unanswered.IsZero() {
		c.unanswered = c.begun
	}
	c.running = nil
	close(done)
}

// isAnswer reports whether the API server answered a request with this error.
func isAnswer(err error) bool {
	return err == nil || errors.Is(err, podcache.ErrUnproven) || apierrors.IsForbidden(err) || apierrors.IsTooManyRequests(err)
}

// isAsking reports whether a request is running, or the last one was not answered.
func (c *confirmer) isAsking() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running != nil || !c.unanswered.IsZero()
}

// silentSince returns since when the API server has answered no request, or the zero
// time.
func (c *confirmer) silentSince() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unanswered.IsZero() && c.running != nil && time.Since(c.begun) >= silentAfter {
		return c.begun
	}
	return c.unanswered
}

func (c *confirmer) setSilent(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = silent
}
