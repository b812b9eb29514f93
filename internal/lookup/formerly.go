package lookup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// formerlyTimeout bounds the delay of an answer about the present by the past.
const formerlyTimeout = 800 * time.Millisecond

// maxFormerly bounds the facts of one text that are looked for in the past.
const maxFormerly = 4

// formerly is who had a fact that no Pod has now.
type formerly struct {
	LastHolder *LastHolder `json:"lastHolder,omitempty"`
	// PastNote is why there is no LastHolder, if there may be one.
	PastNote string `json:"pastNote,omitempty"`
}

// LastHolder is the Pod that had a fact last.
type LastHolder struct {
	Pod string `json:"pod"` // namespace/name
	UID string `json:"uid"`
	// From, FromEarliest, Until and UntilLatest are as the times of a history.Item.
	FromEarliest time.Time `json:"fromEarliest,omitzero"`
	From         time.Time `json:"from"`
	Until        time.Time `json:"until,omitzero"`
	UntilLatest  time.Time `json:"untilLatest,omitzero"`
	Text         string    `json:"text"` // all of it in a sentence
}

func (f formerly) text(out *bytes.Buffer) {
	if f.LastHolder != nil {
		fmt.Fprintln(out, printable.Text(f.LastHolder.Text))
	} else if f.PastNote != "" {
		fmt.Fprintln(out, printable.Text(f.PastNote))
	}
}

// formerly returns who had the first of some facts that should identify a Pod. No Pod has
// it now.
func (l *Lookup) formerly(r *http.Request, readings [][]query.Term) formerly {
	readings = slices.DeleteFunc(slices.Clone(readings), func(terms []query.Term) bool {
		return !slices.ContainsFunc(terms, query.Term.IsUnique)
	})
	if l.config.History == nil || len(readings) == 0 {
		return formerly{}
	}
	ctx, cancel := context.WithTimeout(r.Context(), formerlyTimeout)
	defer cancel()
	r = r.WithContext(ctx)
	found := make(chan formerly, 1)
	go func() { found <- l.findLast(r, readings[:min(len(readings), maxFormerly)]) }() //nolint:contextcheck // the request has it; a disk may not answer at all
	select {
	case f := <-found:
		return f
	case <-ctx.Done():
		return formerly{PastNote: "the history does not answer at the moment: who had it last is not known"}
	}
}

func (l *Lookup) findLast(r *http.Request, readings [][]query.Term) (f formerly) {
	var err error
	status, _ := l.tryWithin(r, func(s *scope) {
		f, err = l.findLastIn(r.Context(), s, readings)
	})
	switch {
	case status != http.StatusOK:
		return formerly{}
	case err != nil:
		return formerly{PastNote: "the history does not answer at the moment: who had it last is not known"}
	}
	return f
}

func (l *Lookup) findLastIn(ctx context.Context, s *scope, readings [][]query.Term) (f formerly, err error) {
	release, err := l.past.acquire(ctx)
	if err != nil {
		return f, err
	}
	defer release()
	now := time.Now().UTC()
	q := history.Query{Since: now, Until: now, Clusters: []string{l.config.ClusterName}, Allows: s.namespaces(), Limit: 1, Last: true}
	for _, q.Terms = range readings {
		answer, err := l.config.History.Find(ctx, q)
		if unknown := (*history.UnknownClusterError)(nil); errors.As(err, &unknown) {
			return formerly{PastNote: "nothing is recorded yet"}, nil
		} else if err != nil {
			return f, err
		}
		result := history.NewResult(q, answer)
		if len(result.Items) == 0 {
			f.PastNote = neverHeld(result)
			continue
		}
		item := &result.Items[0]
		// What happened since is another question, because gaps are those of a range.
		q.Last, q.Since = false, item.To
		if item.IsOpen() {
			q.Since = now
		}
		if answer, err = l.config.History.Find(ctx, q); err != nil {
			return f, err
		}
		return formerly{LastHolder: newLastHolder(item, q.Terms, history.NewResult(q, answer), now)}, nil
	}
	return f, nil
}

// neverHeld returns that nobody had a fact while it was recorded.
func neverHeld(r history.Result) string {
	if len(r.Records) == 0 || r.Records[0].Ends.Unix() <= 0 {
		return "nothing is recorded yet"
	}
	return "no Pod of the record had it, which begins " + r.Records[0].Begins.Format(pastTime) + " UTC"
}

// newLastHolder returns the holder of an item. since has what was recorded since its end.
func newLastHolder(item *history.Item, terms []query.Term, since history.Result, now time.Time) *LastHolder {
	h := &LastHolder{
		Pod: item.PodKey, UID: item.PodUID, FromEarliest: item.FromEarliest, From: item.From, Until: item.To, UntilLatest: item.ToLatest,
	}
	clock := func(t time.Time) string {
		if y, m, d := t.Date(); now.Year() == y && now.Month() == m && now.Day() == d {
			return t.Format("15:04:05")
		}
		return t.Format("2006-01-02 15:04:05")
	}
	var record history.RecordResult
	if len(since.Records) > 0 {
		record = since.Records[0]
	}
	subject := describe(terms, "") + ": " + item.PodKey
	isCertain := item.IsOpen() || item.From.Before(item.To)
	switch {
	case !isCertain:
		h.Text = fmt.Sprintf("%s may have had it", subject)
	case item.IsOpen():
		h.Text = fmt.Sprintf("%s had it until after %s UTC, when the record ends", subject, clock(record.Ends))
	default:
		h.Text = fmt.Sprintf("%s had it", subject)
	}
	switch {
	case item.IsOpen():
	case item.ToLatest.IsZero():
		h.Text += fmt.Sprintf(" until %s UTC (%s ago)", clock(item.To), printable.Age(item.To))
	case item.ToLatest.Year() >= 9999:
		h.Text += fmt.Sprintf(" until after %s UTC: its end is not known", clock(item.To))
	default:
		h.Text += fmt.Sprintf(" until between %s and %s UTC (%s ago)", clock(item.To), clock(item.ToLatest), printable.Age(item.ToLatest))
	}
	latest := item.To
	if !item.ToLatest.IsZero() {
		latest = item.ToLatest
	}
	isGap := func(g history.GapResult) bool { return g.To.After(latest) }
	if !item.IsOpen() && (slices.ContainsFunc(record.Gaps, isGap) || now.Sub(record.Ends) > recordDelay) {
		h.Text += "; not all was recorded since, so another Pod may have had it later"
	}
	return h
}
