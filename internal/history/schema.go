package history

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// migrations contain the statements that make each version of the schema from the one
// before. docs/history.md describes the tables.
//
// {blob} is the type of bytes, {id} that of a primary key, and {clustered} makes a
// table that is stored in the order of its key, where the engine has that. {time} and
// {/time} are around milliseconds that become a time, and {uid} is the text of a UID.
var migrations = [][]string{{
	`CREATE TABLE clusters (id {id}, name TEXT NOT NULL UNIQUE)`,
	`CREATE TABLE writers (cluster BIGINT PRIMARY KEY, holder TEXT NOT NULL, beat_ms BIGINT NOT NULL)`,
	`CREATE TABLE recordings (id {id}, cluster BIGINT NOT NULL, from_ms BIGINT NOT NULL, to_ms BIGINT NOT NULL,
		reason TEXT NOT NULL, namespaces TEXT NOT NULL, recorder TEXT NOT NULL)`,
	`CREATE TABLE nodes (id {id}, cluster BIGINT NOT NULL, name TEXT NOT NULL, ips TEXT NOT NULL)`,
	`CREATE INDEX nodes_by_name ON nodes (name)`,
	`CREATE TABLE shapes (id {id}, cluster BIGINT NOT NULL, hash {blob} NOT NULL, namespace TEXT NOT NULL, workload TEXT NOT NULL,
		spec TEXT NOT NULL)`,
	`CREATE INDEX shapes_by_hash ON shapes (hash)`,
	`CREATE TABLE shape_facts (kind TEXT NOT NULL, value TEXT NOT NULL, shape BIGINT NOT NULL,
		PRIMARY KEY (kind, value, shape)) {clustered}`,
	`CREATE INDEX shape_facts_by_shape ON shape_facts (shape)`,
	`CREATE TABLE pods (id {id}, cluster BIGINT NOT NULL, uid {blob} NOT NULL, name TEXT NOT NULL, node BIGINT, shape BIGINT NOT NULL,
		from_ms BIGINT NOT NULL, to_ms BIGINT, detail {blob} NOT NULL)`,
	// The first bytes are enough to find a UID, and take less space.
	`CREATE INDEX pods_by_uid ON pods (substr(uid, 1, 4))`,
	`CREATE INDEX pods_by_name ON pods (name)`,
	`CREATE INDEX pods_by_node ON pods (node, from_ms)`,
	`CREATE INDEX pods_by_shape ON pods (shape, from_ms)`,
	`CREATE INDEX pods_open ON pods (cluster) WHERE to_ms IS NULL`,
	`CREATE TABLE facts (kind TEXT NOT NULL, value TEXT NOT NULL, from_ms BIGINT NOT NULL, pod BIGINT NOT NULL, to_ms BIGINT,
		PRIMARY KEY (kind, value, from_ms, pod)) {clustered}`,
	// The views are for people. What began has the earliest time that is possible, and what
	// ended the latest. Node and workload are the last ones.
	`CREATE VIEW lives AS SELECT c.name AS cluster, s.namespace AS namespace, p.name AS pod, {uid} AS uid, n.name AS node, s.workload AS workload,
		{time}p.from_ms{/time} AS began, {time}p.to_ms{/time} AS ended, p.from_ms AS from_ms, p.to_ms AS to_ms, p.id AS id
		FROM pods p JOIN shapes s ON s.id = p.shape JOIN clusters c ON c.id = p.cluster LEFT JOIN nodes n ON n.id = p.node`,
	`CREATE VIEW holders AS
		SELECT 'ip' AS kind, f.value AS value, l.cluster AS cluster, l.namespace AS namespace, l.pod AS pod, l.uid AS uid, l.node AS node,
			l.workload AS workload, {time}f.from_ms{/time} AS began, {time}f.to_ms{/time} AS ended, f.from_ms AS from_ms, f.to_ms AS to_ms
			FROM facts f JOIN lives l ON l.id = f.pod WHERE f.kind = 'ip'
		UNION ALL SELECT 'container', f.value, l.cluster, l.namespace, l.pod, l.uid, l.node, l.workload,
			{time}f.from_ms{/time}, {time}f.to_ms{/time}, f.from_ms, f.to_ms
			FROM facts f JOIN lives l ON l.id = f.pod WHERE f.kind = 'id'
		UNION ALL SELECT 'pod', l.pod, l.cluster, l.namespace, l.pod, l.uid, l.node, l.workload, l.began, l.ended, l.from_ms, l.to_ms FROM lives l`,
}}

// schemaVersion is the version that this program reads and writes.
var schemaVersion = len(migrations)

// NewerSchemaError reports a store that a newer version of this program has changed.
type NewerSchemaError struct{ Version int }

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("the store has version %d of the schema, and this program reads up to %d: run the newer version, or use another store",
		e.Version, schemaVersion)
}

// migrate brings the schema to schemaVersion, in one transaction.
func migrate(ctx context.Context, db *sql.DB, d *dialect) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, statement := range d.beforeMigration {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	var version int
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM podinfolookup_schema`).Scan(&version); err != nil {
		return err
	}
	if version > schemaVersion {
		return &NewerSchemaError{version}
	}
	if version == schemaVersion {
		return tx.Commit()
	}
	for _, statements := range migrations[version:] {
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, d.types.Replace(statement)); err != nil {
				return fmt.Errorf("%w: in %s", err, strings.Join(strings.Fields(statement)[:3], " "))
			}
		}
	}
	if _, err := tx.ExecContext(ctx, d.bind(`INSERT INTO podinfolookup_schema (version) VALUES (?)`), schemaVersion); err != nil {
		return err
	}
	return tx.Commit()
}

// dialect is what differs between the engines.
type dialect struct {
	name string
	// types replaces the placeholders of migrations.
	types *strings.Replacer
	// beforeMigration makes the table of the version, and takes a lock where two programs
	// may migrate at once.
	beforeMigration []string
	// numbered reports that parameters are $1, $2 ... instead of question marks.
	numbered bool
	// stride is the distance of two IDs of a cluster, so that clusters that share a store
	// never give the same ID.
	stride int64
	// rows is the number of rows that one statement writes, a power of 4.
	rows int
	// keys is the number of rows that one statement deletes, a power of 4.
	keys int
}

// bind returns a statement with the engine's form of parameters.
func (d *dialect) bind(statement string) string {
	if !d.numbered {
		return statement
	}
	var out strings.Builder
	n := 0
	for _, c := range statement {
		if c == '?' {
			n++
			fmt.Fprintf(&out, "$%d", n)
			continue
		}
		out.WriteRune(c)
	}
	return out.String()
}
