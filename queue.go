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

	// A key whose Testcr the API server refuses as too large or invalid waits longer,
	// because only a change of the Pod or of the API server helps. A change of the Pod
	// is synced at once.
	refusedRetryMin = time.Second
	refusedRetryMax = 5 * time.Minute
)

func newRefusedRateLimiter() workqueue.TypedRateLimiter[cache.ObjectName] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](refusedRetryMin, refusedRetryMax)
}

// runQueue is the workqueue of one Run. A workqueue cannot be used again after it was
// shut down, so each Run opens a new one. Keys that are added between two Runs are
// dropped, because nothing drains them.
type runQueue struct {
	mu    sync.RWMutex
	queue workqueue.TypedRateLimitingInterface[cache.ObjectName] // nil before the first Run
}

// open makes an empty queue without the backoff of earlier failures.
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

// Add queues key. Like AddAfter, Forget and Len it may be called between two Runs.
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

// Len returns the number of queued keys.
func (q *runQueue) Len() int {
	if queue := q.get(); queue != nil {
		return queue.Len()
	}
	return 0
}

// ShutDown makes the workers end. Keys that are added afterwards are dropped.
func (q *runQueue) ShutDown() {
	if queue := q.get(); queue != nil {
		queue.ShutDown()
	}
}

// Get blocks until a key is queued. Like the methods below it is only for workers.
func (q *runQueue) Get() (cache.ObjectName, bool) { return q.get().Get() }

// Done ends the processing of key.
func (q *runQueue) Done(key cache.ObjectName) { q.get().Done(key) }

// AddRateLimited queues key after its backoff.
func (q *runQueue) AddRateLimited(key cache.ObjectName) { q.get().AddRateLimited(key) }

// NumRequeues returns how often key was queued with backoff.
func (q *runQueue) NumRequeues(key cache.ObjectName) int { return q.get().NumRequeues(key) }

// ShuttingDown reports whether ShutDown was called.
func (q *runQueue) ShuttingDown() bool { return q.get().ShuttingDown() }
