package page_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPage_FollowsPods(t *testing.T) {
	p, ns := open(t)
	p.Eval(t, `window.loadedOnce = true`)
	create(t, ns, pod{name: "m", ips: []string{"10.5.0.1"}})
	p.UntilIs(t, rows, ns+"/m")
	p.Until(t, text("rows")+`.includes("10.5.0.1")`)
	p.Click(t, "#rows td:nth-child(3)") // anywhere in the row
	p.Until(t, `document.getElementById("detail").open`)
	p.Press(t, kb.Escape)
	p.UntilIs(t, focus, ns+"/m")
	// What comes before and after leaves the focus where it is.
	create(t, ns, pod{name: "a", ips: []string{"10.5.0.2"}}, pod{name: "z", ips: []string{"10.5.0.3"}})
	p.UntilIs(t, rows, ns+"/a "+ns+"/m "+ns+"/z")
	p.UntilIs(t, focus, ns+"/m")
	remove(t, ns, "a")
	p.UntilIs(t, rows, ns+"/m "+ns+"/z")
	p.UntilIs(t, focus, ns+"/m")
	// The row with the focus goes: the next one has it.
	remove(t, ns, "m")
	p.UntilIs(t, rows, ns+"/z")
	p.UntilIs(t, focus, ns+"/z")
	// So does the Pod that is looked at.
	p.Press(t, kb.Enter)
	p.Until(t, text("facts")+`.includes("10.5.0.3")`)
	remove(t, ns, "z")
	p.UntilIs(t, text("gone"), "This Pod is gone; this is what was last known of it.")
	p.Until(t, text("facts")+`.includes("10.5.0.3")`)
	p.UntilIs(t, rows, "")
	p.UntilIs(t, `loadedOnce`, "true")
	p.Clean(t)
}

func TestPage_InterruptedStream(t *testing.T) {
	ns := env.Namespace(t, "")
	create(t, ns, pod{name: "a"})
	var down atomic.Bool
	var streams atomic.Int32
	address := serve(t, ns)
	var front string
	cut := make(chan struct{})
	front = between(t, address, func(w http.ResponseWriter, r *http.Request) bool {
		if down.Load() {
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		if r.URL.Path == "/v1/events" && streams.Add(1) == 1 {
			go func() {
				select {
				case <-cut:
					_ = http.NewResponseController(w).SetWriteDeadline(time.Now())
				case <-r.Context().Done():
				}
			}()
		}
		return false
	})
	p := chromium.Open(t, front+"/?namespace="+ns)
	p.UntilIs(t, text("live"), "Live")
	p.Until(t, `/^as of \d\d:\d\d:\d\d UTC · resourceVersion \d+ · [\d,]+ Pods?$/.test(`+text("asof")+`)`)
	p.UntilIs(t, rows, ns+"/a")
	down.Store(true)
	close(cut)
	create(t, ns, pod{name: "b"})
	p.Until(t, `/^Disconnected since \d\d:\d\d:\d\d UTC, trying again$/.test(`+text("live")+`)`)
	p.Until(t, `document.getElementById("live").dataset.state == "stale"`)
	p.UntilIs(t, rows, ns+"/a") // what was known stays, and is named
	p.Until(t, `/^These rows are for all Pods, \d\d:\d\d:\d\d UTC$/.test(`+text("stale")+`)`)
	down.Store(false)
	p.UntilIs(t, text("live"), "Live")
	p.UntilIs(t, rows, ns+"/a "+ns+"/b")
	p.UntilIs(t, `document.getElementById("stale").hidden`, "true")
	p.Clean(t, "Failed to load resource", "net::ERR_")
}

// apiServer returns the process ID of the API server of these tests.
func apiServer(t *testing.T) int {
	t.Helper()
	statuses, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	parent := fmt.Appendf(nil, "\nPPid:\t%d\n", os.Getpid())
	for _, path := range statuses {
		status, _ := os.ReadFile(path) // it may have ended
		if bytes.HasPrefix(status, []byte("Name:\tkube-apiserver\n")) && bytes.Contains(status, parent) {
			id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	t.Fatal("there is no API server")
	return 0
}

func TestPage_FrozenAPIServer(t *testing.T) {
	p, ns := open(t)
	create(t, ns, pod{name: "a"})
	p.UntilIs(t, rows, ns+"/a")
	p.UntilIs(t, text("live"), "Live")
	id := apiServer(t)
	send := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(id, s); err != nil {
			t.Fatal(err)
		}
	}
	defer send(syscall.SIGCONT) // also if the test fails
	send(syscall.SIGSTOP)
	frozen := time.Now()
	p.Until(t, `/^The API server is silent since \d\d:\d\d:\d\d UTC$/.test(`+text("live")+`)`)
	if took := time.Since(frozen); took > 10*time.Second {
		t.Errorf("the page reports it after %s, want 10 s at most", took)
	}
	p.UntilIs(t, `document.getElementById("live").dataset.state`, "stale")
	p.UntilIs(t, rows, ns+"/a")
	send(syscall.SIGCONT)
	p.UntilIs(t, text("live"), "Live")
	p.UntilIs(t, `document.getElementById("live").dataset.state`, "live")
	create(t, ns, pod{name: "b"})
	p.UntilIs(t, rows, ns+"/a "+ns+"/b")
	p.Clean(t)
}

// All times are UTC, and on hover those of the reader.
func TestPage_TimeZones(t *testing.T) {
	of := (&pod{name: "a"}).object("zones")
	of.CreationTimestamp = metav1.NewTime(taken)
	address := between(t, show(t, of), func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/v1/events" {
			return r.URL.Query().Get("q") == "none" // an empty answer, which is no JSON
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "event: view\ndata: {\"resourceVersion\":\"7\",\"pods\":1,\"silentSince\":%[1]q,\"writesFailSince\":%[1]q,\"ageSeconds\":0,\"time\":%[1]q}\n\n",
			taken.Format(time.RFC3339))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	})
	p := chromium.Open(t, address+"/")
	p.Zone(t, "Asia/Kolkata")
	p.Go(t, address+"/?pod=zones/a")
	const utc, local = "2026-11-23 15:30:00 UTC", "23/11/2026, 21:00:00 GMT+5:30"
	title := func(selector string) string { return `document.querySelector("` + selector + `").title` }
	p.UntilIs(t, title("#rows time"), utc+" · "+local)
	p.UntilIs(t, `document.querySelector("#facts [data-copy='Created 0']").textContent`, utc)
	for _, selector := range []string{"#facts [data-copy='Created 0']", "#facts time", "#asof", "#live", "#writes"} {
		p.UntilIs(t, title(selector), local)
	}
	p.Until(t, text("asof")+`.startsWith("as of 15:30:00 UTC")`)
	p.UntilIs(t, text("live"), "The API server is silent since 15:30:00 UTC")
	p.Until(t, text("writes")+`.startsWith("Writes fail since 15:30:00 UTC")`)
	p.Type(t, "q", "none")
	p.Until(t, `/^These rows are for all Pods, \d\d:\d\d:\d\d UTC$/.test(`+text("stale")+`)`)
	p.Until(t, title("#stale")+`.endsWith(" GMT+5:30")`)
	p.Clean(t)
}

