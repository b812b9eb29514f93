package plugin

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/addresses"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// question is one QUERY and its readings, the most likely first.
type question struct {
	text      string
	list      string // the list that text is an item of, if any
	namespace string // of NAMESPACE NAME
	isAll     bool   // all Pods that --selector selects are meant
	terms     []query.Term
	err       error // why a line of standard input cannot be read
}

// queries reads the command line, and standard input for "-". An invalid line there is
// returned as a question with an error, so that the other lines are answered.
func (o *options) queries(ctx context.Context, args []string) ([]question, error) {
	if len(args) == 0 && o.selector != nil {
		return []question{everything("-l " + o.selectorText)}, nil
	}
	if len(args) == 0 {
		return o.pipedQueries(ctx)
	}
	var questions []question
	stdin := false
	for _, arg := range args {
		if arg == "-" {
			if stdin {
				return nil, cli.Usagef("standard input can be read only once: - is there twice")
			}
			stdin = true
			continue
		}
		for _, q := range o.questions(arg) {
			if q.err != nil {
				return nil, cli.UsageError{Err: q.err}
			}
			questions = append(questions, q)
		}
	}
	if !stdin {
		return questions, nil
	}
	text, err := readAll(ctx, o.In)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return append(questions, o.linesOf(text)...), nil
}

// linesOf returns the questions of standard input, one a line.
func (o *options) linesOf(text string) (questions []question) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		for _, q := range o.questions(line) {
			if q.err != nil {
				q.err = fmt.Errorf("line %d: %w", n, q.err)
			}
			questions = append(questions, q)
		}
	}
	return questions
}

