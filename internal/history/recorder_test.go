package history

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// fakePods is a cache whose events a test makes.
type fakePods struct {
	handlers []cache.ResourceEventHandler
	initial  []*corev1.Pod
	asOf     func() time.Time // nil is now
}

func (f *fakePods) AddEventHandler(h cache.ResourceEventHandler, _ cache.HandlerOptions) ([]cache.DoneChecker, error) {
	f.handlers = append(f.handlers, h)
	for _, p := range f.initial {
		h.OnAdd(podcache.NewPod(p), true)
	}
	return nil, nil
}

func (f *fakePods) AsOf() time.Time {
	if f.asOf != nil {
		return f.asOf()
	}
	return time.Now()
}
func (f *fakePods) Confirm(context.Context) error { return nil }

func (f *fakePods) add(p *corev1.Pod) {
	for _, h := range f.handlers {
		h.OnAdd(podcache.NewPod(p), false)
	}
}

func (f *fakePods) update(old, p *corev1.Pod) {
	for _, h := range f.handlers {
		h.OnUpdate(podcache.NewPod(old), podcache.NewPod(p))
	}
}

func (f *fakePods) remove(p *corev1.Pod) {
	for _, h := range f.handlers {
		h.OnDelete(podcache.NewPod(p))
	}
}

// pass lets time pass: that of synctest.
func pass(d time.Duration) { <-time.After(d) }

var uids int

// newPod returns a running Pod that is created now.
func newPod(name, ip string) *corev1.Pod {
	uids++
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012x", uids)), CreationTimestamp: now,
			Labels: map[string]string{"app": "cart"},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "cart:1"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, HostIP: "192.168.0.1", StartTime: &now,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "app", ContainerID: fmt.Sprintf("containerd://%064x", 1000+uids), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
			}},
		},
	}
}

// recording is a Recorder that runs.
type recording struct {
	*Recorder
	t    *testing.T
	stop func()
}

func record(t *testing.T, path string, pods *fakePods) *recording {
	t.Helper()
	return recordBy(t, Config{Location: path, Pods: pods})
}

func recordBy(t *testing.T, config Config) *recording {
	t.Helper()
	r, err := New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		<-done
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	synctest.Wait()
	return &recording{r, t, stop}
}

// at returns the names of the Pods that had a fact at a time, uncertain ones with a
// question mark, and the Answer.
func (r *recording) at(kind query.Kind, fact string, at time.Time) ([]string, Answer) {
	r.t.Helper()
	term, err := query.ParseAs(kind, fact)
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := r.Find(r.t.Context(), Query{Terms: []query.Term{term}, Since: at, Until: at})
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, h := range a.Holders {
		name := h.Spec.PodName
		if !h.Interval.Covers(at.UnixMilli()) {
			name += "?"
		}
		names = append(names, name)
	}
	return names, a
}

func (r *recording) expect(kind query.Kind, fact string, at time.Time, want ...string) {
	r.t.Helper()
	if got, _ := r.at(kind, fact, at); !slices.Equal(got, want) {
		r.t.Errorf("%s %s at %s: got %q, want %q", kind, fact, at.Format(time.RFC3339Nano), got, want)
	}
}

