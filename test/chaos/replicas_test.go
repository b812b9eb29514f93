package chaos_test

import (
	"bufio"
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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// leaseTimes are those of the flags. handover is how long after the last renewal
// of a leader that has gone another one leads: candidates look at the lease each
// 1 to 2.2 retry periods, twice.
type leaseTimes struct{ duration, renew, retry time.Duration }

func (l leaseTimes) handover() time.Duration { return l.duration + 44*l.retry/10 }

// leaseFor is short where a run was asked for by name, so that a change of the
// leader is a part of it, but longer than a fault that lasts: most faults should
// leave the leader in office. Where other tests share the machine a renewal may
// take seconds, and it is the default.
func leaseFor(byName bool) leaseTimes {
	if byName {
		return leaseTimes{5 * time.Second, 4 * time.Second, 300 * time.Millisecond}
	}
	return leaseTimes{15 * time.Second, 10 * time.Second, 400 * time.Millisecond}
}

const (
	// restartAfter is the pause before the start after a kill by the harness. It is
	// short, because the fault is the kill and not the absence. After any other exit
	// crashBackoff counts.
	restartAfter = 300 * time.Millisecond

	// longestLine bounds a line of the log: the owner of a Pod must not be able to
	// make it grow.
	longestLine = 64 << 10
)

// replica is one of the two, started again whenever it ends. It must not end but
// by the harness.
type replica struct {
	name   string
	binary string
	args   []string
	log    string // file
	t      *testing.T

	mu      sync.Mutex
	cmd     *exec.Cmd
	address string         // "" until it serves
	last    string         // line of its log
	killed  bool           // by us
	starts  int            // of processes
	ends    map[string]int // why it ended, and how often
	backoff crashBackoff
	errors  errorRates
	bad     []string // what must not be in a log, and bad exit codes
	stopped bool

	stopping, ended chan struct{}
}

// errorRates count the errors of a log by place in the code and second.
type errorRates struct {
	second string
	now    map[string]int
	worst  map[string]int // the most in a second
	total  map[string]int
}

var (
	errorLine = regexp.MustCompile(`^E\d{4} (\d\d:\d\d:\d\d)\.\d+ +\d+ ([^\]]+)\] (.*)`)
	badLine   = regexp.MustCompile(`^(panic: |fatal error: |WARNING: DATA RACE)`)
	serving   = regexp.MustCompile(`Serving /livez and /readyz.*address="([^"]+)"`)
)

func (r *errorRates) add(second, place string) {
	if r.now == nil {
		r.now, r.worst, r.total = map[string]int{}, map[string]int{}, map[string]int{}
	}
	if second != r.second {
		r.second = second
		clear(r.now)
	}
	r.now[place]++
	r.total[place]++
	r.worst[place] = max(r.worst[place], r.now[place])
}

// buildProgram builds the program under test, with flags of go build, unless
// PODINFOLOOKUP names one that was.
func buildProgram(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	if built := os.Getenv("PODINFOLOOKUP"); built != "" {
		return built
	}
	binary := filepath.Join(dir, "podinfolookup")
	build := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build"}, flags, []string{"-o", binary, "./cmd/podinfolookup"})...)
	build.Dir = testenv.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// kubeconfigFor is that of the service account of yaml/, by way of the proxies.
func kubeconfigFor(t *testing.T, c *cluster, w *way, dir string) string {
	t.Helper()
	day := int64((24 * time.Hour).Seconds())
	token, err := c.clients.CoreV1().ServiceAccounts("podinfolookup").CreateToken(t.Context(), "podinfolookup",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	must(t, err)
	config := clientcmdapi.NewConfig()
	config.Clusters["chaos"] = &clientcmdapi.Cluster{Server: w.address(), CertificateAuthorityData: certificate(w)}
	config.AuthInfos["chaos"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["chaos"] = &clientcmdapi.Context{Cluster: "chaos", AuthInfo: "chaos"}
	config.CurrentContext = "chaos"
	path := filepath.Join(dir, "replica.kubeconfig")
	must(t, clientcmd.WriteToFile(*config, path))
	return path
}

// startReplica starts one and keeps it running until stop.
func startReplica(t *testing.T, name, binary, kubeconfig, dir string, lease leaseTimes) *replica {
	t.Helper()
	r := &replica{
		t: t, name: name, binary: binary, log: filepath.Join(dir, name+".log"), ends: map[string]int{},
		stopping: make(chan struct{}), ended: make(chan struct{}),
		args: []string{
			"--kubeconfig=" + kubeconfig, "--bind-address=127.0.0.1:0", "--print-changes=false", "--print-list=false",
			"--leader-elect", "--leader-elect-resource-namespace=podinfolookup",
			"--leader-elect-lease-duration=" + lease.duration.String(),
			"--leader-elect-renew-deadline=" + lease.renew.String(),
			"--leader-elect-retry-period=" + lease.retry.String(),
		},
	}
	must(t, os.WriteFile(r.log, nil, 0o600))
	ctx := context.WithoutCancel(t.Context())
	go func() {
		defer close(r.ended)
		for again, wait := r.once(ctx); again; again, wait = r.once(ctx) {
			select {
			case <-r.stopping:
			case <-time.After(wait):
			}
		}
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// once runs one process to its end, and returns whether there is to be another,
// and after what wait.
func (r *replica) once(ctx context.Context) (again bool, wait time.Duration) {
	cmd := exec.CommandContext(ctx, r.binary, r.args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(r.log), "GORACE=halt_on_error=1 atexit_sleep_ms=10"}
	stderr, err := cmd.StderrPipe()
	r.mu.Lock()
	if err == nil && !r.stopped {
		err = cmd.Start()
	}
	if err != nil || r.stopped {
		r.bad = appendError(r.bad, err)
		r.mu.Unlock()
		return false, 0
	}
	r.cmd, r.killed, r.last = cmd, false, ""
	r.starts++
	began := time.Now()
	r.mu.Unlock()
	r.read(stderr)
	_ = cmd.Wait() // the state has it all
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd, r.address = nil, ""
	if ours := r.judgeEnd(cmd.ProcessState.ExitCode()); !ours {
		return !r.stopped, r.backoff.next(time.Since(began))
	}
	return !r.stopped, restartAfter
}

func appendError(to []string, err error) []string {
	if err != nil {
		to = append(to, err.Error())
	}
	return to
}

// refusedLogin is the answer of an API server that has not read its roles yet.
var refusedLogin = regexp.MustCompile(`(?i)forbidden|unauthorized`)

// judgeEnd counts why a process has ended, and reports whether the harness caused
// that. An API server that has just started may refuse a login. No other end is
// excused: a leader that loses its lease becomes a standby, and a start waits for
// the API server.
func (r *replica) judgeEnd(code int) (ours bool) {
	switch {
	case r.killed:
		r.ends["killed"]++
	case r.stopped && (code == 0 || r.last == ""): // it had not begun to listen for signals
		r.ends["stopped"]++
	case code == 1 && strings.HasPrefix(r.last, "podinfolookup: ") && refusedLogin.MatchString(r.last):
		r.ends["could not start"]++
	default:
		r.ends["by itself"]++
		r.bad = append(r.bad, fmt.Sprintf("%s ended by itself, with %d: %.1000s", r.name, code, r.last))
		return false
	}
	return true
}

// read takes in the log of one process.
func (r *replica) read(stderr io.Reader) {
	file, err := os.OpenFile(r.log, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(stderr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		_, _ = fmt.Fprintln(file, line)
		r.mu.Lock()
		r.last = line
		if len(line) > longestLine {
			r.bad = append(r.bad, fmt.Sprintf("%s logged a line of %d bytes: %.200s", r.name, len(line), line))
		}
		if found := errorLine.FindStringSubmatch(line); found != nil {
			message, _, _ := strings.Cut(found[3], `" `)
			r.errors.add(found[1], found[2]+" "+strings.Trim(message, `"`))
		}
		if badLine.MatchString(line) {
			r.bad = append(r.bad, r.name+": "+line)
		}
		if found := serving.FindStringSubmatch(line); found != nil {
			r.address = found[1]
		}
		r.mu.Unlock()
	}
	if err := lines.Err(); err != nil { // a line of more than 1 MiB: the process must not block on the rest
		r.mu.Lock()
		r.bad = append(r.bad, fmt.Sprintf("%s: its log cannot be read: %v", r.name, err))
		r.mu.Unlock()
		_, _ = io.Copy(io.Discard, stderr)
	}
}

// tail returns the last lines of the log, each cut.
func (r *replica) tail(lines int) string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		all[i] = fmt.Sprintf("%.300s", line)
	}
	return strings.Join(all, "\n")
}

// signal sends a signal to the process that runs, if one does.
func (r *replica) signal(signal syscall.Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return false
	}
	r.killed = r.killed || signal == syscall.SIGKILL
	return r.cmd.Process.Signal(signal) == nil
}

// stop ends it as Kubernetes does.
func (r *replica) stop() {
	r.mu.Lock()
	first := !r.stopped
	r.stopped = true
	r.mu.Unlock()
	if !first {
		return
	}
	close(r.stopping)
	r.signal(syscall.SIGCONT)
	r.signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(2 * testenv.StopWithin):
		r.t.Errorf("%s still runs %s after SIGTERM", r.name, 2*testenv.StopWithin)
		r.signal(syscall.SIGKILL)
		<-r.ended
	}
}

// running returns how many processes there have been, and whether one runs.
func (r *replica) running() (starts int, now bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.starts, r.cmd != nil
}

// get asks the process that runs for a path.
func (r *replica) get(ctx context.Context, path string) (body []byte, err error) {
	r.mu.Lock()
	address := r.address
	r.mu.Unlock()
	if address == "" {
		return nil, errors.New(r.name + " does not serve")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: GET %s: %s: %.200s", r.name, path, response.Status, body)
	}
	return body, err
}

// metrics reads /metrics of the process that runs.
func (r *replica) metrics(ctx context.Context) (map[string]float64, error) {
	body, err := r.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if number, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = number
		}
	}
	return values, nil
}

const leads = `leader_election_master_status{name="podinfolookup"}`

// roles waits until one of the replicas leads, and the other serves.
func roles(ctx context.Context, replicas []*replica) (leader, standby *replica, err error) {
	err = wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(ctx context.Context) (bool, error) {
		for i, r := range replicas {
			mine, err := r.metrics(ctx)
			if err != nil || mine[leads] != 1 {
				continue
			}
			leader, standby = r, replicas[1-i]
			_, err = standby.metrics(ctx)
			return err == nil, nil
		}
		return false, nil
	})
	return leader, standby, err
}
