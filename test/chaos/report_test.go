package chaos_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weiyuanke/PodInfoLookup/test/auditor"
)

const (
	// errorsPerSecond is how often one replica may log the same error: a second of
	// the log's clock may have parts of two of the program's.
	errorsPerSecond = 6

	// perRequest is where client-go logs each answer that was cut off by its
	// deadline, which nobody else can keep it from: one for each request under way.
	perRequest = "request.go:"

	// What the replicas may take more at the end than before the first fault.
	moreGoroutines = 20
	moreMemory     = 1.5
)

// report is what a run has come to.
type report struct {
	Seed     uint64    `json:"seed"`
	Minutes  float64   `json:"minutes"`
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	Plan     []fault   `json:"plan"`
	Outcomes []outcome `json:"outcomes"`

	InFlight      time.Duration             `json:"inFlight"`
	PodsPerSecond float64                   `json:"podsPerSecond"`
	Asked         int64                     `json:"requestsOfTheWorkload"`
	Failed        int64                     `json:"ofTheseFailed"`
	Hostile       map[string]int            `json:"hostilePods"` // created, by their shape
	Patched       int                       `json:"hostilePatches"`
	Before        []usage                   `json:"before"`
	After         []usage                   `json:"after"`
	Ends          map[string]map[string]int `json:"ends"` // by replica and reason
	Errors        []errorRate               `json:"errors"`
	Bad           []string                  `json:"bad"`
	Quiet         auditor.Staleness         `json:"staleBetweenFaults"`
	Audit         auditor.Report            `json:"audit"`

	podsAtStart int
}

// outcome is what became of one fault.
type outcome struct {
	Kind      string        `json:"kind"`
	Began     time.Time     `json:"began"`
	Healed    time.Time     `json:"healed"`
	Took      time.Duration `json:"took"` // from then on until all was well
	Restarted []string      `json:"restarted,omitempty"`
	Found     int           `json:"found"` // by the auditor, by then
	Usage     []usage       `json:"usage"`
}

// usage is what a replica takes at one moment.
type usage struct {
	Replica    string    `json:"replica"`
	Goroutines int       `json:"goroutines"`
	Bytes      int       `json:"bytes"`
	Leads      bool      `json:"leads"`
	Started    time.Time `json:"started"` // the process
}

// errorRate is one kind of error in a log.
type errorRate struct {
	Replica string `json:"replica"`
	Error   string `json:"error"`
	Total   int    `json:"total"`
	Worst   int    `json:"worstInASecond"`
}

func (r *report) dir(t *testing.T, cluster string) string {
	t.Helper()
	dir := filepath.Join(cluster, "report")
	must(t, os.MkdirAll(dir, 0o750))
	return dir
}

// byName reports whether the run was asked for by name. If not, it is part of all
// tests, and others share the machine.
func (*report) byName() bool { return os.Getenv("CHAOS_MINUTES") != "" }

// end takes note of the load, when it ends.
func (r *report) end(w *world) {
	r.End = time.Now()
	r.PodsPerSecond = float64(w.auditor.Report().Pods-r.podsAtStart) / r.End.Sub(r.Start).Seconds()
	r.Asked, r.Failed = w.workload.asked.Load(), w.workload.failed.Load()
	r.Hostile, r.Patched = map[string]int{}, w.workload.hostile.patched
	for i, n := range w.workload.hostile.made {
		r.Hostile[shapes[i].name] = n
	}
	r.Quiet = w.auditor.Staleness(func(s auditor.Sample) bool {
		return !slices.ContainsFunc(r.Outcomes, func(o outcome) bool {
			return s.Begin.Before(o.Healed.Add(o.Took+r.InFlight)) && s.Begin.Add(s.Took).After(o.Began)
		})
	})
}

func (r *report) takeLog(of *replica) {
	of.mu.Lock()
	defer of.mu.Unlock()
	if r.Ends == nil {
		r.Ends = map[string]map[string]int{}
	}
	r.Ends[of.name] = of.ends
	r.Bad = append(r.Bad, of.bad...)
	for _, place := range slices.Sorted(maps.Keys(of.errors.total)) {
		r.Errors = append(r.Errors, errorRate{of.name, place, of.errors.total[place], of.errors.worst[place]})
	}
}

