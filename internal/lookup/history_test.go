package lookup_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
)

// record is a fake history.
type record struct {
	holders []history.Holder
	records []history.Record
	err     error
	block   chan struct{} // Find waits for it, unless it is nil

	mu            sync.Mutex
	asked         []history.Query
	running, most int // calls of Find
}

func (h *record) Find(ctx context.Context, q history.Query) (a history.Answer, err error) {
	h.mu.Lock()
	h.asked = append(h.asked, q)
	h.running++
	h.most = max(h.most, h.running)
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.running--
		h.mu.Unlock()
	}()
	if h.block != nil {
		select {
		case <-h.block:
		case <-ctx.Done():
			return a, ctx.Err()
		}
	}
	if len(q.Terms) == 0 {
		return a, history.ErrNoTerms
	}
	a.Records = h.records
	since, until := q.Since.UnixMilli(), q.Until.UnixMilli()
	for i := range h.holders {
		holder := &h.holders[i]
		isIn := holder.Interval.Earliest <= until && (q.Last || holder.Interval.Latest > since)
		for _, t := range q.Terms {
			isIn = isIn && t.Matches(&holder.Spec)
		}
		if isIn && (q.Allows == nil || q.Allows(holder.Spec.Namespace)) {
			a.Holders = append(a.Holders, *holder)
		}
	}
	if len(a.Holders) > q.Limit {
		a.Holders, a.More = a.Holders[:q.Limit], true
	}
	return a, h.err
}

const never = 1<<63 - 1 // the end of an interval without one

// day is in the past of each test.
var day = time.Date(2024, 11, 26, 0, 0, 0, 0, time.UTC)

func at(clock string) int64 {
	t, err := time.Parse("15:04:05", clock)
	if err != nil {
		panic(err)
	}
	return day.Add(t.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC))).UnixMilli()
}

func holder(namespace, name, ip string, i history.Interval) history.Holder {
	return history.Holder{Interval: i, Life: i, Spec: v1.TestcrSpec{
		PodKey: namespace + "/" + name, Namespace: namespace, PodName: name, PodUID: "uid-" + name, PodIP: ip, PodIPs: []string{ip}, NodeName: "node-1",
		Status: "Running", Phase: "Running", WorkloadKind: "Deployment", WorkloadName: "cart",
	}}
}

// newRecord returns a record of one IP: cart-1 until 03:00, web-1 from 03:05:00 on, with an
// end between 04:00 and 05:00, and cart-2 without an end. The namespace of web-1 is gone.
func newRecord() *record {
	return &record{
		holders: []history.Holder{
			holder("shop", "cart-2", "10.9.9.9", history.Interval{Earliest: at("05:10:00"), From: at("05:10:00"), To: never, Latest: never}),
			holder("gone", "web-1", "10.9.9.9", history.Interval{Earliest: at("03:05:00"), From: at("03:05:00"), To: at("04:00:00"), Latest: at("05:00:00")}),
			holder("shop", "cart-1", "10.9.9.9", history.Interval{Earliest: at("01:00:00"), From: at("01:30:00"), To: at("03:00:00"), Latest: at("03:00:00")}),
			holder("shop", "old", "10.9.9.8", history.Interval{Earliest: at("01:00:00"), From: at("01:00:00"), To: at("02:00:00"), Latest: at("02:00:00")}),
		},
		records: []history.Record{{
			Begins: day.Add(time.Hour), Ends: time.Now(),
			Gaps: []history.Gap{{From: day.Add(4 * time.Hour), To: day.Add(5 * time.Hour), Reason: history.ReasonStopped}},
		}},
	}
}

// pastAnswer is what these tests read of an answer about the past.
type pastAnswer struct {
	Error                 string
	Restricted, Unchecked bool
	Q, ReadAs             string
	LastHolder            *lookup.LastHolder
	PastNote              string
	history.Result
}

