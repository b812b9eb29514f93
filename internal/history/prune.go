package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

const (
	// pruneChunk bounds the rows that one step reads, and pruneBudget the time in which it
	// deletes. A step is one transaction, and changes wait for it.
	pruneChunk  = 512
	pruneBudget = 5 * time.Millisecond
	// Steps take up to a quarter of the time: after each comes a pause of pruneRest times
	// its duration, within these bounds.
	pruneRest    = 3
	minPruneRest = 2 * time.Millisecond
	maxPruneRest = 10 * time.Second
	// A pass begins after Retention/pruneShare, within these bounds.
	pruneShare   = 1000
	minPruneWait = time.Second
	maxPruneWait = 10 * time.Minute
	// maxSettle is how long nothing is deleted after the clock was set. A clock that is read
	// wrongly would delete everything otherwise.
	maxSettle = 10 * time.Minute
	// sizeShare is the part of the record that goes at once while the file is too large.
	sizeShare = 64
	// vacuumChunk is the number of pages that one step gives back to the file system.
	vacuumChunk = 128
	// maxWAL is the part of MaxBytes that is left to the log of the file.
	maxWAL = 16 << 20
)

// pruner deletes what is older than Config.Retention, and the oldest if the file is larger
// than Config.MaxBytes. It works on the goroutine of the Recorder, in short steps, after
// all changes so far were stored. So nothing that is not stored refers to what it deletes.
type pruner struct {
	retention time.Duration
	maxBytes  int64
	now       func() time.Time
	elapsed   func() time.Duration
	clock     clock

	store   *store // that the rest describes
	steps   []pruneStep
	next    time.Duration // when the next step may run, of elapsed
	settled time.Duration // until then nothing is deleted
	left    time.Duration // when the last batch began
	deleted int           // lives of this pass

	byAge    time.Duration // when the next pass because of the age is due, of elapsed
	horizon  int64         // because of the size
	isLarge  bool          // until the file is small enough
	isWhole  bool          // the horizon is the time of the pass
	idle     int           // passes in a row that have deleted nothing, because of the size
	isFull   bool          // the Pods that exist need too much: reported
	isFailed bool          // reported
}

// pruneStep does a part of a pass. It is called until it is done.
type pruneStep func(ctx context.Context) (isDone bool, err error)

func newPruner(c Config) *pruner {
	p := &pruner{retention: c.Retention, maxBytes: c.MaxBytes, now: c.Now, elapsed: c.Elapsed, clock: clock{now: c.Now, elapsed: c.Elapsed}}
	p.clock.set()
	p.settle()
	return p
}

// settle delays the deletion because of the age: the clock may be wrong.
func (p *pruner) settle() { p.settled = p.elapsed() + min(maxSettle, p.retention/10) }

// enter returns how long changes are collected, during which steps may run: d, or as long
// as the last batch took while the file is too large. So it does not grow faster than it
// shrinks.
func (p *pruner) enter(d time.Duration) time.Duration {
	if p.isLarge && !p.isFull {
		return max(d, p.elapsed()-p.left)
	}
	return d
}

// leave notes when a batch begins.
func (p *pruner) leave() { p.left = p.elapsed() }

// due returns a channel that is ready when a step may run, or nil if there is never one.
func (p *pruner) due() <-chan time.Time {
	if p.retention <= 0 && p.maxBytes <= 0 {
		return nil
	}
	return time.After(max(0, p.next-p.elapsed()))
}

