package testcrcache

import (
	"maps"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

func TestEntry_Testcr(t *testing.T) {
	tests := []struct {
		name          string
		edit          func(*wire.Testcr)
		wantLabels    bool // of the entry: they are kept in memory
		wantMatches   bool
		wantUnmanaged bool
	}{
		{name: "labels that follow from the spec are elided", edit: func(*wire.Testcr) {}, wantMatches: true},
		{name: "a label of another client", edit: func(t *wire.Testcr) { t.Labels["theirs"] = "yes" }, wantLabels: true, wantMatches: true},
		{name: "a label of ours that the Pod does not call for", edit: func(t *wire.Testcr) { t.Labels["stable.example.com/other"] = "true" }, wantLabels: true},
		{name: "without a label of ours", edit: func(t *wire.Testcr) { delete(t.Labels, v1.LabelNamespace) }, wantLabels: true},
		{name: "a label of ours with another value", edit: func(t *wire.Testcr) { t.Labels[v1.LabelNamespace] = "other" }, wantLabels: true},
		{name: "without the mark of ours", edit: func(t *wire.Testcr) { delete(t.Labels, v1.LabelManagedBy) }, wantLabels: true, wantUnmanaged: true},
		{name: "without labels", edit: func(t *wire.Testcr) { t.Labels = nil }, wantUnmanaged: true},
		{name: "a malformed spec", edit: func(t *wire.Testcr) { t.Malformed = true }, wantLabels: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stored := &wire.Testcr{Testcr: *wanted()}
			test.edit(stored)
			labels := maps.Clone(stored.Labels)
			e := newEntry(stored)
			if got := e.Labels != nil; got != test.wantLabels {
				t.Errorf("labels are kept: %t, want %t", got, test.wantLabels)
			}
			if diff := cmp.Diff(labels, e.Testcr().Labels); diff != "" {
				t.Errorf("labels of the Testcr (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(stored.Spec, e.Testcr().Spec); diff != "" {
				t.Errorf("spec of the Testcr (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(v1.GroupVersionKind, e.Testcr().GroupVersionKind()); diff != "" {
				t.Errorf("kind of the Testcr (-want +got):\n%s", diff)
			}
			if got := e.IsManaged(); got == test.wantUnmanaged {
				t.Errorf("IsManaged = %t", got)
			}
			if got := e.Matches(wanted()); got != test.wantMatches {
				t.Errorf("Matches = %t, want %t", got, test.wantMatches)
			}
			updated := desired.Update(e.Testcr(), wanted())
			if !desired.Matches(updated, wanted()) || updated.Labels["theirs"] != labels["theirs"] {
				t.Errorf("labels of an update: %v", updated.Labels)
			}
		})
	}
}

func TestEntry_Matches(t *testing.T) {
	theirs := func(t *wire.Testcr) { t.Labels["theirs"] = "yes" }
	otherSpec := func(t *wire.Testcr) { t.Spec.PodIP = "10.9.9.9" }
	relabelled := func(t *wire.Testcr) { t.Labels = desired.Labels(&t.Spec) }
	tests := []struct {
		name  string
		edits []func(*wire.Testcr)
		want  bool
	}{
		{name: "an equal one", want: true},
		{name: "an equal one with labels of others", edits: []func(*wire.Testcr){theirs}, want: true},
		{name: "another spec", edits: []func(*wire.Testcr){otherSpec}},
		{name: "another spec, and labels that follow from it", edits: []func(*wire.Testcr){otherSpec, relabelled}},
		{name: "another spec, and labels of others", edits: []func(*wire.Testcr){otherSpec, relabelled, theirs}},
		{name: "a malformed spec", edits: []func(*wire.Testcr){func(t *wire.Testcr) { t.Malformed = true }}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := storedAs(test.edits...).Matches(wanted()); got != test.want {
				t.Errorf("Matches = %t, want %t", got, test.want)
			}
		})
	}
}

func TestEntry_Share(t *testing.T) {
	t.Run("an equal spec is shared", func(t *testing.T) {
		e, spec := storedAs(), &wanted().Spec
		for range 2 {
			e.Share(spec)
			if e.Spec() != spec {
				t.Error("the entry keeps its own spec")
			}
		}
	})
	t.Run("another spec is not", func(t *testing.T) {
		e := storedAs(func(t *wire.Testcr) { t.Spec.PodIP = "10.9.9.9" })
		own := e.Spec()
		e.Share(&wanted().Spec)
		if e.Spec() != own || own.PodIP != "10.9.9.9" {
			t.Errorf("the stored spec is replaced by %+v", e.Spec())
		}
	})
}

func TestNewEntry_ManagedFields(t *testing.T) {
	entry := func(manager string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate}
	}
	tests := []struct {
		name    string
		entries []metav1.ManagedFieldsEntry
		want    bool
	}{
		{name: "none"},
		{name: "ours", entries: []metav1.ManagedFieldsEntry{entry(v1.ManagedBy)}, want: true},
		{name: "two of ours", entries: []metav1.ManagedFieldsEntry{entry(v1.ManagedBy), entry(v1.ManagedBy)}, want: true},
		{name: "ours, then of another client", entries: []metav1.ManagedFieldsEntry{entry(v1.ManagedBy), entry("kubectl-label")}},
		{name: "of another client, then ours", entries: []metav1.ManagedFieldsEntry{entry("kubectl-label"), entry(v1.ManagedBy)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := storedAs(func(t *wire.Testcr) { t.ManagedFields = test.entries })
			if e.ownManagedFields != test.want {
				t.Errorf("only ours: %t, want %t", e.ownManagedFields, test.want)
			}
			if e.ManagedFields != nil || e.Testcr().ManagedFields != nil {
				t.Errorf("they are kept: %v", e.ManagedFields)
			}
		})
	}
}

