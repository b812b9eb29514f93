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

// byText reads what is no fact as a whole as a part of one.
const byText = "text"

// A summary names at most these many.
const (
	maxPhases     = 20 // anybody who may write the status of a Pod can invent one
	maxNodes      = 20
	maxNamespaces = 200
)

// searchResult is the answer of GET /v1/search.
type searchResult struct {
	podList
	Q string `json:"q"`
	// ReadAs is the kind that q was taken for, "text" for a part of a fact, ""
	// where there is no q.
	ReadAs string `json:"readAs"`
	// Readings are the kinds that q fits with the Pods of each, the likeliest first.
	Readings []reading `json:"readings"`
}

type reading struct {
	By    string `json:"by"`
	Text  string `json:"text"` // q as this kind has it
	Total int    `json:"total"`
}

// search reads q as the plugin does, and takes what is no fact for a part of one.
func (l *Lookup) search(w http.ResponseWriter, r *http.Request) {
	params, err := parameters(r, []string{"q", "by", "namespace", "node", "phase", "sort", "desc", "limit", "continue"})
	if err != nil {
		refuse(w, r, err)
		return
	}
	result, err := l.answer(params)
	if err != nil {
		refuse(w, r, err)
		return
	}
	reply(w, r, http.StatusOK, result)
}

func (l *Lookup) answer(params url.Values) (searchResult, error) {
	base, err := searched(params)
	if err != nil {
		return searchResult{}, err
	}
	result := searchResult{Q: strings.TrimSpace(params.Get("q")), Readings: []reading{}}
	by := params.Get("by")
	terms, err := readings(result.Q, by)
	if err != nil {
		return searchResult{}, err
	}
	filters := base.Terms
	for _, term := range terms {
		q := base
		q.Terms = slices.Concat(filters, []query.Term{term})
		q.Limit = 1
		if _, total, _ := l.index.Find(nil, q); total > 0 {
			result.Readings = append(result.Readings, reading{string(term.Kind), term.String(), total})
			if result.ReadAs == "" {
				result.ReadAs, base.Terms = string(term.Kind), q.Terms
			}
		}
	}
	textual := result.Q != "" && result.ReadAs == ""
	if textual && (by == "" || by == byText) {
		base.Filter = both(base.Filter, contains(strings.ToLower(result.Q)))
		result.ReadAs = byText
	} else if textual {
		base.Terms, result.ReadAs = append(base.Terms, terms...), by // none matches
	}
	result.podList = l.find(base)
	result.whole = by == string(query.Key) // one Pod is no list
	if result.ReadAs == byText && result.Total > 0 {
		result.Readings = append(result.Readings, reading{byText, result.Q, result.Total})
	}
	return result, nil
}

// readings returns what q can be: as by says, or any exact one.
func readings(q, by string) ([]query.Term, error) {
	if by != "" && by != byText && !slices.Contains(query.Kinds, query.Kind(by)) {
		return nil, fmt.Errorf("by: %q is not one of %s, %s", by, strings.Join(query.KindNames(), ", "), byText)
	}
	if q == "" || by == byText {
		return nil, nil
	}
	if by == "" {
		terms, _ := query.Parse(q) // what cannot be read is searched as text
		return terms, nil
	}
	term, err := query.ParseAs(query.Kind(by), q)
	return []query.Term{term}, err
}

// searched reads all parameters but q and by.
func searched(params url.Values) (index.Query, error) {
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
		q.Compare = func(a, b *v1.TestcrSpec) int { return order(b, a) }
	}
	return q, paged(&q, params)
}

func both(a, b func(*v1.TestcrSpec) bool) func(*v1.TestcrSpec) bool {
	if a == nil {
		return b
	}
	return func(t *v1.TestcrSpec) bool { return a(t) && b(t) }
}

// contains looks for text, in lower case, in all that a Pod can be found by.
func contains(text string) func(*v1.TestcrSpec) bool {
	in := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	return func(t *v1.TestcrSpec) bool {
		s := t
		return in(s.PodKey) || in(s.NodeName) || in(s.WorkloadName) || in(s.PodUID) || in(s.HostIP) ||
			slices.ContainsFunc(s.PodIPs, in) ||
			slices.ContainsFunc(s.Containers, func(c v1.Container) bool { return in(c.ID) })
	}
}

func (s searchResult) text(out *bytes.Buffer) {
	for _, r := range s.Readings {
		if r.By != s.ReadAs {
			fmt.Fprintf(out, "%s is also the %s of %d Pods: &by=%s\n", r.Text, r.By, r.Total, r.By)
		}
	}
	if s.Total == 0 {
		fmt.Fprintln(out, "no Pod matches")
		return
	}
	s.podList.text(out)
}

// summary is the answer of GET /v1/summary.
type summary struct {
	View
	Phases     []count    `json:"phases"`
	Nodes      []count    `json:"nodes"` // those with most Pods
	OtherNodes otherNodes `json:"otherNodes"`
	Namespaces []count    `json:"namespaces"`
}

type count struct {
	Name  string `json:"name"` // "" for Pods that have none yet
	Count int    `json:"count"`
}

// otherNodes are the nodes that a summary does not name.
type otherNodes struct {
	Nodes int `json:"nodes"`
	Count int `json:"count"` // of their Pods
}

func (l *Lookup) summary(w http.ResponseWriter, r *http.Request) {
	params, err := parameters(r, []string{"namespace", "node"})
	if err != nil {
		refuse(w, r, err)
		return
	}
	q, err := searched(params)
	if err != nil {
		refuse(w, r, err)
		return
	}
	reply(w, r, http.StatusOK, l.count(q))
}

func (l *Lookup) count(q index.Query) summary {
	phases, nodes, namespaces := map[string]int{}, map[string]int{}, map[string]int{}
	q.Filter = func(t *v1.TestcrSpec) bool {
		phases[t.Phase]++
		nodes[t.NodeName]++
		namespaces[t.Namespace]++
		return false // counted, not wanted
	}
	_, _, view := l.index.Find(nil, q)
	s := summary{View: l.view(view), Phases: counts(phases), Nodes: counts(nodes), Namespaces: counts(namespaces)}
	s.Phases = s.Phases[:min(len(s.Phases), maxPhases)]
	s.Namespaces = s.Namespaces[:min(len(s.Namespaces), maxNamespaces)]
	if len(s.Nodes) > maxNodes {
		for _, c := range s.Nodes[maxNodes:] {
			s.OtherNodes.Nodes++
			s.OtherNodes.Count += c.Count
		}
		s.Nodes = s.Nodes[:maxNodes]
	}
	return s
}

// counts returns the largest first.
func counts(of map[string]int) []count {
	list := make([]count, 0, len(of))
	for name, n := range of {
		list = append(list, count{name, n})
	}
	slices.SortFunc(list, func(a, b count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name)) })
	return list
}
