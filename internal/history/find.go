package history

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	// maxCandidates bounds the lives that are looked at for one query, the latest first.
	maxCandidates = 20_000
	// maxDimensions bounds the cached shapes, of up to maxShape bytes each, and nodes.
	maxDimensions = 512
)

// ErrNoTerms reports a Query without a fact.
var ErrNoTerms = errors.New("a question about the past needs a fact: an IP, a name or a container ID")

// PartialError reports a fact that the past is not searched for.
type PartialError struct{ Term query.Term }

func (e *PartialError) Error() string {
	return fmt.Sprintf("%s %s: the past is searched for whole facts and beginnings of container IDs, not for ranges and parts", e.Term.Kind, e.Term)
}

func (s *shape) decode(text []byte) error { return json.Unmarshal(text, s) }

// find returns the lives that match q. If one is deleted meanwhile, what it refers to may be
// missing.
func (s *store) find(ctx context.Context, q Query) (Answer, error) {
	a, err := s.findOnce(ctx, q)
	if errors.Is(err, sql.ErrNoRows) {
		a, err = s.findOnce(ctx, q)
	}
	return a, err
}

func (s *store) findOnce(ctx context.Context, q Query) (a Answer, err error) {
	if len(q.Terms) == 0 {
		return a, ErrNoTerms
	}
	clusters, err := s.clusters(ctx, q.Clusters)
	if err != nil {
		return a, err
	}
	since, until := q.Since.UnixMilli(), q.Until.UnixMilli()
	for _, c := range clusters {
		record, err := s.record(ctx, c, since, until)
		if err != nil {
			return a, err
		}
		a.Records = append(a.Records, record)
	}
	term, err := chooseTerm(q.Terms)
	if err != nil {
		return a, err
	}
	from := since
	if q.Last {
		from = math.MinInt64
	}
	candidates, err := s.candidates(ctx, term, from, until)
	if err != nil {
		return a, err
	}
	a.More = len(candidates) >= maxCandidates
	for _, c := range candidates {
		cluster, ok := clusterName(clusters, c.cluster)
		if !ok {
			continue
		}
		holders, err := s.holdersOf(ctx, c, q, from, until)
		if err != nil {
			return a, err
		}
		for _, h := range holders {
			h.Cluster = cluster
			a.Holders = append(a.Holders, h)
		}
	}
	if err := s.laterBegins(ctx, clusters, a.Records); err != nil {
		return a, err
	}
	a.sort(since, until)
	if q.Limit > 0 && len(a.Holders) > q.Limit {
		a.Holders, a.More = a.Holders[:q.Limit], true
	}
	return a, nil
}

// sort puts those that certainly match in the range first, and the latest of these.
func (a *Answer) sort(since, until int64) {
	slices.SortStableFunc(a.Holders, func(x, y Holder) int {
		return cmp.Or(
			cmp.Compare(x.Interval.Rank(since, until), y.Interval.Rank(since, until)),
			cmp.Compare(y.Interval.Latest, x.Interval.Latest), cmp.Compare(y.Interval.From, x.Interval.From),
			strings.Compare(x.Cluster, y.Cluster), strings.Compare(x.Spec.PodKey, y.Spec.PodKey),
		)
	})
}

// chooseTerm returns the term that the fewest lives match, by its kind.
func chooseTerm(terms []query.Term) (best query.Term, err error) {
	order := []query.Kind{
		query.UID, query.Container, query.IP, query.Key, query.Name, query.Workload, query.Node, query.HostIP, query.Image,
		query.Label, query.Namespace,
	}
	at := len(order)
	for _, t := range terms {
		if t.Prefix.IsValid() || t.Partial && t.Kind != query.Container {
			return t, &PartialError{t}
		}
		if i := slices.Index(order, t.Kind); i >= 0 && i < at {
			best, at = t, i
		}
	}
	return best, nil
}

type clusterRow struct {
	id   int64
	name string
}

// UnknownClusterError reports a cluster that the store does not have.
type UnknownClusterError struct {
	Name  string
	Known []string
}

func (e *UnknownClusterError) Error() string {
	return fmt.Sprintf("nothing was recorded of cluster %q: there are %q", e.Name, e.Known)
}

