package main

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
	stopTimeout = 10 * time.Second
	// clockTicks is USER_HZ: what /proc/PID/stat counts in, on every Linux that Go runs on.
	clockTicks = 100
)

// process is one run of the program that is measured.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	address chan string   // where it serves its probes
	ended   chan struct{} // its standard error is at its end
	last    string        // the last line there
}

// start runs the program; its log is added to podinfolookup.log.
func (b *bench) start(args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(b.o.out, "podinfolookup.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	args = append([]string{"--kubeconfig=" + b.o.kubeconfig, "--bind-address=127.0.0.1:0"}, args...)
	p := &process{
		cmd:     exec.Command(b.o.binary, args...), //nolint:gosec,noctx // the caller's own; stop ends it
		address: make(chan string, 1),
		ended:   make(chan struct{}),
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	serving := regexp.MustCompile(`"Serving .*address="([^"]+)"`)
	go func() {
		defer close(p.ended)
		defer func() { _ = log.Close() }() // a log for people
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.last = lines.Text()
			fmt.Fprintln(log, p.last)
			if m := serving.FindStringSubmatch(p.last); m != nil {
				p.address <- m[1]
			}
		}
	}()
	return p, nil
}

// ready waits until /readyz answers 200 and returns how long that took.
func (p *process) ready(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var address string
	select {
	case address = <-p.address:
	case <-p.ended:
		return 0, fmt.Errorf("podinfolookup ended: %s", p.last)
	case <-ctx.Done():
		return 0, fmt.Errorf("podinfolookup serves nothing: %w", ctx.Err())
	}
	for tick := time.NewTicker(time.Millisecond); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, fmt.Errorf("podinfolookup: %w", err)
		}
		_ = response.Body.Close() // the status is all
		if response.StatusCode == http.StatusOK {
			return time.Since(p.started), nil
		}
		<-tick.C
	}
}

// stop ends the program as a kubelet does, and fails where it does not end well.
func (p *process) stop() error {
	kill := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() }) // Wait tells of it
	defer kill.Stop()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("podinfolookup: %w: %s", err, p.last)
	}
	return nil
}

// memory returns the resident memory and its peak, in KiB.
func (p *process) memory() (now, peak int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
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

// cpu is processor time in seconds, by program.
type cpu map[string]float64

// cpuNow reads what the cluster's components, the bench and, where it runs, the
// program have used so far, and all that the machine's processors did.
func (b *bench) cpuNow(p *process) (cpu, error) {
	used := cpu{}
	files, err := filepath.Glob(filepath.Join(b.o.clusterDir, "pids", "*.pid"))
	if err != nil {
		return nil, err
	}
	pids := map[string]string{"bench": strconv.Itoa(os.Getpid())}
	for _, file := range files {
		pid, err := os.ReadFile(file) //nolint:gosec // G304: of the caller's own folder
		if err != nil {
			return nil, err
		}
		pids[strings.TrimSuffix(filepath.Base(file), ".pid")] = strings.TrimSpace(string(pid))
	}
	if p != nil {
		pids["podinfolookup"] = strconv.Itoa(p.cmd.Process.Pid)
	}
	for name, pid := range pids {
		data, err := os.ReadFile("/proc/" + pid + "/stat") //nolint:gosec // G304: of the pids above
		if err != nil {
			return nil, err
		}
		// After the name in parentheses: utime and stime are the 12th and 13th.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if used[name], err = ticks(fields[11:13]); err != nil {
			return nil, err
		}
	}
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(first) // cpu user nice system idle iowait irq softirq steal
	if used["machine"], err = ticks([]string{fields[1], fields[2], fields[3], fields[6], fields[7]}); err != nil {
		return nil, err
	}
	used["steal"], err = ticks(fields[8:9])
	return used, err
}

func ticks(fields []string) (sum float64, err error) {
	for _, field := range fields {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, err
		}
		sum += n / clockTicks
	}
	return sum, nil
}

// since returns what was used between before and now; what no program here
// accounts for is "others".
func (now cpu) since(before cpu) cpu {
	used, others := cpu{}, now["machine"]-before["machine"]
	for name, n := range now {
		used[name] = round2(n - before[name])
		if name != "machine" && name != "steal" {
			others -= n - before[name]
		}
	}
	used["others"] = round2(others)
	return used
}

func round2(x float64) float64 { return float64(int(x*100+0.5)) / 100 }
