package page_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/test/browser"
)

// states is set by hack/screenshots.sh.
var states = flag.String("states", "", "Folder to keep a screenshot of each state and width in.")

// longNames returns 3,000 Pods as a large cluster has them, 30 of which are not well.
func longNames() []*corev1.Pod {
	var pods []*corev1.Pod
	names := []struct{ namespace, name string }{
		{"production-checkout", "checkout-service-7dfb7b87b-"}, {"payments", "ledger-reconciliation-statement-import-worker-5c6f7d8b9-"}, {"shop", "cart-6f8d7c5b9-"},
	}
	for i := range 3000 {
		of := names[i%len(names)]
		id := fmt.Sprintf("%064x", i+1)
		owner := of.name[:len(of.name)-1]
		object := (&pod{
			name: of.name + fmt.Sprintf("%05x", i), ips: []string{fmt.Sprintf("10.%d.%d.%d", 100+i/65536, i/256, i%256)}, id: "containerd://" + id,
			node: fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", i%100/10, i%10), hostIP: fmt.Sprintf("192.0.2.%d", i%100),
			image:  "registry.example.com/platform/" + owner + ":2.11.1",
			labels: map[string]string{"app": owner[:len(owner)-10], "pod-template-hash": owner[len(owner)-9:], "team": "checkout"},
			owner:  &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner, Controller: new(true)},
		}).object(of.namespace)
		object.UID = types.UID(fmt.Sprintf("%08x-d40e-4a09-a608-0edc993d8178", i))
		object.CreationTimestamp = metav1.NewTime(taken.Add(-time.Duration(3000-i) * time.Minute))
		main := &object.Status.ContainerStatuses[0]
		main.State.Running = &corev1.ContainerStateRunning{}
		main.Ready, main.ImageID = true, "registry.example.com/platform/"+owner+"@sha256:"+id
		switch i % 100 {
		case 0:
			main.Ready, main.RestartCount = false, 12
			main.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
			main.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ContainerID: "containerd://" + id[1:] + "f", Reason: "OOMKilled", ExitCode: 137}
		case 1:
			object.Status.Phase, object.Status.PodIPs, object.Status.PodIP = corev1.PodPending, nil, ""
			object.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}
		case 2:
			object.Status.Phase = corev1.PodSucceeded
		case 3:
			object.DeletionTimestamp = new(metav1.NewTime(taken))
		}
		pods = append(pods, object)
	}
	return pods
}

const unwellPod = "production-checkout/checkout-service-7dfb7b87b-00000"

// What of the page reaches out of its box: a word that is broken has its box in two lines.
const (
	tooWide = `document.documentElement.scrollWidth - document.documentElement.clientWidth`
	// Cells that overlap, and the values of the columns that are not in one line.
	crowded = `[...document.querySelectorAll("#rows tr")].slice(0, 5).flatMap((tr) => {
		const cells = [...tr.children].filter((td) => td.checkVisibility()).map((td) => [td, td.getBoundingClientRect()]);
		return cells.flatMap(([td, box], i) => [
			...cells.slice(i + 1).filter(([, other]) => other.left < box.right - 1 && other.right > box.left + 1 && other.top < box.bottom - 1 && other.bottom > box.top + 1)
				.map(([other]) => td.textContent + " overlaps " + other.textContent),
			...(td.dataset.label && td.dataset.label !== "Status" && innerWidth > 600 && td.textContent && box.height > tr.getBoundingClientRect().height + 1 ? [td.textContent + " is broken"] : []),
			...[...td.querySelectorAll("a, .more, .ns")].filter((e) => innerWidth > 600 && e.getClientRects().length > 1 || e.getBoundingClientRect().right > box.right + 1).map((e) => e.textContent + " leaves its cell"),
		]);
	}).join("\n")`
)

