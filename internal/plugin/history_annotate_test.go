package plugin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/when"
)

const (
	pastUID       = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5a"
	pastContainer = "4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a69788796a5b4c3d2e1f0"
)

// newLogRecorder has 10.0.0.7 of cart-1, and then of cart-2 since a time that is not known.
func newLogRecorder(t *testing.T) *recorder {
	t.Helper()
	first, second := holderItem("shop/cart-1", "03:00:00", "03:10:00"), holderItem("shop/cart-2", "03:20:00", "")
	second.FromEarliest = clock("03:10:00")
	first.Containers = []v1.Container{{Name: "app", ID: "containerd://" + pastContainer}}
	agent := holderItem("ops/agent", "01:00:00", "")
	agent.HostNetwork = true
	return &recorder{t: t, records: newRecord(), items: map[string][]past.Item{
		"ip=10.0.0.7":                     {second, first},
		"ip=192.0.2.1":                    {agent},
		"ip=fd00::7":                      {first},
		"uid=" + pastUID:                  {first},
		"container=" + pastContainer:      {first},
		"container=" + pastContainer[:12]: {first},
	}}
}

func TestAnnotatePast(t *testing.T) {
	at := func(text string) string { return utc(text) + " " }
	tests := []struct {
		name  string
		args  []string
		in    string
		out   string
		err   []string
		noErr string
		code  int
	}{
		{name: "before it had the IP", in: at("02:59:59") + "10.0.0.7\n", out: at("02:59:59") + "10.0.0.7\n"},
		{name: "a Pod", in: at("03:05:00") + "10.0.0.7:80 [fd00::7]\n", out: at("03:05:00") + "10.0.0.7[shop/cart-1]:80 [fd00::7[shop/cart-1]]\n",
			err: []string{"note: a log from " + shown("03:05:00") + " to "}, noErr: "before the first"},
		{name: "perhaps a Pod", in: at("03:15:00") + "10.0.0.7\n", out: at("03:15:00") + "10.0.0.7[shop/cart-2 ?]\n"},
		{name: "the next Pod", in: at("03:20:00") + "10.0.0.7\n", out: at("03:20:00") + "10.0.0.7[shop/cart-2]\n"},
		{name: "after the record", in: at("12:00:01") + "10.0.0.7\n", out: at("12:00:01") + "10.0.0.7[shop/cart-2 ?]\n",
			err: []string{"note: the record ends at " + shown("12:00:00")}},
		{name: "before the record", in: at("03:00:00") + "10.0.0.9\n" + at("00:30:00") + "10.0.0.7\n", out: at("03:00:00") + "10.0.0.9\n" + at("00:30:00") + "10.0.0.7\n",
			err: []string{"note: the record begins at " + shown("01:00:00")}},
		{name: "a line without a timestamp", in: at("03:05:00") + "x\n  at 10.0.0.7\n", out: at("03:05:00") + "x\n  at 10.0.0.7[shop/cart-1]\n"},
		{name: "before the first timestamp", in: "10.0.0.7\n\n" + at("03:05:00") + "10.0.0.7", out: "10.0.0.7\n\n" + at("03:05:00") + "10.0.0.7[shop/cart-1]",
			err: []string{"note: 1 lines before the first timestamp have no labels\n"}},
		{name: "a zone", args: []string{"--timezone=Etc/GMT-1"}, in: clock("04:05:00").Format(time.DateTime) + " 10.0.0.7\n",
			out: clock("04:05:00").Format(time.DateTime) + " 10.0.0.7[shop/cart-1]\n", err: []string{"note: a log from " + clock("04:05:00").Format(time.DateTime) + " to "}},
		{name: "an IP of a node", in: at("03:05:00") + "192.0.2.1\n", out: at("03:05:00") + "192.0.2.1[node/worker-1 ops/agent]\n"},
		{name: "a UID, at any time", in: at("11:00:00") + "pod" + pastUID + " " + strings.ToUpper(pastUID) + "\n",
			out: at("11:00:00") + "pod" + pastUID + "[shop/cart-1] " + strings.ToUpper(pastUID) + "[shop/cart-1]\n"},
		{name: "a container, at any time", in: at("11:00:00") + pastContainer + " " + pastContainer[:12] + "\n",
			out: at("11:00:00") + pastContainer + "[shop/cart-1 app] " + pastContainer[:12] + "[shop/cart-1 app]\n"},
		{name: "IDs of traces are not asked for", in: at("03:05:00") + pastContainer[:16] + " " + pastContainer[:32] + " 127.0.0.1\n",
			out: at("03:05:00") + pastContainer[:16] + " " + pastContainer[:32] + " 127.0.0.1\n"},
		{name: "JSON", args: []string{"--json"}, in: `{"ts":"` + utc("03:15:00") + `","ip":"10.0.0.7"}` + "\n",
			out: `{"ts":"` + utc("03:15:00") + `","ip":"10.0.0.7","podinfo":[{"fact":"10.0.0.7","pod":"shop/cart-2","uncertain":true}]}` + "\n"},
		{name: "days", in: pastDay.AddDate(0, 0, -1).Format(time.RFC3339) + " 10.0.0.7\n" + at("03:05:00") + "10.0.0.7\n" + pastDay.AddDate(0, 0, 1).Format(time.RFC3339) + " 10.0.0.7\n",
			out: pastDay.AddDate(0, 0, -1).Format(time.RFC3339) + " 10.0.0.7\n" + at("03:05:00") + "10.0.0.7[shop/cart-1]\n" + pastDay.AddDate(0, 0, 1).Format(time.RFC3339) + " 10.0.0.7[shop/cart-2 ?]\n"},
		{name: "a time in the future", in: "2190-01-01T00:00:00Z 10.0.0.7\n", out: "2190-01-01T00:00:00Z 10.0.0.7\n"},
		{name: "an unknown zone", args: []string{"--timezone=Mars"}, code: exitUsage, err: []string{"error: --timezone=\"Mars\": it is no time zone"}},
		{name: "Services", args: []string{"--services"}, code: exitUsage, err: []string{"error: --services and --nodes are about the present"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(newLogRecorder(t))
			defer server.Close()
			out, errOut, code := ask(t, server.URL, test.in, append([]string{"annotate", "--history"}, test.args...)...)
			if out != test.out || code != test.code {
				t.Errorf("code %d, standard output:\n%s\nwant:\n%s", code, out, test.out)
			}
			hasInOrder(t, errOut, test.err)
			if test.noErr != "" && strings.Contains(errOut, test.noErr) {
				t.Errorf("%q is in standard error:\n%s", test.noErr, errOut)
			}
		})
	}

	t.Run("a flag of --history", func(t *testing.T) {
		_, errOut, code := ask(t, "http://127.0.0.1:1", "", "annotate")
		if errOut != "error: --podinfo-server is for --history\n" || code != exitUsage {
			t.Errorf("code %d, standard error %q", code, errOut)
		}
	})

	t.Run("each fact is asked for once", func(t *testing.T) {
		r := newLogRecorder(t)
		server := httptest.NewServer(r)
		defer server.Close()
		line := at("03:05:00") + "10.0.0.7 10.0.0.9 " + pastUID + "\n"
		in := strings.Repeat(line, 10_000)
		out, _, _ := ask(t, server.URL, in, "annotate", "--history")
		labeled := at("03:05:00") + "10.0.0.7[shop/cart-1] 10.0.0.9 " + pastUID + "[shop/cart-1]\n"
		if out != strings.Repeat(labeled, 10_000) || len(r.asked) != 3 {
			t.Errorf("asked %q", r.asked)
		}
	})

	t.Run("a server that does not answer", func(t *testing.T) {
		r := &recorder{t: t, status: http.StatusBadRequest, text: "the past is not recorded"}
		server := httptest.NewServer(r)
		defer server.Close()
		_, errOut, code := ask(t, server.URL, at("03:05:00")+"10.0.0.7\n", "annotate", "--history")
		if !strings.Contains(errOut, "error: no answer about the past: ") || code != exitMissing {
			t.Errorf("code %d, standard error %q", code, errOut)
		}
	})

	t.Run("a server that answers in part", func(t *testing.T) {
		r := newLogRecorder(t)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if request.URL.Query().Get("ip") == "10.0.0.8" {
				http.Error(w, "broken", http.StatusInternalServerError)
				return
			}
			r.ServeHTTP(w, request)
		}))
		defer server.Close()
		out, errOut, code := ask(t, server.URL, at("03:05:00")+"10.0.0.7 10.0.0.9\n10.0.0.8\n", "annotate", "--history")
		if out != at("03:05:00")+"10.0.0.7[shop/cart-1] 10.0.0.9\n10.0.0.8\n" || code != exitMissing {
			t.Errorf("code %d, standard output %q", code, out)
		}
		hasInOrder(t, errOut, []string{"warning: facts have no labels: no answer about the past: ", ": broken\n", "warning: 1 facts have no labels, because there was no answer about them\n"})
	})
}

