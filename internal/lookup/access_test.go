package lookup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
)

const refusal = "x may not list testcrs, nor list pods in a namespace that has any"

// restricted is a handler for a caller who may list the Pods of some namespaces.
type restricted struct {
	next    http.Handler
	allowed []string
	err     error

	mu       sync.Mutex
	reviewed []string
}

func (c *restricted) mayList(_ context.Context, namespace string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reviewed = append(c.reviewed, namespace)
	return slices.Contains(c.allowed, namespace), c.err
}

func (c *restricted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.next.ServeHTTP(w, r.WithContext(lookup.WithAccess(r.Context(), lookup.Access{MayList: c.mayList, Refusal: refusal})))
}

// take returns the namespaces that were reviewed since the last time.
func (c *restricted) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.reviewed)
	reviewed := strings.Join(c.reviewed, " ")
	c.reviewed = nil
	return reviewed
}

func TestAccess(t *testing.T) {
	_, all := serve(t, shop()...)
	h := &restricted{next: all, allowed: []string{"shop"}}
	tests := []struct {
		path         string
		want         answer // but for the Pods
		wantPods     string
		wantReviewed string
	}{
		{path: "/v1/pods", want: answer{Total: 3}, wantPods: "shop/web-1 shop/web-2 shop/old", wantReviewed: "kube-system shop team"},
		{path: "/v1/pods?name=web-1", want: answer{Total: 1}, wantPods: "shop/web-1", wantReviewed: "shop team"},
		{path: "/v1/pods?limit=1&namespace=shop", want: answer{Total: 3, Continue: "any"}, wantPods: "shop/web-1", wantReviewed: "shop"},
		{path: "/v1/pods?phase=Running", want: answer{Total: 2}, wantPods: "shop/web-1 shop/web-2", wantReviewed: "kube-system shop team"},
		// What is elsewhere is answered as what is nowhere, though it takes other reviews.
		{path: "/v1/pods?ip=192.168.0.1", want: answer{Error: "no Pod with ip 192.168.0.1"}, wantReviewed: "kube-system shop team"},
		{path: "/v1/pods?ip=192.168.0.9", want: answer{Error: "no Pod with ip 192.168.0.9"}, wantReviewed: "kube-system shop team"},
		{path: "/v1/pods/team/web-1", want: answer{Error: "no Pod with key team/web-1"}, wantReviewed: "kube-system shop team"},
		{path: "/v1/pods/shop/web-1", want: answer{}, wantReviewed: "shop"},
		{
			path: "/v1/search?q=web-1", want: answer{Q: "web-1", ReadAs: "name", Readings: []reading{{"name", "web-1", 1}}, Total: 1}, wantPods: "shop/web-1",
			wantReviewed: "shop team",
		},
		{
			path: "/v1/search?q=node-2", want: answer{Q: "node-2", ReadAs: "node", Readings: []reading{{"node", "node-2", 1}}, Total: 1}, wantPods: "shop/web-2",
			wantReviewed: "shop team",
		},
		{path: "/v1/search?q=proxy", want: answer{Q: "proxy", ReadAs: "text", Readings: []reading{}}, wantReviewed: "kube-system shop team"},
		{path: "/v1/search?q=nothing", want: answer{Q: "nothing", ReadAs: "text", Readings: []reading{}}, wantReviewed: "kube-system shop team"},
		{
			path: "/v1/summary", wantReviewed: "kube-system shop team",
			want: answer{Phases: []count{{"Running", 2}, {"Succeeded", 1}}, Nodes: []count{{"node-1", 2}, {"node-2", 1}}, Namespaces: []count{{"shop", 3}},
				States: []count{{"waiting", 1}, {"terminating", 1}, {"completed", 1}}, NodeCount: 2, NamespaceCount: 1},
		},
		{path: "/v1/summary?namespace=team", want: answer{Phases: []count{}, Nodes: []count{}, Namespaces: []count{}, States: []count{}}, wantReviewed: "kube-system shop team"},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			_, got := ask(t, h, test.path)
			if diff := cmp.Diff(test.wantPods, keysOf(got.Items)); diff != "" {
				t.Errorf("Pods (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.wantReviewed, h.take()); diff != "" {
				t.Errorf("reviewed namespaces (-want +got):\n%s", diff)
			}
			if test.want.Continue != "" && got.Continue != "" {
				got.Continue = test.want.Continue
			}
			test.want.View = lookup.View{AgeSeconds: got.AgeSeconds, Restricted: true}
			got.Items, got.Pod = nil, lookup.Pod{}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("besides the Pods (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAccess_Text(t *testing.T) {
	_, all := serve(t, shop()...)
	h := &restricted{next: all, allowed: []string{"shop"}}
	for _, path := range []string{"/", "/?q=web", "/?q=proxy", "/v1/pods", "/v1/pods?ip=10.9.9.9", "/v1/pods/shop/web-1", "/v1/summary"} {
		text := get(t, h, path, "text/plain").Body.String()
		if !strings.HasSuffix(text, "\nnote: only namespaces in which you may list pods\n") || strings.Contains(text, "6 Pods") {
			t.Errorf("%s:\n%s", path, text)
		}
	}
}

func TestAccess_Refused(t *testing.T) {
	_, all := serve(t, shop()...)
	tests := []struct {
		name     string
		h        *restricted
		wantCode int
		want     string
	}{
		{name: "no namespace", h: &restricted{next: all}, wantCode: http.StatusForbidden, want: refusal + "\n"},
		{name: "a namespace without Pods", h: &restricted{next: all, allowed: []string{"empty"}}, wantCode: http.StatusForbidden, want: refusal + "\n"},
		{
			name: "no answer to the reviews", h: &restricted{next: all, allowed: []string{"shop"}, err: errors.New("away")},
			wantCode: http.StatusServiceUnavailable, want: "the API server does not check rights at the moment: try again later\n",
		},
	}
	for _, test := range tests {
		for _, path := range []string{"/", "/?q=web", "/v1/pods", "/v1/pods?ip=10.9.9.9", "/v1/pods/shop/web-1", "/v1/search?q=web", "/v1/summary", "/v1/events"} {
			t.Run(test.name+": "+path, func(t *testing.T) {
				w := get(t, test.h, path, "text/plain")
				if w.Code != test.wantCode || w.Body.String() != test.want {
					t.Errorf("%d %q, want %d %q", w.Code, w.Body, test.wantCode, test.want)
				}
			})
		}
	}
	one := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // of an empty namespace, with the right to get its Pods
		none := func(context.Context, string) (bool, error) { return false, nil }
		all.ServeHTTP(w, r.WithContext(lookup.WithAccess(r.Context(), lookup.Access{MayList: none})))
	})
	if code, got := ask(t, one, "/v1/pods/empty/web"); code != http.StatusNotFound || got.Error != "no Pod with key empty/web" {
		t.Errorf("a Pod that the caller may get: %d %+v, want 404", code, got)
	}
	if w := get(t, tests[0].h, "/", "text/html"); w.Code != http.StatusOK {
		t.Errorf("the page: %d, want 200: it contains no Pods", w.Code)
	}
}

// In a cluster of many namespaces only the first of an answer are reviewed.
func TestAccess_ManyNamespaces(t *testing.T) {
	pods := make([]*corev1.Pod, 120)
	for i := range pods {
		pods[i] = pod(fmt.Sprintf("ns-%03d", i), "web", i, fmt.Sprint("10.0.0.", i), "node-1", nil)
	}
	_, all := serve(t, pods...)
	tests := []struct {
		name, allowed, path string
		wantPods            string
		wantUnchecked       bool
	}{
		{name: "the first of all", allowed: "ns-000", path: "/v1/pods", wantPods: "ns-000/web", wantUnchecked: true},
		{name: "the last of all", allowed: "ns-119", path: "/v1/pods", wantUnchecked: true},
		{name: "the last by its name", allowed: "ns-119", path: "/v1/pods?namespace=ns-119", wantPods: "ns-119/web"},
		{name: "the last by its IP", allowed: "ns-119", path: "/v1/search?q=10.0.0.119", wantPods: "ns-119/web"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := &restricted{next: all, allowed: []string{test.allowed}}
			code, got := ask(t, h, test.path)
			if code != http.StatusOK || keysOf(got.Items) != test.wantPods || got.Unchecked != test.wantUnchecked {
				t.Errorf("%d %s, unchecked %v; want 200 %s, %v", code, keysOf(got.Items), got.Unchecked, test.wantPods, test.wantUnchecked)
			}
			if n := len(strings.Fields(h.take())); n > 2*50 {
				t.Errorf("%d reviews", n)
			}
			text := get(t, h, test.path, "text/plain").Body.String()
			if got := strings.Contains(text, ", and not all were checked: name one with namespace=NAME\n"); got != test.wantUnchecked {
				t.Errorf("the text is\n%s", text)
			}
		})
	}
}

