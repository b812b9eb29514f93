// Package past contains the answers about the past: their form over HTTP, and the
// intervals in them. It links no database, so that clients can use it.
package past

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Result is an answer about the past as the HTTP API returns it.
type Result struct {
	// Since and Until are the range that was asked for. They are equal for a moment.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Records describe what was recorded, one for each cluster.
	Records []RecordResult `json:"records"`
	// More reports that there are more items: a shorter range has them.
	More bool `json:"more,omitempty"`
	// Items are the holders, those that certainly match in the range first.
	Items []Item `json:"items"`
}

// Item is a Pod that had the facts for an interval.
type Item struct {
	Testcr  string `json:"testcr"` // the name that its Testcr had
	Cluster string `json:"cluster,omitempty"`
	// Certain reports that the Pod certainly had the facts in the range, or at the moment.
	Certain bool `json:"certain"`
	// From and To are when it had them. FromEarliest and ToLatest are set if that is not
	// exactly known: it began between FromEarliest and From, and ended between To and
	// ToLatest. To is zero without an end.
	FromEarliest time.Time `json:"fromEarliest,omitzero"`
	From         time.Time `json:"from"`
	To           time.Time `json:"to,omitzero"`
	ToLatest     time.Time `json:"toLatest,omitzero"`
	v1.TestcrSpec
}

// RecordResult describes what was recorded in one cluster.
type RecordResult struct {
	Cluster    string      `json:"cluster,omitempty"`
	Begins     time.Time   `json:"begins"`
	Ends       time.Time   `json:"ends"`
	Namespaces []string    `json:"namespaces,omitempty"`
	Gaps       []GapResult `json:"gaps,omitempty"`
}

// GapResult is a period in which nothing was recorded, or times are not reliable.
type GapResult struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason Reason    `json:"reason"`
}

// NewItem returns the item of a Pod that had the facts for an interval, asked for a range
// in Unix milliseconds.
func NewItem(cluster string, spec v1.TestcrSpec, i Interval, since, until int64) Item {
	item := Item{
		Testcr:  v1.NameFor(types.NamespacedName{Namespace: spec.Namespace, Name: spec.PodName}),
		Cluster: cluster, Certain: i.IsCertain(since, until), TestcrSpec: spec, From: timeAt(i.From), To: timeAt(i.To),
	}
	if i.Earliest != i.From {
		item.FromEarliest = timeAt(i.Earliest)
	}
	if i.Latest != i.To {
		item.ToLatest = timeAt(i.Latest)
		if IsOpen(i.Latest) {
			item.ToLatest = timeAt(maxTime)
		}
	}
	return item
}

// maxTime stands for an end that may be any time after To: the end of the year 9999.
const maxTime = 253_402_300_799_000

// IsCertain reports whether the interval certainly overlaps a range, or contains a moment.
func (i Interval) IsCertain(since, until int64) bool {
	return i.HasCertain() && i.From <= until && i.To > since
}