// crowd is a replica that has a Pod for each minute with 10.0.0.7.
type crowd struct {
	t     *testing.T
	limit int
}

func (c crowd) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	since, err := time.Parse(time.RFC3339, request.URL.Query().Get("since"))
	if err != nil {
		c.t.Error(err)
	}
	until, err := time.Parse(time.RFC3339, request.URL.Query().Get("until"))
	if err != nil {
		c.t.Error(err)
	}
	r := &recorder{t: c.t, items: map[string][]past.Item{}, records: []past.RecordResult{{Begins: pastDay, Ends: pastDay.Add(24 * time.Hour)}}}
	for at := until.Truncate(time.Minute); !at.Add(time.Minute).Before(since); at = at.Add(-time.Minute) {
		if len(r.items["ip=10.0.0.7"]) == c.limit {
			r.more = true
			break
		}
		item := holderItem(fmt.Sprintf("shop/cart-%d", at.Unix()/60), "00:00:00", "")
		item.From, item.To = at, at.Add(time.Minute)
		r.items["ip=10.0.0.7"] = append(r.items["ip=10.0.0.7"], item)
	}
	r.ServeHTTP(w, request)
}

func TestPastNames_narrows(t *testing.T) {
	var in, want strings.Builder
	for i := range 300 {
		at := pastDay.Add(time.Duration(i) * 4 * time.Minute)
		fmt.Fprintf(&in, "%s 10.0.0.7\n", at.Format(time.RFC3339))
		fmt.Fprintf(&want, "%s 10.0.0.7[shop/cart-%d]\n", at.Format(time.RFC3339), at.Unix()/60)
	}
	t.Run("ranges with all holders", func(t *testing.T) {
		server := httptest.NewServer(crowd{t, 50})
		defer server.Close()
		if out, errOut, _ := ask(t, server.URL, in.String(), "annotate", "--history"); out != want.String() {
			t.Errorf("standard output:\n%s\nwant:\n%s\nstandard error:\n%s", out, want.String(), errOut)
		}
	})
	t.Run("more holders than an answer has", func(t *testing.T) {
		server := httptest.NewServer(crowd{t, 1})
		defer server.Close()
		at := pastDay.Add(4 * time.Hour).Format(time.RFC3339)
		out, _, _ := ask(t, server.URL, at+" 10.0.0.7\n", "annotate", "--history")
		if out != at+" 10.0.0.7\n" && !strings.HasSuffix(out, " ?]\n") {
			t.Errorf("a label that is not marked: %q", out)
		}
	})
}

