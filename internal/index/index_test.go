package index_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// term reads s as kind.
func term(t testing.TB, kind query.Kind, s string) query.Term {
	t.Helper()
	got, err := query.ParseAs(kind, s)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// record is a Testcr as a cache has it.
type record struct {
	name, version string
	spec          v1.TestcrSpec
	isFact        bool // the index must contain it
}

func newRecord(t *v1.Testcr, version string) *record {
	_, ok := t.PodKey()
	return &record{name: t.Name, version: version, spec: t.Spec, isFact: ok && t.IsManaged()}
}

func (r *record) Spec() *v1.TestcrSpec { return &r.spec }

// update passes an event to x. No record is nil.
func update(x *index.Index, old, now *record) {
	isFact := func(r *record) bool { return r != nil && r.isFact }
	switch {
	case isFact(now):
		x.Put(now, now.version)
	case isFact(old) && now != nil:
		x.Remove(old.spec.PodKey, now.version)
	case isFact(old):
		x.Remove(old.spec.PodKey, old.version)
	case now != nil:
		x.Remove("", now.version)
	}
}

// keys returns the Pods of specs, and a value that differs between their states.
func keys(specs []*v1.TestcrSpec) []string {
	out := make([]string, len(specs))
	for i, s := range specs {
		out[i] = s.PodKey + " " + s.ServiceAccount
	}
	return out
}

// world makes records that share most of their facts, because there are few values.
type world struct {
	*rand.Rand
	version int
}

func (w *world) pick(of ...string) string { return of[w.IntN(len(of))] }

func (w *world) ip() string {
	return w.pick("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "FD00:0::1", "::ffff:10.0.0.1", "fd00::1%eth0", "", "no address")
}

func (w *world) id() string {
	runtime, digits := w.pick("containerd://", "docker://", ""), w.pick("0123456789ab", "0123456789AB", "ffffffffffff", "ffffffffffff0", "short")
	return w.pick("", runtime+digits+w.pick("", "00", "0123"))
}

func (w *world) record() *record {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.pick("a", "b", "a-b"), Name: fmt.Sprint("pod-", w.IntN(20)), UID: types.UID(w.pick("u1", "u2", "u3")),
			Labels: map[string]string{"pod-template-hash": "5d9f", "app": w.pick("web", "db")},
			Annotations: map[string]string{
				"kubernetes.io/config.hash":         w.pick("", "", "u1", "0123456789ABCDEF0123456789abcdef"),
				"k8s.v1.cni.cncf.io/network-status": fmt.Sprintf(`[{"ips":[%q]}]`, w.pick("", "", w.ip())),
			},
		},
		Spec: corev1.PodSpec{NodeName: w.pick("", "n1", "n2"), HostNetwork: w.IntN(4) == 0},
		Status: corev1.PodStatus{
			Phase: corev1.PodPhase(w.pick("Running", "Pending", "Failed")), HostIP: w.ip(), PodIPs: []corev1.PodIP{{IP: w.ip()}, {IP: w.ip()}},
			HostIPs: []corev1.HostIP{{IP: w.ip()}, {IP: w.ip()}},
		},
	}
	if kind := w.pick("", "ReplicaSet", "StatefulSet", "Rollout"); kind != "" {
		pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: w.pick("web", "web-5d9f", "db"), Controller: new(true)}}
	}
	if w.IntN(5) == 0 {
		pod.DeletionTimestamp = new(metav1.Now())
	}
	for i := range w.IntN(4) {
		name := fmt.Sprint("c", i)
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: w.pick("", "nginx", "docker.io/library/nginx:1", "r:5000/a/b@sha256:00")})
		status := corev1.ContainerStatus{Name: name, ContainerID: w.id(), ImageID: w.pick("", "sha256:00", "docker-pullable://nginx@sha256:11")}
		if w.IntN(3) == 0 {
			status.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ContainerID: w.id()}
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status)
	}
	if w.IntN(2) == 0 {
		pod.Status.StartTime = new(metav1.Unix(int64(w.IntN(3)), 0))
	}
	pod.CreationTimestamp = metav1.Unix(int64(w.IntN(3)), 0)
	w.version++
	pod.Spec.ServiceAccountName = fmt.Sprint("state-", w.version)
	t := desired.FromPod(pod)
	switch w.IntN(12) { // edited by hand
	case 0:
		delete(t.Labels, v1.LabelManagedBy)
	case 1:
		t.Spec.PodKey = "a/pod-1"
	case 2:
		t.Spec.PodKey = "nonsense"
	}
	return newRecord(t, fmt.Sprint(w.version))
}

