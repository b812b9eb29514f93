package history

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// maxCached bounds each cache of IDs in entries of some 50 bytes.
const maxCached = 1 << 14

// store reads and writes the tables of one engine. One goroutine writes; any number may
// read.
type store struct {
	dialect *dialect
	path    string // of the file; "" without one
	file    os.FileInfo
	lock    *sql.DB // held open for the right to write; nil without a file
	cluster string  // the name of the cluster that is recorded
	holder  string  // of the right to write, another one for each store
	writer  *sql.DB
	readers *sql.DB
	dims    dimensions // of readers
	reading sync.Map   // the statements of readers, *sql.Stmt by text

	// Of the writer, set by takeOver.
	clusterID  int64
	ids        map[string]int64 // the last ID of a table
	statements map[string]*sql.Stmt
	shapeIDs   map[shapeKey]int64
	nodeIDs    map[node]int64
	// newShapes and newNodes are not stored yet.
	newShapes []newShape
	newNodes  []newNode
	// recording is the one that goes on, 0 before the first commit of it.
	recording int64
}

// node is a node with its IPs, joined by commas.
type node struct{ name, ips string }

type newNode struct {
	id int64
	node
}

type newShape struct {
	id    int64
	key   shapeKey
	text  []byte
	facts []shapeFact
	shape
}

type shapeFact struct {
	kind  query.Kind
	value string
}

// errOtherWriter reports that another process has taken over the writing.
var errOtherWriter = errors.New("another process records into this store: give each one its own, or use --leader-elect with PostgreSQL")

func newStore(d *dialect, cluster string, writer, readers *sql.DB) *store {
	return &store{
		dialect: d, cluster: cluster, holder: rand.Text(), writer: writer, readers: readers,
		ids: map[string]int64{}, statements: map[string]*sql.Stmt{},
		shapeIDs: map[shapeKey]int64{}, nodeIDs: map[node]int64{},
	}
}

