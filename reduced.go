package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// TestcrReduced warns of a Testcr that the API server refuses as too large or
// invalid unless it has no labels and containers.
const TestcrReduced = "TestcrReduced"

// reducedFor is how long the Testcr of a Pod is written without labels and
// containers before it is tried in full again: nothing reports that the API
// server takes it by now.
const reducedFor = 10 * time.Minute

// isTooLargeOrInvalid reports whether the API server refused a write because of
// its content, so that the same write would be refused again. etcd's refusals
// arrive as internal errors that differ only in their text.
func isTooLargeOrInvalid(err error) bool {
	if err == nil {
		return false
	}
	return apierrors.IsRequestEntityTooLargeError(err) || apierrors.IsInvalid(err) ||
		strings.Contains(err.Error(), "etcdserver: request is too large") ||
		strings.Contains(err.Error(), "trying to send message larger than max")
}

// reducedPods are the Pods whose Testcrs are written without labels and
// containers, with the end of reducedFor.
type reducedPods struct {
	mu    sync.Mutex
	until map[cache.ObjectName]time.Time
	log   logLimiter
}

func (r *reducedPods) has(pod cache.ObjectName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.until[pod]
	return ok && time.Now().Before(until)
}

// add returns whether the Pod is to be reported: not for the second time, and at
// most so many Pods a second.
func (r *reducedPods) add(pod cache.ObjectName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[cache.ObjectName]time.Time{}
	}
	_, known := r.until[pod]
	r.until[pod] = time.Now().Add(reducedFor)
	if known {
		return false
	}
	ok, _ := r.log.allow()
	return ok
}

// all returns a copy of the Pods.
func (r *reducedPods) all() map[cache.ObjectName]time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.until)
}

func (r *reducedPods) remove(pod cache.ObjectName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.until, pod)
}

// want returns the Testcr that the Pod called key calls for, nil without a Pod.
// Of have, which is being deleted but kept by a finalizer, only an emptied record
// is to stay without its Pod.
func (c *Controller) want(key cache.ObjectName, pod *podState, have *Testcr) *Testcr {
	if pod == nil {
		c.reduced.remove(key)
		if have != nil && have.DeletionTimestamp != nil && c.pods.own(have) && !c.collides(key, have) {
			return have.emptied()
		}
		return nil
	}
	want := pod.testcr()
	if c.reduced.has(key) {
		want = want.reduced()
	}
	return want
}

// storeReduced writes want without labels and containers after the API server
// refused it with err. It returns err where there is nothing to leave out.
func (c *Controller) storeReduced(ctx context.Context, want, have *Testcr, err error) error {
	if len(want.Spec.Labels)+len(want.Spec.Containers) == 0 {
		return err
	}
	pod, _ := want.PodKey()
	isNew := c.reduced.add(pod)
	c.queue.AddAfter(pod, reducedFor)
	want = want.reduced()
	if isNew {
		klog.FromContext(ctx).Error(shortError(err), "The API server refuses a Testcr as too large or invalid; it is written without labels and containers",
			"testcr", want.Name, "pod", want.Spec.PodKey, "triedAgainAfter", reducedFor)
		c.warn(referTo(want), TestcrReduced, fmt.Sprintf("The API server refuses the Testcr of the Pod %s as too large or invalid; "+
			"it has no labels and containers for the next %s: %s", want.Spec.PodKey, reducedFor, shortError(err)))
	}
	if have != nil && have.says(want) {
		return errMangled
	}
	return c.store(ctx, want, have)
}

// maxErrorBytes bounds an error in the log and in an Event: the API server
// quotes values that it refuses.
const maxErrorBytes = 1 << 9

func shortError(err error) error {
	if text := err.Error(); len(text) > maxErrorBytes {
		return errors.New(shorten(text, maxErrorBytes))
	}
	return err
}