// newPastNames returns names that ask server.
func newPastNames(t testing.TB, server string) *pastNames {
	t.Helper()
	o := &options{IOStreams: genericiooptions.NewTestIOStreamsDiscard(), config: genericclioptions.NewConfigFlags(true)}
	h := &history{limit: time.Minute, slots: make(chan struct{}, replicasAtOnce), servers: []*historyServer{{name: "s", url: server}}}
	t.Cleanup(h.close)
	n := &pastNames{options: o, past: newPastLabels(), maxCached: maxCached, reader: when.Reader{Location: time.UTC}}
	n.labels = labels{past: n.past, facts: []fact{}}
	n.asker = &pastAsker{options: o, history: h}
	return n
}

func TestPastNames_full(t *testing.T) {
	r := &recorder{t: t, records: newRecord(), items: map[string][]past.Item{}}
	var in, want strings.Builder
	const ips = 700 // more than are asked for at once
	for i := range ips {
		ip := fmt.Sprintf("10.0.%d.%d", i/250, i%250)
		r.items["ip="+ip] = []past.Item{holderItem(fmt.Sprintf("shop/cart-%d", i), "03:00:00", "03:10:00")}
		fmt.Fprintf(&in, "%s %s 10.0.0.1\n", utc("03:05:00"), ip)
		fmt.Fprintf(&want, "%s %s[shop/cart-%d] 10.0.0.1[shop/cart-1]\n", utc("03:05:00"), ip, i)
	}
	server := httptest.NewServer(r)
	defer server.Close()
	n := newPastNames(t, server.URL)
	n.maxCached = 1
	var out bytes.Buffer
	if err := n.copy(t.Context(), &out, strings.NewReader(in.String())); err != nil {
		t.Fatal(err)
	}
	if out.String() != want.String() {
		t.Error("labels are missing or wrong")
	}
	if len(n.past.ips) >= ips {
		t.Errorf("%d IPs are in the cache, which is full", len(n.past.ips))
	}
}

// Run with GOMAXPROCS=1: it takes one core, whatever there is.
func BenchmarkAnnotatePast(b *testing.B) {
	const ips, holders = 10_000, 100
	n := newPastNames(b, "http://127.0.0.1:1")
	begin := pastDay.UnixMilli()
	width := askedSpan / holders
	for i := range ips {
		a := historyAnswer{}
		for j := range holders {
			item := holderItem(fmt.Sprintf("shop/cart-5d9f7c6b4-%05d", i*holders+j), "00:00:00", "")
			item.From = pastDay.Add(time.Duration(j) * width)
			item.To, item.ToLatest = item.From.Add(width-time.Minute), item.From.Add(width)
			a.Items = append(a.Items, item)
		}
		n.past.time = begin
		addr := benchIP(i)
		k, _ := parse([]byte(addr))
		n.past.ip(k)
		n.past.isSet = true
		n.add(&pastFact{key: k, term: queryIP(addr)}, &a, segment{from: begin, to: begin + askedSpan.Milliseconds() - 1})
	}
	var in bytes.Buffer
	for i := range benchLines {
		at := pastDay.Add(time.Duration(i*31) * time.Second % askedSpan)
		fmt.Fprintf(&in, "%s INFO proxy request done %s:8080 -> 200 in %d ms, upstream %s\n", at.Format("2006-01-02T15:04:05.000Z"), benchIP(i*31%ips), i%1000, benchIP(i*37%ips))
	}
	b.SetBytes(int64(in.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if err := n.copy(b.Context(), io.Discard, bytes.NewReader(in.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchLines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(n.past.size)/(1<<20), "MiB")
}

func queryIP(text string) query.Term {
	addr := netip.MustParseAddr(text)
	return query.Term{Kind: query.IP, Text: text, Addr: addr}
}