// hidden returns the parts of the names of Pods that are broken in two lines or not seen
// whole, and the rows whose last five characters of the name are not seen.
const hidden = `[...document.querySelectorAll("#rows tr")].flatMap((tr) => {
	const cell = tr.firstElementChild, box = cell.getBoundingClientRect(), link = cell.querySelector("a");
	const seen = (range) => {
		const rects = [...range.getClientRects()];
		return rects.length == 1 && rects.every((r) => r.width && r.left >= box.left && r.right <= box.right + 0.5 && r.bottom <= box.bottom + 0.5 && r.right <= innerWidth);
	};
	const range = document.createRange(), parts = [...link.childNodes].filter((node) => node.data);
	const broken = parts.filter((node) => (range.selectNodeContents(node), !seen(range))).map((node) => tr.dataset.pod + ": " + node.data);
	const last = parts.at(-1), tail = last.data.slice(-5);
	range.setStart(last, last.length - tail.length);
	range.setEnd(last, last.length);
	return link.textContent == tr.dataset.pod.split("/")[1] && tr.dataset.pod.endsWith(tail) && seen(range) ? broken : [...broken, tr.dataset.pod + " has no end"];
}).join("\n")`

// torn returns the states whose symbol is not in the line of the first word, and in a table
// those that are broken.
const torn = `[...document.querySelectorAll("#rows .state")].filter((e) => {
	const range = document.createRange();
	range.selectNodeContents(e.firstChild);
	return range.getBoundingClientRect().top > e.getClientRects()[0].top + 3 || !getComputedStyle(e, "::before").content.includes("\u00a0") ||
		innerWidth > 600 && e.offsetHeight > 25;
}).map((e) => e.textContent).join("\n")`

func TestPage_Layout(t *testing.T) {
	script, err := axeScript()
	if err != nil {
		t.Fatal(err)
	}
	address := show(t, longNames()...)
	p := chromium.Open(t, address+"/")
	p.Bypass(t) // for axe alone
	for _, width := range []int64{390, 768, 1024, 1280, 1920} {
		for _, state := range []struct{ name, query, ready string }{
			{name: "first", ready: text("count") + `.includes("3,000 Pods")`},
			{name: "search", query: "?q=10.100.0.30", ready: count + ` == "1 Pod"`},
			{name: "text", query: "?q=oomkilled&page=1", ready: count + ` == "30 Pods"`},
			{name: "nothing", query: "?q=10.9.9.9", ready: count + ` == "0 Pods"`},
			{name: "detail", query: "?state=unwell&pod=" + unwellPod, ready: text("facts") + `.includes("team")`},
		} {
			t.Run(fmt.Sprintf("%s, %d pixels wide", state.name, width), func(t *testing.T) {
				p.Resize(t, width, 800, width < 700)
				p.Prefer(t, map[bool]string{true: browser.Dark, false: browser.Light}[width == 1024])
				p.Go(t, address+"/"+state.query)
				p.UntilIs(t, text("live"), "Live")
				p.Until(t, state.ready)
				p.Until(t, `document.querySelector("#states li")`)
				p.UntilIs(t, tooWide, "0")
				p.UntilIs(t, crowded, "")
				p.UntilIs(t, hidden, "")
				p.UntilIs(t, torn, "")
				if *states != "" {
					p.Eval(t, `document.activeElement.blur()`)
					file := filepath.Join(*states, fmt.Sprintf("%s-%d.png", state.name, width))
					if err := os.WriteFile(file, smaller(t, p.Screenshot(t)), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				// Narrow and dark, the others have the same parts.
				isWhole := state.name == "first" || state.name == "detail"
				if width == 1280 || isWhole && (width == 390 || width == 1024) {
					p.Eval(t, "(() => {"+script+"\n})()")
					axe(t, p)
				}
				if state.name != "detail" {
					return
				}
				beside := width >= 1200
				p.UntilIs(t, `document.getElementById("detail").matches(":modal")`, fmt.Sprint(!beside))
				if beside {
					// State, image and IDs are seen without scrolling, and the rows beside them.
					p.Until(t, `[...document.querySelectorAll("#facts .id .value")].slice(0, 4).every((e) => e.getBoundingClientRect().bottom < innerHeight)`)
					p.Until(t, `document.getElementById("results").getBoundingClientRect().right <= document.getElementById("detail").getBoundingClientRect().left`)
				}
			})
		}
	}
}
