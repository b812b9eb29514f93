// Package index finds Pods by any fact without calling the API server. It replaces
// cache.Indexers, which keep a set for each value. Here a fact takes 8 bytes and an
// entry in a map, and a search allocates nothing.
package index

import (
	"hash/maphash"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// Index contains the specs of Pods by every fact that a query.Term can be. It may be
// used by several goroutines. The specs that it returns must not be changed.
type Index struct {
	mu      sync.RWMutex
	version string
	all     []*entry

	// Postings are kept by the hash of a fact, which keeps no string in memory. Each
	// result is compared with the fact itself, so a shared hash costs a comparison.
	// Most facts belong to one Pod, in first. The others of a fact are in rest.
	seed  maphash.Seed
	mask  uint64 // all bits; a test uses fewer, so that facts share hashes
	first map[uint64]*entry
	rest  map[uint64][]*entry

	before, after []uint64 // the hashes of an update, reused
}

// entry is a record and its position in Index.all. The postings hold entries, so that
// an update does not touch the postings of unchanged facts.
type entry struct {
	record Record
	at     int
}

func (e *entry) spec() *v1.TestcrSpec { return e.record.Spec() }

// fact is hashed: a kind, and the text of a query.Term of this kind.
type fact struct {
	kind query.Kind
	text string
}

// New returns an empty Index.
func New() *Index {
	return &Index{seed: maphash.MakeSeed(), mask: math.MaxUint64, first: map[uint64]*entry{}, rest: map[uint64][]*entry{}}
}

// Record is a cached object with a spec. The spec may be replaced by an equal one at
// any time, so the index keeps the object.
type Record interface{ Spec() *v1.TestcrSpec }

// Put adds a record, in place of the one with the same podkey. version is the resource
// version of the event.
func (x *Index) Put(r Record, version string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.observe(version)
	x.put(r)
}

// Remove removes the record with a podkey, "" for none.
func (x *Index) Remove(podKey, version string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.observe(version)
	if podKey != "" {
		x.remove(podKey)
	}
}

func (x *Index) observe(version string) {
	if x.version == "" || informer.IsNewer(version, x.version) {
		x.version = version
	}
}

// SetVersion sets the version of the index, also to an older one: etcd was restored
// from a backup. The changes follow as events.
func (x *Index) SetVersion(version string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.version = version
}

func (x *Index) put(r Record) {
	x.before = x.before[:0]
	x.after = x.facts(x.after[:0], r.Spec())
	e := x.entryOf(r.Spec().PodKey)
	if e == nil {
		e = &entry{at: len(x.all)}
		x.all = append(x.all, e)
	} else {
		x.before = x.facts(x.before, e.spec())
	}
	e.record = r
	x.post(e)
}

func (x *Index) remove(podKey string) {
	e := x.entryOf(podKey)
	if e == nil {
		return
	}
	x.before, x.after = x.facts(x.before[:0], e.spec()), x.after[:0]
	x.post(e)
	end := len(x.all) - 1
	x.all[e.at], x.all[end].at = x.all[end], e.at
	x.all[end] = nil
	x.all = x.all[:end]
}

func (x *Index) entryOf(key string) *entry {
	h := x.hash(query.Key, key)
	if e := x.first[h]; e == nil || e.spec().PodKey == key {
		return e
	}
	for _, e := range x.rest[h] {
		if e.spec().PodKey == key {
			return e
		}
	}
	return nil
}

// facts appends the hashes of all facts of s, sorted and each of them once.
func (x *Index) facts(hashes []uint64, s *v1.TestcrSpec) []uint64 {
	add := func(kind query.Kind, text string) {
		if text != "" {
			hashes = append(hashes, x.hash(kind, text))
		}
	}
	add(query.Key, s.PodKey)
	add(query.UID, s.PodUID)
	add(query.Name, s.PodName)
	add(query.Namespace, s.Namespace)
	add(query.Node, s.NodeName)
	add(query.Workload, s.WorkloadName)
	add(query.Workload, s.OwnerName)
	add(query.HostIP, canonical(s.HostIP))
	for _, ip := range s.HostIPs {
		add(query.HostIP, canonical(ip))
	}
	for _, ip := range s.PodIPs {
		add(query.IP, canonical(ip))
	}
	for i := range s.NetworkIPs {
		add(query.IP, canonical(s.NetworkIPs[i].IP))
	}
	if s.NodeUID != "" {
		add(query.UID, query.CanonicalUID(s.NodeUID))
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		add(query.Container, containerID(c.ID))
		add(query.Container, containerID(c.PreviousID))
		query.ImageFacts(c, func(fact string) bool {
			add(query.Image, fact)
			return true
		})
	}
	for key, value := range s.Labels {
		add(query.Label, key+"="+value)
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

func canonical(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return query.Canonical(addr).String()
}

// containerID returns what is hashed of a container ID with its runtime.
func containerID(id string) string {
	if _, after, ok := strings.Cut(id, "://"); ok {
		id = after
	}
	return idPrefix(strings.ToLower(id))
}

// idPrefix returns the part of a container ID that is hashed, so that any longer prefix
// of the ID finds it.
func idPrefix(id string) string {
	return id[:min(len(id), v1.ContainerIDPrefix)]
}

func (x *Index) hash(kind query.Kind, text string) uint64 {
	return maphash.Comparable(x.seed, fact{kind, text}) & x.mask
}

// post moves e from the postings before to those after.
func (x *Index) post(e *entry) {
	for _, h := range x.before {
		if !contains(x.after, h) {
			x.unpost(h, e)
		}
	}
	for _, h := range x.after {
		switch {
		case contains(x.before, h):
		case x.first[h] == nil:
			x.first[h] = e
		default:
			x.rest[h] = append(x.rest[h], e)
		}
	}
}

func contains(sorted []uint64, h uint64) bool {
	_, ok := slices.BinarySearch(sorted, h)
	return ok
}

func (x *Index) unpost(h uint64, e *entry) {
	more := x.rest[h]
	end := len(more) - 1
	switch {
	case end < 0:
		delete(x.first, h)
		return
	case x.first[h] == e:
		x.first[h] = more[end]
	default:
		more[slices.Index(more, e)] = more[end]
	}
	more[end] = nil
	if x.rest[h] = more[:end]; end == 0 {
		delete(x.rest, h)
	}
}

// Query selects and orders specs.
type Query struct {
	// Terms must all match; without any, every spec matches.
	Terms []query.Term
	// Filter must return true for a result; nil allows all.
	Filter func(*v1.TestcrSpec) bool
	// Compare orders the results; nil is query.CompareFor of Terms. No two specs may be equal.
	Compare func(a, b *v1.TestcrSpec) int
	// After is the last result of the page before, or one that Compare finds equal to it; nil starts at the first.
	After *v1.TestcrSpec
	// AfterIsAlias is what query.AnyAlias of Terms was for After.
	AfterIsAlias bool
	// Limit is the length of a page; 0 is all.
	Limit int
	// Skip is the number of results before the page.
	Skip int
}

// maxInserted bounds the results that are kept in order while they are found. More are
// sorted at the end, which takes less time than moving them.
const maxInserted = 1000

// View is the state of the index that a result is based on.
type View struct {
	// ResourceVersion of the newest Pod event in the index, "" before the first.
	ResourceVersion string
	// Pods in the index.
	Pods int
}

// View returns the present state of the index.
func (x *Index) View() View {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return View{ResourceVersion: x.version, Pods: len(x.all)}
}

// Namespaces returns the namespaces of all specs, in order.
func (x *Index) Namespaces() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	namespaces := map[string]struct{}{}
	for _, e := range x.all {
		namespaces[e.spec().Namespace] = struct{}{}
	}
	return slices.Sorted(maps.Keys(namespaces))
}

// Find appends the results of q to page, in order, and returns it with the total number
// of matches. Its time is proportional to the fewest specs that match one of the exact
// terms, or without any to all specs. It allocates nothing if page has the capacity, for
// the skipped results, too.
func (x *Index) Find(page []*v1.TestcrSpec, q Query) (_ []*v1.TestcrSpec, total int, view View) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	view = View{ResourceVersion: x.version, Pods: len(x.all)}
	first, rest := x.candidates(q.Terms)
	start, limit := len(page), q.Limit
	if q.Skip > 0 && limit > 0 {
		q.Limit += q.Skip
		if q.Limit > maxInserted {
			q.Limit = 0
		}
	}
	if first != nil && q.matches(first.spec()) {
		total++
		page = q.insert(page, start, first.spec())
	}
	for _, e := range rest {
		if q.matches(e.spec()) {
			total++
			page = q.insert(page, start, e.spec())
		}
	}
	if q.Limit == 0 {
		slices.SortFunc(page[start:], q.compare)
	}
	page = slices.Delete(page, start, min(len(page), start+q.Skip))
	if limit > 0 {
		page = page[:min(len(page), start+limit)]
	}
	return page, total, view
}

// candidates returns the shortest postings of an exact term, or all entries if there is
// none.
func (x *Index) candidates(terms []query.Term) (first *entry, rest []*entry) {
	rest = x.all
	isAll := true
	for i := range terms {
		if !terms[i].IsExact() {
			continue
		}
		text := terms[i].Text
		if terms[i].Kind == query.Container {
			text = idPrefix(text)
		}
		h := x.hash(terms[i].Kind, text)
		if isAll || len(x.rest[h]) < len(rest) || x.first[h] == nil {
			first, rest, isAll = x.first[h], x.rest[h], false
		}
	}
	return first, rest
}

func (q *Query) matches(s *v1.TestcrSpec) bool {
	for i := range q.Terms {
		if !q.Terms[i].Matches(s) {
			return false
		}
	}
	return q.Filter == nil || q.Filter(s)
}

func (q *Query) compare(a, b *v1.TestcrSpec) int {
	if q.Compare != nil {
		return q.Compare(a, b)
	}
	return query.CompareFor(q.Terms, a, b)
}

// isAfter reports whether s comes after q.After, which has too few facts for compare.
func (q *Query) isAfter(s *v1.TestcrSpec) bool {
	if q.Compare != nil {
		return q.Compare(s, q.After) > 0
	}
	if isAlias := query.AnyAlias(q.Terms, s); isAlias != q.AfterIsAlias {
		return isAlias
	}
	return query.CompareHolders(q.Terms, s, q.After) > 0
}

// insert keeps the first Limit specs in page[start:], in order. Of n specs in random
// order about Limit * ln(n/Limit) are inserted.
func (q *Query) insert(page []*v1.TestcrSpec, start int, s *v1.TestcrSpec) []*v1.TestcrSpec {
	if q.After != nil && !q.isAfter(s) {
		return page
	}
	if q.Limit == 0 {
		return append(page, s) // sorted at the end
	}
	full := len(page)-start == q.Limit
	if full && q.compare(s, page[len(page)-1]) >= 0 {
		return page
	}
	at, _ := slices.BinarySearchFunc(page[start:], s, q.compare)
	if full {
		page = page[:len(page)-1]
	}
	return slices.Insert(page, start+at, s)
}