func timeAt(ms int64) time.Time {
	if IsOpen(ms) {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Interval returns when the Pod had the facts.
func (i *Item) Interval() Interval {
	ms := func(t time.Time, zero int64) int64 {
		if t.IsZero() {
			return zero
		}
		return t.UnixMilli()
	}
	interval := Interval{From: i.From.UnixMilli(), To: ms(i.To, Open)}
	interval.Earliest, interval.Latest = ms(i.FromEarliest, interval.From), ms(i.ToLatest, interval.To)
	return interval
}

// IsOpen reports that the Pod still had the facts at the end of the record.
func (i *Item) IsOpen() bool { return i.To.IsZero() }

// Merge returns the answer of several replicas to one question. Each recorded for
// itself, so one has what happened in a gap of another.
func Merge(results ...Result) Result {
	if len(results) == 1 {
		return results[0]
	}
	var merged Result
	for n, r := range results {
		if n == 0 {
			merged = Result{Since: r.Since, Until: r.Until, Items: []Item{}}
		}
		merged.More = merged.More || r.More
		for i := range r.Items {
			merged.add(&r.Items[i])
		}
	}
	merged.Records = mergeRecords(results)
	since, until := merged.Since.UnixMilli(), merged.Until.UnixMilli()
	for i := range merged.Items {
		merged.Items[i].Certain = merged.Items[i].Interval().IsCertain(since, until)
	}
	slices.SortStableFunc(merged.Items, func(a, b Item) int {
		x, y := a.Interval(), b.Interval()
		return cmp.Or(
			cmp.Compare(x.Rank(since, until), y.Rank(since, until)), cmp.Compare(y.Latest, x.Latest), cmp.Compare(y.From, x.From),
			strings.Compare(a.Cluster, b.Cluster), strings.Compare(a.PodKey, b.PodKey),
		)
	})
	return merged
}

// Rank orders intervals: 0 for one that certainly overlaps a range, 1 for one that may, 2
// for another one.
func (i Interval) Rank(since, until int64) int {
	switch {
	case i.IsCertain(since, until):
		return 0
	case i.Overlaps(since, until):
		return 1
	}
	return 2
}

// add adds an item, or merges it into an item of the same Pod at the same time.
func (r *Result) add(item *Item) {
	b := item.Interval()
	for n := range r.Items {
		known := &r.Items[n]
		if known.PodUID != item.PodUID || known.Cluster != item.Cluster {
			continue
		}
		a := known.Interval()
		if a.Earliest >= b.Latest || b.Earliest >= a.Latest {
			continue
		}
		spec := known.TestcrSpec
		if b.Latest > a.Latest || b.Latest == a.Latest && b.From < a.From { // it has seen more of the Pod
			spec = item.TestcrSpec
		}
		*known = NewItem(known.Cluster, spec, both(a, b), r.Since.UnixMilli(), r.Until.UnixMilli())
		return
	}
	r.Items = append(r.Items, *item)
}

// both returns what two observations of one interval show together.
func both(a, b Interval) Interval {
	merged := Interval{
		Earliest: max(a.Earliest, b.Earliest), From: min(a.From, b.From), To: max(a.To, b.To), Latest: min(a.Latest, b.Latest),
	}
	merged.Earliest, merged.Latest = min(merged.Earliest, merged.From), max(merged.Latest, merged.To)
	return merged
}

// mergeRecords returns the records of each cluster together: there is a gap where no
// replica recorded.
func mergeRecords(results []Result) []RecordResult {
	merged := map[string]*RecordResult{}
	for _, r := range results {
		for i := range r.Records {
			record := &r.Records[i]
			known := merged[record.Cluster]
			if known == nil {
				known = &RecordResult{Cluster: record.Cluster, Begins: record.Begins, Ends: record.Ends, Namespaces: record.Namespaces, Gaps: record.Gaps}
				merged[record.Cluster] = known
				continue
			}
			known.Gaps = bothLack(known, record)
			known.Begins, known.Ends = earlier(known.Begins, record.Begins), later(known.Ends, record.Ends)
		}
	}
	records := make([]RecordResult, 0, len(merged))
	for _, record := range merged {
		records = append(records, *record)
	}
	slices.SortFunc(records, func(a, b RecordResult) int { return strings.Compare(a.Cluster, b.Cluster) })
	return records
}

// bothLack returns the periods in which neither a nor b recorded, between the first and
// the last time of both.
func bothLack(a, b *RecordResult) (gaps []GapResult) {
	for _, x := range a.lacks() {
		for _, y := range b.lacks() {
			g := GapResult{later(x.From, y.From), earlier(x.To, y.To), cmp.Or(x.Reason, y.Reason)}
			if g.From.Before(g.To) && g.To.After(earlier(a.Begins, b.Begins)) && g.From.Before(later(a.Ends, b.Ends)) {
				gaps = append(gaps, g)
			}
		}
	}
	return gaps
}

// lacks returns the gaps, and the time before the record and after it.
func (r *RecordResult) lacks() []GapResult {
	return slices.Concat(
		[]GapResult{{To: r.Begins}}, r.Gaps, []GapResult{{From: r.Ends, To: time.UnixMilli(maxTime), Reason: ReasonStopped}},
	)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
