package informer

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Proof is the answer of the API server to a request for its present version.
type Proof struct {
	sent       time.Time
	version    string
	connection *net.Conn // nil if it is not known
}

// Probe requests the present version of the API server. list must list objects of the
// resource whose informers the Proof is for. With ProbeLimit that costs little.
func Probe(ctx context.Context, list func(context.Context, metav1.ListOptions) (runtime.Object, error)) (*Proof, error) {
	traced, connection := traceConnection(ctx)
	p := &Proof{sent: time.Now()}
	objects, err := list(traced, metav1.ListOptions{Limit: ProbeLimit})
	if err != nil {
		return nil, err
	}
	p.version, p.connection = versionOf(objects), connection.Load()
	return p, nil
}

// Confirm moves AsOf to the time at which p was requested, and reports whether p shows
// that the cache was current then. The versions are seldom equal, because every write
// to etcd makes a new one, not only those to this resource. But an answer over the
// connection of the open watch shows that events arrive, for the API server sends them
// as they happen. Over HTTP/1.1 each request has a connection of its own.
func (i *Informer) Confirm(p *Proof) bool {
	at := i.GetStore().LastStoreSyncResourceVersion()
	watched := i.connection.Load()
	isSame := watched != nil && p.connection != nil && *watched == *p.connection
	if IsNewer(at, p.version) { // a later event has moved AsOf, or etcd was restored
		return false
	}
	if at != p.version && !isSame {
		return false
	}
	for sent := p.sent.UnixNano(); ; {
		last := i.asOf.Load()
		if last >= sent || i.asOf.CompareAndSwap(last, sent) {
			return true
		}
	}
}

// traceConnection returns a context whose requests store their connection.
func traceConnection(ctx context.Context) (context.Context, *atomic.Pointer[net.Conn]) {
	var used atomic.Pointer[net.Conn]
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { used.Store(&info.Conn) },
	}), &used
}
