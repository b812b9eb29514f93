package app

import (
	"iter"
	"slices"
	"time"

	"k8s.io/client-go/tools/cache"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/feed"
	"github.com/weiyuanke/PodInfoLookup/internal/metrics"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

// newFeedRow returns the function that makes the feed's row of a Testcr. Testcrs of
// other namespaces, and of Pods that are gone, are not listed.
func newFeedRow(namespaces []string) func(obj any) (feed.Row, bool) {
	return func(obj any) (feed.Row, bool) {
		t, ok := obj.(*podinfolookup.Testcr)
		if !ok || t.Emptied() || len(namespaces) > 0 && !slices.Contains(namespaces, t.Spec.Namespace) {
			return feed.Row{}, false
		}
		return feed.Row{
			Name: t.Name, Pod: t.Spec.PodKey, IP: t.Spec.PodIP, Node: t.Spec.NodeName, Phase: t.Spec.Phase,
			CreatedAt: t.Spec.CreatedAt.Time,
		}, true
	}
}

func metricsConfig(pods map[string]*podinfolookup.PodInformer, testcrs *podinfolookup.TestcrInformer) metrics.Config {
	return metrics.Config{
		Version: version.Version(),
		Phases:  func() iter.Seq[string] { return phases(testcrs.GetStore()) },
		AsOf: map[string]func() time.Time{
			"pods": func() time.Time { return oldest(pods) },
			podinfolookup.GroupVersionResource.Resource: testcrs.Heard,
		},
		DriftKinds: []string{
			string(podinfolookup.TestcrDeleted), string(podinfolookup.TestcrEdited), string(podinfolookup.TestcrOrphaned),
		},
	}
}

// phases yields the phase in each Testcr of the store.
func phases(testcrs cache.Store) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, obj := range testcrs.List() {
			if !yield(obj.(*podinfolookup.Testcr).Spec.Phase) {
				return
			}
		}
	}
}

// oldest returns up to when all caches of Pods have all changes.
func oldest(pods map[string]*podinfolookup.PodInformer) time.Time {
	at := time.Now()
	for _, informer := range pods {
		if asOf := informer.Heard(); asOf.Before(at) {
			at = asOf
		}
	}
	return at
}