// step runs a step. Only errors that end the session are returned; others are reported
// once, and the next pass tries again.
func (p *pruner) step(ctx context.Context, s *store) error {
	if p.store != s {
		p.store, p.steps, p.horizon, p.isLarge, p.isFull = s, nil, 0, false, false
	}
	if p.clock.wasSet() {
		p.settle()
	}
	began := p.elapsed()
	err := p.run(ctx)
	took := p.elapsed() - began
	p.next = p.elapsed() + min(max(minPruneRest, pruneRest*took), maxPruneRest)
	switch {
	case err == nil && len(p.steps) > 0:
	case err == nil:
		p.isFailed = false
		if !p.isLarge || p.isFull {
			p.next = p.elapsed() + p.interval()
		}
	case errors.Is(err, errOtherWriter) || isCorrupt(err):
		return err
	default:
		if ctx.Err() == nil && !p.isFailed {
			p.isFailed = true
			klog.FromContext(ctx).Error(err, "Cannot delete old Pods from the history: trying again")
		}
		p.steps, p.next = nil, p.elapsed()+max(p.interval(), maxRetry)
		s.forgetIDs() // rows may be deleted in spite of the error
	}
	return nil
}

// interval is the time between two passes. The size is looked at each second, unless there
// is nothing to delete.
func (p *pruner) interval() time.Duration {
	switch {
	case p.isFull:
		return maxPruneWait
	case p.maxBytes > 0 && p.store.path != "":
		return minPruneWait
	}
	return p.ageInterval()
}

func (p *pruner) ageInterval() time.Duration {
	return min(max(p.retention/pruneShare, minPruneWait), maxPruneWait)
}

func (p *pruner) run(ctx context.Context) error {
	if len(p.steps) == 0 {
		return p.begin(ctx)
	}
	isDone, err := p.steps[0](ctx)
	if err != nil || !isDone {
		return err
	}
	if p.steps = p.steps[1:]; len(p.steps) == 0 && p.deleted > 0 {
		klog.FromContext(ctx).V(2).Info("Deleted old Pods from the history", "pods", p.deleted)
	}
	return nil
}

// begin plans a pass.
func (p *pruner) begin(ctx context.Context) error {
	now := p.now().UnixMilli()
	horizon := int64(0)
	if p.retention > 0 && p.elapsed() >= max(p.settled, p.byAge) {
		horizon = now - p.retention.Milliseconds()
		p.byAge = p.elapsed() + p.ageInterval()
	}
	isSized, err := p.bySize(ctx, now)
	if err != nil {
		return err
	}
	if isSized {
		horizon = max(horizon, p.horizon)
	}
	p.deleted = 0
	if horizon > 0 {
		if err := p.plan(ctx, horizon); err != nil {
			return err
		}
	}
	if p.store.path != "" {
		p.steps = append(p.steps, p.shrink)
	}
	return nil
}

// bySize reports whether the file is too large, and moves the horizon then.
func (p *pruner) bySize(ctx context.Context, now int64) (bool, error) {
	if p.maxBytes <= 0 || p.store.path == "" {
		return false, nil
	}
	size, err := p.store.size(ctx)
	if err != nil {
		return false, err
	}
	switch high := p.high(); {
	case size.used <= high-high/10:
		p.isLarge, p.isFull = false, false
	case size.used > high && !p.isLarge:
		p.isLarge, p.isWhole, p.idle = true, false, 0
	case p.isLarge && p.deleted > 0:
		p.idle = 0
	case p.isLarge:
		p.idle++
	}
	if !p.isLarge {
		return false, nil
	}
	if p.isWhole && p.deleted == 0 && !p.isFull {
		p.isFull = true
		klog.FromContext(ctx).Info("The Pods that exist need more than the maximum size of the history: there is nothing to delete",
			"bytes", size.used, "maxBytes", p.maxBytes)
	}
	begins, err := p.store.begins(ctx)
	if err != nil {
		return false, err
	}
	part := max((now-begins)/sizeShare, time.Second.Milliseconds()) << min(p.idle, 10)
	p.horizon = min(max(p.horizon, begins)+part, now)
	p.isWhole = p.horizon == now
	return true, nil
}

// high is the size of the file without its log from which on it is too large.
func (p *pruner) high() int64 { return p.maxBytes - min(p.maxBytes/8, maxWAL) }

// target is a cluster with what goes of it.
type target struct {
	*pruner
	cluster int64
	horizon int64
	// isGone reports that nothing was recorded of the cluster after the horizon. Whatever is
	// open ended at an unknown time, and goes as well.
	isGone bool
	// isBack reports that a cluster that was gone is recorded again.
	isBack bool
}

