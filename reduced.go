package podinfolookup

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

// reducedFor is how long the Testcr of a Pod is written without labels and containers
// before it is tried in full again: no event reports that the API server accepts it.
const reducedFor = 10 * time.Minute

// reducedIfRefused returns the Testcr that the Pod calls for, without labels and
// containers if the API server has refused it in full. Without a Pod it is nil.
func (c *Controller) reducedIfRefused(key cache.ObjectName, pod *v1.Testcr) *v1.Testcr {
	until := c.states.get(key).reducedUntil
	if until.IsZero() {
		return pod
	}
	if pod == nil {
		c.states.update(key, func(state *keyState) { state.reducedUntil = time.Time{} })
		return nil
	}
	if wait := time.Until(until); wait > 0 {
		c.queue.AddAfter(key, wait) // again at each sync, because a workqueue keeps only the earliest time of a key
		return desired.Reduced(pod)
	}
	return pod
}

// reduce records and reports that the API server refused a Testcr in full.
func (c *Controller) reduce(ctx context.Context, key cache.ObjectName, want *v1.Testcr, err error) {
	before := c.states.update(key, func(state *keyState) { state.reducedUntil = time.Now().Add(reducedFor) })
	c.queue.AddAfter(key, reducedFor)
	if !before.reducedUntil.IsZero() {
		return
	}
	if ok, _ := c.retries.allowLine(); !ok {
		return
	}
	klog.FromContext(ctx).Error(shortError(err), "The API server refuses a Testcr as too large or invalid; it is written without labels and containers",
		"testcr", want.Name, "pod", want.Spec.PodKey, "triedAgainAfter", reducedFor)
	c.warned.warn(&want.ObjectMeta, TestcrReduced, fmt.Sprintf("The API server refuses the Testcr of the Pod %s as too large or invalid; "+
		"it has no labels and containers for the next %s: %s", want.Spec.PodKey, reducedFor, shortError(err)))
}