func (s *store) clusters(ctx context.Context, wanted []string) (found []clusterRow, err error) {
	rows, err := s.query(ctx, `SELECT id, name FROM clusters ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var known []string
	for rows.Next() {
		var c clusterRow
		if err := rows.Scan(&c.id, &c.name); err != nil {
			return nil, err
		}
		known = append(known, c.name)
		if len(wanted) == 0 || slices.Contains(wanted, c.name) {
			found = append(found, c)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, &UnknownClusterError{name, known}
		}
	}
	return found, nil
}

func clusterName(clusters []clusterRow, id int64) (string, bool) {
	for _, c := range clusters {
		if c.id == id {
			return c.name, true
		}
	}
	return "", false
}

// candidate is a life as a row of pods.
type candidate struct {
	life
	cluster int64
	detail  []byte
}

// source is where lives are looked for: tables, a condition, and its arguments. begin and
// end name the columns with the interval that must overlap the range.
type source struct {
	tables, condition, begin, end string
	args                          []any
}

func byPod(column string, value any) source {
	return source{tables: "pods p", condition: "p." + column + " = ?", begin: "p.from_ms", end: "p.to_ms", args: []any{value}}
}

func byUID(uid string) source {
	raw := uidBytes(uid)
	found := byPod("uid", raw)
	found.condition, found.args = "substr(p.uid, 1, 4) = ? AND "+found.condition, []any{raw[:min(len(raw), 4)], raw}
	return found
}

func byFact(condition string, args ...any) source {
	return source{
		tables: "facts f JOIN pods p ON p.id = f.pod", condition: "f.kind = ? AND " + condition,
		begin: "f.from_ms", end: "f.to_ms", args: args,
	}
}

// byShape returns the sources of lives by a fact of their shape, the last one and those
// before.
func byShape(kind query.Kind, value string) []source {
	return []source{{
		tables: "shape_facts s JOIN pods p ON p.shape = s.shape", condition: "s.kind = ? AND s.value = ?",
		begin: "p.from_ms", end: "p.to_ms", args: []any{string(kind), value},
	}, {
		tables:    "shape_facts s JOIN facts f ON f.kind = '" + rowShape + "' AND f.value = CAST(s.shape AS TEXT) JOIN pods p ON p.id = f.pod",
		condition: "s.kind = ? AND s.value = ?", begin: "f.from_ms", end: "f.to_ms", args: []any{string(kind), value},
	}}
}

// sources returns where the lives with a fact are.
func (s *store) sources(ctx context.Context, t query.Term) ([]source, error) {
	switch t.Kind {
	case query.UID:
		return []source{byUID(t.Text), byFact("f.value = ?", rowUID, t.Text)}, nil
	case query.IP:
		return []source{byFact("f.value = ?", rowIP, t.Addr.String())}, nil
	case query.Container:
		prefix := containerPrefix(strings.TrimSuffix(t.Text, "*"))
		return []source{byFact("f.value >= ? AND f.value < ?", rowContainer, prefix, prefix+"\x7f")}, nil
	case query.Key:
		_, name, _ := strings.Cut(t.Text, "/")
		return []source{byPod("name", name)}, nil
	case query.Name:
		return []source{byPod("name", t.Text)}, nil
	case query.Node, query.HostIP:
		return s.byNode(ctx, t)
	case query.Label:
		if name, ok := strings.CutPrefix(t.Text, podNameLabel+"="); ok {
			return append(byShape(t.Kind, t.Text), byPod("name", name)), nil
		}
		return byShape(t.Kind, t.Text), nil
	default:
		return byShape(t.Kind, t.Text), nil
	}
}

// byNode returns a source for each record of a node: it has another one after its IPs have
// changed.
func (s *store) byNode(ctx context.Context, t query.Term) (sources []source, err error) {
	condition, arg := "name = ?", t.Text
	if t.Kind == query.HostIP {
		condition, arg = "ips LIKE ?", "%"+t.Addr.String()+"%"
	}
	rows, err := s.query(ctx, "SELECT id FROM nodes WHERE "+condition, arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		sources = append(sources, byPod("node", id), byFact("f.value = ?", rowNode, strconv.FormatInt(id, 10)))
	}
	return sources, rows.Err()
}

// candidates returns the lives that may match t from since until until, those of each
// source the latest first.
func (s *store) candidates(ctx context.Context, t query.Term, since, until int64) (found []*candidate, err error) {
	sources, err := s.sources(ctx, t)
	if err != nil {
		return nil, err
	}
	seen := map[int64]bool{}
	for _, from := range sources {
		text := "SELECT p.id, p.cluster, p.uid, p.name, p.from_ms, p.detail FROM " + from.tables + " WHERE " + from.condition +
			" AND " + from.begin + " <= ? AND (" + from.end + " IS NULL OR " + from.end + " > ?) ORDER BY " + from.begin + " DESC LIMIT " +
			strconv.Itoa(maxCandidates)
		if found, err = s.scan(ctx, found, seen, text, append(from.args, until, since)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (s *store) scan(ctx context.Context, found []*candidate, seen map[int64]bool, text string, args []any) ([]*candidate, error) {
	rows, err := s.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		c := &candidate{}
		var uid []byte
		if err := rows.Scan(&c.id, &c.cluster, &uid, &c.name, &c.Earliest, &c.detail); err != nil {
			return nil, err
		}
		if !seen[c.id] {
			seen[c.id], c.uid = true, uidText(uid)
			found = append(found, c)
		}
	}
	return found, rows.Err()
}

// query runs a statement, which is prepared once.
func (s *store) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if statement, ok := s.reading.Load(text); ok {
		return statement.(*sql.Stmt).QueryContext(ctx, args...)
	}
	statement, err := s.readers.PrepareContext(ctx, s.dialect.bind(text))
	if err != nil {
		return nil, err
	}
	if _, isThere := s.reading.LoadOrStore(text, statement); isThere {
		defer statement.Close()
	}
	return statement.QueryContext(ctx, args...)
}

// queryRow scans the one row of a statement with one argument.
func (s *store) queryRow(ctx context.Context, text string, arg any, into ...any) error {
	rows, err := s.query(ctx, text, arg)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return cmp.Or(rows.Err(), sql.ErrNoRows)
	}
	return rows.Scan(into...)
}

// holdersOf returns the intervals from since until until in which a life matches q.
func (s *store) holdersOf(ctx context.Context, c *candidate, q Query, since, until int64) (holders []Holder, err error) {
	if c.state, err = decodeDetail(&c.life, c.Earliest, c.detail); err != nil {
		return nil, err
	}
	v := view{life: &c.life}
	if err := s.resolve(ctx, &v); err != nil {
		return nil, err
	}
	for _, i := range v.matching(q.Terms) {
		if !i.Overlaps(since, until) {
			continue
		}
		spec := v.shown(q.Terms, i, until)
		if q.Allows == nil || q.Allows(spec.Namespace) {
			holders = append(holders, Holder{Spec: *spec, Interval: i, Life: c.Interval})
		}
	}
	return holders, nil
}

// resolve reads the shapes and nodes of a life.
func (s *store) resolve(ctx context.Context, v *view) (err error) {
	v.shapes, v.nodes = map[int64]*shape{}, map[int64]node{}
	for i := range v.life.facts {
		switch f := &v.life.facts[i]; f.kind {
		case factShape:
			v.shapes[f.ref], err = s.shape(ctx, f.ref)
		case factNode:
			v.nodes[f.ref], err = s.node(ctx, f.ref)
		default:
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *store) shape(ctx context.Context, id int64) (*shape, error) {
	s.dims.mu.Lock()
	found := s.dims.shapes[id]
	s.dims.mu.Unlock()
	if found != nil {
		return found, nil
	}
	var text string
	err := s.queryRow(ctx, `SELECT spec FROM shapes WHERE id = ?`, id, &text)
	if err != nil {
		return nil, fmt.Errorf("shape %d: %w", id, err)
	}
	found = &shape{}
	if err := found.decode([]byte(text)); err != nil {
		return nil, fmt.Errorf("shape %d: %w", id, err)
	}
	s.dims.mu.Lock()
	defer s.dims.mu.Unlock()
	if len(s.dims.shapes) >= maxDimensions || s.dims.shapes == nil {
		s.dims.shapes = map[int64]*shape{}
	}
	s.dims.shapes[id] = found
	return found, nil
}

func (s *store) node(ctx context.Context, id int64) (n node, err error) {
	s.dims.mu.Lock()
	n, ok := s.dims.nodes[id]
	s.dims.mu.Unlock()
	if ok {
		return n, nil
	}
	if err := s.queryRow(ctx, `SELECT name, ips FROM nodes WHERE id = ?`, id, &n.name, &n.ips); err != nil {
		return n, fmt.Errorf("node %d: %w", id, err)
	}
	s.dims.mu.Lock()
	defer s.dims.mu.Unlock()
	if len(s.dims.nodes) >= maxDimensions || s.dims.nodes == nil {
		s.dims.nodes = map[int64]node{}
	}
	s.dims.nodes[id] = n
	return n, nil
}

// record returns what was recorded of a cluster. Its gaps are those from since until until.
func (s *store) record(ctx context.Context, c clusterRow, since, until int64) (r Record, err error) {
	rows, err := s.query(ctx, `SELECT from_ms, to_ms, reason, namespaces FROM recordings WHERE cluster = ? ORDER BY id`, c.id)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	r.Cluster = c.name
	var begins, ends int64
	for first := true; rows.Next(); first = false {
		var from, to int64
		var reason, namespaces string
		if err := rows.Scan(&from, &to, &reason, &namespaces); err != nil {
			return r, err
		}
		r.Namespaces = nil
		if namespaces != "" {
			r.Namespaces = strings.Split(namespaces, ",")
		}
		if first {
			begins, ends = from, to
			continue
		}
		gap := Interval{Earliest: min(ends, from), Latest: max(ends, from)} // the clock may have been set back
		if gap.Latest > gap.Earliest && gap.Overlaps(since, until) {
			r.Gaps = append(r.Gaps, Gap{time.UnixMilli(gap.Earliest), time.UnixMilli(gap.Latest), Reason(reason)})
		}
		begins, ends = min(begins, from), to
	}
	r.Begins, r.Ends = time.UnixMilli(begins), time.UnixMilli(ends)
	return r, rows.Err()
}

func containerPrefix(id string) string {
	if _, after, ok := strings.Cut(id, "://"); ok {
		id = after
	}
	id = strings.ToLower(id)
	return id[:min(len(id), v1.ContainerIDPrefix)]
}

func canonicalIP(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	return query.Canonical(addr).String()
}
