package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 2 * time.Minute
	stopTimeout  = 10 * time.Second
)

var serving = regexp.MustCompile(`"Serving .*address="([^"]+)"`)

// Process is one run of the program that is measured.
type Process struct {
	Started time.Time
	Ended   chan struct{} // its standard error is at its end

	name    string
	cmd     *exec.Cmd
	address string        // where it serves
	serves  chan struct{} // address is known
	last    string        // the last line of standard error
}

// Start runs the program on a free port of loopback; its log is added to logFile.
func Start(binary, logFile string, args ...string) (*Process, error) {
	log, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // G304: the caller's to choose
	if err != nil {
		return nil, err
	}
	p := &Process{
		name:   filepath.Base(binary),
		cmd:    exec.Command(binary, append([]string{"--bind-address=127.0.0.1:0"}, args...)...), //nolint:gosec,noctx // the caller's own; Stop ends it
		serves: make(chan struct{}),
		Ended:  make(chan struct{}),
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p.Started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.Ended)
		defer func() { _ = log.Close() }() // a log for people
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.last = lines.Text()
			fmt.Fprintln(log, p.last)
			if m := serving.FindStringSubmatch(p.last); m != nil && p.address == "" {
				p.address = m[1]
				close(p.serves)
			}
		}
	}()
	return p, nil
}

// Err tells of the end of a program that has Ended.
func (p *Process) Err() error { return fmt.Errorf("%s ended: %s", p.name, p.last) }

// URL waits until the program serves, and returns where.
func (p *Process) URL(ctx context.Context) (string, error) {
	select {
	case <-p.serves:
		return "http://" + p.address, nil
	case <-p.Ended:
		return "", p.Err()
	case <-ctx.Done():
		return "", fmt.Errorf("%s serves nothing: %w", p.name, ctx.Err())
	}
}

// Ready waits until /readyz answers 200 and returns the address it is on and how
// long after the start that was.
func (p *Process) Ready(ctx context.Context) (address string, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := p.URL(ctx); err != nil {
		return "", 0, err
	}
	for tick := time.NewTicker(time.Millisecond); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/readyz", nil)
		if err != nil {
			return "", 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", 0, fmt.Errorf("%s: %w", p.name, err)
		}
		_ = response.Body.Close() // the status is all
		if response.StatusCode == http.StatusOK {
			return p.address, time.Since(p.Started), nil
		}
		<-tick.C
	}
}

// Stop ends the program as a kubelet does, and fails where it does not end well.
func (p *Process) Stop() error {
	kill := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() }) // Wait tells of it
	defer kill.Stop()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.Ended
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", p.name, err, p.last)
	}
	return nil
}

// Memory returns the resident memory and its peak, in KiB.
func (p *Process) Memory() (now, peak int, err error) { return MemoryOf(p.cmd.Process.Pid) }

// MemoryOf returns those of a process that runs.
func MemoryOf(pid int) (now, peak int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "VmRSS:" {
			now, err = strconv.Atoi(fields[1])
		}
		if len(fields) == 3 && fields[0] == "VmHWM:" {
			peak, err = strconv.Atoi(fields[1])
		}
	}
	return now, peak, err
}
