package page_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	corev1 "k8s.io/api/core/v1"
)

const containerID = "4f5c0a1be8d2c3f4a5b6c7d8e9f00112233445566778899aabbccddeeff00112"

func TestPage_Search(t *testing.T) {
	p, ns := open(t)
	create(t, ns,
		pod{name: "old", ips: []string{"10.9.0.2"}, phase: corev1.PodSucceeded},
		pod{name: "other", ips: []string{"10.9.0.3", "fd00:9::3"}, node: "search-2", hostIP: "192.0.2.91"})
	uid := string(create(t, ns, pod{
		name: "web", ips: []string{"10.9.0.2", "fd00:9::2"}, id: "containerd://" + containerID, node: "search-1", hostIP: "192.0.2.90",
		image: "registry.example/front:3", labels: map[string]string{"app": "shop-front"},
	}))
	web, old, other := ns+"/web", ns+"/old", ns+"/other"
	p.UntilIs(t, rows, strings.Join([]string{other, web, old}, " ")) // live ones first
	for _, test := range []struct {
		name, typed, wantRows, wantReading string
	}{
		{name: "an IPv4 address of two Pods is ambiguous, the live one first", typed: "10.9.0.2", wantRows: web + " " + old, wantReading: "Read as the IP. Ambiguous: 2 Pods fit, see their notes."},
		{name: "an IPv6 address in another spelling", typed: "[FD00:9:0::2]:80", wantRows: web, wantReading: "Read as the IP."},
		{name: "a UID", typed: strings.ToUpper(uid), wantRows: web, wantReading: "Read as the UID."},
		{name: "a container ID with its runtime", typed: "containerd://" + containerID, wantRows: web, wantReading: "Read as the container ID."},
		{name: "the first 12 digits of a container ID", typed: containerID[:12], wantRows: web, wantReading: "Read as the container ID."},
		{name: "a path of a cgroup", typed: "/kubepods/besteffort/pod" + uid + "/" + containerID, wantRows: web, wantReading: "Read as the container ID."},
		{name: "namespace/name", typed: other, wantRows: other, wantReading: "Read as namespace/name."},
		{name: "a name", typed: "other", wantRows: other, wantReading: "Read as the name."},
		{name: "a node", typed: "search-1", wantRows: web, wantReading: "Read as the node."},
		{name: "the IP of a node", typed: "192.0.2.90", wantRows: web, wantReading: "Read as the node's IP."},
		{name: "a part of a name", typed: "the", wantRows: other, wantReading: "Read as a part of a name"},
		{name: "nothing that there is", typed: "10.9.0.99", wantReading: "Read as a part of a name, IP, UID, container ID, node, workload, image, label or status: no Pod."},
		{name: "a label", typed: "app=shop-front", wantRows: web, wantReading: "Read as the label."},
		{name: "a part of a label", typed: "op-fron", wantRows: web, wantReading: "Read as a part of a name"},
		{name: "a part of an image", typed: "example/fro", wantRows: web, wantReading: "Read as a part of a name"},
		{name: "a quotation mark", typed: `"><b>`, wantReading: "no Pod."},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.Type(t, "q", test.typed)
			p.Until(t, fmt.Sprintf(`%s.replace(/\s+/g, " ").includes(%q)`, text("reading"), test.wantReading))
			p.UntilIs(t, rows, test.wantRows)
			p.UntilIs(t, `new URLSearchParams(location.search).get("q")`, test.typed)
		})
	}
	p.Clean(t)
}

func TestPage_SearchReadOtherwise(t *testing.T) {
	p, ns := open(t)
	// The Pod on the host network has the IP of its node.
	create(t, ns, pod{name: "agent", ips: []string{"192.0.2.80"}, node: "readings", hostIP: "192.0.2.80"},
		pod{name: "a", ips: []string{"10.8.0.1"}, node: "readings", hostIP: "192.0.2.80"})
	p.Type(t, "q", "192.0.2.80")
	p.UntilIs(t, rows, ns+"/agent")
	p.Click(t, `#reading button[value=hostip]`)
	p.UntilIs(t, rows, ns+"/a "+ns+"/agent")
	p.UntilIs(t, `new URLSearchParams(location.search).get("by")`, "hostip")
	p.Go(t, p.Eval(t, `location.href`)) // the address has it all
	p.UntilIs(t, rows, ns+"/a "+ns+"/agent")
	p.UntilIs(t, `document.getElementById("q").value`, "192.0.2.80")
	p.Eval(t, `history.back()`)
	p.UntilIs(t, rows, ns+"/agent")
	p.Clean(t)
}

func TestPage_LateAnswer(t *testing.T) {
	ns := env.Namespace(t, "")
	create(t, ns, pod{name: "slow"}, pod{name: "quick"})
	asked, release := make(chan struct{}), make(chan struct{})
	address := between(t, serve(t, ns), func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v1/search" && r.URL.Query().Get("q") == "slow" {
			close(asked)
			<-release
		}
		return false
	})
	p := chromium.Open(t, address+"/?namespace="+ns)
	p.UntilIs(t, rows, ns+"/quick "+ns+"/slow")
	p.Type(t, "q", "slow")
	<-asked
	p.Type(t, "q", "quick")
	p.UntilIs(t, rows, ns+"/quick")
	close(release)
	p.Eval(t, `fetch("v1/summary").then((answer) => answer.json())`) // asked after the slow one was let go
	p.UntilIs(t, rows, ns+"/quick")
	p.Clean(t)
}

