package lookup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/when"
)

// History is the part of a *history.Recorder that a Lookup needs.
type History interface {
	Find(context.Context, history.Query) (history.Answer, error)
}

const (
	// maxPast bounds the questions to the store at once, and maxPastWaiting also those that
	// wait. Both are far below the requests that are served at once, so that a slow store
	// leaves room for the present.
	maxPast        = 4
	maxPastWaiting = 12
	// pastTimeout bounds an answer about the past with the reviews of its namespaces, so that
	// it ends before the timeout of the server.
	pastTimeout = 3 * time.Second
	// maxPastReadings bounds the facts in one text that are looked for in the past.
	maxPastReadings = 16
	// maxGaps bounds the gaps in an answer.
	maxGaps = 200
)

// The parameters of a question about the past.
var pastKeys = []string{"at", "since", "until", "cluster"}

var (
	errNoHistory = errors.New("the past is not recorded: start the program with --history=FILE or --history=postgres://HOST/DATABASE")
	errBusy      = errors.New("too many questions about the past at once: try again")
)

// pastSlots bounds the questions about the past.
type pastSlots struct{ waiting, running chan struct{} }

func newPastSlots() pastSlots {
	return pastSlots{make(chan struct{}, maxPastWaiting), make(chan struct{}, maxPast)}
}

// acquire returns what releases a slot.
func (p pastSlots) acquire(ctx context.Context) (release func(), err error) {
	select {
	case p.waiting <- struct{}{}:
	default:
		return nil, errBusy
	}
	select {
	case p.running <- struct{}{}:
		return func() { <-p.running; <-p.waiting }, nil
	case <-ctx.Done():
		<-p.waiting
		return nil, errBusy
	}
}

// pastQuestion is a parsed question about the past.
type pastQuestion struct {
	history.Query
	isMoment bool
	// readings are tried in order until one has a holder. All terms of a reading must match.
	readings [][]query.Term
	// more is the number of readings that are not tried.
	more int
	q    string // the text, of a search
}

// parsePast returns the question of the parameters. isPast is false for one about the
// present. Other parameters of the present are errors in a question about the past.
func (l *Lookup) parsePast(params url.Values) (q pastQuestion, isPast bool, err error) {
	q.Since, q.Until, q.isMoment, err = when.ParseRange(params.Get("at"), params.Get("since"), params.Get("until"), time.Now().UTC())
	if err != nil {
		return q, true, fmt.Errorf("%w (a time without a zone is UTC here)", err)
	}
	for _, name := range params["cluster"] {
		if name != "" {
			q.Clusters = append(q.Clusters, name)
		}
	}
	switch {
	case q.Since.IsZero() && len(q.Clusters) > 0:
		return q, true, errors.New("cluster: it goes with at or since: the present is that of this cluster alone")
	case q.Since.IsZero():
		return q, false, nil
	case l.config.History == nil:
		return q, true, errNoHistory
	}
	for _, name := range []string{"phase", "state", "sort", "desc", "page", "continue"} {
		if params.Get(name) != "" {
			return q, true, fmt.Errorf("%s: it is for the present only, not for at or since", name)
		}
	}
	limit := defaultLimit
	if s := params.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxLimit {
			return q, true, fmt.Errorf("limit: %q is not a number from 1 to %d", s, maxLimit)
		}
	}
	q.Limit = limit
	return q, true, nil
}

// setSearch sets the readings of the parameters of a search.
func (p *pastQuestion) setSearch(params url.Values) error {
	var filters []query.Term
	for _, kind := range []query.Kind{query.Namespace, query.Node} {
		if value := params.Get(string(kind)); value != "" {
			term, err := query.ParseAs(kind, value)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			filters = append(filters, term)
		}
	}
	by := params.Get("by")
	p.q = strings.TrimSpace(params.Get("q"))
	switch {
	case by == byText:
		return errors.New("by: the past is searched for whole facts, not for text")
	case p.q == "":
		p.readings = [][]query.Term{filters}
		return nil
	}
	terms, err := readings(p.q, by)
	if err == nil && len(terms) == 0 {
		_, err = query.Parse(p.q) // it says why there is none
	}
	if err != nil {
		return err
	}
	exact, others := query.Exact(terms)
	isSearched := func(t query.Term) bool { return t.Kind == query.Container && !t.Prefix.IsValid() }
	for _, term := range slices.Concat(exact, others) {
		if term.IsExact() || isSearched(term) {
			p.readings = append(p.readings, slices.Concat(filters, []query.Term{term}))
		}
	}
	if len(p.readings) == 0 {
		return &history.PartialError{Term: terms[0]}
	}
	p.more = max(0, len(p.readings)-maxPastReadings)
	p.readings = p.readings[:len(p.readings)-p.more]
	return nil
}

