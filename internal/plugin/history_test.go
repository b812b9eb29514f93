package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
)

// pastDay is the day of the records of tests.
var pastDay = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -7)

// clock returns a moment of pastDay, such as 03:12:00.
func clock(text string) time.Time {
	t, err := time.Parse(time.TimeOnly, text)
	if err != nil {
		panic(err)
	}
	return pastDay.Add(t.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
}

// shown returns a moment of pastDay as it is printed, in the zone of the tests.
func shown(text string) string { return clock(text).Local().Format(time.DateTime) }

// zoned returns text with the zone of the tests.
func zoned(text string) string { return shown(text) + clock(text).Local().Format(" MST") }

// utc is a value of a flag.
func utc(text string) string { return clock(text).Format(time.RFC3339) }

// holderItem returns a Pod that had 10.0.0.7.
func holderItem(key, from, to string) past.Item {
	namespace, name, _ := strings.Cut(key, "/")
	item := past.Item{Testcr: namespace + "." + name, Certain: true, From: clock(from), TestcrSpec: v1.TestcrSpec{
		PodKey: key, Namespace: namespace, PodName: name, PodUID: "uid-of-" + name, PodIP: "10.0.0.7", PodIPs: []string{"10.0.0.7"},
		NodeName: "worker-1", Status: "Running", Phase: "Running", WorkloadKind: "Deployment", WorkloadName: "cart",
		Labels: map[string]string{"app": name[:4]},
	}}
	if to != "" {
		item.To = clock(to)
	}
	return item
}

// recorder is a fake replica with a record of the past.
type recorder struct {
	t       *testing.T
	items   map[string][]past.Item // by KIND=VALUE of the fact
	records []past.RecordResult
	more    bool
	status  int    // of all answers, with text, if it is not 0
	text    string // the same
	token   string // that it expects

	mu    sync.Mutex
	asked []string // the parameters
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	params := request.URL.Query()
	r.mu.Lock()
	r.asked = append(r.asked, request.URL.RawQuery)
	r.mu.Unlock()
	if got := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer "); got != r.token || request.URL.Path != "/v1/pods" {
		r.t.Errorf("%s with the authorization %q, want %q", request.URL.Path, got, r.token)
	}
	w.Header().Set("Content-Type", "application/json")
	if r.status != 0 {
		w.WriteHeader(r.status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": r.text})
		return
	}
	parsed := func(name, otherwise string) time.Time {
		value := params.Get(name)
		if value == "" {
			value = params.Get(otherwise)
		}
		at, err := time.Parse(time.RFC3339, value)
		if err != nil {
			r.t.Errorf("%s: %v", name, err)
		}
		return at
	}
	result := past.Result{Since: parsed("since", "at"), Until: parsed("until", "at"), Records: r.records, Items: []past.Item{}, More: r.more}
	for fact, items := range r.items {
		if kind, value, _ := strings.Cut(fact, "="); params.Get(kind) == value {
			result.Items = append(result.Items, items...)
		}
	}
	if len(result.Items) == 0 {
		w.WriteHeader(http.StatusNotFound)
	}
	_ = json.NewEncoder(w).Encode(result)
}

// ask runs the plugin against servers in place of an API server, which nothing may be asked of.
func ask(t *testing.T, server, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	args = append([]string{"--kubeconfig=" + kubeconfig(t, "http://127.0.0.1:1", "c"), "--context=c", "--token=secret"}, args...)
	if server != "" {
		args = append(args, "--podinfo-server="+server)
	}
	code = Run(t.Context(), args, genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut})
	return out.String(), errOut.String(), code
}

