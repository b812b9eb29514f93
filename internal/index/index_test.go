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
	"k8s.io/client-go/tools/cache"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
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

// keys are the Pods of Testcrs.
func keys(testcrs []*podinfolookup.Testcr) []string {
	out := make([]string, len(testcrs))
	for i, t := range testcrs {
		out[i] = t.Spec.PodKey + " " + t.ResourceVersion
	}
	return out
}

// world makes Testcrs whose facts are few, so that they share them.
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

func (w *world) testcr() *podinfolookup.Testcr {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.pick("a", "b", "a-b"), Name: fmt.Sprint("pod-", w.IntN(20)), UID: types.UID(w.pick("u1", "u2", "u3")),
			Labels: map[string]string{"pod-template-hash": "5d9f"},
		},
		Spec: corev1.PodSpec{NodeName: w.pick("", "n1", "n2"), HostNetwork: w.IntN(4) == 0},
		Status: corev1.PodStatus{
			Phase: corev1.PodPhase(w.pick("Running", "Pending", "Failed")), HostIP: w.ip(), PodIPs: []corev1.PodIP{{IP: w.ip()}, {IP: w.ip()}},
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
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, ContainerID: w.id()})
	}
	t := podinfolookup.FromPod(pod)
	w.version++
	t.ResourceVersion = fmt.Sprint(w.version)
	switch w.IntN(12) { // by somebody's hand
	case 0:
		delete(t.Labels, podinfolookup.LabelManagedBy)
	case 1:
		t.Spec.PodKey = "a/pod-1"
	case 2:
		t.Spec.PodKey = "nonsense"
	}
	return t
}

func (w *world) terms(t *testing.T) []query.Term {
	t.Helper()
	var terms []query.Term
	for range w.IntN(4) {
		kind := query.Kinds[w.IntN(len(query.Kinds))]
		text := map[query.Kind]string{
			query.IP: w.pick("10.0.0.1", "fd00::1", "10.0.0.9"), query.HostIP: w.pick("10.0.0.2", "fd00::1"), query.UID: w.pick("u1", "u2"),
			query.Container: w.pick("0123456789ab", "0123456789ab00", "ffffffffffff", "ffffffffffff0", "eeeeeeeeeeee"),
			query.Key:       fmt.Sprintf("a/pod-%d", w.IntN(21)), query.Name: fmt.Sprint("pod-", w.IntN(21)), query.Node: w.pick("n1", "n2", "n3"),
			query.Workload: w.pick("web", "deploy/web", "rs/web-5d9f", "sts/db", "rollout/web", "job/web"), query.Namespace: w.pick("a", "b", "a-b", "c"),
		}[kind]
		terms = append(terms, term(t, kind, text))
	}
	return terms
}

// model is what an Index should answer, by going through all.
type model map[string]*podinfolookup.Testcr

// mine says which Testcrs an Index holds.
func mine(t *podinfolookup.Testcr) bool {
	_, ok := t.PodKey()
	return ok && t.Managed()
}

func (m model) find(q index.Query) (page []*podinfolookup.Testcr, total int) {
	for _, t := range m {
		if mine(t) && !slices.ContainsFunc(q.Terms, func(term query.Term) bool { return !term.Matches(t) }) && (q.Filter == nil || q.Filter(t)) {
			page = append(page, t)
		}
	}
	total = len(page)
	slices.SortFunc(page, q.Compare)
	if q.After != nil {
		page = slices.DeleteFunc(page, func(t *podinfolookup.Testcr) bool { return q.Compare(t, q.After) <= 0 })
	}
	if q.Limit > 0 {
		page = page[:min(q.Limit, len(page))]
	}
	return page, total
}

// size is the number of Testcrs that an Index should hold.
func (m model) size() int {
	_, total := m.find(index.Query{Compare: query.Compare})
	return total
}