func askPast(t *testing.T, h http.Handler, path string) (code int, a pastAnswer, pods string) {
	t.Helper()
	w := get(t, h, path, "")
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v in %s", path, err, w.Body)
	}
	words := []string{}
	for i := range a.Items {
		words = append(words, a.Items[i].PodKey)
		if !a.Items[i].Certain {
			words = append(words, "?")
		}
	}
	return w.Code, a, strings.Join(words, " ")
}

func TestHistory(t *testing.T) {
	_, h := serveWith(t, lookup.Config{History: newRecord()}, shop()...)
	tests := map[string]struct {
		path, wantPods, wantError, wantReadAs string
		wantCode                              int
	}{
		"a moment":               {path: "/v1/pods?ip=10.9.9.9&at=2024-11-26T03:30:00Z", wantCode: 200, wantPods: "gone/web-1"},
		"a moment in another":    {path: "/v1/pods?ip=10.9.9.9&at=2024-11-26+02:00", wantCode: 200, wantPods: "shop/cart-1"},
		"an uncertain begin":     {path: "/v1/pods?ip=10.9.9.9&at=2024-11-26+01:10", wantCode: 200, wantPods: "shop/cart-1 ?"},
		"an uncertain end":       {path: "/v1/pods?ip=10.9.9.9&at=2024-11-26+04:30", wantCode: 200, wantPods: "gone/web-1 ?"},
		"a range":                {path: "/v1/pods?ip=10.9.9.9&since=2024-11-26+02:00&until=2024-11-26+06:00", wantCode: 200, wantPods: "shop/cart-2 gone/web-1 shop/cart-1"},
		"a range until now":      {path: "/v1/pods?ip=10.9.9.9&since=2024-11-26+06:00", wantCode: 200, wantPods: "shop/cart-2"},
		"two facts":              {path: "/v1/pods?ip=10.9.9.9&namespace=gone&since=2024-11-26+02:00", wantCode: 200, wantPods: "gone/web-1"},
		"an epoch":               {path: "/v1/pods?ip=10.9.9.9&at=1732588200", wantCode: 200, wantPods: "shop/cart-1"},
		"nobody":                 {path: "/v1/pods?ip=10.9.9.9&at=2024-11-26+03:02", wantCode: 404, wantError: "no Pod had ip 10.9.9.9 at 2024-11-26 03:02:00 UTC"},
		"nobody in a range":      {path: "/v1/pods?ip=10.0.0.1&since=2024-11-26+03:01&until=2024-11-26+03:02", wantCode: 404, wantError: "no Pod had ip 10.0.0.1 from 2024-11-26 03:01:00 to 2024-11-26 03:02:00 UTC"},
		"in a gap":               {path: "/v1/pods?ip=10.0.0.1&at=2024-11-26+04:02", wantCode: 404, wantError: "nothing was recorded at 2024-11-26 04:02:00 UTC: whether a Pod had ip 10.0.0.1 is not known"},
		"before the record":      {path: "/v1/pods?ip=10.9.9.9&at=2024-11-25", wantCode: 404, wantError: "nothing was recorded at 2024-11-25 00:00:00 UTC: whether a Pod had ip 10.9.9.9 is not known"},
		"a search":               {path: "/v1/search?q=10.9.9.9&at=2024-11-26+02:00", wantCode: 200, wantPods: "shop/cart-1", wantReadAs: "ip"},
		"a search by kind":       {path: "/v1/search?q=cart-1&by=name&at=2024-11-26+02:00", wantCode: 200, wantPods: "shop/cart-1", wantReadAs: "name"},
		"a search of a log line": {path: "/v1/search?q=dial+10.9.9.7:80+by+10.9.9.9&at=2024-11-26+02:00", wantCode: 200, wantPods: "shop/cart-1", wantReadAs: "ip"},
		"a search with filters":  {path: "/v1/search?q=10.9.9.9&namespace=gone&node=node-1&since=2024-11-26", wantCode: 200, wantPods: "gone/web-1", wantReadAs: "ip"},
		"a search of filters":    {path: "/v1/search?namespace=gone&since=2024-11-26", wantCode: 200, wantPods: "gone/web-1"},
		"a workload":             {path: "/v1/search?q=deploy/cart&at=2024-11-26+02:30", wantCode: 200, wantPods: "shop/cart-1", wantReadAs: "workload"},
		"a Service":              {path: "/v1/search?q=svc/cart&at=2024-11-26+02:00", wantCode: 404, wantError: "no Pod had workload service/cart, or key svc/cart (Services are not recorded) at 2024-11-26 02:00:00 UTC"},
		"a search for nobody": {
			path: "/v1/search?q=10.9.9.7&at=2024-11-26+02:00", wantCode: 404, wantError: "no Pod had ip 10.9.9.7, or hostip 10.9.9.7, or node 10.9.9.7, or name 10.9.9.7 at 2024-11-26 02:00:00 UTC",
		},
		"limit":               {path: "/v1/pods?namespace=shop&since=2024-11-26&limit=1", wantCode: 200, wantPods: "shop/cart-2"},
		"not a time":          {path: "/v1/pods?ip=10.9.9.9&at=soon", wantCode: 400, wantError: "at: \"soon\" is not a time: use 03:12, yesterday 03:12, mon 03:12, 2026-11-26, 2026-11-26T03:12:45Z, -2h or epoch seconds (a time without a zone is UTC here)"},
		"two kinds of time":   {path: "/v1/pods?ip=10.9.9.9&at=03:12&since=-1h", wantCode: 400, wantError: "at is one moment, since and until are a range: use one or the other (a time without a zone is UTC here)"},
		"until alone":         {path: "/v1/search?q=10.9.9.9&until=-1h", wantCode: 400, wantError: "until needs since, the begin of the range (a time without a zone is UTC here)"},
		"no fact":             {path: "/v1/pods?at=-1h", wantCode: 400, wantError: "a question about the past needs a fact: an IP, a name or a container ID"},
		"no text":             {path: "/v1/search?at=-1h", wantCode: 400, wantError: "a question about the past needs a fact: an IP, a name or a container ID"},
		"a part of a name":    {path: "/v1/search?q=car*&at=-1h", wantCode: 400, wantError: "name car*: the past is searched for whole facts and beginnings of container IDs, not for ranges and parts"},
		"a range of IPs":      {path: "/v1/search?q=10.9.9.0/24&at=-1h", wantCode: 400, wantError: "ip 10.9.9.0/24: the past is searched for whole facts and beginnings of container IDs, not for ranges and parts"},
		"a parameter of now":  {path: "/v1/pods?ip=10.9.9.9&at=-1h&phase=Running", wantCode: 400, wantError: "phase: it is for the present only, not for at or since"},
		"an order":            {path: "/v1/search?q=10.9.9.9&at=-1h&sort=age", wantCode: 400, wantError: "sort: it is for the present only, not for at or since"},
		"a wrong limit":       {path: "/v1/search?q=10.9.9.9&at=-1h&limit=501", wantCode: 400, wantError: `limit: "501" is not a number from 1 to 500`},
		"a cluster of now":    {path: "/v1/pods?ip=10.9.9.9&cluster=east", wantCode: 400, wantError: "cluster: it goes with at or since: the present is that of this cluster alone"},
		"the Pod of the page": {path: "/?pod=shop/cart-1&at=2024-11-26+02:00", wantCode: 200, wantPods: "shop/cart-1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(test.path, "/?") {
				if w := get(t, h, test.path, "text/plain"); w.Code != test.wantCode || !strings.Contains(w.Body.String(), test.wantPods) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				return
			}
			code, a, pods := askPast(t, h, test.path)
			got := []any{code, pods, a.Error, a.ReadAs}
			if diff := cmp.Diff([]any{test.wantCode, test.wantPods, test.wantError, test.wantReadAs}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if text := get(t, h, test.path, "text/plain"); text.Code != test.wantCode || !strings.HasPrefix(text.Body.String(), test.wantError) {
				t.Errorf("as text: %d %s", text.Code, text.Body)
			}
		})
	}
}

