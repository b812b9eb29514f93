package owners

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

// object is a cached ReplicaSet or Job. It must not be changed.
type object struct {
	namespace, name string
	uid             types.UID
	resourceVersion string   // the informer drops events without a new one
	controller      Workload // the zero value without a controller
}

func (o *object) workload(kind string) Workload {
	if o.controller == (Workload{}) {
		return Workload{Kind: kind, Name: o.name}
	}
	return o.controller
}

// GetObjectMeta returns the metadata that an informer reads.
func (o *object) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: o.namespace, Name: o.name, UID: o.uid, ResourceVersion: o.resourceVersion}
}

// transform returns a cache.TransformFunc that turns metadata into an *object. Anything
// else passes unchanged.
func transform(pool *dedup.Pool) cache.TransformFunc {
	return func(obj any) (any, error) {
		m, ok := obj.(*metav1.PartialObjectMetadata)
		if !ok {
			return obj, nil
		}
		o := &object{namespace: pool.String(m.Namespace), name: m.Name, uid: m.UID, resourceVersion: m.ResourceVersion}
		if ref := metav1.GetControllerOfNoCopy(m); ref != nil {
			o.controller = Workload{
				Kind: pool.String(desired.ClipWorkload(ref.Kind)),
				Name: pool.String(desired.ClipWorkload(ref.Name)),
			}
		}
		return o, nil
	}
}

// unwrap returns the object of an event or of its tombstone, or nil.
func unwrap(obj any) *object {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	o, _ := obj.(*object)
	return o
}
