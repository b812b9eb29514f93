package lookup_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestAnswersFollowTheTestcrs(t *testing.T) {
	h := start(t, nil)
	pod := newPod("follow", "web-0", 1)
	uid, nodes := "/v1/pods?uid="+string(pod.UID), "/v1/pods?node=node-1&namespace=follow"

	create(t, pod)
	first := waitFor(t, h, uid, "follow/web-0")
	for _, path := range []string{
		"/v1/pods?ip=10.7.0.1", "/v1/pods?ip=FD00:7:0::1", "/v1/pods?container=" + idOf(1)[:12], "/v1/pods?key=follow/web-0",
		"/v1/pods?name=web-0&namespace=follow", nodes, "/v1/pods?hostip=192.168.7.1", "/v1/pods?workload=sts/web", "/v1/search?q=10.7.0.1",
	} {
		waitFor(t, h, path, "follow/web-0")
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

	// Somebody takes it from us: it is no longer answered with.
	patch := func(label string) {
		data := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, v1.LabelManagedBy, label)
		if _, err := testcrs().Patch(t.Context(), desired.FromPod(pod).Name, types.MergePatchType, []byte(data), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch("null")
	waitFor(t, h, uid)
	patch(`"` + v1.ManagedBy + `"`)
	waitFor(t, h, uid, "follow/web-0")

	remove(t, pod)
	gone := waitFor(t, h, uid)
	waitFor(t, h, "/v1/pods?ip=10.7.0.2")
	if code, a := ask(t.Context(), t, h, "/v1/pods/follow/web-0"); code != http.StatusNotFound || gone.Testcrs != first.Testcrs-1 {
		t.Errorf("deleted: %d %+v", code, a)
	}
}

func TestTheCRDGoesAndComesBack(t *testing.T) {
	h := start(t, nil)
	create(t, newPod("crd", "old", 3))
	waitFor(t, h, "/v1/pods?ip=10.7.0.3", "crd/old")
	if err := env.DeleteCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := false
	t.Cleanup(func() {
		if !back {
			if err := env.ApplyCRD(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	})
	testenv.Eventually(t, func(ctx context.Context) error {
		if code, a := ask(ctx, t, h, "/v1/pods?ip=10.7.0.3"); code != http.StatusServiceUnavailable || a.Error != testcrcache.ErrCRDMissing.Error() {
			return fmt.Errorf("%d %+v, want 503 for the missing CRD", code, a)
		}
		return nil
	})
	if err := env.ApplyCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	back = true
	create(t, newPod("crd", "new", 4))
	fresh := waitFor(t, h, "/v1/pods?ip=10.7.0.4", "crd/new")
	waitFor(t, h, "/v1/pods?ip=10.7.0.3")
	if fresh.AgeSeconds > 30 {
		t.Errorf("it rests on %+v", fresh.View)
	}
	testenv.Eventually(t, func(ctx context.Context) error { // of the others nothing is left
		if _, a := ask(ctx, t, h, "/v1/pods"); a.Testcrs != 1 {
			return fmt.Errorf("%d Testcrs, want 1", a.Testcrs)
		}
		return nil
	})
}

// shortWatches lets the API server end every watch after 8 s. It sends a
// bookmark 2 s before, else once a minute, if it has seen anything newer than
// what the watch began with.
type shortWatches struct{ http.RoundTripper }

func (s shortWatches) RoundTrip(r *http.Request) (*http.Response, error) {
	if params := r.URL.Query(); params.Get("watch") == "true" {
		r = r.Clone(r.Context())
		params.Set("timeoutSeconds", "8")
		r.URL.RawQuery = params.Encode()
	}
	return s.RoundTripper.RoundTrip(r)
}

func TestAgeIsThatOfTheLastWord(t *testing.T) {
	h := start(t, func(rt http.RoundTripper) http.RoundTripper { return shortWatches{rt} })
	view := func(ctx context.Context) (v answer) {
		_, v = ask(ctx, t, h, "/v1/summary")
		return v
	}
	// wait until the age is below limit, or above, and return what it is.
	wait := func(isSo func(age float64) bool) answer {
		t.Helper()
		var last answer
		testenv.Eventually(t, func(ctx context.Context) error {
			if last = view(ctx); !isSo(last.AgeSeconds) {
				return fmt.Errorf("the age is %v", last.AgeSeconds)
			}
			return nil
		})
		return last
	}
	old := wait(func(age float64) bool { return age > 0.2 })
	create(t, newPod("age", "web-0", 5))
	young := waitFor(t, h, "/v1/pods?key=age/web-0", "age/web-0")
	if young.AgeSeconds >= old.AgeSeconds || young.ResourceVersion == old.ResourceVersion {
		t.Errorf("an event changes %+v to %+v", old.View, young.View)
	}
	old = wait(func(age float64) bool { return age > 1 })
	young = wait(func(age float64) bool { return age < 1 })
	if old.ResourceVersion != young.ResourceVersion || old.Testcrs != young.Testcrs {
		t.Errorf("a bookmark changes %+v to %+v", old.View, young.View)
	}
}

// TestEventsOfARealStream reads the stream as a browser does.
func TestEventsOfARealStream(t *testing.T) {
	server := httptest.NewServer(start(t, nil))
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
	valid(next())
	create(t, newPod("events", "web-0", 6))
	valid(next())
	if diff := cmp.Diff([]float64{0, 1}, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	cancel()
	for lines.Scan() { // what was on its way
		continue
	}
	if err := lines.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ends with %v", err)
	}
}