// newRecord returns a record of pastDay with a gap, and of no later time.
func newRecord() []past.RecordResult {
	return []past.RecordResult{{Begins: clock("01:00:00"), Ends: clock("12:00:00"), Gaps: []past.GapResult{
		{From: clock("02:00:00"), To: clock("02:10:00"), Reason: past.ReasonOutage},
	}}}
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	unsure := holderItem("shop/cart-0", "01:00:00", "03:10:00")
	unsure.Certain, unsure.FromEarliest, unsure.ToLatest = false, time.UnixMilli(0).UTC(), clock("03:20:00")
	late := holderItem("shop/cart-2", "03:20:00", "")
	late.FromEarliest = clock("03:10:00")
	return &recorder{
		t: t, records: newRecord(),
		items: map[string][]past.Item{
			"ip=10.0.0.7":             {holderItem("shop/cart-1", "03:00:00", "03:10:00"), late, unsure},
			"ip=10.0.0.8":             {holderItem("shop/cart-1", "03:00:00", "03:10:00")},
			"name=cart-1":             {holderItem("shop/cart-1", "03:00:00", "03:10:00")},
			"workload=cart":           {holderItem("shop/cart-1", "03:00:00", "03:10:00")},
			"node=cart":               {holderItem("ops/agent", "01:00:00", "")},
			"key=shop/cart-1":         {holderItem("shop/cart-1", "03:00:00", "03:10:00")},
			"label=app=cart":          {holderItem("shop/cart-1", "03:00:00", "03:10:00"), holderItem("shop/carp-1", "03:00:00", "03:10:00")},
			"workload=deployment/web": {holderItem("shop/webs-1", "03:00:00", "03:10:00")},
		},
	}
}

// pastInvocation is a command line about the past and what it must leave.
type pastInvocation struct {
	name  string
	args  []string
	stdin string
	out   string
	err   []string // parts of standard error, in order
	noErr string   // not in it
	asked []string // parts of the questions, in order
	code  int
}

