// Package index finds Testcrs by any fact of their Pods without asking the API
// server.
package index

import (
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// Index holds Testcrs by every fact that a query.Term can be. Only those are in
// it that are ours and named for the Pod that they tell of. Many may use it at
// once; the Testcrs that it returns are shared and must not be changed.
type Index struct {
	mu      sync.RWMutex
	version string
	all     []*entry

	// Postings are kept by the hash of a fact, which takes 8 bytes and holds no
	// string of a Testcr in memory. Each answer is held against the fact itself,
	// so that two facts of one hash cost a comparison and nothing else. Most
	// facts are of one Pod: the others of a fact are in more.
	seed maphash.Seed
	mask uint64 // all bits; with fewer, a test has facts share their hashes
	one  map[uint64]*entry
	more map[uint64][]*entry

	before, after []uint64 // what put works with
}

// entry is a Testcr as it is now, and where in Index.all it stands. The postings
// hold entries, so that an update leaves alone what it does not change.
type entry struct {
	testcr *podinfolookup.Testcr
	at     int
}

// fact is what is hashed: a kind and the text that a query.Term of it has.
type fact struct {
	kind query.Kind
	text string
}

// New returns an empty Index.
func New() *Index {
	return &Index{seed: maphash.MakeSeed(), mask: math.MaxUint64, one: map[uint64]*entry{}, more: map[uint64][]*entry{}}
}

// Handler returns the handler that keeps the index true to an informer whose
// objects are *podinfolookup.Testcr.
func (x *Index) Handler() cache.ResourceEventHandler { return Handler(x.Set) }

// Handler returns a handler that calls set with two states of one
// *podinfolookup.Testcr for each event, nil standing for absent.
func Handler(set func(was, now *podinfolookup.Testcr)) cache.ResourceEventHandler {
	testcr := func(obj any) *podinfolookup.Testcr {
		if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = tombstone.Obj
		}
		t, _ := obj.(*podinfolookup.Testcr)
		return t
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { set(nil, testcr(obj)) },
		UpdateFunc: func(old, obj any) { set(testcr(old), testcr(obj)) },
		DeleteFunc: func(obj any) { set(testcr(obj), nil) },
	}
}

// Set takes now for was, two states of one Testcr; nil stands for absent.
func (x *Index) Set(was, now *podinfolookup.Testcr) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range []*podinfolookup.Testcr{was, now} {
		if t != nil && isNewer(t.ResourceVersion, x.version) {
			x.version = t.ResourceVersion
		}
	}
	switch {
	case isTrue(now):
		x.put(now)
	case isTrue(was):
		x.drop(was)
	}
}

// Back sets the version of the index, also to an older one: etcd was restored
// from a backup. The Testcrs follow as events.
func (x *Index) Back(version string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.version = version
}

func isNewer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return than == "" || err == nil && order > 0
}

// isTrue tells our Testcrs from what was put between them or changed by hand, and
// from those whose Pods are gone.
func isTrue(t *podinfolookup.Testcr) bool {
	if t == nil || !t.Managed() || t.Emptied() {
		return false
	}
	_, ok := t.PodKey()
	return ok
}

func (x *Index) put(t *podinfolookup.Testcr) {
	x.before = x.before[:0]
	x.after = x.facts(x.after[:0], t)
	e := x.entryOf(t.Spec.PodKey)
	if e == nil {
		e = &entry{at: len(x.all)}
		x.all = append(x.all, e)
	} else {
		x.before = x.facts(x.before, e.testcr)
	}
	e.testcr = t
	x.post(e)
}

func (x *Index) drop(t *podinfolookup.Testcr) {
	e := x.entryOf(t.Spec.PodKey)
	if e == nil {
		return
	}
	x.before, x.after = x.facts(x.before[:0], e.testcr), x.after[:0]
	x.post(e)
	end := len(x.all) - 1
	x.all[e.at], x.all[end].at = x.all[end], e.at
	x.all[end] = nil
	x.all = x.all[:end]
}

func (x *Index) entryOf(key string) *entry {
	h := x.hash(query.Key, key)
	if e := x.one[h]; e == nil || e.testcr.Spec.PodKey == key {
		return e
	}
	for _, e := range x.more[h] {
		if e.testcr.Spec.PodKey == key {
			return e
		}
	}
	return nil
}

// facts appends the hashes of all that t can be found by, each of them once.
func (x *Index) facts(hashes []uint64, t *podinfolookup.Testcr) []uint64 {
	add := func(kind query.Kind, text string) {
		if h := x.hash(kind, text); text != "" && !slices.Contains(hashes, h) {
			hashes = append(hashes, h)
		}
	}
	s := &t.Spec
	add(query.Key, s.PodKey)
	add(query.UID, s.PodUID)
	add(query.Name, s.PodName)
	add(query.Namespace, s.Namespace)
	add(query.Node, s.NodeName)
	add(query.Workload, s.WorkloadName)
	add(query.Workload, s.OwnerName)
	add(query.HostIP, canonical(s.HostIP))
	for _, ip := range s.PodIPs {
		add(query.IP, canonical(ip))
	}
	for i := range s.Containers {
		id := s.Containers[i].ID
		if _, after, ok := strings.Cut(id, "://"); ok {
			id = after
		}
		add(query.Container, idPrefix(strings.ToLower(id)))
	}
	return hashes
}

