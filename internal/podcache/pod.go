package podcache

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

// Pod is a cached Pod: the spec that its Testcr must have, about a thirtieth of the
// size of the whole Pod. It must not be changed.
type Pod struct {
	resourceVersion string
	// owner is the UID of an owner that package owners caches; only with --owners.
	owner types.UID
	spec  v1.TestcrSpec
}

// Spec returns the spec that the Testcr of the Pod must have. It must not be changed.
func (p *Pod) Spec() *v1.TestcrSpec { return &p.spec }

// ResourceVersion returns the version of the Pod.
func (p *Pod) ResourceVersion() string { return p.resourceVersion }

// Key returns the namespace and name of the Pod.
func (p *Pod) Key() cache.ObjectName { return cache.NewObjectName(p.spec.Namespace, p.spec.PodName) }

// IsTransient reports a state that rarely lasts: a Pod without a node gets one, one
// that is terminating goes, and an owner that is not cached yet arrives. An owner is
// created before its Pods, but its watch may be behind that of the Pods.
func (p *Pod) IsTransient() bool {
	return p.spec.NodeName == "" || p.spec.Terminating || p.owner != "" && p.spec.WorkloadProof != v1.ProofOwner
}

// GetObjectMeta returns the metadata that an informer reads.
func (p *Pod) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{
		Namespace: p.spec.Namespace, Name: p.spec.PodName, UID: types.UID(p.spec.PodUID), ResourceVersion: p.resourceVersion,
	}
}

// NewPod returns the cached form of a Pod.
func NewPod(pod *corev1.Pod) *Pod {
	return &Pod{resourceVersion: pod.ResourceVersion, spec: desired.Spec(pod)}
}

// transform returns a cache.TransformFunc that turns a *corev1.Pod into a *Pod whose
// strings are shared. A *Pod passes unchanged.
func transform(pool *dedup.Pool, newPod func(*corev1.Pod) *Pod) cache.TransformFunc {
	return func(obj any) (any, error) {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return obj, nil
		}
		p := newPod(pod)
		pool.Spec(&p.spec)
		return p, nil
	}
}
