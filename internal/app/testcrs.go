package app

import (
	"iter"
	"slices"
	"time"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/feed"
	"github.com/weiyuanke/PodInfoLookup/internal/metrics"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

// newFeedRow returns the function that makes the feed's row of a Testcr. Testcrs of
// other namespaces, and of Pods that are gone, are not listed.
func newFeedRow(namespaces []string) func(obj any) (feed.Row, bool) {
	return func(obj any) (feed.Row, bool) {
		entry, ok := obj.(*testcrcache.Entry)
		if !ok || entry.IsEmptied() || len(namespaces) > 0 && !slices.Contains(namespaces, entry.Spec().Namespace) {
			return feed.Row{}, false
		}
		s := entry.Spec()
		return feed.Row{
			Name: entry.Name, Pod: s.PodKey, IP: s.PodIP, Node: s.NodeName, Phase: s.Phase, CreatedAt: s.CreatedAt.Time,
		}, true
	}
}

func (p *parts) metricsConfig() metrics.Config {
	config := metrics.Config{
		Version: version.Version(),
		Phases:  func() iter.Seq[string] { return phases(p.testcrs) },
		AsOf: map[string]func() time.Time{
			"pods":                           p.pods.AsOf,
			v1.GroupVersionResource.Resource: p.testcrs.AsOf,
		},
		DriftKinds: []string{
			string(podinfolookup.TestcrDeleted), string(podinfolookup.TestcrEdited), string(podinfolookup.TestcrOrphaned),
		},
	}
	if p.history != nil {
		config.History = func() metrics.History {
			st := p.history.Stats()
			return metrics.History{
				IsUp: st.IsRecording, LastCommit: st.LastCommit, Pods: st.Lives, Failures: st.Failures, Overflows: st.Overflows, Bytes: st.Bytes,
			}
		}
	}
	return config
}

// phases yields the phase in each cached Testcr.
func phases(testcrs *testcrcache.Cache) iter.Seq[string] {
	return func(yield func(string) bool) {
		for entry := range testcrs.Entries {
			if !yield(entry.Spec().Phase) {
				return
			}
		}
	}
}