// replyPast answers a question about the past.
func (l *Lookup) replyPast(w http.ResponseWriter, r *http.Request, q pastQuestion) {
	result, status, err := l.askPast(r, q)
	switch {
	case err != nil && status == http.StatusForbidden:
		http.Error(w, err.Error(), status)
	case err != nil:
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		reply(w, r, status, failure{Error: err.Error()})
	default:
		reply(w, r, status, result)
	}
}

// askPast returns the answer and its status, or an error and the status of that.
func (l *Lookup) askPast(r *http.Request, q pastQuestion) (*past, int, error) {
	ctx, cancel := context.WithTimeout(r.Context(), pastTimeout)
	defer cancel()
	var result *past
	var err error
	status, refusal := l.tryWithin(r.WithContext(ctx), func(s *scope) {
		result, err = l.findPast(ctx, s, q)
	})
	if status != http.StatusOK {
		return nil, status, errors.New(refusal)
	}
	if err != nil {
		return nil, l.pastStatus(ctx, err), l.pastError(r, err)
	}
	if len(result.Result.Items) > 0 {
		return result, http.StatusOK, result.encodeItems()
	}
	result.Error = result.missing(q)
	return result, http.StatusNotFound, nil
}

// pastStatus returns the status of an error of the history.
func (l *Lookup) pastStatus(ctx context.Context, err error) int {
	var partial *history.PartialError
	var cluster *history.UnknownClusterError
	switch {
	case errors.As(err, &partial), errors.As(err, &cluster), errors.Is(err, history.ErrNoTerms):
		return http.StatusBadRequest
	case errors.Is(err, errOtherCluster):
		return http.StatusForbidden
	case errors.Is(err, errBusy), errors.Is(err, history.ErrNotReady):
	default:
		klog.FromContext(ctx).V(2).Info("The history does not answer", "err", err)
	}
	return http.StatusServiceUnavailable
}

// pastError returns an error for the caller. Causes of a store that fails are not for a
// caller who may see only some namespaces.
func (l *Lookup) pastError(r *http.Request, err error) error {
	var partial *history.PartialError
	var cluster *history.UnknownClusterError
	switch isRestricted := scopeOf(r).isRestricted(); {
	case errors.As(err, &cluster) && isRestricted:
		return errors.New("nothing was recorded of this cluster")
	case errors.As(err, &partial), errors.As(err, &cluster), errors.Is(err, history.ErrNoTerms), errors.Is(err, errBusy), errors.Is(err, errOtherCluster):
		return err
	case isRestricted:
		return errors.New("the history does not answer at the moment: try again")
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("the history did not answer in time: try again, or a shorter range")
	}
	return fmt.Errorf("the history does not answer at the moment: %w", err)
}

// errOtherCluster refuses a caller whose rights were checked in this cluster alone.
var errOtherCluster = errors.New("cluster: who may list the Pods of some namespaces only sees the past of this cluster alone")

// findPast asks the store for each reading until one has a holder. Rights in a namespace
// end with it, so a caller who may see some namespaces sees none that is gone.
func (l *Lookup) findPast(ctx context.Context, s *scope, q pastQuestion) (*past, error) {
	if s.isRestricted() {
		if slices.ContainsFunc(q.Clusters, func(name string) bool { return name != l.config.ClusterName }) {
			return nil, errOtherCluster
		}
		q.Clusters = []string{l.config.ClusterName}
	}
	q.Allows = s.namespaces()
	release, err := l.past.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	var found history.Answer
	for _, q.Terms = range q.readings {
		if found, err = l.config.History.Find(ctx, q.Query); err != nil {
			return nil, err
		}
		if len(found.Holders) > 0 {
			break
		}
	}
	p := &past{Result: history.NewResult(q.Query, found), Q: q.q, terms: q.Terms, isMoment: q.isMoment, now: time.Now().UTC(), Items: []json.RawMessage{}}
	if last := len(q.Terms) - 1; q.q != "" && len(found.Holders) > 0 {
		p.ReadAs = string(q.Terms[last].Kind)
	}
	p.Restricted, p.Unchecked = s.isRestricted(), len(s.unknown) > 0
	for i := range p.Records {
		p.Records[i].Gaps = mergeOldest(p.Records[i].Gaps)
	}
	return p, nil
}

// mergeOldest returns at most maxGaps gaps, the first of which spans all older ones.
func mergeOldest(gaps []history.GapResult) []history.GapResult {
	n := len(gaps) - maxGaps
	if n <= 0 {
		return gaps
	}
	gaps[n].From = gaps[0].From
	return gaps[n:]
}