// plan adds the steps for this cluster, and for those that nobody records any more.
func (p *pruner) plan(ctx context.Context, horizon int64) error {
	s := p.store
	targets := []*target{{pruner: p, cluster: s.clusterID, horizon: horizon}}
	rows, err := s.writer.QueryContext(ctx, s.dialect.bind(`SELECT cluster FROM writers WHERE beat_ms > 0 AND beat_ms < ? AND cluster <> ?`),
		horizon, s.clusterID)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		t := &target{pruner: p, horizon: horizon, isGone: true}
		if err := rows.Scan(&t.cluster); err != nil {
			return err
		}
		targets = append(targets, t)
	}
	for _, t := range targets {
		// The record begins later before anything is deleted: see laterBegins.
		p.steps = append(p.steps, t.recordings, t.lives(), t.unused("shapes", "shape", rowShape), t.unused("nodes", "node", rowNode))
		if t.isGone {
			p.steps = append(p.steps, t.finish)
		}
	}
	return rows.Err()
}

// transaction runs f in a transaction, if this store still is the writer. The row of the
// cluster is locked meanwhile, so that another writer waits.
func (t *target) transaction(ctx context.Context, f func(*sql.Tx) error) error {
	if t.isBack {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	s := t.store
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	if err := s.beat(ctx, tx, t.now().UnixMilli()); err != nil {
		return err
	}
	if t.isGone {
		result, err := tx.ExecContext(ctx, s.dialect.bind(`UPDATE writers SET beat_ms = beat_ms WHERE cluster = ? AND beat_ms < ?`), t.cluster, t.horizon)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			t.isBack = err == nil
			return err
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// finish notes that everything of a cluster that is gone was deleted.
func (t *target) finish(ctx context.Context) (bool, error) {
	return true, t.transaction(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, t.store.dialect.bind(`UPDATE writers SET beat_ms = 0 WHERE cluster = ?`), t.cluster)
		return err
	})
}

// recordings has the record begin at the horizon. The last recording stays, so that a
// Record has its end.
func (t *target) recordings(ctx context.Context) (bool, error) {
	return true, t.transaction(ctx, func(tx *sql.Tx) error {
		bind := t.store.dialect.bind
		_, err := tx.ExecContext(ctx, bind(`UPDATE recordings SET from_ms = CASE WHEN to_ms < ? THEN to_ms ELSE ? END WHERE cluster = ? AND from_ms < ?`),
			t.horizon, t.horizon, t.cluster, t.horizon)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, bind(`DELETE FROM recordings WHERE cluster = ? AND to_ms <= ? AND
			id < (SELECT max(id) FROM recordings WHERE cluster = ?)`), t.cluster, t.horizon, t.cluster)
		return err
	})
}

// lives returns the step that deletes lives. It walks them by ID, because an index by
// their ends would cost too much. IDs are in the order of insertion: after a life that
// began after the horizon come only those that end after it.
func (t *target) lives() pruneStep {
	cursor := int64(-1)
	return func(ctx context.Context) (isDone bool, err error) {
		s := t.store
		if err := s.prepare(ctx, s.keyTexts()...); err != nil {
			return false, err
		}
		err = t.transaction(ctx, func(tx *sql.Tx) error {
			found, last, isLast, err := t.ended(ctx, tx, cursor)
			if err != nil {
				return err
			}
			began, n := t.elapsed(), 0
			for len(found) > 0 && (n == 0 || t.elapsed()-began < pruneBudget) {
				some := found[:min(len(found), s.dialect.keys)]
				if err := s.deleteLives(ctx, tx, some); err != nil {
					return err
				}
				cursor, found, n = some[len(some)-1].id, found[len(some):], n+len(some)
			}
			if t.deleted += n; len(found) == 0 {
				cursor, isDone = last, isLast
			}
			return nil
		})
		return isDone || t.isBack, err
	}
}

