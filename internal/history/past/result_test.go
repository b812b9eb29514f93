package past

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func TestMerge(t *testing.T) {
	at := func(minutes int) time.Time { return time.UnixMilli(int64(minutes) * 60_000).UTC() }
	item := func(uid string, i Interval) Item {
		for _, t := range []*int64{&i.Earliest, &i.From, &i.To, &i.Latest} {
			if *t != Open {
				*t *= 60_000
			}
		}
		return NewItem("", v1.TestcrSpec{PodUID: uid}, i, at(50).UnixMilli(), at(50).UnixMilli())
	}
	// The first recorded from 0 to 40 and from 60 on, the second from 30 on.
	first := Result{
		Since: at(50), Until: at(50),
		Records: []RecordResult{{Begins: at(0), Ends: at(100), Gaps: []GapResult{{at(40), at(60), ReasonStopped}}}},
		Items:   []Item{item("a", Interval{10, 10, 40, 60}), item("b", Interval{45, 60, Open, Open})},
	}
	second := Result{
		Since: at(50), Until: at(50),
		Records: []RecordResult{{Begins: at(30), Ends: at(100)}},
		Items:   []Item{item("a", Interval{5, 30, 49, 49}), item("b", Interval{50, 50, Open, Open})},
	}
	want := Result{
		Since: at(50), Until: at(50),
		Records: []RecordResult{{Begins: at(0), Ends: at(100)}},
		Items:   []Item{item("b", Interval{50, 50, Open, Open}), item("a", Interval{10, 10, 49, 49})},
	}
	for name, results := range map[string][]Result{"": {first, second}, "the other way": {second, first}} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, Merge(results...)); diff != "" {
				t.Error(diff)
			}
		})
	}

	t.Run("a gap of both", func(t *testing.T) {
		third := second
		third.Records = []RecordResult{{Begins: at(50), Ends: at(70)}}
		got := Merge(first, third).Records
		if diff := cmp.Diff([]RecordResult{{Begins: at(0), Ends: at(100), Gaps: []GapResult{{at(40), at(50), ReasonStopped}}}}, got); diff != "" {
			t.Error(diff)
		}
	})
}
