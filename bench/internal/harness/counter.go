package harness

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"
)

// Counter counts Testcrs by one watch that stays open for the whole run. It does
// not decode events, because it shares the processors with the API server.
type Counter struct {
	cancel  context.CancelFunc
	ended   chan struct{}
	timeout time.Duration // of Wait

	mu      sync.Mutex
	present int
	err     error
	goal    *Goal
}

// Goal is a number of Testcrs to wait for.
type Goal struct {
	Reached chan struct{}
	Last    time.Time // arrival of the last event

	number          int
	modified, wrong int // unexpected events
}

// Count starts a Counter at version, at which there must be no Testcrs. Its Wait
// gives up after timeout.
func (c *Cluster) Count(ctx context.Context, version string, timeout time.Duration) (*Counter, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	counter := &Counter{cancel: cancel, ended: make(chan struct{}), timeout: timeout}
	err := c.Watch(ctx, TestcrsPath, version, counter.observe, func(err error) {
		counter.mu.Lock()
		defer counter.mu.Unlock()
		if counter.err == nil {
			counter.err = err
		}
		close(counter.ended)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return counter, nil
}

// Close ends the watch.
func (c *Counter) Close() {
	c.cancel()
	<-c.ended
}

// Ended is closed when the watch has ended. Wait then returns the cause.
func (c *Counter) Ended() <-chan struct{} { return c.ended }

func (c *Counter) observe(at time.Time, line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	step := 0
	switch {
	case bytes.HasPrefix(line, []byte(`{"type":"ADDED"`)):
		step = 1
	case bytes.HasPrefix(line, []byte(`{"type":"DELETED"`)):
		step = -1
	case bytes.HasPrefix(line, []byte(`{"type":"MODIFIED"`)):
	default:
		c.err = fmt.Errorf("watch of Testcrs: unexpected event %.200s", line)
		return
	}
	before := c.present
	c.present += step
	g := c.goal
	switch {
	case g == nil:
		return
	case step == 0:
		g.modified++
	case (step > 0) != (g.number > before):
		g.wrong++
	}
	g.Last = at
	if c.present == g.number {
		c.goal = nil
		close(g.Reached)
	}
}

// Present returns the present number of Testcrs.
func (c *Counter) Present() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.present
}

// Until sets the number of Testcrs that Wait waits for.
func (c *Counter) Until(number int) *Goal {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &Goal{number: number, Reached: make(chan struct{})}
	if c.present == number {
		close(g.Reached)
	} else {
		c.goal = g
	}
	return g
}

// Wait waits until g is reached. It fails if there were other events than those
// that lead to g.
func (c *Counter) Wait(ctx context.Context, g *Goal) (*Goal, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case <-g.Reached:
		if g.modified+g.wrong > 0 {
			return nil, fmt.Errorf("%d updates and %d other unexpected events before there were %d Testcrs", g.modified, g.wrong, g.number)
		}
		return g, nil
	case <-c.ended:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	return nil, fmt.Errorf("there are %d Testcrs, want %d: %w", c.present, g.number, ctx.Err())
}
