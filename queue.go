package podinfolookup

import (
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

const (
	// A failing key is retried after 5 ms, 10 ms, 20 ms ... and from the 14th time on
	// each half minute, or when others succeed again. Each key has its own backoff:
	// there is no token bucket that one failing key could empty for the others.
	retryMin = 5 * time.Millisecond
	retryMax = 30 * time.Second
)

// runQueue is the workqueue of one Run. A workqueue cannot be used again after it was
// shut down, so each Run opens a new one. Keys that are added between two Runs are
// dropped, because nothing drains them.
type runQueue struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

// newRunQueue returns a queue as between two Runs.
func newRunQueue() *runQueue {
	q := &runQueue{}
	q.open("") // without metrics
	q.ShutDown()
	return q
}

// open makes an empty queue without the backoff of earlier failures.
func (q *runQueue) open(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](retryMin, retryMax),
		workqueue.TypedRateLimitingQueueConfig[cache.ObjectName]{Name: name})
}

func (q *runQueue) get() workqueue.TypedRateLimitingInterface[cache.ObjectName] {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.queue
}

// Add queues key.
func (q *runQueue) Add(key cache.ObjectName) { q.get().Add(key) }

// AddAfter queues key after delay.
func (q *runQueue) AddAfter(key cache.ObjectName, delay time.Duration) { q.get().AddAfter(key, delay) }

// AddRateLimited queues key after its backoff.
func (q *runQueue) AddRateLimited(key cache.ObjectName) { q.get().AddRateLimited(key) }

// NumRequeues returns how often key was queued with backoff.
func (q *runQueue) NumRequeues(key cache.ObjectName) int { return q.get().NumRequeues(key) }

// Forget ends the backoff of key.
func (q *runQueue) Forget(key cache.ObjectName) { q.get().Forget(key) }

// Len returns the number of queued keys.
func (q *runQueue) Len() int { return q.get().Len() }

// Get blocks until a key is queued.
func (q *runQueue) Get() (key cache.ObjectName, shutdown bool) { return q.get().Get() }

// Done ends the processing of key.
func (q *runQueue) Done(key cache.ObjectName) { q.get().Done(key) }

// ShutDown makes the workers end.
func (q *runQueue) ShutDown() { q.get().ShutDown() }

// ShuttingDown reports whether no Run drains the queue.
func (q *runQueue) ShuttingDown() bool { return q.get().ShuttingDown() }
