package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// pruning is a store with a pruner, whose clock the test sets.
type pruning struct {
	t      *testing.T
	store  *store
	pruner *pruner
	clock  time.Time
	from   int64
	uids   int
}

func newPruning(t *testing.T, s *store, retention time.Duration, maxBytes int64) *pruning {
	t.Helper()
	p := &pruning{t: t, store: s, clock: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}
	start := p.clock
	p.from = start.UnixMilli()
	p.pruner = newPruner(Config{
		Retention: retention, MaxBytes: maxBytes,
		Now: func() time.Time { return p.clock }, Elapsed: func() time.Duration { return p.clock.Sub(start) },
	})
	if _, err := s.takeOver(t.Context(), p.from); err != nil {
		t.Fatal(err)
	}
	return p
}

func newFile(t *testing.T) *store {
	t.Helper()
	s, err := openSQLite(t.Context(), filepath.Join(t.TempDir(), "history.db"), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// begin returns a life that begins now. Each workload has a shape, and each node a row.
func (p *pruning) begin(workload, node, ip string) *life {
	p.t.Helper()
	p.uids++
	spec := &v1.TestcrSpec{
		Namespace: "shop", PodName: fmt.Sprintf("%s-%d", workload, p.uids), PodUID: fmt.Sprintf("00000000-0000-4000-8000-%012x", p.uids),
		Phase: "Running", NodeName: node, HostIP: "192.168.0.1", PodIPs: []string{ip}, WorkloadKind: "Deployment", WorkloadName: workload,
		CreatedAt: metav1.Time{Time: p.clock}, Labels: map[string]string{"app": workload},
		Containers: []v1.Container{{Name: "app", Image: "shop/" + workload, ID: fmt.Sprintf("containerd://%064x", p.uids)}},
	}
	l := &life{id: p.store.nextID("pods"), uid: spec.PodUID, name: spec.PodName, Interval: moment{at: p.clock.UnixMilli()}.begin(0)}
	p.update(l, spec)
	return l
}

func (p *pruning) update(l *life, spec *v1.TestcrSpec) {
	p.t.Helper()
	r, err := p.store.refsOf(p.t.Context(), spec, l)
	if err != nil {
		p.t.Fatal(err)
	}
	l.update(spec, r, moment{at: p.clock.UnixMilli()})
}

func (p *pruning) commit(lives ...*life) {
	p.t.Helper()
	if err := p.store.commit(p.t.Context(), lives, progress{from: p.from, to: p.clock.UnixMilli()}); err != nil {
		p.t.Fatal(err)
	}
}

// pass lets the clock run on by d, and runs the steps that are due then.
func (p *pruning) pass(d time.Duration) {
	p.t.Helper()
	p.clock = p.clock.Add(d)
	p.pruner.clock.set() // it was not set, but ran
	p.commit()
	for end := p.clock; ; {
		if err := p.pruner.step(p.t.Context(), p.store); err != nil {
			p.t.Fatal(err)
		}
		if p.pruner.isFailed {
			p.t.Fatal("a step failed")
		}
		if len(p.pruner.steps) == 0 && (!p.pruner.isLarge || p.pruner.isFull) {
			p.clock = end
			return
		}
	}
}

func (p *pruning) find(kind query.Kind, fact string, at time.Time) ([]string, Record) {
	p.t.Helper()
	term, err := query.ParseAs(kind, fact)
	if err != nil {
		p.t.Fatal(err)
	}
	a, err := p.store.find(p.t.Context(), Query{Terms: []query.Term{term}, Since: at, Until: at})
	if err != nil {
		p.t.Fatal(err)
	}
	names := make([]string, 0, len(a.Holders))
	for _, h := range a.Holders {
		names = append(names, h.Spec.PodName)
	}
	return names, a.Records[0]
}

func (p *pruning) count(table string) (n int) {
	p.t.Helper()
	if err := p.store.readers.QueryRowContext(p.t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

// expectWhole fails if a row refers to one that is not there.
func (p *pruning) expectWhole() {
	p.t.Helper()
	for _, from := range []string{
		"facts f WHERE NOT EXISTS (SELECT 1 FROM pods p WHERE p.id = f.pod)",
		"pods p WHERE NOT EXISTS (SELECT 1 FROM shapes s WHERE s.id = p.shape)",
		"pods p WHERE p.node IS NOT NULL AND NOT EXISTS (SELECT 1 FROM nodes n WHERE n.id = p.node)",
		"shape_facts f WHERE NOT EXISTS (SELECT 1 FROM shapes s WHERE s.id = f.shape)",
		"facts f WHERE f.kind = 'shape' AND NOT EXISTS (SELECT 1 FROM shapes s WHERE CAST(s.id AS TEXT) = f.value)",
		"facts f WHERE f.kind = 'node' AND NOT EXISTS (SELECT 1 FROM nodes n WHERE CAST(n.id AS TEXT) = f.value)",
	} {
		if n := p.count(from); n != 0 {
			p.t.Errorf("%d rows of %s", n, from)
		}
	}
}

func TestPruner_Retention(t *testing.T) {
	testRetention(t, newFile(t))
}

// testRetention is a test of both engines.
func testRetention(t *testing.T, s *store) {
	t.Helper()
	p := newPruning(t, s, 24*time.Hour, 0)
	begin := p.clock
	old, kept := p.begin("cart", "node-1", "10.0.0.1"), p.begin("shop", "node-2", "10.0.0.2")
	p.commit(old, kept)
	p.clock = begin.Add(time.Hour)
	changed := *kept.spec
	changed.Labels = map[string]string{"app": "shop", "version": "2"}
	changed.HostIP = "192.168.0.2"
	p.update(kept, &changed)
	old.end(moment{at: p.clock.UnixMilli()})
	late := p.begin("late", "node-1", "10.0.0.1")
	p.commit(old, kept, late)
	p.clock = begin.Add(3 * time.Hour)
	late.end(moment{at: p.clock.UnixMilli()})
	p.commit(late)

	p.pass(23 * time.Hour) // the horizon is 2 h after begin

	at := begin.Add(30 * time.Minute)
	if names, record := p.find(query.IP, "10.0.0.1", at); len(names) != 0 || !record.Begins.Equal(begin.Add(2*time.Hour)) {
		t.Errorf("at %s the store has %q, and its record begins at %s", at, names, record.Begins)
	}
	for _, want := range []struct {
		kind       query.Kind
		fact, name string
		at         time.Duration
	}{
		{kind: query.IP, fact: "10.0.0.1", name: "late-3", at: 2 * time.Hour},
		{kind: query.IP, fact: "10.0.0.2", name: "shop-2", at: 2 * time.Hour},
		{kind: query.Workload, fact: "shop", name: "shop-2", at: 20 * time.Hour},
		{kind: query.HostIP, fact: "192.168.0.2", name: "shop-2", at: 20 * time.Hour},
	} {
		if names, _ := p.find(want.kind, want.fact, begin.Add(want.at)); strings.Join(names, " ") != want.name {
			t.Errorf("%s %s after %s: %q, want %s", want.kind, want.fact, want.at, names, want.name)
		}
	}
	if pods, shapes, nodes := p.count("pods"), p.count("shapes"), p.count("nodes"); pods != 2 || shapes != 3 || nodes != 3 {
		t.Errorf("%d Pods, %d shapes and %d nodes are left, want 2, 3 and 3", pods, shapes, nodes)
	}
	p.expectWhole()

	p.clock = begin.Add(30 * time.Hour)
	kept.end(moment{at: p.clock.UnixMilli()})
	p.commit(kept)
	p.pass(25 * time.Hour)
	// The last IDs stay, because they must not be given again.
	if pods, facts, shapes := p.count("pods"), p.count("facts"), p.count("shapes"); pods != 0 || facts != 0 || shapes != 1 {
		t.Errorf("%d Pods, %d facts and %d shapes are left, want 0, 0 and 1", pods, facts, shapes)
	}
	again := p.begin("cart", "node-1", "10.0.0.1") // its shape was deleted
	p.commit(again)
	p.expectWhole()
	if names, _ := p.find(query.Workload, "cart", p.clock); strings.Join(names, " ") != "cart-4" {
		t.Errorf("the workload has %q, want cart-4", names)
	}
}

func TestPruner_Size(t *testing.T) {
	s := newFile(t)
	const limit = 2 << 20
	p := newPruning(t, s, 0, limit)
	begin := p.clock
	open := p.begin("open", "node-1", "10.1.0.1")
	p.commit(open)
	for i := range 80 {
		var lives []*life
		for j := range 200 {
			l := p.begin(fmt.Sprintf("w%d", i), "node-1", fmt.Sprintf("10.0.%d.%d", i, j))
			l.end(moment{at: p.clock.Add(time.Minute).UnixMilli()})
			lives = append(lives, l)
		}
		p.clock = p.clock.Add(10 * time.Minute)
		p.commit(lives...)
	}
	checkpoint(t, s)
	if before := fileBytes(t, s); before < 3<<20 {
		t.Fatalf("the file has only %d bytes", before)
	}
	p.pass(time.Second)
	if after := fileBytes(t, s); after > limit || after < limit/2 {
		t.Errorf("the file has %d bytes, want at most %d and not much less", after, limit)
	}
	if names, record := p.find(query.IP, "10.0.0.1", begin); len(names) != 0 || !record.Begins.After(begin.Add(time.Hour)) {
		t.Errorf("the oldest is %q, and the record begins at %s", names, record.Begins)
	}
	if names, _ := p.find(query.IP, "10.0.79.1", begin.Add(790*time.Minute)); len(names) != 1 {
		t.Errorf("the latest is %q, want one Pod", names)
	}
	if names, _ := p.find(query.IP, "10.1.0.1", p.clock); len(names) != 1 {
		t.Errorf("the open one is %q, want one Pod", names)
	}
	p.expectWhole()
}

func TestPruner_Size_OpenLives(t *testing.T) {
	s := newFile(t)
	p := newPruning(t, s, 0, 1<<20)
	var lives []*life
	for i := range 4000 {
		lives = append(lives, p.begin("open", "node-1", fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
	}
	p.clock = p.clock.Add(time.Hour)
	p.commit(lives...)
	p.pass(time.Second)
	if !p.pruner.isFull || p.count("pods") != len(lives) {
		t.Errorf("isFull is %v with %d Pods, want true with all %d", p.pruner.isFull, p.count("pods"), len(lives))
	}
	for _, l := range lives[100:] {
		l.end(moment{at: p.clock.UnixMilli()})
	}
	p.commit(lives[100:]...)
	p.pass(maxPruneWait)
	p.pass(maxPruneWait)
	if p.pruner.isFull || p.count("pods") != 100 || fileBytes(t, s) > 1<<20 {
		t.Errorf("isFull is %v with %d Pods and %d bytes, want false with 100", p.pruner.isFull, p.count("pods"), fileBytes(t, s))
	}
}

func TestPruner_ClusterThatIsGone(t *testing.T) {
	s := newFile(t)
	p := newPruning(t, s, 24*time.Hour, 0)
	p.commit(p.begin("cart", "node-1", "10.0.0.1"), p.begin("cart", "node-1", "10.0.0.2"))
	s.cluster = "renamed"
	if _, err := s.takeOver(t.Context(), p.clock.UnixMilli()); err != nil {
		t.Fatal(err)
	}
	p.pass(23 * time.Hour)
	if n := p.count("pods"); n != 2 {
		t.Errorf("%d Pods are left within the retention, want 2", n)
	}
	p.pass(2 * time.Hour)
	if pods, facts := p.count("pods"), p.count("facts"); pods != 0 || facts != 0 {
		t.Errorf("%d Pods and %d facts are left, want none", pods, facts)
	}
	p.expectWhole()
}

func TestPruner_ClockIsSet(t *testing.T) {
	p := newPruning(t, newFile(t), 24*time.Hour, 0)
	l := p.begin("cart", "node-1", "10.0.0.1")
	l.end(moment{at: p.clock.UnixMilli() + 1})
	p.commit(l)
	p.clock = p.clock.Add(time.Hour)
	offset := 240 * time.Hour
	p.pruner.now = func() time.Time { return p.clock.Add(offset) }
	p.pruner.clock.now = p.pruner.now
	if err := p.pruner.step(t.Context(), p.store); err != nil {
		t.Fatal(err)
	}
	if len(p.pruner.steps) > 1 || p.count("pods") != 1 {
		t.Errorf("%d steps and %d Pods after the clock was set", len(p.pruner.steps), p.count("pods"))
	}
}

func TestPruner_OtherWriter(t *testing.T) {
	s := newFile(t)
	p := newPruning(t, s, time.Hour, 0)
	p.clock = p.clock.Add(2 * time.Hour)
	p.commit()
	p.pruner.clock.set()
	if err := p.pruner.step(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	other, err := openLocked(t.Context(), s.path, "") // as without the lock of the file
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if _, err := other.takeOver(t.Context(), p.clock.UnixMilli()); err != nil {
		t.Fatal(err)
	}
	if err := p.pruner.step(t.Context(), s); !errors.Is(err, errOtherWriter) {
		t.Errorf("the step of the old writer returned %v", err)
	}
	if err := s.commit(t.Context(), nil, progress{to: p.clock.UnixMilli()}); !errors.Is(err, errOtherWriter) {
		t.Errorf("the commit of the old writer returned %v", err)
	}
}

// TestLife_TrimsRows shows that a container that restarts for ever needs no more rows.
func TestLife_TrimsRows(t *testing.T) {
	p := newPruning(t, newFile(t), time.Hour, 0)
	l := p.begin("crash", "node-1", "10.0.0.1")
	for i := range 2 * maxFacts {
		p.clock = p.clock.Add(time.Minute)
		spec := *l.spec
		spec.Containers = []v1.Container{{Name: "app", Image: "shop/crash", ID: fmt.Sprintf("containerd://%064x", 1000+i)}}
		p.update(l, &spec)
		p.commit(l)
	}
	if n := p.count("facts"); n > maxFacts {
		t.Errorf("the life has %d rows of facts, want at most %d", n, maxFacts)
	}
	l.end(moment{at: p.clock.UnixMilli()})
	p.commit(l)
	p.pass(2 * time.Hour)
	if n := p.count("facts"); n != 0 {
		t.Errorf("%d rows of facts are left", n)
	}
}

func checkpoint(t *testing.T, s *store) {
	t.Helper()
	if _, err := s.writer.ExecContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
}

// fileBytes returns the size of the file and its log.
func fileBytes(t *testing.T, s *store) (n int64) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}

// agingCache is a cache with one Pod that is gone after a while.
type agingCache struct{ handler cache.ResourceEventHandler }

func (c *agingCache) AddEventHandler(h cache.ResourceEventHandler, _ cache.HandlerOptions) ([]cache.DoneChecker, error) {
	c.handler = h
	return nil, nil
}
func (c *agingCache) AsOf() time.Time               { return time.Now() }
func (c *agingCache) Confirm(context.Context) error { return nil }

func TestRecorder_Prunes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods := &agingCache{}
		r, err := New(t.Context(), Config{Location: filepath.Join(t.TempDir(), "history.db"), Pods: pods, Retention: 10 * time.Minute, MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		synctest.Wait()
		begin := time.Now()
		pod := podcache.NewPod(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "00000000-0000-4000-8000-000000000001", CreationTimestamp: metav1.NewTime(begin)},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}},
		})
		pods.handler.OnAdd(pod, false)
		<-time.After(time.Minute)
		pods.handler.OnDelete(pod)
		term, err := query.ParseAs(query.IP, "10.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		at := begin.Add(30 * time.Second)
		for _, want := range []int{1, 0} {
			a, err := r.Find(t.Context(), Query{Terms: []query.Term{term}, Since: at, Until: at})
			if err != nil {
				t.Fatal(err)
			}
			if isLater := a.Records[0].Begins.After(at); len(a.Holders) != want || isLater != (want == 0) {
				t.Errorf("%d holders in a record that begins at %s, want %d", len(a.Holders), a.Records[0].Begins, want)
			}
			<-time.After(15 * time.Minute)
		}
		cancel()
		<-done
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
