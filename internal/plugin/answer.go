package plugin

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// question is one QUERY and its readings, the most likely first.
type question struct {
	text  string
	terms []query.Term
	err   error // why a line of standard input cannot be read
}

// queries reads the command line, and standard input for "-". An invalid line there is
// returned as a question with an error, so that the other lines are answered.
func (o *options) queries(ctx context.Context, args []string) ([]question, error) {
	if len(args) == 0 {
		return nil, cli.Usagef("nothing to look for: give an IP, a UID, a container ID or a name, or - for standard input")
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
		q := o.question(arg)
		if q.err != nil {
			return nil, cli.UsageError{Err: q.err}
		}
		questions = append(questions, q)
	}
	if !stdin {
		return questions, nil
	}
	text, err := readAll(ctx, o.In)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		q := o.question(line)
		if q.err != nil {
			q.err = fmt.Errorf("line %d: %w", n, q.err)
		}
		questions = append(questions, q)
	}
	return questions, nil
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

func (o *options) question(text string) question {
	q := question{text: text}
	if o.by == "" {
		q.terms, q.err = query.Parse(text)
		return q
	}
	term, err := query.ParseAs(query.Kind(o.by), text)
	if err == nil {
		err = checkName(term)
	}
	q.terms, q.err = []query.Term{term}, err
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
	term    query.Term
	testcrs []*v1.Testcr
}

// row is one Pod of a result.
type row struct {
	query  string
	term   query.Term
	testcr *v1.Testcr
	event  string // the type of its last event: for --output-watch-events
}

func (o *options) printResults(ctx context.Context, src source, printer printer, questions []question) error {
	answers, err := src.answerer(ctx, len(questions) > fewQueries)
	if err != nil {
		return err
	}
	results := make([]result, len(questions))
	var rows []row
	missing := false
	for i, q := range questions {
		r, err := o.resolve(ctx, answers, q)
		if err != nil {
			return err
		}
		for _, t := range r.testcrs {
			rows = append(rows, row{query: q.text, term: r.term, testcr: t, event: eventAdded})
		}
		results[i] = r
		missing = missing || len(r.testcrs) == 0
	}
	// The question decides whether an object or a list is printed, as with kubectl get.
	single := len(results) == 1 && len(rows) <= 1 && (len(rows) == 0 || results[0].term.Kind.IsUnique())
	if err := printer.print(rows, shape{several: len(results) > 1, single: single, watch: o.watch}); err != nil {
		return err
	}
	if o.watch {
		return o.follow(ctx, src.followed(), printer, results)
	}
	if missing {
		return errMissing
	}
	return nil
}

// resolve returns the result of q for the first of its readings that matches a Pod. It
// prints notes about the result to standard error.
func (o *options) resolve(ctx context.Context, answers answerer, q question) (result, error) {
	r := result{question: q}
	if q.err != nil {
		fmt.Fprintln(o.ErrOut, "error:", q.err)
		return r, nil //nolint:nilerr // it is printed, and the other lines are answered
	}
	found, err := answers.answer(ctx, q)
	if err != nil {
		return r, err
	}
	taken := slices.IndexFunc(found, answer.isFound)
	if taken < 0 {
		fmt.Fprintf(o.ErrOut, "Error from server (NotFound): pods %q not found%s: looked for it as %s\n",
			q.text, o.whereabouts(), readings(q.terms))
		return r, nil
	}
	r.term, r.testcrs = q.terms[taken], found[taken].testcrs
	var also []string
	for i := taken + 1; i < len(found); i++ {
		kind := q.terms[i].Kind
		switch {
		case found[i].isSkipped && r.term.Kind != query.Key:
			also = append(also, fmt.Sprintf("perhaps %s of others, which takes --by %s", nouns[kind], kind))
		case found[i].isFound() && !slices.EqualFunc(found[i].testcrs, r.testcrs, samePod):
			also = append(also, fmt.Sprintf("%s of %s (--by %s)", nouns[kind], pods(len(found[i].testcrs)), kind))
		}
	}
	o.printNote(r, also)
	return r, nil
}

func (a answer) isFound() bool { return len(a.testcrs) > 0 }

// findReadings returns the answer to each of terms, up to the one that is certain. Each
// term costs the API server a scan of all Testcrs, so a text in the form of an IP, a UID
// or a container ID is looked up as that first. An IP of a Pod is that of a node only on
// the host network.
func findReadings(ctx context.Context, f finder, terms []query.Term) ([]answer, error) {
	first := 0
	var found []answer
	switch terms[0].Kind {
	case query.IP, query.UID, query.Container:
		first = 1
		var err error
		if found, err = f.find(ctx, terms[:1], false); err != nil {
			return nil, err
		}
		if found[0].isFound() && !slices.ContainsFunc(found[0].testcrs, onHostNetwork) {
			return found, nil
		}
	}
	rest, err := f.find(ctx, terms[first:], slices.ContainsFunc(found, answer.isFound))
	return append(found, rest...), err
}

func onHostNetwork(t *v1.Testcr) bool { return t.Spec.HostNetwork }

// printNote prints how the question was read and how many Pods match, unless it has one
// reading and one Pod.
func (o *options) printNote(r result, also []string) {
	several := len(r.testcrs) > 1 && r.term.Kind.IsUnique()
	if len(also) == 0 && !several {
		return
	}
	verb, hint, rest := "is", "", ""
	if several {
		hint = hintFor(r)
	}
	if len(also) > 0 {
		verb, rest = "was read as", "; it is also "+strings.Join(also, ", and ")
	}
	fmt.Fprintf(o.ErrOut, "note: %q %s %s of %s%s%s\n", r.text, verb, nouns[r.term.Kind], pods(len(r.testcrs)), hint, rest)
}

func samePod(a, b *v1.Testcr) bool { return a.Name == b.Name }

func (o *options) whereabouts() string {
	if o.namespace() == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %q", o.namespace())
}

// nouns are the kinds in a sentence.
var nouns = map[query.Kind]string{
	query.IP: "an IP", query.UID: "the UID", query.Container: "a container ID", query.Key: "the namespace and name",
	query.Name: "the name", query.Node: "the node", query.HostIP: "the node's IP", query.Workload: "the workload",
	query.Namespace: "the namespace",
}

func readings(terms []query.Term) string {
	var names []string
	for _, t := range terms {
		names = append(names, string(t.Kind))
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