func TestPage_SortAndFilter(t *testing.T) {
	p, ns := open(t)
	create(t, ns,
		pod{name: "a", ips: []string{"10.7.0.10"}, node: "sort-2"},
		pod{name: "b", ips: []string{"10.7.0.9"}, node: "sort-1", phase: corev1.PodPending},
		pod{name: "c", ips: []string{"10.7.0.11"}, node: "sort-1", phase: corev1.PodFailed})
	order := func(names ...string) string {
		for i := range names {
			names[i] = ns + "/" + names[i]
		}
		return strings.Join(names, " ")
	}
	ip := `th[data-sort=ip]`
	sorted := `document.querySelector("` + ip + `").ariaSort`
	p.UntilIs(t, rows, order("a", "b", "c"))
	p.Click(t, ip+" a")
	p.UntilIs(t, rows, order("b", "a", "c"))
	p.UntilIs(t, sorted, "ascending")
	p.Click(t, ip+" a")
	p.UntilIs(t, rows, order("c", "a", "b"))
	p.UntilIs(t, sorted, "descending")
	p.Click(t, ip+" a")
	p.UntilIs(t, rows, order("a", "b", "c"))
	p.UntilIs(t, sorted, "none")

	p.Click(t, "#node")
	p.Press(t, "sort-1"+kb.Enter)
	p.UntilIs(t, rows, order("b", "c"))
	p.Until(t, `document.querySelector("#states li[data-name=failing]")`)
	p.Click(t, "#states li[data-name=failing] a")
	p.UntilIs(t, rows, order("c"))
	p.UntilIs(t, `document.getElementById("state").value`, "failing")
	p.UntilIs(t, `document.querySelector("#states li[data-name=failing] a").ariaCurrent`, "true")
	p.Click(t, ip+" a")
	p.Go(t, p.Eval(t, `location.href`))
	p.UntilIs(t, rows, order("c"))
	p.UntilIs(t, sorted, "ascending")
	p.UntilIs(t, `document.getElementById("node").value`, "sort-1")
	p.Eval(t, `history.back()`)
	p.UntilIs(t, sorted, "none")
	p.Eval(t, `history.back()`)
	p.UntilIs(t, rows, order("b", "c"))
	p.UntilIs(t, `document.getElementById("state").value`, "")
	p.Eval(t, `document.getElementById("state").focus()`)
	p.Press(t, "u") // the option that begins so
	p.UntilIs(t, `new URLSearchParams(location.search).get("state")`, "unwell")
	p.UntilIs(t, rows, order("b", "c"))
	p.Click(t, "#clear")
	p.UntilIs(t, `location.search`, "")
	p.UntilIs(t, focus, "q")
	p.Clean(t)
}

func TestPage_ManyPods(t *testing.T) {
	const many = 1200
	const elsewhere = "many"
	var pods []*corev1.Pod
	for i := range many {
		pods = append(pods, (&pod{name: fmt.Sprintf("pod-%04d", i), ips: []string{fmt.Sprintf("10.6.%d.%d", i/256, i%256)}}).object(elsewhere))
	}
	address := show(t, pods...)
	p := chromium.Open(t, address+"/?namespace="+elsewhere)
	p.UntilIs(t, count, "1–100 of 1,200 Pods")
	p.UntilIs(t, `document.querySelectorAll("#rows tr").length`, "100")
	p.UntilIs(t, `document.getElementById("previous").checkVisibility()`, "false")
	p.Click(t, "#next")
	p.UntilIs(t, count, "101–200 of 1,200 Pods")
	p.UntilIs(t, focus, "results")
	p.Until(t, rows+`.startsWith("`+elsewhere+`/pod-0100 ")`)
	p.UntilIs(t, `new URLSearchParams(location.search).get("page")`, "2")
	p.Go(t, address+"/?namespace="+elsewhere+"&page=12&sort=pod&desc=true")
	p.UntilIs(t, count, "1,101–1,200 of 1,200 Pods")
	p.Until(t, rows+`.endsWith(" `+elsewhere+`/pod-0000")`)
	p.Go(t, address+"/?namespace="+elsewhere+"&page=99") // there were more
	p.UntilIs(t, count, "1,101–1,200 of 1,200 Pods")
	p.Go(t, address+"/?namespace="+elsewhere+"&page=2")
	p.UntilIs(t, count, "101–200 of 1,200 Pods")
	p.Click(t, `#rows tr:nth-child(3) a`) // a Pod that was looked at leaves the page where it was
	p.Until(t, `document.getElementById("detail").open`)
	p.Press(t, kb.Escape)
	p.Until(t, `!document.getElementById("detail").open && !location.search.includes("pod=")`)
	p.UntilIs(t, count, "101–200 of 1,200 Pods")
	p.Click(t, "#previous")
	p.UntilIs(t, count, "1–100 of 1,200 Pods")
	p.Click(t, `th[data-sort=ip] a`)
	p.Click(t, `th[data-sort=ip] a`)
	p.Until(t, rows+`.startsWith("`+elsewhere+`/pod-1199 ")`)
	p.Type(t, "q", "10.6.4.175")
	p.UntilIs(t, rows, elsewhere+"/pod-1199")
	p.UntilIs(t, count, "1 Pod")
	p.Clean(t)
}
