package podinfolookup

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// A list or watch that fails is tried again after 100 ms, doubling to 500 ms. The
// reflector's own backoff goes to 30 s and more, and so long would the caches
// be behind after an outage of the API server that lasted a minute.
const (
	outageRetryMin = 100 * time.Millisecond
	outageRetryMax = 500 * time.Millisecond
)

// client-go pings a connection after so many seconds without a byte, and gives it
// up when the answer takes longer. Only the environment sets both
// (k8s.io/apimachinery/pkg/util/net); the defaults are 30 s and 15 s.
const (
	pingAfterEnv   = "HTTP2_READ_IDLE_TIMEOUT_SECONDS"
	pingTimeoutEnv = "HTTP2_PING_TIMEOUT_SECONDS"
)

// DetectDeadConnections has client-go give up a dead connection after 15 s instead
// of 45 s, unless the environment already sets these times. It must be called
// before a client is made.
func DetectDeadConnections() {
	for name, seconds := range map[string]string{pingAfterEnv: "10", pingTimeoutEnv: "5"} {
		if os.Getenv(name) == "" {
			_ = os.Setenv(name, seconds) // it refuses malformed names only
		}
	}
}

// deadAfter returns how long client-go takes to give up a dead connection.
func deadAfter() time.Duration {
	pingAfter, err := strconv.Atoi(os.Getenv(pingAfterEnv))
	if err != nil {
		pingAfter = 30
	}
	pingTimeout, err := strconv.Atoi(os.Getenv(pingTimeoutEnv))
	if err != nil || pingTimeout <= 0 { // golang.org/x/net/http2 takes 0 for its default
		pingTimeout = 15
	}
	if pingAfter <= 0 {
		return 365 * 24 * time.Hour // it never pings
	}
	return time.Duration(pingAfter+pingTimeout) * time.Second
}

// Informer is a shared informer without resync that is patient with outages and
// knows how old its cache may be.
type Informer struct {
	cache.SharedIndexInformer

	heard    atomic.Int64  // when the API server last told of objects, in Unix nanoseconds
	watching atomic.Bool   // a watch is open, or has ended this moment
	silence  time.Duration // how long the connection of an open watch may have been dead
	outage   outage

	timeline
}

// init makes the informer of what list and watches answer. client tells whether
// lists may be streamed.
func (i *Informer) init(object runtime.Object, description string, client any, transform cache.TransformFunc,
	list func(context.Context, metav1.ListOptions) (runtime.Object, error),
	watches func(context.Context, metav1.ListOptions) (watch.Interface, error),
) error {
	i.silence = deadAfter()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			i.deaf()
			i.request(&options, true)
			objects, err := patiently(ctx, &i.outage, description, isForReflector, func() (runtime.Object, error) { return list(ctx, options) })
			if err == nil {
				i.heard.Store(time.Now().UnixNano())
				i.listed(ctx, description, versionOf(objects))
			}
			return objects, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			i.deaf()
			listing := options.SendInitialEvents != nil
			i.request(&options, listing)
			events, err := patiently(ctx, &i.outage, description, isForReflector, func() (watch.Interface, error) {
				events, err := watches(ctx, options)
				if err == nil && !listing {
					err = i.resumed(ctx, description, events, options.ResourceVersion, list)
				}
				return events, err
			})
			if err != nil {
				return nil, err
			}
			i.heard.Store(time.Now().UnixNano())
			i.watching.Store(true)
			return filter(events, func(event watch.Event) (watch.Event, bool) {
				if listing && endsList(event) {
					listing = false
					i.listed(ctx, description, versionOf(event.Object))
				}
				if isCut(event) && !listing {
					klog.FromContext(ctx).V(2).Info("A watch was cut, going on where it ended", "resource", description)
					return event, false
				}
				i.heard.Store(time.Now().UnixNano())
				return event, true
			}), nil
		},
	}
	i.SharedIndexInformer = cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), object,
		cache.SharedIndexInformerOptions{ObjectDescription: description})
	err := i.SetWatchErrorHandlerWithContext(func(ctx context.Context, _ *cache.Reflector, err error) {
		i.failed(ctx, description, err)
	})
	return errors.Join(err, i.SetTransform(transform))
}