func TestEntry_MayDelete(t *testing.T) {
	withPodKey := func(podKey, namespace string) func(*wire.Testcr) {
		return func(t *wire.Testcr) { t.Spec.PodKey, t.Spec.Namespace = podKey, namespace }
	}
	withoutLabels := func(t *wire.Testcr) { t.Labels = nil }
	withLabel := func(namespace string) func(*wire.Testcr) {
		return func(t *wire.Testcr) { t.Labels[v1.LabelNamespace] = namespace }
	}
	// Its labels are those of its spec, although its podkey does not produce its name.
	elided := func(t *wire.Testcr) {
		t.Spec.PodKey, t.Spec.Namespace = "other/b", "other"
		t.Labels = desired.Labels(&t.Spec)
	}
	tests := []struct {
		name    string
		watched string // "" for all namespaces
		edits   []func(*wire.Testcr)
		want    bool
	}{
		{name: "all namespaces", want: true},
		{name: "the watched namespace", watched: "shop", want: true},
		{name: "another namespace", watched: "other"},
		{name: "not managed", edits: []func(*wire.Testcr){withoutLabels}},
		{name: "not managed, in the watched namespace", watched: "shop", edits: []func(*wire.Testcr){withoutLabels}},
		{name: "the podkey decides, not the label", watched: "b", edits: []func(*wire.Testcr){withLabel("b")}},
		{name: "a wrong podkey: the namespace of the label", watched: "shop", edits: []func(*wire.Testcr){withPodKey("other/b", "other")}, want: true},
		{name: "a wrong podkey: the namespace of the spec", watched: "other", edits: []func(*wire.Testcr){withPodKey("x", "other")}, want: true},
		{name: "a wrong podkey: the namespace of neither", watched: "b", edits: []func(*wire.Testcr){withPodKey("b/b", "shop")}},
		{name: "a wrong podkey: all namespaces", edits: []func(*wire.Testcr){withPodKey("shop/b", "shop")}, want: true},
		{name: "a wrong podkey: the label alone names one", watched: "b", edits: []func(*wire.Testcr){withPodKey("", "")}},
		{name: "a wrong podkey: the spec alone names one", watched: "b", edits: []func(*wire.Testcr){withPodKey("", "shop"), withLabel("")}},
		{name: "a wrong podkey: no namespace is every controller's", watched: "b", edits: []func(*wire.Testcr){withPodKey("", ""), withLabel("")}, want: true},
		{
			name: "a wrong podkey: no label is every controller's", watched: "b",
			edits: []func(*wire.Testcr){withPodKey("", ""), func(t *wire.Testcr) { delete(t.Labels, v1.LabelNamespace) }}, want: true,
		},
		{name: "elided labels: the watched namespace", watched: "other", edits: []func(*wire.Testcr){elided}, want: true},
		{name: "elided labels: another namespace", watched: "shop", edits: []func(*wire.Testcr){elided}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			watches := func(namespace string) bool { return test.watched == "" || namespace == test.watched }
			if got := storedAs(test.edits...).MayDelete(watches); got != test.want {
				t.Errorf("MayDelete = %t, want %t", got, test.want)
			}
		})
	}
}

