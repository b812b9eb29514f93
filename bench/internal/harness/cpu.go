package harness

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTicks is USER_HZ, the unit of /proc/PID/stat on every Linux that Go supports.
const clockTicks = 100

// CPU is processor time in seconds, by program.
type CPU map[string]float64

// CPUNow returns the processor time since boot of the cluster's components, the
// benchmark, the machine and, unless it is nil, p. clusterDir contains the
// components' pids/. The key of p is "podinfolookup", peer or not.
func CPUNow(clusterDir string, p *Process) (CPU, error) {
	used := CPU{}
	files, err := filepath.Glob(filepath.Join(clusterDir, "pids", "*.pid"))
	if err != nil {
		return nil, err
	}
	pids := map[string]string{"bench": strconv.Itoa(os.Getpid())}
	for _, file := range files {
		pid, err := os.ReadFile(file) //nolint:gosec // G304: in the caller's own folder
		if err != nil {
			return nil, err
		}
		pids[strings.TrimSuffix(filepath.Base(file), ".pid")] = strings.TrimSpace(string(pid))
	}
	if p != nil {
		pids[PodInfoLookup] = strconv.Itoa(p.cmd.Process.Pid)
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

// Since returns the difference to before. "others" is the time of the machine
// that belongs to none of these programs.
func (now CPU) Since(before CPU) CPU {
	used, others := CPU{}, now["machine"]-before["machine"]
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

// Quiet waits until no other program uses the processors, at most for patience.
func Quiet(ctx context.Context, clusterDir string, p *Process, patience time.Duration) error {
	const interval = 500 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); {
		before, err := CPUNow(clusterDir, p)
		if err != nil {
			return err
		}
		if err := Pause(ctx, interval); err != nil {
			return err
		}
		after, err := CPUNow(clusterDir, p)
		if err != nil || after.Since(before)["others"] < 0.2*interval.Seconds() {
			return err
		}
	}
	return nil
}