// readAll reads in until its end or until ctx ends. It then abandons the read, which
// cannot be interrupted.
func readAll(ctx context.Context, in io.Reader) (string, error) {
	var (
		text []byte
		err  error
		done = make(chan struct{})
	)
	go func() {
		defer close(done)
		text, err = io.ReadAll(in)
	}()
	select {
	case <-done:
		return string(text), err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// questions returns a question for each item of a list, or one for text.
func (o *options) questions(text string) []question {
	items := query.Split(text)
	if items == nil {
		return []question{o.question(text)}
	}
	questions := make([]question, len(items))
	for i, item := range items {
		questions[i] = o.question(item)
		questions[i].list = text
	}
	return questions
}

func (o *options) question(text string) question {
	q := question{text: text}
	if o.by == "" {
		q.terms, q.err = query.Parse(text)
		return q
	}
	q.terms, q.err = query.ParseBy(query.Kind(o.by), text)
	if q.err == nil && q.terms[0].IsExact() {
		q.err = checkName(q.terms[0])
	}
	return q
}

// checkName returns an error if no Pod can have the name in t.
func checkName(t query.Term) error {
	var problems []string
	switch t.Kind {
	case query.Name, query.Node:
		problems = validation.IsDNS1123Subdomain(t.Text)
	case query.Namespace:
		problems = validation.IsDNS1123Label(t.Text)
	case query.Key:
		namespace, name, _ := strings.Cut(t.Text, "/")
		problems = append(validation.IsDNS1123Label(namespace), validation.IsDNS1123Subdomain(name)...)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%q: %s", t.Text, problems[0])
	}
	return nil
}

// result contains the reading of a question that matched, and the Testcrs that match
// it. It has neither if no reading matches.
type result struct {
	question
	term    query.Term // none if the Pods are those of a Service or a node
	testcrs []*v1.Testcr
	via     []string              // the Service or node of each of testcrs, if they are found by one
	behind  []query.Term          // the Pods of these
	targets map[query.Term]string // the Service or node of each of behind

	isAddress bool     // of a Service or a node, which may have no Pods
	sentences []string // about the IPs in the question, if no Pod has them
	also      []string // what other readings match
	similar   []string // Pods with similar names, if no reading matches
}

// row is one Pod of a result.
type row struct {
	cluster string // if several are asked
	context string // of the cluster, if several are asked
	query   string
	term    query.Term
	testcr  *v1.Testcr
	via     string // the Service or node that the Pod is found by
	event   string // the type of its last event: for --output-watch-events
	held    *held  // when it had the fact, in an answer about the past
}

// printResults prints the answers of the clusters: those of the first question first, and
// of each question those of the first cluster.
func (o *options) printResults(ctx context.Context, clusters []*cluster, printer sorted, questions []question) error {
	var rows []row
	missing := false
	for i, q := range questions {
		missing = !o.printNotes(clusters, i, q) || missing
		for _, c := range answered(clusters) {
			rows = append(rows, c.rows(i)...)
		}
	}
	// The question decides whether an object or a list is printed, as with kubectl get.
	// Several clusters may have an answer to each question.
	single := !o.asksSeveral() && len(questions) == 1 && len(rows) <= 1 && (len(rows) == 0 || rows[0].term.IsUnique())
	if err := printer.print(rows, shape{several: len(questions) > 1, single: single, watch: o.watch}); err != nil {
		return err
	}
	if o.watch {
		return o.follow(ctx, answered(clusters), printer.printer)
	}
	if missing {
		return errMissing
	}
	return nil
}

// printNotes prints how the question i was read, or that nothing was found. As in one
// cluster, parts of names and IDs count only if nothing else matches.
func (o *options) printNotes(clusters []*cluster, i int, q question) (isFound bool) {
	if q.err != nil {
		fmt.Fprintln(o.ErrOut, "error:", q.err)
		return false
	}
	isExact := false
	for _, c := range answered(clusters) {
		r := &c.results[i]
		isFound = isFound || len(r.testcrs) > 0
		isExact = isExact || len(r.testcrs) > 0 && r.term.IsExact()
	}
	if !isFound {
		o.printMissing(clusters, i, q)
		return false
	}
	var kinds, read []string
	for _, c := range answered(clusters) {
		r := &c.results[i]
		if isExact && !r.term.IsExact() {
			r.testcrs = nil
		}
		if len(r.sentences) > 0 && (len(r.testcrs) > 0 || r.isAddress) {
			fmt.Fprintf(c.ErrOut, "note: %s\n", strings.Join(r.sentences, "; "))
		}
		if len(r.testcrs) == 0 {
			continue
		}
		kind := noun(r.term)
		if len(r.via) > 0 {
			kind = "that of " + r.via[0]
		} else {
			c.printNote(*r, r.also)
		}
		kinds = append(kinds, kind)
		read = append(read, kind+" in cluster "+printable.Text(c.name))
	}
	if slices.Sort(kinds); len(slices.Compact(kinds)) > 1 {
		fmt.Fprintf(o.ErrOut, "note: %q was read as %s\n", shorten(q.text), strings.Join(read, ", as "))
	}
	return true
}

// printMissing prints that no cluster has a Pod for the question i, what was looked for,
// and what is known otherwise.
func (o *options) printMissing(clusters []*cluster, i int, q question) {
	searched, in, of := answered(clusters), "", ""
	var similar, sentences []string
	for _, c := range searched {
		if o.asksSeveral() {
			in = " in cluster " + printable.Text(c.name)
			of = "cluster " + printable.Text(c.name) + ": "
		}
		for _, key := range c.results[i].similar {
			similar = append(similar, printable.Text(key)+in)
		}
		if c.noNamespace != "" {
			sentences = append(sentences, of+c.noNamespace)
		}
		for _, sentence := range c.results[i].sentences {
			sentences = append(sentences, of+sentence)
		}
	}
	parts := []string{fmt.Sprintf("no Pod matches %q: looked for it as %s in %s", shorten(q.text), readings(q.terms), o.whereabouts(searched, q))}
	switch {
	case q.isAll:
		parts[0] = fmt.Sprintf("no Pod has the labels %q: looked in %s", o.selectorText, o.whereabouts(searched, q))
	case o.selector != nil:
		parts[0] += fmt.Sprintf(" among the Pods with the labels %q", o.selectorText)
	}
	if len(similar) > 0 {
		parts = append(parts, "did you mean "+few(similar)+"?")
	} else if near := nearest(q.text, commandNames); near != "" {
		parts = append(parts, fmt.Sprintf("did you mean kubectl podinfo %s?", near))
	}
	parts = append(parts, sentences...)
	if len(searched) < len(clusters) {
		failed := slices.DeleteFunc(slices.Clone(clusters), func(c *cluster) bool { return c.err == nil })
		parts = append(parts, "not searched: "+namesOf(failed))
	}
	fmt.Fprintln(o.ErrOut, "error:", strings.Join(parts, "; "))
}

// resolve returns the result of q for the first of its readings that matches a Pod.
func (o *options) resolve(ctx context.Context, answers answerer, book *addressBook, q question) (result, error) {
	r := result{question: q}
	if q.err != nil {
		return r, nil //nolint:nilerr // the other lines are answered
	}
	found, err := answersIn(ctx, answers, q)
	if err != nil {
		return r, err
	}
	taken := slices.IndexFunc(found, answer.isFound)
	if taken < 0 && q.namespace != "" {
		return r, nil // the arguments are then queries of their own, with all that is known of them
	}
	if q.namespace == "" && (taken < 0 || isClaimed(q.terms[taken], found[taken].testcrs)) {
		if r.sentences, err = o.resolveTargets(ctx, answers, book, &r); err != nil {
			return r, err
		}
		if taken < 0 || len(r.testcrs) > 0 {
			return r, nil
		}
		r.behind, r.targets = nil, nil
		if !r.isAddress && book.gaps == (addresses.Gaps{}) {
			r.sentences = nil // the Pods that claim the IP are the answer
		}
	}
	r.term, r.testcrs = q.terms[taken], found[taken].testcrs
	for i := taken + 1; i < len(found); i++ {
		if !found[i].isSkipped && (!found[i].isFound() || slices.EqualFunc(found[i].testcrs, r.testcrs, samePod)) {
			continue
		}
		t := q.terms[i]
		if t.Kind == query.Name && r.term.Kind == query.Key && strings.HasSuffix(r.term.Text, "/"+t.Text) {
			continue // the same fact without its namespace
		}
		if found[i].isSkipped {
			if r.term.Kind != query.Key {
				r.also = append(r.also, fmt.Sprintf("perhaps %s of others, which takes --by %s", noun(t), t.Kind))
			}
			continue
		}
		by := fmt.Sprintf(" (--by %s)", t.Kind)
		if t.Kind == r.term.Kind {
			by = fmt.Sprintf(": %s", t) // another fact in the text
		}
		r.also = append(r.also, noun(t)+" of "+pods(len(found[i].testcrs))+by)
	}
	return r, nil
}

// isClaimed reports whether Pods have the fact t by annotations alone: others may have
// it in truth.
func isClaimed(t query.Term, testcrs []*v1.Testcr) bool {
	return !slices.ContainsFunc(testcrs, func(pod *v1.Testcr) bool { return !t.IsAlias(&pod.Spec) })
}

// viaOf returns the Service or node by which a Pod is found, or "".
func (r *result) viaOf(i int) string {
	if i < len(r.via) {
		return r.via[i]
	}
	return ""
}

func (a answer) isFound() bool { return len(a.testcrs) > 0 }

// shorten cuts a pasted text for a message.
func shorten(text string) string {
	const longest = 80
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "..."
}

// findReadings returns the Testcrs that match each of terms, up to those that are
// certain. Terms that are not exact are tried only if no exact one matches.
func findReadings(ctx context.Context, f finder, terms []query.Term) ([]answer, error) {
	exact, others := query.Exact(terms)
	found, err := findExact(ctx, f, exact)
	if err != nil || len(others) == 0 || slices.ContainsFunc(found, answer.isFound) {
		return found, err
	}
	rest, err := f.find(ctx, others, false)
	return append(found, rest...), err
}

// findExact returns the Testcrs that match each of terms. Each term costs the API server
// a scan of all Testcrs, so a text in the form of an IP, a UID or a container ID is
// looked up as that first, and then only other such facts in it. An IP of a Pod is that
// of a node only on the host network.
func findExact(ctx context.Context, f finder, terms []query.Term) ([]answer, error) {
	if len(terms) == 0 || !isCertain(terms[0]) {
		return f.find(ctx, terms, false)
	}
	found, err := f.find(ctx, terms[:1], false)
	if err != nil {
		return nil, err
	}
	if !found[0].isFound() || slices.ContainsFunc(found[0].testcrs, onHostNetwork) {
		rest, err := f.find(ctx, terms[1:], found[0].isFound())
		return append(found, rest...), err
	}
	found = append(found, make([]answer, len(terms)-1)...)
	var others []query.Term
	var at []int // where they are in terms
	for i, t := range terms {
		isSame := slices.ContainsFunc(found[0].testcrs, func(pod *v1.Testcr) bool { return t.Matches(&pod.Spec) })
		if isCertain(t) && !isSame {
			others, at = append(others, t), append(at, i)
		}
	}
	if len(others) == 0 {
		return found, nil
	}
	answers, err := f.find(ctx, others, true)
	for i := range answers {
		found[at[i]] = answers[i]
	}
	return found, err
}

func isCertain(t query.Term) bool {
	return t.Kind == query.IP || t.Kind == query.UID || t.Kind == query.Container
}

func onHostNetwork(t *v1.Testcr) bool { return t.Spec.HostNetwork }

// printNote prints how the question was read and how many Pods match, unless it has one
// reading and one Pod.
func (o *options) printNote(r result, also []string) {
	several := len(r.testcrs) > 1 && r.term.IsUnique()
	node := r.node()
	if r.isAll {
		return
	}
	if len(also) == 0 && !several && r.term.IsExact() && node == "" {
		return
	}
	what := noun(r.term) + " of " + pods(len(r.testcrs))
	if node != "" {
		what = fmt.Sprintf("an IP of node %s -> %s", printable.Text(node), pods(len(r.testcrs)))
	}
	verb, hint, rest := "is", "", ""
	if several {
		hint = hintFor(r)
	}
	if len(also) > 0 {
		rest = "; it is also " + strings.Join(also, ", and ")
	}
	if len(also) > 0 || !r.term.IsExact() {
		verb = "was read as"
	}
	fmt.Fprintf(o.ErrOut, "note: %q %s %s%s%s\n", shorten(r.text), verb, what, hint, rest)
}

// node returns the node whose IP the question is, or "".
func (r *result) node() string {
	if r.term.Kind != query.HostIP || !r.term.IsExact() {
		return ""
	}
	node := r.testcrs[0].Spec.NodeName
	if slices.ContainsFunc(r.testcrs, func(t *v1.Testcr) bool { return t.Spec.NodeName != node }) {
		return "" // it was given to another node
	}
	return node
}

func samePod(a, b *v1.Testcr) bool { return a.Name == b.Name }

// whereabouts returns where was searched, for the end of a sentence.
func (o *options) whereabouts(clusters []*cluster, q question) string {
	text := "all namespaces"
	switch in := o.scopeOf(q).namespace; {
	case in != "":
		text = fmt.Sprintf("namespace %q", in)
	case len(clusters) == 1:
		text = clusters[0].source.book().pods.searched()
	}
	switch of := namesOf(clusters); {
	case of == "":
		return text
	case len(clusters) == 1:
		return text + " of cluster " + of
	default:
		return text + " of clusters " + of
	}
}

// nouns are the kinds in a sentence.
var nouns = map[query.Kind]string{
	query.IP: "an IP", query.UID: "the UID", query.Container: "a container ID", query.Key: "the namespace and name",
	query.Name: "the name", query.Node: "the node", query.HostIP: "the node's IP", query.Workload: "the workload",
	query.Image: "the image", query.Label: "the label", query.Namespace: "the namespace",
}

// noun returns the kind of t in a sentence.
func noun(t query.Term) string {
	switch {
	case t.Prefix.IsValid():
		return "a range with an IP"
	case t.Partial && (t.Kind == query.UID || t.Kind == query.Container):
		return "the beginning of " + nouns[t.Kind]
	case t.Partial:
		return "a part of " + nouns[t.Kind]
	}
	return nouns[t.Kind]
}

// readings returns the kinds of terms, each once.
func readings(terms []query.Term) string {
	var names []string
	for _, t := range terms {
		if !slices.Contains(names, string(t.Kind)) {
			names = append(names, string(t.Kind))
		}
	}
	return strings.Join(names, ", ")
}

func pods(n int) string {
	if n == 1 {
		return "1 Pod"
	}
	return fmt.Sprintf("%d Pods", n)
}

// hintFor returns how to choose one of several Pods.
func hintFor(r result) string {
	switch {
	case r.term.Kind == query.Name:
		return " in different namespaces: -n NAMESPACE chooses"
	case r.term.Kind == query.Container && len(r.term.Text) < 64:
		return ": more digits tell them apart"
	default:
		return ", live ones first: see NOTE"
	}
}
