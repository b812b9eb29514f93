package page_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

func TestPage_DetailFields(t *testing.T) {
	const elsewhere = "detail"
	of := (&pod{
		name: "web-5d9c7b8f6-x2x4z", ips: []string{"10.4.0.1", "fd00:4::1"}, id: "containerd://" + containerID, node: "detail-1",
		hostIP: "192.0.2.70", labels: map[string]string{"app": "web", "example.com/tier": "front", "pod-template-hash": "5d9c7b8f6"},
		owner: &metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9c7b8f6", Controller: new(true)},
	}).object(elsewhere)
	of.UID = "0fabc8b0-d40e-4a09-a608-0edc993d8178"
	of.Spec.ServiceAccountName = "web"
	of.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: "busybox:1"}}
	p := chromium.Open(t, show(t, of)+"/?namespace="+elsewhere+"&pod="+elsewhere+"/"+of.Name) // an address that was shared
	p.Allow(t, "clipboard-read", "clipboard-write")
	p.UntilIs(t, focus, "title")
	p.UntilIs(t, text("copied"), "Click a value to copy it.")
	p.UntilIs(t, `document.title`, elsewhere+"/"+of.Name+" · prod-eu · PodInfoLookup")
	p.UntilIs(t, text("cluster"), "prod-eu")
	p.Until(t, `document.querySelector("#facts .state[data-state=ready]")`)
	p.Until(t, `document.querySelector("#facts .links a").href == "https://grafana.example.com/d/pod?ns=detail&pod=web-5d9c7b8f6-x2x4z&label="`)
	var got [][2]string
	fields := `JSON.stringify([...document.querySelectorAll("#facts dl > div")].flatMap((div) =>
		[...div.querySelectorAll("dd")].map((dd) => [div.firstChild.textContent, dd.firstChild.textContent])))`
	if err := json.Unmarshal([]byte(p.Eval(t, fields)), &got); err != nil {
		t.Fatal(err)
	}
	key := elsewhere + "/" + of.Name
	const kubectl = "kubectl -n " + elsewhere + " "
	want := [][2]string{
		{"Image", "nginx:1.29"}, {"ID", "containerd://" + containerID},
		{"Image", "busybox:1"}, {"ID", "none"},
		{"IP", "10.4.0.1"}, {"IP", "fd00:4::1"}, {"Node", "detail-1"}, {"Node's IP", "192.0.2.70"},
		{"Workload", "deployment/web"}, {"Owner", "replicaset/web-5d9c7b8f6"},
		{"Pod", key}, {"Name", of.Name}, {"Namespace", elsewhere}, {"UID", string(of.UID)}, {"Phase", "Running"}, {"Ready", "yes, 1/1 containers"},
		{"Service account", "web"}, {"Testcr", desired.FromPod(of).Name},
		{"Logs", kubectl + "logs " + of.Name + " --all-containers --tail=100"}, {"Describe", kubectl + "describe pod " + of.Name},
		{"Shell", kubectl + "exec -it " + of.Name + " -c main -- sh"}, {"YAML", kubectl + "get pod " + of.Name + " -o yaml"},
		{"app", "web"}, {"example.com/tier", "front"}, {"pod-template-hash", "5d9c7b8f6"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	want = slices.DeleteFunc(want, func(field [2]string) bool { return field[1] == "none" })
	for i, field := range want {
		wanted := field[1]
		if i >= len(want)-len(of.Labels) { // in the form of a selector
			wanted = field[0] + "=" + field[1]
		}
		p.Eval(t, `document.querySelectorAll("#facts button[data-copy]")[`+jsonOf(t, i)+`].click()`)
		p.UntilIs(t, `navigator.clipboard.readText()`, wanted)
		p.Until(t, text("copied")+`.endsWith(`+jsonOf(t, ": "+wanted)+`)`)
	}
	p.Click(t, "#json")
	// The page shows it after the browser has the text: only then is this copy done.
	p.Until(t, text("copied")+`.startsWith("Copied all as JSON")`)
	p.Until(t, `navigator.clipboard.readText().then((text) => JSON.parse(text).poduid == "`+string(of.UID)+`")`)
	// Without the clipboard of a secure context.
	p.Eval(t, `navigator.clipboard.writeText = () => Promise.reject(new Error("not allowed"))`)
	p.Click(t, `#facts button[data-copy="UID 0"]`)
	p.UntilIs(t, text("copied"), "Copied UID: "+string(of.UID))
	p.UntilIs(t, `navigator.clipboard.readText()`, string(of.UID))
	p.Press(t, kb.Escape)
	p.Until(t, `!document.getElementById("detail").open && !location.search.includes("pod=")`)
	p.Clean(t)
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPage_DetailInHistory(t *testing.T) {
	p, ns := open(t)
	node := ns + "-node"
	create(t, ns, pod{name: "a", node: node}, pod{name: "b", node: node}, pod{name: "c"})
	opened := `document.getElementById("detail").open && new URLSearchParams(location.search).get("pod")`
	p.UntilIs(t, rows, ns+"/a "+ns+"/b "+ns+"/c")
	p.Click(t, "#rows tr:nth-child(2) a")
	p.UntilIs(t, opened, ns+"/b")
	p.Eval(t, `history.back()`)
	p.UntilIs(t, opened, "false")
	p.UntilIs(t, focus, ns+"/b")
	p.Eval(t, `history.forward()`)
	p.UntilIs(t, opened, ns+"/b")
	p.Until(t, text("facts")+`.includes("Container main")`) // nothing moves any more
	// Back and forward at once: the close event arrives when the dialog is open again.
	p.Eval(t, `new Promise((told) => {
		const dialog = document.getElementById("detail");
		dialog.addEventListener("close", told, { once: true });
		dialog.close();
		dialog.show();
	})`)
	p.Click(t, `#facts a[aria-label="Its Pods: all of Node `+node+`"]`)
	p.UntilIs(t, opened, "false")
	p.UntilIs(t, rows, ns+"/a "+ns+"/b")
	p.UntilIs(t, `location.search`, "?node="+node)
	p.Clean(t)
}

// Beside the rows: another query or Pod leaves no step that opens an earlier Pod again.
func TestPage_DetailBesideRows(t *testing.T) {
	p, ns := open(t)
	create(t, ns, pod{name: "a"}, pod{name: "b"}, pod{name: "c", phase: corev1.PodFailed})
	p.UntilIs(t, rows, ns+"/a "+ns+"/b "+ns+"/c")
	opened := `document.getElementById("detail").open && new URLSearchParams(location.search).get("pod")`
	p.Click(t, "#rows tr:nth-child(2) a")
	p.UntilIs(t, opened, ns+"/b")
	p.Until(t, text("facts")+`.includes("Container main")`)
	// The skip link goes to the rows, not to the Pod.
	p.Eval(t, `document.querySelector(".skip").focus()`)
	p.Press(t, kb.Enter)
	p.UntilIs(t, `location.hash`, "#results")
	p.UntilIs(t, focus, "results")
	p.Type(t, "q", ns)
	p.UntilIs(t, `new URLSearchParams(location.search).get("q")`, ns)
	p.UntilIs(t, text("say"), "3 Pods found")
	p.UntilIs(t, opened, ns+"/b")
	p.Click(t, "#rows tr:nth-child(1) a")
	p.UntilIs(t, opened, ns+"/a")
	p.Press(t, kb.Escape)
	p.UntilIs(t, opened, "false")
	p.Until(t, `!location.search.includes("pod=")`)
	p.UntilIs(t, `new URLSearchParams(location.search).get("q")`, ns)
	// The address of a link has no Pod, so neither has the page.
	p.Click(t, "#rows tr:nth-child(1) a")
	p.UntilIs(t, opened, ns+"/a")
	p.Until(t, `document.querySelector("#states li[data-name=failing]")`)
	p.Click(t, "#states li[data-name=failing] a")
	p.UntilIs(t, rows, ns+"/c")
	p.UntilIs(t, opened, "false")
	p.Eval(t, `history.back()`)
	p.UntilIs(t, opened, ns+"/a")
	p.Until(t, rows+`.startsWith("`+ns+`/a ")`)
	p.Eval(t, `history.back()`)
	p.UntilIs(t, opened, "false")
	p.Clean(t)
}

func TestPage_HostileText(t *testing.T) {
	p, ns := open(t)
	const hostile = `<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>`
	const elsewhere = "hostile"
	of := (&pod{
		name: "a", image: hostile, node: hostile, id: "x://" + hostile, labels: map[string]string{"evil": hostile, hostile: "evil"},
		ips: []string{hostile}, phase: hostile, owner: &metav1.OwnerReference{Kind: hostile, Name: hostile, Controller: new(true)},
	}).object(elsewhere)
	of.Spec.ServiceAccountName = hostile
	create(t, ns, pod{name: "real", image: hostile}) // the API server takes it
	p.UntilIs(t, rows, ns+"/real")
	p.Clean(t)
	p = chromium.Open(t, show(t, of)+"/?namespace="+elsewhere)
	p.UntilIs(t, rows, elsewhere+"/a")
	p.Until(t, text("rows")+`.includes(`+jsonOf(t, hostile)+`)`)
	p.Until(t, `[...document.querySelectorAll("#nodes option")].some((e) => e.value == `+jsonOf(t, hostile)+`)`)
	p.Click(t, "#rows a")
	p.Until(t, `document.querySelector("#facts").textContent.split(`+jsonOf(t, hostile)+`).length > 7`)
	p.Press(t, kb.Escape)
	p.Until(t, `!document.getElementById("detail").open`)
	p.Type(t, "q", strings.ToUpper(hostile))
	p.UntilIs(t, `new URLSearchParams(location.search).get("q")`, strings.ToUpper(hostile))
	p.Until(t, text("reading")+`.includes("Read as a part")`) // of the node's name
	p.UntilIs(t, rows, elsewhere+"/a")
	p.Go(t, p.Eval(t, `location.href`))
	p.UntilIs(t, `document.getElementById("q").value`, strings.ToUpper(hostile))
	p.UntilIs(t, rows, elsewhere+"/a")
	p.UntilIs(t, `document.images.length + document.scripts.length`, "2") // its own
	p.UntilIs(t, `window.hurt`, "undefined")
	p.Clean(t)
}
