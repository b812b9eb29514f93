package lookup

import (
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// indexer keeps an index equal to the Testcrs that state facts of their Pods. Others
// were created or edited by hand, or are of Pods that are gone.
type indexer struct{ index *index.Index }

func (x indexer) handler() cache.ResourceEventHandler { return testcrcache.Handler(x.update) }

// update replaces one state of a Testcr by the next; nil stands for absent.
func (x indexer) update(old, entry *testcrcache.Entry) {
	switch {
	case isFact(entry):
		x.index.Put(entry, entry.ResourceVersion)
	case entry != nil && !isFact(old):
		x.index.Remove("", entry.ResourceVersion)
	case entry != nil:
		x.index.Remove(old.Spec().PodKey, entry.ResourceVersion)
	case isFact(old):
		x.index.Remove(old.Spec().PodKey, old.ResourceVersion)
	case old != nil:
		x.index.Remove("", old.ResourceVersion)
	}
}

func isFact(entry *testcrcache.Entry) bool { return entry != nil && entry.DescribesPod() }