// past is the answer to a question about the past.
type past struct {
	// Error is what was looked for, if there are no items.
	Error string `json:"error,omitempty"`
	history.Result
	// Restricted and Unchecked are as those of a View.
	Restricted bool   `json:"restricted,omitempty"`
	Unchecked  bool   `json:"unchecked,omitempty"`
	Q          string `json:"q,omitempty"`
	ReadAs     string `json:"readAs,omitempty"` // the kind of the reading of q
	// Items are those of Result, within the bounds of a page.
	Items []json.RawMessage `json:"items"`

	terms    []query.Term
	isMoment bool
	now      time.Time
}

// pastItem is an item of an answer.
type pastItem struct {
	// Note is why it may not be the intended Pod.
	Note string `json:"note,omitempty"`
	// Omitted contains the fields that the item lacks, because the answer would be too long.
	Omitted []string `json:"omitted,omitempty"`
	history.Item
}

func (p *past) itemOf(item *history.Item) pastItem {
	return pastItem{Item: *item, Note: pastNote(p.terms, item)}
}

// pastNote returns why an item may not be the intended Pod. Its phase is the last one.
func pastNote(terms []query.Term, item *history.Item) string {
	spec := item.TestcrSpec
	spec.Phase, spec.Terminating = "", false
	note := query.NoteFor(terms, &spec)
	if query.Rank(&item.TestcrSpec) == 2 {
		note = strings.TrimSuffix("completed in the end, after which another Pod may have had its IP; "+note, "; ")
	}
	return note
}

// encodeItems encodes the items within the bounds of a page: see podList.send.
func (p *past) encodeItems() error {
	p.Items = []json.RawMessage{}
	sent := 0
	for i := range p.Result.Items {
		item := p.itemOf(&p.Result.Items[i])
		text, err := json.RawMessage(nil), error(nil)
		if isWhole := leastBytes(&item.TestcrSpec) <= maxWhole-sent; isWhole {
			text, err = encode(item)
		}
		if err == nil && (text == nil || len(text) > maxWhole-sent) {
			if len(item.Labels) > 0 {
				item.Labels, item.Omitted = nil, append(item.Omitted, "labels")
			}
			if len(item.Containers) > 0 {
				item.Containers, item.Omitted = nil, append(item.Omitted, "containers")
			}
			text, err = encode(item)
		}
		if err != nil {
			return fmt.Errorf("cannot encode the answer: %w", err)
		}
		if sent += len(text); i > 0 && sent > maxPage {
			p.Result.Items, p.More = p.Result.Items[:i], true
			break
		}
		p.Items = append(p.Items, text)
	}
	return nil
}

// missing returns the error of an answer without items.
func (p *past) missing(q pastQuestion) string {
	facts := make([]string, 0, len(q.readings))
	for _, terms := range q.readings {
		facts = append(facts, describe(terms, ""))
	}
	what := strings.Join(facts, ", or ")
	if q.more > 0 {
		what += fmt.Sprintf(" (%d more facts were not looked for)", q.more)
	}
	if slices.ContainsFunc(q.readings, func(terms []query.Term) bool { return slices.ContainsFunc(terms, query.Term.IsService) }) {
		what += " (Services are not recorded)"
	}
	if !slices.ContainsFunc(p.Records, p.covers) {
		return fmt.Sprintf("nothing was recorded %s: whether a Pod had %s is not known", p.period(), what)
	}
	return fmt.Sprintf("no Pod had %s %s", what, p.period())
}

// covers reports whether anything of the range was recorded.
func (p *past) covers(r history.RecordResult) bool {
	if r.Begins.After(p.Until) || r.Ends.Before(p.Since) && p.now.Sub(r.Ends) > recordDelay {
		return false
	}
	return !slices.ContainsFunc(r.Gaps, func(g history.GapResult) bool { return !g.From.After(p.Since) && g.To.After(p.Until) })
}

// recordDelay is more than the time that the end of a record is behind the present while
// all is well.
const recordDelay = 20 * time.Second

// pastTime is the layout of a time in the past, without its zone. All of them are UTC.
const pastTime = "2006-01-02 15:04:05.999"

func (p *past) period() string {
	if p.isMoment {
		return "at " + p.Since.Format(pastTime) + " UTC"
	}
	return "from " + p.Since.Format(pastTime) + " to " + p.Until.Format(pastTime) + " UTC"
}

// bounds returns when an item began and ended, in words. The end of one that has none is
// that of the record.
func (p *past) bounds(item *history.Item) (from, to string) {
	from = item.From.Format(pastTime)
	if !item.FromEarliest.IsZero() {
		from = "between " + item.FromEarliest.Format(pastTime) + " and " + from
		if item.FromEarliest.Year() <= 1970 { // nothing is known of it
			from = "before " + item.From.Format(pastTime)
		}
	}
	switch {
	case item.IsOpen():
		to = "now"
		if ends := p.endOf(item.Cluster); p.now.Sub(ends) > recordDelay {
			to = "after " + ends.Format(pastTime)
		}
	case item.ToLatest.IsZero():
		to = item.To.Format(pastTime)
	case item.ToLatest.Year() >= 9999:
		to = "after " + item.To.Format(pastTime)
	default:
		to = "between " + item.To.Format(pastTime) + " and " + item.ToLatest.Format(pastTime)
	}
	return from, to
}

