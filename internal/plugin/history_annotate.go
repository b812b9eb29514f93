package plugin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/when"
)

const (
	// maxCached bounds the labels of the past in memory, in bytes. Beyond it all are asked
	// for again.
	maxCached = 256 << 20
	// maxMissing bounds the facts that are asked for before their lines are written.
	maxMissing = 256
	// askedSpan is the range that is asked for at once for an IP, and narrowedSpan the
	// shortest one, for an IP with more holders than an answer has.
	askedSpan    = 24 * time.Hour
	narrowing    = 8
	narrowedSpan = time.Minute
	// askPause is how long the answer about an IP is used for times after it.
	askPause = 5 * time.Second
	// maxAhead is how far the clock of a log may be ahead.
	maxAhead = time.Minute
	// askRounds bounds how often lines are scanned. Each time another range of an IP is asked
	// for.
	askRounds = 100
)

func (o *options) addHistoryFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&o.byHistory, "history", false, "Label each line by its own timestamp, from the record of the past.")
	fs.StringVar(&o.timezone, "timezone", "", "With --history: the zone of timestamps without one, such as UTC or Europe/Berlin. Default: that of this machine.")
	o.past.addServerFlags(fs)
	_ = cmd.RegisterFlagCompletionFunc("timezone", cobra.FixedCompletions([]string{"UTC"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("podinfo-namespace", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return o.namespaces(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	})
}

func (o *options) checkHistoryFlags(fs *pflag.FlagSet) error {
	if o.byHistory {
		if o.services || o.nodes {
			return cli.Usagef("--services and --nodes are about the present: leave out --history, or these")
		}
		return nil
	}
	for _, name := range []string{"timezone", "podinfo-cluster", "podinfo-server", "podinfo-token-file", "podinfo-namespace", "podinfo-port"} {
		if fs.Changed(name) {
			return cli.Usagef("--%s is for --history", name)
		}
	}
	return nil
}

// pastFact is a fact that is asked for.
type pastFact struct {
	term query.Term
	key  key    // of an IP or a UID
	id   string // of a container
	at   int64  // when it is needed, in Unix milliseconds
}

// missingFact identifies what is asked for.
type missingFact struct {
	kind query.Kind
	key  key
	id   string
	span int64
}

// step is a label from a time on, in Unix milliseconds.
type step struct {
	from  int64
	label label
}

// segment contains the labels of an IP in a range, in Unix milliseconds.
type segment struct {
	from, to int64 // both included
	asked    time.Time
	isLast   bool // it ends with the present
	isCut    bool // it has more holders than an answer has
	steps    []step
}

// at returns the label at t.
func (s *segment) at(t int64) label {
	low, high := 0, len(s.steps) // the step is before high
	for low < high {
		if middle := (low + high) / 2; s.steps[middle].from <= t {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return ""
	}
	return s.steps[low-1].label
}

// pastLabels contains the labels of the past. A UID and a container ID are those of one Pod
// for ever, so their labels are the same at any time.
type pastLabels struct {
	now    time.Time
	time   int64 // of the line, in Unix milliseconds
	isSet  bool  // there is one
	begins int64 // of the record, 0 if it is not known

	ips        map[key][]segment
	uids       map[key]label
	containers map[string]label
	size       int // in bytes, about

	missing   []pastFact
	isMissing map[missingFact]bool
}

func newPastLabels() *pastLabels {
	p := &pastLabels{}
	p.reset()
	return p
}

func (p *pastLabels) reset() {
	p.ips, p.uids, p.containers, p.size = map[key][]segment{}, map[key]label{}, map[string]label{}, 0
	p.isMissing = map[missingFact]bool{}
}

// ip returns the label of an IP at the time of the line. It notes that the IP has to be
// asked for.
func (p *pastLabels) ip(k key) label {
	if !p.isSet || p.time < p.begins || p.time > p.now.Add(maxAhead).UnixMilli() {
		return ""
	}
	segments := p.ips[k]
	for i := range segments {
		if s := &segments[i]; s.from <= p.time && p.time <= s.to {
			return s.at(p.time)
		}
	}
	for i := range segments { // a log that is being written
		if s := &segments[i]; s.isLast && s.from <= p.time && p.now.Sub(s.asked) < askPause {
			return s.at(p.time)
		}
	}
	addr := netip.AddrFrom16(k).Unmap()
	if addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() || addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return "" // no Pod has it
	}
	p.miss(pastFact{term: query.Term{Kind: query.IP, Text: addr.String(), Addr: addr}, key: k})
	return ""
}

func (p *pastLabels) uid(k key) label {
	found, ok := p.uids[k]
	if !ok && p.isSet {
		uid := fmt.Sprintf("%x-%x-%x-%x-%x", k[:4], k[4:6], k[6:8], k[8:10], k[10:])
		p.miss(pastFact{term: query.Term{Kind: query.UID, Text: uid}, key: k})
	}
	return found
}

func (p *pastLabels) container(b []byte) label {
	if n := len(b); n != shortID && n != shortID+1 && n != longID {
		return "" // IDs of traces have 16 or 32 digits: each would be asked for
	}
	found, ok := p.containers[string(b)] // without an allocation
	if !ok && p.isSet {
		id := strings.ToLower(string(b))
		if found, ok = p.containers[id]; !ok {
			p.miss(pastFact{term: query.Term{Kind: query.Container, Text: id}, id: id})
		}
	}
	return found
}

func (p *pastLabels) miss(f pastFact) {
	f.at = p.time
	m := missingFact{kind: f.term.Kind, key: f.key, id: f.id}
	if f.term.Kind == query.IP {
		m.span = p.time / askedSpan.Milliseconds()
	}
	if !p.isMissing[m] {
		p.isMissing[m] = true
		p.missing = append(p.missing, f)
	}
}

// pastNames annotates by the record of the past.
type pastNames struct {
	*options
	asker  *pastAsker
	reader when.Reader
	labels labels
	past   *pastLabels

	maxCached int // in bytes

	first, last time.Time // of the log
	untimed     int       // lines before the first timestamp
	isAnswered  bool      // once
	unanswered  int       // facts
	warned      string
	seen        edges
	lastLabel   label // that was made
}

// annotatePast annotates files, or standard input, by the record of the past.
func (o *options) annotatePast(ctx context.Context, files []string) error {
	zone := time.Local
	if o.timezone != "" {
		var err error
		if zone, err = time.LoadLocation(o.timezone); err != nil {
			return cli.Usagef("--timezone=%q: it is no time zone: give UTC or a name such as Europe/Berlin", o.timezone)
		}
	}
	h, err := o.newHistory(ctx)
	if err != nil {
		return err
	}
	defer h.close()
	n := &pastNames{options: o, past: newPastLabels(), maxCached: maxCached, reader: when.Reader{Location: zone}}
	n.labels = labels{past: n.past, facts: []fact{}}
	n.asker = &pastAsker{options: o, history: h, of: pastRange{cluster: o.past.cluster}}
	// A read of standard input cannot be interrupted, so its goroutine is abandoned.
	copied := make(chan error, 1)
	go func() {
		copied <- o.annotateAll(func(out io.Writer, in io.Reader) error { return n.copy(ctx, out, in) }, files)
	}()
	select {
	case err = <-copied:
	case <-ctx.Done():
		return nil
	}
	n.summarize(zone)
	if err == nil && n.unanswered > 0 {
		return errMissing
	}
	return err
}

// copy copies in to out and annotates it. A file does not have the timestamp of the one
// before.
func (n *pastNames) copy(ctx context.Context, out io.Writer, in io.Reader) error {
	n.past.isSet = false
	return copyBlocks(out, in, func(dst, src []byte, isLast bool) ([]byte, error) { return n.block(ctx, dst, src, isLast) })
}

// block appends src[1:] with its labels to dst. It asks for the facts that are not known,
// and then scans their lines again.
func (n *pastNames) block(ctx context.Context, dst, src []byte, isLast bool) ([]byte, error) {
	n.past.now = time.Now()
	n.reader.Now = n.past.now
	for from := 1; from < len(src); {
		mark, before := len(dst), *n.past
		untimed, first, last := n.untimed, n.first, n.last
		end := len(src)
		for round := 1; ; round++ {
			dst, end = n.lines(dst[:mark], src[:end], from, isLast && end == len(src))
			missing := n.past.missing
			n.past.missing, n.past.isMissing = nil, map[missingFact]bool{}
			if len(missing) == 0 || round == askRounds {
				break
			}
			if n.past.size > n.maxCached && round == 1 {
				n.past.reset()
			}
			if err := n.fetch(ctx, missing); err != nil {
				return dst, err
			}
			n.past.time, n.past.isSet = before.time, before.isSet
			n.untimed, n.first, n.last = untimed, first, last
		}
		from = end
	}
	return dst, nil
}

// lines appends lines of src with their labels to dst, until there are too many facts that
// are not known. It returns where they end.
func (n *pastNames) lines(dst, src []byte, from int, isLast bool) (_ []byte, end int) {
	for from < len(src) && len(n.past.missing) < maxMissing {
		end := from + bytes.IndexByte(src[from:], '\n') + 1
		isWhole := end > from
		if !isWhole {
			end, isWhole = len(src), isLast
		}
		isBegin := src[from-1] == '\n'
		if isBegin { // not the rest of a long line
			n.setTime(src[from:end])
		}
		if n.json && isWhole && isBegin && looksLikeObject(src[from:end]) {
			dst = annotateObject(dst, src[:end], from, &n.labels)
		} else {
			dst = annotate(dst, src[:end], from, &n.labels)
		}
		from = end
	}
	return dst, from
}

func (n *pastNames) setTime(line []byte) {
	t, ok := n.reader.Time(line)
	switch {
	case ok:
		n.past.time, n.past.isSet = t.UnixMilli(), true
		if n.first.IsZero() || t.Before(n.first) {
			n.first = t
		}
		if t.After(n.last) {
			n.last = t
		}
	case !n.past.isSet && len(bytes.TrimSpace(line)) > 0:
		n.untimed++
	}
}

// fetch asks for the labels of facts, several at once. Facts without an answer get none.
func (n *pastNames) fetch(ctx context.Context, facts []pastFact) error {
	type fetched struct {
		answer historyAnswer
		of     segment
		err    error
	}
	answers := make([]fetched, len(facts))
	slots := make(chan struct{}, questionsAtOnce)
	var running sync.WaitGroup
	for i, f := range facts {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			answers[i].answer, answers[i].of, answers[i].err = n.get(ctx, f)
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i := range answers {
		a := &answers[i]
		if a.err != nil {
			if !n.isAnswered {
				return a.err
			}
			n.unanswered++
			if text := cli.JoinLines(a.err.Error()); text != n.warned {
				fmt.Fprintln(n.ErrOut, "warning: facts have no labels:", text)
				n.warned = text
			}
			a.answer = historyAnswer{}
		}
		n.isAnswered = n.isAnswered || a.err == nil
		n.note(&a.answer)
		n.add(&facts[i], &a.answer, a.of)
	}
	return nil
}

// get returns the holders of a fact: of an IP around a time, of another fact at any time.
func (n *pastNames) get(ctx context.Context, f pastFact) (historyAnswer, segment, error) {
	terms := append([]query.Term{f.term}, n.asker.filters(question{})...)
	now := time.Now()
	of := pastRange{cluster: n.asker.of.cluster, since: time.UnixMilli(0), until: now}
	if f.term.Kind != query.IP {
		answer, err := n.asker.history.ask(ctx, of.params(terms))
		return answer, segment{}, err
	}
	at := time.UnixMilli(f.at)
	for span := askedSpan; ; span /= narrowing {
		of.since = at.Truncate(span)
		of.until = of.since.Add(span - time.Millisecond)
		isLast := of.until.After(now)
		if isLast {
			of.until = now
		}
		if of.since.After(now) {
			of.since = now
		}
		answer, err := n.asker.history.ask(ctx, of.params(terms))
		if err != nil || !answer.More || span/narrowing < narrowedSpan {
			s := segment{from: of.since.UnixMilli(), to: of.until.UnixMilli(), asked: now, isLast: isLast, isCut: answer.More}
			return answer, s, err
		}
	}
}

// note notes what the answer shows of the records.
func (n *pastNames) note(a *historyAnswer) {
	n.seen.restricted, n.seen.unchecked = n.seen.restricted || a.Restricted, n.seen.unchecked || a.Unchecked
	begins := int64(math.MaxInt64)
	for _, record := range a.Records {
		if record.Ends.Unix() > 0 {
			begins = min(begins, record.Begins.UnixMilli())
		}
		i := slices.IndexFunc(n.seen.records, func(known past.RecordResult) bool { return known.Cluster == record.Cluster })
		if i < 0 {
			n.seen.records = append(n.seen.records, record)
			continue
		}
		known := &n.seen.records[i]
		known.Begins, known.Ends = record.Begins, record.Ends
		for _, g := range record.Gaps {
			if len(known.Gaps) <= maxEdges && !slices.ContainsFunc(known.Gaps, func(other past.GapResult) bool { return other.From.Equal(g.From) }) {
				known.Gaps = append(known.Gaps, g)
			}
		}
	}
	if begins != math.MaxInt64 {
		n.past.begins = begins
	}
}

// overhead is about what the entry of a fact takes in memory, and stepSize a step, in bytes.
const overhead, stepSize = 150, 24

// add adds the labels of a fact. An item has the fact from its first to its last time.
func (n *pastNames) add(f *pastFact, a *historyAnswer, of segment) {
	p := n.past
	p.size += overhead
	switch f.term.Kind {
	case query.UID:
		p.uids[f.key] = n.labelOf(a.Items, f, false)
		p.size += len(p.uids[f.key])
	case query.Container:
		p.containers[f.id] = n.labelOf(a.Items, f, false)
		p.size += len(f.id) + len(p.containers[f.id])
	default:
		of.steps = n.steps(f, a, of.isCut)
		for i := range of.steps {
			p.size += stepSize + len(of.steps[i].label)
		}
		segments := slices.DeleteFunc(p.ips[f.key], func(s segment) bool { return of.from <= s.from && s.to <= of.to })
		p.ips[f.key] = append(segments, of)
	}
}

// steps returns the label of an IP from each time on at which it changes.
func (n *pastNames) steps(f *pastFact, a *historyAnswer, isCut bool) (steps []step) {
	intervals := make([]past.Interval, len(a.Items))
	var times []int64
	for i := range a.Items {
		interval := a.Items[i].Interval()
		if past.IsOpen(interval.To) { // it had the IP at the end of the record
			for _, record := range a.Records {
				if record.Cluster == a.Items[i].Cluster {
					interval.To = max(interval.From, record.Ends.UnixMilli()+1)
				}
			}
		}
		intervals[i] = interval
		times = append(times, interval.Earliest, interval.From, interval.To, interval.Latest)
	}
	slices.Sort(times)
	for _, t := range slices.Compact(times) {
		var certain, possible []past.Item
		for i := range intervals {
			switch in := &intervals[i]; {
			case in.Covers(t):
				certain = append(certain, a.Items[i])
			case in.Earliest <= t && t < in.Latest:
				possible = append(possible, a.Items[i])
			}
		}
		label := n.labelOf(certain, f, isCut)
		if len(certain) == 0 {
			label = n.labelOf(possible, f, true)
		}
		if len(steps) == 0 || steps[len(steps)-1].label != label {
			steps = append(steps, step{t, label})
		}
	}
	return steps
}

// labelOf returns the label of a fact that items have, or "".
func (n *pastNames) labelOf(items []past.Item, f *pastFact, isUncertain bool) label {
	own := slices.DeleteFunc(slices.Clone(items), func(i past.Item) bool { return f.term.IsAlias(&i.TestcrSpec) })
	if len(own) > 0 { // annotations count only if the status of no Pod has the fact
		items = own
	}
	pods := map[podID]bool{}
	h := holder{Uncertain: isUncertain}
	ids := map[string]bool{}
	for i := range items {
		item := &items[i]
		if len(pods) == 0 {
			h.Pod = clean(item.PodKey, longestPod)
			if f.term.Kind == query.IP && item.HostNetwork {
				h.Node = clean(item.NodeName, longestName)
			}
		}
		pods[idOf(item)] = true
		for c := range item.Containers {
			for _, id := range []string{bareID(item.Containers[c].ID), bareID(item.Containers[c].PreviousID)} {
				if f.id != "" && strings.HasPrefix(id, f.id) {
					ids[id], h.Container = true, clean(item.Containers[c].Name, longestContainer)
				}
			}
		}
	}
	if len(pods) == 0 || len(ids) > 1 { // as for the present, digits have to be those of one ID
		return ""
	}
	h.Others = len(pods) - 1
	l := label(h.text())
	if n.json {
		l += label(h.json())
	}
	if l != n.lastLabel { // labels of a Pod share their memory
		n.lastLabel = l
	}
	return n.lastLabel
}

// summarize prints what the labels cannot show.
func (n *pastNames) summarize(zone *time.Location) {
	if n.untimed > 0 {
		fmt.Fprintf(n.ErrOut, "note: %d lines before the first timestamp have no labels\n", n.untimed)
	}
	if !n.first.IsZero() {
		of := pastRange{since: n.first.In(zone), until: n.last.In(zone)}
		fmt.Fprintln(n.ErrOut, "note: a log", of.period(true))
		slices.SortFunc(n.seen.records, func(a, b past.RecordResult) int { return strings.Compare(a.Cluster, b.Cluster) })
		for _, line := range n.seen.lines(of, time.Now()) {
			fmt.Fprintln(n.ErrOut, "note:", line)
		}
	}
	for _, failure := range n.asker.history.failures() {
		fmt.Fprintln(n.ErrOut, "warning: what this one alone has recorded is missing:", cli.JoinLines(failure))
	}
	if n.unanswered > 0 {
		fmt.Fprintf(n.ErrOut, "warning: %d facts have no labels, because there was no answer about them\n", n.unanswered)
	}
}
