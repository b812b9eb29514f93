package informer

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Filter returns the events of a watch as keep returns them, without those for which
// it returns false. Unlike watch.Filter it ends at Stop even if an event is pending.
func Filter(events watch.Interface, keep watch.FilterFunc) watch.Interface {
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

// isInterrupted reports whether event is client-go's own, for a watch whose
// connection broke. Without the event the watch ends as if the API server had closed
// it, and the reflector resumes it. With it, the reflector would list again, after
// up to a minute if it is not the first time.
func isInterrupted(event watch.Event) bool {
	return event.Type == watch.Error && apierrors.HasStatusCause(apierrors.FromObject(event.Object), "ClientWatchDecoding")
}

// endsList reports whether event is the bookmark at the end of a streamed list.
func endsList(event watch.Event) bool {
	if event.Type != watch.Bookmark {
		return false
	}
	object, err := meta.Accessor(event.Object)
	return err == nil && object.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}
