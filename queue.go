package podinfolookup

import (
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// runQueue is the workqueue of one Run. A workqueue cannot be used again after it
// was shut down, so each Run opens a new one. Keys that are added between two Runs
// are dropped, because nothing drains them.
type runQueue struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[cache.ObjectName] // nil before the first Run
}

// open begins with an empty queue and without the backoff of earlier failures.
func (q *runQueue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](retryMin, retryMax),
		workqueue.TypedRateLimitingQueueConfig[cache.ObjectName]{Name: "pods"})
}

func (q *runQueue) get() workqueue.TypedRateLimitingInterface[cache.ObjectName] {
	q.mu.RLock()
	defer q.mu.RUnlock()
	return q.queue
}

// Handlers and probes call Add, AddAfter, Forget and Len at any time.

// Add queues key.
func (q *runQueue) Add(key cache.ObjectName) {
	if queue := q.get(); queue != nil {
		queue.Add(key)
	}
}

// AddAfter queues key after delay.
func (q *runQueue) AddAfter(key cache.ObjectName, delay time.Duration) {
	if queue := q.get(); queue != nil {
		queue.AddAfter(key, delay)
	}
}

// Forget ends the backoff of key.
func (q *runQueue) Forget(key cache.ObjectName) {
	if queue := q.get(); queue != nil {
		queue.Forget(key)
	}
}

// Len returns how many keys wait.
func (q *runQueue) Len() int {
	if queue := q.get(); queue != nil {
		return queue.Len()
	}
	return 0
}

// ShutDown has the workers end; keys that are added from then on are dropped.
func (q *runQueue) ShutDown() {
	if queue := q.get(); queue != nil {
		queue.ShutDown()
	}
}

// Get and the ones below are for the workers, which run while the queue is open.
func (q *runQueue) Get() (cache.ObjectName, bool) { return q.get().Get() }

// Done ends the processing of key.
func (q *runQueue) Done(key cache.ObjectName) { q.get().Done(key) }

// AddRateLimited queues key after its backoff.
func (q *runQueue) AddRateLimited(key cache.ObjectName) { q.get().AddRateLimited(key) }

// NumRequeues returns how often key was queued with backoff.
func (q *runQueue) NumRequeues(key cache.ObjectName) int { return q.get().NumRequeues(key) }

// ShuttingDown reports whether ShutDown was called.
func (q *runQueue) ShuttingDown() bool { return q.get().ShuttingDown() }
