// Package testcrcache caches Testcrs and writes them through the dynamic client. It
// waits for a missing CRD, and reports whether the cache contains the own writes.
package testcrcache

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// Config configures a Cache.
type Config struct {
	// Client writes Testcrs, and reads single ones after a conflict.
	Client dynamic.Interface
	// Reader lists and watches Testcrs.
	Reader wire.TestcrReader
	// Check requests whether the API server serves Testcrs: see CheckCRD. It is called
	// before each list and watch.
	Check func(context.Context) error
	// LabelSelector and FieldSelector select the Testcrs; without them, all are cached.
	LabelSelector, FieldSelector string
}

// Cache contains the Testcrs of all namespaces as *Entry.
type Cache struct {
	*informer.Informer
	crd

	client dynamic.ResourceInterface

	mu      sync.Mutex
	pending map[string]pendingWrite // by name
}

// New returns a cache that the caller runs.
func New(config Config) (*Cache, error) {
	c := &Cache{
		crd:     crd{check: config.Check, checks: make(chan struct{}, 1)},
		client:  config.Client.Resource(v1.GroupVersionResource),
		pending: map[string]pendingWrite{},
	}
	selected := func(options metav1.ListOptions) metav1.ListOptions {
		options.LabelSelector, options.FieldSelector = config.LabelSelector, config.FieldSelector
		return options
	}
	var err error
	c.Informer, err = informer.New(informer.Config{
		Resource: v1.GroupVersionResource.Resource, Object: &wire.Testcr{}, Client: config.Client, Transform: transform(&dedup.Pool{}),
		List: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			isWhole := options.Limit != informer.ProbeLimit
			return whenServed(ctx, c, isWhole, func() (runtime.Object, error) { return config.Reader.List(ctx, selected(options)) })
		},
		Watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			isWhole := options.SendInitialEvents != nil && *options.SendInitialEvents
			return whenServed(ctx, c, isWhole, func() (watch.Interface, error) { return config.Reader.Watch(ctx, selected(options)) })
		},
	})
	if err == nil {
		c.OnRollback(func(string) { c.ForgetWrites() })
	}
	return c, err
}

// RunWithContext runs the informer and checks the CRD on request, until ctx ends.
func (c *Cache) RunWithContext(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { c.run(ctx) }) // of crd
	c.Informer.RunWithContext(ctx)
}

// Get returns the cached Testcr, or nil. It must not be changed. Testcrs that were
// deleted with the CRD do not exist.
func (c *Cache) Get(name string) *Entry {
	obj, ok, err := c.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil
	}
	entry := obj.(*Entry)
	if version := c.invalidVersion(); version != "" && !informer.IsNewer(entry.ResourceVersion, version) {
		return nil
	}
	return entry
}

// Entries calls yield for each cached Testcr until it returns false.
func (c *Cache) Entries(yield func(*Entry) bool) {
	for _, obj := range c.GetStore().List() {
		if !yield(obj.(*Entry)) {
			return
		}
	}
}

// whenServed makes a request as soon as the API server serves Testcrs: the return of
// the CRD is noticed within crdPoll. isWhole reports that the answer begins with all
// Testcrs.
func whenServed[T any](ctx context.Context, c *Cache, isWhole bool, request func() (T, error)) (T, error) {
	for {
		err := c.check(ctx)
		if errors.Is(err, ErrCRDTerminating) { // Testcrs can still be read
			c.refused()
			err = nil
		}
		if err == nil {
			c.crdFound(ctx)
			var result T
			if result, err = whileValid(c, isWhole, request); !apierrors.IsNotFound(err) {
				return result, err
			}
			// 404 after a good check: the CRD was deleted in between, or one API server
			// of several does not serve it yet.
			err = ErrCRDMissing
		}
		if crd := CRDError(""); !errors.As(err, &crd) {
			return *new(T), err
		}
		c.crdLost(ctx, err)
		select {
		case <-ctx.Done():
			return *new(T), ctx.Err()
		case <-time.After(crdPoll):
		}
	}
}

// whileValid makes a request that continues from the cached state, unless that was
// deleted with the CRD: then the informer must first request all Testcrs.
func whileValid[T any](c *Cache, isWhole bool, request func() (T, error)) (T, error) {
	invalid := c.invalidVersion()
	if invalid != "" && !isWhole {
		return *new(T), apierrors.NewResourceExpired("the CRD was deleted meanwhile")
	}
	result, err := request()
	if err == nil && invalid != "" {
		c.setInvalidVersion("")
	}
	return result, err
}

// crdLost records that there is no CRD. All Testcrs were deleted with it, whether the
// watch reports that now or the next list does.
func (c *Cache) crdLost(ctx context.Context, err error) {
	old := c.missing.Swap(&err)
	if old == nil {
		c.setInvalidVersion(c.GetStore().LastStoreSyncResourceVersion())
		c.ForgetWrites()
	}
	if old == nil || (*old).Error() != err.Error() {
		c.reportLost(ctx, err)
	}
}

func (c *Cache) crdFound(ctx context.Context) {
	if c.missing.Swap(nil) != nil {
		klog.FromContext(ctx).Info("The CRD is served, going on")
		c.reportReturned()
	}
}
