package plugin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"
	selectors "k8s.io/apimachinery/pkg/labels"
	operators "k8s.io/apimachinery/pkg/selection"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/when"
)

const (
	// questionsAtOnce bounds the questions about the past at the same time. A replica
	// answers 4, and lets 8 more wait.
	questionsAtOnce = 4
	// historyLimit is the number of holders that are asked for, the most that there is.
	historyLimit = "500"
	// lastTimeout bounds the question who had a fact last.
	lastTimeout = 1500 * time.Millisecond
	// lastRange is how far back that question goes: the default of --history-retention.
	lastRange = 7 * 24 * time.Hour
)

// pastOptions are the flags of questions about the past.
type pastOptions struct {
	at, since, until string
	cluster          string
	server           string
	tokenFile        string
	installed        string // the namespace of PodInfoLookup
	remotePort       uint16
}

// addServerFlags adds the flags by which the record of the past is reached.
func (o *pastOptions) addServerFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.cluster, "podinfo-cluster", "", "With the past: this cluster only, of those that record into one store. Without it: all.")
	fs.StringVar(&o.server, "podinfo-server", "", "Ask this address about the past, such as https://podinfo.example.com, without a port-forward. Default: "+serverVariable+".")
	fs.StringVar(&o.tokenFile, "podinfo-token-file", "", "File with a bearer token for that address, which must be https. Nothing of the kubeconfig is sent there.")
	fs.StringVar(&o.installed, "podinfo-namespace", v1.ManagedBy, "Namespace that PodInfoLookup runs in. Its replicas are asked about the past by port-forwards.")
	fs.Uint16Var(&o.remotePort, "podinfo-port", webPort, "Port of its --local-bind-address.")
}

func (o *pastOptions) addRangeFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.at, "at", "", "Who had it then: 03:12, \"yesterday 03:12\", 2026-11-26T03:12:45Z, -2h or epoch seconds, in the local time zone.")
	fs.StringVar(&o.since, "since", "", "Each that had it since then, such as 24h or 03:12.")
	fs.StringVar(&o.until, "until", "", "With --since: the end of the range.")
}

// pastRange is a moment or a range of the past.
type pastRange struct {
	since, until time.Time // in the zone of the user
	isMoment     bool
	cluster      string
}

// pastRange returns the range of the command line. isPast is false without one.
func (o *options) pastRange(now time.Time) (r pastRange, isPast bool, err error) {
	r.since, r.until, r.isMoment, err = when.ParseRange(o.past.at, o.past.since, o.past.until, now)
	if err != nil {
		return r, false, cli.Usagef("--%w", err)
	}
	r.cluster = o.past.cluster
	for _, name := range []string{"at", "since", "until"} {
		if flag := o.local.Lookup(name); flag.Changed && flag.Value.String() == "" { // as from an unset variable of a shell
			return r, false, cli.Usagef("--%s is empty: give a time, such as 03:12", name)
		}
	}
	if isPast = !r.since.IsZero(); !isPast {
		if o.past.cluster != "" {
			return r, false, cli.Usagef("--podinfo-cluster is for the past: give --at or --since, or choose a cluster of the kubeconfig by --context")
		}
		return r, false, nil
	}
	switch {
	case o.watch:
		return r, true, cli.Usagef("--watch is about the present: leave out --at, --since and --until")
	case o.asksSeveral():
		return r, true, cli.Usagef("the past is asked of one cluster: choose it by --context, or a record of several clusters by --podinfo-server")
	}
	return r, true, nil
}

// params returns the parameters of the HTTP API.
func (r pastRange) params(terms []query.Term) url.Values {
	params := url.Values{"limit": {historyLimit}}
	if r.isMoment {
		params.Set("at", r.since.UTC().Format(time.RFC3339Nano))
	} else {
		params.Set("since", r.since.UTC().Format(time.RFC3339Nano))
		params.Set("until", r.until.UTC().Format(time.RFC3339Nano))
	}
	if r.cluster != "" {
		params.Set("cluster", r.cluster)
	}
	for _, t := range terms {
		params.Add(string(t.Kind), t.String())
	}
	return params
}

// pastResult is the answer to a question about the past.
type pastResult struct {
	question
	term   query.Term
	answer historyAnswer // of term, or else of the last reading
	also   []string      // what other readings match
	err    error
}