func (w *world) terms(t *testing.T) []query.Term {
	t.Helper()
	var terms []query.Term
	for range w.IntN(4) {
		kind := query.Kinds[w.IntN(len(query.Kinds))]
		text := map[query.Kind]string{
			query.IP: w.pick("10.0.0.1", "fd00::1", "10.0.0.9"), query.HostIP: w.pick("10.0.0.2", "fd00::1"), query.UID: w.pick("u1", "u2", "0123456789abcdef0123456789abcdef"),
			query.Image: w.pick("nginx", "library/nginx", "nginx:1", "sha256:00", "sha256:11", "a/b", "b@sha256:00", "none"), query.Label: w.pick("app=web", "app=none"),
			query.Container: w.pick("0123456789ab", "0123456789ab00", "ffffffffffff", "ffffffffffff0", "eeeeeeeeeeee"),
			query.Key:       fmt.Sprintf("a/pod-%d", w.IntN(21)), query.Name: fmt.Sprint("pod-", w.IntN(21)), query.Node: w.pick("n1", "n2", "n3"),
			query.Workload: w.pick("web", "deploy/web", "rs/web-5d9f", "sts/db", "rollout/web", "job/web"), query.Namespace: w.pick("a", "b", "a-b", "c"),
		}[kind]
		terms = append(terms, term(t, kind, text))
	}
	if w.IntN(4) == 0 { // one that no posting has
		found, err := query.Parse(w.pick("10.0.0.0/24", "pod-1*", "*d-2", "a-b/pod*", "ffffff"))
		if err != nil {
			t.Fatal(err)
		}
		terms = append(terms, found[len(found)-1])
	}
	return terms
}

// model contains all records by name. It returns the results that an Index should,
// by a scan of all.
type model map[string]*record

func (m model) find(q index.Query) (page []*v1.TestcrSpec, total int) {
	for _, r := range m {
		s := r.Spec()
		isExcluded := func(term query.Term) bool { return !term.Matches(s) }
		if r.isFact && !slices.ContainsFunc(q.Terms, isExcluded) && (q.Filter == nil || q.Filter(s)) {
			page = append(page, s)
		}
	}
	total = len(page)
	slices.SortFunc(page, q.Compare)
	if q.After != nil {
		page = slices.DeleteFunc(page, func(s *v1.TestcrSpec) bool { return q.Compare(s, q.After) <= 0 })
	}
	page = page[min(q.Skip, len(page)):]
	if q.Limit > 0 {
		page = page[:min(q.Limit, len(page))]
	}
	return page, total
}

// size returns the number of records that an Index should contain.
func (m model) size() int {
	_, total := m.find(index.Query{Compare: query.Compare})
	return total
}

// step passes one random event to x, as an informer would.
func (w *world) step(m model, x *index.Index) {
	r := w.record()
	old := m[r.name]
	switch {
	case old == nil:
		m[r.name] = r
		update(x, nil, r)
	case w.IntN(3) > 0:
		m[r.name] = r
		update(x, old, r)
	case w.IntN(2) == 0:
		w.delete(m, r.name, x)
	default: // unchanged, as after a list
		update(x, old, old)
	}
}

func (w *world) delete(m model, name string, x *index.Index) {
	last := *m[name]
	delete(m, name)
	w.version++
	if w.IntN(2) == 0 { // without it: a tombstone, which has an older state
		last.version = fmt.Sprint(w.version)
	}
	update(x, &last, nil)
}

func byPod(a, b *v1.TestcrSpec) int { return strings.Compare(a.PodKey, b.PodKey) }

