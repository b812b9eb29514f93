package podcache

import (
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/owners"
)

// byOwner is the index of Pods by the UID of their owner.
const byOwner = "owner"

// maxUID is more than the length of any UID that the API server assigns, in bytes. Who
// makes a Pod decides what its reference has.
const maxUID = 64

// owned gives Pods the workload that their owners prove. Each read of a Pod looks its
// owner up again, so no event of the one has to wait for the other.
type owned struct {
	owners   *owners.Cache
	pods     *Cache
	handlers []*ownedHandler
}

// ownerOf is the index function of byOwner.
func ownerOf(obj any) ([]string, error) {
	if pod, ok := obj.(*Pod); ok && pod.owner != "" {
		return []string{string(pod.owner)}, nil
	}
	return nil, nil
}

// register registers the handlers. The caller does so before anything runs.
func (o *owned) register() error {
	var errs []error
	for _, i := range o.pods.informers {
		_, err := i.AddEventHandler(Handler(func(old, pod *Pod) {
			if old != nil && (pod == nil || pod.owner != old.owner) {
				o.forgetUnused(old.owner)
			}
		}))
		errs = append(errs, err)
	}
	o.owners.OnChange(o.ownerChanged)
	return errors.Join(errs...)
}

// newPod returns the cached form of a Pod. Its owner usually is in the cache before it,
// so resolve seldom has to copy it later.
func (o *owned) newPod(pod *corev1.Pod) *Pod {
	p := NewPod(pod)
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref != nil && owners.IsCached(ref) && len(ref.UID) <= maxUID {
		p.owner = types.UID(o.pods.pool.String(string(ref.UID)))
		if w, ok := o.workload(p); ok {
			desired.SetWorkload(&p.spec, w.Kind, w.Name)
		}
	}
	return p
}

// resolve returns p with the present workload, or p itself if it has that. While the
// owner is not cached, that is the one that labels and names show.
func (o *owned) resolve(p *Pod) *Pod {
	if o == nil || p == nil || p.owner == "" {
		return p
	}
	s := &p.spec
	w, ok := o.workload(p)
	if !ok || s.WorkloadKind == w.Kind && s.WorkloadName == w.Name && s.WorkloadProof == v1.ProofOwner {
		return p
	}
	resolved := *p
	desired.SetWorkload(&resolved.spec, w.Kind, w.Name)
	return &resolved
}

func (o *owned) workload(p *Pod) (w owners.Workload, ok bool) {
	return o.owners.Workload(p.spec.Namespace, p.spec.OwnerKind, p.spec.OwnerName, p.owner)
}

// of returns the keys of the Pods of an owner.
func (o *owned) of(uid types.UID) (keys []cache.ObjectName) {
	for _, i := range o.pods.informers {
		pods, err := i.GetIndexer().ByIndex(byOwner, string(uid))
		if err != nil {
			continue // the index exists
		}
		for _, obj := range pods {
			keys = append(keys, obj.(*Pod).Key())
		}
	}
	return keys
}

// forgetUnused drops an owner that is gone, when no Pod refers to it. Whichever of the
// two disappears last finds the other gone.
func (o *owned) forgetUnused(uid types.UID) {
	if uid != "" && len(o.of(uid)) == 0 {
		o.owners.Forget(uid)
	}
}

// ownerChanged passes the Pods of an owner to the handlers. A Pod that is stored later
// finds the owner.
func (o *owned) ownerChanged(uid types.UID) {
	keys := o.of(uid)
	if len(keys) == 0 {
		o.owners.Forget(uid)
	}
	for _, key := range keys {
		for _, h := range o.handlers {
			h.ownerChanged(key)
		}
	}
}

func (o *owned) handler(next cache.ResourceEventHandler) cache.ResourceEventHandler {
	h := &ownedHandler{pods: o.pods, next: next}
	o.handlers = append(o.handlers, h)
	return h
}

// ownedHandler passes the events of Pods and of their owners to one handler. Both
// come from goroutines of their own, so it passes the Pod of the store instead of the
// one in the event, and reads that under the mutex: a Pod is never followed by an
// older state of it.
type ownedHandler struct {
	pods *Cache
	next cache.ResourceEventHandler

	mu sync.Mutex
}

// current returns the Pod of the store. If that has none, the event of the deletion
// follows.
func (h *ownedHandler) current(obj any) *Pod {
	pod := obj.(*Pod)
	if stored := h.pods.Pod(pod.Key()); stored != nil {
		return stored
	}
	return h.pods.owned.resolve(pod)
}

func (h *ownedHandler) OnAdd(obj any, isInInitialList bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next.OnAdd(h.current(obj), isInInitialList)
}

func (h *ownedHandler) OnUpdate(old, obj any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next.OnUpdate(old, h.current(obj))
}

// OnDelete passes a deletion. If the store has a Pod of this name again, the event of
// its creation follows.
func (h *ownedHandler) OnDelete(obj any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next.OnDelete(obj)
}

// ownerChanged passes a Pod after its owner has changed.
func (h *ownedHandler) ownerChanged(key cache.ObjectName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if pod := h.pods.Pod(key); pod != nil {
		h.next.OnUpdate(pod, pod)
	}
}
