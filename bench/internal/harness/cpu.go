package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// clockTicks is USER_HZ: what /proc/PID/stat counts in, on every Linux that Go runs on.
const clockTicks = 100

// CPU is processor time in seconds, by program.
type CPU map[string]float64

// CPUNow reads what the components of the cluster kept in clusterDir, the bench
// and, where it runs, the program have used so far, and all that the machine's
// processors did.
func CPUNow(clusterDir string, p *Process) (CPU, error) {
	used := CPU{}
	files, err := filepath.Glob(filepath.Join(clusterDir, "pids", "*.pid"))
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

// Since returns what was used between before and now; what no program here
// accounts for is "others".
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
