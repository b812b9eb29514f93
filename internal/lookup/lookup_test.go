package lookup_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// informer is a fake cache of Pods. Its embedded handler is that of the Lookup.
type informer struct {
	cache.ResourceEventHandler

	synced     chan struct{}
	asOf       atomic.Pointer[time.Time]
	onRollback func(version string)
	refused    error // the error of the handler's registration
	version    int
	confirm    func(context.Context) error // nil never confirms
	confirms   atomic.Int32
}

func (i *informer) AddEventHandler(h cache.ResourceEventHandler, _ cache.HandlerOptions) ([]cache.DoneChecker, error) {
	i.ResourceEventHandler = h
	return []cache.DoneChecker{i}, i.refused
}
func (i *informer) Name() string          { return "test" }
func (i *informer) Done() <-chan struct{} { return i.synced }

func (i *informer) Confirm(ctx context.Context) error {
	i.confirms.Add(1)
	if i.confirm == nil {
		return podcache.ErrUnproven
	}
	return i.confirm(ctx)
}

func (i *informer) AsOf() time.Time { return *i.asOf.Load() }

func (i *informer) setAsOf(at time.Time) { i.asOf.Store(&at) }

func (i *informer) OnRollback(f func(version string)) { i.onRollback = f }

// add adds pods, the first of which gets version 101.
func (i *informer) add(pods ...*corev1.Pod) {
	for _, pod := range pods {
		pod = pod.DeepCopy()
		i.version++
		pod.ResourceVersion = fmt.Sprint(100 + i.version)
		i.OnAdd(podcache.NewPod(pod), true)
	}
}

// serve returns a synced informer and the handler of its Lookup.
func serve(t *testing.T, pods ...*corev1.Pod) (*informer, http.Handler) {
	t.Helper()
	return serveWith(t, lookup.Config{Version: "v1.2.3"}, pods...)
}

func serveWith(t *testing.T, config lookup.Config, pods ...*corev1.Pod) (*informer, http.Handler) {
	t.Helper()
	i := &informer{synced: make(chan struct{})}
	i.setAsOf(time.Now())
	config.Pods = i
	l, err := lookup.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	i.add(pods...)
	close(i.synced)
	return i, l.Handler()
}

// get asks for path with an Accept header, none where it is empty.
func get(t *testing.T, h http.Handler, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// answer has the fields of all answers.
type answer struct {
	Error string
	lookup.View
	Total      int
	Ambiguous  bool
	Address    *lookup.Address
	Items      []lookup.Pod
	Continue   string
	Pod        lookup.Pod
	Q, ReadAs  string
	Readings   []reading
	Phases     []count
	Nodes      []count
	OtherNodes struct{ Nodes, Count int }
	Namespaces []count
	States     []count

	NodeCount, NamespaceCount int
}

type (
	reading struct {
		By, Text string
		Total    int
	}
	count struct {
		Name  string
		Count int
	}
)

// ask gets JSON. No answer may have a field that answer has not.
func ask(t *testing.T, h http.Handler, path string) (int, answer) {
	t.Helper()
	w := get(t, h, path, "")
	header := map[string]string{}
	for _, name := range []string{"Content-Type", "Cache-Control", "Vary"} {
		header[name] = w.Header().Get(name)
	}
	if diff := cmp.Diff(map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Vary": "Accept"}, header); diff != "" {
		t.Errorf("header of %s (-want +got):\n%s", path, diff)
	}
	var a answer
	decoder := json.NewDecoder(w.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&a); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return w.Code, a
}

// keysOf are the Pods of an answer, shortly.
func keysOf(items []lookup.Pod) string {
	keys := make([]string, len(items))
	for i := range items {
		keys[i] = items[i].PodKey
	}
	return strings.Join(keys, " ")
}

const webID = "4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a69788796a5b4c3d2e1f0"

func uidOf(i int) string { return fmt.Sprintf("0f1e2d3c-4b5a-6978-8796-%012d", i) }

// pod is a running Pod on a node, as change leaves it.
func pod(namespace, name string, uid int, ip, node string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(uidOf(uid)),
			CreationTimestamp: metav1.NewTime(time.Now().Add(-time.Duration(uid) * time.Hour)),
		},
		Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "main", Image: "nginx:1.29"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip, HostIP: strings.Replace(node, "node-", "192.168.0.", 1),
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ContainerID: fmt.Sprintf("containerd://%064x", uid)}},
		},
	}
	if change != nil {
		change(p)
	}
	return p
}

func ownedBy(kind, name string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: name, Controller: new(true)}}
}

// shop is a cluster in which most facts are of several Pods. In order it is:
// kube-system/proxy shop/web-1 team/pending team/web-1 | shop/web-2 | shop/old.
func shop() []*corev1.Pod {
	return []*corev1.Pod{
		pod("shop", "web-1", 1, "10.0.0.1", "node-1", func(p *corev1.Pod) {
			p.OwnerReferences, p.Labels = ownedBy("ReplicaSet", "web-5d9f"), map[string]string{"pod-template-hash": "5d9f"}
			p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}}
			p.Status.ContainerStatuses[0].ContainerID = "containerd://" + webID
			p.Spec.ServiceAccountName = "web"
			p.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: "busybox"}}
		}),
		pod("shop", "web-2", 2, "10.0.0.2", "node-2", func(p *corev1.Pod) {
			p.OwnerReferences, p.Labels = ownedBy("ReplicaSet", "web-5d9f"), map[string]string{"pod-template-hash": "5d9f"}
			p.DeletionTimestamp = new(metav1.Now())
		}),
		pod("shop", "old", 3, "10.0.0.1", "node-1", func(p *corev1.Pod) {
			p.OwnerReferences, p.Status.Phase = ownedBy("Job", "once"), corev1.PodSucceeded
		}),
		pod("kube-system", "proxy", 4, "192.168.0.1", "node-1", func(p *corev1.Pod) {
			p.OwnerReferences, p.Spec.HostNetwork = ownedBy("DaemonSet", "proxy"), true
		}),
		pod("team", "web-1", 5, "10.0.0.10", "node-2", func(p *corev1.Pod) { p.OwnerReferences = ownedBy("StatefulSet", "web") }),
		pod("team", "pending", 6, "", "", func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: corev1.PodPending}
			p.Spec.Containers = nil
		}),
	}
}