func TestPage_Errors(t *testing.T) {
	ns := env.Namespace(t, "")
	create(t, ns, pod{name: "a"})
	var status atomic.Int64 // that searches are answered with
	var event atomic.Value  // that the stream sends
	event.Store("")
	front := between(t, serve(t, ns), func(w http.ResponseWriter, r *http.Request) bool {
		switch code := int(status.Load()); {
		case r.URL.Path == "/v1/search" && code != 0:
			w.WriteHeader(code)
			fmt.Fprintf(w, `{"error":"the reason of %d"}`, code)
			return true
		case r.URL.Path == "/v1/events" && event.Load() != "":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "retry: 100\n"+event.Load().(string)+"\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return true
		}
		return false
	})
	p := chromium.Open(t, front+"/?namespace="+ns)
	p.UntilIs(t, rows, ns+"/a")
	p.UntilIs(t, `document.getElementById("problem").hidden`, "true")
	for _, test := range []struct {
		name string
		code int
		want string
	}{
		{name: "not signed in", code: http.StatusUnauthorized, want: "401: you are not signed in: the reason of 401"},
		{name: "no right", code: http.StatusForbidden, want: "403: you may not see this: the reason of 403"},
		{name: "not ready", code: http.StatusServiceUnavailable, want: "503: no view of the cluster: the reason of 503"},
		{name: "a bad request", code: http.StatusBadRequest, want: "400: the reason of 400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status.Store(int64(test.code))
			p.Type(t, "q", test.name)
			p.UntilIs(t, text("problem"), test.want)
			status.Store(0)
			p.Type(t, "q", "a")
			p.Until(t, `document.getElementById("problem").hidden`)
		})
	}
	for _, test := range []struct{ name, event, want string }{
		{name: "a program that is not ready says why", event: "event: unready\ndata: {\"error\":\"the CRD is missing\"}", want: "Not ready: the CRD is missing"},
		{
			"an API server that says nothing",
			"event: view\ndata: {\"resourceVersion\":\"7\",\"ageSeconds\":200,\"pods\":1,\"time\":\"2026-01-01T10:00:00Z\",\"changes\":0}",
			"The API server is silent since 09:56:40 UTC",
		},
		{
			"an API server that answers no request",
			"event: view\ndata: {\"resourceVersion\":\"7\",\"ageSeconds\":7,\"silentSince\":\"2026-01-01T09:59:55Z\",\"pods\":1,\"time\":\"2026-01-01T10:00:00Z\",\"changes\":0}",
			"The API server is silent since 09:59:53 UTC",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			event.Store(test.event)
			p.Go(t, front+"/?namespace="+ns)
			p.UntilIs(t, text("live"), test.want)
			p.UntilIs(t, `document.getElementById("live").dataset.state`, "stale")
		})
	}
	for _, test := range []struct{ name, event, want, wantAsOf string }{
		{"writes that fail", `"resourceVersion":"7","pods":1,"writesFailSince":"2026-01-01T09:58:00Z","writeError":"<b>frozen</b>"`,
			"Writes fail since 09:58:00 UTC, Testcrs may be out of date; this page is not: <b>frozen</b>", "as of 10:00:00 UTC · resourceVersion 7 · 1 Pod"},
		{"writes that fail, without the reason", `"resourceVersion":"","restricted":true,"writesFailSince":"2026-01-01T09:58:00Z"`,
			"Writes fail since 09:58:00 UTC, Testcrs may be out of date; this page is not", "as of 10:00:00 UTC"},
		{"writes that succeed", `"resourceVersion":"7","pods":2`, "", "as of 10:00:00 UTC · resourceVersion 7 · 2 Pods"},
	} {
		t.Run(test.name, func(t *testing.T) {
			event.Store("event: view\ndata: {" + test.event + `,"ageSeconds":0,"time":"2026-01-01T10:00:00Z","changes":0}`)
			p.Go(t, front+"/?namespace="+ns)
			p.UntilIs(t, text("asof"), test.wantAsOf)
			p.UntilIs(t, text("writes"), test.want)
			p.UntilIs(t, `document.getElementById("writes").hidden`, fmt.Sprint(test.want == ""))
		})
	}
	p.Clean(t, "Failed to load resource")
}
