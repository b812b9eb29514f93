package podinfolookup

import (
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
)

// Reason is why a Testcr was written.
type Reason string

// Why a Testcr is written. The last three repair what somebody else did.
const (
	PodChanged     Reason = "pod_changed"    // the Pod came, changed or went
	PodReplaced    Reason = "pod_replaced"   // another Pod of the same name took its place
	CaughtUp       Reason = "caught_up"      // it was found different when this controller began to work
	Adopted        Reason = "adopted"        // it was the Pod's, but without our label
	TestcrDeleted  Reason = "testcr_deleted" // it was gone although its Pod is there
	TestcrEdited   Reason = "testcr_edited"  // it was changed although its Pod was not
	TestcrOrphaned Reason = "orphaned"       // it came up, or is kept by a finalizer, with our label, without its Pod
)

// Repairs reports whether the write undid what somebody else had done.
func (r Reason) Repairs() bool {
	return r == TestcrDeleted || r == TestcrEdited || r == TestcrOrphaned
}

// Write is one write of a Testcr that the API server has accepted.
type Write struct {
	Verb   Verb
	Reason Reason
	Pod    cache.ObjectName
	// Since is when the cache heard of the first change of the Pod that this
	// write is the answer to; it is zero when there was none.
	Since time.Time
}

// cause is what has led to a sync.
type cause struct {
	pod   bool      // the Pod is to be looked at, not only its Testcr
	since time.Time // of the first change of the Pod; zero for the look at everything
}

// reason tells why verb is done to have, so that want is true.
func (c cause) reason(verb Verb, want, have *Testcr) Reason {
	switch {
	case verb == Updated && !have.Managed():
		return Adopted
	case verb == Updated && have.Spec.PodUID != want.Spec.PodUID && c.pod && want.Spec.PodUID != "":
		return PodReplaced
	case c.pod && c.since.IsZero():
		return CaughtUp
	case c.pod:
		return PodChanged
	case verb == Added:
		return TestcrDeleted
	case verb == Updated && want.Spec.PodUID != "":
		return TestcrEdited
	default:
		return TestcrOrphaned
	}
}

// causes remembers for each key that waits in the queue whether, and since when,
// its Pod is to be looked at. A queue merges events, and so does this.
type causes struct {
	mu   sync.Mutex
	pods map[cache.ObjectName]time.Time
	most int // entries since pods was made: a map never gives its room back
}

// causesKept is how many entries' room is kept for the next burst, about 4 MB.
const causesKept = 1 << 15

func (c *causes) add(key cache.ObjectName, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, waits := c.pods[key]; waits {
		return
	}
	if c.pods == nil {
		c.pods = map[cache.ObjectName]time.Time{}
	}
	c.pods[key] = since
	c.most = max(c.most, len(c.pods))
}

// clear forgets the causes of an earlier Run.
func (c *causes) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods, c.most = nil, 0
}

// take returns the cause of the sync of key that now begins.
func (c *causes) take(key cache.ObjectName) cause {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, ok := c.pods[key]
	delete(c.pods, key)
	if len(c.pods) == 0 && c.most > causesKept {
		c.pods, c.most = nil, 0
	}
	return cause{pod: ok, since: since}
}
