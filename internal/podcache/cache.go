// Package podcache caches Pods as the specs that their Testcrs must have, and reports
// whether a cached Pod may be older than what another replica has seen.
package podcache

import (
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/owners"
)

// Cache contains the Pods of all namespaces, or of some. It has an informer for each
// namespace.
type Cache struct {
	informers map[string]*namespaceInformer // by namespace; one under metav1.NamespaceAll for all
	pool      dedup.Pool
	owned     *owned // nil without owners
}

// New returns a cache of the Pods in these namespaces, or in all without any. The
// caller runs it.
func New(client kubernetes.Interface, namespaces ...string) (*Cache, error) {
	return NewWithOwners(client, nil, namespaces...)
}

// NewWithOwners returns a cache whose Pods have the workload that their owners prove.
// It runs the cache of the owners, too, which must be of the same namespaces. It may
// be nil.
func NewWithOwners(client kubernetes.Interface, o *owners.Cache, namespaces ...string) (*Cache, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	c := &Cache{informers: map[string]*namespaceInformer{}}
	newPod, indexers := NewPod, cache.Indexers(nil)
	if o != nil {
		c.owned = &owned{owners: o, pods: c}
		newPod, indexers = c.owned.newPod, cache.Indexers{byOwner: ownerOf}
	}
	for _, namespace := range namespaces {
		i, err := newNamespaceInformer(client, namespace, &c.pool, newPod, indexers)
		if err != nil {
			return nil, err
		}
		c.informers[namespace] = i
	}
	if c.owned != nil {
		return c, c.owned.register()
	}
	return c, nil
}

// RunWithContext runs the informers until ctx ends. Pods are listed after their owners.
// Otherwise each of them would first have the workload that its labels show, and its
// Testcr would be written twice.
func (c *Cache) RunWithContext(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	if c.owned != nil {
		running.Go(func() { c.owned.owners.RunWithContext(ctx) })
		if !c.owned.owners.WaitForSync(ctx) {
			return
		}
	}
	for _, i := range c.informers {
		running.Go(func() { i.RunWithContext(ctx) })
	}
}

// AddEventHandler registers a handler of *Pod with each informer, and returns what
// reports that it has handled the first lists.
func (c *Cache) AddEventHandler(handler cache.ResourceEventHandler, options cache.HandlerOptions) ([]cache.DoneChecker, error) {
	if c.owned != nil {
		handler = c.owned.handler(handler)
	}
	var synced []cache.DoneChecker
	for _, i := range c.informers {
		registration, err := i.AddEventHandlerWithOptions(handler, options)
		if err != nil {
			return nil, err
		}
		synced = append(synced, registration.HasSyncedChecker())
	}
	return synced, nil
}

// OnRollback registers f, which is called after a restore of etcd: see
// informer.OnRollback.
func (c *Cache) OnRollback(f func(version string)) {
	for _, i := range c.informers {
		i.OnRollback(f)
	}
}

// Watches reports whether the cache has the Pods of a namespace.
func (c *Cache) Watches(namespace string) bool { return c.informerFor(namespace) != nil }

func (c *Cache) informerFor(namespace string) *namespaceInformer {
	if i, ok := c.informers[namespace]; ok {
		return i
	}
	return c.informers[metav1.NamespaceAll]
}

// Pod returns a cached Pod, or nil.
func (c *Cache) Pod(key cache.ObjectName) *Pod {
	if i := c.informerFor(key.Namespace); i != nil {
		return c.owned.resolve(i.cached(key))
	}
	return nil
}

// Pods calls yield for each cached Pod until it returns false.
func (c *Cache) Pods(yield func(*Pod) bool) {
	for _, i := range c.informers {
		for _, obj := range i.GetStore().List() {
			if !yield(c.owned.resolve(obj.(*Pod))) {
				return
			}
		}
	}
}

// Get returns the Testcr that the Pod calls for, or nil without the Pod. isFresh
// reports that the cache is not older than what another replica or Live has seen.
// Pods in namespaces that are not watched do not exist.
func (c *Cache) Get(key cache.ObjectName) (want *v1.Testcr, isFresh bool) {
	i := c.informerFor(key.Namespace)
	if i == nil {
		return nil, true
	}
	isFresh = i.reached(key) // before the read, which then includes what was reached
	return testcrOf(c.owned.resolve(i.cached(key))), isFresh
}

// Live returns the Testcr that the Pod calls for, or nil without the Pod, as the API
// server has it now. Later reads of the cache are not fresh until it has caught up.
func (c *Cache) Live(ctx context.Context, key cache.ObjectName) (*v1.Testcr, error) {
	i := c.informerFor(key.Namespace)
	if i == nil || key.Namespace == "" { // a list without a namespace returns Pods of any
		return nil, nil
	}
	pod, err := i.live(ctx, key)
	return testcrOf(pod), err
}

func testcrOf(p *Pod) *v1.Testcr {
	if p == nil {
		return nil
	}
	return desired.FromSpec(&p.spec)
}

// RequireCurrent makes reads of the cache fresh only after it has reached the present
// version of the API server. A watch may be behind, that of a dead connection by up
// to 15 s. The error is that of ctx.
func (c *Cache) RequireCurrent(ctx context.Context) error {
	var errs []error
	for _, i := range c.informers {
		errs = append(errs, i.requireCurrent(ctx))
	}
	return errors.Join(errs...)
}

// ErrUnproven reports that an answer of the API server does not show how old the cache
// is: see informer.Informer.Confirm.
var ErrUnproven = errors.New("the connection of the watch is not known to be alive")

// Confirm sends one request, whose answer moves AsOf to the present if it shows that the
// cache is current. The informers share a connection, so one namespace is enough.
func (c *Cache) Confirm(ctx context.Context) error {
	var proof *informer.Proof
	for _, i := range c.informers { // any
		var err error
		if proof, err = informer.Probe(ctx, i.list); err != nil {
			return err
		}
		break
	}
	var err error
	for _, i := range c.informers {
		if !i.Confirm(proof) {
			err = ErrUnproven
		}
	}
	if c.owned != nil && !c.owned.owners.Confirm(proof) {
		err = ErrUnproven
	}
	return err
}

// AsOf returns a time up to which the whole cache is known to be current: see
// informer.AsOf.
func (c *Cache) AsOf() time.Time {
	oldest := time.Now()
	if c.owned != nil {
		oldest = c.owned.owners.AsOf()
	}
	for _, i := range c.informers {
		if asOf := i.AsOf(); asOf.Before(oldest) {
			oldest = asOf
		}
	}
	return oldest
}