func (p *past) endOf(cluster string) time.Time {
	for _, r := range p.Records {
		if r.Cluster == cluster {
			return r.Ends
		}
	}
	return time.Time{}
}

// doubt returns the words of an item that may be wrong, and its note.
func (p *past) doubt(item *history.Item) string {
	note := pastNote(p.terms, item)
	if item.Certain {
		return note
	}
	return strings.TrimSuffix("may have had it: the times are uncertain; "+note, "; ")
}

func (p *past) text(out *bytes.Buffer) {
	if p.Error != "" {
		fmt.Fprintln(out, printable.Text(p.Error))
	} else {
		p.table(out)
	}
	fmt.Fprintln(out)
	for _, line := range p.edges() {
		fmt.Fprintln(out, printable.Text(line))
	}
}

func (p *past) table(out *bytes.Buffer) {
	fmt.Fprintf(out, "%s\n\n", p.period())
	hasClusters := slices.ContainsFunc(p.Records, func(r history.RecordResult) bool { return r.Cluster != "" })
	w := columns(out)
	head := []string{"FROM", "TO", "POD", "IP", "NODE", "LAST STATUS", "WORKLOAD", "UID", "NOTE"}
	if hasClusters {
		head = slices.Insert(head, 2, "CLUSTER")
	}
	fmt.Fprintln(w, strings.Join(head, "\t"))
	for i := range p.Result.Items {
		item := &p.Result.Items[i]
		pod := Pod{TestcrSpec: item.TestcrSpec}
		from, to := p.bounds(item)
		row := []string{from, to, item.PodKey, strings.Join(item.PodIPs, ","), item.NodeName, item.Status, pod.workload(), item.PodUID}
		if hasClusters {
			row = slices.Insert(row, 2, item.Cluster)
		}
		for i := range row {
			row[i] = cellOf(row[i])
		}
		fmt.Fprintln(w, strings.Join(append(row, printable.Text(p.doubt(item))), "\t"))
	}
	_ = w.Flush() // to a buffer
}

// reasons are the words for why nothing was recorded.
var reasons = map[history.Reason]string{
	history.ReasonStopped:  "the program did not run",
	history.ReasonOutage:   "the API server was not reachable",
	history.ReasonOverflow: "the store was away for too long",
	history.ReasonClock:    "the clock was set",
	history.ReasonLost:     "the store was lost",
}

// edges returns what the answer cannot show, one sentence a line.
func (p *past) edges() (lines []string) {
	if p.More {
		lines = append(lines, "there are more: ask for a shorter range, or with limit=500")
	}
	if p.Restricted {
		line := "only namespaces in which you may list pods, and none that is gone"
		if p.Unchecked {
			line += "; not all were checked: name one with namespace=NAME"
		}
		lines = append(lines, line)
	}
	for i := range p.Records {
		lines = append(lines, p.edgesOf(&p.Records[i])...)
	}
	if len(p.Records) == 0 {
		lines = append(lines, "nothing is recorded yet")
	}
	return append(lines, "all times are UTC")
}

func (p *past) edgesOf(r *history.RecordResult) (lines []string) {
	name := ""
	if r.Cluster != "" {
		name = "cluster " + r.Cluster + ": "
	}
	if r.Ends.Unix() <= 0 {
		return []string{name + "nothing is recorded yet"}
	}
	line := fmt.Sprintf("%srecorded from %s to %s", name, r.Begins.Format(pastTime), r.Ends.Format(pastTime))
	if len(r.Namespaces) > 0 {
		line += ", namespaces " + strings.Join(r.Namespaces, ", ") + " only"
	} else {
		line += ", all namespaces"
	}
	lines = append(lines, line)
	if p.Since.Before(r.Begins) {
		lines = append(lines, fmt.Sprintf("%sthe record begins %s: what was before is not known", name, r.Begins.Format(pastTime)))
	}
	if p.Until.After(r.Ends) && p.now.Sub(r.Ends) > recordDelay {
		lines = append(lines, fmt.Sprintf("%sthe record ends %s: what was since is not known", name, r.Ends.Format(pastTime)))
	}
	const shown = 10
	for i, g := range r.Gaps {
		if i == shown {
			lines = append(lines, fmt.Sprintf("%s%d more gaps", name, len(r.Gaps)-shown))
			break
		}
		lines = append(lines, fmt.Sprintf("%snot recorded from %s to %s: %s", name, g.From.Format(pastTime), g.To.Format(pastTime), cmp.Or(reasons[g.Reason], string(g.Reason))))
	}
	return lines
}
