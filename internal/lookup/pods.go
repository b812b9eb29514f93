package lookup

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// The default and the maximum number of Pods on a page.
const (
	defaultLimit = 100
	maxLimit     = 500
	// maxPageNumber is more than the pages of a cluster of the largest size.
	maxPageNumber = 10_000
)

// The bounds of a page in bytes of JSON. Beyond maxWhole, Pods are sent without labels and
// containers. A page ends before it exceeds maxPage.
const (
	maxWhole = 1 << 20
	maxPage  = 4 << 20
)

// podList is the answer of GET /v1/pods.
type podList struct {
	View
	// Total number of Pods that match, on all pages.
	Total int `json:"total"`
	// Ambiguous reports that several Pods match a fact that should identify one.
	Ambiguous bool `json:"ambiguous"`
	// Address is what is known of an IP that no Pod has, or Pods by annotations alone.
	Address *Address `json:"address,omitempty"`

	// found is encoded last, as "items" and "continue": see send.
	found []*v1.TestcrSpec
	terms []query.Term
	whole bool // the Pods may have labels and containers
	links []Link
	more  bool // there is another page
}

func (l *Lookup) pods(w http.ResponseWriter, r *http.Request) {
	params, err := parameters(r, slices.Concat(query.KindNames(), []string{"phase", "limit", "continue"}, pastKeys))
	if err != nil {
		refuse(w, r, err)
		return
	}
	var q index.Query
	if q.Terms, err = parseFacts(params); err != nil {
		refuse(w, r, err)
		return
	}
	if past, isPast, err := l.parsePast(params); err != nil {
		refuse(w, r, err)
		return
	} else if isPast {
		past.readings = [][]query.Term{q.Terms}
		l.replyPast(w, r, past)
		return
	}
	if err := parsePaging(&q, params); err != nil {
		refuse(w, r, err)
		return
	}
	var list podList
	answer := func(s *scope) {
		list = l.find(s, q)
		isClaimed := q.After == nil && q.Skip == 0 && len(list.found) > 0 && query.AnyAlias(q.Terms, list.found[0])
		if list.Total > 0 && !isClaimed {
			return
		}
		if address, pods := l.address(s, q.Terms); pods != nil || !isClaimed {
			list.Address = address
		}
	}
	if !l.within(w, r, answer) {
		return
	}
	list.whole = true
	if len(q.Terms) > 0 && list.Total == 0 {
		missing := failure{Error: "no Pod with " + describe(q.Terms, params.Get("phase")), View: &list.View, Address: list.Address}
		if params.Get("phase") == "" {
			missing.formerly = l.formerly(r, [][]query.Term{q.Terms})
		}
		reply(w, r, http.StatusNotFound, missing)
		return
	}
	reply(w, r, http.StatusOK, list)
}

// parseFacts returns the facts in the parameters of their kinds.
func parseFacts(params url.Values) (terms []query.Term, err error) {
	for _, kind := range query.Kinds {
		for _, value := range params[string(kind)] {
			term, err := query.ParseAs(kind, value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind, err)
			}
			terms = append(terms, term)
		}
	}
	return terms, nil
}

func (l *Lookup) pod(w http.ResponseWriter, r *http.Request) {
	if _, err := parameters(r, nil); err != nil {
		refuse(w, r, err)
		return
	}
	l.replyPod(w, r, cache.NewObjectName(r.PathValue("namespace"), r.PathValue("name")).String())
}

func (l *Lookup) replyPod(w http.ResponseWriter, r *http.Request, key string) {
	term, err := query.ParseAs(query.Key, key)
	if err != nil {
		refuse(w, r, err)
		return
	}
	term.Text = key // with its spaces: the caller's rights were checked for this key
	var list podList
	if !l.within(w, r, func(s *scope) { list = l.find(s, index.Query{Terms: []query.Term{term}, Limit: 1}) }) {
		return
	}
	if list.Total == 0 {
		terms := []query.Term{term}
		reply(w, r, http.StatusNotFound, failure{
			Error: "no Pod with " + describe(terms, ""), View: &list.View, formerly: l.formerly(r, [][]query.Term{terms}),
		})
		return
	}
	one := onePod{View: list.View, Pod: podOf(list.found[0], nil)}
	one.Pod.Links = linksOf(l.config.Links, list.found[0], l.config.ClusterName)
	reply(w, r, http.StatusOK, one)
}

// onePod is the answer of GET /v1/pods/{namespace}/{name}.
type onePod struct {
	View
	Pod Pod `json:"pod"`
}