func pastInvocations() []pastInvocation {
	keys := []string{"-o", "jsonpath={range .items[*]}{.spec.podkey} {end}"}
	at := func(fact ...string) []string { return append(fact, "--at="+utc("03:05:00")) }
	atKeys := func(fact ...string) []string { return append(at(fact...), keys...) }
	return []pastInvocation{
		{
			name: "a table", args: at("10.0.0.7"),
			out: tableOf("NAMESPACE|NAME|FROM|TO|IP|NODE|WORKLOAD|LAST-STATUS|NOTE",
				"shop|cart-1|"+shown("03:00:00")+"|"+shown("03:10:00")+"|10.0.0.7|worker-1|deployment/cart|Running|",
				"shop|cart-2|between "+shown("03:10:00")+" and "+shown("03:20:00")[11:]+"|"+shown("12:00:00")+" or later|10.0.0.7|worker-1|deployment/cart|Running|",
				"shop|cart-0|by "+shown("01:00:00")+"|between "+shown("03:10:00")+" and "+shown("03:20:00")[11:]+
					"|10.0.0.7|worker-1|deployment/cart|Running|perhaps not at this moment: see FROM and TO"),
			err: []string{
				"note: as of " + zoned("03:05:00") + " (UTC", "\nnote: not recorded from " + shown("02:00:00") + " to " + shown("02:10:00") + ": the API server was not reachable\n",
			},
			noErr: "begins", asked: []string{"at=" + url.QueryEscape(utc("03:05:00")) + "&ip=10.0.0.7&limit=500"},
		},
		{
			name: "a range", args: append([]string{"10.0.0.8", "--since=" + utc("00:30:00"), "--until=" + utc("13:00:00")}, keys...), out: "shop/cart-1 ",
			err: []string{
				"note: from " + shown("00:30:00") + " to " + zoned("13:00:00"), "the record begins at " + shown("01:00:00") + ": what was before is not known",
				"the record ends at " + shown("12:00:00") + ": what was since is not known",
			},
			asked: []string{"ip=10.0.0.8&limit=500&since=" + url.QueryEscape(utc("00:30:00")) + "&until=" + url.QueryEscape(utc("13:00:00"))},
		},
		{name: "a cluster", args: atKeys("10.0.0.8", "--podinfo-cluster=prod"), out: "shop/cart-1 ", asked: []string{"cluster=prod"}},
		{
			name: "nobody", args: at("10.0.0.9"), code: 1,
			err: []string{"error: no Pod had \"10.0.0.9\" at " + zoned("03:05:00") + ": looked for it as ip, hostip, node, name in the record, which begins at " + shown("01:00:00") + "\n"},
		},
		{
			name: "nobody in a namespace", args: at("10.0.0.9", "-n", "shop"), code: 1, asked: []string{"ip=10.0.0.9&limit=500&namespace=shop"},
			err: []string{"in namespace \"shop\" in the record"},
		},
		{
			name: "before the record", args: []string{"10.0.0.9", "--at=" + utc("00:10:00")}, code: 1,
			err: []string{"error: whether a Pod had \"10.0.0.9\" at " + zoned("00:10:00") + " is not known: nothing was recorded then", "the record begins at "},
		},
		{
			name: "in a gap", args: []string{"10.0.0.9", "--at=" + utc("02:05:00")}, code: 1,
			err: []string{"error: whether a Pod had \"10.0.0.9\" at " + zoned("02:05:00") + " is not known", "not recorded from "},
		},
		{name: "several facts", args: atKeys("10.0.0.8", "cart-1"), out: "shop/cart-1 shop/cart-1 "},
		{name: "lines", args: atKeys("-"), stdin: "10.0.0.8\n10.0.0.9\n?\n", out: "shop/cart-1 ", code: 1, err: []string{"error: no Pod had \"10.0.0.9\"", "error: line 3: "}},
		{
			name: "several readings", args: atKeys("cart"), out: "ops/agent ",
			err: []string{"note: \"cart\" was read as the node of 1 Pod; it is also the workload of 1 Pod (--by workload)\n"},
		},
		{name: "one reading", args: atKeys("cart", "--by=workload"), out: "shop/cart-1 "},
		{name: "an IP is asked for alone", args: atKeys("10.0.0.8"), out: "shop/cart-1 ", asked: []string{"ip=10.0.0.8"}},
		{name: "TYPE NAME", args: atKeys("deploy", "web"), out: "shop/webs-1 "},
		{name: "NAMESPACE NAME", args: atKeys("shop", "cart-1"), out: "shop/cart-1 ", err: []string{"note: \"shop cart-1\" was read as \"cart-1\" in namespace \"shop\"\n"}},
		{name: "a selector", args: atKeys("-l", "app=cart"), out: "shop/cart-1 ", asked: []string{"label=app%3Dcart"}},
		{name: "a selector without a value", args: at("-l", "app"), code: 1, err: []string{"error: -l app: the past is searched for a label with its value, such as app=cart\n"}},
		{name: "a selector filters", args: atKeys("10.0.0.8", "-l", "app!=cart"), code: 1, err: []string{"error: no Pod had \"10.0.0.8\" and the labels \"app!=cart\" at "}},
		{name: "a part of a name", args: at("cart-*"), code: 1, err: []string{"error: \"cart-*\": the past is searched for whole facts"}},
		{name: "names", args: append(at("10.0.0.8"), "-o", "name"), out: "pod/cart-1\n"},
		{name: "ways to the Pod", args: append(at("10.0.0.8", "-n", "shop"), "-o", "custom-columns=POD:.spec.podname", "--no-headers"), out: "cart-1\n"},
		{
			name: "annotations", args: append(at("10.0.0.7"), "-o", `jsonpath={range .items[*].metadata.annotations}{.stable\.example\.com/from-earliest} {.stable\.example\.com/from} `+
				`{.stable\.example\.com/to} {.stable\.example\.com/to-latest} {.stable\.example\.com/certain};{end}`),
			out: " " + utc("03:00:00") + " " + utc("03:10:00") + "  true;" +
				utc("03:10:00") + " " + utc("03:20:00") + "   true;1970-01-01T00:00:00Z " + utc("01:00:00") + " " + utc("03:10:00") + " " + utc("03:20:00") + " false;",
		},
		{name: "a list", args: append(at("10.0.0.8"), "-o", "jsonpath={.kind} {.items[*].kind} {.items[*].metadata.name}"), out: "List Testcr shop.cart-1"},
		{name: "a card", args: append(at("10.0.0.8"), "-o", "card"), out: "Pod        shop/cart-1\nFrom       " + shown("03:00:00") + "\nTo         " + shown("03:10:00") +
			"\nStatus     Running, the last that was recorded\nNode       worker-1\nIP         10.0.0.7\nWorkload   Deployment/cart\nUID        uid-of-cart-1\nLabels     app=cart\n"},
		{name: "--watch", args: append(at("10.0.0.8"), "-w"), code: 2, err: []string{"error: --watch is about the present"}},
		{name: "several clusters", args: append(at("10.0.0.8"), "--all-contexts"), code: 2, err: []string{"error: the past is asked of one cluster: choose it by --context"}},
		{name: "no time", args: []string{"10.0.0.8", "--at=nonsense"}, code: 2, err: []string{"error: --at: \"nonsense\" is not a time: use 03:12"}},
		{name: "an empty time", args: []string{"10.0.0.8", "--since="}, code: 2, err: []string{"error: --since is empty"}},
		{name: "an end alone", args: []string{"10.0.0.8", "--until=03:00"}, code: 2, err: []string{"error: --until needs since"}},
		{name: "a cluster of the present", args: []string{"10.0.0.8", "--podinfo-cluster=a"}, code: 2, err: []string{"error: --podinfo-cluster is for the past"}},
	}
}