func TestRecorder_Find(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods := &fakePods{}
		r := record(t, filepath.Join(t.TempDir(), "history.db"), pods)
		start := time.Now()
		first := newPod("cart-1", "10.0.0.7")
		first.Labels["run"], first.Labels[podNameLabel] = "cart-1", "cart-1"
		pods.add(first)
		pass(time.Minute)
		restarted := first.DeepCopy()
		restarted.Status.ContainerStatuses[0].ContainerID = fmt.Sprintf("containerd://%064x", 1)
		pods.update(first, restarted)
		pass(time.Minute)
		pods.remove(restarted)
		pass(time.Minute)
		second := newPod("cart-2", "10.0.0.7")
		pods.add(second)
		pass(time.Minute)
		completed := second.DeepCopy()
		completed.Status.Phase = corev1.PodSucceeded
		pods.update(second, completed)
		pass(time.Minute)

		minute := func(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Minute))) }
		r.expect(query.IP, "10.0.0.7", minute(0.5), "cart-1")
		r.expect(query.IP, "10.0.0.7", minute(1.5), "cart-1")
		r.expect(query.IP, "10.0.0.7", minute(2.5))
		r.expect(query.IP, "10.0.0.7", minute(3.5), "cart-2")
		r.expect(query.IP, "10.0.0.7", minute(4.5))
		r.expect(query.Container, fmt.Sprintf("%064x", 1), minute(0.5))
		r.expect(query.Container, fmt.Sprintf("%064x", 1), minute(1.5), "cart-1")
		r.expect(query.Container, first.Status.ContainerStatuses[0].ContainerID[13:], minute(0.5), "cart-1")
		r.expect(query.UID, string(first.UID), minute(1.9), "cart-1")
		r.expect(query.Name, "cart-2", minute(4.5), "cart-2")
		r.expect(query.Key, "shop/cart-2", minute(4.5), "cart-2")
		r.expect(query.Key, "other/cart-2", minute(4.5))
		r.expect(query.Node, "node-1", minute(3.5), "cart-2")
		r.expect(query.HostIP, "192.168.0.1", minute(0.5), "cart-1")
		r.expect(query.Image, "cart", minute(0.5), "cart-1")
		r.expect(query.Image, "cart", minute(4.5), "cart-2")
		r.expect(query.Label, "app=cart", minute(0.5), "cart-1")
		r.expect(query.Label, "run=cart-1", minute(0.5), "cart-1")
		r.expect(query.Label, podNameLabel+"=cart-1", minute(0.5), "cart-1")
		r.expect(query.Label, podNameLabel+"=cart-2", minute(0.5))
		r.expect(query.Namespace, "shop", minute(2.5))

		var from, to int64 // as people read it with SQL
		err := r.store.Load().readers.QueryRowContext(t.Context(), `SELECT f.from_ms, f.to_ms FROM facts f JOIN pods p ON p.id = f.pod
			WHERE f.kind = 'ip' AND f.value = '10.0.0.7' AND p.name = 'cart-1'`).Scan(&from, &to)
		if err != nil || from != start.UnixMilli() || to != minute(2).UnixMilli() {
			t.Errorf("the row of the IP is from %d to %d, %v", from, to, err)
		}
		_, a := r.at(query.IP, "10.0.0.7", minute(0.5))
		if got := a.Holders[0]; !time.UnixMilli(got.Interval.From).Equal(start) || !time.UnixMilli(got.Interval.To).Equal(minute(2)) ||
			got.Spec.PodIP != "10.0.0.7" || got.Spec.Containers[0].ID != first.Status.ContainerStatuses[0].ContainerID ||
			got.Spec.NodeName != "node-1" || got.Spec.PodKey != "shop/cart-1" || got.Spec.Labels["app"] != "cart" {
			t.Errorf("the holder is %+v", got)
		}
		if len(a.Records) != 1 || len(a.Records[0].Gaps) != 0 {
			t.Errorf("the records are %+v", a.Records)
		}
	})
}

// A Pod that is gone at the next start ended at any time between.
func TestRecorder_Find_AfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods := &fakePods{}
		path := filepath.Join(t.TempDir(), "history.db")
		r := record(t, path, pods)
		stays, goes, renewed := newPod("stays", "10.0.0.1"), newPod("goes", "10.0.0.2"), newPod("renewed", "10.0.0.3")
		for _, p := range []*corev1.Pod{stays, goes, renewed} {
			pods.add(p)
		}
		pass(time.Minute)
		before := time.Now()
		r.stop()
		pass(10 * time.Minute)
		renewedAt := time.Now()
		next := &fakePods{}
		again := newPod("renewed", "10.0.0.3")
		pass(10 * time.Minute)
		next.initial = []*corev1.Pod{stays, again}
		r = record(t, path, next)
		pass(time.Minute)

		r.expect(query.IP, "10.0.0.1", before.Add(5*time.Minute), "stays")
		r.expect(query.IP, "10.0.0.2", before.Add(-10*time.Second), "goes")
		r.expect(query.IP, "10.0.0.2", before.Add(5*time.Minute), "goes?")
		r.expect(query.IP, "10.0.0.2", time.Now())
		r.expect(query.IP, "10.0.0.3", renewedAt.Add(-time.Minute), "renewed?")
		r.expect(query.IP, "10.0.0.3", time.Now(), "renewed")
		_, a := r.at(query.IP, "10.0.0.3", renewedAt.Add(time.Minute))
		if len(a.Holders) != 2 || len(a.Records[0].Gaps) != 1 {
			t.Errorf("in the gap: got %+v, want both Pods and a gap", a)
		}
	})
}

// A file has one writer. The second one does not record, and takes over when the first one
// has gone.
func TestRecorder_Run_SecondWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods, path := &fakePods{}, filepath.Join(t.TempDir(), "history.db")
		first := record(t, path, pods)
		pods.add(newPod("cart", "10.0.0.1"))
		pass(time.Minute)
		second := record(t, path, &fakePods{initial: []*corev1.Pod{newPod("other", "10.0.0.2")}})
		pass(time.Minute)
		if err := second.failed.Load(); err == nil || !errors.Is(*err, errOtherWriter) {
			t.Errorf("the second writer failed with %v", err)
		}
		first.expect(query.IP, "10.0.0.1", time.Now(), "cart")
		first.stop()
		pass(time.Minute)
		second.expect(query.IP, "10.0.0.2", time.Now(), "other")
		second.expect(query.IP, "10.0.0.1", time.Now())
	})
}
