package podinfolookup

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// The reasons of the Events.
const (
	// ForeignTestcr reports a Testcr of somebody else with a name that a Pod needs.
	ForeignTestcr = "ForeignTestcr"
	// CRDUnusable reports that Testcrs cannot be kept with the CRD as it is.
	CRDUnusable = "CRDUnusable"
	// NameCollision reports two Pods whose Testcrs would have the same name.
	NameCollision = "NameCollision"
	// ContestedTestcr reports a client that undoes each write.
	ContestedTestcr = "ContestedTestcr"
	// TestcrReduced reports a Testcr that the API server refuses as too large or
	// invalid unless it has no labels and containers.
	TestcrReduced = "TestcrReduced"
)

// warnings records what was reported, so that it is reported once.
type warnings struct {
	recorder record.EventRecorder

	mu             sync.Mutex
	foreign        map[types.UID]struct{} // reported Testcrs of somebody else
	prunedReported bool
	pruningEnded   time.Time // of the last report's cause
}

// warn sends an Event about a Testcr.
func (w *warnings) warn(testcr *metav1.ObjectMeta, reason, message string) {
	w.recorder.Event(&corev1.ObjectReference{
		APIVersion: v1.GroupVersion.String(), Kind: v1.GroupVersionKind.Kind,
		Name: testcr.Name, UID: testcr.UID, ResourceVersion: testcr.ResourceVersion,
	}, corev1.EventTypeWarning, reason, message)
}

// warnCRD sends an Event about the CRD. The reference has no UID, because reading the
// CRD would need a right that nothing else here needs.
func (w *warnings) warnCRD(message string) {
	w.recorder.Event(&corev1.ObjectReference{
		APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: v1.GroupVersionResource.GroupResource().String(),
	}, corev1.EventTypeWarning, CRDUnusable, message)
}

// crdLost reports why Testcrs cannot be kept, if this replica would keep them.
func (c *Controller) crdLost(err error) {
	if c.started.Load() {
		c.warned.warnCRD(err.Error())
	}
}

// reportForeign reports once a Testcr that has the name of want and is left alone.
func (c *Controller) reportForeign(ctx context.Context, key cache.ObjectName, want *v1.Testcr, stored *testcrcache.Entry) {
	if stored.IsManaged() {
		c.reportCollision(ctx, key, want, stored)
		return
	}
	c.warned.mu.Lock()
	_, isReported := c.warned.foreign[stored.UID]
	if c.warned.foreign == nil {
		c.warned.foreign = map[types.UID]struct{}{}
	}
	c.warned.foreign[stored.UID] = struct{}{}
	c.warned.mu.Unlock()
	if isReported {
		return
	}
	const remedy = "delete it, or give it the label " + v1.LabelManagedBy + "=" + v1.ManagedBy
	klog.FromContext(ctx).Error(nil, "A Testcr that is not ours has the name that a Pod needs; it is left alone: "+remedy,
		"testcr", stored.Name, "pod", want.Spec.PodKey, "podkey", stored.Spec().PodKey)
	c.warned.warn(&stored.ObjectMeta, ForeignTestcr, fmt.Sprintf("The Pod %s needs a Testcr of this name, but this one is not kept by %s; it is left alone: %s",
		want.Spec.PodKey, v1.ManagedBy, remedy))
}

func (c *Controller) forgetForeign(uid types.UID) {
	c.warned.mu.Lock()
	defer c.warned.mu.Unlock()
	delete(c.warned.foreign, uid)
}

// collides reports whether stored is the Testcr of another Pod than key: both keys have
// the same md5, which happens only on purpose. A podkey that was edited by hand does not
// produce the name of the Testcr.
func (c *Controller) collides(key cache.ObjectName, stored *testcrcache.Entry) bool {
	if stored == nil || !stored.IsManaged() || stored.Spec().PodKey == key.String() {
		return false
	}
	other, ok := c.podKeyOf(stored)
	return ok && (!c.pods.Watches(other.Namespace) || c.pods.Pod(other) != nil) // Pods that are not watched may exist
}