// The page without JavaScript has the rows, the Pod and the counts of what a caller may
// see, each as complete as the API gives it.
func TestPage_ManyNamespaces(t *testing.T) {
	pods := make([]*corev1.Pod, 120)
	for i := range pods {
		pods[i] = pod(fmt.Sprintf("ns-%03d", i), "web", i, fmt.Sprint("10.0.0.", i), "node-1", nil)
	}
	_, all := serve(t, pods...)
	for _, test := range []struct{ name, path, want, wantNot string }{
		{name: "a namespace", path: "/?namespace=ns-119", want: `data-pod="ns-119/web"`},
		{name: "an IP", path: "/?q=10.0.0.119", want: `data-pod="ns-119/web"`},
		{name: "a Pod", path: "/?pod=ns-119/web", want: "<dd>10.<wbr>0.<wbr>0.<wbr>119<wbr></dd>", wantNot: "There is no such Pod."},
		{name: "a Pod of another namespace", path: "/?pod=ns-118/web", want: "There is no such Pod.", wantNot: uidOf(118)},
		{name: "all", path: "/", want: "and not all were checked", wantNot: `data-pod="ns-1`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &restricted{next: all, allowed: []string{"ns-119"}}
			body := get(t, h, test.path, "text/html").Body.String()
			if !strings.Contains(body, test.want) || test.wantNot != "" && strings.Contains(body, test.wantNot) {
				t.Errorf("want %q, not %q:\n%s", test.want, test.wantNot, body)
			}
			if n := len(strings.Fields(h.take())); n > 3*2*50 {
				t.Errorf("%d reviews", n)
			}
		})
	}
	h := &restricted{next: all, allowed: nil, err: errors.New("down")}
	if body := get(t, h, "/?pod=ns-000/web", "text/html").Body.String(); !strings.Contains(body, "does not check rights") {
		t.Errorf("without reviews:\n%s", body)
	}
}

