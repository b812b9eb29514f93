package podinfolookup

import "sync"

// recentLeast is how many entries a recent has room for at least, twice.
const recentLeast = 1 << 10

// recent is a map that forgets what has not been asked for in a while: once young
// is full it becomes old, and what was old is gone. What is forgotten is made
// again by whoever needs it; Pods that have it keep it.
type recent[V any] struct{ young, old map[string]V }

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

// put adds an entry, where there is to be room for so many.
func (r *recent[V]) put(key string, v V, room int) {
	if len(r.young) >= max(room, recentLeast) {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = map[string]V{}
	}
	r.young[key] = v
}

// interner keeps one copy of strings that come again and again: the names of
// nodes, namespaces, images and workloads.
type interner struct {
	mu      sync.Mutex
	strings recent[string]
	room    int
}

func (i *interner) of(s []byte) string {
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
