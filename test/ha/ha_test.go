// Package ha_test runs two replicas against a real API server and takes the
// leader away in each way there is. Then it restores etcd from an older backup
// while the program runs.
package ha_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) {
		env, binary = e, path
		e.AtEnd = endServers
	})
}

// The times of the lease are short, so that the tests are. A candidate looks at
// the lease each 1 to 2.2 retry periods.
const (
	lease = 3 * time.Second
	renew = 2 * time.Second
	retry = 200 * time.Millisecond

	// slack is for a loaded machine.
	slack = 3 * time.Second
)

// replica starts a program that stands by or leads; it has warm caches.
func replica(t *testing.T, kubeconfig, namespace string) *testenv.Program {
	t.Helper()
	return command(t, kubeconfig, namespace).Start(t).Ready(t)
}

// command is a replica that has yet to be started; args come last.
func command(t *testing.T, kubeconfig, namespace string, args ...string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, binary, append([]string{"--kubeconfig=" + kubeconfig, "--namespace=" + namespace, "--bind-address=127.0.0.1:0",
		"--leader-elect", "--leader-elect-resource-namespace=podinfolookup", "--leader-elect-resource-name=podinfolookup",
		"--leader-elect-lease-duration=" + lease.String(), "--leader-elect-renew-deadline=" + renew.String(),
		"--leader-elect-retry-period=" + retry.String()}, args...)...)
}

// pair starts two replicas, of which the first leads.
func pair(t *testing.T, kubeconfig, namespace string) (leader, standby *testenv.Program) {
	t.Helper()
	leader = replica(t, kubeconfig, namespace)
	leads(t, leader)
	standby = replica(t, kubeconfig, namespace)
	createPod(t, namespace, "before")
	wrote(t, leader, namespace, "before")
	if err := standby.Stdout.Has("add: "); err == nil {
		t.Fatalf("both write: %s", standby.Stdout)
	}
	return leader, standby
}

func leads(t *testing.T, p *testenv.Program) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has("Caches synced") })
}

func createPod(t *testing.T, namespace, name string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
	}
	if _, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func wrote(t *testing.T, p *testenv.Program, namespace, name string) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error { return p.Stdout.Has("add: " + namespace + "/" + name + "\n") })
}

// creates returns how often the API server was asked to create each Testcr, by its name.
func creates(t *testing.T) map[string]int {
	t.Helper()
	n := map[string]int{}
	for _, request := range env.Requests(t) {
		if request.ObjectRef != nil && request.ObjectRef.Resource == "testcrs" && request.Verb == "create" {
			n[request.ObjectRef.Name]++
		}
	}
	return n
}

// createdOnce fails unless the Testcr of each of these Pods was created by one request.
func createdOnce(t *testing.T, namespace string, pods ...string) {
	t.Helper()
	n := creates(t)
	for _, pod := range pods {
		if n := n[nameFor(namespace, pod)]; n != 1 {
			t.Errorf("%d creates of the Testcr of %s", n, pod)
		}
	}
}

func TestHA_StandbyTakesOver(t *testing.T) {
	tests := []struct {
		name     string
		signal   syscall.Signal
		within   time.Duration
		wantCode int // of the old leader
	}{
		{name: "at once when the leader gets SIGTERM", signal: syscall.SIGTERM, within: 2 * time.Second},
		{name: "after the lease when the leader vanishes", signal: syscall.SIGKILL, within: lease + 44*retry/10 + slack, wantCode: -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			namespace := env.Namespace(t, "")
			leader, standby := pair(t, env.Kubeconfig, namespace)
			begun := time.Now()
			leader.Signal(t, test.signal)
			createPod(t, namespace, "after")
			wrote(t, standby, namespace, "after")
			took := time.Since(begun)
			t.Logf("the next write came after %s", took)
			if took > test.within {
				t.Errorf("the next write came after %s, want %s at most", took, test.within)
			}
			if code := leader.Wait(t, testenv.StopWithin); code != test.wantCode {
				t.Errorf("exit code %d, want %d", code, test.wantCode)
			}
			createdOnce(t, namespace, "after")
		})
	}
}

