// Package history tests internal/history with both of its engines.
package history

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	_ "modernc.org/sqlite" // the driver sqlite

	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engines make a store of each kind.
var engines = map[string]func(*testing.T) *engine{
	"sqlite": func(t *testing.T) *engine {
		t.Helper()
		path := filepath.Join(t.TempDir(), "history.db")
		return &engine{location: path, driver: "sqlite", source: path}
	},
	"postgres": func(t *testing.T) *engine {
		t.Helper()
		url := testenv.StartPostgres(t).Create(t)
		return &engine{location: url, driver: "pgx", source: url}
	},
}

// engine is where a store is, and how SQL reaches it.
type engine struct{ location, driver, source string }

func (e *engine) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open(e.driver, e.source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// expectWhole fails if a row refers to one that is not there.
func (e *engine) expectWhole(t *testing.T) {
	t.Helper()
	db := e.open(t)
	for _, from := range []string{
		"facts f WHERE NOT EXISTS (SELECT 1 FROM pods p WHERE p.id = f.pod)",
		"pods p WHERE NOT EXISTS (SELECT 1 FROM shapes s WHERE s.id = p.shape AND s.cluster = p.cluster)",
		"pods p WHERE p.node IS NOT NULL AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = p.node AND n.cluster = p.cluster)",
		"shape_facts f WHERE NOT EXISTS (SELECT 1 FROM shapes s WHERE s.id = f.shape)",
	} {
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+from).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d rows of %s: %v", n, from, err)
		}
	}
}

// world is a cluster with a clock that the test advances.
type world struct {
	mu      sync.Mutex
	clock   time.Time
	pods    map[string]*corev1.Pod
	handler cache.ResourceEventHandler // of the recorder that runs
	uids    int
}

func newWorld() *world {
	return &world{clock: time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC), pods: map[string]*corev1.Pod{}}
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// advance returns the time after d.
func (w *world) advance(d time.Duration) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
	return w.clock
}

func (w *world) AddEventHandler(h cache.ResourceEventHandler, _ cache.HandlerOptions) ([]cache.DoneChecker, error) {
	w.handler = h
	for _, pod := range w.pods {
		h.OnAdd(podcache.NewPod(pod), true)
	}
	return nil, nil
}

// AsOf is in the future, so that the cache is current whenever the clock advances.
func (w *world) AsOf() time.Time               { return w.now().Add(24 * time.Hour) }
func (w *world) Confirm(context.Context) error { return nil }

// create creates a running Pod with an IP and a container.
func (w *world) create(name, ip string) *corev1.Pod {
	w.uids++
	now := metav1.NewTime(w.now())
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012x", w.uids)), CreationTimestamp: now,
			Labels: map[string]string{"app": "cart"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "StatefulSet", Name: "cart", Controller: new(true),
			}},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app", Image: "registry.example.com/cart:1"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, HostIP: "192.168.0.1", StartTime: &now,
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "app", Image: "registry.example.com/cart:1", ContainerID: containerID(w.uids, 0),
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
			}},
		},
	}
	w.pods[name] = pod
	w.handler.OnAdd(podcache.NewPod(pod), false)
	return pod
}

func containerID(pod, restarts int) string {
	return fmt.Sprintf("containerd://%08x%056x", restarts, pod)
}

// update changes a Pod.
func (w *world) update(name string, change func(*corev1.Pod)) {
	old := w.pods[name]
	pod := old.DeepCopy()
	change(pod)
	w.pods[name] = pod
	w.handler.OnUpdate(podcache.NewPod(old), podcache.NewPod(pod))
}

func (w *world) remove(name string) {
	pod := w.pods[name]
	delete(w.pods, name)
	w.handler.OnDelete(podcache.NewPod(pod))
}

// recorder is a Recorder that runs.
type recorder struct {
	*history.Recorder
	t     *testing.T
	world *world
	stop  func()

	mu     sync.Mutex
	errors []error
}

// record runs a Recorder until the end of the test, and waits until it records.
func record(t *testing.T, w *world, c history.Config) *recorder {
	t.Helper()
	r := start(t, w, c)
	begun := w.now()
	r.eventually("the record has begun", func() error {
		_, a, err := r.ask(query.IP, "10.9.9.9", begun, begun)
		if err != nil || !slices.ContainsFunc(a.Records, func(found history.Record) bool { return found.Cluster == c.Cluster && !found.Ends.Before(begun) }) {
			return fmt.Errorf("records %v: %w", a.Records, err)
		}
		return nil
	})
	return r
}

func start(t *testing.T, w *world, c history.Config) *recorder {
	t.Helper()
	r := &recorder{t: t, world: w}
	epoch := w.now()
	c.Pods, c.Now, c.Elapsed = w, w.now, func() time.Duration { return w.now().Sub(epoch) }
	c.Changed = func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errors = append(r.errors, err)
	}
	var err error
	if r.Recorder, err = history.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// changes returns what Config.Changed was called with so far.
func (r *recorder) changes() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errors)
}

func (r *recorder) eventually(what string, f func() error) {
	r.t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(r.t.Context(), testenv.Poll, testenv.Patience, true, func(context.Context) (bool, error) {
		last = f()
		return last == nil, nil
	})
	if err != nil {
		r.t.Fatalf("not so after %s: %s: %v", testenv.Patience, what, last)
	}
}

// ask returns the holders of a fact in a range as NAME, or NAME? if that is not certain.
func (r *recorder) ask(kind query.Kind, fact string, since, until time.Time, clusters ...string) ([]string, history.Answer, error) {
	term, err := query.ParseAs(kind, fact)
	if err != nil {
		return nil, history.Answer{}, err
	}
	a, err := r.Find(r.t.Context(), history.Query{Terms: []query.Term{term}, Since: since, Until: until, Clusters: clusters})
	names := make([]string, 0, len(a.Holders))
	for _, h := range a.Holders {
		name := strings.TrimPrefix(h.Cluster+"/"+h.Spec.PodName, "/")
		if h.Interval.From > until.UnixMilli() || h.Interval.To <= since.UnixMilli() {
			name += "?"
		}
		names = append(names, name)
	}
	return names, a, err
}

func (r *recorder) expect(kind query.Kind, fact string, at time.Time, want ...string) {
	r.t.Helper()
	r.expectRange(kind, fact, at, at, want...)
}

func (r *recorder) expectRange(kind query.Kind, fact string, since, until time.Time, want ...string) {
	r.t.Helper()
	if got, _, err := r.ask(kind, fact, since, until); err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		r.t.Errorf("%s %s from %s until %s: %q, want %q: %v", kind, fact, since.Format(time.TimeOnly), until.Format(time.TimeOnly), got, want, err)
	}
}
