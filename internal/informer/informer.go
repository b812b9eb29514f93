// Package informer provides a shared informer that outlasts outages of the API
// server: it retries within half a second, resumes interrupted watches instead of
// listing again, detects a restored etcd, and reports how old its cache may be.
package informer

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// Config configures an Informer.
type Config struct {
	Resource  string              // its name in log lines
	Object    runtime.Object      // the type that lists and watches return
	Client    any                 // reports whether lists may be streamed, as client-go's reflector asks
	Transform cache.TransformFunc // turns such an object into the cached one
	Indexers  cache.Indexers      // of the cached objects; may be nil

	List  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	Watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// Informer is a cache.SharedIndexInformer without resync.
type Informer struct {
	cache.SharedIndexInformer

	config   Config
	asOf     atomic.Int64  // when the API server last sent objects, in Unix nanoseconds
	watching atomic.Bool   // a watch is open
	silence  time.Duration // how long the connection of an open watch may have been dead
	// connection is that of the open watch; nil without one, if it is not known, and
	// during a streamed list, whose objects are not in the cache yet.
	connection atomic.Pointer[net.Conn]
	outage     Outage

	timeline
}

// New returns an informer that the caller runs.
func New(config Config) (*Informer, error) {
	i := &Informer{config: config, silence: silentFor()}
	lw := &cache.ListWatch{ListWithContextFunc: i.list, WatchFuncWithContext: i.watch}
	i.SharedIndexInformer = cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, config.Client), config.Object,
		cache.SharedIndexInformerOptions{ObjectDescription: config.Resource, Indexers: config.Indexers})
	return i, errors.Join(i.SetWatchErrorHandlerWithContext(i.watchFailed), i.SetTransform(config.Transform))
}

func (i *Informer) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	i.watchEnded()
	i.requested(&options, true)
	objects, err := RetryUntilAvailable(ctx, &i.outage, i.config.Resource, isForReflector, func() (runtime.Object, error) {
		return i.config.List(ctx, options)
	})
	if err == nil {
		i.asOf.Store(time.Now().UnixNano())
		i.listed(ctx, i.config.Resource, versionOf(objects))
	}
	return objects, err
}

func (i *Informer) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	i.watchEnded()
	listing := options.SendInitialEvents != nil
	i.requested(&options, listing)
	var connection *net.Conn
	events, err := RetryUntilAvailable(ctx, &i.outage, i.config.Resource, isForReflector, func() (watch.Interface, error) {
		traced, used := traceConnection(ctx)
		events, err := i.config.Watch(traced, options)
		connection = used.Load()
		if err == nil && !listing {
			err = i.resumed(ctx, i.config.Resource, events, options.ResourceVersion, i.config.List)
		}
		return events, err
	})
	if err != nil {
		return nil, err
	}
	i.asOf.Store(time.Now().UnixNano())
	if !listing {
		i.connection.Store(connection)
	}
	i.watching.Store(true)
	return Filter(events, func(event watch.Event) (watch.Event, bool) {
		if listing && endsList(event) {
			listing = false
			i.connection.Store(connection)
			i.listed(ctx, i.config.Resource, versionOf(event.Object))
		}
		if isInterrupted(event) && !listing {
			klog.FromContext(ctx).V(2).Info("A watch was interrupted, resuming it", "resource", i.config.Resource)
			return event, false
		}
		i.asOf.Store(time.Now().UnixNano())
		return event, true
	}), nil
}

// watchFailed logs the reflector's error about a watch that was very short as an
// outage, which the next answer ends. An error that a new list follows is none.
func (i *Informer) watchFailed(ctx context.Context, _ *cache.Reflector, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		klog.FromContext(ctx).V(4).Info("A list or watch ended", "resource", i.config.Resource, "err", err)
		return
	}
	i.outage.begin(ctx, i.config.Resource, err)
}

// AsOf returns a time up to which the cache is known to be current: that of the last
// event or Proof or, while a watch is open, now minus the time that a dead connection
// takes to be closed, if that is later. It is the zero time before the first list.
func (i *Informer) AsOf() time.Time {
	at := i.asOf.Load()
	if at == 0 {
		return time.Time{}
	}
	if i.watching.Load() {
		at = max(at, time.Now().Add(-i.silence).UnixNano())
	}
	return time.Unix(0, at)
}

// watchEnded records that no watch is open, and keeps the result of AsOf at this
// time.
func (i *Informer) watchEnded() {
	i.connection.Store(nil)
	if i.watching.Load() {
		i.asOf.Store(i.AsOf().UnixNano())
		i.watching.Store(false)
	}
}
