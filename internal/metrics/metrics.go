// Package metrics registers and serves the metrics of this program, beside those
// of client-go and of the Go runtime.
package metrics

import (
	"errors"
	"iter"
	"net/http"
	"runtime"
	"time"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"
	_ "k8s.io/component-base/metrics/prometheus/clientgo/leaderelection" // leader_election_*
	_ "k8s.io/component-base/metrics/prometheus/restclient"              // rest_client_*
	_ "k8s.io/component-base/metrics/prometheus/workqueue"               // workqueue_*
)

const (
	// Path is where Prometheus scrapes by default.
	Path = "/metrics"

	// maxInFlight bounds the scrapes at once; one renders some 500 lines.
	maxInFlight = 4

	namespace = "podinfolookup"

	resultError = "error"
)

// The metrics of this program. A test compares them with docs/metrics.md. Those of
// client-go are registered by the imports above.
var (
	syncsTotal = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: namespace, Name: "syncs_total", StabilityLevel: metrics.ALPHA,
		Help: "Pods compared with their Testcrs, by result: add, update, delete, unchanged (no request was needed), " +
			"foreign (left alone), error (tried again).",
	}, []string{"result"})
	syncSeconds = metrics.NewHistogramVec(&metrics.HistogramOpts{
		Namespace: namespace, Name: "sync_duration_seconds", StabilityLevel: metrics.ALPHA,
		Help:    "How long a sync took, with its requests, by result.",
		Buckets: metrics.ExponentialBuckets(16e-6, 4, 11), // 16 µs, a sync without a request, to 17 s
	}, []string{"result"})
	writesTotal = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: namespace, Name: "writes_total", StabilityLevel: metrics.ALPHA,
		Help: "Testcrs written, by verb (add, update, delete) and reason.",
	}, []string{"verb", "reason"})
	writeLag = metrics.NewHistogram(&metrics.HistogramOpts{
		Namespace: namespace, Name: "write_lag_seconds", StabilityLevel: metrics.ALPHA,
		Help:    "From the first event of a change of a Pod to the end of the write that answers it.",
		Buckets: []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
	})
	driftTotal = metrics.NewCounterVec(&metrics.CounterOpts{
		Namespace: namespace, Name: "drift_repaired_total", StabilityLevel: metrics.ALPHA,
		Help: "Testcrs that others had changed and that were put right, by kind: testcr_deleted, testcr_edited, orphaned.",
	}, []string{"kind"})

	testcrsDesc = metrics.NewDesc(namespace+"_testcrs",
		"Testcrs in the cache, by phase of the Pod.", []string{"phase"}, nil, metrics.ALPHA, "")
	ageDesc = metrics.NewDesc(namespace+"_informer_age_seconds",
		"How old the cache of a resource may be: at most 15 while its watch is open.", []string{"resource"}, nil,
		metrics.ALPHA, "")
	historyDescs = historyMetrics{
		up:         historyDesc("up", "1 while changes of Pods are recorded as they come, 0 while the store fails or another replica records."),
		lastCommit: historyDesc("last_commit_timestamp_seconds", "When changes were last stored: at least every 5 s while the store works."),
		pods:       historyDesc("pods_total", "Pods whose recording began."),
		failures:   historyDesc("failures_total", "Failures of the store. It is tried again."),
		overflows:  historyDesc("overflows_total", "Times that changes were dropped, because the store was away for too long. Each is a gap in the history."),
		bytes:      historyDesc("bytes", "Size of the history's file with its log."),
	}

	buildDesc = metrics.NewDesc(namespace+"_build_info",
		"1, labelled with the version of this program.", []string{"version", "go_version"}, nil, metrics.ALPHA, "")
)

// Config is what the gauges are read from at each scrape.
type Config struct {
	Version string // of this program
	// Phases are the phases of the Pods of all Testcrs in the cache.
	Phases func() iter.Seq[string]
	// AsOf returns, by resource, up to when the cache has all changes; zero before
	// the first list.
	AsOf map[string]func() time.Time
	// DriftKinds are the reasons of repairs.
	DriftKinds []string
	// History returns the state of the history. It is nil without one.
	History func() History
}

// History is the state of the history.
type History struct {
	IsUp                      bool
	LastCommit                time.Time
	Pods, Failures, Overflows int64
	Bytes                     int64
}

type historyMetrics struct{ up, lastCommit, pods, failures, overflows, bytes *metrics.Desc }

