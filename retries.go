package podinfolookup

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

const (
	// A key whose Testcr the API server refuses as too large or invalid waits longer,
	// because only a change of the Pod or of the API server helps. A change of the Pod
	// is synced at once.
	refusedRetryMin = time.Second
	refusedRetryMax = 5 * time.Minute

	// A common cause ends for all keys at once. So each earlyRetryInterval the first
	// successful write retries up to maxEarlyRetries failing keys before their backoff
	// ends. The limits keep keys that fail by themselves from being retried with every
	// write.
	earlyRetryInterval = time.Second
	maxEarlyRetries    = 100

	// reducedFor is how long the Testcr of a Pod is written without labels and
	// containers before it is tried in full again: no event reports that the API server
	// accepts it.
	reducedFor = 10 * time.Minute
)

// retries repeats failed syncs, and reduces Testcrs that the API server refuses in full.
type retries struct {
	queue    *runQueue
	states   *keyStates
	warnings *warnings
	refused  workqueue.TypedRateLimiter[cache.ObjectName] // of keys whose Testcr is refused as too large or invalid

	retriedAt atomic.Pointer[time.Time] // of the last early retries
}

func newRetries(queue *runQueue, states *keyStates, warnings *warnings) *retries {
	r := &retries{
		queue: queue, states: states, warnings: warnings,
		refused: workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](refusedRetryMin, refusedRetryMax),
	}
	r.retriedAt.Store(new(time.Now()))
	return r
}

// succeeded ends the backoff of a key, and retries other failing keys after a write.
func (r *retries) succeeded(key cache.ObjectName, verb Verb) {
	r.queue.Forget(key)
	r.refused.Forget(key)
	r.states.update(key, func(state *keyState) { state.isFailing = false })
	if verb.Writes() && r.states.anyFailing() && r.areRetriesDue() {
		for _, failing := range r.states.each(maxEarlyRetries, func(state *keyState) bool { return state.isFailing }) {
			r.queue.Add(failing)
		}
	}
}

// areRetriesDue reports whether early retries are due, and records them.
func (r *retries) areRetriesDue() bool {
	last, now := r.retriedAt.Load(), time.Now()
	return now.Sub(*last) >= earlyRetryInterval && r.retriedAt.CompareAndSwap(last, &now)
}

// failed reports a failed sync and queues its key with backoff. A refusal because of the
// content of a Testcr does not end when other writes succeed.
func (r *retries) failed(ctx context.Context, key cache.ObjectName, err error) {
	isOwnFault := isTooLargeOrInvalid(err)
	count := r.queue.NumRequeues(key) + r.refused.NumRequeues(key) + 1
	if !r.queue.ShuttingDown() {
		r.states.update(key, func(state *keyState) { state.isFailing = !isOwnFault })
		r.warnings.reportFailure(ctx, key, err, count)
	}
	if isOwnFault {
		r.queue.AddAfter(key, r.refused.When(key))
	} else {
		r.queue.AddRateLimited(key)
	}
}

// isTooLargeOrInvalid reports that the API server refused a write because of its
// content. A policy may do so because of the labels or the containers.
func isTooLargeOrInvalid(err error) bool {
	return testcrcache.IsContentRefused(err) || apierrors.IsInvalid(err)
}

// reducedIfRefused returns the Testcr that the Pod calls for, without labels and
// containers if the API server has refused it in full. Without a Pod it is nil.
func (r *retries) reducedIfRefused(key cache.ObjectName, pod *v1.Testcr) *v1.Testcr {
	until := r.states.get(key).reducedUntil
	if until.IsZero() {
		return pod
	}
	if pod == nil {
		r.states.update(key, func(state *keyState) { state.reducedUntil = time.Time{} })
		return nil
	}
	if wait := time.Until(until); wait > 0 {
		r.queue.AddAfter(key, wait) // again at each sync, because a workqueue keeps only the earliest time of a key
		return desired.Reduced(pod)
	}
	return pod
}

// reduce records and reports that the API server refused a Testcr in full.
func (r *retries) reduce(ctx context.Context, key cache.ObjectName, want *v1.Testcr, err error) {
	before := r.states.update(key, func(state *keyState) { state.reducedUntil = time.Now().Add(reducedFor) })
	r.queue.AddAfter(key, reducedFor)
	if !before.reducedUntil.IsZero() {
		return
	}
	if ok, _ := r.warnings.limiter.allow(); !ok {
		return
	}
	klog.FromContext(ctx).Error(shortError(err), "The API server refuses a Testcr as too large or invalid; it is written without labels and containers",
		"testcr", want.Name, "pod", want.Spec.PodKey, "triedAgainAfter", reducedFor)
	r.warnings.warn(&want.ObjectMeta, TestcrReduced, fmt.Sprintf("The API server refuses the Testcr of the Pod %s as too large or invalid; "+
		"it has no labels and containers for the next %s: %s", want.Spec.PodKey, reducedFor, shortError(err)))
}
