package page_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/weiyuanke/PodInfoLookup/test/browser"
)

// A cluster of 3,000 Pods with long names.
func TestPage_FirstView(t *testing.T) {
	p := chromium.Open(t, show(t, longNames()...)+"/")
	p.UntilIs(t, text("say"), "3,000 Pods found")
	p.UntilIs(t, `[...document.querySelectorAll("#rows .state")].slice(0, 60).map((e) => e.dataset.state).join(" ")`,
		strings.TrimSpace(strings.Repeat("failing ", 30)+strings.Repeat("waiting ", 30)))
	p.UntilIs(t, `[...document.querySelectorAll("#states a")].map((e) => e.textContent).join(", ")`,
		"failing 30, waiting 30, terminating 30, ready 2,880, completed 30")
	// Each state has a shape of its own beside its color.
	p.UntilIs(t, `new Set([...document.querySelectorAll("#states .state")].map((e) => getComputedStyle(e, "::before").content)).size`, "5")
	p.UntilIs(t, text("places"), "on 100 nodes, in 3 namespaces")
	p.Until(t, `document.querySelector("#rows time").title.includes("UTC")`)
	// A node that is not among those with most Pods is suggested, and found.
	p.Type(t, "node", "10-0-9-7.eu")
	p.UntilIs(t, `[...document.querySelectorAll("#nodes option")].map((e) => e.value + " " + e.label).join()`, "ip-10-0-9-7.eu-central-1.compute.internal 30 Pods")
	p.Type(t, "node", "ip-10-0-9-7.eu-central-1.compute.internal")
	p.UntilIs(t, count, "30 Pods")
	p.Click(t, "#clear")
	p.UntilIs(t, count, "1–100 of 3,000 Pods")
	p.Click(t, "#examples a")
	p.UntilIs(t, count, "1 Pod")
	p.UntilIs(t, focus, "q")
	p.Clean(t)
}

func TestPage_RowsBelongToTheQuery(t *testing.T) {
	ns := env.Namespace(t, "")
	create(t, ns, pod{name: "cart"}, pod{name: "web"})
	asked, release := make(chan struct{}), make(chan struct{})
	p := chromium.Open(t, between(t, serve(t, ns), func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Query().Get("q") {
		case "web":
			close(asked)
			<-release
		case "bad":
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		return false
	})+"/?q=cart")
	isOld := `document.getElementById("results").hasAttribute("data-old")`
	named := `/^These rows are for “cart”, \d\d:\d\d:\d\d UTC$/.test(` + text("stale") + `)`
	p.UntilIs(t, text("say"), "1 Pod found")
	p.UntilIs(t, isOld, "false")
	p.Type(t, "q", "web")
	<-asked
	p.UntilIs(t, rows, ns+"/cart")
	p.UntilIs(t, isOld, "true")
	p.Until(t, named)
	close(release)
	p.UntilIs(t, rows, ns+"/web")
	p.UntilIs(t, isOld, "false")
	p.Type(t, "q", "cart"+kb.Enter)
	p.UntilIs(t, `new URLSearchParams(location.search).get("pod")`, ns+"/cart") // the only hit
	p.Type(t, "q", "bad")
	p.Until(t, `!document.getElementById("problem").hidden`)
	p.Until(t, named)
	p.Type(t, "q", "cart")
	p.UntilIs(t, isOld, "false")
	p.Clean(t, "400")
}

func TestPage_Theme(t *testing.T) {
	p := chromium.Open(t, show(t)+"/")
	p.Prefer(t, browser.Light)
	ground := `getComputedStyle(document.documentElement).backgroundColor`
	p.UntilIs(t, text("theme"), "Theme: system")
	p.UntilIs(t, ground, "rgb(255, 255, 255)")
	p.Click(t, "#theme")
	p.Click(t, "#theme")
	p.UntilIs(t, text("theme"), "Theme: dark")
	p.UntilIs(t, ground, "rgb(20, 23, 26)")
	p.Go(t, p.Eval(t, `location.href`))
	p.UntilIs(t, ground, "rgb(20, 23, 26)")
	p.Clean(t)
}