// reportCollision reports once two Pods with the same md5. The second one has no Testcr
// as long as the first one exists.
func (c *Controller) reportCollision(ctx context.Context, key cache.ObjectName, want *v1.Testcr, stored *testcrcache.Entry) {
	before := c.states.update(key, func(state *keyState) { state.collidesWith = stored.UID })
	if before.collidesWith == stored.UID {
		return
	}
	const remedy = "give one of them another name"
	klog.FromContext(ctx).Error(nil, "Two Pods have the same md5, and only one of them can have a Testcr: "+remedy,
		"testcr", stored.Name, "pod", want.Spec.PodKey, "podkey", stored.Spec().PodKey)
	c.warned.warn(&stored.ObjectMeta, NameCollision, fmt.Sprintf("The Pods %s and %s have the same md5, and this Testcr is that of the latter: %s",
		want.Spec.PodKey, stored.Spec().PodKey, remedy))
}

// endCollisions queues the Pods that had no Testcr because of a deleted one.
func (c *Controller) endCollisions(deleted types.UID) {
	var keys []cache.ObjectName
	c.states.each(func(key cache.ObjectName, state *keyState) bool {
		if deleted != "" && state.collidesWith == deleted {
			state.collidesWith = ""
			keys = append(keys, key)
		}
		return true
	})
	if c.queueing.Load() {
		for _, key := range keys {
			c.queue.Add(key)
		}
	}
}

// notePruned records that the API server does not store a Testcr as it is written,
// because the CRD is older than this program, and reports it once. No event reports the
// end of it, so one such key is retried each prunedInterval.
func (c *Controller) notePruned(ctx context.Context, key cache.ObjectName, name string) {
	c.states.update(key, func(state *keyState) { state.isPruned = true })
	c.reportPruned(ctx, name)
}

func (c *Controller) reportPruned(ctx context.Context, name string) {
	c.warned.mu.Lock()
	// While the API server replaces a CRD, single requests still meet the old one.
	isReported := c.warned.prunedReported || time.Since(c.warned.pruningEnded) < prunedInterval
	c.warned.prunedReported = c.warned.prunedReported || !isReported
	c.warned.mu.Unlock()
	if isReported {
		return
	}
	const message = "The API server stored something other than what was written: " +
		"the CRD may be older than this program, kubectl apply -f yaml/testcrd.yaml; or a mutating webhook or policy changes it"
	klog.FromContext(ctx).Error(nil, message, "testcr", name)
	c.warned.warnCRD(message)
}

// notePruningEnded records that a Testcr needs no write. If it was pruned before and is
// as it must be now, the CRD was replaced, and the other pruned keys are queued. Without
// a Pod it is only forgotten.
func (c *Controller) notePruningEnded(ctx context.Context, key cache.ObjectName, want *v1.Testcr) {
	before := c.states.update(key, func(state *keyState) { state.isPruned = false })
	if !before.isPruned || want == nil {
		return
	}
	c.warned.mu.Lock()
	c.warned.prunedReported, c.warned.pruningEnded = false, time.Now()
	c.warned.mu.Unlock()
	keys := c.prunedKeys(0)
	klog.FromContext(ctx).Info("The API server stores what is written again", "testcrs", len(keys)+1)
	for _, key := range keys {
		c.states.update(key, func(state *keyState) { state.isPruned = false })
		c.queue.Add(key)
	}
}

// prunedKeys returns up to limit keys whose Testcrs are pruned, or all for 0.
func (c *Controller) prunedKeys(limit int) (keys []cache.ObjectName) {
	c.states.each(func(key cache.ObjectName, state *keyState) bool {
		if state.isPruned {
			keys = append(keys, key)
		}
		return limit == 0 || len(keys) < limit
	})
	return keys
}