func TestHA_StoppedLeaderDoesNotWrite(t *testing.T) {
	namespace := env.Namespace(t, "")
	leader, standby := pair(t, env.Kubeconfig, namespace)
	leader.Signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { _ = leader.Cmd().Process.Signal(syscall.SIGCONT) }) // else it could not be stopped
	pods := make([]string, 50)
	for i := range pods {
		pods[i] = fmt.Sprintf("during-%d", i)
		createPod(t, namespace, pods[i])
	}
	for _, pod := range pods { // none is the last for sure: one that fails is tried again
		wrote(t, standby, namespace, pod)
	}
	leader.Signal(t, syscall.SIGCONT)
	testenv.Eventually(t, func(context.Context) error { return leader.Stderr.Has("the lease was lost") })
	for _, verb := range []string{"add: ", "update: ", "delete: "} {
		if strings.Contains(strings.ReplaceAll(leader.Stdout.String(), "add: "+namespace+"/before\n", ""), verb) {
			t.Errorf("it wrote: %s", leader.Stdout)
		}
	}
	createdOnce(t, namespace, pods...)

	// It is a standby, and takes over again.
	for _, probe := range []string{"/livez", "/readyz"} {
		if code, body, err := leader.Get(t.Context(), t, probe); err != nil || code != http.StatusOK {
			t.Errorf("%s of the standby: %d %q %v", probe, code, body, err)
		}
	}
	createPod(t, namespace, "of-the-next")
	wrote(t, standby, namespace, "of-the-next")
	standby.Signal(t, syscall.SIGTERM)
	createPod(t, namespace, "again")
	wrote(t, leader, namespace, "again")
	createdOnce(t, namespace, "of-the-next", "again")
}

// looksUp asks a replica for one Pod until the returned function is called, which
// fails unless each lookup was answered from the first one on.
func looksUp(t *testing.T, p *testenv.Program, namespace, name string) (end func()) {
	t.Helper()
	lookup := func(ctx context.Context) error {
		code, body, err := p.Get(ctx, t, "/v1/pods/"+namespace+"/"+name)
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	}
	testenv.Eventually(t, lookup)
	stop, done := make(chan struct{}), make(chan struct{})
	var failed error
	go func() {
		defer close(done)
		every := time.NewTicker(50 * time.Millisecond)
		defer every.Stop()
		for failed == nil {
			select {
			case <-stop:
				return
			case <-every.C:
				failed = lookup(t.Context())
			}
		}
	}()
	end = sync.OnceFunc(func() {
		close(stop)
		<-done
		if failed != nil {
			t.Errorf("a lookup failed: %v", failed)
		}
	})
	t.Cleanup(end)
	return end
}

func TestHA_OutageLongerThanTheLease(t *testing.T) {
	namespace := env.Namespace(t, "")
	line := newLine(t)
	kubeconfig := line.kubeconfig(t)
	leader, standby := pair(t, kubeconfig, namespace)
	ends := []func(){looksUp(t, leader, namespace, "before"), looksUp(t, standby, namespace, "before")}
	line.cut()
	createPod(t, namespace, "during")
	testenv.Eventually(t, func(context.Context) error { return leader.Stderr.Has("the lease was lost") })

	// One that starts now waits, and logs what it waits for.
	third := command(t, kubeconfig, namespace).Start(t)
	waits(t, third, "connection refused")
	for _, p := range []*testenv.Program{leader, standby, third} {
		if err := p.Running(); err != nil {
			t.Fatal(err)
		}
		if code, body, err := p.Get(t.Context(), t, "/livez"); err != nil || code != http.StatusOK {
			t.Errorf("/livez: %d %q %v", code, body, err)
		}
	}
	for _, p := range []*testenv.Program{leader, standby} {
		testenv.Eventually(t, func(ctx context.Context) error { return countsAs(ctx, t, p, "0") })
	}
	if n := creates(t)[nameFor(namespace, "during")]; n != 0 {
		t.Errorf("%d creates of a Testcr while the API server was away", n)
	}
	line.heal(t)
	third.Ready(t)
	createPod(t, namespace, "after")
	pods := []string{"before", "during", "after"}
	for _, pod := range pods {
		hasTestcr(t, namespace, pod)
	}
	createdOnce(t, namespace, pods...)
	for _, end := range ends {
		end()
	}
	if n := strings.Count(leader.Stderr.String(), "the lease was lost"); n != 1 {
		t.Errorf("the loss of the lease was logged %d times", n)
	}
}

// countsAs returns an error unless the metric of a replica says that it leads, 1,
// or does not, 0.
func countsAs(ctx context.Context, t *testing.T, p *testenv.Program, leader string) error {
	t.Helper()
	_, body, err := p.Get(ctx, t, "/metrics")
	if want := `leader_election_master_status{name="podinfolookup"} ` + leader + "\n"; err == nil && !strings.Contains(body, want) {
		err = fmt.Errorf("no %q in /metrics", want)
	}
	return err
}