func (r *pastResult) isFound() bool { return len(r.answer.Items) > 0 }

// pastAsker asks questions about one range.
type pastAsker struct {
	*options
	history *history
	of      pastRange
}

// runPast answers the questions of the command line about the past.
func (o *options) runPast(ctx context.Context, args []string, of pastRange, printer printer) error {
	questions, err := o.queries(ctx, args)
	if err != nil {
		return err
	}
	if err := o.checkContext(); err != nil {
		return err
	}
	h, err := o.newHistory(ctx)
	if err != nil {
		return err
	}
	defer h.close()
	a := &pastAsker{options: o, history: h, of: of}
	results, err := a.read(ctx, args, questions)
	if err != nil {
		return err
	}
	return a.print(results, printer)
}

// read answers what the arguments are: each a question of its own, or what they mean
// together, as for the present.
func (a *pastAsker) read(ctx context.Context, args []string, questions []question) ([]pastResult, error) {
	joined := a.joined(args)
	if joined == nil {
		return a.answerAll(ctx, questions)
	}
	probe := questions[0]
	probe.terms, _ = query.Exact(probe.terms)
	if joined[0].namespace == "" {
		probe.terms = slices.DeleteFunc(slices.Clone(probe.terms), func(t query.Term) bool { return t.Kind == query.Workload })
	}
	alone, err := a.answerAll(ctx, []question{probe})
	if err != nil || alone[0].isFound() {
		return a.orElse(ctx, err, questions)
	}
	results, err := a.answerAll(ctx, joined)
	if err != nil || !slices.ContainsFunc(results, func(r pastResult) bool { return r.isFound() }) {
		return a.orElse(ctx, err, questions)
	}
	if namespace := joined[0].namespace; namespace != "" {
		fmt.Fprintf(a.ErrOut, "note: %q was read as %q in namespace %q\n", shorten(questions[0].text)+" "+shorten(joined[0].text), shorten(joined[0].text), namespace)
	}
	return results, nil
}

func (a *pastAsker) orElse(ctx context.Context, err error, questions []question) ([]pastResult, error) {
	if err != nil {
		return nil, err
	}
	return a.answerAll(ctx, questions)
}

// answerAll answers the questions in order, several at once.
func (a *pastAsker) answerAll(ctx context.Context, questions []question) ([]pastResult, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	results := make([]pastResult, len(questions))
	slots := make(chan struct{}, questionsAtOnce)
	var running sync.WaitGroup
	for i, q := range questions {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			var err error
			if results[i], err = a.resolve(ctx, q); err != nil {
				stop(err)
			}
		})
	}
	running.Wait()
	return results, context.Cause(ctx)
}

// filters returns the terms that all answers match: the namespace, and the labels of the
// selector that have one value. The rest of the selector filters the answer.
func (a *pastAsker) filters(q question) (terms []query.Term) {
	if namespace := a.scopeOf(q).namespace; namespace != "" {
		terms = append(terms, query.Term{Kind: query.Namespace, Text: namespace})
	}
	if a.selector == nil {
		return terms
	}
	requirements, _ := a.selector.Requirements()
	for _, r := range requirements {
		isOne := r.Operator() == operators.Equals || r.Operator() == operators.DoubleEquals || r.Operator() == operators.In
		if values := r.Values().UnsortedList(); isOne && len(values) == 1 && values[0] != "" {
			terms = append(terms, query.Term{Kind: query.Label, Text: r.Key() + "=" + values[0]})
		}
	}
	return terms
}

