// Package ha_test runs two replicas against a real API server and takes the
// leader away in each way there is.
package ha_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
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
	return testenv.Command(t, binary, "--kubeconfig="+kubeconfig, "--namespace="+namespace, "--bind-address=127.0.0.1:0",
		"--leader-elect", "--leader-elect-resource-namespace=podinfolookup", "--leader-elect-lease-duration="+lease.String(),
		"--leader-elect-renew-deadline="+renew.String(), "--leader-elect-retry-period="+retry.String()).Start(t).Ready(t)
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

// writesOf returns how often the API server was asked to create a Pod's Testcr.
func writesOf(t *testing.T, namespace, name string) (n int) {
	t.Helper()
	testcr := podinfolookup.NameFor(cache.NewObjectName(namespace, name))
	for _, request := range env.Requests(t) {
		if request.ObjectRef != nil && request.ObjectRef.Resource == "testcrs" && request.Verb == "create" &&
			request.ObjectRef.Name == testcr {
			n++
		}
	}
	return n
}

func TestAStandbyTakesOver(t *testing.T) {
	tests := []struct {
		name     string
		end      func(*testing.T, *testenv.Program)
		within   time.Duration
		wantCode int // of the old leader
	}{
		{"at once when the leader is told to stop", func(t *testing.T, p *testenv.Program) { t.Helper(); p.Signal(t, syscall.SIGTERM) }, 2 * time.Second, 0},
		{"after the lease when the leader vanishes", func(t *testing.T, p *testenv.Program) { t.Helper(); p.Signal(t, syscall.SIGKILL) },
			lease + 44*retry/10 + slack, -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			namespace := env.Namespace(t, "")
			leader, standby := pair(t, env.Kubeconfig, namespace)
			begun := time.Now()
			test.end(t, leader)
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
			if n := writesOf(t, namespace, "after"); n != 1 {
				t.Errorf("%d creates of one Testcr", n)
			}
		})
	}
}

func TestALeaderThatWasStoppedDoesNotWriteAfterItsLease(t *testing.T) {
	namespace := env.Namespace(t, "")
	leader, standby := pair(t, env.Kubeconfig, namespace)
	leader.Signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { _ = leader.Cmd().Process.Signal(syscall.SIGCONT) }) // else it could not be stopped
	for i := range 50 {
		createPod(t, namespace, fmt.Sprintf("during-%d", i))
	}
	for i := range 50 { // none is the last for sure: one that fails is tried again
		wrote(t, standby, namespace, fmt.Sprintf("during-%d", i))
	}
	leader.Signal(t, syscall.SIGCONT)
	if code := leader.Wait(t, renew+slack); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, verb := range []string{"add: ", "update: ", "delete: "} {
		if strings.Contains(strings.ReplaceAll(leader.Stdout.String(), "add: "+namespace+"/before\n", ""), verb) {
			t.Errorf("it wrote: %s", leader.Stdout)
		}
	}
	for i := range 50 {
		if n := writesOf(t, namespace, fmt.Sprintf("during-%d", i)); n != 1 {
			t.Errorf("%d creates of the Testcr of during-%d", n, i)
		}
	}
	testenv.Eventually(t, func(context.Context) error {
		last := strings.TrimSpace(leader.Stderr.String())
		if !strings.Contains(last, "podinfolookup: podinfolookup/podinfolookup: the lease was lost") {
			return errors.New(last)
		}
		return nil
	})
}

func TestAnAPIServerThatIsAwayForLongerThanTheLease(t *testing.T) {
	namespace := env.Namespace(t, "")
	line := newLine(t)
	kubeconfig := line.kubeconfig(t)
	leader, standby := pair(t, kubeconfig, namespace)
	line.cut()
	createPod(t, namespace, "during")
	if code := leader.Wait(t, renew+2*slack); code != 1 {
		t.Errorf("the leader's exit code is %d", code)
	}
	// As a kubelet would; there is nothing to start on, and it says so.
	again := testenv.Command(t, binary, "--kubeconfig="+kubeconfig).Start(t)
	if code := again.Wait(t, testenv.Patience); code != 1 {
		t.Errorf("exit code %d of a start without an API server: %s", code, again.Stderr)
	}
	if err := standby.Running(); err != nil {
		t.Fatalf("the standby: %v", err)
	}
	if code, body, err := standby.Get(t.Context(), t, "/livez"); err != nil || code != http.StatusOK {
		t.Errorf("the standby's /livez: %d %q %v", code, body, err)
	}
	if n := writesOf(t, namespace, "during"); n != 0 {
		t.Errorf("%d creates of a Testcr while the API server was away", n)
	}
	line.heal(t)
	wrote(t, standby, namespace, "during")
	third := replica(t, kubeconfig, namespace)
	createPod(t, namespace, "after")
	wrote(t, standby, namespace, "after")
	for _, name := range []string{"before", "during", "after"} {
		if n := writesOf(t, namespace, name); n != 1 {
			t.Errorf("%d creates of the Testcr of %s", n, name)
		}
	}
	if err := third.Stdout.Has("add: "); err == nil {
		t.Errorf("both write: %s", third.Stdout)
	}
}
