package lookup

import (
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
)

// indexer keeps an index equal to the cached Pods.
type indexer struct{ index *index.Index }

func (x indexer) handler() cache.ResourceEventHandler { return podcache.Handler(x.update) }

// update replaces one state of a Pod by the next; nil stands for absent.
func (x indexer) update(old, pod *podcache.Pod) {
	switch {
	case pod != nil:
		x.index.Put(pod, pod.ResourceVersion())
	case old != nil:
		x.index.Remove(old.Spec().PodKey, old.ResourceVersion())
	}
}