// step tells handler of one random event, as an informer would.
func (w *world) step(m model, handler cache.ResourceEventHandler) {
	t := w.testcr()
	old := m[t.Name]
	switch {
	case old == nil:
		m[t.Name] = t
		handler.OnAdd(t, false)
	case w.IntN(3) > 0:
		m[t.Name] = t
		handler.OnUpdate(old, t)
	case w.IntN(2) == 0:
		w.delete(m, t.Name, handler)
	default: // the same again, as a list tells it
		handler.OnUpdate(old, old)
	}
}

func (w *world) delete(m model, name string, handler cache.ResourceEventHandler) {
	old := m[name]
	delete(m, name)
	w.version++
	last := *old
	last.ResourceVersion = fmt.Sprint(w.version)
	if w.IntN(2) == 0 { // what went while nobody watched is known in an older state
		handler.OnDelete(cache.DeletedFinalStateUnknown{Key: name, Obj: old})
		return
	}
	handler.OnDelete(&last)
}

func byName(a, b *podinfolookup.Testcr) int { return strings.Compare(a.Name, b.Name) }

// compare asks both for the same.
func (w *world) compare(t *testing.T, m model, x *index.Index) {
	t.Helper()
	q := index.Query{Terms: w.terms(t), Compare: query.Compare, Limit: w.IntN(6)}
	asked := q
	if w.IntN(3) == 0 {
		q.Compare, asked.Compare = byName, byName
	} else if w.IntN(2) == 0 {
		asked.Compare = nil
	}
	if w.IntN(3) == 0 {
		q.Filter = func(t *podinfolookup.Testcr) bool { return t.Spec.Phase == "Running" }
		asked.Filter = q.Filter
	}
	if w.IntN(2) == 0 {
		q.After = w.testcr()
		asked.After = q.After
	}
	before := []*podinfolookup.Testcr{w.testcr()} // what is in the page stays there
	wantPage, wantTotal := m.find(q)
	page, total, view := x.Find(slices.Clone(before), asked)
	if diff := cmp.Diff(keys(append(before, wantPage...)), keys(page)); diff != "" {
		t.Fatalf("%+v (-want +got):\n%s", q.Terms, diff)
	}
	if total != wantTotal || view.Testcrs != m.size() {
		t.Fatalf("%+v: total %d of %d, want %d of %d", q.Terms, total, view.Testcrs, wantTotal, m.size())
	}
}

func TestIndexAnswersAsAScanOfAllWould(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := &world{Rand: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // G404: the same each time
			m, x := model{}, index.New()
			if seed%2 == 1 { // all facts share few hashes
				x.Collide(3)
			}
			handler := x.Handler()
			for range 400 {
				w.step(m, handler)
				w.compare(t, m, x)
			}
			for _, name := range slices.Sorted(maps.Keys(m)) {
				w.delete(m, name, handler)
				w.compare(t, m, x)
			}
			if left := x.Size(); left != 0 {
				t.Errorf("%d entries are left of nothing", left)
			}
		})
	}
}

