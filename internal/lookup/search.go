package lookup

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// byText searches for a part of a fact.
const byText = "text"

// The maximum lengths of the lists in a summary.
const (
	maxPhases     = 20 // any value can be written to the status of a Pod
	maxNodes      = 20
	maxNamespaces = 200
)

// searchResult is the answer of GET /v1/search.
type searchResult struct {
	podList
	Q string `json:"q"`
	// ReadAs is the kind of the reading of q, "text" for a part of a fact, "service" for
	// the IP or the name of a Service, or "" without q.
	ReadAs string `json:"readAs"`
	// Readings contains the kinds of q that match Pods, the most likely first.
	Readings []reading `json:"readings"`
	formerly
}

type reading struct {
	By    string `json:"by"`
	Text  string `json:"text"` // q in the form of this kind
	Total int    `json:"total"`
}

var searchParameters = []string{"q", "by", "namespace", "node", "phase", "state", "sort", "desc", "limit", "page", "continue"}

// search reads q as the plugin does. If no reading matches, it searches for q as a part of
// a fact.
func (l *Lookup) search(w http.ResponseWriter, r *http.Request) {
	params, err := parameters(r, slices.Concat(searchParameters, pastKeys))
	if err != nil {
		refuse(w, r, err)
		return
	}
	past, isPast, err := l.parsePast(params)
	if isPast && err == nil {
		err = past.setSearch(params)
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	if isPast {
		l.replyPast(w, r, past)
		return
	}
	var result searchResult
	if !l.within(w, r, func(s *scope) { result, err = l.runSearch(s, params) }) {
		return
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	l.addFormerly(r, &result, params)
	reply(w, r, http.StatusOK, result)
}

// addFormerly adds who had the facts of a search that finds nothing. A filter by state or
// phase may hide a Pod that has them now.
func (l *Lookup) addFormerly(r *http.Request, result *searchResult, params url.Values) {
	if result.Total > 0 || result.Q == "" || params.Get("state") != "" || params.Get("phase") != "" {
		return
	}
	var past pastQuestion
	if past.setSearch(params) == nil {
		result.formerly = l.formerly(r, past.readings)
	}
}

func (l *Lookup) runSearch(s *scope, params url.Values) (searchResult, error) {
	base, err := parseFilters(params)
	if err != nil {
		return searchResult{}, err
	}
	result := searchResult{Q: strings.TrimSpace(params.Get("q")), Readings: []reading{}}
	by := params.Get("by")
	terms, err := readings(result.Q, by)
	if err != nil {
		return searchResult{}, err
	}
	exact, others := query.Exact(terms)
	filters := base
	l.try(s, &result, &base, exact)
	var address *Address
	var pods *behind
	if result.ReadAs == "" || by == "" && l.isClaimed(s, base) {
		if address, pods = l.address(s, exact); pods == nil && result.ReadAs != "" {
			address = nil // the Pod that claims the IP is the answer
		}
		if pods != nil {
			base, result.ReadAs = filters, pods.readAs
			base.Filter = andFilter(base.Filter, pods.has)
		}
	}
	if result.ReadAs == "" && len(others) > 0 && (by != "" || !l.hasText(s, base, result.Q)) {
		l.try(s, &result, &base, others)
	}
	textual := result.Q != "" && result.ReadAs == ""
	if textual && (by == "" || by == byText) {
		base.Filter = andFilter(base.Filter, contains(strings.ToLower(result.Q)))
		result.ReadAs = byText
	} else if textual {
		base.Terms, result.ReadAs = append(base.Terms, terms...), by // none matches
	}
	result.podList = l.find(s, base)
	result.Address = address
	if result.whole = result.Q != "" && by == string(query.Key); result.whole { // at most one Pod
		result.links = l.config.Links
	}
	if result.ReadAs == byText && result.Total > 0 {
		result.Readings = append(result.Readings, reading{byText, result.Q, result.Total})
	}
	return result, nil
}

// try adds to result the terms that match Pods, and to base the first of them.
func (l *Lookup) try(s *scope, result *searchResult, base *index.Query, terms []query.Term) {
	filters := base.Terms
	for _, term := range terms {
		q := *base
		q.Terms = slices.Concat(filters, []query.Term{term})
		q.Limit, q.Skip = 1, 0
		if _, total, _ := l.index.Find(nil, s.limit(q)); total > 0 {
			result.Readings = append(result.Readings, reading{string(term.Kind), term.String(), total})
			if result.ReadAs == "" {
				result.ReadAs, base.Terms = string(term.Kind), q.Terms
			}
		}
	}
}

// hasText reports whether a Pod of base has text in a fact. This finds most parts of
// facts as well, and in more fields.
func (l *Lookup) hasText(s *scope, base index.Query, text string) bool {
	base.Filter, base.Limit, base.Skip = andFilter(base.Filter, contains(strings.ToLower(text))), 1, 0
	_, total, _ := l.index.Find(nil, s.limit(base))
	return total > 0
}

// readings returns the readings of q: those of the kind by, or all.
func readings(q, by string) ([]query.Term, error) {
	if by != "" && by != byText && !slices.Contains(query.Kinds, query.Kind(by)) {
		return nil, fmt.Errorf("by: %q is not one of %s, %s", by, strings.Join(query.KindNames(), ", "), byText)
	}
	if q == "" || by == byText {
		return nil, nil
	}
	if by == "" {
		terms, _ := query.Parse(q) // without readings it is searched as text
		return terms, nil
	}
	return query.ParseBy(query.Kind(by), q)
}

// parseFilters returns the query of all parameters but q and by.
func parseFilters(params url.Values) (index.Query, error) {
	var q index.Query
	for _, kind := range []query.Kind{query.Namespace, query.Node} {
		if value := params.Get(string(kind)); value != "" {
			term, err := query.ParseAs(kind, value)
			if err != nil {
				return q, fmt.Errorf("%s: %w", kind, err)
			}
			q.Terms = append(q.Terms, term)
		}
	}
	order, ok := orders[params.Get("sort")]
	if !ok {
		names := slices.Sorted(maps.Keys(orders))
		return q, fmt.Errorf("sort: %q is not one of %s", params.Get("sort"), strings.Join(names[1:], ", "))
	}
	desc, err := strconv.ParseBool(cmp.Or(params.Get("desc"), "false"))
	if err != nil {
		return q, fmt.Errorf("desc: %q is neither true nor false", params.Get("desc"))
	}
	q.Compare = order
	if desc {
		if order == nil {
			order = query.Compare
		}
		q.Compare = func(a, b *v1.TestcrSpec) int { return order(b, a) }
	}
	return q, parsePaging(&q, params)
}

func andFilter(a, b func(*v1.TestcrSpec) bool) func(*v1.TestcrSpec) bool {
	if a == nil {
		return b
	}
	return func(s *v1.TestcrSpec) bool { return a(s) && b(s) }
}

// contains returns a filter for Pods with text, in lower case, in any fact.
func contains(text string) func(*v1.TestcrSpec) bool {
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return func(s *v1.TestcrSpec) bool {
		return in(s.PodKey) || in(s.NodeName) || in(s.WorkloadName) || in(s.PodUID) || in(s.HostIP) ||
			slices.ContainsFunc(s.PodIPs, in) ||
			in(s.Status) ||
			slices.ContainsFunc(s.Containers, func(c v1.Container) bool {
				return in(c.ID) || in(c.Image) || in(c.ImageID) || in(c.PreviousID) || in(c.PreviousReason)
			}) ||
			hasLabelText(s.Labels, text)
	}
}

// hasLabelText reports whether a label contains text, which is in lower case, as KEY=VALUE.
func hasLabelText(labels map[string]string, text string) bool {
	for key, value := range labels {
		if strings.Contains(strings.ToLower(key+"="+value), text) {
			return true
		}
	}
	return false
}

func (s searchResult) text(out *bytes.Buffer) {
	for _, r := range s.Readings {
		if r.By != s.ReadAs {
			fmt.Fprintf(out, "%s is also the %s of %d Pods: &by=%s\n", r.Text, r.By, r.Total, r.By)
		}
	}
	if s.Total == 0 {
		s.Address.text(out)
		fmt.Fprintln(out, "no Pod matches")
		s.formerly.text(out)
		s.notes(out)
		return
	}
	s.podList.text(out)
}

// summary is the answer of GET /v1/summary.
type summary struct {
	View
	States     []count    `json:"states"` // those that have Pods, the worst first
	Phases     []count    `json:"phases"`
	Nodes      []count    `json:"nodes"` // those with the most Pods
	OtherNodes otherNodes `json:"otherNodes"`
	Namespaces []count    `json:"namespaces"`
	// The numbers of all nodes and namespaces that have Pods.
	NodeCount      int `json:"nodeCount"`
	NamespaceCount int `json:"namespaceCount"`
}

type count struct {
	Name  string `json:"name"` // "" for Pods without one
	Count int    `json:"count"`
}

// otherNodes counts the nodes beyond maxNodes.
type otherNodes struct {
	Nodes int `json:"nodes"`
	Count int `json:"count"` // of their Pods
}

func (l *Lookup) summary(w http.ResponseWriter, r *http.Request) {
	params, err := parameters(r, []string{"namespace", "node", "match"})
	if err != nil {
		refuse(w, r, err)
		return
	}
	q, err := parseFilters(params)
	if err != nil {
		refuse(w, r, err)
		return
	}
	var result summary
	if l.within(w, r, func(s *scope) { result = l.count(s, q, params.Get("match")) }) {
		reply(w, r, http.StatusOK, result)
	}
}

// count counts the Pods of q. Nodes and namespaces are listed if their names contain match.
func (l *Lookup) count(seen *scope, q index.Query, match string) summary {
	inState, phases, nodes, namespaces := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	q.Filter = func(s *v1.TestcrSpec) bool {
		inState[stateOf(s)]++
		phases[s.Phase]++
		nodes[s.NodeName]++
		namespaces[s.Namespace]++
		return false // only counted
	}
	if seen.isRestricted() {
		q.Filter = andFilter(seen.sees, q.Filter)
	}
	_, _, view := l.index.Find(nil, q)
	s := summary{
		View: l.view(view, seen), States: []count{}, Phases: counts(phases), Nodes: matching(counts(nodes), match), Namespaces: matching(counts(namespaces), match),
		NodeCount: len(nodes), NamespaceCount: len(namespaces),
	}
	for _, state := range states {
		if n := inState[state]; n > 0 {
			s.States = append(s.States, count{state, n})
		}
	}
	if nodes[""] > 0 {
		s.NodeCount-- // of Pods without a node
	}
	s.Phases = s.Phases[:min(len(s.Phases), maxPhases)]
	s.Namespaces = s.Namespaces[:min(len(s.Namespaces), maxNamespaces)]
	if len(s.Nodes) > maxNodes {
		for _, c := range s.Nodes[maxNodes:] {
			if c.Name != "" {
				s.OtherNodes.Nodes++
			}
			s.OtherNodes.Count += c.Count
		}
		s.Nodes = s.Nodes[:maxNodes]
	}
	return s
}

// matching returns the counts whose names contain text, in capitals or not.
func matching(list []count, text string) []count {
	text = strings.ToLower(text)
	return slices.DeleteFunc(list, func(c count) bool { return !strings.Contains(strings.ToLower(c.Name), text) })
}

// counts returns a list of the map, the largest count first.
func counts(of map[string]int) []count {
	list := make([]count, 0, len(of))
	for name, n := range of {
		list = append(list, count{name, n})
	}
	slices.SortFunc(list, func(a, b count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name)) })
	return list
}
