package page_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
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
