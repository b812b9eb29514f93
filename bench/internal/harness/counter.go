package harness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// Counter counts Testcrs by one watch, open through the whole run. It reads no
// more of an event than its type and version: whatever the bench spends, the server lacks.
type Counter struct {
	client  *http.Client
	host    string
	note    func(format string, args ...any)
	version string // of the last event
	cancel  context.CancelFunc
	ended   chan struct{}
	timeout time.Duration // of Wait

	mu      sync.Mutex
	present int
	err     error
	goal    *Goal
}

// Goal is a number of Testcrs, and what happened on the way there.
type Goal struct {
	Reached chan struct{}
	Last    time.Time // arrival of the last event that counts

	number          int
	modified, wrong int // events that should not have been
}

// Count starts after version, when there are no Testcrs. Wait gives up after
// timeout.
func (c *Cluster) Count(ctx context.Context, version string, timeout time.Duration, note func(format string, args ...any)) (*Counter, error) {
	own := rest.CopyConfig(c.Config)
	own.Dial = (&net.Dialer{}).DialContext // a connection of its own
	client, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	counter := &Counter{client: client, host: own.Host, note: note, version: version, cancel: cancel, ended: make(chan struct{}), timeout: timeout}
	body, err := counter.open(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	go counter.read(ctx, body)
	return counter, nil
}

func (c *Counter) open(ctx context.Context) (io.ReadCloser, error) {
	gvr := podinfolookup.GroupVersionResource
	url := fmt.Sprintf("%s/apis/%s/%s?watch=true&timeoutSeconds=7200&resourceVersion=%s", c.host, gvr.GroupVersion(), gvr.Resource, c.version)
	return openWatch(ctx, c.client, url)
}

// Close ends the watch.
func (c *Counter) Close() {
	c.cancel()
	<-c.ended
}

// read counts until Close. The API server may end any watch, one that it finds
// slow for example; the next one then goes on from the last event.
func (c *Counter) read(ctx context.Context, body io.ReadCloser) {
	defer close(c.ended)
	var err error
	for ; err == nil; body, err = c.open(ctx) {
		lines := bufio.NewScanner(body)
		lines.Buffer(make([]byte, 1<<16), 1<<22)
		for lines.Scan() {
			c.event(lines.Bytes())
		}
		_ = body.Close() // only read
		if ctx.Err() == nil {
			c.note("the watch of Testcrs goes on from %s", c.version)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = fmt.Errorf("the watch of Testcrs ended: %w", err)
}

// Ended is closed when the watch is, and Wait tells why.
func (c *Counter) Ended() <-chan struct{} { return c.ended }

func (c *Counter) event(line []byte) {
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
		c.err = fmt.Errorf("the watch of Testcrs says %.200s", line)
		return
	}
	if _, after, ok := bytes.Cut(line, []byte(`"resourceVersion":"`)); ok {
		c.version = string(after[:max(0, bytes.IndexByte(after, '"'))])
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
	g.Last = time.Now()
	if c.present == g.number {
		c.goal = nil
		close(g.Reached)
	}
}

// Present returns how many Testcrs there are.
func (c *Counter) Present() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.present
}

// Until sets the number of Testcrs that Wait will wait for.
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

// Wait waits for what Until has set, and fails where something else came as well.
func (c *Counter) Wait(ctx context.Context, g *Goal) (*Goal, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case <-g.Reached:
		if g.modified+g.wrong > 0 {
			return nil, fmt.Errorf("%d changes and %d other events on the way to %d Testcrs", g.modified, g.wrong, g.number)
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
	return nil, fmt.Errorf("there are %d Testcrs, not %d: %w", c.present, g.number, ctx.Err())
}
