package page_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/weiyuanke/PodInfoLookup/test/browser"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestPage_Keyboard(t *testing.T) {
	p, ns := open(t)
	create(t, ns, pod{name: "a", ips: []string{"10.3.0.1"}}, pod{name: "b", ips: []string{"10.3.0.2"}}, pod{name: "c", ips: []string{"10.3.0.3"}})
	p.UntilIs(t, rows, ns+"/a "+ns+"/b "+ns+"/c")
	p.UntilIs(t, focus, "q")
	press := func(keys, wantFocus string) {
		t.Helper()
		p.Press(t, keys)
		p.UntilIs(t, focus, wantFocus)
	}
	press(kb.ArrowDown, ns+"/a")
	press(kb.ArrowDown, ns+"/b")
	press(kb.End, ns+"/c")
	press(kb.ArrowDown, ns+"/c")
	press(kb.Home, ns+"/a")
	press(kb.ArrowUp, "q")
	press(kb.ArrowDown, ns+"/a")
	press("j", ns+"/b")
	press("j", ns+"/c")
	press("k", ns+"/b")
	press("/", "q")
	press("/", "q") // in the empty box it is no text
	press("?", "keytitle")
	press(kb.Escape, "q")
	p.UntilIs(t, `document.getElementById("q").value`, "")
	p.Press(t, "10.3.0.2"+kb.Enter) // at once, before the pause of a typist
	p.UntilIs(t, rows, ns+"/b")
	p.UntilIs(t, focus, "title") // the only hit is open
	p.UntilIs(t, `new URLSearchParams(location.search).get("pod")`, ns+"/b")
	p.Until(t, `document.querySelector("#facts dl")`)
	press(kb.Tab, "json")
	press(kb.Tab, "close")
	p.Press(t, kb.Tab)
	p.UntilIs(t, `document.activeElement.ariaLabel`, "Copy Image of container main: nginx:1.29")
	p.Press(t, kb.Enter)
	p.UntilIs(t, text("copied"), "Copied Image of container main: nginx:1.29")
	p.UntilIs(t, `document.activeElement.ariaLabel`, "Copy Image of container main: nginx:1.29")
	press(kb.Escape, ns+"/b")
	p.Until(t, `!location.search.includes("pod=")`)

	// Tab goes to all that can be used, in the order of the page, and the focus is seen.
	p.Go(t, p.Eval(t, `location.origin`)+"/?namespace="+ns)
	p.UntilIs(t, rows, ns+"/a "+ns+"/b "+ns+"/c")
	p.Until(t, `document.querySelector("#states a")`)
	p.UntilIs(t, text("say"), "3 Pods found") // the rows are those of the script
	want := p.Eval(t, `[...document.querySelectorAll("a[href], button, input, select")]
		.filter((e) => !e.disabled && e.checkVisibility() && !e.closest("dialog"))
		.map((e, i) => { e.dataset.at = i; return i; }).join(" ")`)
	var visited []string
	p.Eval(t, `document.querySelector(".skip").focus()`)
	for i := range strings.Fields(want) {
		if i > 0 {
			p.Press(t, kb.Tab)
		}
		visited = append(visited, p.Eval(t, `document.activeElement.dataset.at`))
		if seen := p.Eval(t, `getComputedStyle(document.activeElement).outlineStyle`); seen != "solid" {
			t.Errorf("the focus on %s is not seen: outline-style %s", p.Eval(t, focus), seen)
		}
	}
	if got := strings.Join(visited, " "); got != want {
		t.Errorf("Tab visits %s, want %s", got, want)
	}
	p.Eval(t, `document.querySelector(".skip").focus()`)
	press(kb.Enter, "results")
	p.Clean(t)
}