func TestEntry_PodKey(t *testing.T) {
	none := cache.ObjectName{}
	tests := []struct {
		name   string
		podKey string
		want   cache.ObjectName
	}{
		{name: "that of its name", podKey: "shop/web", want: cache.NewObjectName("shop", "web")},
		{name: "of another Pod", podKey: "shop/b", want: none},
		{name: "without a namespace", podKey: "web", want: none},
		{name: "none", want: none},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := storedAs(func(t *wire.Testcr) { t.Spec.PodKey = test.podKey }).PodKey()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
			if ok != (test.want != none) {
				t.Errorf("ok = %t", ok)
			}
		})
	}
}

func TestEntry_DescribesPod(t *testing.T) {
	deleted := func(t *wire.Testcr) { t.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }
	emptied := func(t *wire.Testcr) {
		t.Spec = desired.Emptied(&t.Testcr).Spec
		t.Labels = desired.Labels(&t.Spec)
	}
	tests := []struct {
		name        string
		edits       []func(*wire.Testcr)
		want        bool
		wantEmptied bool
	}{
		{name: "an ordinary one", want: true},
		{name: "one that is being deleted", edits: []func(*wire.Testcr){deleted}, want: true},
		{name: "an emptied one", edits: []func(*wire.Testcr){deleted, emptied}, wantEmptied: true},
		{name: "without a UID, but not being deleted", edits: []func(*wire.Testcr){emptied}, want: true},
		{name: "not managed", edits: []func(*wire.Testcr){func(t *wire.Testcr) { t.Labels = nil }}},
		{name: "a wrong podkey", edits: []func(*wire.Testcr){func(t *wire.Testcr) { t.Spec.PodKey = "shop/b" }}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := storedAs(test.edits...)
			if got := e.DescribesPod(); got != test.want {
				t.Errorf("DescribesPod = %t, want %t", got, test.want)
			}
			if got := e.IsEmptied(); got != test.wantEmptied {
				t.Errorf("IsEmptied = %t, want %t", got, test.wantEmptied)
			}
			if got := e.Testcr().DescribesPod(); got != test.want {
				t.Errorf("DescribesPod of the Testcr = %t, want %t", got, test.want)
			}
		})
	}
}

func TestTransform(t *testing.T) {
	once, err := transform(&dedup.Pool{})(&wire.Testcr{Testcr: *wanted()})
	if err != nil {
		t.Fatal(err)
	}
	if !once.(*Entry).Matches(wanted()) {
		t.Errorf("it becomes %v", once)
	}
	if again, err := transform(&dedup.Pool{})(once); again != once || err != nil {
		t.Errorf("applied again: %v, %v", again, err)
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "a"}
	if got, err := transform(&dedup.Pool{})(tombstone); got != any(tombstone) || err != nil {
		t.Errorf("a tombstone becomes %v, %v", got, err)
	}
}

func TestTransform_SharesStrings(t *testing.T) {
	shared := transform(&dedup.Pool{})
	nodeOf := func(podKey string) *byte {
		testcr := wanted()
		testcr.Spec.NodeName = strings.Clone("node-17")
		testcr.Spec.PodKey = podKey
		entry, err := shared(&wire.Testcr{Testcr: *testcr})
		if err != nil {
			t.Fatal(err)
		}
		return unsafe.StringData(entry.(*Entry).Spec().NodeName) //nolint:gosec // G103: only compared
	}
	own := wanted().Spec.PodKey
	first, second := nodeOf(own), nodeOf(own)
	if first != second {
		t.Error("two Testcrs have a node name of their own each")
	}
	if nodeOf("somebody/else") == first {
		t.Error("a podkey that was edited by hand is cut as if it were right")
	}
}
