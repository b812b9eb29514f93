package history

import "github.com/weiyuanke/PodInfoLookup/internal/history/past"

// Result is an Answer as the HTTP API returns it. Package past links no database.
type Result = past.Result

// Item is a Holder as the HTTP API returns it.
type Item = past.Item

// RecordResult is a Record as the HTTP API returns it.
type RecordResult = past.RecordResult

// GapResult is a Gap as the HTTP API returns it.
type GapResult = past.GapResult

// Merge returns the answer of several replicas to one question.
func Merge(results ...Result) Result { return past.Merge(results...) }

// NewResult returns the answer to q as the HTTP API returns it.
func NewResult(q Query, a Answer) Result {
	r := Result{Since: q.Since.UTC(), Until: q.Until.UTC(), More: a.More, Items: []Item{}, Records: []RecordResult{}}
	for _, record := range a.Records {
		result := RecordResult{
			Cluster: record.Cluster, Begins: record.Begins.UTC(), Ends: record.Ends.UTC(), Namespaces: record.Namespaces,
		}
		for _, g := range record.Gaps {
			result.Gaps = append(result.Gaps, GapResult{From: g.From.UTC(), To: g.To.UTC(), Reason: g.Reason})
		}
		r.Records = append(r.Records, result)
	}
	for _, h := range a.Holders {
		r.Items = append(r.Items, past.NewItem(h.Cluster, h.Spec, h.Interval, r.Since.UnixMilli(), r.Until.UnixMilli()))
	}
	return r
}
