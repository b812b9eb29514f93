// Package page_test uses the page in a browser, as its readers do: the built
// program, a real API server, Debian's Chromium.
package page_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/test/browser"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env      *testenv.Env
	binary   string
	chromium *browser.Browser
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) {
		env, binary = e, path
		var err error
		if chromium, err = browser.Start(filepath.Join(e.Dir, "chromium")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		e.AtEnd = chromium.Stop
	})
}

// serve runs the program for some namespaces and returns where its page is.
func serve(t *testing.T, namespaces ...string) (address string) {
	t.Helper()
	p := testenv.Command(t, binary, "--bind-address=127.0.0.1:0", "--kubeconfig="+env.Kubeconfig,
		"--namespace="+strings.Join(namespaces, ","))
	return "http://" + p.Start(t).Ready(t).Address(t)
}

// open serves a namespace of the test's own and opens the page with its Pods.
func open(t *testing.T) (p *browser.Page, namespace string) {
	t.Helper()
	namespace = env.Namespace(t, "")
	p = chromium.Open(t, serve(t, namespace)+"/?namespace="+namespace)
	return p, namespace
}

const (
	rows  = `[...document.querySelectorAll("#rows tr")].map((tr) => tr.dataset.pod).join(" ")`
	count = `document.getElementById("count").textContent`
	// What has the focus: its id, or the Pod whose row it is in, or its text.
	focus = `document.activeElement.id || document.activeElement.closest("#rows tr")?.dataset.pod || document.activeElement.textContent`
)

func text(id string) string { return `document.getElementById("` + id + `").innerText` }

// pod is a Pod to be made. The API server takes its status in a second write.
type pod struct {
	name   string
	ips    []string
	id     string // of its container
	node   string
	hostIP string
	image  string
	phase  corev1.PodPhase // Running without one
	labels map[string]string
	owner  *metav1.OwnerReference
	shared bool // the network of the node
}

func (p *pod) object(namespace string) *corev1.Pod {
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.name, Labels: p.labels},
		Spec:       corev1.PodSpec{NodeName: p.node, ServiceAccountName: "default", Containers: []corev1.Container{{Name: "main", Image: "nginx:1.29"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: p.hostIP,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Image: "nginx:1.29", ContainerID: p.id}},
		},
	}
	if p.phase != "" {
		object.Status.Phase = p.phase
	}
	if main := &object.Status.ContainerStatuses[0]; object.Status.Phase == corev1.PodRunning {
		main.Ready, main.State.Running = true, &corev1.ContainerStateRunning{}
	}
	if p.owner != nil {
		object.OwnerReferences = []metav1.OwnerReference{*p.owner}
	}
	if object.Spec.HostNetwork = p.shared; p.shared {
		object.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	if p.image != "" {
		object.Spec.Containers[0].Image = p.image
	}
	for _, ip := range p.ips {
		object.Status.PodIPs = append(object.Status.PodIPs, corev1.PodIP{IP: ip})
		object.Status.PodIP = p.ips[0]
	}
	return object
}

// create makes Pods with the status that a kubelet would give them, and returns
// the UID of the last.
func create(t *testing.T, namespace string, list ...pod) types.UID {
	t.Helper()
	pods := env.Clients.CoreV1().Pods(namespace)
	var uid types.UID
	for i := range list {
		want := list[i].object(namespace)
		have, err := pods.Create(t.Context(), want, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		have.Status = want.Status
		if _, err := pods.UpdateStatus(t.Context(), have, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		uid = have.UID
	}
	return uid
}

func remove(t *testing.T, namespace, name string) {
	t.Helper()
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := env.Clients.CoreV1().Pods(namespace).Delete(t.Context(), name, options); err != nil {
		t.Fatal(err)
	}
}

// show serves the page with these Pods, which no API server needs to accept.
func show(t *testing.T, pods ...*corev1.Pod) (address string) {
	t.Helper()
	shown := &shownPods{}
	link, err := lookup.ParseLink("Dashboard=https://grafana.example.com/d/pod?ns={{.Namespace}}&pod={{.Name}}&label={{.Labels.evil}}")
	if err != nil {
		t.Fatal(err)
	}
	l, err := lookup.New(t.Context(), lookup.Config{Pods: shown, Version: "v1.2.3", ClusterName: "prod-eu", Links: []lookup.Link{link}})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		shown.handler.OnAdd(podcache.NewPod(pod), true)
	}
	server := httptest.NewServer(l.Handler())
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// shownPods is a cache that is current for ever.
type shownPods struct{ handler cache.ResourceEventHandler }

func (s *shownPods) AddEventHandler(h cache.ResourceEventHandler, _ cache.HandlerOptions) ([]cache.DoneChecker, error) {
	s.handler = h
	return nil, nil
}
func (*shownPods) OnRollback(func(string))       {}
func (*shownPods) AsOf() time.Time               { return time.Now() }
func (*shownPods) Confirm(context.Context) error { return nil }

// between stands between the page and the program. What answer takes (true) is
// not the program's any more.
func between(t *testing.T, address string, answer func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) }, // the Host of the target, too
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			forward.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// axe checks the page as it is now.
func axe(t *testing.T, p *browser.Page) {
	t.Helper()
	found := p.Eval(t, `axe.run(document, {
		resultTypes: ["violations"],
		runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
	}).then((result) => JSON.stringify({
		rules: result.passes.length,
		violations: result.violations.flatMap((v) => v.nodes.map((n) => v.id + ": " + n.target + ": " + n.failureSummary)),
	}))`)
	var result struct {
		Rules      int
		Violations []string
	}
	if err := json.Unmarshal([]byte(found), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Violations) > 0 {
		t.Error(strings.Join(result.Violations, "\n"))
	}
	if result.Rules < 15 {
		t.Errorf("axe found only %d rules to check", result.Rules)
	}
}

func axeScript() (string, error) {
	script, err := os.ReadFile(testenv.Root() + "/hack/axe/node_modules/axe-core/axe.min.js")
	if errors.Is(err, os.ErrNotExist) {
		return "", errors.New("there is no axe-core: hack/axe.sh installs it")
	}
	return string(script), err
}