// compare makes the same query to both.
func (w *world) compare(t *testing.T, m model, x *index.Index) {
	t.Helper()
	q := index.Query{Terms: w.terms(t), Compare: query.Compare, Limit: w.IntN(6), Skip: max(0, w.IntN(6)-2)}
	asked := q
	if w.IntN(3) == 0 {
		q.Compare, asked.Compare = byPod, byPod
	} else if w.IntN(2) == 0 {
		q.Compare, asked.Compare = func(a, b *v1.TestcrSpec) int { return query.CompareFor(q.Terms, a, b) }, nil
	}
	if w.IntN(3) == 0 {
		q.Filter = func(s *v1.TestcrSpec) bool { return s.Phase == "Running" }
		asked.Filter = q.Filter
	}
	if w.IntN(2) == 0 {
		q.After = w.record().Spec()
		asked.After, asked.AfterIsAlias = q.After, query.AnyAlias(q.Terms, q.After)
	}
	before := []*v1.TestcrSpec{w.record().Spec()} // it stays in the page
	wantPage, wantTotal := m.find(q)
	page, total, view := x.Find(slices.Clone(before), asked)
	if diff := cmp.Diff(keys(append(before, wantPage...)), keys(page)); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", q.Terms, diff)
	}
	if total != wantTotal || view.Pods != m.size() {
		t.Fatalf("%+v: total %d of %d, want %d of %d", q.Terms, total, view.Pods, wantTotal, m.size())
	}
}

func TestIndex_Find_ReturnsWhatAScanDoes(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := &world{Rand: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // G404: the same each time
			m, x := model{}, index.New()
			if seed%2 == 1 { // all facts share few hashes
				x.Collide(3)
			}
			for range 400 {
				w.step(m, x)
				w.compare(t, m, x)
			}
			for _, name := range slices.Sorted(maps.Keys(m)) {
				w.delete(m, name, x)
				w.compare(t, m, x)
			}
			if left := x.Size(); left != 0 {
				t.Errorf("%d entries are left in an empty index", left)
			}
		})
	}
}

func TestIndex_Find_PagesContainEachTestcrOnce(t *testing.T) {
	orders := map[string]func(a, b *v1.TestcrSpec) int{
		"live ones first": query.Compare,
		"the other way":   func(a, b *v1.TestcrSpec) int { return query.Compare(b, a) },
		"by Pod":          byPod,
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			w := &world{Rand: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // G404: the same each time
			m, x := model{}, index.New()
			for range 300 {
				w.step(m, x)
			}
			stay, _ := m.find(index.Query{Compare: order})
			want := keys(stay)
			// Others, of Pods that are not among those, come and go meanwhile.
			other := func(i int) *record {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.pick("a", "b", "z"), Name: fmt.Sprint("other-", i)}}
				return newRecord(desired.FromPod(pod), "1")
			}
			var got []string
			var come []*record
			for after := (*v1.TestcrSpec)(nil); ; {
				page, total, _ := x.Find(nil, index.Query{Compare: order, After: after, Limit: 7})
				if total != len(stay)+len(come) {
					t.Fatalf("total is %d, want %d", total, len(stay)+len(come))
				}
				if len(page) == 0 {
					break
				}
				after = page[len(page)-1]
				for _, s := range page {
					if !strings.HasPrefix(s.PodName, "other-") {
						got = append(got, keys([]*v1.TestcrSpec{s})...)
					}
				}
				for _, r := range come { // also the one that the next page begins after
					update(x, r, nil)
				}
				come = come[:0]
				for range 10 {
					come = append(come, other(len(got)*100+len(come)))
					update(x, nil, come[len(come)-1])
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records that stayed, over all pages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIndex_Find_Skip(t *testing.T) {
	const pods = 1500
	x := index.New()
	all := make([]*v1.TestcrSpec, pods)
	for _, i := range rand.New(rand.NewPCG(3, 4)).Perm(pods) { //nolint:gosec // G404: the same each time
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprintf("pod-%04d", i)}}
		r := newRecord(desired.FromPod(pod), "1")
		update(x, nil, r)
		all[i] = r.Spec()
	}
	for _, test := range []struct {
		name     string
		after    int // the number of the Pods before the first
		query    index.Query
		from, to int
	}{
		{name: "no limit", query: index.Query{Skip: 1400}, from: 1400, to: pods},
		{name: "a page", query: index.Query{Skip: 20, Limit: 10}, from: 20, to: 30},
		{name: "a page after a Pod", after: 5, query: index.Query{Skip: 20, Limit: 10}, from: 25, to: 35},
		{name: "the last page", query: index.Query{Skip: 1490, Limit: 100}, from: 1490, to: pods},
		{name: "beyond the last page", query: index.Query{Skip: 1500, Limit: 100}},
		{name: "far beyond the last page", query: index.Query{Skip: 5_000_000, Limit: 500}},
		{name: "as many as are inserted", query: index.Query{Skip: 990, Limit: 10}, from: 990, to: 1000},
		{name: "more than are inserted", query: index.Query{Skip: 991, Limit: 10}, from: 991, to: 1001},
		{name: "more than are inserted, after a Pod", after: 100, query: index.Query{Skip: 1200, Limit: 10}, from: 1300, to: 1310},
		{name: "more than are inserted, after a Pod, at the end", after: 100, query: index.Query{Skip: 1395, Limit: 10}, from: 1495, to: pods},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.after > 0 {
				test.query.After = all[test.after-1]
			}
			before := []*v1.TestcrSpec{{PodKey: "before"}} // it stays in the page
			page, total, _ := x.Find(slices.Clone(before), test.query)
			if diff := cmp.Diff(keys(append(before, all[test.from:test.to]...)), keys(page)); diff != "" || total != pods {
				t.Errorf("total %d, want %d (-want +got):\n%s", total, pods, diff)
			}
		})
	}
}