// A phone is 360 pixels wide. Nothing may be wider, however long its name.
func TestPage_DarkLightAndPhone(t *testing.T) {
	script, err := axeScript()
	if err != nil {
		t.Fatal(err)
	}
	p, ns := open(t)
	long := strings.Repeat("long-name.", 24) + "pod" // 243 characters
	create(t, ns,
		pod{name: "a", ips: []string{"10.2.0.1", "fd00:1234:5678:9abc:def0:1234:5678:9abc"}, id: "containerd://" + containerID, node: strings.Repeat("long-node.", 6) + "example", hostIP: "192.0.2.60"},
		pod{name: long, ips: []string{"10.2.0.1"}, phase: "Failed", image: "registry.example/" + strings.Repeat("very/long/", 20) + "image:1", labels: map[string]string{"example.com/" + strings.Repeat("k", 60): strings.Repeat("v", 63)}})
	p.UntilIs(t, rows, ns+"/a "+ns+"/"+long)
	ground := `getComputedStyle(document.documentElement).backgroundColor`
	p.Prefer(t, browser.Dark)
	p.UntilIs(t, ground, "rgb(20, 23, 26)")
	p.Prefer(t, browser.Light)
	p.UntilIs(t, ground, "rgb(255, 255, 255)")
	p.Clean(t)

	p.Bypass(t) // for axe alone: from here on the policy does not hold
	origin := p.Eval(t, `location.origin`)
	for _, scheme := range []string{browser.Light, browser.Dark} {
		for _, width := range []int64{1280, 820, 360} {
			for _, query := range []string{"?q=10.2.0.1&sort=ip", "?pod=" + ns + "/" + long} {
				t.Run(fmt.Sprintf("%s, %d pixels wide, %.5s", scheme, width, query), func(t *testing.T) {
					p.Prefer(t, scheme)
					p.Resize(t, width, 740, width < 700)
					p.Go(t, origin+"/"+query+"&namespace="+ns)
					p.UntilIs(t, text("live"), "Live")
					p.Until(t, rows+`.includes("long")`)
					if strings.HasPrefix(query, "?pod") {
						p.Until(t, `document.querySelector("#facts dl.labels dd")`)
					} else {
						p.Until(t, text("reading")+`.includes("Ambiguous")`)
					}
					p.UntilIs(t, hidden, "")
					if width < 600 { // each IP is seen whole
						p.UntilIs(t, `[...document.querySelectorAll("#rows .more")].filter((e) => e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right).map((e) => e.textContent).join()`, "")
					}
					p.Eval(t, "(() => {"+script+"\n})()")
					axe(t, p)
					for _, element := range []string{`document.documentElement`, `document.getElementById("detail")`} {
						if wider := p.Eval(t, element+`.scrollWidth - innerWidth`); !strings.HasPrefix(wider, "-") && wider != "0" {
							t.Errorf("%s is %s pixels too wide", element, wider)
						}
					}
				})
			}
		}
	}
}

func TestPage_WithoutJavaScript(t *testing.T) {
	p, ns := open(t)
	p.NoScript(t)
	origin := p.Eval(t, `location.origin`)
	p.Go(t, origin+"/")
	p.Until(t, `document.body.innerText.includes("curl -G `+origin+`/ --data-urlencode q=10.0.0.7")`)
	create(t, ns, pod{name: "a", ips: []string{"10.12.0.1"}, id: "containerd://" + containerID, node: "plain-1"}, pod{name: "b", phase: "Failed"})
	testenv.Eventually(t, func(context.Context) error {
		p.Go(t, origin+"/")
		if found := p.Eval(t, rows); found != ns+"/b "+ns+"/a" {
			return fmt.Errorf("rows %s", found)
		}
		return nil
	})
	p.Type(t, "q", "10.12.0.1")
	p.Press(t, kb.Enter)
	p.UntilIs(t, `new URLSearchParams(location.search).get("q")`, "10.12.0.1")
	p.UntilIs(t, `document.getElementById("q").value`, "10.12.0.1")
	p.UntilIs(t, rows, ns+"/a")
	p.UntilIs(t, text("reading"), "Read as: ip.")
	p.Click(t, "#rows a")
	p.Until(t, text("facts")+`.includes("containerd://`+containerID+`")`)
	p.UntilIs(t, `new URLSearchParams(location.search).get("pod")`, ns+"/a")
	p.Click(t, "#close")
	p.Until(t, `!document.getElementById("detail").checkVisibility()`)
	p.UntilIs(t, rows, ns+"/a")
	p.Go(t, origin+"/?state=failing")
	p.UntilIs(t, rows, ns+"/b")
	p.UntilIs(t, `document.getElementById("state").value`, "failing")
	p.Click(t, "th[data-sort=ip] a")
	p.UntilIs(t, `location.search`, "?sort=ip&state=failing")
	p.Go(t, origin+"/?state=nonsense")
	p.Until(t, text("problem")+`.startsWith("state: ")`)
	p.Clean(t)
	p.Go(t, origin+"/no/such/page")
	p.Until(t, `document.body.innerText.includes("There is no page /no/such/page")`)
	p.Click(t, "main a")
	p.UntilIs(t, `location.pathname`, "/")
	p.Clean(t, "404")
}
