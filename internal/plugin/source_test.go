package plugin

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

func TestStopped(t *testing.T) {
	now := time.Date(2026, 11, 27, 21, 14, 30, 0, time.Local)
	tests := []struct {
		last time.Time
		want string
	}{
		{last: now.Add(-70 * time.Second), want: "21:13 (1 min)"},
		{last: now.Add(-12 * time.Minute), want: "21:02 (12 min)"},
		{last: now.Add(-3 * time.Hour), want: "18:14 (3 h)"},
		{last: now.Add(-30 * time.Hour), want: "2026-11-26 15:14 (30 h)"},
		{last: now.Add(-72 * time.Hour), want: "2026-11-24 21:14 (3 days)"},
	}
	for _, test := range tests {
		if got, want := stopped(test.last, now), "warning: no controller has kept the Testcrs since "+test.want; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFew(t *testing.T) {
	tests := map[string]string{"a": "a", "a b c d e": "a, b, c, d, e", "a b c d e f g": "a, b, c, d, e and 2 others"}
	for names, want := range tests {
		if got := few(strings.Fields(names)); got != want {
			t.Errorf("%s: %q, want %q", names, got, want)
		}
	}
}

func TestServerClock(t *testing.T) {
	dates := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", <-dates) }))
	defer server.Close()
	clock := &serverClock{}
	client := &http.Client{Transport: clock.wrap(http.DefaultTransport)}
	defer client.CloseIdleConnections()
	ahead := time.Now().Add(time.Hour)
	for _, date := range []string{ahead.UTC().Format(http.TimeFormat), "no date"} { // the second changes nothing
		dates <- date
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if off := clock.now().Sub(time.Now().Add(time.Hour)).Abs(); off > 5*time.Second {
			t.Errorf("%s: %s off", date, off)
		}
	}
}

func TestPodSource_selections(t *testing.T) {
	ip := func(kind query.Kind, text string) query.Term {
		term, err := query.ParseAs(kind, text)
		if err != nil {
			t.Fatal(err)
		}
		return term
	}
	everything := []selection{{}}
	tests := []struct {
		name       string
		namespaces []string
		term       *query.Term
		want       []selection
	}{
		{name: "all Pods", namespaces: []string{""}, want: everything},
		{name: "all Pods of two namespaces", namespaces: []string{"a", "b"}, want: []selection{{namespace: "a"}, {namespace: "b"}}},
		{name: "a key", namespaces: []string{""}, term: &query.Term{Kind: query.Key, Text: "a/web"},
			want: []selection{{namespace: "a", fields: "metadata.name=web"}}},
		{name: "a key elsewhere", namespaces: []string{"b"}, term: &query.Term{Kind: query.Key, Text: "a/web"}},
		{name: "a name", namespaces: []string{"a", "b"}, term: &query.Term{Kind: query.Name, Text: "web"},
			want: []selection{{namespace: "a", fields: "metadata.name=web"}, {namespace: "b", fields: "metadata.name=web"}}},
		{name: "a node", namespaces: []string{""}, term: &query.Term{Kind: query.Node, Text: "n"}, want: []selection{{fields: "spec.nodeName=n"}}},
		{name: "a namespace", namespaces: []string{""}, term: &query.Term{Kind: query.Namespace, Text: "a"}, want: []selection{{namespace: "a"}}},
		{name: "a namespace elsewhere", namespaces: []string{"b"}, term: &query.Term{Kind: query.Namespace, Text: "a"}},
		{name: "an IP, which may be a second one", namespaces: []string{""}, term: new(ip(query.IP, "10.0.0.7")), want: everything},
		{name: "the IP of a node", namespaces: []string{""}, term: new(ip(query.HostIP, "10.0.0.7")), want: everything},
		{name: "a UID", namespaces: []string{""}, term: &query.Term{Kind: query.UID, Text: "u"}, want: everything},
		{name: "a workload", namespaces: []string{""}, term: &query.Term{Kind: query.Workload, Text: "web"}, want: everything},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := (&podSource{namespaces: test.namespaces}).selections(test.term)
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(selection{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	many := &podSource{namespaces: strings.Fields("a b c d e f g h i")}
	if _, isExact := many.selectionsOf(query.Term{Kind: query.Name, Text: "web"}); isExact {
		t.Error("a request for each of many namespaces")
	}
}

// fixed is a finder with one answer.
type fixed []*v1.Testcr

func (f fixed) listed() []*indexFinder { return nil }

func (f fixed) find(_ context.Context, terms []query.Term, _ bool) ([]answer, error) {
	found := make([]answer, len(terms))
	found[0].testcrs = append(found[0].testcrs, f...)
	return found, nil
}

// TestCheckedAnswerer_Bound has ten Testcrs whose Pods are gone: eight are compared.
func TestCheckedAnswerer_Bound(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	client := metadatafake.NewSimpleMetadataClient(scheme)
	var testcrs fixed
	for i := range 10 {
		testcrs = append(testcrs, testcr(fmt.Sprintf("p-%d", i), []string{"10.0.0.7"}))
	}
	var stderr bytes.Buffer
	src := &testcrSource{clients: &clients{metadata: client}, isKept: true, errOut: &stderr}
	a := &checkedAnswerer{source: src, testcrs: testcrs, checks: maxChecks}
	q := question{text: "shop", terms: []query.Term{{Kind: query.Namespace, Text: "shop"}}}
	for _, want := range []int{2, 10} { // the bound is for all questions
		found, err := a.answer(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(found[0].testcrs); got != want {
			t.Errorf("%d answers, want %d", got, want)
		}
	}
	if n := len(client.Actions()); n != maxChecks {
		t.Errorf("%d requests, want %d", n, maxChecks)
	}
	if n := strings.Count(stderr.String(), "is outdated: that Pod is gone\n"); n != maxChecks {
		t.Errorf("%d notes: %s", n, &stderr)
	}
}

// lockedBuffer is written by the monitor and read by the test.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

// TestTestcrSource_monitor lets a heartbeat run out, return, and run out again.
func TestTestcrSource_monitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renewed := metav1.NowMicro()
		lease := &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "podinfolookup.heartbeat", Labels: map[string]string{v1.LabelManagedBy: v1.ManagedBy}},
			Spec:       coordinationv1.LeaseSpec{RenewTime: &renewed},
		}
		client := fake.NewClientset(lease)
		stderr := &lockedBuffer{}
		src := &testcrSource{clients: &clients{kube: client, clock: &serverClock{}}, isKept: true, errOut: stderr}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); src.monitor(ctx) }()
		warned := func(after time.Duration, want int) {
			t.Helper()
			<-time.After(after)
			synctest.Wait()
			if n := strings.Count(stderr.text(), ": what follows may be outdated\n"); n != want {
				t.Errorf("%d warnings, want %d: %s", n, want, stderr.text())
			}
		}
		warned(61*time.Second, 0)
		warned(5*time.Minute, 1)
		renewed = metav1.NowMicro()
		lease = lease.DeepCopy()
		lease.Spec.RenewTime = &renewed
		if _, err := client.CoordinationV1().Leases("ns").Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		warned(45*time.Second, 1)
		warned(2*time.Minute, 2)
		cancel()
		<-done
	})
}

func TestNewProgress(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = reader.Close(), writer.Close() }()
	for _, out := range []any{&bytes.Buffer{}, writer} {
		w := out.(interface{ Write([]byte) (int, error) })
		p := newProgress(printable.Lines{Writer: w})
		p.page(500, new(int64(500)))
		p.end()
		if p != nil {
			t.Errorf("%T is no terminal", out)
		}
	}
}
