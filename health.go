package podinfolookup

import (
	"errors"
	"fmt"
	"time"
)

// stuckAfter is the duration of one sync at which its worker counts as stuck: more
// than the 3 minutes that all requests of a sync can take, each until its timeout.
const stuckAfter = 5 * time.Minute

// Ready returns nil while the API server serves Testcrs and the caches are synced.
func (c *Controller) Ready() error {
	if err := c.testcrs.Unavailable(); err != nil {
		return err
	}
	return c.Synced()
}

// Synced returns nil once the handlers have handled all Pods and Testcrs of the first
// lists, also before Run is called.
func (c *Controller) Synced() error {
	for _, handler := range c.handlers.synced {
		select {
		case <-handler.Done():
		default:
			return errors.New("the caches are not synced yet")
		}
	}
	return nil
}

// Healthy returns an error if a worker is stuck. It makes no request: an outage of the
// API server must not restart this program.
func (c *Controller) Healthy() error {
	for id := range c.syncStarted {
		if start := c.syncStarted[id].Load(); start != 0 && time.Since(time.Unix(0, start)) > stuckAfter {
			return fmt.Errorf("worker %d has been in one sync for over %s", id, stuckAfter)
		}
	}
	return nil
}

// Settled reports whether the first lists are in the caches and no key is queued.
func (c *Controller) Settled() bool { return c.Synced() == nil && c.queue.Len() == 0 }