// A reader of events must not learn from them that Pods of others change.
func TestAccess_Events(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, all := serve(t, shop()...)
		s := open(t, &restricted{next: all, allowed: []string{"shop"}})
		defer s.stop()
		for n := range 6 {
			i.add(pod("team", fmt.Sprint("b", n), 20+n, "10.1.0.2", "node-1", nil))
			after(2 * time.Second)
		}
		var at []time.Duration
		for n, e := range s.take() {
			at = append(at, e.At)
			var v view
			if err := json.Unmarshal([]byte(e.Data), &v); err != nil {
				t.Fatal(err)
			}
			want := view{View: lookup.View{AgeSeconds: v.AgeSeconds, Restricted: true}, Time: v.Time, Changes: int64(n)}
			if diff := cmp.Diff(want, v); diff != "" {
				t.Errorf("event %d (-want +got):\n%s", n, diff)
			}
		}
		if diff := cmp.Diff([]time.Duration{0, 5 * time.Second, 10 * time.Second}, at); diff != "" {
			t.Errorf("times (-want +got):\n%s", diff)
		}
	})
}

func TestView_WritesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &informer{synced: make(chan struct{})}
		i.setAsOf(time.Now())
		since := time.Now().Add(1234 * time.Millisecond)
		l, err := lookup.New(t.Context(), lookup.Config{Pods: i, WritesFail: func() (time.Time, string) { return since, "refused:\nbecause" }})
		if err != nil {
			t.Fatal(err)
		}
		i.add(shop()...)
		close(i.synced)
		<-time.After(90 * time.Second)
		i.setAsOf(time.Now())
		whole := since.UTC().Truncate(time.Second)
		some := &restricted{next: l.Handler(), allowed: []string{"shop"}}
		for _, path := range []string{"/v1/pods", "/v1/pods?ip=10.9.9.9", "/v1/pods/shop/web-1", "/v1/search?q=web", "/v1/summary"} {
			_, got := ask(t, l.Handler(), path)
			if !got.WritesFailSince.Equal(whole) || got.WriteError != "refused:\nbecause" {
				t.Errorf("%s: %+v", path, got.View)
			}
			warning := "\nwarning: writes fail since " + whole.Format(time.TimeOnly) + " UTC (89s): Testcrs may be out of date, this is not\n"
			if text := get(t, l.Handler(), path, "text/plain").Body.String(); !strings.HasSuffix(text, warning+`the last error: refused:\u000abecause`+"\n") {
				t.Errorf("%s:\n%s", path, text)
			}
			if _, got := ask(t, some, path); !got.WritesFailSince.Equal(whole) || got.WriteError != "" {
				t.Errorf("%s of a caller who may see one namespace: %+v", path, got.View)
			}
		}
		i.setAsOf(time.Now().Add(-time.Minute))
		want := "\nwarning: the API server was last heard 60 s ago: this may be out of date\n"
		if text := get(t, l.Handler(), "/v1/summary", "text/plain").Body.String(); !strings.Contains(text, want) {
			t.Errorf("an old view:\n%s", text)
		}
	})
}

func TestView_Cluster(t *testing.T) {
	i := &informer{synced: make(chan struct{})}
	i.setAsOf(time.Now())
	l, err := lookup.New(t.Context(), lookup.Config{Pods: i, ClusterName: "prod-eu"})
	if err != nil {
		t.Fatal(err)
	}
	i.add(shop()...)
	close(i.synced)
	_, unnamed := serve(t, shop()...)
	some := &restricted{next: l.Handler(), allowed: []string{"shop"}}
	for _, path := range []string{"/", "/v1/pods", "/v1/pods?ip=10.9.9.9", "/v1/pods/shop/web-1", "/v1/search?q=web", "/v1/search?q=nobody", "/v1/summary"} {
		for _, h := range []http.Handler{l.Handler(), some} {
			if text := get(t, h, path, "text/plain").Body.String(); !strings.Contains(text, "\ncluster: prod-eu\n") {
				t.Errorf("%s:\n%s", path, text)
			}
			if path == "/" {
				continue // is always text
			}
			if _, got := ask(t, h, path); got.Cluster != "prod-eu" {
				t.Errorf("%s: %+v", path, got.View)
			}
		}
		if text := get(t, unnamed, path, "text/plain").Body.String(); strings.Contains(text, "cluster:") {
			t.Errorf("%s of a cluster without a name:\n%s", path, text)
		}
	}
}
