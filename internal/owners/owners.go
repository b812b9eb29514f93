// Package owners caches which objects control the ReplicaSets and Jobs of a cluster,
// so that owner references alone prove the workload of a Pod.
package owners

import (
	"context"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
)

// resources contains the owners of Pods that may have a controller of their own, by
// kind.
var resources = map[string]schema.GroupVersionResource{
	"ReplicaSet": {Group: "apps", Version: "v1", Resource: "replicasets"},
	"Job":        {Group: "batch", Version: "v1", Resource: "jobs"},
}

// IsCached reports whether a Cache contains owners of this kind and group.
func IsCached(owner *metav1.OwnerReference) bool {
	resource, ok := resources[owner.Kind]
	group, _, _ := strings.Cut(owner.APIVersion, "/")
	return ok && group == resource.Group
}

// Cache contains the ReplicaSets and Jobs of all namespaces, or of some, and those that
// are gone while a Pod refers to them.
type Cache struct {
	informers map[source]*informer.Informer
	pool      dedup.Pool
	synced    []cache.DoneChecker
	onChange  []func(types.UID)

	mu   sync.RWMutex
	gone map[types.UID]*object
}

// source is what one informer lists.
type source struct{ namespace, kind string }

// New returns a cache of the owners in these namespaces, or in all without any. The
// caller runs it.
func New(client metadata.Interface, namespaces ...string) (*Cache, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	c := &Cache{informers: map[source]*informer.Informer{}, gone: map[types.UID]*object{}}
	for kind, resource := range resources {
		for _, namespace := range namespaces {
			i, err := c.newInformer(client, resource, namespace)
			if err != nil {
				return nil, err
			}
			c.informers[source{namespace, kind}] = i
		}
	}
	return c, nil
}

func (c *Cache) newInformer(client metadata.Interface, resource schema.GroupVersionResource, namespace string) (*informer.Informer, error) {
	objects := client.Resource(resource).Namespace(namespace)
	i, err := informer.New(informer.Config{
		Resource: resource.Resource, Object: &metav1.PartialObjectMetadata{}, Client: client, Transform: transform(&c.pool),
		List: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return objects.List(ctx, options)
		},
		Watch: objects.Watch,
	})
	if err != nil {
		return nil, err
	}
	registration, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.changed(nil, unwrap(obj)) },
		UpdateFunc: func(old, obj any) { c.changed(unwrap(old), unwrap(obj)) },
		DeleteFunc: func(obj any) { c.changed(unwrap(obj), nil) },
	})
	if err != nil {
		return nil, err
	}
	c.synced = append(c.synced, registration.HasSyncedChecker())
	return i, nil
}

// OnChange registers f, which is called with the UID of an owner after it has appeared
// or disappeared, or its controller has changed. It must be called before
// RunWithContext.
func (c *Cache) OnChange(f func(types.UID)) { c.onChange = append(c.onChange, f) }

// RunWithContext runs the informers until ctx ends.
func (c *Cache) RunWithContext(ctx context.Context) {
	var running sync.WaitGroup
	for _, i := range c.informers {
		running.Go(func() { i.RunWithContext(ctx) })
	}
	running.Wait()
}

// WaitForSync returns true once the cache contains the first lists and OnChange has
// passed them, and false if ctx ends before.
func (c *Cache) WaitForSync(ctx context.Context) bool {
	return cache.WaitFor(klog.NewContext(ctx, klog.FromContext(ctx).V(2)), "owners", c.synced...)
}

// Workload is the kind and name of what controls an owner.
type Workload struct{ Kind, Name string }

// Workload returns what controls an owner: its controller, or the owner itself if it
// has none. The UID must be that of the owner, because another object may have its
// name. ok is false if the owner has not been seen.
//
// Of an owner that is gone it returns the last controller. Its Pods are about to be
// deleted, so a fallback to their labels would be one more write of each, and less
// certain.
func (c *Cache) Workload(namespace, kind, name string, uid types.UID) (w Workload, ok bool) {
	i := c.informers[source{namespace, kind}]
	if i == nil {
		i = c.informers[source{metav1.NamespaceAll, kind}]
	}
	if i == nil {
		return Workload{}, false
	}
	key := cache.NewObjectName(namespace, name).String()
	if obj, ok, err := i.GetStore().GetByKey(key); err == nil && ok && obj.(*object).uid == uid {
		return obj.(*object).workload(kind), true
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	o, ok := c.gone[uid]
	if !ok {
		return Workload{}, false
	}
	return o.workload(kind), true
}

// Forget drops an owner that is gone. The caller does so when no Pod refers to it, so
// that there are at most as many as Pods.
func (c *Cache) Forget(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.gone, uid)
}

// changed handles two states of what has one name; nil stands for absent.
func (c *Cache) changed(old, now *object) {
	isSame := old != nil && now != nil && old.uid == now.uid
	if old != nil && !isSame {
		c.mu.Lock()
		c.gone[old.uid] = old
		c.mu.Unlock()
		c.notify(old.uid)
	}
	if now == nil {
		return
	}
	c.Forget(now.uid) // etcd was restored
	if !isSame || old.controller != now.controller {
		c.notify(now.uid)
	}
}

func (c *Cache) notify(uid types.UID) {
	for _, f := range c.onChange {
		f(uid)
	}
}

// AsOf returns a time up to which the whole cache is known to be current: see
// informer.AsOf.
func (c *Cache) AsOf() time.Time {
	oldest := time.Now()
	for _, i := range c.informers {
		if asOf := i.AsOf(); asOf.Before(oldest) {
			oldest = asOf
		}
	}
	return oldest
}

// Confirm moves AsOf to the time of proof, and reports whether that is allowed for all
// informers: see informer.Confirm.
func (c *Cache) Confirm(proof *informer.Proof) bool {
	isProven := true
	for _, i := range c.informers {
		isProven = i.Confirm(proof) && isProven
	}
	return isProven
}
