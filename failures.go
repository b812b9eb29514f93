package podinfolookup

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

const (
	// maxFailureLines is how many failed syncs are logged per second. The cause of one
	// (API server away, missing right, lost lease) is usually the cause of all.
	maxFailureLines = 3
	// maxErrorBytes bounds an error in the log and in an Event: the API server quotes
	// values that it refuses.
	maxErrorBytes = 1 << 9

	// A common cause ends for all keys at once. So each earlyRetryInterval the first
	// successful write retries up to maxEarlyRetries failing keys before their backoff
	// ends. The limits keep keys that fail by themselves from being retried with every
	// write.
	earlyRetryInterval = time.Second
	maxEarlyRetries    = 100
)

// retries limits early retries and log lines.
type retries struct {
	mu   sync.Mutex
	last time.Time // of the early retries
	log  logLimiter
}

// logLimiter allows maxFailureLines per second, and counts the others.
type logLimiter struct {
	second  time.Time // when the current second began
	allowed int
	dropped int
}

// allow reports whether a line may be logged, and how many were dropped before it.
func (l *logLimiter) allow() (ok bool, dropped int) {
	if now := time.Now(); now.Sub(l.second) >= time.Second {
		l.second, l.allowed = now, 0
	}
	if l.allowed == maxFailureLines {
		l.dropped++
		return false, 0
	}
	l.allowed++
	dropped, l.dropped = l.dropped, 0
	return true, dropped
}

// areDue reports whether early retries are due, and records them.
func (r *retries) areDue() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.last) < earlyRetryInterval {
		return false
	}
	r.last = time.Now()
	return true
}

// allowLine reports whether a line may be logged: see logLimiter.
func (r *retries) allowLine() (ok bool, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.allow()
}

// succeeded ends the backoff of a key, and retries other failing keys after a write.
func (c *Controller) succeeded(key cache.ObjectName, verb Verb) {
	c.queue.Forget(key)
	c.refused.Forget(key)
	c.states.update(key, func(state *keyState) { state.isFailing = false })
	if verb.Writes() && c.states.anyFailing() && c.retries.areDue() {
		for _, failing := range c.states.failingKeys(maxEarlyRetries) {
			c.queue.Add(failing)
		}
	}
}

// failed reports a failed sync and queues its key with backoff. A refusal because of
// the content of a Testcr does not end when other writes succeed.
func (c *Controller) failed(ctx context.Context, key cache.ObjectName, err error) {
	isOwnFault := isTooLargeOrInvalid(err)
	failures := c.queue.NumRequeues(key) + c.refused.NumRequeues(key) + 1
	if !c.queue.ShuttingDown() {
		c.states.update(key, func(state *keyState) { state.isFailing = !isOwnFault })
		c.logFailure(ctx, key, err, failures)
	}
	if isOwnFault {
		c.queue.AddAfter(key, c.refused.When(key))
	} else {
		c.queue.AddRateLimited(key)
	}
}

func (c *Controller) logFailure(ctx context.Context, key cache.ObjectName, err error, failures int) {
	if testcrcache.IsCRDGone(err) { // the cache reports that, once for all keys
		return
	}
	if ok, dropped := c.retries.allowLine(); ok {
		utilruntime.HandleErrorWithContext(ctx, shortError(err), "Sync failed, will try again",
			"pod", klog.KRef(key.Namespace, key.Name), "failures", failures, "notLogged", dropped)
	}
}

// isTooLargeOrInvalid reports that the API server refused a write because of its
// content, so that it would refuse it again. etcd's refusals are internal errors that
// differ only in their text.
func isTooLargeOrInvalid(err error) bool {
	if err == nil {
		return false
	}
	return apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err) ||
		strings.Contains(err.Error(), "etcdserver: request is too large") ||
		strings.Contains(err.Error(), "trying to send message larger than max")
}

func shortError(err error) error {
	if text := err.Error(); len(text) > maxErrorBytes {
		return errors.New(desired.Shorten(text, maxErrorBytes))
	}
	return err
}
