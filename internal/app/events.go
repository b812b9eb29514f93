package app

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Of each reason eventBurst Events are sent, then one in five minutes: more of
// one kind add nothing for a person.
const (
	eventBurst = 10
	eventQPS   = 1. / 300
)

// newRecorder returns a recorder that sends Events until ctx ends. Their objects
// have no namespace, so they are created in the namespace default.
func newRecorder(ctx context.Context, events typedcorev1.EventsGetter) record.EventRecorder {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(record.CorrelatorOptions{
		BurstSize: eventBurst, QPS: eventQPS,
		SpamKeyFunc: func(event *corev1.Event) string { return event.Reason },
	}))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: events.Events("")})
	context.AfterFunc(ctx, broadcaster.Shutdown)
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: v1.ManagedBy})
}
