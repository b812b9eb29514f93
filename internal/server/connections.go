package server

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// connections keeps at most max connections open. It makes room for a new one by
// closing the one that has been idle the longest, so that neither idle nor slow
// clients keep a probe out. If all serve a request, the new one is closed.
//
// netutil.LimitListener would leave a new connection, such as that of a probe,
// waiting until an idle one ends, for up to two minutes.
type connections struct {
	max  int
	mu   sync.Mutex
	open map[net.Conn]*list.Element // nil while a request is served
	idle list.List                  // of net.Conn, the longest idle first
}

// onStateChange is the ConnState of an http.Server.
func (c *connections) onStateChange(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.open[conn]; element != nil {
		c.idle.Remove(element)
	}
	switch state {
	case http.StateNew, http.StateIdle: // also while the header of a request arrives
		if c.open == nil {
			c.open = map[net.Conn]*list.Element{}
		}
		c.open[conn] = c.idle.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
	case http.StateHijacked, http.StateClosed:
		delete(c.open, conn)
	}
	if longest := c.idle.Front(); longest != nil && len(c.open) > c.max {
		c.evict(longest)
	}
}

func (c *connections) evict(element *list.Element) {
	conn, _ := c.idle.Remove(element).(net.Conn)
	delete(c.open, conn)
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // TLS would send its close message first, and wait
	}
	_ = conn.Close() // the client may have closed it already
}