func (s *store) close() error {
	errs := make([]error, 0, len(s.statements)+2)
	for _, statement := range s.statements {
		errs = append(errs, statement.Close())
	}
	for _, statement := range s.reading.Range {
		errs = append(errs, statement.(*sql.Stmt).Close())
	}
	errs = append(errs, s.readers.Close())
	if s.writer != s.readers {
		errs = append(errs, s.writer.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// check reports that the file is not the one that was opened: it was deleted, replaced or
// truncated.
func (s *store) check() error {
	if s.path == "" {
		return nil
	}
	file, err := os.Stat(s.path)
	if err != nil || !os.SameFile(file, s.file) || file.Size() == 0 {
		return errLost
	}
	return nil
}

// bytes returns the size of the file and its log.
func (s *store) bytes() (n int64) {
	if s.path == "" {
		return 0
	}
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path + suffix); err == nil {
			n += info.Size()
		}
	}
	return n
}

// previous is what a store has of a cluster when a writer takes over.
type previous struct {
	lives map[string]*life // by UID; without an end
	until int64            // when the last recording ended; 0 without one
}

// takeOver makes this store the writer of its cluster, and returns what is recorded.
// Another writer gets errOtherWriter with its next commit.
func (s *store) takeOver(ctx context.Context, now int64) (*previous, error) {
	ctx, cancel := context.WithTimeout(ctx, takeOverTimeout)
	defer cancel()
	if err := s.claim(ctx, now); err != nil {
		return nil, err
	}
	s.forgetIDs()
	s.newShapes, s.newNodes, s.recording = nil, nil, 0
	for _, table := range []string{"pods", "shapes", "nodes", "recordings"} {
		id, err := s.lastID(ctx, table)
		if err != nil {
			return nil, err
		}
		s.ids[table] = id
	}
	p := &previous{lives: map[string]*life{}}
	err := s.writer.QueryRowContext(ctx, s.dialect.bind(`SELECT coalesce(max(to_ms), 0) FROM recordings WHERE cluster = ?`), s.clusterID).Scan(&p.until)
	if err != nil {
		return nil, err
	}
	rows, err := s.writer.QueryContext(ctx, s.dialect.bind(`SELECT id, uid, name, from_ms, detail FROM pods WHERE cluster = ? AND to_ms IS NULL`), s.clusterID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		l := &life{}
		var uid, detail []byte
		if err := rows.Scan(&l.id, &uid, &l.name, &l.Earliest, &detail); err != nil {
			return nil, err
		}
		if l.state, err = decodeDetail(l, l.Earliest, detail); err != nil {
			return nil, err
		}
		l.uid = uidText(uid)
		p.lives[l.uid] = l
	}
	return p, rows.Err()
}

// claim makes this store the writer of its cluster, which gets an ID with the first claim.
func (s *store) claim(ctx context.Context, now int64) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	err = tx.QueryRowContext(ctx, s.dialect.bind(`SELECT id FROM clusters WHERE name = ?`), s.cluster).Scan(&s.clusterID)
	if errors.Is(err, sql.ErrNoRows) {
		err = tx.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) + 1 FROM clusters`).Scan(&s.clusterID)
		if err == nil {
			_, err = tx.ExecContext(ctx, s.dialect.bind(`INSERT INTO clusters (id, name) VALUES (?, ?)`), s.clusterID, s.cluster)
		}
	}
	if err != nil {
		return err
	}
	if s.dialect.stride > 1 && s.clusterID >= s.dialect.stride {
		return fmt.Errorf("the store has %d clusters already: use another one", s.dialect.stride-1)
	}
	_, err = tx.ExecContext(ctx, s.dialect.bind(`INSERT INTO writers (cluster, holder, beat_ms) VALUES (?, ?, ?)
		ON CONFLICT (cluster) DO UPDATE SET holder = excluded.holder, beat_ms = excluded.beat_ms`), s.clusterID, s.holder, now)
	if err != nil {
		return err
	}
	return tx.Commit()
}

// lastID returns the last ID of this cluster in a table.
func (s *store) lastID(ctx context.Context, table string) (id int64, err error) {
	if s.dialect.stride == 1 {
		err = s.writer.QueryRowContext(ctx, "SELECT coalesce(max(id), 0) FROM "+table).Scan(&id)
		return id, err
	}
	statement := s.dialect.bind("SELECT coalesce(max(id), 0) FROM " + table + " WHERE cluster = ?")
	if err = s.writer.QueryRowContext(ctx, statement, s.clusterID).Scan(&id); err == nil && id == 0 {
		id = s.clusterID
	}
	return id, err
}

func (s *store) nextID(table string) int64 {
	s.ids[table] += s.dialect.stride
	return s.ids[table]
}

// refsOf returns the IDs of the node and of the shape of a spec. A new one is stored with
// the next commit. l is the life of the Pod so far, or nil.
func (s *store) refsOf(ctx context.Context, spec *v1.TestcrSpec, l *life) (r refs, err error) {
	if l != nil && l.spec != nil && isSameShape(l.spec, spec) && l.spec.NodeName == spec.NodeName && nodeIPs(l.spec) == nodeIPs(spec) {
		return l.last(), nil
	}
	text, key := encodeShape(spec)
	if r.shape, err = s.shapeID(ctx, text, key); err != nil || spec.NodeName == "" {
		return r, err
	}
	r.node, err = s.nodeID(ctx, node{spec.NodeName, nodeIPs(spec)})
	return r, err
}

func nodeIPs(spec *v1.TestcrSpec) string {
	if len(spec.HostIPs) > 0 {
		return strings.Join(spec.HostIPs, ",")
	}
	return spec.HostIP
}

func (s *store) shapeID(ctx context.Context, text []byte, key shapeKey) (int64, error) {
	if id, ok := s.shapeIDs[key]; ok {
		return id, nil
	}
	var id int64
	err := s.writer.QueryRowContext(ctx, s.dialect.bind(`SELECT id FROM shapes WHERE hash = ? AND cluster = ?`), key[:], s.clusterID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		id, err = s.nextID("shapes"), nil
		s.newShapes = append(s.newShapes, newShapeOf(id, text, key))
	}
	if err != nil {
		return 0, err
	}
	if len(s.shapeIDs) >= maxCached {
		clear(s.shapeIDs)
		for _, n := range s.newShapes { // the store does not have them yet
			s.shapeIDs[n.key] = n.id
		}
	}
	s.shapeIDs[key] = id
	return id, nil
}

// newShapeOf returns the rows of a shape. Its facts are those of the text, which may
// have less than the Pod.
func newShapeOf(id int64, text []byte, key shapeKey) newShape {
	n := newShape{id: id, key: key, text: text}
	_ = n.decode(text) // it was encoded just now
	n.shape.facts(func(kind query.Kind, value string) {
		if f := (shapeFact{kind, value}); len(value) <= maxValue && !slices.Contains(n.facts, f) {
			n.facts = append(n.facts, f)
		}
	})
	return n
}

func (s *store) nodeID(ctx context.Context, n node) (int64, error) {
	if id, ok := s.nodeIDs[n]; ok {
		return id, nil
	}
	var id int64
	err := s.writer.QueryRowContext(ctx, s.dialect.bind(`SELECT id FROM nodes WHERE name = ? AND ips = ? AND cluster = ?`), n.name, n.ips, s.clusterID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		id, err = s.nextID("nodes"), nil
		s.newNodes = append(s.newNodes, newNode{id, n})
	}
	if err != nil {
		return 0, err
	}
	if len(s.nodeIDs) >= maxCached {
		clear(s.nodeIDs)
		for _, n := range s.newNodes {
			s.nodeIDs[n.node] = n.id
		}
	}
	s.nodeIDs[n] = id
	return id, nil
}

// progress is the recording that a commit extends.
type progress struct {
	from, to   int64
	reason     Reason // why a new recording begins
	namespaces []string
	recorder   string
}

// commit stores lives and the progress of the recording, all or nothing. It may be
// repeated with the same lives: each row replaces its former self.
func (s *store) commit(ctx context.Context, lives []*life, p progress) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	b := &batch{store: s}
	b.shapes()
	b.nodes()
	b.lives(lives)
	recording := b.progress(p)
	if err := b.run(ctx, p.to); err != nil {
		if isMissing(err) {
			err = fmt.Errorf("%w: %w", errLost, err)
		}
		return err
	}
	s.newShapes, s.newNodes, s.recording = nil, nil, recording
	for _, l := range lives {
		l.isDirty, l.dropped = false, nil
		for i := range l.facts {
			l.facts[i].isDirty = false
		}
	}
	return nil
}

// batch is the statements of one transaction.
type batch struct {
	store *store
	texts []string
	args  [][]any
}

// run executes the statements in a transaction. They are prepared before it begins,
// because it takes the only connection.
func (b *batch) run(ctx context.Context, now int64) error {
	s := b.store
	if err := s.prepare(ctx, b.texts...); err != nil {
		return err
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := s.beat(ctx, tx, now); err != nil {
		return err
	}
	for i, text := range b.texts {
		if _, err := tx.StmtContext(ctx, s.statements[text]).ExecContext(ctx, b.args[i]...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *store) prepare(ctx context.Context, texts ...string) error {
	for _, text := range texts {
		if s.statements[text] != nil {
			continue
		}
		statement, err := s.writer.PrepareContext(ctx, s.dialect.bind(text))
		if err != nil {
			return err
		}
		s.statements[text] = statement
	}
	return nil
}

// beat shows that this writer still is the only one.
func (s *store) beat(ctx context.Context, tx *sql.Tx, now int64) error {
	result, err := tx.ExecContext(ctx, s.dialect.bind(`UPDATE writers SET beat_ms = ? WHERE cluster = ? AND holder = ?`), now, s.clusterID, s.holder)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(errOtherWriter, err)
	}
	return nil
}

func (b *batch) shapes() {
	var shapes, facts [][]any
	for i := range b.store.newShapes {
		n := &b.store.newShapes[i]
		shapes = append(shapes, []any{n.id, b.store.clusterID, n.key[:], n.Namespace, n.WorkloadName, string(n.text)})
		for _, f := range n.facts {
			facts = append(facts, []any{string(f.kind), f.value, n.id})
		}
	}
	b.upsert("shapes (id, cluster, hash, namespace, workload, spec)", "(id) DO NOTHING", shapes)
	b.upsert("shape_facts (kind, value, shape)", "(kind, value, shape) DO NOTHING", facts)
}

func (b *batch) nodes() {
	var nodes [][]any
	for _, n := range b.store.newNodes {
		nodes = append(nodes, []any{n.id, b.store.clusterID, n.name, n.ips})
	}
	b.upsert("nodes (id, cluster, name, ips)", "(id) DO NOTHING", nodes)
}

// The kinds of the table facts.
const (
	rowIP        = "ip"
	rowContainer = "id" // of a container
	rowUID       = "uid"
	rowShape     = "shape" // a shape that a Pod had before its last one
	rowNode      = "node"  // the same of a node, whose IPs have changed
)

func (b *batch) lives(lives []*life) {
	pods, facts := make([][]any, 0, len(lives)), make([][]any, 0, 4*len(lives))
	for _, l := range lives {
		if !l.isDirty {
			continue
		}
		r := l.last()
		pods = append(pods, []any{
			l.id, b.store.clusterID, uidBytes(l.uid), l.name, nullable(r.node, 0), r.shape, l.Earliest, nullable(l.Latest, open), encodeDetail(l),
		})
		for i := range l.facts {
			if f := &l.facts[i]; f.isDirty && l.hasRow(i) {
				kind, value := f.row()
				facts = append(facts, []any{kind, value, f.Earliest, l.id, nullable(f.Latest, open)})
			}
		}
		for i := range l.dropped {
			f := &l.dropped[i]
			if kind, value := f.row(); kind != "" {
				b.texts, b.args = append(b.texts, deleteText("facts", factKey, 1)), append(b.args, []any{kind, value, f.Earliest, l.id})
			}
		}
	}
	b.upsert("pods (id, cluster, uid, name, node, shape, from_ms, to_ms, detail)",
		"(id) DO UPDATE SET node = excluded.node, shape = excluded.shape, to_ms = excluded.to_ms, detail = excluded.detail", pods)
	b.upsert("facts (kind, value, from_ms, pod, to_ms)", "(kind, value, from_ms, pod) DO UPDATE SET to_ms = excluded.to_ms", facts)
}

// last returns the last node and the last shape of a life.
func (l *life) last() (r refs) {
	for i := range l.facts {
		switch f := &l.facts[i]; f.kind {
		case factNode:
			r.node = f.ref
		case factShape:
			r.shape = f.ref
		default:
		}
	}
	return r
}

// row returns the kind and the value of the row of a fact, or "" if it has none.
func (f *fact) row() (kind, value string) {
	switch f.kind {
	case factIP, factNetworkIP:
		ip, _, _ := strings.Cut(f.value, " ")
		return rowIP, canonicalIP(ip)
	case factContainer:
		return rowContainer, containerPrefix(f.value)
	case factNodeUID:
		return rowUID, query.CanonicalUID(f.value)
	case factShape:
		return rowShape, strconv.FormatInt(f.ref, 10)
	case factNode:
		return rowNode, strconv.FormatInt(f.ref, 10)
	}
	return "", ""
}

// hasRow reports whether the fact i of a life has a row. The last shape and the last node
// have none: those of the life are found by its own row.
func (l *life) hasRow(i int) bool {
	f := &l.facts[i]
	if f.kind == factShape || f.kind == factNode {
		isLast := !slices.ContainsFunc(l.facts[i+1:], func(later fact) bool { return later.kind == f.kind })
		return !f.isOpen() && (!isLast || f.Latest < l.Latest)
	}
	kind, _ := f.row()
	return kind != ""
}

// progress extends the recording, and returns its ID.
func (b *batch) progress(p progress) int64 {
	id := b.store.recording
	if id == 0 {
		id = b.store.nextID("recordings")
	}
	b.upsert("recordings (id, cluster, from_ms, to_ms, reason, namespaces, recorder)", "(id) DO UPDATE SET to_ms = excluded.to_ms",
		[][]any{{id, b.store.clusterID, p.from, p.to, string(p.reason), strings.Join(p.namespaces, ","), p.recorder}})
	return id
}

// upsert adds statements of dialect.rows rows, and smaller ones for the rest.
func (b *batch) upsert(into, onConflict string, rows [][]any) {
	for len(rows) > 0 {
		n := b.store.dialect.rows
		for n > len(rows) {
			n /= 4
		}
		row := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(rows[0])), ", ") + ")"
		b.texts = append(b.texts, "INSERT INTO "+into+" VALUES "+strings.TrimSuffix(strings.Repeat(row+", ", n), ", ")+" ON CONFLICT "+onConflict)
		b.args = append(b.args, slices.Concat(rows[:n]...))
		rows = rows[n:]
	}
}

func nullable(n, null int64) any {
	if n == null {
		return nil
	}
	return n
}

// uidBytes returns the 16 bytes of a UUID, or the text of another UID.
func uidBytes(uid string) []byte {
	if id, err := uuid.Parse(uid); err == nil && id.String() == uid {
		return id[:]
	}
	return []byte(uid)
}

func uidText(raw []byte) string {
	if len(raw) == len(uuid.UUID{}) {
		return uuid.UUID(raw).String()
	}
	return string(raw)
}

// dimensions cache nodes and shapes by their IDs.
type dimensions struct {
	mu     sync.Mutex
	shapes map[int64]*shape
	nodes  map[int64]node
}
