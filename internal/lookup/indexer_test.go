package lookup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
)

// cached returns a version of the Pod a/b in the cache.
func cached(version, node string) *podcache.Pod {
	return podcache.NewPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b", UID: "uid", ResourceVersion: version},
		Spec:       corev1.PodSpec{NodeName: node},
	})
}

func TestIndexer(t *testing.T) {
	const name = "any"
	type event func(cache.ResourceEventHandler)
	add := func(obj any) event { return func(h cache.ResourceEventHandler) { h.OnAdd(obj, false) } }
	update := func(old, obj any) event { return func(h cache.ResourceEventHandler) { h.OnUpdate(old, obj) } }
	remove := func(obj any) event { return func(h cache.ResourceEventHandler) { h.OnDelete(obj) } }
	first, second := cached("1", ""), cached("2", "node-1")
	tests := []struct {
		name   string
		events []event
		want   index.View
	}{
		{name: "no events"},
		{name: "a Pod", events: []event{add(first)}, want: index.View{ResourceVersion: "1", Pods: 1}},
		{
			name:   "an update",
			events: []event{add(first), update(first, second)},
			want:   index.View{ResourceVersion: "2", Pods: 1},
		},
		{
			name:   "the same again, as after a list",
			events: []event{add(first), update(first, first)},
			want:   index.View{ResourceVersion: "1", Pods: 1},
		},
		{
			name:   "an update without its old state, and an add of a known Pod",
			events: []event{update(nil, first), add(second)},
			want:   index.View{ResourceVersion: "2", Pods: 1},
		},
		{
			name:   "a deletion",
			events: []event{add(first), remove(second)},
			want:   index.View{ResourceVersion: "2"},
		},
		{
			name:   "a tombstone, which has an older state",
			events: []event{add(first), update(first, second), remove(cache.DeletedFinalStateUnknown{Key: name, Obj: first})},
			want:   index.View{ResourceVersion: "2"},
		},
		{
			name:   "a deletion of an unknown Pod",
			events: []event{remove(first)},
			want:   index.View{ResourceVersion: "1"},
		},
		{name: "a tombstone without an object", events: []event{remove(cache.DeletedFinalStateUnknown{Key: name})}},
		{name: "another type", events: []event{add(&corev1.Pod{}), update(&corev1.Pod{}, &corev1.Pod{}), remove(&corev1.Pod{})}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := index.New()
			handler := indexer{x}.handler()
			for _, event := range test.events {
				event(handler)
			}
			if diff := cmp.Diff(test.want, x.View()); diff != "" {
				t.Errorf("view (-want +got):\n%s", diff)
			}
		})
	}
}
