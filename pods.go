package podinfolookup

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// podCaches are the caches of the watched Pods by namespace, or one under
// metav1.NamespaceAll.
type podCaches map[string]cache.Indexer

// get returns the Pod called key, nil when there is none.
func (p podCaches) get(key cache.ObjectName) *corev1.Pod {
	pods, ok := p[key.Namespace]
	if !ok {
		pods, ok = p[metav1.NamespaceAll]
	}
	if !ok {
		return nil
	}
	if obj, exists, err := pods.GetByKey(key.String()); err == nil && exists {
		return obj.(*corev1.Pod)
	}
	return nil
}

// of finds the Pod whose Testcr is called name by trying all of them, about
// 1 ms per 2,000 Pods. It is needed only where a podkey was changed by hand.
func (p podCaches) of(name string) (cache.ObjectName, bool) {
	for _, pods := range p {
		for _, key := range pods.ListKeys() {
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

// own reports whether t may be deleted: it carries our label, and it is of a
// watched namespace beyond doubt.
func (p podCaches) own(t *Testcr) bool {
	if !t.Managed() {
		return false
	}
	if _, all := p[metav1.NamespaceAll]; all {
		return true
	}
	key, ok := t.PodKey()
	return ok && p.watch(key.Namespace)
}
