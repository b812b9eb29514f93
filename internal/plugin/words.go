package plugin

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// everything returns the question for all Pods.
func everything(text string) question {
	return question{text: text, isAll: true, terms: []query.Term{{Kind: query.Name, Text: "*", Partial: true}}}
}

// joined returns what the arguments may mean together, as kubectl users write it: TYPE
// NAME..., or NAMESPACE NAME. It returns nil for other arguments.
func (o *options) joined(args []string) []question {
	if len(args) < 2 || o.by != "" || slices.Contains(args, "-") {
		return nil
	}
	first := args[0]
	var all []question
	for _, arg := range args[1:] {
		terms := query.Typed(first, arg)
		if terms == nil {
			break
		}
		all = append(all, question{text: first + " " + arg, terms: terms})
	}
	if len(all) == len(args)-1 {
		return all
	}
	if len(args) > 2 || o.namespace() != "" || len(validation.IsDNS1123Label(first)) > 0 || query.Split(args[1]) != nil {
		return nil
	}
	terms := inNamespaceTerms(first, args[1])
	if terms == nil {
		return nil
	}
	return []question{{text: args[1], namespace: first, terms: terms}}
}

// inNamespaceTerms returns the readings of text in a namespace, or nil. Those by a part of
// a name contain the namespace, so that they do not match Pods of others.
func inNamespaceTerms(namespace, text string) []query.Term {
	terms, err := query.Parse(text)
	if err != nil {
		return nil
	}
	exact, _ := query.Exact(terms)
	var all, parts []query.Term
	slashed, _ := query.Parse(namespace + "/" + text) // no error for a word
	for _, t := range slashed {
		switch {
		case t.Kind == query.Key && t.IsExact():
			all = append(all, t)
		case t.Kind == query.Key:
			parts = append(parts, t)
		}
	}
	for _, t := range exact {
		if t.Kind != query.Name { // it is the Key
			all = append(all, t)
		}
	}
	return append(all, parts...)
}

// answersIn answers q. One with a namespace of its own gets the Pods there alone.
func answersIn(ctx context.Context, answers answerer, q question) ([]answer, error) {
	found, err := answers.answer(ctx, q)
	if err != nil || q.namespace == "" {
		return found, err
	}
	if narrow(found, q.namespace) {
		return found, nil
	}
	exact, others := query.Exact(q.terms)
	if len(others) == 0 || len(found) > len(exact) {
		return found, nil
	}
	q.terms = others // Pods of other namespaces have an exact match
	parts, err := answers.answer(ctx, q)
	narrow(parts, q.namespace)
	return append(found, parts...), err
}

// narrow deletes the Pods of other namespaces, and reports whether one is left.
func narrow(found []answer, namespace string) (isFound bool) {
	for i := range found {
		testcrs := slices.Clone(found[i].testcrs) // the answers are kept for other readings
		found[i].testcrs = slices.DeleteFunc(testcrs, func(t *v1.Testcr) bool { return t.Spec.Namespace != namespace })
		isFound = isFound || found[i].isFound()
	}
	return isFound
}

// answerJoined fills in what the arguments mean together. It reports whether that is the
// answer: the first argument must not be a fact of its own, because a query that is right
// by itself must not be read otherwise.
func (c *cluster) answerJoined(ctx context.Context, answers answerer, first []question) (bool, error) {
	if c.joined == nil || len(first) == 0 {
		return false, nil
	}
	book := c.source.book()
	namespace := c.joined[0].namespace
	exists, isKnown := true, true
	if namespace != "" {
		if exists, isKnown = book.pods.hasNamespace(ctx, namespace); isKnown && !exists {
			return false, ctx.Err() // spares what follows: a part of a name needs a list of all Pods
		}
	}
	alone, err := c.resolve(ctx, answers, book, c.probe(first[0]))
	if err != nil || !isKnown && len(alone.testcrs) > 0 {
		return false, err
	}
	isJoined := false
	for _, q := range c.joined {
		if len(alone.testcrs) > 0 { // this is for a note
			q.terms, _ = query.Exact(q.terms)
		}
		r, err := c.resolve(ctx, answers, book, q)
		if err != nil {
			return false, err
		}
		c.together = append(c.together, r)
		isJoined = isJoined || isAnswered(&r)
	}
	if isJoined || len(alone.testcrs) > 0 {
		// Another cluster may have the first argument as a fact of its own.
		return isJoined && len(alone.testcrs) == 0 && !c.asksSeveral(), nil
	}
	if namespace != "" && exists {
		c.together[0].sentences = append(c.together[0].sentences, fmt.Sprintf("%q is a namespace, in which no Pod matches %q",
			namespace, shorten(c.joined[0].text)))
	}
	return false, nil
}

// probe returns the question whether the first argument is a fact of its own. A part of a
// name does not count. Nor does a workload called as a type is, which would take a list of
// all Pods.
func (c *cluster) probe(q question) question {
	q.terms, _ = query.Exact(q.terms)
	if c.joined[0].namespace == "" {
		q.terms = slices.DeleteFunc(slices.Clone(q.terms), func(t query.Term) bool { return t.Kind == query.Workload })
	}
	return q
}

func isAnswered(r *result) bool { return len(r.testcrs) > 0 || r.isAddress }

// read returns the questions that the arguments are: each of its own, or what they mean
// together. The results of clusters become those of the questions that are returned.
func (o *options) read(clusters []*cluster, questions []question) []question {
	if len(clusters) == 0 || clusters[0].joined == nil {
		return questions
	}
	joined := clusters[0].joined
	isAlone, isJoined := false, false
	for _, c := range answered(clusters) {
		isAlone = isAlone || len(c.results[0].testcrs) > 0 && c.results[0].term.IsExact()
		isJoined = isJoined || slices.ContainsFunc(c.together, func(r result) bool { return isAnswered(&r) })
	}
	namespace := joined[0].namespace
	first := shorten(questions[0].text)
	switch {
	case isAlone && isJoined && namespace != "":
		fmt.Fprintf(o.ErrOut, "note: %q was read as a query of its own; in namespace %q: %s/%s\n", first, namespace, namespace, shorten(joined[0].text))
	case isAlone && isJoined:
		fmt.Fprintf(o.ErrOut, "note: %q was read as a query of its own; as a type: %s/%s\n", first, first, shorten(questions[1].text))
	case isAlone, !isJoined && namespace != "":
		for _, c := range answered(clusters) {
			if namespace != "" && len(c.together) > 0 {
				c.results[0].sentences = append(c.results[0].sentences, c.together[0].sentences...)
			}
		}
		return questions
	default:
		if namespace != "" {
			fmt.Fprintf(o.ErrOut, "note: %q was read as %q in namespace %q\n", first+" "+shorten(joined[0].text), shorten(joined[0].text), namespace)
		}
		for _, c := range answered(clusters) {
			c.results = c.together
			for len(c.results) < len(joined) { // it has no such namespace
				c.results = append(c.results, result{question: joined[len(c.results)]})
			}
		}
		return joined
	}
	return questions
}