// tableOf returns the lines of a table whose cells are separated by "|".
func tableOf(lines ...string) string {
	var cells [][]string
	var widths []int
	for _, line := range lines {
		cells = append(cells, strings.Split(line, "|"))
		for i, cell := range cells[len(cells)-1] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cell))
		}
	}
	var text strings.Builder
	for _, row := range cells {
		for i, cell := range row[:len(row)-1] {
			text.WriteString(pad(cell, padded(widths[i], padding)))
		}
		text.WriteString(row[len(row)-1] + "\n")
	}
	return text.String()
}

func TestRun_Past(t *testing.T) {
	for _, i := range pastInvocations() {
		t.Run(i.name, func(t *testing.T) {
			r := newRecorder(t)
			server := httptest.NewServer(r)
			defer server.Close()
			out, errOut, code := ask(t, server.URL, i.stdin, i.args...)
			if out != i.out || code != i.code {
				t.Errorf("code %d, want %d, standard output:\n%s\nwant:\n%s", code, i.code, out, i.out)
			}
			hasInOrder(t, errOut, i.err)
			if i.noErr != "" && strings.Contains(errOut, i.noErr) {
				t.Errorf("%q is in standard error:\n%s", i.noErr, errOut)
			}
			hasInOrder(t, strings.Join(r.asked, "\n"), i.asked)
		})
	}
}

func hasInOrder(t *testing.T, text string, parts []string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("%q is not in order in:\n%s", part, text)
		}
		rest = after
	}
}

func TestHistoryServer_ask(t *testing.T) {
	question := "--at=" + utc("03:05:00")
	answers := func(status int, text string) http.Handler { return &recorder{t: t, status: status, text: text} }
	plain := func(status int, text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, text) })
	}
	tests := []struct {
		name   string
		server http.Handler
		want   string
	}{
		{"without a record", answers(400, "the past is not recorded: start the program with --history=FILE"), ": the past is not recorded: start the program with --history=FILE\n"},
		{"an older version", answers(400, `unknown parameter "at": there are ip, uid`), ": its version keeps no record of the past: update it, and start it with --history=FILE\n"},
		{"no login", plain(401, "Unauthorized\n"), ": Unauthorized: --podinfo-token-file has the token of a login\n"},
		{"another program", plain(200, "<html>"), ": it is no PodInfoLookup, or one without a record of the past: update it\n"},
		{"an answer about the present", plain(200, `{"items":[],"total":0}`), ": it is no PodInfoLookup, or one without a record of the past: update it\n"},
		{"another page", plain(404, ""), ": 404 Not Found: it is no PodInfoLookup\n"},
		{"a redirect", http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound), ": 302 Found: it is no PodInfoLookup\n"},
		{"a text for a terminal", plain(500, "\x1b[31mred\nline"), `: \u001b[31mred; line`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.server)
			defer server.Close()
			out, errOut, code := ask(t, server.URL, "", "10.0.0.7", question)
			if !strings.HasPrefix(errOut, "error: no answer about the past: ") || !strings.Contains(errOut, test.want) || out != "" || code != exitMissing {
				t.Errorf("code %d, standard output %q, standard error %q, want %q", code, out, errOut, test.want)
			}
		})
	}

	t.Run("a busy replica is asked again", func(t *testing.T) {
		r := newRecorder(t)
		isBusy := true
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			if isBusy {
				isBusy = false
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			r.ServeHTTP(w, request)
		}))
		defer server.Close()
		if out, errOut, code := ask(t, server.URL, "", "10.0.0.8", question, "-o", "name"); out != "pod/cart-1\n" || code != exitOK {
			t.Errorf("code %d, standard output %q, standard error %q", code, out, errOut)
		}
	})

	t.Run("one that does not answer", func(t *testing.T) {
		ended := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-ended }))
		defer server.Close()
		defer close(ended)
		_, errOut, code := ask(t, server.URL, "", "10.0.0.8", question, "--request-timeout=50ms")
		if !strings.Contains(errOut, ": no answer in time: --request-timeout=30s gives it longer\n") || code != exitMissing {
			t.Errorf("code %d, standard error %q", code, errOut)
		}
	})
}