const all = "kube-system/proxy shop/web-1 team/pending team/web-1 shop/web-2 shop/old"

func TestPods(t *testing.T) {
	_, h := serve(t, shop()...)
	tests := []struct {
		name, query   string
		want          string // the Pods; none: 404
		wantAmbiguous bool
		wantError     string
	}{
		{"all", "", all, false, ""},
		{"an IP that a completed Pod had", "ip=10.0.0.1", "shop/web-1 shop/old", true, ""},
		{"an IPv6 address in another spelling", "ip=" + url.QueryEscape("[FD00:0::1%eth0]:80"), "shop/web-1", false, ""},
		{"an IP of a node and of a Pod there", "ip=192.168.0.1", "kube-system/proxy", false, ""},
		{"a UID in capitals", "uid=" + strings.ToUpper(uidOf(2)), "shop/web-2", false, ""},
		{"a container ID", "container=containerd://" + webID, "shop/web-1", false, ""},
		{"the beginning of container IDs", "container=0000000000000000", "kube-system/proxy team/web-1 shop/web-2 shop/old", true, ""},
		{"a key", "key=shop/web-1", "shop/web-1", false, ""},
		{"a name in two namespaces", "name=web-1", "shop/web-1 team/web-1", true, ""},
		{"a name in its namespace", "name=web-1&namespace=team", "team/web-1", false, ""},
		{"a namespace", "namespace=shop", "shop/web-1 shop/web-2 shop/old", false, ""},
		{"a node", "node=node-2", "team/web-1 shop/web-2", false, ""},
		{"the IP of a node", "hostip=192.168.0.2", "team/web-1 shop/web-2", false, ""},
		{"a workload", "workload=web", "shop/web-1 team/web-1 shop/web-2", false, ""},
		{"a workload with its kind", "workload=deploy/web", "shop/web-1 shop/web-2", false, ""},
		{"an owner", "workload=rs/web-5d9f", "shop/web-1 shop/web-2", false, ""},
		{"a phase of any case", "phase=running", "kube-system/proxy shop/web-1 team/web-1 shop/web-2", false, ""},
		{"a phase that no Pod is in, which is no term", "phase=Failed", "", false, ""},
		{"a term and a phase", "ip=10.0.0.1&phase=Running", "shop/web-1", false, ""},
		{"all terms at once", "ip=10.0.0.1&uid=" + uidOf(1) + "&container=" + webID[:12] + "&key=shop/web-1&name=web-1&namespace=shop" +
			"&node=node-1&hostip=192.168.0.1&workload=web&phase=Running&limit=5", "shop/web-1", false, ""},
		{"one term twice", "ip=10.0.0.1&ip=fd00::1", "shop/web-1", false, ""},
		{"two terms that exclude each other", "ip=10.0.0.1&ip=10.0.0.2", "", false, "no Pod with ip 10.0.0.1 and ip 10.0.0.2"},
		{"no such IP", "ip=10.0.0.9", "", false, "no Pod with ip 10.0.0.9"},
		{"no such IP in another spelling", "ip=FD00:0::9", "", false, "no Pod with ip fd00::9"},
		{"no such workload in that phase", "workload=deploy/x&phase=Running", "", false, "no Pod with workload deployment/x and phase Running"},
		{"not in that phase", "name=web-1&phase=Pending", "", false, "no Pod with name web-1 and phase Pending"},
		{"what would spoil a terminal", "name=" + url.QueryEscape("a\x1b[2J\nb\xff"), "", false, `no Pod with name a\u001b[2J\u000ab` + "\ufffd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, got := ask(t, h, "/v1/pods?"+test.query)
			want := answer{Error: test.wantError, View: lookup.View{ResourceVersion: "106", AgeSeconds: got.AgeSeconds, Pods: new(6)}}
			wantCode := http.StatusNotFound
			if test.wantError == "" {
				wantCode, want.Ambiguous, want.Total = http.StatusOK, test.wantAmbiguous, len(strings.Fields(test.want))
				if got.Items == nil {
					t.Error("items are null")
				}
			}
			if diff := cmp.Diff(test.want, keysOf(got.Items)); diff != "" || code != wantCode {
				t.Errorf("status %d, want %d (-want +got):\n%s", code, wantCode, diff)
			}
			got.Items = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("besides the Pods (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	_, h := serve(t, shop()...)
	token := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	tests := []struct {
		name, path string
		want       string // the beginning of the error
	}{
		{"an unknown parameter", "/v1/pods?ipp=10.0.0.1", `unknown parameter "ipp": there are ip, uid, container, key, name, node, hostip, workload, image, label, namespace, phase, limit, continue`},
		{"a parameter of search", "/v1/pods?q=10.0.0.1", `unknown parameter "q": there are `},
		{"a parameter where there are none", "/v1/pods/shop/web-1?ip=10.0.0.1", `unknown parameter "ip": there are none`},
		{"a parameter in capitals", "/v1/search?Q=web", `unknown parameter "Q": there are q, by, namespace, node, phase, state, sort, desc, limit, page, continue`},
		{"an unknown parameter of the summary", "/v1/summary?phase=Running", `unknown parameter "phase": there are namespace, node`},
		{"an unknown parameter of the front", "/?query=web", `unknown parameter "query": there are q, by, `},
		{"an unknown parameter without a name", "/v1/pods?=", `unknown parameter ""`},
		{"an IP that is none", "/v1/pods?ip=web", `ip: "web" is not an IPv4 or IPv6 address`},
		{"a prefix", "/v1/pods?ip=10.0.0.0/8", `ip: "10.0.0.0/8" is not an IPv4 or IPv6 address`},
		{"the IP of a node that is none", "/v1/pods?hostip=node-1", `hostip: "node-1" is not an IPv4 or IPv6 address`},
		{"a short container ID", "/v1/pods?container=abc", `container: "abc" is not a container ID: at least its first 12 characters are needed`},
		{"a key without a namespace", "/v1/pods?key=web-1", `key: "web-1" is not NAMESPACE/NAME`},
		{"an empty value", "/v1/pods?ip=", "ip: nothing to look for: "},
		{"a value of spaces", "/v1/pods?name=%20%09", "name: nothing to look for: "},
		{"a value that is too long", "/v1/pods?name=" + strings.Repeat("a", 1025), `name: "aaaaaaaaaaaaaaaa"... is longer than anything that names a Pod`},
		{"a malformed query", "/v1/pods?ip=%zz", `the query is malformed: invalid URL escape "%zz"`},
		{"a semicolon", "/v1/pods?ip=10.0.0.1;limit=2", "the query is malformed: invalid semicolon separator in query"},
		{"a malformed query of the front", "/?q=%zz", `the query is malformed: invalid URL escape "%zz"`},
		{"a limit of nothing", "/v1/pods?limit=0", `limit: "0" is not a number from 1 to 500`},
		{"a limit below nothing", "/v1/pods?limit=-1", `limit: "-1" is not a number from 1 to 500`},
		{"a limit that is too large", "/v1/search?limit=501", `limit: "501" is not a number from 1 to 500`},
		{"a limit that no number has", "/v1/pods?limit=99999999999999999999", `limit: "99999999999999999999" is not a number from 1 to 500`},
		{"a limit that is none", "/v1/pods?limit=all", `limit: "all" is not a number from 1 to 500`},
		{"a continue that is not base64", "/v1/pods?continue=!", "continue: not what an answer gave: ask again without it"},
		{"a continue that is not JSON", "/v1/pods?continue=" + token("a/b"), "continue: not what an answer gave"},
		{"a continue without a Pod", "/v1/search?continue=" + token("{}"), "continue: not what an answer gave"},
		{"a continue with another type in it", "/v1/search?continue=" + token(`{"k":5}`), "continue: not what an answer gave"},
		{"a continue with a wrong time", "/v1/search?continue=" + token(`{"k":"a/b","c":"now"}`), "continue: not what an answer gave"},
		{"a state that is none", "/v1/search?state=well", `state: "well" is not one of failing, waiting, terminating, ready, completed, unwell`},
		{"no page", "/v1/search?page=0", `page: "0" is not a number from 1 to 10000`},
		{"a page and a token", "/v1/search?page=2&continue=x", "page and continue are two ways to the same: give one"},
		{"an order that is none", "/v1/search?sort=size", `sort: "size" is not one of age, attention, ip, namespace, node, phase, pod, status, workload`},
		{"a direction that is none", "/v1/search?desc=down", `desc: "down" is neither true nor false`},
		{"a kind that is none", "/v1/search?q=web&by=color", `by: "color" is not one of ip, uid, container, key, name, node, hostip, workload, image, label, namespace, text`},
		{"a kind that is none, of nothing", "/v1/search?by=color", `by: "color" is not one of `},
		{"what is not of the kind", "/v1/search?q=web&by=ip", `"web" is not an IPv4 or IPv6 address`},
		{"a range of too much", "/v1/search?q=10.0.0.0/8&by=ip", `"10.0.0.0/8" is not an IPv4 or IPv6 address`},
		{"a part where a value is needed", "/v1/pods?ip=10.0.0.0/24", `ip: "10.0.0.0/24" is not an IPv4 or IPv6 address`},
		{"a node with a slash", "/v1/search?node=a/b", `node: "a/b" is not the name of a node: it has a slash`},
		{"a namespace with a slash", "/v1/summary?namespace=a/b", `namespace: "a/b" is not the name of a namespace: it has a slash`},
		{"a path with a slash in a name", "/v1/pods/a%2Fb/c", `"a/b/c" is not NAMESPACE/NAME`},
		{"a path without a name", "/v1/pods/shop/%20", `"shop/" is not NAMESPACE/NAME`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			accept := ""
			if strings.HasPrefix(test.path, "/?") { // the front has no JSON
				accept = "text/plain"
			}
			w := get(t, h, test.path, accept)
			text := strings.TrimSuffix(w.Body.String(), "\n")
			if accept == "" {
				var a answer
				if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
					t.Fatal(err)
				}
				text = a.Error
			}
			if w.Code != http.StatusBadRequest || !strings.HasPrefix(text, test.want) || strings.Contains(text, "\n") {
				t.Errorf("status %d, want 400; the error is\n%s\nwant\n%s", w.Code, text, test.want)
			}
		})
	}
}

func TestPodByItsPath(t *testing.T) {
	_, h := serve(t, shop()...)
	code, got := ask(t, h, "/v1/pods/shop/web-1")
	testcr := desired.FromPod(shop()[0])
	want := answer{
		View: lookup.View{ResourceVersion: "106", AgeSeconds: got.AgeSeconds, Pods: new(6)},
		Pod:  lookup.Pod{Testcr: testcr.Name, Live: true, State: "waiting", TestcrSpec: testcr.Spec},
	}
	if diff := cmp.Diff(want, got); diff != "" || code != http.StatusOK {
		t.Errorf("status %d, want 200 (-want +got):\n%s", code, diff)
	}
	code, got = ask(t, h, "/v1/pods/shop/web-9")
	want = answer{Error: "no Pod with key shop/web-9", View: lookup.View{ResourceVersion: "106", AgeSeconds: got.AgeSeconds, Pods: new(6)}}
	if diff := cmp.Diff(want, got); diff != "" || code != http.StatusNotFound {
		t.Errorf("status %d, want 404 (-want +got):\n%s", code, diff)
	}
	for _, path := range []string{"/v1/pods/shop/web-1%20", "/v1/pods/%20shop/web-1", "/v1/pods/SHOP/web-1"} {
		if code, got := ask(t, h, path); code != http.StatusNotFound {
			t.Errorf("%s: %d %s, want 404: the caller's rights are those on another Pod", path, code, got.Pod.PodKey)
		}
	}
	// The response contains all fields of the Testcr under the same names.
	var item, spec map[string]any
	var whole struct{ Pod json.RawMessage }
	if err := json.Unmarshal(get(t, h, "/v1/pods/shop/web-1", "").Body.Bytes(), &whole); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(whole.Pod, &item); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(testcr.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	spec["testcr"], spec["live"], spec["state"] = testcr.Name, true, "waiting"
	if diff := cmp.Diff(spec, item); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLiveAndNote(t *testing.T) {
	_, h := serve(t, shop()...)
	_, list := ask(t, h, "/v1/pods")
	type told struct {
		Live bool
		Note string
	}
	got := map[string]told{}
	for i := range list.Items {
		got[list.Items[i].PodKey] = told{list.Items[i].Live, list.Items[i].Note}
	}
	want := map[string]told{
		"kube-system/proxy": {true, "host network: shares the IP of its node"},
		"shop/web-1":        {true, ""},
		"team/pending":      {true, ""},
		"team/web-1":        {true, ""},
		"shop/web-2":        {false, "terminating"},
		"shop/old":          {false, "completed (Succeeded): its IP may be another Pod's by now"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSearch(t *testing.T) {
	_, h := serve(t, shop()...)
	const ofTheNode = "kube-system/proxy shop/web-1 shop/old"
	tests := []struct {
		name, query  string
		want, readAs string
		readings     []reading
		ambiguous    bool
	}{
		{"nothing", "", all, "", nil, false},
		{"spaces", "q=%20", all, "", nil, false},
		{"an IP", "q=fd00::1", "shop/web-1", "ip", []reading{{"ip", "fd00::1", 1}}, false},
		{"an IP of several", "q=10.0.0.1", "shop/web-1 shop/old", "ip", []reading{{"ip", "10.0.0.1", 2}}, true},
		{"an IP of a Pod and of its node", "q=192.168.0.1", "kube-system/proxy", "ip", []reading{{"ip", "192.168.0.1", 1}, {"hostip", "192.168.0.1", 3}}, false},
		{"the same by the kind that is meant", "q=192.168.0.1&by=hostip", ofTheNode, "hostip", []reading{{"hostip", "192.168.0.1", 3}}, false},
		{"the IP of a node alone", "q=192.168.0.2", "team/web-1 shop/web-2", "hostip", []reading{{"hostip", "192.168.0.2", 2}}, false},
		{"a UID", "q=" + strings.ToUpper(uidOf(2)), "shop/web-2", "uid", []reading{{"uid", uidOf(2), 1}}, false},
		{"a container ID", "q=docker://" + webID[:12], "shop/web-1", "container", []reading{{"container", webID[:12], 1}}, false},
		{"namespace/name", "q=shop/web-1", "shop/web-1", "key", []reading{{"key", "shop/web-1", 1}}, false},
		{"a name of two", "q=web-1", "shop/web-1 team/web-1", "name", []reading{{"name", "web-1", 2}}, true},
		{"a node", "q=node-1", ofTheNode, "node", []reading{{"node", "node-1", 3}}, false},
		{"a workload that is called like a Pod", "q=proxy", "kube-system/proxy", "name", []reading{{"name", "proxy", 1}, {"workload", "proxy", 1}}, false},
		{"a workload", "q=deploy/web", "shop/web-1 shop/web-2", "workload", []reading{{"workload", "deployment/web", 2}}, false},
		{"a namespace", "q=team&by=namespace", "team/pending team/web-1", "namespace", []reading{{"namespace", "team", 2}}, false},
		{"a fact as text", "q=10.0.0.1&by=text", "shop/web-1 team/web-1 shop/old", "text", []reading{{"text", "10.0.0.1", 3}}, false},
		{"a part of a name", "q=EB-", "shop/web-1 team/web-1 shop/web-2", "text", []reading{{"text", "EB-", 3}}, false},
		{"a part of an IPv6 address", "q=d00::", "shop/web-1", "text", []reading{{"text", "d00::", 1}}, false},
		{"a part of a UID", "q=" + uidOf(3)[30:], "shop/old", "text", []reading{{"text", uidOf(3)[30:], 1}}, false},
		{"a part of a container ID", "q=9988776655", "shop/web-1", "text", []reading{{"text", "9988776655", 1}}, false},
		{"a part of the IP of a node", "q=168.0.2", "team/web-1 shop/web-2", "text", []reading{{"text", "168.0.2", 2}}, false},
		{"a part of a workload", "q=onc", "shop/old", "text", []reading{{"text", "onc", 1}}, false},
		{"the slash of a key", "q=team/", "team/pending team/web-1", "text", []reading{{"text", "team/", 2}}, false},
		{"what nothing has", "q=xyz", "", "text", nil, false},
		{"what nothing has, by a kind", "q=xyz&by=name", "", "name", nil, false},
		{"a part of a name by a kind", "q=web&by=name", "", "name", nil, false},
		{"what no fact is", "q=a/b/c/d", "", "text", nil, false},
		{"more than any fact has", "q=" + strings.Repeat("a", 2000), "", "text", nil, false},
		{"a line of a log", "q=" + url.QueryEscape(`dial tcp 10.0.0.2:8080: connect: connection refused`), "shop/web-2", "ip", []reading{{"ip", "10.0.0.2", 1}}, false},
		{"a line of a log by a kind", "by=uid&q=" + url.QueryEscape(`"Killing" pod="shop/web-1" podUID="`+uidOf(2)+`"`), "shop/web-2", "uid", []reading{{"uid", uidOf(2), 1}}, false},
		{"a list", "q=10.0.0.2,10.0.0.10", "shop/web-2", "ip", []reading{{"ip", "10.0.0.2", 1}, {"ip", "10.0.0.10", 1}}, false},
		{"the beginning of a name", "q=web*", "shop/web-1 team/web-1 shop/web-2", "name", []reading{{"name", "web*", 3}}, false},
		{"the beginning of a name by its kind", "q=web*&by=name&namespace=team", "team/web-1", "name", []reading{{"name", "web*", 1}}, false},
		{"a range", "q=10.0.0.0/29", "shop/web-1 shop/web-2 shop/old", "ip", []reading{{"ip", "10.0.0.0/29", 3}}, false},
		{"a range by its kind", "q=10.0.0.0/29&by=ip", "shop/web-1 shop/web-2 shop/old", "ip", []reading{{"ip", "10.0.0.0/29", 3}}, false},
		{"a range of too much", "q=10.0.0.0/8", "", "text", nil, false},
		{"nothing by a kind", "by=ip", all, "", nil, false},
		{"nothing in a namespace", "namespace=shop", "shop/web-1 shop/web-2 shop/old", "", nil, false},
		{"all filters", "q=web&namespace=shop&node=node-1&phase=Running", "shop/web-1", "workload", []reading{{"workload", "web", 1}}, false},
		{"a reading that the filters leave nothing of", "q=web-1&namespace=kube-system", "", "text", nil, false},
		{"a name that the filters leave one of", "q=web-1&namespace=team", "team/web-1", "name", []reading{{"name", "web-1", 1}}, false},
		{"text in a namespace", "q=web&by=text&namespace=team", "team/web-1", "text", []reading{{"text", "web", 1}}, false},
		{"text in a phase", "q=o&by=text&phase=succeeded", "shop/old", "text", []reading{{"text", "o", 1}}, false},
		{"by Pod", "sort=pod", "kube-system/proxy shop/old shop/web-1 shop/web-2 team/pending team/web-1", "", nil, false},
		{"by namespace, the other way", "sort=namespace&desc=true", "team/web-1 team/pending shop/web-2 shop/web-1 shop/old kube-system/proxy", "", nil, false},
		{"by IP, as numbers", "sort=ip", "team/pending shop/old shop/web-1 shop/web-2 team/web-1 kube-system/proxy", "", nil, false},
		{"by node", "sort=node", "team/pending kube-system/proxy shop/old shop/web-1 shop/web-2 team/web-1", "", nil, false},
		{"by phase", "sort=phase&desc=false", "team/pending kube-system/proxy shop/web-1 shop/web-2 team/web-1 shop/old", "", nil, false},
		{"by workload", "sort=workload", "team/pending shop/old kube-system/proxy shop/web-1 shop/web-2 team/web-1", "", nil, false},
		{"by age, the youngest first", "sort=age", "shop/web-1 shop/web-2 shop/old kube-system/proxy team/web-1 team/pending", "", nil, false},
		{"by age, the oldest first", "sort=age&desc=1", "team/pending team/web-1 kube-system/proxy shop/old shop/web-2 shop/web-1", "", nil, false},
		{"live ones last", "desc=true", "shop/old shop/web-2 team/web-1 team/pending shop/web-1 kube-system/proxy", "", nil, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, got := ask(t, h, "/v1/search?"+test.query)
			if diff := cmp.Diff(test.want, keysOf(got.Items)); diff != "" || code != http.StatusOK {
				t.Errorf("status %d, want 200 (-want +got):\n%s", code, diff)
			}
			if got.Items == nil || got.Readings == nil {
				t.Error("items or readings are null")
			}
			params, err := url.ParseQuery(test.query)
			if err != nil {
				t.Fatal(err)
			}
			want := answer{
				View:  lookup.View{ResourceVersion: "106", AgeSeconds: got.AgeSeconds, Pods: new(6)},
				Total: len(strings.Fields(test.want)), Ambiguous: test.ambiguous, Q: strings.TrimSpace(params.Get("q")), ReadAs: test.readAs, Readings: test.readings,
			}
			if want.Readings == nil {
				want.Readings = []reading{}
			}
			got.Items = nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("besides the Pods (-want +got):\n%s", diff)
			}
		})
	}
}

// crowd is as many Pods, of all states and orders.
func crowd(n int) []*corev1.Pod {
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = pod(fmt.Sprint("ns-", i%3), fmt.Sprint("pod-", i), i, fmt.Sprintf("10.0.%d.%d", i%7, i%5), fmt.Sprint("node-", i%4), func(p *corev1.Pod) {
			p.Status.Phase = []corev1.PodPhase{corev1.PodRunning, corev1.PodPending, corev1.PodFailed}[i%3]
			p.OwnerReferences = ownedBy("StatefulSet", fmt.Sprint("db-", i%6))
			p.CreationTimestamp = metav1.NewTime(time.Unix(int64(1_700_000_000+i%9), 0))
			if i%4 == 0 {
				p.DeletionTimestamp = new(metav1.Now())
			}
		})
	}
	return pods
}

func TestPagesOfEachOrder(t *testing.T) {
	_, h := serve(t, crowd(61)...)
	paths := []string{"/v1/pods?namespace=ns-1", "/v1/pods?phase=Running", "/v1/pods?", "/v1/search?q=pod-&by=text", "/v1/search?q=node-1"}
	for _, order := range []string{"", "pod", "namespace", "ip", "node", "phase", "status", "workload", "age", "attention"} {
		for _, desc := range []string{"", "&desc=true"} {
			paths = append(paths, "/v1/search?sort="+order+desc)
		}
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			_, whole := ask(t, h, path)
			var got []lookup.Pod
			for next := ""; ; {
				code, page := ask(t, h, path+"&limit=4"+next)
				if code != http.StatusOK || page.Total != whole.Total || len(page.Items) > 4 {
					t.Fatalf("status %d, total %d, want %d, %d items", code, page.Total, whole.Total, len(page.Items))
				}
				got = append(got, page.Items...)
				if page.Continue == "" {
					break
				}
				next = "&continue=" + page.Continue
			}
			if diff := cmp.Diff(whole.Items, got); diff != "" || len(got) == 0 {
				t.Errorf("page by page (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSearch_PagesByAttention(t *testing.T) {
	// In order: three failing, three waiting, the others, each the newest first.
	states := []struct {
		want  string
		phase corev1.PodPhase
		main  corev1.ContainerStatus
	}{
		{want: "failing", phase: corev1.PodRunning, main: corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}},
		{want: "waiting", phase: corev1.PodPending, main: corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}}},
		{want: "ready", phase: corev1.PodRunning, main: corev1.ContainerStatus{Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		{want: "completed", phase: corev1.PodSucceeded},
	}
	groups := make([][]string, 3)
	var pods []*corev1.Pod
	for i := range 12 {
		state := states[i%len(states)]
		name := fmt.Sprintf("%s-%02d", state.want, 11-i) // not in the order of names
		pods = append(pods, pod("ns", name, i+1, "10.0.0.1", "node-1", func(p *corev1.Pod) {
			p.Status.Phase, p.Status.ContainerStatuses[0] = state.phase, state.main
			p.Status.ContainerStatuses[0].Name = "main"
		}))
		group := min(i%len(states), 2)
		groups[group] = append(groups[group], "ns/"+name+" "+state.want)
	}
	want := slices.Concat(groups...)
	_, h := serve(t, pods...)
	for _, path := range []string{"/v1/search?sort=attention", "/v1/search?sort=attention&desc=true"} {
		if strings.Contains(path, "desc") {
			slices.Reverse(want)
		}
		for limit := 1; limit <= 13; limit++ {
			var byContinue, byPage []string
			for next, number := "", 1; ; number++ {
				_, page := ask(t, h, fmt.Sprintf("%s&limit=%d%s", path, limit, next))
				_, same := ask(t, h, fmt.Sprintf("%s&limit=%d&page=%d", path, limit, number))
				for _, item := range page.Items {
					byContinue = append(byContinue, item.PodKey+" "+item.State)
				}
				for _, item := range same.Items {
					byPage = append(byPage, item.PodKey+" "+item.State)
				}
				if page.Total != len(pods) || (page.Continue == "") != (same.Continue == "") {
					t.Errorf("%s: total %d, continue %q and %q", path, page.Total, page.Continue, same.Continue)
				}
				if page.Continue == "" {
					break
				}
				next = "&continue=" + page.Continue
			}
			if diff := cmp.Diff(want, byContinue); diff != "" {
				t.Errorf("%s, %d by continue (-want +got):\n%s", path, limit, diff)
			}
			if diff := cmp.Diff(want, byPage); diff != "" {
				t.Errorf("%s, %d by page (-want +got):\n%s", path, limit, diff)
			}
		}
	}
}

func TestAPageEndsWhereItsLastPodWas(t *testing.T) {
	for _, order := range []string{"", "age"} {
		t.Run("sort="+order, func(t *testing.T) {
			i, h := serve(t, crowd(12)...)
			_, whole := ask(t, h, "/v1/search?sort="+order)
			_, page := ask(t, h, "/v1/search?limit=5&sort="+order)
			// The Pod that the first page ended with is gone, and another has come before it.
			last := page.Items[4]
			i.OnDelete(podcache.NewPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: last.Namespace, Name: last.PodName}}))
			i.add(pod("ns-0", "new", 0, "10.9.9.9", "node-1", nil))
			_, rest := ask(t, h, "/v1/search?sort="+order+"&continue="+page.Continue)
			if diff := cmp.Diff(keysOf(whole.Items[5:]), keysOf(rest.Items)); diff != "" || rest.Total != 12 {
				t.Errorf("total %d, want 12 (-want +got):\n%s", rest.Total, diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	_, h := serve(t, crowd(510)...)
	tests := []struct {
		name, path string
		want       int
		wantMore   bool
	}{
		{"the limit that is not said", "/v1/pods", 100, true},
		{"an empty limit is not said", "/v1/search?limit=", 100, true},
		{"the largest limit", "/v1/pods?limit=500", 500, true},
		{"the smallest limit", "/v1/search?limit=1", 1, true},
		{"all that there are", "/v1/pods?namespace=ns-1&limit=170", 170, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, got := ask(t, h, test.path)
			if len(got.Items) != test.want || (got.Continue != "") != test.wantMore {
				t.Errorf("%d items, want %d; continue is %q", len(got.Items), test.want, got.Continue)
			}
		})
	}
}

func TestSummary(t *testing.T) {
	_, h := serve(t, shop()...)
	tests := []struct {
		name, query                       string
		states, phases, nodes, namespaces []count
		nodeCount, namespaceCount         int
	}{
		{
			name: "all", query: "",
			states: []count{{"waiting", 4}, {"terminating", 1}, {"completed", 1}},
			phases: []count{{"Running", 4}, {"Pending", 1}, {"Succeeded", 1}},
			nodes:  []count{{"node-1", 3}, {"node-2", 2}, {"", 1}}, nodeCount: 2,
			namespaces: []count{{"shop", 3}, {"team", 2}, {"kube-system", 1}}, namespaceCount: 3,
		},
		{
			name: "a namespace", query: "namespace=team", states: []count{{"waiting", 2}}, phases: []count{{"Pending", 1}, {"Running", 1}},
			nodes: []count{{"", 1}, {"node-2", 1}}, nodeCount: 1, namespaces: []count{{"team", 2}}, namespaceCount: 1,
		},
		{
			name: "a node in a namespace", query: "namespace=shop&node=node-2", states: []count{{"terminating", 1}}, phases: []count{{"Running", 1}},
			nodes: []count{{"node-2", 1}}, nodeCount: 1, namespaces: []count{{"shop", 1}}, namespaceCount: 1,
		},
		{
			name: "a part of names", query: "match=ODE-2", states: []count{{"waiting", 4}, {"terminating", 1}, {"completed", 1}},
			phases: []count{{"Running", 4}, {"Pending", 1}, {"Succeeded", 1}},
			nodes:  []count{{"node-2", 2}}, nodeCount: 2, namespaces: []count{}, namespaceCount: 3,
		},
		{name: "a node that is not there", query: "node=x", states: []count{}, phases: []count{}, nodes: []count{}, namespaces: []count{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code, got := ask(t, h, "/v1/summary?"+test.query)
			want := answer{
				View:   lookup.View{ResourceVersion: "106", AgeSeconds: got.AgeSeconds, Pods: new(6)},
				Phases: test.phases, Nodes: test.nodes, Namespaces: test.namespaces, States: test.states,
				NodeCount: test.nodeCount, NamespaceCount: test.namespaceCount,
			}
			if diff := cmp.Diff(want, got); diff != "" || code != http.StatusOK {
				t.Errorf("status %d (-want +got):\n%s", code, diff)
			}
		})
	}
	t.Run("many nodes and namespaces", func(t *testing.T) {
		var pods []*corev1.Pod
		for i := range 630 {
			pods = append(pods, pod(fmt.Sprintf("ns-%03d", i%210), fmt.Sprint("pod-", i), i, "", fmt.Sprint("node-", min(i%30, 21)), nil))
		}
		_, h := serve(t, pods...)
		_, got := ask(t, h, "/v1/summary")
		sum := got.OtherNodes.Count
		for _, n := range got.Nodes {
			sum += n.Count
		}
		if len(got.Nodes) != 20 || got.OtherNodes.Nodes != 2 || sum != 630 || len(got.Namespaces) != 200 {
			t.Errorf("%d nodes, %+v others, %d Pods in all, %d namespaces", len(got.Nodes), got.OtherNodes, sum, len(got.Namespaces))
		}
		if !slices.IsSortedFunc(got.Nodes, func(a, b count) int { return b.Count - a.Count }) {
			t.Errorf("nodes are %v, want most Pods first", got.Nodes)
		}
	})
}

func TestNotReady(t *testing.T) {
	paths := []string{"/v1/pods", "/v1/pods?ip=nonsense", "/v1/pods/shop/web-1", "/v1/search?q=web", "/v1/summary", "/", "/?q=web"}
	expect := func(t *testing.T, h http.Handler, want string) {
		t.Helper()
		for _, path := range paths {
			w := get(t, h, path, "text/plain")
			if w.Code != http.StatusServiceUnavailable || w.Body.String() != want+"\n" || w.Header().Get("Retry-After") != "1" {
				t.Errorf("%s: %d %s%v", path, w.Code, w.Body, w.Header())
			}
		}
		if code, got := ask(t, h, "/v1/search"); code != http.StatusServiceUnavailable || !cmp.Equal(answer{Error: want}, got) {
			t.Errorf("as JSON: %d %+v", code, got)
		}
		if w := get(t, h, "/", "text/html"); w.Code != http.StatusOK {
			t.Errorf("the page: %d, want 200: it tells by itself", w.Code)
		}
	}
	i := &informer{synced: make(chan struct{})}
	i.setAsOf(time.Now())
	l, err := lookup.New(t.Context(), lookup.Config{Pods: i, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	h := l.Handler()
	expect(t, h, "the caches are not synced yet: try again")
	i.add(shop()...)
	expect(t, h, "the caches are not synced yet: try again")
	close(i.synced)
	if code, _ := ask(t, h, "/v1/pods/shop/web-1"); code != http.StatusOK {
		t.Errorf("synced: %d, want 200", code)
	}
}

func TestNewReportsARefusedHandler(t *testing.T) {
	refused := errors.New("stopped already")
	if _, err := lookup.New(t.Context(), lookup.Config{Pods: &informer{refused: refused}}); !errors.Is(err, refused) {
		t.Errorf("error is %v", err)
	}
}

func TestWhatAnAnswerRestsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, h := serve(t, shop()...)
		expect := func(want lookup.View) {
			t.Helper()
			for _, path := range []string{"/v1/pods", "/v1/pods/shop/web-1", "/v1/search", "/v1/summary", "/v1/pods?ip=10.9.9.9"} {
				if _, got := ask(t, h, path); !cmp.Equal(want, got.View) {
					t.Errorf("%s: %+v, want %+v", path, got.View, want)
				}
			}
		}
		expect(lookup.View{ResourceVersion: "106", AgeSeconds: 0, Pods: new(6)})
		<-time.After(1234567 * time.Microsecond) // virtual time
		expect(lookup.View{ResourceVersion: "106", AgeSeconds: 1.234, Pods: new(6)})
		i.add(pod("shop", "new", 7, "10.0.0.7", "node-1", nil))
		i.setAsOf(time.Now())
		expect(lookup.View{ResourceVersion: "107", AgeSeconds: 0, Pods: new(7)})
		i.setAsOf(time.Now().Add(time.Minute)) // the clock was put back
		expect(lookup.View{ResourceVersion: "107", AgeSeconds: 0, Pods: new(7)})
		i.onRollback("50") // etcd was restored
		expect(lookup.View{ResourceVersion: "50", AgeSeconds: 0, Pods: new(7)})
	})
}

func TestContentNegotiation(t *testing.T) {
	_, h := serve(t, shop()...)
	const jsonType, text, html = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
	tests := []struct{ name, accept, want, wantFront string }{
		{"nothing is said", "", jsonType, text},
		{"curl", "*/*", jsonType, text},
		{"a browser", browser, jsonType, html},
		{"JSON", "application/json", jsonType, text},
		{"text", "text/plain", text, text},
		{"any text", "text/*", text, text},
		{"text in capitals", "Text/Plain", text, text},
		{"text with a parameter", "text/plain; charset=utf-8", text, text},
		{"a page", "text/html", jsonType, html},
		{"text sooner than JSON", "application/json;q=0.5, text/plain", text, text},
		{"text later than JSON", "application/json, text/plain;q=0.9", jsonType, text},
		{"text as soon as JSON", "text/plain, application/json", jsonType, text},
		{"text and what else there is", "text/plain, */*;q=0.1", text, text},
		{"what there is, JSON last", "*/*, application/json;q=0.1", text, text},
		{"what there is, but no JSON", "*/*;q=0.5, application/json;q=0", text, text},
		{"what there is, but no text", "text/plain;q=0, */*;q=0.1", jsonType, html},
		{"a page sooner than text", "text/plain;q=0.4, text/html;q=0.6", text, html},
		{"a page later than text", "text/*, text/html;q=0.6", text, text},
		{"a weight that is none", "text/plain;q=much", jsonType, text},
		{"what there is not", "image/png", jsonType, text},
		{"nonsense", "/;;,=,text", jsonType, text},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := map[string]string{}
			for _, path := range []string{"/v1/pods", "/v1/pods/shop/web-1", "/v1/search", "/v1/summary", "/v1/pods?ip=10.9.9.9", "/v1/pods?ip=x", "/nowhere", "/"} {
				w := get(t, h, path, test.accept)
				if got[path] = w.Header().Get("Content-Type"); w.Header().Get("Vary") != "Accept" {
					t.Errorf("%s: Vary is %q", path, w.Header().Get("Vary"))
				}
			}
			for path, contentType := range got {
				want := test.want
				if path == "/" || path == "/nowhere" && strings.Contains(test.accept, "text/html") {
					want = test.wantFront
				}
				if contentType != want {
					t.Errorf("%s is %s, want %s", path, contentType, want)
				}
			}
		})
	}
	t.Run("in two headers", func(t *testing.T) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/pods", http.NoBody)
		r.Header["Accept"] = []string{"application/json;q=0.1", "text/plain"}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Header().Get("Content-Type"); got != text {
			t.Errorf("it is %s, want %s", got, text)
		}
	})
}

func TestHead(t *testing.T) {
	_, h := serve(t, shop()...)
	server := httptest.NewServer(h)
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{
		"/": 200, "/v1/pods": 200, "/v1/pods/shop/web-1": 200, "/v1/pods/shop/x": 404, "/v1/search?q=web": 200, "/v1/summary": 200,
		"/v1/pods?ip=x": 400, "/v1/events": 200, "/nowhere": 404,
	} {
		t.Run(path, func(t *testing.T) {
			type result struct {
				Status int
				Type   string
				length int64
			}
			do := func(method string) result {
				r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				response, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if err := response.Body.Close(); err != nil {
					t.Fatal(err)
				}
				return result{response.StatusCode, response.Header.Get("Content-Type"), response.ContentLength}
			}
			head, whole := do(http.MethodHead), do(http.MethodGet)
			if head.Status != want || whole.Status != want || head.Type != whole.Type {
				t.Errorf("HEAD is %+v, GET is %+v, want %d", head, whole, want)
			}
			if path == "/v1/pods/shop/x" && head.length <= 0 {
				t.Errorf("length is %d", head.length)
			}
		})
	}
}

func TestPathsThatAreNotThere(t *testing.T) {
	_, h := serve(t, shop()...)
	for _, path := range []string{"/v1", "/v1/pods/", "/v1/pods/shop", "/v1/pods/shop/web-1/log", "/v2/pods", "/index.html", "/v1/events/x"} {
		code, got := ask(t, h, path)
		if code != http.StatusNotFound || !strings.HasPrefix(got.Error, "no such path: there are / /v1/pods ") {
			t.Errorf("%s: %d %s", path, code, got.Error)
		}
	}
	if w := get(t, h, "/v1//pods", ""); w.Code/100 != 3 || w.Header().Get("Location") != "/v1/pods" {
		t.Errorf("/v1//pods: %d %s", w.Code, w.Header().Get("Location"))
	}
}

func TestHostileValuesStayData(t *testing.T) {
	const evil = `</script><img src=x onerror=alert(1)>&"'`
	_, h := serve(t, pod("shop", "web", 1, "10.0.0.1", "node-1", func(p *corev1.Pod) {
		p.Labels = map[string]string{"a": evil}
		p.Spec.Containers[0].Image = evil + "\x1b[2J\r\n\x7f\u0085\u202e"
		p.OwnerReferences = ownedBy(evil, evil)
	}))
	w := get(t, h, "/v1/pods", "")
	var got answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	item := got.Items[0]
	if item.Labels["a"] != evil || item.Containers[0].Image != evil+"\x1b[2J\r\n\x7f\u0085\u202e" || item.WorkloadName != evil {
		t.Errorf("values are %+v", item)
	}
	if bytes.ContainsFunc(bytes.TrimSuffix(w.Body.Bytes(), []byte("\n")), func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("characters that do not print are not escaped: %q", w.Body)
	}
	for _, q := range []string{evil, evil + "\x00\xff", strings.Repeat(evil, 30)} {
		if code, got := ask(t, h, "/v1/search?q="+url.QueryEscape(q)); code != http.StatusOK || got.Q != strings.ToValidUTF8(q, "\ufffd") {
			t.Errorf("%q: %d %q", q, code, got.Q)
		}
	}
}
