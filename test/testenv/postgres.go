package testenv

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/cert"
)

// PostgresPassword is the password of the superuser postgres.
const PostgresPassword = "s3cret/of:tests"

// Postgres is a PostgreSQL of Debian's package, with a folder of its own. It never runs as
// root, which PostgreSQL refuses.
type Postgres struct {
	programs, dir, port string
	credential          *syscall.Credential // nil for the user of the test
	output              Output
	cmd                 *exec.Cmd
	exited              chan struct{}
}

// StartPostgres starts a server that is stopped at the end of the test.
func StartPostgres(t *testing.T) *Postgres {
	t.Helper()
	p, err := newPostgres(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end(syscall.SIGQUIT)
		if err := os.RemoveAll(p.dir); err != nil {
			t.Error(err)
		}
	})
	p.Start(t)
	return p
}

func newPostgres(ctx context.Context) (*Postgres, error) {
	var stderr bytes.Buffer
	find := exec.CommandContext(ctx, filepath.Join(Root(), "hack", "postgres.sh")) //nolint:gosec // a script of the checkout
	find.Stderr = &stderr
	programs, err := find.Output()
	if err != nil {
		return nil, fmt.Errorf("hack/postgres.sh: %w: %s", err, stderr.String())
	}
	p := &Postgres{programs: strings.TrimSpace(string(programs))}
	if p.dir, err = os.MkdirTemp("", "podinfolookup-postgres"); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if err := p.dropRoot(); err != nil {
			return nil, err
		}
	}
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(PostgresPassword), 0o644); err != nil { //nolint:gosec // the folder is private
		return nil, err
	}
	initdb := p.command(ctx, "initdb", "-D", p.data(), "--username=postgres", "--pwfile="+password, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	// The port stays the same after a restart.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.port = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	return p, listener.Close()
}

// dropRoot makes the programs run as the user of the package, or as nobody.
func (p *Postgres) dropRoot() error {
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return err
	}
	p.credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(p.dir, int(uid), int(gid))
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

func (p *Postgres) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.programs, program), args...) //nolint:gosec // of the package
	cmd.Dir = p.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential}
	return cmd
}

// Start starts the server, for the first time or after Kill, and waits until it answers.
func (p *Postgres) Start(t *testing.T, settings ...string) {
	t.Helper()
	args := []string{"-D", p.data(), "-p", p.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + p.dir,
		"-c", "fsync=off", "-c", "shared_buffers=64MB", "-c", "max_wal_size=256MB"}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	db := p.Open(t, "postgres")
	err := wait.PollUntilContextTimeout(t.Context(), Poll, Patience, true, func(ctx context.Context) (bool, error) {
		if p.cmd == nil || p.isOver() { // the processes of a killed server may still have its memory
			p.cmd = p.command(context.WithoutCancel(t.Context()), "postgres", args...) //nolint:contextcheck // end stops it
			p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
			p.cmd.WaitDelay = Patience // for the processes of a killed server, which have its output
			if err := p.cmd.Start(); err != nil {
				return false, err
			}
			exited, cmd := make(chan struct{}), p.cmd
			p.exited = exited
			go func() { defer close(exited); _ = cmd.Wait() }()
		}
		return db.PingContext(ctx) == nil, nil
	})
	if err != nil {
		t.Fatalf("PostgreSQL: %v: %s", err, p.output.String())
	}
}

func (p *Postgres) isOver() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Kill ends the server at once.
func (p *Postgres) Kill() { p.end(syscall.SIGKILL) }

func (p *Postgres) end(signal syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(signal) // it may have ended
	select {
	case <-p.exited:
	case <-time.After(Patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// URL returns the location of a database.
func (p *Postgres) URL(database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", PostgresPassword), Host: "127.0.0.1:" + p.port, Path: "/" + database,
	}).String()
}

// Addr is the host and the port of the server.
func (p *Postgres) Addr() string { return "127.0.0.1:" + p.port }

// Open returns a pool of connections to a database, until the end of the test.
func (p *Postgres) Open(t *testing.T, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", p.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Create creates a database for one test, and returns its URL.
func (p *Postgres) Create(t *testing.T) string {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "_").Replace(t.Name()))
	db, err := sql.Open("pgx", p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), `CREATE DATABASE "`+name+`"`)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return p.URL(name)
}

// KeyPair is a self-signed certificate for 127.0.0.1 and its key, in PEM.
type KeyPair struct{ Certificate, Key []byte }

// NewCertificate returns a new key pair.
func NewCertificate(t *testing.T) KeyPair {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return KeyPair{certificate, key}
}

// EnableTLS restarts the server with TLS, and returns a file with the certificate of its
// authority.
func (p *Postgres) EnableTLS(t *testing.T) string {
	t.Helper()
	p.end(syscall.SIGINT)
	pair := NewCertificate(t)
	files := map[string][]byte{"server.crt": pair.Certificate, "server.key": pair.Key}
	for name, content := range files {
		path := filepath.Join(p.data(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if p.credential != nil {
			if err := os.Chown(path, int(p.credential.Uid), int(p.credential.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.Start(t, "ssl=on")
	return filepath.Join(p.data(), "server.crt")
}
