// Package examples tests the programs below it as a person runs them: built,
// started, asked over HTTP and stopped by a signal.
package examples

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var programs = []string{"defaultmux", "ownmux"}

func TestProgramAnswersWithTheRequestURI(t *testing.T) {
	bin := build(t)
	tests := []struct {
		name       string
		method     string
		requestURI string
		want       string
	}{
		{"the article's request", http.MethodGet, "/?we=12", "HelloWorld\nRequestURI: /?we=12"},
		{"no query", http.MethodGet, "/", "HelloWorld\nRequestURI: /"},
		{"every path is under the root pattern", http.MethodGet, "/a/b?x=1&y=2", "HelloWorld\nRequestURI: /a/b?x=1&y=2"},
		{"an escaped path stays as it was sent", http.MethodGet, "/%E4%BD%A0%2F", "HelloWorld\nRequestURI: /%E4%BD%A0%2F"},
		{"markup is not interpreted", http.MethodGet, "/?<b>", "HelloWorld\nRequestURI: /?<b>"},
		{"every method is answered", http.MethodPost, "/?we=12", "HelloWorld\nRequestURI: /?we=12"},
	}
	for _, name := range programs {
		t.Run(name, func(t *testing.T) {
			p := start(t, filepath.Join(bin, name))
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					if got := p.ask(t, tt.method, tt.requestURI); got != tt.want {
						t.Errorf("%s %s answered %q, want %q", tt.method, tt.requestURI, got, tt.want)
					}
				})
			}
		})
	}
}

func TestProgramStopsWithExitCode0(t *testing.T) {
	bin := build(t)
	for _, name := range programs {
		for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
			t.Run(name+" on "+sig.String(), func(t *testing.T) {
				p := start(t, filepath.Join(bin, name))
				p.ask(t, http.MethodGet, "/?we=12")

				if err := p.cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
				rest, err := io.ReadAll(p.stderr)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.cmd.Wait(); err != nil || len(rest) > 0 {
					t.Errorf("ended with %v and stderr %q, want exit code 0 and nothing", err, rest)
				}
			})
		}
	}
}

func TestProgramExplainsInOneLineWhyItCannotServe(t *testing.T) {
	bin := build(t)
	inUse := occupy(t, "127.0.0.1:0")
	// The default port is in use, by this test or by another process.
	occupy(t, ":9090")

	tests := []struct {
		name     string
		args     []string
		wantCode int
		want     string // in the line
	}{
		{"address in use", []string{"--addr", inUse}, 1, "listen tcp " + inUse + ": bind: address already in use"},
		{"default address in use", nil, 1, "listen tcp :9090: bind: address already in use"},
		{"address without a port", []string{"--addr=localhost"}, 1, "missing port in address"},
		{"port out of range", []string{"--addr=:65536"}, 1, "invalid port"},
		{"unknown flag", []string{"--port=9090"}, 2, "flag provided but not defined: -port"},
		{"address without its flag", []string{":9091"}, 2, "unexpected argument :9091"},
		{"flag without its value", []string{"--addr"}, 2, "flag needs an argument: -addr"},
	}
	for _, name := range programs {
		for _, tt := range tests {
			t.Run(name+" "+tt.name, func(t *testing.T) {
				var stderr strings.Builder
				cmd := exec.CommandContext(t.Context(), filepath.Join(bin, name), tt.args...)
				cmd.Stderr = &stderr
				err := cmd.Run()

				if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != tt.wantCode {
					t.Errorf("ended with %v, want exit code %d", err, tt.wantCode)
				}
				got := stderr.String()
				if !strings.Contains(got, tt.want) || strings.Count(got, "\n") != 1 {
					t.Errorf("stderr is %q, want one line with %q", got, tt.want)
				}
			})
		}
	}
}

// build makes both programs and returns the folder that holds them.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./defaultmux", "./ownmux").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// program is one that serves.
type program struct {
	cmd    *exec.Cmd
	addr   string
	stderr *bufio.Reader // what follows the line with the address
}

// start runs the program on a free port and returns when it listens. The
// program is killed when the test ends, or after a minute if it hangs before.
func start(t *testing.T, path string) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	cmd := exec.CommandContext(ctx, path, "--addr", "127.0.0.1:0")
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // killed, or already waited for by the test
	})
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	stderr := bufio.NewReader(pipe)
	line, err := stderr.ReadString('\n')
	addr, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		t.Fatalf("first line on stderr is %q (%v), want listening on ADDR", line, err)
	}
	return &program{cmd: cmd, addr: addr, stderr: stderr}
}

// ask returns the body of the answer, which must be 200 and plain text: what
// was asked comes back unescaped.
func (p *program) ask(t *testing.T, method, requestURI string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.addr+requestURI, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: status %s, body read with %v", method, requestURI, response.Status, err)
	}
	if got := response.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/plain;") {
		t.Errorf("%s %s: Content-Type %q, want text/plain", method, requestURI, got)
	}
	return string(body)
}

// occupy listens on addr until the test ends and returns the address it got.
// An address that is in use already is as good.
func occupy(t *testing.T, addr string) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return addr
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}
