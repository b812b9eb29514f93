package app

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// Events are for what a person must set right, and a thousand of one kind say no
// more than a few: of each reason eventsAtOnce are sent, then one in five minutes.
const (
	eventsAtOnce    = 10
	eventsPerSecond = 1. / 300
)

// newRecorder returns what sends Events until ctx ends. They are about objects
// without a namespace, and so they are in the namespace "default".
func newRecorder(ctx context.Context, events typedcorev1.EventsGetter) record.EventRecorder {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx), record.WithCorrelatorOptions(record.CorrelatorOptions{
		BurstSize: eventsAtOnce, QPS: eventsPerSecond,
		SpamKeyFunc: func(event *corev1.Event) string { return event.Reason },
	}))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: events.Events("")})
	context.AfterFunc(ctx, broadcaster.Shutdown)
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: podinfolookup.ManagedBy})
}

// warner is the controller's Warn.
func warner(recorder record.EventRecorder) func(*corev1.ObjectReference, string, string) {
	return func(about *corev1.ObjectReference, reason, message string) {
		recorder.Event(about, corev1.EventTypeWarning, reason, message)
	}
}
