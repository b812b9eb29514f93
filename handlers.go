package podinfolookup

import (
	"context"
	"slices"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// coalesceDelay delays the sync of a Pod that is not scheduled yet, or is terminating.
// Its next change usually arrives within it, which saves a write.
const coalesceDelay = 40 * time.Millisecond

// handlers queues the keys that events are about.
type handlers struct {
	pods    *podcache.Cache
	testcrs *testcrcache.Cache
	queue   *runQueue
	states  *keyStates
	foreign *foreign
	strays  *strays
	synced  []cache.DoneChecker
}

func (h *handlers) register(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	options := cache.HandlerOptions{Logger: &logger}
	pods, err := h.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { h.podChanged(obj.(*podcache.Pod)) },
		UpdateFunc: func(_, obj any) { h.podChanged(obj.(*podcache.Pod)) },
		DeleteFunc: func(obj any) { h.podDeleted(ctx, obj) },
	}, options)
	if err != nil {
		return err
	}
	testcrs, err := h.testcrs.AddEventHandlerWithOptions(testcrcache.Handler(h.testcrEvent), options)
	if err != nil {
		return err
	}
	h.synced = slices.Concat(pods, []cache.DoneChecker{testcrs.HasSyncedChecker()})
	return nil
}

// begin queues all keys. Events are queued from then on.
func (h *handlers) begin() {
	h.states.each(0, func(state *keyState) bool {
		state.trigger = trigger{}
		return false
	})
	h.queue.open("pods")
	h.enqueueAll(func(key cache.ObjectName) { h.states.podChanged(key, time.Time{}) })
}

// podChanged handles a Pod that was created or updated.
func (h *handlers) podChanged(pod *podcache.Pod) {
	key := pod.Key()
	if entry := h.testcrs.Get(nameFor(key)); entry != nil {
		entry.Share(pod.Spec())
	}
	if h.queue.ShuttingDown() {
		return
	}
	h.states.podChanged(key, time.Now())
	if pod.IsTransient() {
		h.queue.AddAfter(key, coalesceDelay)
	} else {
		h.queue.Add(key)
	}
}

func (h *handlers) podDeleted(ctx context.Context, obj any) {
	key, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		utilruntime.HandleErrorWithContext(ctx, err, "An event without a Pod")
		return
	}
	h.states.update(key, func(state *keyState) { state.collidesWith = "" })
	if !h.queue.ShuttingDown() {
		h.states.podChanged(key, time.Now())
		h.queue.Add(key)
	}
}

// testcrEvent handles two states of a Testcr; nil stands for absent.
func (h *handlers) testcrEvent(old, entry *testcrcache.Entry) {
	switch {
	case entry == nil && old == nil: // not a Testcr
	case entry == nil:
		h.testcrDeleted(old)
	default:
		h.testcrChanged(entry)
		if old != nil && old.Spec().PodKey != entry.Spec().PodKey { // edited by hand
			h.enqueueTestcr(old)
		}
	}
}

// testcrChanged handles a Testcr that was created or updated.
func (h *handlers) testcrChanged(entry *testcrcache.Entry) {
	key, _ := entry.PodKey()
	if pod := h.pods.Pod(key); pod != nil {
		entry.Share(pod.Spec())
	}
	h.enqueueTestcr(entry)
}

func (h *handlers) testcrDeleted(entry *testcrcache.Entry) {
	for _, key := range h.foreign.forget(entry.UID) {
		h.queue.Add(key)
	}
	if key, _ := entry.PodKey(); h.pods.Pod(key) != nil {
		h.testcrs.RequestCheck()
	}
	h.enqueueTestcr(entry)
}

// enqueueTestcr queues the Pod of a Testcr. A Testcr whose podkey does not produce its
// name is resolved by strays.
func (h *handlers) enqueueTestcr(entry *testcrcache.Entry) {
	if h.queue.ShuttingDown() {
		return
	}
	if key, ok := entry.PodKey(); !ok {
		h.strays.add(entry.Name)
	} else if h.pods.Watches(key.Namespace) {
		h.queue.Add(key)
	}
}

// resync queues all keys without the backoff of earlier failures: when the CRD is back,
// since all Testcrs were deleted with it, and after a restore of etcd.
func (h *handlers) resync() { h.enqueueAll(h.queue.Forget) }

// enqueueAll queues all keys of both caches, after a call of prepare with each.
func (h *handlers) enqueueAll(prepare func(cache.ObjectName)) {
	h.states.each(0, func(state *keyState) bool {
		state.repairedAt, state.repairDelay = time.Time{}, 0
		return false
	})
	if h.queue.ShuttingDown() {
		return
	}
	for pod := range h.pods.Pods {
		prepare(pod.Key())
		h.queue.Add(pod.Key())
	}
	for entry := range h.testcrs.Entries {
		if key, ok := entry.PodKey(); ok && h.pods.Watches(key.Namespace) {
			prepare(key)
		}
		h.enqueueTestcr(entry)
	}
}
