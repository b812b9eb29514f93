package podcache

import (
	"context"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
)

const (
	resource = "pods"
	// requestTimeout bounds a read of one Pod. The worker that waits for it retries
	// the key with backoff.
	requestTimeout = 30 * time.Second
)

// namespaceInformer is the informer of the Pods of one namespace, or of all.
type namespaceInformer struct {
	*informer.Informer

	client    typedcorev1.PodsGetter
	namespace string
	newPod    func(*corev1.Pod) *Pod

	mu          sync.Mutex
	minVersion  string                      // from which version on the cache is fresh; "" after it was reached
	minVersions map[cache.ObjectName]string // the same for Pods that were read live
}

func newNamespaceInformer(
	client kubernetes.Interface, namespace string, pool *dedup.Pool, newPod func(*corev1.Pod) *Pod, indexers cache.Indexers,
) (*namespaceInformer, error) {
	pods := client.CoreV1().Pods(namespace)
	i := &namespaceInformer{client: client.CoreV1(), namespace: namespace, newPod: newPod, minVersions: map[cache.ObjectName]string{}}
	var err error
	i.Informer, err = informer.New(informer.Config{
		Resource: resource, Object: &corev1.Pod{}, Client: client, Transform: transform(pool, newPod), Indexers: indexers,
		List: i.list, Watch: pods.Watch,
	})
	if err == nil {
		i.OnRollback(i.rolledBack)
	}
	return i, err
}

func (i *namespaceInformer) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	return i.client.Pods(i.namespace).List(ctx, options)
}

// rolledBack drops the versions that the cache has yet to reach. After a restore of
// etcd it would reach them only after as many other writes.
func (i *namespaceInformer) rolledBack(string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.minVersion = ""
	clear(i.minVersions)
}

func (i *namespaceInformer) requireCurrent(ctx context.Context) error {
	neverFinal := func(error) bool { return false }
	list, err := informer.RetryUntilAvailable(ctx, &informer.Outage{}, resource, neverFinal, func() (*corev1.PodList, error) {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()
		return i.client.Pods(i.namespace).List(ctx, metav1.ListOptions{Limit: informer.ProbeLimit})
	})
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.minVersion = list.ResourceVersion
	return nil
}

func (i *namespaceInformer) cached(key cache.ObjectName) *Pod {
	if obj, ok, err := i.GetStore().GetByKey(key.String()); err == nil && ok {
		return obj.(*Pod)
	}
	return nil
}

// reached reports whether the cache is fresh for a Pod.
func (i *namespaceInformer) reached(key cache.ObjectName) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.minVersion == "" && len(i.minVersions) == 0 {
		return true
	}
	at := i.GetStore().LastStoreSyncResourceVersion()
	if informer.IsNewer(i.minVersion, at) || informer.IsNewer(i.minVersions[key], at) {
		return false
	}
	i.minVersion = ""
	delete(i.minVersions, key)
	return true
}

// live reads a Pod from the API server, and returns nil if there is none. It lists,
// which needs no other right than the informer.
func (i *namespaceInformer) live(ctx context.Context, key cache.ObjectName) (*Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := i.client.Pods(key.Namespace).List(ctx, metav1.SingleObject(metav1.ObjectMeta{Name: key.Name}))
	if err != nil {
		return nil, informer.WithRemedy(err)
	}
	var pod *Pod
	version := list.ResourceVersion
	for n := range list.Items {
		if p := &list.Items[n]; p.Name == key.Name {
			pod, version = i.newPod(p), p.ResourceVersion
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	at := i.GetStore().LastStoreSyncResourceVersion()
	i.minVersions[key] = version
	maps.DeleteFunc(i.minVersions, func(_ cache.ObjectName, version string) bool { return !informer.IsNewer(version, at) })
	return pod, nil
}
