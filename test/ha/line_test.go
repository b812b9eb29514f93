package ha_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// line is the way to the API server. It can be cut: then there is no connection,
// nor can one be made, and the API server goes on for others. Its connections can
// be silenced: they stay open and drop all bytes, as when a firewall has forgotten
// them, while new ones work.
type line struct {
	address, target string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]*atomic.Bool // true once it is silenced
	wg       sync.WaitGroup
}

func newLine(t *testing.T) *line {
	t.Helper()
	target, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{address: "127.0.0.1:0", target: target.Host, open: map[net.Conn]*atomic.Bool{}}
	l.heal(t)
	t.Cleanup(l.cut)
	return l
}

// kubeconfig is the program's, by way of this line. The API server's certificate
// is for 127.0.0.1, whatever the port.
func (l *line) kubeconfig(t *testing.T) string {
	t.Helper()
	login := env.Login()
	login.Cluster.Server = "https://" + l.address
	return login.Write(t)
}

// heal lets connections be made, at the same address as before.
func (l *line) heal(t *testing.T) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.address, l.listener = listener.Addr().String(), listener
	l.wg.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.target)
			if err != nil {
				_ = near.Close()
				continue
			}
			l.join(listener, near, far)
		}
	})
}

// join carries bytes both ways, unless the line was cut meanwhile.
func (l *line) join(listener net.Listener, near, far net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != listener {
		_ = near.Close()
		_ = far.Close()
		return
	}
	silenced := new(atomic.Bool)
	l.open[near], l.open[far] = silenced, silenced
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		l.wg.Go(func() {
			_, _ = io.Copy(unless{silenced, way[0]}, way[1])
			_ = near.Close()
			_ = far.Close()
		})
	}
}

// unless drops what is written to it once it is silenced.
type unless struct {
	silenced *atomic.Bool
	to       io.Writer
}

func (u unless) Write(b []byte) (int, error) {
	if u.silenced.Load() {
		return len(b), nil
	}
	return u.to.Write(b)
}

// silence has all open connections drop what is sent.
func (l *line) silence() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, silenced := range l.open {
		silenced.Store(true)
	}
}

// cut ends all connections, and returns when nothing is carried any more.
func (l *line) cut() {
	l.mu.Lock()
	if l.listener != nil {
		_ = l.listener.Close()
	}
	l.listener = nil
	for c := range l.open {
		_ = c.Close()
	}
	clear(l.open)
	l.mu.Unlock()
	l.wg.Wait()
}