func (m *historyMetrics) all() []*metrics.Desc {
	return []*metrics.Desc{m.up, m.lastCommit, m.pods, m.failures, m.overflows, m.bytes}
}

func historyDesc(name, help string) *metrics.Desc {
	return metrics.NewDesc(namespace+"_history_"+name, help, nil, nil, metrics.ALPHA, "")
}

func (m *historyMetrics) collect(ch chan<- metrics.Metric, h History) {
	up := 0.
	if h.IsUp {
		up = 1
	}
	ch <- metrics.NewLazyConstMetric(m.up, metrics.GaugeValue, up)
	if !h.LastCommit.IsZero() {
		ch <- metrics.NewLazyConstMetric(m.lastCommit, metrics.GaugeValue, float64(h.LastCommit.UnixMilli())/1000)
	}
	ch <- metrics.NewLazyConstMetric(m.pods, metrics.CounterValue, float64(h.Pods))
	ch <- metrics.NewLazyConstMetric(m.failures, metrics.CounterValue, float64(h.Failures))
	ch <- metrics.NewLazyConstMetric(m.overflows, metrics.CounterValue, float64(h.Overflows))
	ch <- metrics.NewLazyConstMetric(m.bytes, metrics.GaugeValue, float64(h.Bytes))
}

// Register registers all metrics, once in a process. Without it nothing is
// counted.
func Register(c Config) error {
	var errs []error
	for _, m := range []metrics.Registerable{syncsTotal, syncSeconds, writesTotal, writeLag, driftTotal} {
		errs = append(errs, legacyregistry.Register(m))
	}
	// Counters start at 0: an alert on their increase would miss the first event of a
	// series that appears with it.
	for _, kind := range c.DriftKinds {
		driftTotal.WithLabelValues(kind)
	}
	syncsTotal.WithLabelValues(resultError)
	errs = append(errs, legacyregistry.CustomRegister(&cacheCollector{config: c, goVersion: runtime.Version()}))
	return errors.Join(errs...)
}

// Handler serves all metrics.
func Handler() http.Handler {
	return metrics.HandlerFor(legacyregistry.DefaultGatherer, metrics.HandlerOpts{MaxRequestsInFlight: maxInFlight})
}

// ObserveSync counts a sync. An error replaces its result.
func ObserveSync(result string, took time.Duration, err error) {
	if err != nil {
		result = resultError
	}
	syncsTotal.WithLabelValues(result).Inc()
	syncSeconds.WithLabelValues(result).Observe(took.Seconds())
}

// Write is a successful write of a Testcr.
type Write struct {
	Verb, Reason string
	Since        time.Time // the first event of the Pod's change; zero if no change of a Pod led to it
	Repairs      bool      // the reason is drift
}

// ObserveWrite counts a write.
func ObserveWrite(w Write) {
	writesTotal.WithLabelValues(w.Verb, w.Reason).Inc()
	if !w.Since.IsZero() {
		writeLag.Observe(time.Since(w.Since).Seconds())
	}
	if w.Repairs {
		driftTotal.WithLabelValues(w.Reason).Inc()
	}
}

// cacheCollector reads the caches at each scrape.
type cacheCollector struct {
	metrics.BaseStableCollector

	config    Config
	goVersion string
}

func (*cacheCollector) DescribeWithStability(ch chan<- *metrics.Desc) {
	ch <- testcrsDesc
	ch <- ageDesc
	ch <- buildDesc
	for _, desc := range historyDescs.all() {
		ch <- desc
	}
}

func (c *cacheCollector) CollectWithStability(ch chan<- metrics.Metric) {
	// A forged Testcr may have any phase, but must not add series.
	phases := map[string]int{"Pending": 0, "Running": 0, "Succeeded": 0, "Failed": 0, "Unknown": 0, "other": 0}
	for phase := range c.config.Phases() {
		if _, known := phases[phase]; !known {
			phase = "other"
		}
		phases[phase]++
	}
	for phase, n := range phases {
		ch <- metrics.NewLazyConstMetric(testcrsDesc, metrics.GaugeValue, float64(n), phase)
	}
	for resource, asOf := range c.config.AsOf {
		if at := asOf(); !at.IsZero() {
			ch <- metrics.NewLazyConstMetric(ageDesc, metrics.GaugeValue, max(0, time.Since(at).Seconds()), resource)
		}
	}
	if c.config.History != nil {
		historyDescs.collect(ch, c.config.History())
	}
	ch <- metrics.NewLazyConstMetric(buildDesc, metrics.GaugeValue, 1, c.config.Version, c.goVersion)
}
