package plugin

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	// recordDelay is more than the time that the end of a record is behind the present while
	// all is well.
	recordDelay = 20 * time.Second
	// endOfTime is the year of an end that may be at any time.
	endOfTime = 9999
	// maxEdges bounds the gaps that are shown of a record.
	maxEdges = 5
)

// Annotations of objects of the past. Times are in RFC 3339, in UTC.
const (
	fromAnnotation         = v1.GroupName + "/from"
	fromEarliestAnnotation = v1.GroupName + "/from-earliest"
	toAnnotation           = v1.GroupName + "/to"
	toLatestAnnotation     = v1.GroupName + "/to-latest"
	certainAnnotation      = v1.GroupName + "/certain"
)

// held is when a Pod of the past had a fact.
type held struct {
	item     *past.Item
	of       pastRange
	from, to string // for people
}

// note returns why the Pod may not be meant. Its last state is no reason.
func (h *held) note(term query.Term, s *v1.TestcrSpec) string {
	before := *s
	before.Phase, before.Terminating = "", false
	text := query.NoteFor([]query.Term{term}, &before)
	if h.item.Certain {
		return text
	}
	doubt := "perhaps not in this range: see FROM and TO"
	if h.of.isMoment {
		doubt = "perhaps not at this moment: see FROM and TO"
	}
	if text == "" {
		return doubt
	}
	return doubt + "; " + text
}

// annotate adds the times to the annotations of an object.
func (h *held) annotate(annotations map[string]string) {
	for name, t := range map[string]time.Time{
		fromAnnotation: h.item.From, fromEarliestAnnotation: h.item.FromEarliest, toAnnotation: h.item.To, toLatestAnnotation: h.item.ToLatest,
	} {
		if !t.IsZero() {
			annotations[name] = t.UTC().Format(time.RFC3339Nano)
		}
	}
	annotations[certainAnnotation] = fmt.Sprint(h.item.Certain)
}

// text returns a time in the zone of the user. The zone is shown where it is not that of
// the range.
func (r pastRange) text(t time.Time) string {
	t = t.In(r.until.Location())
	_, offset := t.Zone()
	if _, of := r.until.Zone(); offset != of {
		return t.Format("2006-01-02 15:04:05 MST")
	}
	return t.Format(time.DateTime)
}

// period returns the range for a sentence, with the zone of all times or without.
func (r pastRange) period(isTitle bool) string {
	if r.isMoment {
		text := "at " + r.text(r.since) + r.until.Format(" MST")
		if isTitle {
			return "as of " + r.text(r.since) + r.until.Format(" MST (UTC-07:00)")
		}
		return text
	}
	text := "from " + r.text(r.since) + " to " + r.text(r.until)
	if isTitle {
		return text + r.until.Format(" MST (UTC-07:00)")
	}
	return text + r.until.Format(" MST")
}

func (r pastRange) between(a, b time.Time) string {
	end := r.text(b)
	if first := r.text(a); first[:len(time.DateOnly)] == end[:len(time.DateOnly)] {
		end = end[len(time.DateOnly)+1:]
	}
	return "between " + r.text(a) + " and " + end
}

// bounds returns when an item began and ended, in words.
func (r pastRange) bounds(item *past.Item, records []past.RecordResult, now time.Time) (from, to string) {
	from = r.text(item.From)
	switch {
	case item.FromEarliest.IsZero():
	case item.FromEarliest.Year() <= 1970: // nothing is known of it
		from = "by " + from
	default:
		from = r.between(item.FromEarliest, item.From)
	}
	switch {
	case item.IsOpen():
		to = "now"
		if at := slices.IndexFunc(records, func(record past.RecordResult) bool { return record.Cluster == item.Cluster }); at < 0 {
			to = "not known"
		} else if ends := records[at].Ends; now.Sub(ends) > recordDelay {
			to = r.text(ends) + " or later"
		}
	case item.ToLatest.IsZero():
		to = r.text(item.To)
	case item.ToLatest.Year() >= endOfTime:
		to = r.text(item.To) + " or later"
	default:
		to = r.between(item.To, item.ToLatest)
	}
	return from, to
}

// edges is what the answers cannot show.
type edges struct {
	records                     []past.RecordResult
	more, restricted, unchecked bool
}

func (e *edges) add(a *historyAnswer) {
	e.more = e.more || a.More
	e.restricted, e.unchecked = e.restricted || a.Restricted, e.unchecked || a.Unchecked
	for _, record := range a.Records {
		if !slices.ContainsFunc(e.records, func(known past.RecordResult) bool { return known.Cluster == record.Cluster }) {
			e.records = append(e.records, record)
		}
	}
}

func (e *edges) lines(of pastRange, now time.Time) (lines []string) {
	if e.more {
		lines = append(lines, "there are more than are shown: a shorter range has them")
	}
	if e.restricted {
		line := "shown are the Pods of namespaces in which you may list Pods, and of none that is gone"
		if e.unchecked {
			line += "; not all of them were checked: -n names one"
		}
		lines = append(lines, line)
	}
	for i := range e.records {
		lines = append(lines, edgesOf(&e.records[i], of, now)...)
	}
	return lines
}

// reasons are the words for why nothing was recorded.
var reasons = map[past.Reason]string{
	past.ReasonStopped:  "PodInfoLookup did not run",
	past.ReasonOutage:   "the API server was not reachable",
	past.ReasonOverflow: "the store was away for too long",
	past.ReasonClock:    "the clock was set",
	past.ReasonLost:     "the store was lost",
}

func edgesOf(r *past.RecordResult, of pastRange, now time.Time) (lines []string) {
	in := ""
	if r.Cluster != "" {
		in = "cluster " + r.Cluster + ": "
	}
	if r.Ends.Unix() <= 0 {
		return []string{in + "nothing is recorded yet"}
	}
	if len(r.Namespaces) > 0 {
		lines = append(lines, in+"recorded are the namespaces "+few(r.Namespaces)+" alone")
	}
	if r.Begins.After(of.since) {
		lines = append(lines, in+"the record begins at "+of.text(r.Begins)+": what was before is not known")
	}
	for i, g := range r.Gaps {
		if i == maxEdges {
			lines = append(lines, fmt.Sprintf("%s%d more gaps in the record", in, len(r.Gaps)-maxEdges))
			break
		}
		lines = append(lines, fmt.Sprintf("%snot recorded from %s to %s: %s", in, of.text(g.From), of.text(g.To), cmp.Or(reasons[g.Reason], string(g.Reason))))
	}
	if of.until.After(r.Ends) && now.Sub(r.Ends) > recordDelay {
		lines = append(lines, in+"the record ends at "+of.text(r.Ends)+": what was since is not known")
	}
	return lines
}

// isRecorded reports whether a part of the range was recorded.
func isRecorded(r *past.RecordResult, of pastRange) bool {
	if r.Begins.After(of.until) || of.since.Sub(r.Ends) > recordDelay {
		return false
	}
	return !slices.ContainsFunc(r.Gaps, func(g past.GapResult) bool { return !g.From.After(of.since) && g.To.After(of.until) })
}

// recordsOf returns what was searched, for a sentence, "" if nothing is recorded.
func recordsOf(all []past.RecordResult, of pastRange) string {
	var names []string
	for i := range all {
		r := &all[i]
		if r.Ends.Unix() <= 0 {
			continue
		}
		name := "the record"
		if r.Cluster != "" {
			name += " of cluster " + printable.Text(r.Cluster)
		}
		names = append(names, name+", which begins at "+of.text(r.Begins))
	}
	return few(names)
}
