package history

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresDialect relies on what PostgreSQL-compatible distributed engines have, too: INSERT
// ... ON CONFLICT, partial indexes, views with to_timestamp and encode, transactions that
// create tables, and READ COMMITTED, in which an UPDATE waits for another one of its row
// and then sees what that has written. It needs no extension, no advisory lock and no
// sequence.
var postgresDialect = &dialect{
	name: "postgres",
	types: strings.NewReplacer("{blob}", "BYTEA", "{id}", "BIGINT PRIMARY KEY", "{clustered}", "",
		"{time}", "to_timestamp(", "{/time}", " / 1000.0)",
		"{uid}", `CASE length(p.uid) WHEN 16 THEN CAST(CAST(encode(p.uid, 'hex') AS UUID) AS TEXT) ELSE convert_from(p.uid, 'UTF8') END`),
	beforeMigration: []string{
		`CREATE TABLE IF NOT EXISTS podinfolookup_schema (version INTEGER PRIMARY KEY)`,
		`INSERT INTO podinfolookup_schema (version) VALUES (0) ON CONFLICT (version) DO NOTHING`,
		`UPDATE podinfolookup_schema SET version = 0 WHERE version = 0`, // locks the row
	},
	numbered: true,
	stride:   1024,
	rows:     64,
	keys:     64,
}

const (
	// postgresReaders is the number of connections that read. One writes.
	postgresReaders = 4
	// postgresIdle is how long a connection stays open without a use.
	postgresIdle = 5 * time.Minute
	// connectTimeout bounds one attempt, unless the URL or PGCONNECT_TIMEOUT has another one.
	connectTimeout = 5 * time.Second
	// keepAlive is how soon a dead connection is noticed, in a few of its probes.
	keepAlive = 15 * time.Second
	// migrationTries is how often two programs that create the tables at once try.
	migrationTries = 5
	// maxPassword bounds the file of a password in bytes.
	maxPassword = 4096
)

// isPostgres reports whether a location is that of a PostgreSQL.
func isPostgres(location string) bool {
	return strings.HasPrefix(location, "postgres://") || strings.HasPrefix(location, "postgresql://")
}

// postgresConfig returns the configuration of a URL, completed by the environment and the
// files that libpq reads: PGPASSWORD, PGPASSFILE, PGSSLMODE and so on. Its errors do not
// contain the password.
func postgresConfig(location string) (*pgx.ConnConfig, error) {
	parsed, err := url.Parse(location)
	if err != nil { // the error has the URL
		return nil, errors.New("the postgres:// URL is malformed: special characters of its password must be percent-encoded, as %40 for @")
	}
	config, err := pgx.ParseConfig(location)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without the URL
		}
		return nil, fmt.Errorf("the postgres:// URL or the environment of PostgreSQL: %s", hidePassword(err.Error(), parsed))
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "podinfolookup"
	}
	dialer := &net.Dialer{KeepAlive: keepAlive, Timeout: config.ConnectTimeout}
	config.DialFunc = dialer.DialContext
	return config, nil
}

// hidePassword removes the passwords of a URL from a text.
func hidePassword(text string, location *url.URL) string {
	password, _ := location.User.Password()
	for _, secret := range []string{password, location.Query().Get("password"), location.Query().Get("sslpassword")} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "xxxxx")
		}
	}
	return text
}

// openPostgres connects, and creates the tables or brings them to this version.
func openPostgres(ctx context.Context, config *pgx.ConnConfig, passwordFile, cluster string) (*store, error) {
	writer := postgresPool(config, passwordFile, 1, fmt.Sprintf("SET statement_timeout = %d", commitTimeout.Milliseconds()))
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := migratePostgres(ctx, writer); err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	readers := postgresPool(config, passwordFile, postgresReaders,
		fmt.Sprintf("SET statement_timeout = %d", findTimeout.Milliseconds()), "SET default_transaction_read_only = on")
	return newStore(postgresDialect, cluster, writer, readers), nil
}

// migratePostgres does not write if the tables are those of this version, so that it needs no
// right to create any. Of two programs that create them at once one may fail, and finds
// those of the other then.
func migratePostgres(ctx context.Context, db *sql.DB) (err error) {
	for range migrationTries {
		var version int
		if err = db.QueryRowContext(ctx, `SELECT max(version) FROM podinfolookup_schema`).Scan(&version); err == nil && version == schemaVersion {
			return nil
		}
		if err = migrate(ctx, db, postgresDialect); err == nil || !isRace(err) {
			return err
		}
	}
	return err
}

// isRace reports an error that is due to a transaction that ran at the same time: two that
// create one table, or that a distributed engine cannot order.
func isRace(err error) bool {
	switch sqlState(err) {
	case "23505", "42P07", "42710", "40001", "40P01":
		return true
	}
	return false
}

// isMissing reports that the tables were deleted.
func isMissing(err error) bool { return sqlState(err) == "42P01" }

func sqlState(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// postgresPool returns a pool of connections, which are opened when they are needed, and
// for which the statements settings are executed.
func postgresPool(config *pgx.ConnConfig, passwordFile string, size int, settings ...string) *sql.DB {
	db := sql.OpenDB(&connector{stdlib.GetConnector(*config,
		stdlib.OptionBeforeConnect(func(_ context.Context, c *pgx.ConnConfig) (err error) {
			if passwordFile != "" {
				c.Password, err = readPassword(passwordFile)
			}
			return err
		}),
		stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
			for _, statement := range settings {
				if _, err := c.Exec(ctx, statement); err != nil {
					return errors.Join(err, c.Close(ctx))
				}
			}
			return nil
		}))})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(postgresIdle)
	return db
}

// readPassword returns the first line of a file, which may be replaced at any time.
func readPassword(path string) (string, error) {
	raw, err := os.ReadFile(path) //nolint:gosec // the file that the operator names
	if err != nil {
		return "", fmt.Errorf("the password of PostgreSQL: %w", err)
	}
	password, _, _ := strings.Cut(string(raw), "\n")
	if password = strings.TrimSuffix(password, "\r"); password == "" || len(password) > maxPassword {
		return "", fmt.Errorf("the password of PostgreSQL: the first line of %s has %d bytes", path, len(password))
	}
	return password, nil
}

// connector returns the errors of another one in one line.
type connector struct{ driver.Connector }

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, &connectError{err}
	}
	return conn, nil
}

type connectError struct{ err error }

func (e *connectError) Unwrap() error { return e.err }

func (e *connectError) Error() string {
	if pg := (*pgconn.PgError)(nil); errors.As(e.err, &pg) { // the server answered
		return "PostgreSQL: " + pg.Message + " (SQLSTATE " + pg.Code + ")"
	}
	return "PostgreSQL: " + strings.Join(strings.Fields(e.err.Error()), " ")
}
