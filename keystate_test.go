package podinfolookup

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/cache"
)

var compareStates = cmp.AllowUnexported(keyState{}, trigger{})

func TestKeyStates_update(t *testing.T) {
	key := keyOfWeb(1)
	t.Run("it returns the state before", func(t *testing.T) {
		var s keyStates
		s.update(key, func(state *keyState) { state.repairDelay = 1 })
		before := s.update(key, func(state *keyState) { state.repairDelay++ })
		if diff := cmp.Diff(keyState{repairDelay: 1}, before, compareStates); diff != "" {
			t.Errorf("before (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(keyState{repairDelay: 2}, s.get(key), compareStates); diff != "" {
			t.Errorf("after (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(keyState{}, s.get(keyOfWeb(2)), compareStates); diff != "" {
			t.Errorf("another key (-want +got):\n%s", diff)
		}
	})
	t.Run("a state that becomes zero is dropped", func(t *testing.T) {
		var s keyStates
		s.update(key, func(state *keyState) { state.isPruned = true })
		s.update(key, func(state *keyState) { state.isPruned = false })
		s.update(keyOfWeb(2), func(*keyState) {})
		if n := len(s.keys); n != 0 {
			t.Errorf("%d states are kept", n)
		}
	})
	t.Run("failing keys are counted once each", func(t *testing.T) {
		var s keyStates
		setFailing := func(key cache.ObjectName, isFailing bool) {
			s.update(key, func(state *keyState) { state.isFailing = isFailing })
		}
		setFailing(key, true)
		setFailing(key, true)
		setFailing(keyOfWeb(2), true)
		if s.failing != 2 || !s.anyFailing() {
			t.Errorf("%d keys fail, want 2", s.failing)
		}
		setFailing(key, false)
		setFailing(key, false)
		if s.failing != 1 || !s.anyFailing() {
			t.Errorf("%d keys fail, want 1", s.failing)
		}
		s.each(0, func(state *keyState) bool {
			state.isFailing = false
			return true
		})
		if s.failing != 0 || s.anyFailing() {
			t.Errorf("%d keys fail, want 0", s.failing)
		}
	})
}

func TestKeyStates_memory(t *testing.T) {
	zero := func(state *keyState) { *state = keyState{} }
	tests := []struct {
		name  string
		peak  int
		clear func(*keyStates, int)
		want  bool // the map is kept
	}{
		{
			name: "the map of a small burst is kept", peak: maxSpareStates, want: true,
			clear: func(s *keyStates, n int) {
				for i := range n {
					s.update(keyOfWeb(i), zero)
				}
			},
		},
		{
			name: "the map of a large burst is released by update", peak: maxSpareStates + 1,
			clear: func(s *keyStates, n int) {
				for i := range n {
					s.update(keyOfWeb(i), zero)
				}
			},
		},
		{
			name: "the map of a large burst is released by each", peak: maxSpareStates + 1,
			clear: func(s *keyStates, _ int) {
				s.each(0, func(state *keyState) bool { zero(state); return false })
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s keyStates
			for i := range test.peak {
				s.podChanged(keyOfWeb(i), time.Unix(1, 0))
			}
			test.clear(&s, test.peak)
			if len(s.keys) != 0 || (s.keys != nil) != test.want || (s.peak != 0) != test.want {
				t.Errorf("the map has %d entries and is kept: %t, peak %d", len(s.keys), s.keys != nil, s.peak)
			}
			s.podChanged(keyOfWeb(0), time.Unix(1, 0))
			if len(s.keys) != 1 {
				t.Error("it takes no more states")
			}
		})
	}
}

func TestKeyStates_memory_Shared(t *testing.T) {
	t.Run("the end of one state of a large burst keeps the others", func(t *testing.T) {
		var s keyStates
		for i := range maxSpareStates + 1 {
			s.podChanged(keyOfWeb(i), time.Unix(1, 0))
		}
		s.takeTrigger(keyOfWeb(0))
		if n := len(s.keys); n != maxSpareStates {
			t.Errorf("%d states are kept, want %d", n, maxSpareStates)
		}
	})
}

func TestKeyStates_each(t *testing.T) {
	t.Run("it changes and drops states, and returns the keys that change selects", func(t *testing.T) {
		var s keyStates
		for i := range 5 {
			s.update(keyOfWeb(i), func(state *keyState) { state.repairDelay = time.Duration(i + 1) })
		}
		keys := s.each(0, func(state *keyState) bool {
			isThird := state.repairDelay == 3
			*state = keyState{isFailing: isThird}
			return isThird
		})
		if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(2)}, keys); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[cache.ObjectName]keyState{keyOfWeb(2): {isFailing: true}}, s.keys, compareStates); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
}

func TestKeyStates_trigger(t *testing.T) {
	key, first, second := keyOfWeb(1), time.Unix(1, 0), time.Unix(2, 0)
	tests := []struct {
		name string
		do   func(*keyStates)
		want trigger
	}{
		{name: "no event", do: func(*keyStates) {}},
		{
			name: "the first of two events counts",
			do:   func(s *keyStates) { s.podChanged(key, first); s.podChanged(key, second) },
			want: trigger{podChanged: true, firstEvent: first},
		},
		{
			name: "an event after the start of a term is part of catching up",
			do:   func(s *keyStates) { s.podChanged(key, time.Time{}); s.podChanged(key, second) },
			want: trigger{podChanged: true},
		},
		{
			name: "a trigger is taken once",
			do:   func(s *keyStates) { s.podChanged(key, first); s.takeTrigger(key) },
		},
		{
			name: "a returned trigger is older than later events",
			do: func(s *keyStates) {
				s.podChanged(key, second)
				s.returnTrigger(key, trigger{podChanged: true, firstEvent: first})
			},
			want: trigger{podChanged: true, firstEvent: first},
		},
		{
			name: "a returned trigger without an event of the Pod does not hide later ones",
			do: func(s *keyStates) {
				s.podChanged(key, second)
				s.returnTrigger(key, trigger{conflicted: true})
			},
			want: trigger{podChanged: true, firstEvent: second, conflicted: true},
		},
		{
			name: "a conflict stays noted",
			do: func(s *keyStates) {
				s.returnTrigger(key, trigger{conflicted: true})
				s.returnTrigger(key, trigger{podChanged: true, firstEvent: first})
			},
			want: trigger{podChanged: true, firstEvent: first, conflicted: true},
		},
		{
			name: "an empty trigger is not noted",
			do:   func(s *keyStates) { s.returnTrigger(key, trigger{}) },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s keyStates
			test.do(&s)
			if diff := cmp.Diff(test.want, s.takeTrigger(key), compareStates); diff != "" {
				t.Errorf("trigger (-want +got):\n%s", diff)
			}
			if n := len(s.keys); n != 0 {
				t.Errorf("%d states are kept", n)
			}
		})
	}
	t.Run("takeTrigger keeps the rest of the state", func(t *testing.T) {
		var s keyStates
		s.podChanged(key, first)
		s.update(key, func(state *keyState) { state.isPruned = true })
		s.takeTrigger(key)
		if diff := cmp.Diff(keyState{isPruned: true}, s.get(key), compareStates); diff != "" {
			t.Errorf("state (-want +got):\n%s", diff)
		}
	})
}

func TestKeyStates_each_Limit(t *testing.T) {
	for _, test := range []struct{ failing, limit, want, maxCalls int }{
		{failing: 0, limit: 2, want: 0, maxCalls: 1},
		{failing: 1, limit: 2, want: 1, maxCalls: 2},
		{failing: 3, limit: 2, want: 2, maxCalls: 3},
		{failing: 3, limit: 0, want: 3, maxCalls: 4},
	} {
		t.Run(fmt.Sprintf("%d keys fail and up to %d are returned", test.failing, test.limit), func(t *testing.T) {
			var s keyStates
			s.update(keyOfWeb(100), func(state *keyState) { state.isPruned = true })
			for i := range test.failing {
				s.update(keyOfWeb(i), func(state *keyState) { state.isFailing = true })
			}
			calls := 0
			keys := s.each(test.limit, func(state *keyState) bool {
				calls++
				return state.isFailing
			})
			if len(keys) != test.want || slices.Contains(keys, keyOfWeb(100)) {
				t.Errorf("keys: %v, want %d that fail", keys, test.want)
			}
			if calls > test.maxCalls {
				t.Errorf("%d calls, want %d at most", calls, test.maxCalls)
			}
		})
	}
}
