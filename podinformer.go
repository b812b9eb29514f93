package podinfolookup

import (
	"context"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
)

// PodInformer is the desired side: an informer whose cache holds *podState, and
// that knows of which Pods the cache may be older than what another replica saw.
type PodInformer struct {
	Informer

	client typedcorev1.PodsGetter

	mu    sync.Mutex
	least string                      // the version from which on the cache is believed, "" once it is
	ahead map[cache.ObjectName]string // the versions that Pods were read at, where the cache has yet to reach them
}

// NewPodInformer returns an informer of the Pods of a namespace, or of all for
// metav1.NamespaceAll, that has yet to be run. It shares memory with testcrs.
func NewPodInformer(client kubernetes.Interface, namespace string, testcrs *TestcrInformer) (*PodInformer, error) {
	pods := client.CoreV1().Pods(namespace)
	testcrs.kept.both = true
	i := &PodInformer{client: client.CoreV1(), ahead: map[cache.ObjectName]string{}}
	i.OnBack(i.back)
	return i, i.init(&corev1.Pod{}, "pods", client, keepPod(&testcrs.kept),
		func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return pods.List(ctx, options)
		},
		pods.Watch)
}

// distrust has the cache believed only once it has reached the version that the
// API server is at now. A watch may be behind, one on a dead connection by as much
// as deadAfter. The error is that of ctx.
func (i *PodInformer) distrust(ctx context.Context, namespace string) error {
	list, err := patiently(ctx, &outage{}, "pods", func(error) bool { return false }, func() (*corev1.PodList, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return i.client.Pods(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	})
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.least = list.ResourceVersion
	return nil
}

// back drops the versions that the cache had yet to reach. After a restore of
// etcd it reaches them only after as many other writes.
func (i *PodInformer) back(string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.least = ""
	clear(i.ahead)
}

// get returns the cached Pod called key, nil when there is none, and whether it
// is known to be no older than what another replica or a live read saw.
func (i *PodInformer) get(key cache.ObjectName) (pod *podState, sure bool) {
	sure = i.reached(key) // before the read, which then sees what was reached, too
	return i.cached(key), sure
}

func (i *PodInformer) cached(key cache.ObjectName) *podState {
	if obj, ok, err := i.GetStore().GetByKey(key.String()); err == nil && ok {
		return obj.(*podState)
	}
	return nil
}

func (i *PodInformer) reached(key cache.ObjectName) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.least == "" && len(i.ahead) == 0 {
		return true
	}
	at := i.GetStore().LastStoreSyncResourceVersion()
	if isNewer(i.least, at) || isNewer(i.ahead[key], at) {
		return false
	}
	i.least = ""
	delete(i.ahead, key)
	return true
}

// live reads the Pod called key from the API server, nil when there is none. It
// lists, which needs no other right than the informer.
func (i *PodInformer) live(ctx context.Context, key cache.ObjectName) (*podState, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := i.client.Pods(key.Namespace).List(ctx, metav1.SingleObject(metav1.ObjectMeta{Name: key.Name}))
	if err != nil {
		return nil, withRemedy(err)
	}
	var pod *podState
	version := list.ResourceVersion
	for n := range list.Items {
		if p := &list.Items[n]; p.Name == key.Name {
			pod, version = &podState{resourceVersion: p.ResourceVersion, spec: specOf(p)}, p.ResourceVersion
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	at := i.GetStore().LastStoreSyncResourceVersion()
	i.ahead[key] = version
	maps.DeleteFunc(i.ahead, func(_ cache.ObjectName, version string) bool { return !isNewer(version, at) })
	return pod, nil
}

// podCaches are the informers of the watched Pods by namespace, or one under
// metav1.NamespaceAll.
type podCaches map[string]*PodInformer

// in returns the informer of the Pods of a namespace, nil when they are not
// watched.
func (p podCaches) in(namespace string) *PodInformer {
	if pods, ok := p[namespace]; ok {
		return pods
	}
	return p[metav1.NamespaceAll]
}

// get is that of the informer. Of what is not watched there is no Pod for sure.
func (p podCaches) get(key cache.ObjectName) (pod *podState, sure bool) {
	if pods := p.in(key.Namespace); pods != nil {
		return pods.get(key)
	}
	return nil, true
}

// live is that of the informer.
func (p podCaches) live(ctx context.Context, key cache.ObjectName) (*podState, error) {
	if pods := p.in(key.Namespace); pods != nil && key.Namespace != "" {
		return pods.live(ctx, key)
	}
	return nil, nil
}

// distrust has no cache believed that may be older than this moment.
func (p podCaches) distrust(ctx context.Context) error {
	for namespace, pods := range p {
		if err := pods.distrust(ctx, namespace); err != nil {
			return err
		}
	}
	return nil
}

// of finds the Pod whose Testcr is called name by trying all of them, about
// 1 ms per 2,000 Pods. It is needed only where a podkey was changed by hand.
func (p podCaches) of(name string) (cache.ObjectName, bool) {
	for _, pods := range p {
		for _, key := range pods.GetStore().ListKeys() {
			if md5Hex(key) == name {
				pod, err := cache.ParseObjectName(key)
				return pod, err == nil
			}
		}
	}
	return cache.ObjectName{}, false
}

func (p podCaches) watch(namespace string) bool {
	_, all := p[metav1.NamespaceAll]
	_, one := p[namespace]
	return all || one
}

// own reports whether t may be deleted: it carries our label and is of a watched
// namespace. One that is not named for its podkey is of the namespaces that its
// label and its spec name, or of every controller when they name none. A
// controller that needs its name for a Pod writes it anew.
func (p podCaches) own(t *Testcr) bool {
	if !t.Managed() {
		return false
	}
	if key, ok := t.PodKey(); ok {
		return p.watch(key.Namespace)
	}
	label, spec := t.AllLabels()[LabelNamespace], t.Spec.Namespace
	return label == "" && spec == "" || label != "" && p.watch(label) || spec != "" && p.watch(spec)
}
