package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// StopWithin is how long the program may take to stop after a signal.
const StopWithin = 5 * time.Second

var (
	crash   = regexp.MustCompile(`(?m)^(panic: |fatal error: |goroutine \d+ \[|WARNING: DATA RACE)`)
	serving = regexp.MustCompile(`Serving /livez and /readyz.*"?address"?[=:]"([^"]+)"`)
)

// MainWithProgram is Main for tests of the built program: set gets its path, too.
func MainWithProgram(m *testing.M, set func(e *Env, binary string)) {
	Main(m, func(e *Env) {
		binary := filepath.Join(e.Dir, "podinfolookup")
		err := BuildProgram(binary)
		if err == nil { // Everybody may run it, also another user than the one who tests.
			err = os.Chmod(e.Dir, 0o711) //nolint:gosec // G302: the files in it keep their own modes
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
			os.Exit(1)
		}
		set(e, binary)
	})
}

// BuildProgram builds cmd/podinfolookup with the race detector and copies it to
// path. All packages share one build: linking takes seconds, and go build only
// checks a file that is up to date.
func BuildProgram(path string) (err error) {
	dir := filepath.Join(Root(), ".cluster", "test")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: a path of our own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // packages are tested beside each other
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	binary := filepath.Join(dir, "podinfolookup")
	build := exec.CommandContext(context.Background(), //nolint:gosec // G204: binary is a path of our own
		"go", "build", "-race", "-o", binary, "./cmd/podinfolookup")
	build.Dir = Root()
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	program, err := os.ReadFile(binary) //nolint:gosec // G304: as above
	if err != nil {
		return err
	}
	return os.WriteFile(path, program, 0o755) //nolint:gosec // G306: other users run it, too
}

// Program is one run of a command.
type Program struct {
	Stdout, Stderr *Output

	cmd    *exec.Cmd
	exited chan struct{} // closed when the command has ended
}

// Command returns a run of binary that has yet to be started. Of the
// environment it has only what Go needs, and an empty home folder.
func Command(t *testing.T, binary string, args ...string) *Program {
	t.Helper()
	p := &Program{Stdout: &Output{}, Stderr: &Output{}, exited: make(chan struct{})}
	// Start stops it; at the end of the test the context would kill it.
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...) //nolint:gosec // G204: tests run what they built
	p.cmd.Stdout, p.cmd.Stderr = p.Stdout, p.Stderr
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GORACE=halt_on_error=1 atexit_sleep_ms=10"}
	return p
}

// Cmd is what Start starts; a test may change it before.
func (p *Program) Cmd() *exec.Cmd { return p.cmd }

// Start starts the program. At its end the test stops it and fails if it has
// crashed meanwhile.
func (p *Program) Start(t *testing.T) *Program {
	t.Helper()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // Code has the result
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if !p.exits(2 * StopWithin) {
			t.Errorf("still running %s after SIGTERM", 2*StopWithin)
			_ = p.cmd.Process.Kill()
			<-p.exited
		}
		if crash.MatchString(p.Stderr.String()) || t.Failed() {
			t.Errorf("standard error of %s:\n%s", strings.Join(p.cmd.Args, " "), p.Stderr)
		}
	})
	return p
}

// Signal sends a signal to the program.
func (p *Program) Signal(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("%s: %v", signal, err)
	}
}

// Wait returns the exit code, -1 for an end by a signal. The program must end
// in the given time.
func (p *Program) Wait(t *testing.T, within time.Duration) int {
	t.Helper()
	if !p.exits(within) {
		t.Fatalf("still running after %s", within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Running returns an error once the program has ended.
func (p *Program) Running() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s: %s", p.cmd.ProcessState, p.Stderr)
	default:
		return nil
	}
}

func (p *Program) exits(within time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(within):
		return false
	}
}

// Address waits until the program serves, and returns where.
func (p *Program) Address(t *testing.T) string {
	t.Helper()
	var address string
	Eventually(t, func(context.Context) error {
		if found := serving.FindStringSubmatch(p.Stderr.String()); found != nil {
			address = found[1]
			return nil
		}
		if err := p.Running(); err != nil {
			t.Fatal(err)
		}
		return fmt.Errorf("no address in %q", p.Stderr)
	})
	return address
}

// Get asks the program for a path and returns the status and the body.
func (p *Program) Get(ctx context.Context, t *testing.T, path string) (int, string, error) {
	t.Helper()
	url := "http://" + p.Address(t) + path //nolint:contextcheck // it waits as long as the test
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// Ready waits until /readyz is well.
func (p *Program) Ready(t *testing.T) *Program {
	t.Helper()
	Eventually(t, func(ctx context.Context) error {
		code, body, err := p.Get(ctx, t, "/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("/readyz: %d %s", code, body)
		}
		return err
	})
	return p
}

// Output is what a program has written so far.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Has returns an error unless text was written.
func (o *Output) Has(text string) error {
	if s := o.String(); !strings.Contains(s, text) {
		return fmt.Errorf("no %q in %q", text, s)
	}
	return nil
}