// ended returns the lives of the next chunk after the ID cursor that ended before the
// horizon, the last ID of the chunk, and whether no other chunk has one.
func (t *target) ended(ctx context.Context, tx *sql.Tx, cursor int64) (found []*life, last int64, isLast bool, err error) {
	ifOpen, horizon := int64(open), t.horizon
	if t.isGone {
		ifOpen, horizon = 0, open
	}
	rows, err := tx.QueryContext(ctx, t.store.dialect.bind(`SELECT id, from_ms, CASE WHEN coalesce(to_ms, ?) <= ? THEN detail END
		FROM pods WHERE cluster = ? AND id > ? ORDER BY id LIMIT ?`), ifOpen, horizon, t.cluster, cursor, pruneChunk)
	if err != nil {
		return nil, 0, false, err
	}
	defer rows.Close()
	n, now := 0, t.now().UnixMilli()
	for rows.Next() {
		l := &life{}
		var detail []byte
		if err := rows.Scan(&l.id, &l.Earliest, &detail); err != nil {
			return nil, 0, false, err
		}
		n, last = n+1, l.id
		isLast = !t.isGone && l.Earliest > t.horizon && l.Earliest <= now // not if the clock was wrong then
		if detail == nil {
			continue
		}
		// Of a malformed life the facts stay. They refer to no life, and so match nothing.
		_, _ = decodeDetail(l, l.Earliest, detail)
		found = append(found, l)
	}
	return found, last, isLast || n < pruneChunk, rows.Err()
}

// unused returns the step that deletes rows of a dimension that no life refers to: by the
// column of pods, or by the kind of facts. The last ID stays, so that it is not given to
// another one: readers cache what they have read.
func (t *target) unused(table, column, kind string) pruneStep {
	cursor := int64(-1)
	return func(ctx context.Context) (isDone bool, err error) {
		var ids []int64
		err = t.transaction(ctx, func(tx *sql.Tx) error {
			rows, err := tx.QueryContext(ctx, t.store.dialect.bind(`SELECT d.id, CASE WHEN EXISTS (SELECT 1 FROM pods p WHERE p.`+column+` = d.id) OR
				EXISTS (SELECT 1 FROM facts f WHERE f.kind = '`+kind+`' AND f.value = CAST(d.id AS TEXT)) THEN 1 ELSE 0 END
				FROM `+table+` d WHERE d.cluster = ? AND d.id > ? AND d.id < (SELECT max(id) FROM `+table+` WHERE cluster = ?) ORDER BY d.id LIMIT ?`),
				t.cluster, cursor, t.cluster, pruneChunk)
			if err != nil {
				return err
			}
			defer rows.Close()
			n := 0
			for ; rows.Next(); n++ {
				var isUsed int
				if err := rows.Scan(&cursor, &isUsed); err != nil {
					return err
				}
				if isUsed == 0 {
					ids = append(ids, cursor)
				}
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return err
			}
			isDone = n < pruneChunk
			return t.store.deleteDimension(ctx, tx, table, ids)
		})
		if err == nil && len(ids) > 0 {
			t.store.forgetIDs()
		}
		return isDone || t.isBack, err
	}
}

// forgetIDs empties the caches of IDs, some of which were deleted.
func (s *store) forgetIDs() {
	clear(s.shapeIDs)
	clear(s.nodeIDs)
}

func (s *store) deleteDimension(ctx context.Context, tx *sql.Tx, table string, ids []int64) error {
	statements := []string{"DELETE FROM " + table + " WHERE id = ?"}
	if table == "shapes" {
		statements = append(statements, "DELETE FROM shape_facts WHERE shape = ?")
	}
	for _, id := range ids {
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, s.dialect.bind(statement), id); err != nil {
				return err
			}
		}
	}
	return nil
}

// keyTexts returns the statements of deleteLives.
func (s *store) keyTexts() (texts []string) {
	for n := s.dialect.keys; n > 0; n /= 4 {
		texts = append(texts, deleteText("facts", factKey, n), deleteText("pods", podKey, n))
	}
	return texts
}

const (
	podKey  = "id = ?"
	factKey = "kind = ? AND value = ? AND from_ms = ? AND pod = ?"
)

