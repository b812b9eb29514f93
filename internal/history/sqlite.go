package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"k8s.io/klog/v2"
)

var sqliteDialect = &dialect{
	name: "sqlite",
	types: strings.NewReplacer("{blob}", "BLOB", "{id}", "INTEGER PRIMARY KEY", "{clustered}", "WITHOUT ROWID",
		"{time}", "strftime('%Y-%m-%dT%H:%M:%fZ', ", "{/time}", " / 1000.0, 'unixepoch')",
		"{uid}", `CASE length(p.uid) WHEN 16 THEN lower(substr(hex(p.uid), 1, 8) || '-' || substr(hex(p.uid), 9, 4) || '-' ||
			substr(hex(p.uid), 13, 4) || '-' || substr(hex(p.uid), 17, 4) || '-' || substr(hex(p.uid), 21)) ELSE CAST(p.uid AS TEXT) END`),
	beforeMigration: []string{
		`CREATE TABLE IF NOT EXISTS podinfolookup_schema (version INTEGER PRIMARY KEY)`,
	},
	stride: 1,
	rows:   16,
	keys:   1,
}

const (
	// sqliteReaders is the number of connections that read. Each has a cache of 1 MiB.
	sqliteReaders = 4
	// busyTimeout bounds how long a statement waits for another process that has the file.
	busyTimeout = 2 * time.Second
)

// openSQLite opens a file, or makes a new one, with its directory. The writer is one
// connection, because the engine allows no second one, and readers never wait for it (WAL).
// A damaged file is moved aside.
func openSQLite(ctx context.Context, path, cluster string) (*store, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	lock, err := lockSQLite(ctx, path)
	if err != nil {
		return nil, err
	}
	s, err := openLocked(ctx, path, cluster)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

// lockSQLite takes the right to write to a file, until it is closed or the process ends. It
// is the lock of another file, so that people can read this one.
func lockSQLite(ctx context.Context, path string) (*sql.DB, error) {
	lock, err := sql.Open("sqlite", sqliteName(path+".lock", "busy_timeout(0)"))
	if err != nil {
		return nil, err
	}
	lock.SetMaxOpenConns(1)
	lock.SetConnMaxLifetime(0)
	if _, err := lock.ExecContext(ctx, "BEGIN EXCLUSIVE"); err != nil {
		if isBusy(err) {
			err = fmt.Errorf("%w: %s", errOtherWriter, path)
		}
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func openLocked(ctx context.Context, path, cluster string) (*store, error) {
	writer, err := sql.Open("sqlite", sqliteName(path,
		"auto_vacuum(INCREMENTAL)", // only before the first table: pages go back to the file system
		"journal_mode(WAL)", "synchronous(NORMAL)", "wal_autocheckpoint(2000)", "journal_size_limit(16777216)", "cache_size(-8192)"))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	if err := migrate(ctx, writer, sqliteDialect); err != nil {
		err = errors.Join(err, writer.Close())
		if isCorrupt(err) {
			moveAside(ctx, path)
		}
		return nil, err
	}
	readers, err := sql.Open("sqlite", sqliteName(path, "query_only(true)", "cache_size(-1024)"))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	readers.SetMaxOpenConns(sqliteReaders)
	readers.SetMaxIdleConns(sqliteReaders)
	s := newStore(sqliteDialect, cluster, writer, readers)
	s.path = path
	if s.file, err = os.Stat(path); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// moveAside renames a damaged file and its log, so that a new one can begin. One such file
// is kept: the last.
func moveAside(ctx context.Context, path string) {
	aside := path + ".corrupt"
	err := os.Rename(path, aside)
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(path + suffix) // of a file that is not there any more
	}
	klog.FromContext(ctx).Error(err, "The history is damaged, another one begins", "movedTo", aside)
}

// MinBytes is the smallest size that the file of a history may be limited to.
const MinBytes = 16 << 20

// CheckLocation reports what is wrong with a Config.Location.
func CheckLocation(location string) error {
	_, err := opener(Config{Location: location})
	return err
}

// opener returns what opens the store of a location.
func opener(c Config) (func(context.Context) (*store, error), error) {
	if isPostgres(c.Location) {
		config, err := postgresConfig(c.Location)
		return func(ctx context.Context) (*store, error) { return openPostgres(ctx, config, c.PasswordFile, c.Cluster) }, err
	}
	path := strings.TrimPrefix(c.Location, "sqlite:")
	scheme, _, isURL := strings.Cut(path, "://")
	switch {
	case isURL:
		return nil, fmt.Errorf("%s:// is not supported: FILE, sqlite:FILE or postgres://USER@HOST/DATABASE is needed", scheme)
	case path == "" || strings.HasSuffix(path, "/"):
		return nil, errors.New("the name of a file is missing: FILE, sqlite:FILE or postgres://USER@HOST/DATABASE is needed")
	}
	return func(ctx context.Context) (*store, error) { return openSQLite(ctx, path, c.Cluster) }, nil
}

func sqliteName(path string, pragmas ...string) string {
	params := url.Values{"_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()),
		"temp_store(MEMORY)", // the file system may be read-only but for the file's directory
	}, pragmas...), "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: params.Encode()}).String()
}

func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_BUSY
}

// isCorrupt reports that a file is no database, or a damaged one.
func isCorrupt(err error) bool {
	if errors.Is(err, errDetail) {
		return true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}