// resolve returns the answer for the first reading of q that a Pod had.
func (a *pastAsker) resolve(ctx context.Context, q question) (pastResult, error) {
	r := pastResult{question: q, err: q.err}
	if q.err != nil {
		return r, nil //nolint:nilerr // the other lines are answered
	}
	filters := a.filters(q)
	if q.isAll {
		if !slices.ContainsFunc(filters, func(t query.Term) bool { return t.Kind == query.Label }) {
			r.err = fmt.Errorf("-l %s: the past is searched for a label with its value, such as app=cart", a.selectorText)
			return r, nil
		}
		var err error
		r.answer, err = a.ask(ctx, filters)
		return r, err
	}
	terms, _ := query.Exact(q.terms)
	terms = slices.DeleteFunc(slices.Clone(terms), query.Term.IsService) // these are not recorded
	if len(terms) == 0 {
		r.err = fmt.Errorf("%q: the past is searched for whole facts, such as an IP, a UID, a container ID or a name, not for parts, ranges and Services", shorten(q.text))
		return r, nil
	}
	for _, t := range terms {
		if r.isFound() && isCertain(r.term) && !isCertain(t) {
			break
		}
		answer, err := a.ask(ctx, append([]query.Term{t}, filters...))
		switch {
		case err != nil:
			return r, err
		case r.isFound() && len(answer.Items) == 0:
		case r.isFound():
			if t.Kind == query.Name && r.term.Kind == query.Key || samePods(answer.Items, r.answer.Items) {
				continue
			}
			r.also = append(r.also, fmt.Sprintf("%s of %s (--by %s)", noun(t), pods(countPods(answer.Items)), t.Kind))
		default:
			r.term, r.answer = t, answer
		}
	}
	return r, nil
}

// ask returns the Pods that matched terms in the range, and the selector.
func (a *pastAsker) ask(ctx context.Context, terms []query.Term) (historyAnswer, error) {
	answer, err := a.history.ask(ctx, a.of.params(terms))
	if a.selector != nil {
		answer.Items = slices.DeleteFunc(answer.Items, func(i past.Item) bool { return !a.selector.Matches(selectors.Set(i.Labels)) })
	}
	return answer, err
}

// podID identifies a Pod of the past.
type podID struct{ cluster, uid, key string }

func idOf(i *past.Item) podID { return podID{i.Cluster, i.PodUID, i.PodKey} }

func samePods(a, b []past.Item) bool {
	return slices.EqualFunc(a, b, func(x, y past.Item) bool { return idOf(&x) == idOf(&y) })
}

func countPods(items []past.Item) int {
	ids := map[podID]bool{}
	for i := range items {
		ids[idOf(&items[i])] = true
	}
	return len(ids)
}

// print prints the answers, and on standard error what they cannot show.
func (a *pastAsker) print(results []pastResult, printer printer) error {
	fmt.Fprintln(a.ErrOut, "note:", a.of.period(true))
	var rows []row
	isMissing := false
	var seen edges
	for i := range results {
		r := &results[i]
		if r.err != nil {
			fmt.Fprintln(a.ErrOut, "error:", cli.JoinLines(r.err.Error()))
			isMissing = true
			continue
		}
		seen.add(&r.answer)
		if !r.isFound() {
			a.printMissing(r)
			isMissing = true
			continue
		}
		if len(r.also) > 0 {
			fmt.Fprintf(a.ErrOut, "note: %q was read as %s of %s; it is also %s\n", shorten(r.text), noun(r.term), pods(countPods(r.answer.Items)), strings.Join(r.also, ", and "))
		}
		rows = append(rows, a.rows(r)...)
	}
	if err := printer.print(rows, shape{several: len(results) > 1, past: true}); err != nil {
		return err
	}
	for _, line := range seen.lines(a.of, time.Now()) {
		fmt.Fprintln(a.ErrOut, "note:", line)
	}
	for _, failure := range a.history.failures() {
		fmt.Fprintln(a.ErrOut, "warning: what this one alone has recorded is missing:", cli.JoinLines(failure))
	}
	if isMissing {
		return errMissing
	}
	return nil
}

// printMissing prints that nobody had the fact, and where that was looked for.
func (a *pastAsker) printMissing(r *pastResult) {
	what := fmt.Sprintf("had %q", shorten(r.text))
	if r.isAll {
		what = fmt.Sprintf("had the labels %q", a.selectorText)
	} else if a.selector != nil {
		what += fmt.Sprintf(" and the labels %q", a.selectorText)
	}
	readAs := "looked"
	if !r.isAll {
		terms, _ := query.Exact(r.terms)
		readAs = "looked for it as " + readings(terms)
	}
	in := ""
	if namespace := a.scopeOf(r.question).namespace; namespace != "" {
		in = fmt.Sprintf(" in namespace %q", namespace)
	}
	records := recordsOf(r.answer.Records, a.of)
	if records == "" {
		fmt.Fprintf(a.ErrOut, "error: whether a Pod %s is not known: nothing is recorded yet\n", what)
		return
	}
	if !slices.ContainsFunc(r.answer.Records, func(record past.RecordResult) bool { return isRecorded(&record, a.of) }) {
		fmt.Fprintf(a.ErrOut, "error: whether a Pod %s %s is not known: nothing was recorded then: %s\n", what, a.of.period(false), records)
		return
	}
	fmt.Fprintf(a.ErrOut, "error: no Pod %s %s: %s%s in %s\n", what, a.of.period(false), readAs, in, records)
}