func canonical(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return query.Canonical(addr).String()
}

// idPrefix returns what container IDs are filed by, so that longer beginnings
// of an ID find it, too.
func idPrefix(id string) string {
	return id[:min(len(id), podinfolookup.ContainerIDPrefix)]
}

func (x *Index) hash(kind query.Kind, text string) uint64 {
	return maphash.Comparable(x.seed, fact{kind, text}) & x.mask
}

// post moves e from the postings before to those after.
func (x *Index) post(e *entry) {
	for _, h := range x.before {
		if !slices.Contains(x.after, h) {
			x.remove(h, e)
		}
	}
	for _, h := range x.after {
		switch {
		case slices.Contains(x.before, h):
		case x.one[h] == nil:
			x.one[h] = e
		default:
			x.more[h] = append(x.more[h], e)
		}
	}
}

func (x *Index) remove(h uint64, e *entry) {
	more := x.more[h]
	end := len(more) - 1
	switch {
	case end < 0:
		delete(x.one, h)
		return
	case x.one[h] == e:
		x.one[h] = more[end]
	default:
		more[slices.Index(more, e)] = more[end]
	}
	more[end] = nil
	if x.more[h] = more[:end]; end == 0 {
		delete(x.more, h)
	}
}

// Query says which Testcrs are wanted.
type Query struct {
	// Terms must all match; without any, every Testcr does.
	Terms []query.Term
	// Filter must allow what matches; nil allows all.
	Filter func(*podinfolookup.Testcr) bool
	// Compare orders the answer; nil is query.Compare. No two Testcrs may be equal.
	Compare func(a, b *podinfolookup.Testcr) int
	// After is the last Testcr of the page before, or any that Compare takes for it; nil starts at the first.
	After *podinfolookup.Testcr
	// Limit is the length of a page; 0 is all.
	Limit int
}

// View is how much of the cluster's history an answer rests on.
type View struct {
	// ResourceVersion of the newest Testcr event in the index, "" before the first.
	ResourceVersion string
	// Testcrs in the index.
	Testcrs int
}

// View returns what an answer would rest on now.
func (x *Index) View() View {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return View{ResourceVersion: x.version, Testcrs: len(x.all)}
}

// Find appends the page that q asks for to page, in order, and returns it with
// the number of Testcrs that match in all. It takes time in proportion to the
// fewest Testcrs that one of the terms matches, and allocates nothing where
// page has room.
func (x *Index) Find(page []*podinfolookup.Testcr, q Query) (_ []*podinfolookup.Testcr, total int, view View) {
	if q.Compare == nil {
		q.Compare = query.Compare
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	view = View{ResourceVersion: x.version, Testcrs: len(x.all)}
	first, rest := x.candidates(q.Terms)
	start := len(page)
	if first != nil && q.matches(first.testcr) {
		total++
		page = q.insert(page, start, first.testcr)
	}
	for _, e := range rest {
		if q.matches(e.testcr) {
			total++
			page = q.insert(page, start, e.testcr)
		}
	}
	if q.Limit == 0 {
		slices.SortFunc(page[start:], q.Compare)
	}
	return page, total, view
}

// candidates returns the shortest postings of a term.
func (x *Index) candidates(terms []query.Term) (first *entry, rest []*entry) {
	if len(terms) == 0 {
		return nil, x.all
	}
	for i := range terms {
		text := terms[i].Text
		if terms[i].Kind == query.Container {
			text = idPrefix(text)
		}
		h := x.hash(terms[i].Kind, text)
		if i == 0 || len(x.more[h]) < len(rest) || x.one[h] == nil {
			first, rest = x.one[h], x.more[h]
		}
	}
	return first, rest
}

func (q *Query) matches(t *podinfolookup.Testcr) bool {
	for i := range q.Terms {
		if !q.Terms[i].Matches(t) {
			return false
		}
	}
	return q.Filter == nil || q.Filter(t)
}

// insert keeps page[start:] the first Limit of what it was given, in order. Of n
// Testcrs in no order only about Limit * ln(n/Limit) are ever inserted.
func (q *Query) insert(page []*podinfolookup.Testcr, start int, t *podinfolookup.Testcr) []*podinfolookup.Testcr {
	if q.After != nil && q.Compare(t, q.After) <= 0 {
		return page
	}
	if q.Limit == 0 {
		return append(page, t) // sorted at the end
	}
	full := len(page)-start == q.Limit
	if full && q.Compare(t, page[len(page)-1]) >= 0 {
		return page
	}
	at, _ := slices.BinarySearchFunc(page[start:], t, q.Compare)
	if full {
		page = page[:len(page)-1]
	}
	return slices.Insert(page, start+at, t)
}
