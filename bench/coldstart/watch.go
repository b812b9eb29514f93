package main

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

// counter counts Testcrs by one watch, open through the whole run. It reads no
// more of an event than its type and version: whatever the bench spends, the server lacks.
type counter struct {
	client  *http.Client
	host    string
	note    func(format string, args ...any)
	version string // of the last event
	cancel  context.CancelFunc
	ended   chan struct{}

	mu      sync.Mutex
	present int
	total   int // events ever
	err     error
	goal    *goal
}

// goal is a number of Testcrs, and what happened on the way there.
type goal struct {
	number          int
	reached         chan struct{}
	first, last     time.Time // of the events that count, as they arrived here
	modified, wrong int       // events that should not have been
}

// watchTestcrs starts after version, when there are none.
func (b *bench) watchTestcrs(ctx context.Context, version string) (*counter, error) {
	own := rest.CopyConfig(b.Config)
	own.Dial = (&net.Dialer{}).DialContext // a connection of its own
	client, err := rest.HTTPClientFor(own)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &counter{client: client, host: own.Host, note: b.Note, version: version, cancel: cancel, ended: make(chan struct{})}
	body, err := c.open(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	go c.read(ctx, body)
	return c, nil
}

func (c *counter) open(ctx context.Context) (io.ReadCloser, error) {
	gvr := podinfolookup.GroupVersionResource
	url := fmt.Sprintf("%s/apis/%s/%s?watch=true&timeoutSeconds=7200&resourceVersion=%s", c.host, gvr.GroupVersion(), gvr.Resource, c.version)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close() // the status is all
		return nil, fmt.Errorf("watch: %s", response.Status)
	}
	return response.Body, nil
}

func (c *counter) close() {
	c.cancel()
	<-c.ended
}

// read counts until close. The API server may end any watch, one that it finds
// slow for example; the next one then goes on from the last event.
func (c *counter) read(ctx context.Context, body io.ReadCloser) {
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

func (c *counter) event(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
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
	g.last = time.Now()
	if g.first.IsZero() {
		g.first = g.last
	}
	if c.present == g.number {
		c.goal = nil
		close(g.reached)
	}
}

func (c *counter) events() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

// until sets the number of Testcrs that wait will wait for.
func (c *counter) until(number int) *goal {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &goal{number: number, reached: make(chan struct{})}
	if c.present == number {
		close(g.reached)
	} else {
		c.goal = g
	}
	return g
}

func (c *counter) wait(ctx context.Context, g *goal) (*goal, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	select {
	case <-g.reached:
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