// problems are all reasons for which a run has failed.
func (r *report) problems() (all []string) {
	for _, f := range r.Audit.Findings {
		all = append(all, f.String())
	}
	all = append(all, r.Bad...)
	for _, e := range r.Errors {
		if e.Worst > errorsPerSecond && !strings.HasPrefix(e.Error, perRequest) {
			all = append(all, fmt.Sprintf("%s logged %d times in one second: %s", e.Replica, e.Worst, e.Error))
		}
	}
	if len(r.Before) != 2 || len(r.After) != 2 {
		return append(all, fmt.Sprintf("what the replicas take is not known: %v, %v", r.Before, r.After))
	}
	goroutines, bytes := most(r.Before)
	goroutinesAfter, bytesAfter := most(r.After)
	if goroutinesAfter > goroutines+moreGoroutines {
		all = append(all, fmt.Sprintf("%d goroutines at the end, %d before", goroutinesAfter, goroutines))
	}
	if float64(bytesAfter) > moreMemory*float64(bytes) {
		all = append(all, fmt.Sprintf("%d MiB of memory at the end, %d before", bytesAfter>>20, bytes>>20))
	}
	return all
}

func most(all []usage) (goroutines, bytes int) {
	for _, u := range all {
		goroutines, bytes = max(goroutines, u.Goroutines), max(bytes, u.Bytes)
	}
	return goroutines, bytes
}

// write leaves the report beside the logs, whatever has become of the run.
func (r *report) write(t *testing.T, cluster string) {
	t.Helper()
	data, err := json.MarshalIndent(r, "", "  ")
	must(t, err)
	dir := r.dir(t, cluster)
	must(t, os.WriteFile(filepath.Join(dir, "report.json"), append(data, '\n'), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "report.md"), []byte(r.markdown()), 0o600))
	fmt.Print(r.markdown())
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Chaos, seed %d\n\n%d of %d faults in %s; %.1f Pods/s; %d of %d requests of the workload failed.\n\n", r.Seed,
		len(r.Outcomes), len(r.Plan), r.End.Sub(r.Start).Round(time.Second), r.PodsPerSecond, r.Failed, r.Asked)
	b.WriteString("| hostile Pods with | created |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(r.Hostile)) {
		fmt.Fprintf(&b, "| %s | %d |\n", name, r.Hostile[name])
	}
	fmt.Fprintf(&b, "| a patch while they ran | %d |\n\n", r.Patched)
	b.WriteString("| fault | times | all well after, median | worst |\n|---|---|---|---|\n")
	took := map[string][]time.Duration{}
	for i := range r.Outcomes {
		took[r.Outcomes[i].Kind] = append(took[r.Outcomes[i].Kind], r.Outcomes[i].Took)
	}
	const digits = 10 * time.Millisecond
	for _, kind := range slices.Sorted(maps.Keys(took)) {
		all := slices.Sorted(slices.Values(took[kind]))
		fmt.Fprintf(&b, "| %s | %d | %s | %s |\n", kind, len(all), all[len(all)/2].Round(digits), all[len(all)-1].Round(digits))
	}
	b.WriteString("\n| | goroutines | memory |\n|---|---|---|\n")
	for name, all := range map[string][]usage{"before": r.Before, "after": r.After} {
		for _, u := range all {
			fmt.Fprintf(&b, "| %s, %s | %d | %d MiB |\n", u.Replica, name, u.Goroutines, u.Bytes>>20)
		}
	}
	b.WriteString("\n| error | replica | in all | most in a second |\n|---|---|---|---|\n")
	for _, e := range r.Errors {
		fmt.Fprintf(&b, "| %s | %s | %d | %d |\n", e.Error, e.Replica, e.Total, e.Worst)
	}
	fmt.Fprintf(&b, "\nA Testcr counted as wrong after %s.\n", r.InFlight)
	fmt.Fprintf(&b, "\nEnds of processes: %v.\n\nBetween faults: %s.\n\n%s", r.Ends, r.Quiet, r.Audit.Markdown())
	for _, bad := range r.Bad {
		fmt.Fprintf(&b, "- %s\n", bad)
	}
	return b.String()
}
