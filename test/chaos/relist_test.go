package chaos_test

import (
	"slices"
	"testing"
	"time"
)

// relists is how many lists a fault calls for, since the API server does not tell
// any more what came after the last event. Before each, client-go's reflector waits
// for firstRelist at most, and twice as long for each list that comes less than
// relistMemory after the one before, up to longestRelist.
var relists = map[string]int{
	"API server killed":         1,
	"etcd killed":               1,
	"etcd compacted":            1,
	"CRD deleted":               1,
	"watches answered with 410": 3,
	"API server away 30 s":      1,
	"API server away 2 minutes": 1,
	"etcd restored":             1,
}

const (
	firstRelist   = 1600 * time.Millisecond
	longestRelist = time.Minute
	relistMemory  = 2 * time.Minute
)

// relistWait is how long the leader may wait for the last list that a fault of
// this kind calls for, after the outcomes of the faults before.
func relistWait(kind string, began time.Time, outcomes []outcome) time.Duration {
	lists := relists[kind]
	if lists == 0 {
		return 0
	}
	var started time.Time // the leader of now
	if n := len(outcomes); n > 0 {
		for _, u := range outcomes[n-1].Usage {
			if u.Leads {
				started = u.Started
			}
		}
	}
	for _, before := range slices.Backward(outcomes) {
		if began.Sub(before.Healed) > relistMemory || started.After(before.Began) {
			break // it has forgotten, or began only then
		}
		if n := relists[before.Kind]; n > 0 {
			lists += n
			began = before.Began
		}
	}
	most := firstRelist
	for range lists - 1 {
		most = min(2*most, longestRelist)
	}
	return most
}

func TestRelistWait(t *testing.T) {
	now := time.Now()
	fault := func(kind string, ago, leadsFor time.Duration) outcome {
		began := now.Add(-ago)
		return outcome{Kind: kind, Began: began, Healed: began.Add(time.Second), Usage: []usage{
			{Started: now.Add(-time.Hour)}, {Started: now.Add(-leadsFor), Leads: true},
		}}
	}
	compacted := func(ago time.Duration) outcome { return fault("etcd compacted", ago, time.Hour) }
	many := make([]outcome, 0, 10)
	for i := range 10 {
		many = append(many, compacted(time.Duration(10-i)*time.Minute))
	}
	tests := []struct {
		name   string
		kind   string
		before []outcome
		want   time.Duration
	}{
		{"a fault that calls for no list", "answers 409", many, 0},
		{"the first one", "etcd compacted", nil, firstRelist},
		{"one that calls for three", "watches answered with 410", nil, 4 * firstRelist},
		{"one after another", "API server killed", []outcome{compacted(time.Minute)}, 2 * firstRelist},
		{"one after another, and others between", "API server killed",
			[]outcome{compacted(time.Minute), fault("answers 409", time.Minute/2, time.Hour)}, 2 * firstRelist},
		{"one long after another", "etcd compacted", []outcome{compacted(3 * time.Minute)}, firstRelist},
		{"each soon after the one before", "etcd compacted", []outcome{compacted(3 * time.Minute), compacted(90 * time.Second)}, 4 * firstRelist},
		{"one after another, which the leader has not seen", "etcd compacted", []outcome{fault("etcd compacted", time.Minute, time.Second)}, firstRelist},
		{"one after another, which only the leader before has seen", "etcd compacted",
			[]outcome{compacted(time.Minute), fault("leader killed", time.Minute/2, time.Second)}, firstRelist},
		{"many", "etcd compacted", many, longestRelist},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := relistWait(test.kind, now, test.before); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}
