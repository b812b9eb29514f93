package podinfolookup

import "sync"

const (
	// minRecentEntries is how many entries each of the two maps of a recent holds at
	// least.
	minRecentEntries = 1 << 10
	// maxInternedBytes is the longest string that is shared. Names of nodes, images
	// and workloads are shorter; a longer string is rarely repeated.
	maxInternedBytes = 256
	// maxSharedLabelsBytes is the largest set of labels that is shared.
	maxSharedLabelsBytes = 2 << 10
	// meanEntryBytes is how many bytes an entry may have in the mean before the maps
	// turn over early.
	meanEntryBytes = 512
)

// recent is a map that forgets entries that have not been used for a while: once
// young is full it becomes old, and the old one is dropped. A caller makes a
// forgotten entry again; Pods that share it keep it.
type recent[V any] struct {
	young, old map[string]V
	bytes      int // of the keys in young
}

func (r *recent[V]) get(key []byte, room int) (V, bool) {
	if v, ok := r.young[string(key)]; ok {
		return v, true
	}
	v, ok := r.old[string(key)]
	if ok {
		r.put(string(key), v, room)
	}
	return v, ok
}

// put adds an entry. room is how many entries there should be room for. The
// bytes of the keys are bounded, too: whoever creates Pods chooses their strings.
func (r *recent[V]) put(key string, v V, room int) {
	room = max(room, minRecentEntries)
	if len(r.young) >= room || r.bytes+len(key) > room*meanEntryBytes {
		r.old, r.young, r.bytes = r.young, nil, 0
	}
	if r.young == nil {
		r.young = map[string]V{}
	}
	r.young[key] = v
	r.bytes += len(key)
}

// interner keeps one copy of strings that come again and again: the names of
// nodes, namespaces, images and workloads.
type interner struct {
	mu      sync.Mutex
	strings recent[string]
	room    int
}

func (i *interner) of(s []byte) string {
	if len(s) > maxInternedBytes {
		return string(s)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if known, ok := i.strings.get(s, i.room); ok {
		return known
	}
	kept := string(s)
	i.strings.put(kept, kept, i.room)
	return kept
}

// resize has room for the strings of so many Pods.
func (i *interner) resize(pods int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.room = pods
}
