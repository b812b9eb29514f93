package chaos_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/test/auditor"
)

const (
	soakMinutes = 60
	soakEvery   = 10 * time.Second

	// What the replicas may take more in the last third of a soak than in the
	// first, as medians: what leaks with the work shows more than that.
	soakGoroutines = 5
	soakFiles      = 3
	soakMemory     = 1.15
)

// soakSample is what is seen at one moment of a soak, by replica, and of the
// changes of Pods since the moment before.
type soakSample struct {
	At       float64       `json:"at"` // seconds
	Pods     int           `json:"pods"`
	Replicas []replicaTake `json:"replicas"`
	Changes  int           `json:"changes"`
	P50      float64       `json:"p50Ms"`
	P99      float64       `json:"p99Ms"`
	Max      float64       `json:"maxMs"`
}

type replicaTake struct {
	Leads      bool    `json:"leads"`
	MiB        float64 `json:"mib"`
	Heap       float64 `json:"heapMiB"`
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"files"`
	Depth      float64 `json:"queueDepth"`
}

// TestSoak has the workload of TestChaos and no fault, for SOAK_MINUTES, and
// looks whether anything grows. The program is built as it is for use: the race
// detector's own memory grows with each defer of a goroutine that goes on
// (go.dev/doc/articles/race_detector), so a worker's does with each sync.
func TestSoak(t *testing.T) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	minutes := number(t, "SOAK_MINUTES", soakMinutes)
	w := newWorld(t, &report{Seed: uint64(number(t, "CHAOS_SEED", 1)), Minutes: minutes})
	defer w.report.write(t, w.cluster.dir)
	stop := w.load(t)
	w.warmUp(t)

	file, err := os.Create(filepath.Join(w.report.dir(t, w.cluster.dir), "soak.jsonl"))
	must(t, err)
	defer func() { _ = file.Close() }()
	lines := json.NewEncoder(file)
	var samples []soakSample
	for end := w.report.Start.Add(time.Duration(minutes * float64(time.Minute))); time.Now().Before(end); {
		since := time.Now()
		must(t, pause(t.Context(), soakEvery))
		s, err := w.sample(t, since)
		if err != nil {
			t.Error(err)
			continue
		}
		must(t, lines.Encode(s))
		samples = append(samples, s)
	}
	stop()
	w.judge(t)
	for _, problem := range grown(samples) {
		t.Error(problem)
	}
}

// sample looks at both replicas, and at the changes that a Testcr has told since.
func (w *world) sample(t *testing.T, since time.Time) (soakSample, error) {
	t.Helper()
	w.auditor.Judge()
	ended := w.auditor.Staleness(func(s auditor.Sample) bool { return s.Begin.Add(s.Took).After(since) })
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s := soakSample{
		At: time.Since(w.report.Start).Seconds(), Pods: w.auditor.Report().Pods,
		Changes: ended.Changes, P50: ms(ended.P50), P99: ms(ended.P99), Max: ms(ended.Max),
	}
	const mib = 1 << 20
	for _, r := range w.replicas {
		m, err := r.metrics(t.Context())
		if err != nil {
			return s, fmt.Errorf("after %.0f s: %w", s.At, err)
		}
		s.Replicas = append(s.Replicas, replicaTake{
			Leads: m[leads] == 1, MiB: m["process_resident_memory_bytes"] / mib, Heap: m["go_memstats_heap_inuse_bytes"] / mib,
			Goroutines: m["go_goroutines"], Files: m["process_open_fds"], Depth: m[`workqueue_depth{name="pods"}`],
		})
	}
	return s, nil
}

// grown compares the last third with the first.
func grown(samples []soakSample) (problems []string) {
	third := len(samples) / 3
	if third == 0 {
		return []string{"too short to tell whether anything grows"}
	}
	for i := range samples[0].Replicas {
		compare := func(what string, of func(replicaTake) float64, most func(first float64) float64) {
			first := medianOf(samples[:third], func(s soakSample) float64 { return of(s.Replicas[i]) })
			last := medianOf(samples[len(samples)-third:], func(s soakSample) float64 { return of(s.Replicas[i]) })
			fmt.Printf("replica-%d: %s %.1f in the first third, %.1f in the last\n", i, what, first, last)
			if last > most(first) {
				problems = append(problems, fmt.Sprintf("replica-%d: %s %.1f in the first third, %.1f in the last", i, what, first, last))
			}
		}
		more := func(n float64) func(float64) float64 { return func(first float64) float64 { return first + n } }
		compare("memory, MiB,", func(r replicaTake) float64 { return r.MiB }, func(first float64) float64 { return first * soakMemory })
		compare("goroutines", func(r replicaTake) float64 { return r.Goroutines }, more(soakGoroutines))
		compare("open files", func(r replicaTake) float64 { return r.Files }, more(soakFiles))
		compare("queue depth", func(r replicaTake) float64 { return r.Depth }, more(podsPerSecond))
	}
	return problems
}

func medianOf(samples []soakSample, of func(soakSample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func TestGrowthIsFound(t *testing.T) {
	steady := replicaTake{MiB: 100, Goroutines: 50, Files: 20}
	of := func(change func(*replicaTake, int)) []soakSample {
		var all []soakSample
		for i := range 30 {
			r := steady
			change(&r, i)
			all = append(all, soakSample{Replicas: []replicaTake{r}})
		}
		return all
	}
	tests := []struct {
		name    string
		samples []soakSample
		want    int
	}{
		{"all is flat", of(func(*replicaTake, int) {}), 0},
		{"one sample is high", of(func(r *replicaTake, i int) {
			if i == 29 {
				r.MiB, r.Goroutines, r.Files, r.Depth = 300, 200, 90, 500
			}
		}), 0},
		{"memory leaks", of(func(r *replicaTake, i int) { r.MiB += float64(i) }), 1},
		{"goroutines leak", of(func(r *replicaTake, i int) { r.Goroutines += float64(i) / 2 }), 1},
		{"files leak", of(func(r *replicaTake, i int) { r.Files += float64(i) / 4 }), 1},
		{"the queue grows", of(func(r *replicaTake, i int) { r.Depth = float64(2 * i) }), 1},
		{"there is next to nothing", of(func(*replicaTake, int) {})[:2], 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := grown(test.samples); len(got) != test.want {
				t.Errorf("%d problems, want %d: %q", len(got), test.want, got)
			}
		})
	}
}