// rows returns a row for each interval of a result.
func (a *pastAsker) rows(r *pastResult) (rows []row) {
	for i := range r.answer.Items {
		item := &r.answer.Items[i]
		spec := item.TestcrSpec
		t := desired.FromSpec(&spec)
		t.Name = item.Testcr
		held := &held{item: item, of: a.of}
		held.from, held.to = a.of.bounds(item, r.answer.Records, time.Now())
		rows = append(rows, row{cluster: item.Cluster, query: shorten(r.text), term: r.term, testcr: t, event: eventAdded, held: held})
	}
	return rows
}

// explainLast adds to what nobody has now who had it last, if that is known at once. Without
// the right to ask, or a record, nothing is added.
func (o *options) explainLast(ctx context.Context, clusters []*cluster, questions []question) {
	if o.watch || o.asksSeveral() || len(questions) > fewQueries {
		return
	}
	r := clusters[0].results
	isAsked := func(i int) bool {
		return i < len(r) && questions[i].err == nil && !isAnswered(&r[i]) && len(questions[i].terms) > 0 && lastTerm(questions[i]).IsUnique()
	}
	missing := slices.DeleteFunc(indexes(len(questions)), func(i int) bool { return !isAsked(i) })
	if len(missing) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastTimeout)
	defer cancel()
	h, err := o.newHistory(ctx)
	if err != nil {
		return
	}
	defer h.close()
	now := time.Now()
	of := pastRange{since: now.Add(-lastRange), until: now}
	a := &pastAsker{options: o, history: h, of: of}
	for _, i := range missing {
		q := questions[i]
		q.terms = []query.Term{lastTerm(q)}
		found, err := a.resolve(ctx, q)
		if err != nil {
			if _, isRefused := errors.AsType[refusal](err); !isRefused { // it does not answer at once
				return
			}
			continue
		}
		if sentence := a.lastOf(&found, now); sentence != "" {
			r[i].sentences = append(r[i].sentences, sentence)
		}
	}
}

func indexes(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// lastTerm returns the first reading of a question.
func lastTerm(q question) query.Term { return q.terms[0] }

// lastOf returns who had a fact last, as a sentence, or "".
func (a *pastAsker) lastOf(r *pastResult, now time.Time) string {
	if r.err != nil || !r.isFound() {
		return ""
	}
	last := &r.answer.Items[0]
	for i := range r.answer.Items { // in a range, those that are not certain come last
		if item := &r.answer.Items[i]; endOfItem(item).After(endOfItem(last)) {
			last = item
		}
	}
	if last.IsOpen() && last.ToLatest.IsZero() {
		return "" // its end is not recorded yet
	}
	_, to := a.of.bounds(last, r.answer.Records, now)
	until := "until " + to
	if !last.ToLatest.IsZero() {
		until = "and ended " + to
	}
	name := printable.Text(last.PodKey)
	if last.Cluster != "" {
		name += " of cluster " + printable.Text(last.Cluster)
	}
	return fmt.Sprintf("%s had it %s (%s ago): --since=%s shows each Pod that had it", name, until, printable.Age(last.To), sinceFor(now.Sub(last.To)))
}

func endOfItem(i *past.Item) time.Time {
	if i.ToLatest.IsZero() || i.ToLatest.Year() >= endOfTime {
		return i.To
	}
	return i.ToLatest
}

// sinceFor returns a round range that contains what ended so long ago.
func sinceFor(ago time.Duration) string {
	switch {
	case ago < 50*time.Minute:
		return "1h"
	case ago < 23*time.Hour:
		return "24h"
	default:
		return "7d"
	}
}
