package podinfolookup

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// podState is what is kept of a Pod: what its Testcr is to say, a thirtieth of a
// full Pod. It is shared: nobody may change it.
type podState struct {
	resourceVersion string
	spec            TestcrSpec
}

// GetObjectMeta tells an informer what it needs to know.
func (p *podState) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{
		Namespace: p.spec.Namespace, Name: p.spec.PodName, UID: types.UID(p.spec.PodUID), ResourceVersion: p.resourceVersion,
	}
}

func (p *podState) key() cache.ObjectName {
	return cache.NewObjectName(p.spec.Namespace, p.spec.PodName)
}

// passing tells of a state that rarely lasts.
func (p *podState) passing() bool { return p.spec.NodeName == "" || p.spec.Terminating }

// testcr is FromPod of the Pod, nil of none.
func (p *podState) testcr() *Testcr {
	if p == nil {
		return nil
	}
	return fromSpec(&p.spec)
}

// keepPod returns a cache.TransformFunc that turns a *corev1.Pod into its
// *podState. Anything else, a *podState too, passes as it is.
func keepPod(kept *keeper) cache.TransformFunc {
	return func(obj any) (any, error) {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return obj, nil
		}
		state := &podState{resourceVersion: pod.ResourceVersion, spec: specOf(pod)}
		kept.pod(&state.spec)
		return state, nil
	}
}

// keeper makes what is kept of a Pod and what is kept of its Testcr share
// memory: in a healthy cluster each Testcr says of its Pod what the Pod does.
type keeper struct {
	strings interner

	mu     sync.Mutex
	both   bool                   // there are Pods as well as Testcrs
	specs  map[string]*TestcrSpec // by podkey, the newest of either
	labels recent[map[string]string]
	key    []byte
}

// pod makes spec, fresh from a Pod, share what others have, too.
func (k *keeper) pod(spec *TestcrSpec) {
	intern := func(s *string) {
		if len(*s) <= maxInternedBytes {
			*s = k.strings.of([]byte(*s))
		}
	}
	spec.PodName = spec.PodKey[len(spec.PodKey)-len(spec.PodName):]
	intern(&spec.Namespace)
	intern(&spec.HostIP)
	intern(&spec.NodeName)
	intern(&spec.Phase)
	intern(&spec.OwnerKind)
	intern(&spec.OwnerName)
	intern(&spec.WorkloadKind)
	intern(&spec.WorkloadName)
	intern(&spec.ServiceAccount)
	for i := range spec.Containers {
		intern(&spec.Containers[i].Name)
		intern(&spec.Containers[i].Image)
	}
	if len(spec.PodIPs) > 0 && spec.PodIPs[0] == spec.PodIP {
		spec.PodIPs[0] = spec.PodIP
	}
	k.mu.Lock()
	spec.Labels = k.sameLabels(spec.Labels)
	k.mu.Unlock()
	k.share(spec)
}

// share makes spec share what the other side of it has, if that says the same.
func (k *keeper) share(spec *TestcrSpec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.both {
		return
	}
	if other := k.specs[spec.PodKey]; other != nil && other.equal(spec) {
		*spec = *other
		return
	}
	if k.specs == nil {
		k.specs = map[string]*TestcrSpec{}
	}
	k.specs[spec.PodKey] = spec
	k.strings.resize(len(k.specs))
}

// forget lets go of what is known by a podkey.
func (k *keeper) forget(podKey string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.specs, podKey)
}

// sameLabels returns a map that the Pods of a workload share.
func (k *keeper) sameLabels(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	k.key = k.key[:0]
	names := make([]string, 0, 16)
	for name := range labels {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		k.key = append(append(append(append(k.key, name...), 0), labels[name]...), 0)
	}
	if len(k.key) > maxSharedLabelsBytes {
		k.key = nil
		return labels
	}
	room := len(k.specs) / labelsRoom
	if known, ok := k.labels.get(k.key, room); ok {
		return known
	}
	own := make(map[string]string, len(labels))
	for name, value := range labels {
		own[k.strings.of([]byte(name))] = k.strings.of([]byte(value))
	}
	k.labels.put(string(k.key), own, room)
	return own
}

// labelsRoom is how many Pods have to share a set of labels, in the mean, for all
// sets to be remembered.
const labelsRoom = 4
