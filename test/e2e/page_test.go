package e2e_test

import (
	"path/filepath"
	"testing"

	"github.com/weiyuanke/PodInfoLookup/test/browser"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// usePage finds a Pod by its IP on the page of the binary while the Pod comes,
// runs and goes.
func usePage(t *testing.T) {
	t.Helper()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	program := testenv.Command(t, binary, "--bind-address=127.0.0.1:0", "--kubeconfig="+kubeconfig).Start(t).Ready(t)
	chromium, err := browser.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(chromium.Stop)
	page := chromium.Open(t, "http://"+program.Address(t)+"/")
	nginx := `document.querySelector('#rows tr[data-pod="default/nginx"]')`
	page.UntilIs(t, `document.getElementById("live").innerText`, "Live")
	page.UntilIs(t, nginx, "null")
	kubectl(t, "apply", "-f", "yaml/pod.yaml")
	page.UntilIs(t, nginx+`?.querySelector("[data-label=Status]").textContent`, "Running")
	ip := page.Eval(t, nginx+`.querySelector("[data-label=IP]").firstChild.textContent`)
	page.Type(t, "q", ip)
	page.UntilIs(t, `document.getElementById("count").textContent`, "1 Pod")
	page.Until(t, nginx)
	kubectl(t, "delete", "-f", "yaml/pod.yaml", "--wait=false")
	page.UntilIs(t, nginx, "null")
	page.Clean(t)
}
