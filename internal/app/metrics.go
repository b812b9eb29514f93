package app

import (
	"errors"
	"net/http"
	"runtime"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/clientgo/leaderelection" // leader_election_*
	_ "k8s.io/component-base/metrics/prometheus/restclient"              // rest_client_*
	_ "k8s.io/component-base/metrics/prometheus/workqueue"               // workqueue_*

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

const (
	metricsPrefix = "podinfolookup"
	// maxScrapes are served at once; one renders some 500 lines.
	maxScrapes = 4
)

// The metrics of this program, which docs/metrics.md describes; a test holds the
// two together. What client-go counts is registered by the imports above.
var (
	syncsTotal = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: metricsPrefix, Name: "syncs_total", StabilityLevel: metrics.ALPHA,
		Help: "Pods compared with their Testcrs, by result: add, update, delete, unchanged (no request was needed), foreign (left alone), error (tried again).",
	}, []string{"result"})
	syncSeconds = metrics.NewHistogramVec(&metrics.HistogramOpts{
		Namespace: metricsPrefix, Name: "sync_duration_seconds", StabilityLevel: metrics.ALPHA,
		Help:    "How long a sync took, with its requests, by result.",
		Buckets: metrics.ExponentialBuckets(16e-6, 4, 11), // 16 µs, a sync without a request, to 17 s
	}, []string{"result"})
	writesTotal = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: metricsPrefix, Name: "writes_total", StabilityLevel: metrics.ALPHA,
		Help: "Testcrs written, by verb (add, update, delete) and reason.",
	}, []string{"verb", "reason"})
	writeLag = metrics.NewHistogram(&metrics.HistogramOpts{
		Namespace: metricsPrefix, Name: "write_lag_seconds", StabilityLevel: metrics.ALPHA,
		Help:    "From the first event of a change of a Pod to the end of the write that answers it.",
		Buckets: []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
	})
	driftTotal = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: metricsPrefix, Name: "drift_repaired_total", StabilityLevel: metrics.ALPHA,
		Help: "Testcrs that others had changed and that were put right, by kind: testcr_deleted, testcr_edited, orphaned.",
	}, []string{"kind"})

	testcrsDesc = metrics.NewDesc(metricsPrefix+"_testcrs",
		"Testcrs in the cache, by phase of the Pod.", []string{"phase"}, nil, metrics.ALPHA, "")
	ageDesc = metrics.NewDesc(metricsPrefix+"_informer_age_seconds",
		"How old the cache of a resource may be: at most 15 while its watch is open.", []string{"resource"}, nil, metrics.ALPHA, "")
	buildDesc = metrics.NewDesc(metricsPrefix+"_build_info",
		"1, labelled with the version of this program.", []string{"version", "go_version"}, nil, metrics.ALPHA, "")
)

func registerMetrics(caches *cacheMetrics) error {
	var errs []error
	for _, m := range []metrics.Registerable{syncsTotal, syncSeconds, writesTotal, writeLag, driftTotal} {
		errs = append(errs, legacyregistry.Register(m))
	}
	// A counter that has never counted is there all the same, as 0: an alert on
	// its increase would miss the first one.
	for _, kind := range []podinfolookup.Reason{podinfolookup.TestcrDeleted, podinfolookup.TestcrEdited, podinfolookup.TestcrOrphaned} {
		driftTotal.WithLabelValues(string(kind))
	}
	syncsTotal.WithLabelValues(resultError)
	return errors.Join(append(errs, legacyregistry.CustomRegister(caches))...)
}

const resultError = "error"

// countSync is the controller's Synced.
func countSync(verb podinfolookup.Verb, took time.Duration, err error) {
	result := string(verb)
	if err != nil {
		result = resultError
	}
	syncsTotal.WithLabelValues(result).Inc()
	syncSeconds.WithLabelValues(result).Observe(took.Seconds())
}

// countWrite is part of the controller's Wrote.
func countWrite(w podinfolookup.Write) {
	writesTotal.WithLabelValues(string(w.Verb), string(w.Reason)).Inc()
	if !w.Since.IsZero() {
		writeLag.Observe(time.Since(w.Since).Seconds())
	}
	if w.Reason.Repairs() {
		driftTotal.WithLabelValues(string(w.Reason)).Inc()
	}
}

// cacheMetrics reads the caches when it is asked.
type cacheMetrics struct {
	metrics.BaseStableCollector

	version string
	goes    string // the version of Go
	testcrs cache.Store
	heard   map[string]func() time.Time // by resource, up to when its caches are true
}

func newCacheMetrics(pods map[string]*podinfolookup.PodInformer, testcrs *podinfolookup.TestcrInformer) *cacheMetrics {
	oldest := func() time.Time {
		at := time.Now()
		for _, informer := range pods {
			if heard := informer.Heard(); heard.Before(at) {
				at = heard
			}
		}
		return at
	}
	return &cacheMetrics{
		version: version.Version(), goes: runtime.Version(), testcrs: testcrs.GetStore(),
		heard: map[string]func() time.Time{"pods": oldest, podinfolookup.GroupVersionResource.Resource: testcrs.Heard},
	}
}

// DescribeWithStability names the metrics.
func (*cacheMetrics) DescribeWithStability(ch chan<- *metrics.Desc) {
	ch <- testcrsDesc
	ch <- ageDesc
	ch <- buildDesc
}

// CollectWithStability sends their values.
func (c *cacheMetrics) CollectWithStability(ch chan<- metrics.Metric) {
	// Whatever a forged Testcr says, there are only so many series.
	phases := map[string]int{"Pending": 0, "Running": 0, "Succeeded": 0, "Failed": 0, "Unknown": 0, "other": 0}
	for _, obj := range c.testcrs.List() {
		phase := obj.(*podinfolookup.Testcr).Spec.Phase
		if _, known := phases[phase]; !known {
			phase = "other"
		}
		phases[phase]++
	}
	for phase, n := range phases {
		ch <- metrics.NewLazyConstMetric(testcrsDesc, metrics.GaugeValue, float64(n), phase)
	}
	for resource, heard := range c.heard {
		if at := heard(); !at.IsZero() {
			ch <- metrics.NewLazyConstMetric(ageDesc, metrics.GaugeValue, max(0, time.Since(at).Seconds()), resource)
		}
	}
	ch <- metrics.NewLazyConstMetric(buildDesc, metrics.GaugeValue, 1, c.version, c.goes)
}

func metricsHandler() http.Handler {
	return metrics.HandlerFor(legacyregistry.DefaultGatherer, metrics.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}