// failed logs what the reflector makes of a watch that was too short to be one as
// an outage, which the next answer ends. What it lists anew for is none.
func (i *Informer) failed(ctx context.Context, description string, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		klog.FromContext(ctx).V(4).Info("A list or watch ended", "resource", description, "err", err)
		return
	}
	i.outage.begun(ctx, description, err)
}

// filter hands on what keep makes of the events of a watch, and leaves out those
// that it does not approve of. Other than watch.Filter it ends with Stop, though
// an event waits that nobody takes.
func filter(events watch.Interface, keep watch.FilterFunc) watch.Interface {
	kept := make(chan watch.Event)
	w := watch.NewProxyWatcher(kept)
	go func() {
		defer close(kept)
		defer events.Stop()
		for {
			select {
			case event, ok := <-events.ResultChan():
				if !ok {
					return
				}
				if event, ok = keep(event); !ok {
					continue
				}
				select {
				case kept <- event:
				case <-w.StopChan():
					return
				}
			case <-w.StopChan():
				return
			}
		}
	}()
	return w
}

// Heard returns a moment up to which the cache is known to be true: the last
// event, or, while a watch is open, silence ago if that is later. The API
// server is silent as long as nothing happens, but were it gone, the watch would
// have ended by then. It is the zero time before the first list.
func (i *Informer) Heard() time.Time {
	at := i.heard.Load()
	if at == 0 {
		return time.Time{}
	}
	if i.watching.Load() {
		at = max(at, time.Now().Add(-i.silence).UnixNano())
	}
	return time.Unix(0, at)
}

// deaf takes note that there is no watch, since the next one is asked for. What
// the last one told still holds for the moment when it ended.
func (i *Informer) deaf() {
	if i.watching.Load() {
		i.heard.Store(i.Heard().UnixNano())
		i.watching.Store(false)
	}
}

// outage is what was logged of an outage whose end was not. It outlives a request:
// the one that meets the end need not be the one that met the outage.
type outage struct{ told atomic.Pointer[string] }

// begun logs err unless it was the last thing logged.
func (o *outage) begun(ctx context.Context, what string, err error) {
	cause := withoutDigits(err.Error()) // those of streams and ports differ each time
	if last := o.told.Swap(&cause); last == nil || *last != cause {
		klog.FromContext(ctx).Error(withRemedy(err), "Cannot list or watch, trying again", "resource", what)
	}
}

// ended logs the end of what was logged.
func (o *outage) ended(ctx context.Context, what string) {
	if o.told.Swap(nil) != nil {
		klog.FromContext(ctx).Info("The API server answers again", "resource", what)
	}
}

// patiently makes a request until it succeeds, or fails in a way that the caller
// has an answer to.
func patiently[T any](ctx context.Context, o *outage, what string, isForCaller func(error) bool, request func() (T, error)) (T, error) {
	backoff := wait.Backoff{Duration: outageRetryMin, Factor: 2, Jitter: 0.2, Steps: 1 << 30, Cap: outageRetryMax}
	for {
		result, err := request()
		if err == nil {
			o.ended(ctx, what)
		}
		if err == nil || ctx.Err() != nil || isForCaller(err) {
			return result, err
		}
		o.begun(ctx, what, err)
		select {
		case <-ctx.Done():
			return result, ctx.Err()
		case <-time.After(backoff.Step()):
		}
	}
}

func withoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}

// isCut reports whether event is client-go's own, for a watch that broke off on its
// way. Left out, the watch ends as if the API server had closed it, and the
// reflector watches on; by its own rules it would list all again, up to a minute
// later if that is not the first time.
func isCut(event watch.Event) bool {
	return event.Type == watch.Error && apierrors.HasStatusCause(apierrors.FromObject(event.Object), "ClientWatchDecoding")
}

// endsList reports whether event is the one behind a list that is streamed.
func endsList(event watch.Event) bool {
	if event.Type != watch.Bookmark {
		return false
	}
	object, err := meta.Accessor(event.Object)
	return err == nil && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}

// isForReflector reports whether another request of the same kind is no use: the
// version that it asks for is too old or too new, or the API server does not
// stream lists.
func isForReflector(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTimeout(err) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}