func TestPastOptions_newServer(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("t0ken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, address, token, want string }{
		{name: "no address", address: "podinfo.example.com", want: "give an address such as"},
		{name: "a scheme", address: "ftp://podinfo.example.com", want: "give an address such as"},
		{name: "a password", address: "https://ann:pass@podinfo.example.com", want: "a user in the address is not sent"}, //nolint:gosec // G101: it is none
		{name: "a token over http", address: "http://podinfo.example.com", token: token, want: "a token is sent over https only, not to http://podinfo.example.com"},
		{name: "no file", address: "https://podinfo.example.com", token: token + "s", want: "no such file"},
		{name: "no token", address: "https://podinfo.example.com", token: os.DevNull, want: "has no token"},
		{name: "a token", address: "https://podinfo.example.com", token: token},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := (&pastOptions{server: test.address, tokenFile: test.token}).newServer(test.address)
			switch {
			case test.want == "" && (err != nil || s.token != "t0ken"):
				t.Errorf("%v, error %v", s, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "pass@")):
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}

	t.Run("the variable", func(t *testing.T) {
		server := httptest.NewServer(newRecorder(t))
		defer server.Close()
		t.Setenv(serverVariable, server.URL)
		if out, errOut, code := ask(t, "", "", "10.0.0.8", "--at="+utc("03:05:00"), "-o", "name"); out != "pod/cart-1\n" || code != exitOK {
			t.Errorf("code %d, standard output %q, standard error %q", code, out, errOut)
		}
	})

	t.Run("a server with TLS", func(t *testing.T) {
		r := newRecorder(t)
		r.token = "t0ken"
		server := httptest.NewTLSServer(r)
		defer server.Close()
		client := server.Client()
		s := &historyServer{url: server.URL, token: "t0ken", http: client}
		answer, err := s.ask(t.Context(), pastRange{since: clock("03:05:00"), until: clock("03:05:00"), isMoment: true}.params(nil))
		if err != nil || len(answer.Records) != 1 {
			t.Errorf("%v, error %v", answer, err)
		}
	})
}

// withRecorders gives replicas a record of the past.
func (i *install) withRecorders(t *testing.T, replicas map[string]http.Handler) {
	t.Helper()
	for name, handler := range replicas {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		i.mu.Lock()
		i.replicas[name].page = server.Listener.Addr().String()
		i.mu.Unlock()
	}
}

// askInstall runs the plugin against replicas.
func askInstall(t *testing.T, i *install, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	args = append([]string{"--kubeconfig=" + kubeconfig(t, i.url, "c"), "--context=c"}, args...)
	code = Run(t.Context(), args, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut})
	return out.String(), errOut.String(), code
}

