// Package history records which Pod had which facts at which time, in SQLite or
// PostgreSQL, and answers questions about the past.
//
// A Recorder turns the events of the Pod cache into lives: one for each UID, with an
// interval for each of its IPs, container IDs and shapes. A Store keeps them, and
// finds those of a time or a range.
//
// The store is level-triggered. At its start, and after events were dropped, the
// Recorder compares the open lives of the store with the cache. Events only make it
// quick, and give the exact times.
package history

import (
	"time"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// open is the end of an interval that has none yet, in Unix milliseconds.
const open = past.Open

// Interval is a period in Unix milliseconds.
type Interval = past.Interval

// IsOpen reports that t is no time, but that there is no end yet.
func IsOpen(t int64) bool { return past.IsOpen(t) }

// Query selects lives by facts and a range of time.
type Query struct {
	// Terms must all match at the same time. There must be one.
	Terms []query.Term
	// Since and Until are the ends of the range, both included. They are equal for a moment.
	Since, Until time.Time
	// Clusters are the names of the clusters, empty for all.
	Clusters []string
	// Allows reports whether Pods of a namespace may be returned; nil allows all.
	Allows func(namespace string) bool
	// Limit is the maximum number of holders: see Answer.More.
	Limit int
	// Last returns the holders before Since as well, the last ones first, until Limit.
	Last bool
}

// Answer contains the results of a Query.
type Answer struct {
	// Holders are those that certainly match in the range, then those that may, each of them
	// the latest first.
	Holders []Holder
	// More reports that there are more holders than Limit, or that there were too many
	// candidates to look at.
	More bool
	// Records describe what was recorded in each cluster that was asked.
	Records []Record
}

// Holder is a Pod that had the facts of a Query for an interval.
type Holder struct {
	// Cluster is the name of the cluster, "" for one without a name.
	Cluster string
	// Spec describes the Pod at the end of the interval, or at the end of the range. Its
	// phase, status and restarts are those that it had last.
	Spec v1.TestcrSpec
	// Interval is when the Pod had the facts.
	Interval Interval
	// Life is when the Pod existed.
	Life Interval
}

// Record describes what was recorded in one cluster.
type Record struct {
	Cluster string
	// Begins and Ends are the first and the last time that was recorded.
	Begins, Ends time.Time
	// Namespaces are those that were recorded, empty for all.
	Namespaces []string
	// Gaps are the periods within the range of the query in which nothing was recorded, or
	// times are not reliable. A gap may begin before the range and end after it.
	Gaps []Gap
}

// Gap is a period in which nothing was recorded, or times are not reliable.
type Gap struct {
	From, To time.Time
	Reason   Reason
}

// Reason is why a recording was interrupted.
type Reason = past.Reason

// The reasons of gaps.
const (
	ReasonStopped  = past.ReasonStopped
	ReasonOutage   = past.ReasonOutage
	ReasonOverflow = past.ReasonOverflow
	ReasonClock    = past.ReasonClock
	ReasonLost     = past.ReasonLost
)
