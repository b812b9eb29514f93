package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
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

// Process is one run of a program that is measured.
type Process struct {
	Started time.Time
	Ended   chan struct{} // closed at the end of its standard error

	name    string
	cmd     *exec.Cmd
	address string        // of its HTTP server
	serves  chan struct{} // closed when address is set
	last    string        // the last line of standard error
}

// Start runs binary, which must log its address and accept --bind-address. It
// serves on a free port of loopback. Its standard error is appended to logFile.
func Start(name, logFile, binary string, args ...string) (*Process, error) {
	log, err := os.OpenFile(logFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // G304: the caller's to choose
	if err != nil {
		return nil, err
	}
	p := &Process{
		name:   name,
		cmd:    exec.Command(binary, append(args, "--bind-address=127.0.0.1:0")...), //nolint:gosec,noctx // the caller's own; Stop ends it
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
		defer func() { _ = log.Close() }() // nothing reads it but people
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

// Err returns the error of a program that ended by itself.
func (p *Process) Err() error { return fmt.Errorf("%s ended: %s", p.name, p.last) }

// URL waits for the HTTP server of the program and returns its base URL.
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

// Ready waits until /readyz returns 200. It returns the base URL and the time
// since the start.
func (p *Process) Ready(ctx context.Context) (url string, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if url, err = p.URL(ctx); err != nil {
		return "", 0, err
	}
	for tick := time.NewTicker(time.Millisecond); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return "", 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", 0, fmt.Errorf("%s: %w", p.name, err)
		}
		_ = response.Body.Close() // only the status is read
		if response.StatusCode == http.StatusOK {
			return url, time.Since(p.Started), nil
		}
		<-tick.C
	}
}

// Stop ends the program with SIGTERM, as a kubelet does. It fails unless the
// exit code is 0.
func (p *Process) Stop() error {
	kill := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() }) // Wait returns the error
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

// Memory is resident memory and its peak.
type Memory struct {
	RSSKiB     int `json:"rssKiB,omitempty"`
	PeakRSSKiB int `json:"peakRSSKiB,omitempty"`
}

// Memory returns the memory of the program.
func (p *Process) Memory() (Memory, error) { return MemoryOf(p.cmd.Process.Pid) }

// MemoryOf returns the memory of a running process.
func MemoryOf(pid int) (m Memory, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "VmRSS:" {
			m.RSSKiB, err = strconv.Atoi(fields[1])
		}
		if len(fields) == 3 && fields[0] == "VmHWM:" {
			m.PeakRSSKiB, err = strconv.Atoi(fields[1])
		}
	}
	return m, err
}