// deleteText returns a statement that deletes n rows by their keys.
func deleteText(table, key string, n int) string {
	return "DELETE FROM " + table + " WHERE " + strings.TrimSuffix(strings.Repeat("("+key+") OR ", n), " OR ")
}

// deleteLives deletes lives with the rows of their facts.
func (s *store) deleteLives(ctx context.Context, tx *sql.Tx, lives []*life) error {
	var facts, pods [][]any
	for _, l := range lives {
		for i := range l.facts {
			if l.hasRow(i) {
				f := &l.facts[i]
				kind, value := f.row()
				facts = append(facts, []any{kind, value, f.Earliest, l.id})
			}
		}
		pods = append(pods, []any{l.id})
	}
	if err := s.deleteKeys(ctx, tx, "facts", factKey, facts); err != nil {
		return err
	}
	return s.deleteKeys(ctx, tx, "pods", podKey, pods)
}

func (s *store) deleteKeys(ctx context.Context, tx *sql.Tx, table, key string, rows [][]any) error {
	for len(rows) > 0 {
		n := s.dialect.keys
		for n > len(rows) {
			n /= 4
		}
		args := make([]any, 0, n*len(rows[0]))
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		if _, err := tx.StmtContext(ctx, s.statements[deleteText(table, key, n)]).ExecContext(ctx, args...); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// begins returns when the record of this cluster begins.
func (s *store) begins(ctx context.Context) (at int64, err error) {
	err = s.writer.QueryRowContext(ctx, s.dialect.bind(`SELECT coalesce(min(from_ms), 0) FROM recordings WHERE cluster = ?`), s.clusterID).Scan(&at)
	return at, err
}

// fileSize describes the file of a store in bytes: how much of it is used, how much is
// not, and how much its log has.
type fileSize struct{ used, free, log, page int64 }

func (s *store) size(ctx context.Context) (size fileSize, err error) {
	var pages int64
	for pragma, to := range map[string]*int64{"page_count": &pages, "freelist_count": &size.free, "page_size": &size.page} {
		if err := s.writer.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(to); err != nil {
			return size, err
		}
	}
	size.free *= size.page
	size.used = pages*size.page - size.free
	if log, err := os.Stat(s.path + "-wal"); err == nil {
		size.log = log.Size()
	}
	return size, nil
}

// shrink gives free pages back to the file system: what exceeds the maximum, or else a
// fifth of the file, because changes use free pages first.
func (p *pruner) shrink(ctx context.Context) (bool, error) {
	size, err := p.store.size(ctx)
	if err != nil {
		return false, err
	}
	file, isLimited := size.used+size.free, p.maxBytes > 0
	isTooLarge := isLimited && file > p.high()
	if size.free < vacuumChunk*size.page || !isTooLarge && size.free < file/5 {
		if isLimited && file+size.log > p.maxBytes {
			return true, p.store.truncateLog(ctx)
		}
		return true, nil
	}
	// The pragma frees a page with each row that it returns.
	rows, err := p.store.writer.QueryContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", vacuumChunk))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		continue
	}
	return false, rows.Err()
}

// truncateLog moves the log into the file and empties it. It does not wait for readers: the
// next pass tries again.
func (s *store) truncateLog(ctx context.Context) error {
	for _, pragma := range []string{"busy_timeout(0)", "wal_checkpoint(TRUNCATE)", fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds())} {
		if _, err := s.writer.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	return nil
}

// laterBegins corrects the beginnings of records after the lives were read, because lives
// may have been deleted meanwhile.
func (s *store) laterBegins(ctx context.Context, clusters []clusterRow, records []Record) error {
	for i, c := range clusters {
		var begins int64
		if err := s.queryRow(ctx, `SELECT coalesce(min(from_ms), 0) FROM recordings WHERE cluster = ?`, c.id, &begins); err != nil {
			return err
		}
		if at := time.UnixMilli(begins); at.After(records[i].Begins) {
			records[i].Begins = at
		}
	}
	return nil
}