// waits fails unless a program serves and is not ready, with the cause, which its
// log has once.
func waits(t *testing.T, p *testenv.Program, cause string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		code, body, err := p.Get(ctx, t, "/readyz")
		if err != nil {
			return err
		}
		if code != http.StatusServiceUnavailable || !strings.HasPrefix(body, "waiting for the API server: ") || !strings.Contains(body, cause) {
			return fmt.Errorf("/readyz: %d %q", code, body)
		}
		return nil
	})
	if code, body, err := p.Get(t.Context(), t, "/v1/pods/default/nginx"); err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("the lookup: %d %q %v", code, body, err)
	}
	if n := strings.Count(p.Stderr.String(), "Waiting for the API server"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

func hasTestcr(t *testing.T, namespace, name string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := testcrs().Get(ctx, nameFor(namespace, name), metav1.GetOptions{})
		return err
	})
}

// TestHA_OutageEndsNoProcess has no other replica: the same process writes before
// and after.
func TestHA_OutageEndsNoProcess(t *testing.T) {
	tests := []struct {
		name string
		args []string
		lost string // the log line of an outage that is longer than the renew deadline
	}{
		{name: "with leader election", lost: "the lease was lost"},
		{name: "without leader election", args: []string{"--leader-elect=false"}, lost: "Cannot list or watch"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // only one has the lease
			namespace := env.Namespace(t, "")
			line := newLine(t)
			p := command(t, line.kubeconfig(t), namespace, test.args...).Start(t).Ready(t)
			leads(t, p)
			createPod(t, namespace, "before")
			wrote(t, p, namespace, "before")
			end := looksUp(t, p, namespace, "before")
			begun := time.Now()
			line.cut()
			createPod(t, namespace, "during")
			testenv.Eventually(t, func(context.Context) error {
				if time.Since(begun) < 2*renew {
					return errors.New("the outage is short")
				}
				return p.Stderr.Has(test.lost)
			})
			line.heal(t)
			createPod(t, namespace, "after")
			for _, name := range []string{"during", "after"} {
				wrote(t, p, namespace, name)
			}
			if test.args == nil {
				testenv.Eventually(t, func(ctx context.Context) error { return countsAs(ctx, t, p, "1") })
			}
			end()
			createdOnce(t, namespace, "before", "during", "after")
		})
	}
}

// TestHA_SilentConnectionsAreReplaced has all open connections drop what is sent,
// while new ones work. client-go's defaults take 45 s to notice, longer than this
// test waits.
func TestHA_SilentConnectionsAreReplaced(t *testing.T) {
	for _, election := range []bool{true, false} {
		t.Run(fmt.Sprintf("leader election %t", election), func(t *testing.T) {
			t.Parallel() // only one has the lease
			namespace := env.Namespace(t, "")
			line := newLine(t)
			p := command(t, line.kubeconfig(t), namespace, fmt.Sprintf("--leader-elect=%t", election)).Start(t).Ready(t)
			createPod(t, namespace, "before")
			wrote(t, p, namespace, "before")
			line.silence()
			createPod(t, namespace, "after")
			wrote(t, p, namespace, "after")
		})
	}
}

// TestHA_LeasePerNamespace has two controllers with all defaults but their
// namespace: both work.
func TestHA_LeasePerNamespace(t *testing.T) {
	var programs []*testenv.Program
	var namespaces []string
	for range 2 {
		namespace := env.Namespace(t, "")
		p := testenv.Command(t, binary, "--kubeconfig="+env.AdminKubeconfig, "--namespace="+namespace, "--bind-address=127.0.0.1:0",
			"--leader-elect", "--leader-elect-resource-namespace=podinfolookup").Start(t).Ready(t)
		programs, namespaces = append(programs, p), append(namespaces, namespace)
	}
	for i, p := range programs {
		createPod(t, namespaces[i], "web")
		wrote(t, p, namespaces[i], "web")
		held, err := env.Clients.CoordinationV1().Leases("podinfolookup").Get(t.Context(), "podinfolookup-"+namespaces[i], metav1.GetOptions{})
		if err != nil || held.Spec.HolderIdentity == nil || *held.Spec.HolderIdentity == "" {
			t.Errorf("the lease of %s: %v, %v", namespaces[i], held, err)
		}
	}
	// A second replica of one of them names the holder.
	second := testenv.Command(t, binary, "--kubeconfig="+env.AdminKubeconfig, "--namespace="+namespaces[0], "--bind-address=127.0.0.1:0",
		"--leader-elect", "--leader-elect-resource-namespace=podinfolookup").Start(t).Ready(t)
	testenv.Eventually(t, func(context.Context) error { return second.Stderr.Has(`holder="`) })
}
