package page_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/weiyuanke/PodInfoLookup/test/browser"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// openPast opens the page of a program that records, with Pods that had an IP one after
// the other: a, and b, which still has it. It returns a time at which a had it.
func openPast(t *testing.T, ip string) (p *browser.Page, ns string, at time.Time) {
	t.Helper()
	ns = env.Namespace(t, "")
	program := testenv.Command(t, binary, "--bind-address=127.0.0.1:0", "--kubeconfig="+env.Kubeconfig, "--namespace="+ns,
		"--history="+filepath.Join(t.TempDir(), "history.db"))
	origin := "http://" + program.Start(t).Ready(t).Address(t)
	p = chromium.Open(t, origin+"/?q=first")
	create(t, ns, pod{name: "first"})
	// From here on times are certain. The page draws the past when it is asked for it.
	testenv.Eventually(t, func(context.Context) error {
		p.Go(t, origin+"/?q=first&at=now")
		if found := p.Eval(t, rows); found != ns+"/first" {
			return fmt.Errorf("rows %q", found)
		}
		return nil
	})
	create(t, ns, pod{name: "a", ips: []string{ip}, node: "node-1", id: "containerd://" + containerID})
	p.Go(t, origin+"/?q="+ip)
	p.UntilIs(t, rows, ns+"/a")
	at = time.Now().Add(time.Millisecond)
	testenv.Eventually(t, func(context.Context) error {
		if time.Since(at) < 10*time.Millisecond {
			return fmt.Errorf("it is not %s yet", at)
		}
		return nil
	})
	remove(t, ns, "a")
	p.Until(t, text("reading")+`.includes("`+ns+`/a had it until ")`) // who had it last
	create(t, ns, pod{name: "b", ips: []string{ip}, node: "node-2"})
	p.UntilIs(t, rows, ns+"/b")
	return p, ns, at
}

func TestPage_Past(t *testing.T) {
	const ip = "10.15.0.7"
	p, ns, at := openPast(t, ip)
	origin := p.Eval(t, `location.origin`)
	stamp := at.UTC().Format(time.RFC3339Nano)

	// By the field, and back.
	p.Type(t, "at", stamp)
	p.Press(t, kb.Enter)
	p.UntilIs(t, rows, ns+"/a")
	p.UntilIs(t, `new URLSearchParams(location.search).get("at")`, stamp)
	p.UntilIs(t, `document.getElementById("at").value`, stamp)
	p.Until(t, `document.getElementById("past").textContent.startsWith("The past: as of `+at.UTC().Format("2 Jan 2006 15:04:05")+`")`)
	p.UntilIs(t, text("live"), "Not live: the past")
	p.UntilIs(t, `[...document.querySelectorAll("#results th")].map((th) => th.innerText).join()`, "Pod,IP,Node,Last status,Workload,From,To")
	p.Until(t, text("edges")+`.includes("recorded from ")`)
	p.UntilIs(t, `[...document.querySelectorAll(".timeline li a")].map((a) => a.innerText).join()`, ns+"/b,"+ns+"/a")
	p.UntilIs(t, `performance.getEntriesByType("resource").filter((r) => r.name.includes("/v1/")).length`, "0") // nothing is live
	p.Click(t, "#rows a")
	p.Until(t, text("facts")+`.includes("containerd://`+containerID+`")`)
	p.Until(t, `!document.getElementById("help").hidden`) // the script has begun
	p.Press(t, kb.Escape)
	p.Until(t, `!document.getElementById("detail").open && !location.search.includes("pod=")`)
	p.UntilIs(t, rows, ns+"/a")
	p.Click(t, "#now")
	p.UntilIs(t, rows, ns+"/b")
	p.UntilIs(t, text("live"), "Live")

	// The timeline of a Pod of the present, by keyboard.
	p.Click(t, "#rows a")
	p.Until(t, `document.querySelectorAll("#facts .timeline li").length == 2`)
	p.UntilIs(t, `document.querySelector("#facts .timeline li[aria-current] a").innerText`, ns+"/b")
	p.UntilIs(t, `document.querySelectorAll("#facts .timeline rect:not(.may)").length`, "2")
	p.Eval(t, `[...document.querySelectorAll("#facts .timeline a")].at(-1).focus()`)
	p.Press(t, kb.Enter)
	p.Until(t, `document.getElementById("past") && `+rows+` == "`+ns+`/a"`)

	// A mistake, and a time without a record.
	p.Go(t, origin+"/?q="+ip+"&at=soon")
	p.Until(t, text("problem")+`.includes("is not a time")`)
	p.UntilIs(t, rows, "")
	p.Go(t, origin+"/?q="+ip+"&at=2020-01-01")
	p.Until(t, text("reading")+`.includes("nothing was recorded at 2020-01-01 00:00:00 UTC")`)
	p.Until(t, text("edges")+`.includes("the record begins ")`)
	p.Clean(t)

	p.NoScript(t)
	p.Go(t, origin+"/?q="+ip)
	p.UntilIs(t, rows, ns+"/b")
	p.Type(t, "at", stamp)
	p.Press(t, kb.Enter)
	p.UntilIs(t, rows, ns+"/a")
	p.UntilIs(t, `document.querySelectorAll(".timeline li").length`, "2")
	p.Click(t, "#now")
	p.UntilIs(t, rows, ns+"/b")
	p.Clean(t)
}

func TestPage_PastLayout(t *testing.T) {
	script, err := axeScript()
	if err != nil {
		t.Fatal(err)
	}
	p, ns, at := openPast(t, "10.15.0.8")
	p.Bypass(t) // for axe alone
	origin := p.Eval(t, `location.origin`)
	when := "&at=" + url.QueryEscape(at.UTC().Format(time.RFC3339Nano))
	for _, width := range []int64{390, 768, 1024, 1280, 1920} {
		for name, query := range map[string]string{
			"rows": "/?q=10.15.0.8" + when, "detail": "/?q=10.15.0.8&pod=" + ns + "/a" + when, "nobody": "/?q=10.15.0.9" + when, "live detail": "/?q=10.15.0.8&pod=" + ns + "/b",
		} {
			t.Run(fmt.Sprintf("%s, %d pixels wide", name, width), func(t *testing.T) {
				p.Resize(t, width, 800, width < 700)
				p.Prefer(t, map[bool]string{true: browser.Dark, false: browser.Light}[width == 1024])
				p.Go(t, origin+query)
				if name == "live detail" {
					p.Until(t, `document.querySelectorAll("#facts .timeline li").length == 2`)
				} else {
					p.Until(t, `document.querySelector("#edges li")`)
				}
				p.UntilIs(t, tooWide, "0")
				p.UntilIs(t, crowded, "")
				p.UntilIs(t, hidden, "")
				if *states != "" {
					file := filepath.Join(*states, fmt.Sprintf("past-%s-%d.png", name, width))
					if err := os.WriteFile(file, smaller(t, p.Screenshot(t)), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				p.Eval(t, "(() => {"+script+"\n})()")
				axe(t, p)
			})
		}
	}
}
