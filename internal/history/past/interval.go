package past

import "math"

// Open is the end of an interval that has none yet, in Unix milliseconds.
const Open = math.MaxInt64

// Interval is a period in Unix milliseconds. It certainly contains the times from From
// until before To, and may contain those from Earliest until before Latest. To and
// Latest are IsOpen without an end.
type Interval struct {
	Earliest, From, To, Latest int64
}

// IsOpen reports that t is no time, but that there is no end yet.
func IsOpen(t int64) bool { return t == Open }

// HasCertain reports whether the interval certainly contains any time.
func (i Interval) HasCertain() bool { return i.From < i.To }

// Overlaps reports whether the interval may contain a time from since to until.
func (i Interval) Overlaps(since, until int64) bool {
	return i.Earliest <= until && i.Latest > since
}

// Covers reports whether the interval certainly contains t.
func (i Interval) Covers(t int64) bool { return i.From <= t && t < i.To }

// Reason is why a recording was interrupted.
type Reason string

// The reasons of gaps.
const (
	ReasonStopped  Reason = "stopped"  // the recorder did not run
	ReasonOutage   Reason = "outage"   // the API server was not reachable
	ReasonOverflow Reason = "overflow" // the store was away for longer than events are kept
	ReasonClock    Reason = "clock"    // the clock was set
	ReasonLost     Reason = "lost"     // the file was lost or corrupt
)