func TestIndex_View(t *testing.T) {
	at := func(version string) *record {
		return newRecord(desired.FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}}), version)
	}
	put := func(version string) func(*index.Index) {
		return func(x *index.Index) { x.Put(at(version), version) }
	}
	steps := []struct {
		name string
		do   func(*index.Index)
		want index.View
	}{
		{name: "nothing", do: func(*index.Index) {}},
		{name: "the first", do: put("9"), want: index.View{ResourceVersion: "9", Pods: 1}},
		{name: "a newer one, which is longer", do: put("10"), want: index.View{ResourceVersion: "10", Pods: 1}},
		{name: "an older one, as after a list", do: put("8"), want: index.View{ResourceVersion: "10", Pods: 1}},
		{name: "one without a version", do: put(""), want: index.View{ResourceVersion: "10", Pods: 1}},
		{
			name: "a deletion",
			do:   func(x *index.Index) { x.Remove("a/b", "20") },
			want: index.View{ResourceVersion: "20"},
		},
		{
			name: "a deletion of an unknown record",
			do:   func(x *index.Index) { x.Remove("a/b", "21") },
			want: index.View{ResourceVersion: "21"},
		},
		{
			name: "an event of a record that is not indexed",
			do:   func(x *index.Index) { x.Remove("", "30") },
			want: index.View{ResourceVersion: "30"},
		},
		{
			name: "a restore of etcd",
			do:   func(x *index.Index) { x.SetVersion("7") },
			want: index.View{ResourceVersion: "7"},
		},
	}
	x := index.New()
	for _, step := range steps {
		step.do(x)
		if diff := cmp.Diff(step.want, x.View()); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestIndex_ConcurrentReads(t *testing.T) {
	x, done := index.New(), make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		terms := []query.Term{term(t, query.Namespace, "a")}
		if i%2 == 0 {
			terms = append(terms, term(t, query.IP, "10.0.0.1"))
		}
		readers.Go(func() {
			var page []*v1.TestcrSpec
			for {
				select {
				case <-done:
					return
				default:
				}
				var total int
				page, total, _ = x.Find(page[:0], index.Query{Terms: terms, Limit: 5})
				if len(page) != min(total, 5) || !slices.IsSortedFunc(page, func(a, b *v1.TestcrSpec) int { return query.CompareFor(terms, a, b) }) {
					t.Errorf("page %v of %d", keys(page), total)
				}
				for _, s := range page {
					if !strings.HasPrefix(s.PodKey, s.Namespace+"/") || !terms[len(terms)-1].Matches(s) {
						t.Errorf("%s does not match", s.PodKey)
					}
				}
				_ = x.View()
			}
		})
	}
	w := &world{Rand: rand.New(rand.NewPCG(3, 4))} //nolint:gosec // G404: the same each time
	m := model{}
	for range 5_000 {
		w.step(m, x)
	}
	close(done)
	readers.Wait()
}
