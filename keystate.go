package podinfolookup

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// nameFor returns the name of the Testcr of a Pod.
func nameFor(pod cache.ObjectName) string { return v1.NameFor(types.NamespacedName(pod)) }

// trigger is what led to a sync. A workqueue merges events, and so do triggers.
type trigger struct {
	podChanged bool      // the Pod may have changed, not only its Testcr
	firstEvent time.Time // of the Pod since its last sync; zero if the key was queued with all others
	conflicted bool      // the last write was refused as stale: read both objects live
}

// keyState is what is remembered of a key between syncs.
type keyState struct {
	trigger

	isFailing    bool          // the last sync failed, for a cause that other keys may share
	isPruned     bool          // the API server does not store what is written
	reducedUntil time.Time     // until then the Testcr is written without labels and containers
	repairedAt   time.Time     // the last undoing of a change by another client
	repairDelay  time.Duration // the minimum time from then to the next
	collidesWith types.UID     // the Testcr of another Pod that has the name of this Pod's
}

// keyStates holds the states that are not zero.
type keyStates struct {
	mu      sync.Mutex
	keys    map[cache.ObjectName]keyState
	peak    int // of len(keys) since keys was made
	failing int
}

// maxSpareStates is how many entries the map may have had for it to be kept when it
// is empty, because a map never shrinks. 32,768 entries take about 5 MB.
const maxSpareStates = 1 << 15

// update changes the state of a key, and returns the state before.
func (s *keyStates) update(key cache.ObjectName, change func(*keyState)) (before keyState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.keys[key]
	after := before
	change(&after)
	s.set(key, before, after)
	return before
}

func (s *keyStates) set(key cache.ObjectName, before, after keyState) {
	if before.isFailing {
		s.failing--
	}
	if after.isFailing {
		s.failing++
	}
	if after == (keyState{}) {
		delete(s.keys, key)
		if len(s.keys) == 0 && s.peak > maxSpareStates {
			s.keys, s.peak = nil, 0
		}
		return
	}
	if s.keys == nil {
		s.keys = map[cache.ObjectName]keyState{}
	}
	s.keys[key] = after
	s.peak = max(s.peak, len(s.keys))
}

// get returns the state of a key.
func (s *keyStates) get(key cache.ObjectName) keyState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[key]
}

// each calls change with all states one by one, and returns the keys for which it
// returned true. It stops when it has limit keys, unless limit is 0.
func (s *keyStates) each(limit int, change func(*keyState) bool) (keys []cache.ObjectName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, after := range s.keys {
		if change(&after) {
			keys = append(keys, key)
		}
		if before := s.keys[key]; after != before {
			s.set(key, before, after)
		}
		if len(keys) == limit && limit > 0 {
			break
		}
	}
	return keys
}

// podChanged records an event of a Pod; at is zero if all Pods are queued.
func (s *keyStates) podChanged(key cache.ObjectName, at time.Time) {
	s.update(key, func(state *keyState) {
		if !state.podChanged {
			state.podChanged, state.firstEvent = true, at
		}
	})
}

// takeTrigger returns what led to the sync of a key, and clears it.
func (s *keyStates) takeTrigger(key cache.ObjectName) trigger {
	return s.update(key, func(state *keyState) { state.trigger = trigger{} }).trigger
}

// returnTrigger merges the trigger of a sync that did not complete with later events.
func (s *keyStates) returnTrigger(key cache.ObjectName, t trigger) {
	if t == (trigger{}) {
		return
	}
	s.update(key, func(state *keyState) {
		if t.podChanged {
			state.podChanged, state.firstEvent = true, t.firstEvent
		}
		state.conflicted = state.conflicted || t.conflicted
	})
}

// anyFailing reports whether the last sync of any key failed.
func (s *keyStates) anyFailing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failing > 0
}
