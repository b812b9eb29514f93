package app

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/metrics/testutil"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// registered is true in a process that runs the test again: there is one registry.
var registered bool

// register registers the metrics, or sets them back.
func register(t *testing.T) {
	t.Helper()
	if registered {
		syncsTotal.Reset()
		writesTotal.Reset()
		driftTotal.DeleteLabelValues(string(podinfolookup.TestcrEdited))
		return
	}
	registered = true
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	for name, phase := range map[string]string{"a": "Running", "b": "Running", "c": "Failed", "d": "forged"} {
		testcr := &podinfolookup.Testcr{Spec: podinfolookup.TestcrSpec{Phase: phase}}
		testcr.Name = name
		if err := store.Add(testcr); err != nil {
			t.Fatal(err)
		}
	}
	err := registerMetrics(&cacheMetrics{version: "v1.2.3", goes: "go1", testcrs: store, heard: map[string]func() time.Time{
		"pods":    func() time.Time { return time.Now().Add(-time.Minute) },
		"testcrs": func() time.Time { return time.Time{} }, // not listed yet
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// count counts one of each.
func count() {
	pod := cache.NewObjectName("shop", "web")
	countSync("unchanged", time.Millisecond, nil)
	countSync(podinfolookup.Added, time.Millisecond, errors.New("no"))
	countWrite(podinfolookup.Write{Verb: podinfolookup.Added, Reason: podinfolookup.PodChanged, Pod: pod, Since: time.Now()})
	countWrite(podinfolookup.Write{Verb: podinfolookup.Updated, Reason: podinfolookup.TestcrEdited, Pod: pod})
}

func TestMetrics(t *testing.T) {
	register(t)
	count()
	answer := httptest.NewRecorder()
	metricsHandler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, metricsPath, http.NoBody))
	text := answer.Body.String()
	for _, want := range []string{
		`podinfolookup_testcrs{phase="Running"} 2`, `podinfolookup_testcrs{phase="Failed"} 1`, `podinfolookup_testcrs{phase="Pending"} 0`,
		`podinfolookup_testcrs{phase="other"} 1`, `podinfolookup_syncs_total{result="unchanged"} 1`, `podinfolookup_syncs_total{result="error"} 1`,
		`podinfolookup_writes_total{reason="pod_changed",verb="add"} 1`, `podinfolookup_writes_total{reason="testcr_edited",verb="update"} 1`,
		`podinfolookup_drift_repaired_total{kind="testcr_edited"} 1`, `podinfolookup_drift_repaired_total{kind="orphaned"} 0`,
		`podinfolookup_build_info{go_version="go1",version="v1.2.3"} 1`,
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
		if strings.Contains(line, metricsPrefix+"_") {
			ours.WriteString(line)
		}
	}
	problems, err := testutil.NewPromLinter(strings.NewReader(ours.String())).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	metricsAreDocumented(t)
}

func TestAWriteWithoutAChangeOfThePodHasNoLag(t *testing.T) {
	register(t)
	lags := func() string {
		answer := httptest.NewRecorder()
		metricsHandler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, metricsPath, http.NoBody))
		return regexp.MustCompile(`(?m)^podinfolookup_write_lag_seconds_count .*`).FindString(answer.Body.String())
	}
	before := lags()
	countWrite(podinfolookup.Write{Verb: podinfolookup.Added, Reason: podinfolookup.CaughtUp})
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
		if !strings.HasPrefix(f.GetName(), metricsPrefix+"_") {
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
		if len(cells) != 4 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`"+metricsPrefix) {
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
