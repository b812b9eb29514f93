package metrics

import (
	"errors"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/metrics/testutil"
)

// registered is true in a process that runs the test again: there is one registry.
var registered bool

// register registers the metrics, or sets them back.
func register(t *testing.T) {
	t.Helper()
	if registered {
		syncsTotal.Reset()
		writesTotal.Reset()
		driftTotal.DeleteLabelValues("testcr_edited")
		return
	}
	registered = true
	err := Register(Config{
		Version:    "v1.2.3",
		Phases:     func() iter.Seq[string] { return slices.Values([]string{"Running", "Running", "Failed", "forged"}) },
		DriftKinds: []string{"testcr_deleted", "testcr_edited", "orphaned"},
		AsOf: map[string]func() time.Time{
			"pods":    func() time.Time { return time.Now().Add(-time.Minute) },
			"testcrs": func() time.Time { return time.Time{} }, // not listed yet
		},
		History: func() History {
			return History{IsUp: true, LastCommit: time.Unix(1700000000, 5e8), Pods: 3, Failures: 2, Overflows: 1, Bytes: 4096}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func scrape(t *testing.T) string {
	t.Helper()
	response := httptest.NewRecorder()
	Handler().ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodGet, Path, http.NoBody))
	return response.Body.String()
}

func TestHandler(t *testing.T) {
	register(t)
	ObserveSync("unchanged", time.Millisecond, nil)
	ObserveSync("add", time.Millisecond, errors.New("no"))
	ObserveWrite(Write{Verb: "add", Reason: "pod_changed", Since: time.Now()})
	ObserveWrite(Write{Verb: "update", Reason: "testcr_edited", Repairs: true})
	text := scrape(t)
	for _, want := range []string{
		`podinfolookup_testcrs{phase="Running"} 2`, `podinfolookup_testcrs{phase="Failed"} 1`, `podinfolookup_testcrs{phase="Pending"} 0`,
		`podinfolookup_testcrs{phase="other"} 1`, `podinfolookup_syncs_total{result="unchanged"} 1`, `podinfolookup_syncs_total{result="error"} 1`,
		`podinfolookup_writes_total{reason="pod_changed",verb="add"} 1`, `podinfolookup_writes_total{reason="testcr_edited",verb="update"} 1`,
		`podinfolookup_drift_repaired_total{kind="testcr_edited"} 1`, `podinfolookup_drift_repaired_total{kind="orphaned"} 0`,
		`podinfolookup_history_up 1`, `podinfolookup_history_last_commit_timestamp_seconds 1.7000000005e+09`, `podinfolookup_history_pods_total 3`,
		`podinfolookup_history_failures_total 2`, `podinfolookup_history_overflows_total 1`, `podinfolookup_history_bytes 4096`,
		`podinfolookup_build_info{go_version="` + runtime.Version() + `",version="v1.2.3"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if !regexp.MustCompile(`(?m)^podinfolookup_write_lag_seconds_count [1-9]`).MatchString(text) {
		t.Error("the lag was not observed")
	}
	if !regexp.MustCompile(`(?m)^podinfolookup_informer_age_seconds\{resource="pods"\} 60\.`).MatchString(text) ||
		strings.Contains(text, `podinfolookup_informer_age_seconds{resource="testcrs"}`) {
		t.Error("the ages of the caches are wrong")
	}
	var ours strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, namespace+"_") {
			ours.WriteString(line)
		}
	}
	problems, err := testutil.NewPromLinter(strings.NewReader(ours.String())).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	metricsAreDocumented(t)
}

func TestObserveWrite_WithoutAChangeOfThePod(t *testing.T) {
	register(t)
	lags := func() string {
		return regexp.MustCompile(`(?m)^podinfolookup_write_lag_seconds_count .*`).FindString(scrape(t))
	}
	before := lags()
	ObserveWrite(Write{Verb: "add", Reason: "caught_up"})
	if after := lags(); after != before || before == "" {
		t.Errorf("%q became %q", before, after)
	}
}

// metricsAreDocumented holds the table of docs/metrics.md to what is gathered.
func metricsAreDocumented(t *testing.T) {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), namespace+"_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		slices.Sort(labels)
		help := strings.TrimPrefix(f.GetHelp(), "[ALPHA] ")
		want["`"+f.GetName()+"`"] = strings.ToLower(f.GetType().String()) + " | " + strings.Join(labels, ", ") + " | " + help
	}
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(data)) {
		cells := strings.SplitN(strings.Trim(strings.TrimSpace(line), "|"), "|", 4)
		if len(cells) != 4 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`"+namespace) {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		got[cells[0]] = strings.Join(cells[1:], " | ")
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
		t.Errorf("docs/metrics.md (-code +documented):\n%s", diff)
	}
}