func TestPagesHoldEachTestcrOnce(t *testing.T) {
	orders := map[string]func(a, b *podinfolookup.Testcr) int{
		"live ones first": query.Compare,
		"the other way":   func(a, b *podinfolookup.Testcr) int { return query.Compare(b, a) },
		"by name":         byName,
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			w := &world{Rand: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // G404: the same each time
			m, x := model{}, index.New()
			handler := x.Handler()
			for range 300 {
				w.step(m, handler)
			}
			stay, _ := m.find(index.Query{Compare: order})
			want := keys(stay)
			// Others, of Pods that are not among those, come and go meanwhile.
			other := func(i int) *podinfolookup.Testcr {
				pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.pick("a", "b", "z"), Name: fmt.Sprint("other-", i)}}
				return podinfolookup.FromPod(pod)
			}
			var got []string
			var come []*podinfolookup.Testcr
			for after := (*podinfolookup.Testcr)(nil); ; {
				page, total, _ := x.Find(nil, index.Query{Compare: order, After: after, Limit: 7})
				if total != len(stay)+len(come) {
					t.Fatalf("total is %d, want %d", total, len(stay)+len(come))
				}
				if len(page) == 0 {
					break
				}
				after = page[len(page)-1]
				for _, t := range page {
					if !strings.HasPrefix(t.Spec.PodName, "other-") {
						got = append(got, keys([]*podinfolookup.Testcr{t})...)
					}
				}
				for _, t := range come { // also the one that the next page begins after
					x.Set(t, nil)
				}
				come = come[:0]
				for range 10 {
					come = append(come, other(len(got)*100+len(come)))
					x.Set(nil, come[len(come)-1])
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what stayed, over all pages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHandlerTakesWhatInformersSend(t *testing.T) {
	testcr := podinfolookup.FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}})
	x := index.New()
	handler := x.Handler()
	handler.OnAdd(&corev1.Pod{}, true) // no Testcr
	handler.OnDelete(cache.DeletedFinalStateUnknown{Key: "x"})
	handler.OnDelete(testcr) // never heard of
	handler.OnUpdate(nil, testcr)
	handler.OnAdd(testcr, false)
	if got := x.View().Testcrs; got != 1 {
		t.Errorf("%d Testcrs, want 1", got)
	}
	handler.OnDelete(cache.DeletedFinalStateUnknown{Key: testcr.Name, Obj: testcr})
	if x.View().Testcrs != 0 || x.Size() != 0 {
		t.Errorf("%d Testcrs, want none", x.View().Testcrs)
	}
}

func TestViewHasTheNewestVersion(t *testing.T) {
	at := func(version string) *podinfolookup.Testcr {
		testcr := podinfolookup.FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}})
		testcr.ResourceVersion = version
		return testcr
	}
	foreign := at("30")
	foreign.Labels = nil
	tests := []struct {
		name     string
		was, now *podinfolookup.Testcr
		want     string
	}{
		{"the first", nil, at("9"), "9"},
		{"a newer one, which is longer", at("9"), at("10"), "10"},
		{"an older one, as a list may bring it", nil, at("8"), "10"},
		{"one without a version", nil, at(""), "10"},
		{"a deletion", at("20"), nil, "20"},
		{"one that is not ours", nil, foreign, "30"},
	}
	x := index.New()
	if got := x.View().ResourceVersion; got != "" {
		t.Errorf("of nothing it is %q", got)
	}
	for _, test := range tests {
		x.Set(test.was, test.now)
		if got := x.View().ResourceVersion; got != test.want {
			t.Errorf("after %s it is %q, want %q", test.name, got, test.want)
		}
	}
	x.Back("7")
	if got := x.View().ResourceVersion; got != "7" {
		t.Errorf("after a restore of etcd it is %q, want 7", got)
	}
}

func TestManyReadWhileOneWrites(t *testing.T) {
	x, done := index.New(), make(chan struct{})
	var readers sync.WaitGroup
	for i := range 4 {
		terms := []query.Term{term(t, query.Namespace, "a")}
		if i%2 == 0 {
			terms = append(terms, term(t, query.IP, "10.0.0.1"))
		}
		readers.Go(func() {
			var page []*podinfolookup.Testcr
			for {
				select {
				case <-done:
					return
				default:
				}
				var total int
				page, total, _ = x.Find(page[:0], index.Query{Terms: terms, Limit: 5})
				if len(page) != min(total, 5) || !slices.IsSortedFunc(page, query.Compare) {
					t.Errorf("page %v of %d", keys(page), total)
				}
				for _, testcr := range page {
					if !mine(testcr) || !terms[len(terms)-1].Matches(testcr) {
						t.Errorf("%s does not match", testcr.Spec.PodKey)
					}
				}
				_ = x.View()
			}
		})
	}
	w := &world{Rand: rand.New(rand.NewPCG(3, 4))} //nolint:gosec // G404: the same each time
	m, handler := model{}, x.Handler()
	for range 5_000 {
		w.step(m, handler)
	}
	close(done)
	readers.Wait()
}