func TestRun_PastByPortForward(t *testing.T) {
	at := []string{"10.0.0.7", "--at=" + utc("03:05:00"), "-o", "jsonpath={range .items[*]}{.spec.podkey} {end}"}
	for _, test := range []struct {
		name      string
		webSocket bool
	}{{"over a WebSocket", true}, {"over SPDY", false}} {
		t.Run(test.name, func(t *testing.T) {
			i := newInstall(t, test.webSocket, "a", "b", "z")
			first, second := newRecorder(t), newRecorder(t)
			first.items["ip=10.0.0.7"] = []past.Item{holderItem("shop/cart-1", "03:00:00", "03:10:00")}
			second.items["ip=10.0.0.7"] = []past.Item{holderItem("shop/cart-9", "03:00:00", "03:10:00")}
			second.records[0].Gaps = nil // so no gap is left
			i.withRecorders(t, map[string]http.Handler{"a": first, "b": second, "z": &recorder{t: t, status: 503, text: "the past is not recorded"}})
			out, errOut, code := askInstall(t, i, at...)
			if keys := strings.Fields(out); len(keys) != 2 || !slices.Contains(keys, "shop/cart-1") || !slices.Contains(keys, "shop/cart-9") || code != exitOK {
				t.Errorf("code %d, standard output %q", code, out)
			}
			if strings.Contains(errOut, "not recorded from") ||
				!strings.HasSuffix(errOut, "warning: what this one alone has recorded is missing: Pod podinfolookup/z: the past is not recorded\n") {
				t.Errorf("standard error:\n%s", errOut)
			}
		})
	}

	t.Run("several questions", func(t *testing.T) {
		i := newInstall(t, true, "a")
		i.withRecorders(t, map[string]http.Handler{"a": newRecorder(t)})
		out, errOut, code := askInstall(t, i, append(at, "10.0.0.8", "cart-1", "deploy/web", "shop/cart-1", "10.0.0.9")...)
		if len(strings.Fields(out)) != 7 || code != exitMissing {
			t.Errorf("code %d, standard output %q, standard error:\n%s", code, out, errOut)
		}
	})

	t.Run("nothing listens", func(t *testing.T) {
		i := newInstall(t, true, "a", "b")
		i.replicas["a"].page, i.replicas["b"].page = "127.0.0.1:1", "127.0.0.1:1"
		_, errOut, code := askInstall(t, i, at...)
		if !strings.Contains(errOut, "error: none of the 2 replicas answers about the past: no answer on its port 9091 (") ||
			!strings.Contains(errOut, "must have --local-bind-address=127.0.0.1:9091, as in yaml/deployment.yaml\n") || code != exitMissing {
			t.Errorf("code %d, standard error:\n%s", code, errOut)
		}
	})

	for _, resource := range []string{"pods", "pods/portforward"} {
		t.Run("no right to "+resource, func(t *testing.T) {
			i := newInstall(t, true, "a")
			i.refused[resource] = true
			_, errOut, code := askInstall(t, i, at...)
			if !strings.Contains(errOut, "the past takes the right to list Pods and to forward ports in namespace podinfolookup") ||
				!strings.Contains(errOut, "--role=podinfolookup-portforward --user=NAME") || code != exitMissing {
				t.Errorf("code %d, standard error:\n%s", code, errOut)
			}
		})
	}

	t.Run("not installed", func(t *testing.T) {
		_, errOut, code := askInstall(t, newInstall(t, true), at...)
		if !strings.Contains(errOut, "error: no Pod of PodInfoLookup in namespace podinfolookup, which the past is asked of") || code != exitMissing {
			t.Errorf("code %d, standard error:\n%s", code, errOut)
		}
	})
}

func TestLastOf(t *testing.T) {
	now := clock("03:14:00")
	open := holderItem("shop/cart-3", "03:12:00", "")
	unsure := holderItem("shop/cart-2", "03:00:00", "03:11:00")
	unsure.ToLatest, unsure.Certain = clock("03:13:00"), false
	a := &pastAsker{options: &options{}, of: pastRange{since: clock("01:00:00"), until: now.Local()}}
	for _, test := range []struct {
		name  string
		items []past.Item
		want  string
	}{
		{name: "nobody"},
		{name: "one that ended", items: []past.Item{holderItem("shop/cart-1", "03:00:00", "03:10:00")},
			want: "shop/cart-1 had it until " + shown("03:10:00") + " ("},
		{name: "one that perhaps ended later", items: []past.Item{holderItem("shop/cart-1", "03:00:00", "03:12:00"), unsure},
			want: "shop/cart-2 had it and ended between " + shown("03:11:00") + " and " + shown("03:13:00")[11:] + " ("},
		{name: "one without an end", items: []past.Item{open}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := a.lastOf(&pastResult{answer: historyAnswer{Result: past.Result{Items: test.items, Records: newRecord()}}}, now)
			if test.want == "" && got != "" || !strings.HasPrefix(got, test.want) || got != "" && !strings.HasSuffix(got, " ago): --since=1h shows each Pod that had it") {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