func (l *Lookup) find(s *scope, q index.Query) podList {
	limit := q.Limit
	q.Limit++ // one more shows whether there is another page
	found, total, view := l.index.Find(nil, s.limit(q))
	list := podList{View: l.view(view, s), Total: total, terms: q.Terms}
	list.more = len(found) > limit
	list.found = found[:min(len(found), limit)]
	list.Ambiguous = total > 1 && slices.ContainsFunc(q.Terms, query.Term.IsUnique)
	return list
}

// send encodes one Pod at a time, because a page of large Pods would take too much memory
// for each client. If a Pod cannot be encoded, it sends an error, or aborts a response
// that has begun.
func (l podList) send(w http.ResponseWriter, status int, head []byte) {
	out := slices.Concat(head, []byte(`,"items":[`))
	sent, more := 0, l.more
	for i, t := range l.found {
		row, err := l.row(t, maxWhole-sent)
		if err != nil && i == 0 {
			http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
			return
		} else if err != nil {
			panic(http.ErrAbortHandler)
		}
		if sent += len(row); i > 0 && sent > maxPage {
			l.found, more = l.found[:i], true
			break
		}
		if i == 0 {
			begin(w, status, "application/json")
		} else {
			out = append(out, ',')
		}
		if _, err := w.Write(append(out, row...)); err != nil {
			return // the caller is gone
		}
		out = out[:0]
	}
	if len(l.found) == 0 {
		begin(w, status, "application/json")
	}
	out = append(out, ']')
	if more {
		out = fmt.Appendf(out, `,"continue":%q`, token(l.found[len(l.found)-1], l.terms))
	}
	_, _ = w.Write(append(out, "}\n"...))
}

// row returns the JSON of a Pod, with labels and containers if they fit into room.
func (l podList) row(t *v1.TestcrSpec, room int) ([]byte, error) {
	p := podOf(t, l.terms)
	p.Links = linksOf(l.links, t, l.Cluster)
	if l.whole && leastBytes(t) <= room {
		if row, err := encode(p); err != nil || len(row) <= room {
			return bytes.TrimSuffix(row, []byte("\n")), err
		}
	}
	p = p.shortened()
	if !l.whole {
		p.Omitted = nil // this list never has them
	}
	row, err := encode(p)
	return bytes.TrimSuffix(row, []byte("\n")), err
}

// leastBytes returns a lower bound of the JSON of labels and containers, so that a Pod
// that cannot fit is not encoded.
func leastBytes(t *v1.TestcrSpec) (n int) {
	for key, value := range t.Labels {
		n += len(key) + len(value)
	}
	for i := range t.Containers {
		c := &t.Containers[i]
		n += len(c.Name) + len(c.Image) + len(c.ID)
	}
	return n
}

func describe(terms []query.Term, phase string) string {
	var words []string
	for _, t := range terms {
		words = append(words, string(t.Kind)+" "+printable.Text(t.String()))
	}
	if phase != "" {
		words = append(words, "phase "+printable.Text(phase))
	}
	return strings.Join(words, " and ")
}

// parameters returns the query parameters, or an error if one is not known.
func parameters(r *http.Request, known []string) (url.Values, error) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query is malformed: %w", err)
	}
	for name := range params {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("unknown parameter %q: there are %s", name, cmp.Or(strings.Join(known, ", "), "none"))
		}
	}
	return params, nil
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	reply(w, r, http.StatusBadRequest, failure{Error: err.Error()})
}

// parsePaging sets q by the parameters phase, state, limit, page and continue.
func parsePaging(q *index.Query, params url.Values) error {
	q.Limit = defaultLimit
	if s := params.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxLimit {
			return fmt.Errorf("limit: %q is not a number from 1 to %d", s, maxLimit)
		}
		q.Limit = n
	}
	if phase := params.Get("phase"); phase != "" {
		q.Filter = func(t *v1.TestcrSpec) bool { return strings.EqualFold(t.Phase, phase) }
	}
	if state := params.Get("state"); state != "" {
		filter, err := filterState(state)
		if err != nil {
			return err
		}
		q.Filter = andFilter(q.Filter, filter)
	}
	if s := params.Get("page"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxPageNumber {
			return fmt.Errorf("page: %q is not a number from 1 to %d", s, maxPageNumber)
		}
		if params.Get("continue") != "" {
			return errors.New("page and continue are two ways to the same: give one")
		}
		q.Skip = (n - 1) * q.Limit
	}
	if s := params.Get("continue"); s != "" {
		after, isAlias, err := parseToken(s)
		if err != nil {
			return err
		}
		q.After, q.AfterIsAlias = after, isAlias
	}
	return nil
}