func TestHistory_NotRecorded(t *testing.T) {
	_, h := serve(t, shop()...)
	for _, path := range []string{"/v1/pods?ip=10.9.9.9&at=-1h", "/v1/search?q=10.9.9.9&since=-1h"} {
		code, a, _ := askPast(t, h, path)
		if code != http.StatusBadRequest || !strings.Contains(a.Error, "--history=FILE") {
			t.Errorf("%s: %d %q", path, code, a.Error)
		}
	}
	if _, a, _ := askPast(t, h, "/v1/pods?ip=10.9.9.9"); a.LastHolder != nil || a.PastNote != "" {
		t.Errorf("there is a past: %+v", a)
	}
}

func TestHistory_Text(t *testing.T) {
	past := newRecord()
	past.records[0].Namespaces = []string{"shop", "gone"}
	_, h := serveWith(t, lookup.Config{History: past}, shop()...)
	body := get(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26&until=2024-11-26+06:00", "text/plain").Body.String()
	body, _, _ = strings.Cut(body, "\nrecorded from ")
	want := `from 2024-11-26 00:00:00 to 2024-11-26 06:00:00 UTC

FROM                                                  TO                                                    POD           IP         NODE     LAST STATUS   WORKLOAD          UID          NOTE
2024-11-26 05:10:00                                   now                                                   shop/cart-2   10.9.9.9   node-1   Running       deployment/cart   uid-cart-2   
2024-11-26 03:05:00                                   between 2024-11-26 04:00:00 and 2024-11-26 05:00:00   gone/web-1    10.9.9.9   node-1   Running       deployment/cart   uid-web-1    
between 2024-11-26 01:00:00 and 2024-11-26 01:30:00   2024-11-26 03:00:00                                   shop/cart-1   10.9.9.9   node-1   Running       deployment/cart   uid-cart-1   
`
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	tests := map[string]struct {
		path string
		want []string
	}{
		"a moment that is uncertain": {"/v1/pods?ip=10.9.9.9&at=2024-11-26+04:30", []string{"may have had it: the times are uncertain"}},
		"the edges": {"/v1/pods?ip=10.9.9.9&since=2024-11-26", []string{
			"\nrecorded from 2024-11-26 01:00:00 to ", ", namespaces shop, gone only\n", "\nthe record begins 2024-11-26 01:00:00: what was before is not known\n",
			"\nnot recorded from 2024-11-26 04:00:00 to 2024-11-26 05:00:00: the program did not run\n", "\nall times are UTC\n",
		}},
		"nobody":  {"/v1/pods?ip=10.0.0.1&at=2024-11-26+03:02", []string{"\nrecorded from 2024-11-26 01:00:00 to ", "\nall times are UTC\n"}},
		"of more": {"/v1/pods?ip=10.9.9.9&since=2024-11-26&limit=1", []string{"\nthere are more: ask for a shorter range, or with limit=500\n"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			body := get(t, h, test.path, "text/plain").Body.String()
			for _, want := range test.want {
				if !strings.Contains(body, want) {
					t.Errorf("%q is not in\n%s", want, body)
				}
			}
		})
	}
}

func TestHistory_EndOfRecord(t *testing.T) {
	past := newRecord()
	past.records[0].Ends = day.Add(6 * time.Hour)
	_, h := serveWith(t, lookup.Config{History: past}, shop()...)
	body := get(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26+05:30", "text/plain").Body.String()
	for _, want := range []string{"after 2024-11-26 06:00:00", "\nthe record ends 2024-11-26 06:00:00: what was since is not known\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	if code, a, _ := askPast(t, h, "/v1/pods?ip=10.9.9.1&at=2024-11-26+07:00"); code != 404 || !strings.HasPrefix(a.Error, "nothing was recorded at ") {
		t.Errorf("%d %s", code, a.Error)
	}
}

func TestHistory_Clusters(t *testing.T) {
	past := newRecord()
	past.records = []history.Record{{Cluster: "east", Begins: day, Ends: time.Now()}, {Cluster: "west"}}
	past.holders[0].Cluster = "east"
	_, h := serveWith(t, lookup.Config{History: past, ClusterName: "east"}, shop()...)
	for path, want := range map[string][]string{
		"/v1/pods?ip=10.9.9.9&at=-1h": nil, "/v1/pods?ip=10.9.9.9&at=-1h&cluster=": nil, "/v1/pods?ip=10.9.9.9&at=-1h&cluster=west": {"west"},
	} {
		past.asked = nil
		askPast(t, h, path)
		if diff := cmp.Diff(want, past.asked[0].Clusters); diff != "" {
			t.Errorf("%s: clusters (-want +got):\n%s", path, diff)
		}
	}
	body := get(t, h, "/v1/pods?ip=10.9.9.9&at=-1h", "text/plain").Body.String()
	for _, want := range []string{"CLUSTER", "\ncluster east: recorded from ", "\ncluster west: nothing is recorded yet\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	past.err = &history.UnknownClusterError{Name: "north", Known: []string{"east", "west"}}
	if code, a, _ := askPast(t, h, "/v1/pods?ip=10.9.9.9&at=-1h&cluster=north"); code != 400 || !strings.Contains(a.Error, `"north"`) {
		t.Errorf("%d %s", code, a.Error)
	}
}

func TestHistory_Access(t *testing.T) {
	past := newRecord()
	_, all := serveWith(t, lookup.Config{History: past}, shop()...)
	h := &restricted{next: all, allowed: []string{"shop"}}
	code, a, pods := askPast(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26")
	if code != 200 || pods != "shop/cart-2 shop/cart-1" || !a.Restricted || a.Unchecked {
		t.Errorf("%d %s restricted=%t unchecked=%t", code, pods, a.Restricted, a.Unchecked)
	}
	if got := h.take(); got != "gone shop" {
		t.Errorf("reviewed %s", got)
	}
	code, hidden, _ := askPast(t, h, "/v1/pods?ip=10.9.9.9&at=2024-11-26+03:30")
	_, nobody, _ := askPast(t, h, "/v1/pods?ip=10.9.9.7&at=2024-11-26+03:30")
	if code != 404 || strings.ReplaceAll(hidden.Error, "9.9.9", "9.9.7") != nobody.Error {
		t.Errorf("what is hidden differs from what is nowhere: %d %q, %q", code, hidden.Error, nobody.Error)
	}
	if text := get(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26", "text/plain").Body.String(); !strings.Contains(text, "\nonly namespaces in which you may list pods, and none that is gone\n") {
		t.Error(text)
	}
	if w := get(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26&cluster=west", ""); w.Code != http.StatusForbidden {
		t.Errorf("another cluster: %d %s", w.Code, w.Body)
	}
	if w := get(t, &restricted{next: all}, "/v1/pods?ip=10.9.9.9&since=2024-11-26", ""); w.Code != http.StatusForbidden || strings.TrimSpace(w.Body.String()) != refusal {
		t.Errorf("no namespace: %d %s", w.Code, w.Body)
	}
	if w := get(t, &restricted{next: all, err: errors.New("away")}, "/v1/pods?ip=10.9.9.9&since=2024-11-26", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("no review: %d %s", w.Code, w.Body)
	}
}

func TestHistory_Unavailable(t *testing.T) {
	past := newRecord()
	past.err = errors.Join(history.ErrNotReady, errors.New("disk /data is full"))
	_, all := serveWith(t, lookup.Config{History: past}, shop()...)
	w := get(t, all, "/v1/pods?ip=10.9.9.9&at=-1h", "")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "disk /data is full") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	h := &restricted{next: all, allowed: []string{"shop"}}
	if w := get(t, h, "/v1/pods?ip=10.9.9.9&at=-1h", ""); w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("restricted: %d %s", w.Code, w.Body)
	}
	if code, a, _ := askPast(t, all, "/v1/pods?ip=10.9.9.9"); code != 404 || a.LastHolder != nil || !strings.HasPrefix(a.PastNote, "the history does not answer at the moment") {
		t.Errorf("%d %+v", code, a)
	}
}

// TestHistory_Bounded shows that a store that does not answer takes a few requests only,
// and delays none about the present.
func TestHistory_Bounded(t *testing.T) {
	past := newRecord()
	past.block = make(chan struct{})
	_, h := serveWith(t, lookup.Config{History: past}, shop()...)
	var asking sync.WaitGroup
	var busy atomic.Int32
	for range 40 {
		asking.Go(func() {
			if w := get(t, h, "/v1/pods?ip=10.9.9.9&at=-1h", ""); w.Code != http.StatusServiceUnavailable {
				t.Errorf("%d %s", w.Code, w.Body)
			} else if strings.Contains(w.Body.String(), "too many questions about the past at once") {
				busy.Add(1)
			}
		})
	}
	asking.Wait()
	if n := past.most; n > 4 || busy.Load() < 28 {
		t.Errorf("%d questions to the store at once, %d of 40 were refused", n, busy.Load())
	}
	began := time.Now()
	code, a, _ := askPast(t, h, "/v1/pods?ip=10.9.9.9")
	if took := time.Since(began); code != 404 || took > 2*time.Second || a.PastNote == "" {
		t.Errorf("%d %q after %s", code, a.PastNote, took)
	}
	close(past.block)
}

func TestHistory_Bytes(t *testing.T) {
	past := newRecord()
	large := past.holders[0]
	large.Spec.Labels = map[string]string{"a": strings.Repeat("x", 100_000)}
	past.holders = nil
	for range 100 {
		past.holders = append(past.holders, large)
	}
	_, h := serveWith(t, lookup.Config{History: past}, shop()...)
	w := get(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26", "")
	if n := w.Body.Len(); n > 2<<20 || strings.Count(w.Body.String(), `"omitted":["labels"]`) < 80 {
		t.Errorf("%d bytes", n)
	}
	for i := range past.holders {
		past.holders[i].Spec.Labels, past.holders[i].Spec.PodIPs = nil, []string{"10.9.9.9", strings.Repeat("x", 100_000)}
	}
	w = get(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26", "")
	var a pastAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Body.Len() > 5<<20 || !a.More || len(a.Items) > 42 {
		t.Errorf("%d bytes, %d items, more=%t, %v", w.Body.Len(), len(a.Items), a.More, err)
	}
}

func TestHistory_Gaps(t *testing.T) {
	past := newRecord()
	past.records[0].Gaps = nil
	for i := range 1000 {
		from := day.Add(time.Duration(i) * time.Minute)
		past.records[0].Gaps = append(past.records[0].Gaps, history.Gap{From: from, To: from.Add(time.Second), Reason: history.ReasonOutage})
	}
	_, h := serveWith(t, lookup.Config{History: past}, shop()...)
	_, a, _ := askPast(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26")
	gaps := a.Records[0].Gaps
	if len(gaps) != 200 || !gaps[0].From.Equal(day) || !gaps[0].To.Equal(day.Add(800*time.Minute+time.Second)) {
		t.Errorf("%d gaps, the first is %+v", len(gaps), gaps[0])
	}
	if text := get(t, h, "/v1/pods?ip=10.9.9.9&since=2024-11-26", "text/plain").Body.String(); !strings.Contains(text, "\n190 more gaps\n") {
		t.Error(text)
	}
}

func TestFormerly(t *testing.T) {
	past := newRecord()
	past.holders = past.holders[1:] // nobody has the IP now
	_, h := serveWith(t, lookup.Config{History: past}, shop()...)
	tests := map[string]struct {
		path     string
		change   func(*record)
		wantText string // but for the age
	}{
		"an uncertain end": {path: "/v1/pods?ip=10.9.9.9", wantText: "ip 10.9.9.9: gone/web-1 had it until between 2024-11-26 04:00:00 and 2024-11-26 05:00:00 UTC (* ago)"},
		"an end":           {path: "/v1/pods?ip=10.9.9.8", wantText: "ip 10.9.9.8: shop/old had it until 2024-11-26 02:00:00 UTC (* ago); not all was recorded since, so another Pod may have had it later"},
		"a search":         {path: "/v1/search?q=10.9.9.9", wantText: "ip 10.9.9.9: gone/web-1 had it until between 2024-11-26 04:00:00 and 2024-11-26 05:00:00 UTC (* ago)"},
		"a Pod":            {path: "/v1/pods/gone/web-1", wantText: "key gone/web-1: gone/web-1 had it until between 2024-11-26 04:00:00 and 2024-11-26 05:00:00 UTC (* ago)"},
		"nobody":           {path: "/v1/pods?ip=10.9.9.7", wantText: "no Pod of the record had it, which begins 2024-11-26 01:00:00 UTC"},
		"not unique":       {path: "/v1/pods?node=node-1&namespace=gone"},
		"a text":           {path: "/v1/search?q=10.9.9"},
		"a state":          {path: "/v1/search?q=10.9.9.9&state=ready"},
		"found":            {path: "/v1/pods?ip=10.0.0.1"},
		"the end is not recorded yet": {
			path: "/v1/pods?ip=10.9.9.9", change: func(r *record) {
				r.holders[0].Interval.To, r.holders[0].Interval.Latest, r.records[0].Ends = never, never, day.Add(6*time.Hour)
			},
			wantText: "ip 10.9.9.9: gone/web-1 had it until after 2024-11-26 06:00:00 UTC, when the record ends",
		},
		"never certain": {
			path: "/v1/pods?ip=10.9.9.9", change: func(r *record) { r.holders[0].Interval.From, r.holders[0].Interval.To = at("05:00:00"), at("05:00:00") },
			wantText: "ip 10.9.9.9: gone/web-1 may have had it until 2024-11-26 05:00:00 UTC (* ago)",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := h
			if test.change != nil {
				changed := newRecord()
				changed.holders = changed.holders[1:]
				test.change(changed)
				_, h = serveWith(t, lookup.Config{History: changed}, shop()...)
			}
			_, a, _ := askPast(t, h, test.path)
			got := a.PastNote
			if a.LastHolder != nil {
				got = a.LastHolder.Text
			}
			if before, after, ok := strings.Cut(test.wantText, "*"); !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after) || ok == (a.LastHolder == nil) && test.change == nil {
				t.Errorf("got %q, want %q", got, test.wantText)
			}
			text := get(t, h, test.path, "text/plain").Body.String()
			if !strings.Contains(text, got) {
				t.Errorf("%q is not in\n%s", got, text)
			}
		})
	}

	t.Run("the fields", func(t *testing.T) {
		_, a, _ := askPast(t, h, "/v1/pods?ip=10.9.9.9")
		want := &lookup.LastHolder{
			Pod: "gone/web-1", UID: "uid-web-1", From: time.UnixMilli(at("03:05:00")).UTC(), Until: time.UnixMilli(at("04:00:00")).UTC(),
			UntilLatest: time.UnixMilli(at("05:00:00")).UTC(),
		}
		a.LastHolder.Text = ""
		if diff := cmp.Diff(want, a.LastHolder); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("of a namespace that is gone", func(t *testing.T) {
		_, a, _ := askPast(t, &restricted{next: h, allowed: []string{"shop"}}, "/v1/pods?ip=10.9.9.9")
		if a.LastHolder == nil || a.LastHolder.Pod != "shop/cart-1" {
			t.Errorf("%+v", a.LastHolder)
		}
	})
	t.Run("the past is not asked about what there is", func(t *testing.T) {
		past.asked = nil
		askPast(t, h, "/v1/search?q="+url.QueryEscape("10.0.0.1"))
		if len(past.asked) > 0 {
			t.Errorf("asked %+v", past.asked)
		}
	})
}

func TestHistory_Page(t *testing.T) {
	_, h := serveWith(t, lookup.Config{History: newRecord()}, shop()...)
	_, none := serve(t, shop()...)
	tests := map[string]struct {
		path    string
		handler http.Handler
		want    []string
		wantNot []string
	}{
		"the present": {
			path: "/", want: []string{`name="at" value=""`, `data-pod="shop/web-1"`}, wantNot: []string{`id="past"`, `class="timeline"`},
		},
		"the present without a history": {path: "/", handler: none, want: []string{`data-pod="shop/web-1"`}, wantNot: []string{`name="at"`, `id="past"`}},
		"a moment": {
			path: "/?q=10.9.9.9&at=2024-11-26+02:00",
			want: []string{
				`value="2024-11-26T02:00:00Z"`, "The past: <strong>as of 26 Nov 2024 02:00:00 UTC</strong>", `href="?q=10.9.9.9">Back to now`, `data-pod="shop/cart-1"`,
				`data-label="From">between 2024-11-26 01:00:00 and 2024-11-26 01:30:00<`, `data-label="To">2024-11-26 03:00:00<`,
				`?at=2024-11-26T02%3A00%3A00Z&amp;pod=shop%2Fcart-1&amp;q=10.9.9.9`, "<li>recorded from 2024-11-26 01:00:00 to ", "<li>all times are UTC</li>", "Who had 10.9.9.9: 3 in the record",
			},
			wantNot: []string{`data-pod="shop/web-1"`, `data-sort="age"`},
		},
		"an uncertain Pod": {path: "/?q=10.9.9.9&at=2024-11-26+04:30", want: []string{"may have had it: the times are uncertain"}},
		"a range":          {path: "/?q=10.9.9.9&since=2024-11-26", want: []string{"The past: <strong>from 26 Nov 2024 00:00:00 UTC to ", `name="since"`, `data-pod="gone/web-1"`}},
		"a Pod": {
			path: "/?pod=shop/cart-1&at=2024-11-26+02:00", want: []string{"<dialog id=\"detail\" aria-labelledby=\"title\" open>", "last status:<wbr> Running", "<li>recorded from ", "between 2024-11-26 01:00:00 and 2024-11-26 01:30:00"},
		},
		"nobody":        {path: "/?q=10.9.9.7&at=2024-11-26+02:00", want: []string{"no Pod had ip 10.9.9.7", `id="past"`}},
		"a wrong time":  {path: "/?q=10.9.9.9&at=soon", want: []string{"at: &#34;soon&#34; is not a time", `id="past"`}, wantNot: []string{"data-pod"}},
		"no fact":       {path: "/?at=-1h", want: []string{"a question about the past needs a fact"}, wantNot: []string{"data-pod"}},
		"not recorded":  {path: "/?q=10.0.0.1&at=-1h", handler: none, want: []string{"--history=FILE"}, wantNot: []string{"data-pod"}},
		"the last Pod":  {path: "/?q=10.9.9.8", want: []string{"shop/old had it until 2024-11-26 02:00:00 UTC"}},
		"other filters": {path: "/?q=10.9.9.9&state=ready&sort=age&at=2024-11-26+02:00", want: []string{`data-pod="shop/cart-1"`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if test.handler == nil {
				test.handler = h
			}
			w := get(t, test.handler, test.path, "text/html")
			for _, want := range test.want {
				if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
					t.Errorf("%d, %q is not in\n%s", w.Code, want, w.Body)
				}
			}
			for _, not := range test.wantNot {
				if strings.Contains(w.Body.String(), not) {
					t.Errorf("%q is in\n%s", not, w.Body)
				}
			}
		})
	}
}
