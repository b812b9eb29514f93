// Package wiretest reads Testcrs through a dynamic client, for tests with a fake one.
package wiretest

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

type reader struct{ client dynamic.ResourceInterface }

// Reader returns a wire.TestcrReader of the Testcrs of client.
func Reader(client dynamic.Interface) wire.TestcrReader {
	return reader{client.Resource(v1.GroupVersionResource)}
}

func (r reader) List(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	list, err := r.client.List(ctx, options)
	if err != nil {
		return nil, err
	}
	out := &metav1.List{
		ListMeta: metav1.ListMeta{ResourceVersion: list.GetResourceVersion(), Continue: list.GetContinue()},
		Items:    make([]runtime.RawExtension, len(list.Items)),
	}
	for i := range list.Items {
		if out.Items[i].Object, err = wire.Decode(&list.Items[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r reader) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := r.client.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return informer.Filter(events, func(event watch.Event) (watch.Event, bool) {
		u, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Error {
			return event, true
		}
		t, err := wire.Decode(u)
		if err != nil {
			return event, false
		}
		event.Object = t
		return event, true
	}), nil
}