// cursor contains the fields of the last Pod of a page that the orders compare.
type cursor struct {
	PodKey       string      `json:"k"`
	Phase        string      `json:"p,omitempty"`
	Status       string      `json:"s,omitempty"`
	Terminating  bool        `json:"t,omitempty"`
	Ready        string      `json:"r,omitempty"`
	PodIP        string      `json:"i,omitempty"`
	NodeName     string      `json:"n,omitempty"`
	WorkloadName string      `json:"w,omitempty"`
	CreatedAt    metav1.Time `json:"c,omitzero"`
	StartedAt    metav1.Time `json:"b,omitzero"`
	IsAlias      bool        `json:"a,omitempty"`
}

// orderedBytes bounds the part of a value that is compared, because a token contains it
// and must fit into a URL.
const orderedBytes = 64

func ordered(s string) string {
	if len(s) <= orderedBytes {
		return s
	}
	return strings.ToValidUTF8(s[:orderedBytes], "") // a cut character
}

// token returns the value of continue for the page after s. It contains the fields of the
// Pod, so that the next page is right even if that Pod was deleted or changed.
func token(s *v1.TestcrSpec, terms []query.Term) string {
	text, err := json.Marshal(cursor{
		s.PodKey, ordered(s.Phase), ordered(s.Status), s.Terminating, ordered(s.ReadyContainers), ordered(s.PodIP), ordered(s.NodeName), ordered(s.WorkloadName), s.CreatedAt, s.StartedAt,
		query.AnyAlias(terms, s),
	})
	if err != nil { // a time that is not in RFC 3339: no Testcr contains one
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseToken(s string) (_ *v1.TestcrSpec, isAlias bool, _ error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	var c cursor
	if err != nil || json.Unmarshal(text, &c) != nil || c.PodKey == "" {
		return nil, false, errors.New("continue: not what an answer gave: ask again without it")
	}
	namespace, _, _ := strings.Cut(c.PodKey, "/")
	return &v1.TestcrSpec{
		PodKey: c.PodKey, Namespace: namespace, Phase: c.Phase, Status: c.Status, Terminating: c.Terminating, ReadyContainers: c.Ready,
		PodIP: c.PodIP, NodeName: c.NodeName, WorkloadName: c.WorkloadName, CreatedAt: c.CreatedAt, StartedAt: c.StartedAt,
	}, c.IsAlias, nil
}

// orders contains the values of the parameter sort. "" is the default.
var orders = map[string]func(a, b *v1.TestcrSpec) int{
	"":          nil, // that of the index
	"pod":       byKey,
	"namespace": byKey,
	"ip":        func(a, b *v1.TestcrSpec) int { return cmp.Or(compareIP(a, b), byKey(a, b)) },
	"node": func(a, b *v1.TestcrSpec) int {
		return cmp.Or(strings.Compare(ordered(a.NodeName), ordered(b.NodeName)), byKey(a, b))
	},
	"phase": func(a, b *v1.TestcrSpec) int {
		return cmp.Or(strings.Compare(ordered(a.Phase), ordered(b.Phase)), byKey(a, b))
	},
	"status": func(a, b *v1.TestcrSpec) int {
		return cmp.Or(strings.Compare(ordered(a.Status), ordered(b.Status)), byKey(a, b))
	},
	"workload": func(a, b *v1.TestcrSpec) int {
		return cmp.Or(strings.Compare(ordered(a.WorkloadName), ordered(b.WorkloadName)), byKey(a, b))
	},
	"attention": byAttention,
	// The youngest first: the smallest age.
	"age": func(a, b *v1.TestcrSpec) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt.Time), byKey(a, b))
	},
}

func byKey(a, b *v1.TestcrSpec) int { return strings.Compare(a.PodKey, b.PodKey) }

// compareIP orders addresses by value, and puts Pods without one first.
func compareIP(a, b *v1.TestcrSpec) int {
	x, _ := netip.ParseAddr(ordered(a.PodIP))
	y, _ := netip.ParseAddr(ordered(b.PodIP))
	return x.Compare(y)
}

func (l podList) text(out *bytes.Buffer) {
	l.Address.text(out)
	table(out, l.found, l.terms)
	if l.Ambiguous {
		fmt.Fprintf(out, "\nambiguous: %d Pods match\n", l.Total)
	}
	if l.more {
		fmt.Fprintf(out, "\n%d of %d; the next page is &continue=%s\n", len(l.found), l.Total, token(l.found[len(l.found)-1], l.terms))
	}
	l.notes(out)
}
