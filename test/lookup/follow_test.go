package lookup_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestAnswersFollowThePods(t *testing.T) {
	h := start(t)
	env.Namespace(t, "follow")
	pod := newPod("follow", "web-0", 1)
	create(t, pod)
	uid, nodes := "/v1/pods?uid="+string(pod.UID), "/v1/pods?node=node-1&namespace=follow"
	first := waitFor(t, h, uid, "follow/web-0")
	for _, path := range []string{
		"/v1/pods?ip=10.7.0.1", "/v1/pods?ip=FD00:7:0::1", "/v1/pods?container=" + idOf(1)[:12], "/v1/pods?key=follow/web-0",
		"/v1/pods?name=web-0&namespace=follow", nodes, "/v1/pods?hostip=192.168.7.1", "/v1/pods?workload=sts/web", "/v1/search?q=10.7.0.1",
	} {
		first = waitFor(t, h, path, "follow/web-0")
	}
	code, one := ask(t.Context(), t, h, "/v1/pods/follow/web-0")
	if diff := cmp.Diff(desired.FromPod(pod).Spec, one.Pod.TestcrSpec); diff != "" || code != http.StatusOK {
		t.Errorf("status %d (-want +got):\n%s", code, diff)
	}
	if first.ResourceVersion == "" || first.AgeSeconds > 30 {
		t.Errorf("it rests on %+v", first.View)
	}

	// Another IP and, after a restart, another container.
	pod.Status.PodIP, pod.Status.PodIPs = "10.7.0.2", []corev1.PodIP{{IP: "10.7.0.2"}}
	pod.Status.ContainerStatuses[0].ContainerID = "containerd://" + idOf(2)
	update(t, pod)
	second := waitFor(t, h, "/v1/pods?ip=10.7.0.2", "follow/web-0")
	waitFor(t, h, "/v1/pods?container="+idOf(2), "follow/web-0")
	for _, path := range []string{"/v1/pods?ip=10.7.0.1", "/v1/pods?ip=fd00:7::1", "/v1/pods?container=" + idOf(1)} {
		waitFor(t, h, path)
	}
	waitFor(t, h, nodes, "follow/web-0")
	if second.ResourceVersion == first.ResourceVersion {
		t.Errorf("it still rests on %s", second.ResourceVersion)
	}

	remove(t, pod)
	gone := waitFor(t, h, uid)
	waitFor(t, h, "/v1/pods?ip=10.7.0.2")
	if code, a := ask(t.Context(), t, h, "/v1/pods/follow/web-0"); code != http.StatusNotFound || *gone.Pods != *first.Pods-1 {
		t.Errorf("deleted: %d %+v", code, a)
	}
}

// probes counts requests for the version of Pods.
type probes struct {
	http.RoundTripper

	count atomic.Int32
}

func (p *probes) RoundTrip(r *http.Request) (*http.Response, error) {
	if params := r.URL.Query(); params.Get("limit") == "1" && params.Get("watch") == "" {
		p.count.Add(1)
	}
	return p.RoundTripper.RoundTrip(r)
}

// An idle watch delivers nothing for a minute. Meanwhile other writes take resource
// versions, as the leases of each node do.
func TestAgeOfAnIdleCluster(t *testing.T) {
	counted := &probes{}
	h, pods := prepare(t, func(rt http.RoundTripper) http.RoundTripper {
		counted.RoundTripper = rt
		return counted
	})
	run(t, h, pods)
	env.Namespace(t, "idle") // a write that is not to a Pod
	before := counted.count.Load()
	testenv.Eventually(t, func(context.Context) error {
		if age := time.Since(pods.AsOf()); age < 5*time.Second {
			return fmt.Errorf("the age is %s", age)
		}
		return nil
	})
	if got := counted.count.Load() - before; got != 0 {
		t.Errorf("%d requests without readers", got)
	}
	if _, a := ask(t.Context(), t, h, "/v1/summary"); a.AgeSeconds >= 1 {
		t.Errorf("the age is %v", a.AgeSeconds)
	}
	for range 10 {
		ask(t.Context(), t, h, "/v1/summary")
	}
	if got := counted.count.Load() - before; got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

// TestEventsOfARealStream reads the stream as a browser does.
func TestEventsOfARealStream(t *testing.T) {
	server := httptest.NewServer(start(t))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v1/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	next := func() string { // the data of the next event
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		t.Fatalf("the stream has ended: %v", lines.Err())
		return ""
	}
	schemas := document(t).Components.Schemas
	var changes []float64
	valid := func(data string) {
		t.Helper()
		value := decode(t, data)
		if err := schemas["ViewEvent"].Value.VisitJSON(value); err != nil {
			t.Errorf("%s: %v", data, err)
		}
		changes = append(changes, value.(map[string]any)["changes"].(float64))
	}
	env.Namespace(t, "events")
	valid(next())
	create(t, newPod("events", "web-0", 6))
	for changes[len(changes)-1] < 2 { // the Pod, and its status
		valid(next())
	}
	if changes[0] != 0 || !slices.IsSorted(changes) {
		t.Errorf("changes are %v", changes)
	}
	cancel()
	for lines.Scan() { // what was on its way
		continue
	}
	if err := lines.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ends with %v", err)
	}
}
