package podinfolookup

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

func nameFor(pod cache.ObjectName) string { return v1.NameFor(types.NamespacedName(pod)) }

func (c *Controller) addHandlers(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	options := cache.HandlerOptions{Logger: &logger}
	synced, err := c.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.podChanged(obj.(*podcache.Pod)) },
		UpdateFunc: func(_, obj any) { c.podChanged(obj.(*podcache.Pod)) },
		DeleteFunc: func(obj any) { c.podDeleted(ctx, obj) },
	}, options)
	if err != nil {
		return err
	}
	registration, err := c.testcrs.AddEventHandlerWithOptions(testcrcache.Handler(c.testcrEvent), options)
	if err != nil {
		return err
	}
	synced = append(synced, registration.HasSyncedChecker())
	c.handlersSynced = synced
	return nil
}

// podChanged handles a Pod that was created or updated.
func (c *Controller) podChanged(pod *podcache.Pod) {
	key := pod.Key()
	if entry := c.testcrs.Get(nameFor(key)); entry != nil {
		entry.Share(pod.Spec())
	}
	if !c.queueing.Load() {
		return
	}
	c.states.podChanged(key, time.Now())
	if pod.IsTransient() {
		c.queue.AddAfter(key, coalesceDelay)
	} else {
		c.queue.Add(key)
	}
}

func (c *Controller) podDeleted(ctx context.Context, obj any) {
	key, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		utilruntime.HandleErrorWithContext(ctx, err, "An event without a Pod")
		return
	}
	c.states.update(key, func(state *keyState) { state.collidesWith = "" })
	if c.queueing.Load() {
		c.states.podChanged(key, time.Now())
		c.queue.Add(key)
	}
}

// testcrEvent handles two states of a Testcr; nil stands for absent.
func (c *Controller) testcrEvent(old, entry *testcrcache.Entry) {
	switch {
	case entry == nil && old == nil: // not a Testcr
	case entry == nil:
		c.testcrDeleted(old)
	default:
		c.testcrChanged(entry)
		if old != nil && old.Spec().PodKey != entry.Spec().PodKey { // edited by hand
			c.enqueueTestcr(old)
		}
	}
}

// testcrChanged handles a Testcr that was created or updated.
func (c *Controller) testcrChanged(entry *testcrcache.Entry) {
	key, ok := c.keyOf(entry)
	if pod := c.pods.Pod(key); ok && pod != nil {
		entry.Share(pod.Spec())
	}
	c.enqueueTestcr(entry)
}

func (c *Controller) testcrDeleted(entry *testcrcache.Entry) {
	c.forgetForeign(entry.UID)
	c.endCollisions(entry.UID)
	if key, ok := c.keyOf(entry); ok && c.pods.Pod(key) != nil {
		c.testcrs.RequestCheck()
	}
	c.enqueueTestcr(entry)
}

// enqueueTestcr queues the Pod of a Testcr. A Testcr whose podkey does not produce its
// name is resolved by the housekeeping.
func (c *Controller) enqueueTestcr(entry *testcrcache.Entry) {
	if !c.queueing.Load() {
		return
	}
	if key, ok := entry.PodKey(); !ok {
		c.strays.add(entry.Name)
	} else if c.pods.Watches(key.Namespace) {
		c.queue.Add(key)
	}
}

// keyOf returns the Pod of a Testcr, and whether its name follows from its podkey and
// the namespace is watched.
func (c *Controller) keyOf(entry *testcrcache.Entry) (cache.ObjectName, bool) {
	key, ok := entry.PodKey()
	return key, ok && c.pods.Watches(key.Namespace)
}

// enqueueAll queues all keys of both caches: at the start, when the CRD is back, since
// all Testcrs were deleted with it, and after a restore of etcd.
func (c *Controller) enqueueAll() {
	enqueue := func(key cache.ObjectName) {
		c.queue.Forget(key) // without the backoff of its earlier failures
		c.queue.Add(key)
	}
	c.states.each(func(_ cache.ObjectName, state *keyState) bool {
		state.repairedAt, state.repairDelay = time.Time{}, 0
		return true
	})
	if !c.queueing.Load() {
		return
	}
	for pod := range c.pods.Pods {
		enqueue(pod.Key())
	}
	for entry := range c.testcrs.Entries {
		if key, ok := c.keyOf(entry); ok {
			enqueue(key)
		} else {
			c.enqueueTestcr(entry)
		}
	}
}
