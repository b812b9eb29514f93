package lookup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache/testcrcachetest"
)

// entry returns the cached Testcr of the Pod a/b, after changes.
func entry(version string, changes ...func(*v1.Testcr)) *testcrcache.Entry {
	testcr := desired.FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b", UID: "uid"}})
	testcr.ResourceVersion = version
	for _, change := range changes {
		change(testcr)
	}
	return testcrcachetest.Entry(testcr)
}

func unmanaged(t *v1.Testcr)  { t.Labels = nil }
func otherPod(t *v1.Testcr)   { t.Spec.PodKey = "a/c" }
func noPod(t *v1.Testcr)      { t.Spec.PodKey = "nonsense" }
func onNode(t *v1.Testcr)     { t.Spec.NodeName = "node-1" }
func handEdited(t *v1.Testcr) { t.Labels["team"] = "a" }
func emptied(t *v1.Testcr) {
	t.DeletionTimestamp, t.Finalizers = new(metav1.Now()), []string{"example.com/x"}
	t.Spec = v1.TestcrSpec{PodKey: "a/b", PodName: "b", Namespace: "a", Terminating: true}
}

func TestIndexer(t *testing.T) {
	const name = "any"
	type event func(cache.ResourceEventHandler)
	add := func(obj any) event { return func(h cache.ResourceEventHandler) { h.OnAdd(obj, false) } }
	update := func(old, obj any) event { return func(h cache.ResourceEventHandler) { h.OnUpdate(old, obj) } }
	remove := func(obj any) event { return func(h cache.ResourceEventHandler) { h.OnDelete(obj) } }
	first, second := entry("1"), entry("2", onNode)
	tests := []struct {
		name   string
		events []event
		want   index.View
	}{
		{name: "no events"},
		{name: "a Testcr", events: []event{add(first)}, want: index.View{ResourceVersion: "1", Testcrs: 1}},
		{
			name:   "an update",
			events: []event{add(first), update(first, second)},
			want:   index.View{ResourceVersion: "2", Testcrs: 1},
		},
		{
			name:   "the same again, as after a list",
			events: []event{add(first), update(first, first)},
			want:   index.View{ResourceVersion: "1", Testcrs: 1},
		},
		{
			name:   "an update without its old state, and an add of a known Testcr",
			events: []event{update(nil, first), add(second)},
			want:   index.View{ResourceVersion: "2", Testcrs: 1},
		},
		{
			name:   "a label that somebody added",
			events: []event{add(entry("1", handEdited))},
			want:   index.View{ResourceVersion: "1", Testcrs: 1},
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
			name:   "a deletion of an unknown Testcr",
			events: []event{remove(first)},
			want:   index.View{ResourceVersion: "1"},
		},
		{name: "a tombstone without an object", events: []event{remove(cache.DeletedFinalStateUnknown{Key: name})}},
		{name: "another type", events: []event{add(&corev1.Pod{}), update(&corev1.Pod{}, &corev1.Pod{}), remove(&corev1.Pod{})}},
		{
			name:   "an unmanaged Testcr",
			events: []event{add(entry("1", unmanaged))},
			want:   index.View{ResourceVersion: "1"},
		},
		{
			name:   "a Testcr with the podkey of another Pod",
			events: []event{add(entry("1", otherPod))},
			want:   index.View{ResourceVersion: "1"},
		},
		{
			name:   "a Testcr without a podkey",
			events: []event{add(entry("1", noPod))},
			want:   index.View{ResourceVersion: "1"},
		},
		{
			name:   "an emptied Testcr",
			events: []event{add(entry("1", emptied))},
			want:   index.View{ResourceVersion: "1"},
		},
		{
			name:   "a Testcr that becomes unmanaged",
			events: []event{add(first), update(first, entry("2", unmanaged))},
			want:   index.View{ResourceVersion: "2"},
		},
		{
			name:   "a Testcr that gets the podkey of another Pod",
			events: []event{add(first), update(first, entry("2", otherPod))},
			want:   index.View{ResourceVersion: "2"},
		},
		{
			name:   "a Testcr that is emptied",
			events: []event{add(first), update(first, entry("2", emptied))},
			want:   index.View{ResourceVersion: "2"},
		},
		{
			name:   "a Testcr that is repaired",
			events: []event{add(entry("1", unmanaged)), update(entry("1", unmanaged), second)},
			want:   index.View{ResourceVersion: "2", Testcrs: 1},
		},
		{
			name:   "an edit and a deletion of an unmanaged Testcr",
			events: []event{add(entry("1", unmanaged)), update(entry("1", unmanaged), entry("2", unmanaged)), remove(entry("3", unmanaged))},
			want:   index.View{ResourceVersion: "3"},
		},
		{
			name:   "a deletion of a Testcr with the podkey of another Pod, which stays",
			events: []event{add(first), add(entry("2", func(t *v1.Testcr) { t.Name = "other" })), remove(entry("3", func(t *v1.Testcr) { t.Name = "other" }))},
			want:   index.View{ResourceVersion: "3", Testcrs: 1},
		},
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
