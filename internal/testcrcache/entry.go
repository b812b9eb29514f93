package testcrcache

import (
	"maps"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// Entry is a cached Testcr, without managed fields and without labels that follow
// from the spec: together half of its bytes. It must not be changed.
type Entry struct {
	metav1.ObjectMeta

	spec             atomic.Pointer[v1.TestcrSpec]
	malformed        bool // see wire.Testcr
	labelsElided     bool // the stored labels are those of the spec, and Labels is nil
	ownManagedFields bool // the stored object has managed fields, of this program alone
}

func newEntry(t *wire.Testcr) *Entry {
	e := &Entry{ObjectMeta: t.ObjectMeta, malformed: t.Malformed}
	e.spec.Store(&t.Spec)
	e.ownManagedFields = len(t.ManagedFields) > 0
	for i := range t.ManagedFields {
		e.ownManagedFields = e.ownManagedFields && t.ManagedFields[i].Manager == v1.ManagedBy
	}
	e.ManagedFields = nil
	if len(e.Labels) > 0 && !e.malformed && maps.Equal(e.Labels, desired.Labels(&t.Spec)) {
		e.Labels, e.labelsElided = nil, true
	}
	return e
}

// Spec returns the stored spec. It must not be changed.
func (e *Entry) Spec() *v1.TestcrSpec { return e.spec.Load() }

// Share replaces the stored spec by an equal one, so that a Pod and its Testcr share
// memory. It does nothing if spec is another.
func (e *Entry) Share(spec *v1.TestcrSpec) {
	if own := e.spec.Load(); own != spec && desired.Equal(own, spec) {
		e.spec.Store(spec)
	}
}

// Matches reports whether the stored Testcr has the spec and the labels of want.
func (e *Entry) Matches(want *v1.Testcr) bool {
	switch {
	case e.malformed:
		return false
	case e.labelsElided:
		return desired.Equal(e.Spec(), &want.Spec)
	default:
		return desired.Matches(e.Testcr(), want)
	}
}

// Testcr returns the stored Testcr with all its labels. It shares memory with e.
func (e *Entry) Testcr() *v1.Testcr {
	t := &v1.Testcr{ObjectMeta: e.ObjectMeta, Spec: *e.Spec()}
	t.SetGroupVersionKind(v1.GroupVersionKind)
	if e.labelsElided {
		t.Labels = desired.Labels(&t.Spec)
	}
	return t
}

// PodKey returns the key of the Pod that e belongs to: see v1.Testcr.PodKey.
func (e *Entry) PodKey() (cache.ObjectName, bool) {
	t := v1.Testcr{ObjectMeta: metav1.ObjectMeta{Name: e.Name}, Spec: v1.TestcrSpec{PodKey: e.Spec().PodKey}}
	key, ok := t.PodKey()
	return cache.ObjectName(key), ok
}

// IsManaged reports whether this program keeps the Testcr.
func (e *Entry) IsManaged() bool {
	return e.labelsElided || e.Labels[v1.LabelManagedBy] == v1.ManagedBy
}

// IsEmptied reports whether the Pod is gone and a finalizer alone keeps the Testcr.
func (e *Entry) IsEmptied() bool { return e.DeletionTimestamp != nil && e.Spec().PodUID == "" }

// DescribesPod reports whether the Testcr states facts of its Pod: see
// v1.Testcr.DescribesPod.
func (e *Entry) DescribesPod() bool {
	_, ok := e.PodKey()
	return ok && e.IsManaged() && !e.IsEmptied()
}

// namespaces returns the namespaces that the label and the spec name, "" for none.
func (e *Entry) namespaces() (label, spec string) {
	spec = e.Spec().Namespace
	if e.labelsElided {
		return spec, spec
	}
	return e.Labels[v1.LabelNamespace], spec
}

// MayDelete reports whether a controller of some namespaces may delete the Testcr: it
// is managed, and of a watched namespace. One whose name does not follow from its
// podkey belongs to the namespaces of its label and its spec, or to every controller
// if it names none.
func (e *Entry) MayDelete(watches func(namespace string) bool) bool {
	if !e.IsManaged() {
		return false
	}
	if key, ok := e.PodKey(); ok {
		return watches(key.Namespace)
	}
	label, spec := e.namespaces()
	return label == "" && spec == "" || label != "" && watches(label) || spec != "" && watches(spec)
}

// transform returns a cache.TransformFunc that turns a *wire.Testcr into an *Entry. An
// *Entry passes unchanged. Its strings are shared at once, because an entry of a first
// list shares the spec of its Pod only after both lists.
func transform(pool *dedup.Pool) cache.TransformFunc {
	return func(obj any) (any, error) {
		t, ok := obj.(*wire.Testcr)
		if !ok {
			return obj, nil
		}
		if !t.Malformed && t.Spec.PodKey == t.Spec.Namespace+"/"+t.Spec.PodName {
			pool.Spec(&t.Spec)
		}
		return newEntry(t), nil
	}
}
