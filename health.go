package podinfolookup

import (
	"errors"
	"fmt"
	"time"
)

// stuckAfter is when a worker in one and the same sync counts as stuck: more
// than the 3 minutes that all requests of one sync can take, each to its timeout.
const stuckAfter = 5 * time.Minute

// Ready returns nil while the API server serves Testcrs and the caches are Synced.
func (c *Controller) Ready() error {
	if err := c.testcrs.Missing(); err != nil {
		return err
	}
	return c.Synced()
}

// Synced returns nil once the caches hold all Pods and Testcrs and every handler
// has heard of them; also when Run has not been called yet.
func (c *Controller) Synced() error {
	for _, handler := range c.synced {
		select {
		case <-handler.Done():
		default:
			return errors.New("the caches are not synced yet")
		}
	}
	return nil
}

// Healthy returns an error when a worker makes no progress. It asks nobody: an
// outage of the API server must not restart this program.
func (c *Controller) Healthy() error {
	for id := range c.busy {
		if since := c.busy[id].Load(); since != 0 && time.Since(time.Unix(0, since)) > stuckAfter {
			return fmt.Errorf("worker %d has been in one sync for over %s", id, stuckAfter)
		}
	}
	return nil
}

// Settled reports whether the first lists are in the caches and nothing waits to
// be written.
func (c *Controller) Settled() bool { return c.Synced() == nil && c.queue.Len() == 0 }
