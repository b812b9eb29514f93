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

// question is one QUERY and its readings, the likeliest first.
type question struct {
	text  string
	terms []query.Term
	err   error // a line of standard input that says nothing
}

// queries reads the command line, and standard input for "-". A mistake there
// is of the data, not of the command line: the other lines are answered.
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

// readAll leaves a read behind that ctx interrupts: it cannot be broken off.
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

// checkName tells a name that cannot be from one that is not there.
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

// answer is what a question was read as and what that fits; nothing if no
// reading fits any Pod.
type answer struct {
	question
	term    query.Term
	testcrs []*v1.Testcr
}

// row is one Pod of an answer.
type row struct {
	query  string
	term   query.Term
	testcr *v1.Testcr
	event  string // what became of it: for --output-watch-events
}

func (o *options) answer(ctx context.Context, clients *clients, printer printer, questions []question) error {
	var f finder = &server{testcrs: clients.testcrs(), namespace: o.namespace(), lists: map[selection][]*v1.Testcr{}}
	if len(questions) > fewQueries {
		var err error
		if f, err = list(ctx, clients.testcrs(), o.namespace()); err != nil {
			return err
		}
	}
	answers := make([]answer, len(questions))
	var rows []row
	missing := false
	for i, q := range questions {
		a, err := o.read(ctx, f, q)
		if err != nil {
			return err
		}
		for _, t := range a.testcrs {
			rows = append(rows, row{query: q.text, term: a.term, testcr: t, event: eventAdded})
		}
		answers[i] = a
		missing = missing || len(a.testcrs) == 0
	}
	// Whether one object or a list is printed hangs on the question, as with kubectl get.
	single := len(answers) == 1 && len(rows) <= 1 && (len(rows) == 0 || answers[0].term.Kind.IsUnique())
	if err := printer.print(rows, shape{several: len(answers) > 1, single: single, watch: o.watch}); err != nil {
		return err
	}
	if o.watch {
		return o.follow(ctx, clients, printer, answers)
	}
	if missing {
		return errMissing
	}
	return nil
}

// read answers q with the first of its readings that fits a Pod, and says on
// standard error what a reader of the answer has to know.
func (o *options) read(ctx context.Context, f finder, q question) (answer, error) {
	a := answer{question: q}
	if q.err != nil {
		fmt.Fprintln(o.ErrOut, "error:", q.err)
		return a, nil //nolint:nilerr // it is told, and the other lines are answered
	}
	found, err := findReadings(ctx, f, q.terms)
	if err != nil {
		return a, err
	}
	taken := slices.IndexFunc(found, func(list []*v1.Testcr) bool { return len(list) > 0 })
	if taken < 0 {
		fmt.Fprintf(o.ErrOut, "Error from server (NotFound): pods %q not found%s: looked for it as %s\n",
			q.text, o.whereabouts(), readings(q.terms))
		return a, nil
	}
	a.term, a.testcrs = q.terms[taken], found[taken]
	var also []string
	for i := taken + 1; i < len(found); i++ {
		if len(found[i]) > 0 && !slices.EqualFunc(found[i], found[taken], samePod) {
			also = append(also, fmt.Sprintf("%s of %s (--by %s)", nouns[q.terms[i].Kind], pods(len(found[i])), q.terms[i].Kind))
		}
	}
	o.tell(a, also)
	return a, nil
}

// findReadings returns what each of terms fits. Each costs the API server a walk
// over all Testcrs, so a fact that looks like nothing else is first looked up as
// that alone: a Pod may be called 10.0.0.7, but nobody means it who has an IP.
// An IP of a Pod can be that of a node only on the host network.
func findReadings(ctx context.Context, f finder, terms []query.Term) ([][]*v1.Testcr, error) {
	first := 0
	var found [][]*v1.Testcr
	switch terms[0].Kind {
	case query.IP, query.UID, query.Container:
		first = 1
		var err error
		if found, err = f.find(ctx, terms[:1]); err != nil {
			return nil, err
		}
		if len(found[0]) > 0 && !slices.ContainsFunc(found[0], onHostNetwork) {
			return found, nil
		}
	}
	rest, err := f.find(ctx, terms[first:])
	return append(found, rest...), err
}

func onHostNetwork(t *v1.Testcr) bool { return t.Spec.HostNetwork }

// tell says in one line how a was read and of how many Pods it is, unless that
// is as plain as one Pod.
func (o *options) tell(a answer, also []string) {
	several := len(a.testcrs) > 1 && a.term.Kind.IsUnique()
	if len(also) == 0 && !several {
		return
	}
	verb, hint, rest := "is", "", ""
	if several {
		hint = remedy(a)
	}
	if len(also) > 0 {
		verb, rest = "was read as", "; it is also "+strings.Join(also, ", and ")
	}
	fmt.Fprintf(o.ErrOut, "note: %q %s %s of %s%s%s\n", a.text, verb, nouns[a.term.Kind], pods(len(a.testcrs)), hint, rest)
}

func samePod(a, b *v1.Testcr) bool { return a.Name == b.Name }

func (o *options) whereabouts() string {
	if o.namespace() == "" {
		return ""
	}
	return fmt.Sprintf(" in namespace %q", o.namespace())
}

// nouns are what a fact of each kind is to a Pod.
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

// remedy says how to come from several Pods to the one that is meant.
func remedy(a answer) string {
	switch {
	case a.term.Kind == query.Name:
		return " in different namespaces: -n NAMESPACE chooses"
	case a.term.Kind == query.Container && len(a.term.Text) < 64:
		return ": more digits tell them apart"
	default:
		return ", live ones first: see NOTE"
	}
}
