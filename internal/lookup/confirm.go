package lookup

import (
	"context"
	"sync"
	"time"
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
	c.running = nil
	close(done)
}

func (c *confirmer) setSilent(silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.silent = silent
}
