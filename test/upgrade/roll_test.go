package upgrade_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	// Together the churners make 20 Pods a second, each of which lives for 4 s,
	// longer than a handover takes.
	churners  = 4
	churnTick = 200 * time.Millisecond
	lifetime  = 20 // ticks

	// rollAfter is how many Pods come and go on either side of the roll.
	rollAfter = 100

	node   = "node-1"
	hostIP = "192.0.2.1"
)

func TestUpgrade_RollUnderChurn(t *testing.T) {
	old, err := previous()
	must(t, err)
	tests := []struct{ name, from, to string }{
		{name: "out", from: old, to: binary},
		{name: "back", from: binary, to: old},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			namespace := env.Namespace(t, "")
			leader := replica(t, test.from, namespace)
			leads(t, leader)
			history := follow(t, namespace)
			churn := begin(t, namespace)
			churn.reaches(t, rollAfter)
			next := replica(t, test.to, namespace)
			leader.Signal(t, syscall.SIGTERM)
			if code := leader.Wait(t, testenv.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
			leads(t, next)
			churn.reaches(t, churn.made.Load()+rollAfter)
			churn.end()
			verified(t, namespace)
			history.check(t)
			audited(t, namespace, churn)
			for _, p := range []*testenv.Program{leader, next} {
				if p.Stderr.Has("Sync failed") == nil {
					t.Errorf("writes failed:\n%s", p.Stderr)
				}
			}
		})
	}
}

// replica has a lease that outlasts what a loaded machine may keep it waiting: it
// is given back at a stop, so that its length does not matter to a roll.
func replica(t *testing.T, program, namespace string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, program, "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace, "--bind-address=127.0.0.1:0",
		"--leader-elect", "--leader-elect-resource-namespace=podinfolookup", "--leader-elect-resource-name=podinfolookup", "--leader-elect-lease-duration=25s",
		"--leader-elect-renew-deadline=20s", "--leader-elect-retry-period=200ms").Start(t).Ready(t)
}

func leads(t *testing.T, p *testenv.Program) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has("Caches synced") })
}

// churn lets Pods come, start and go.
type churn struct {
	namespace string
	made      atomic.Int64
	began     time.Time
	end       func()

	mu   sync.Mutex
	pods map[string]string // the IP that each gets, by name
}

func begin(t *testing.T, namespace string) *churn {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &churn{namespace: namespace, began: time.Now(), pods: map[string]string{}}
	var running sync.WaitGroup
	for id := range churners {
		running.Go(func() {
			if err := c.run(ctx, id); err != nil {
				t.Errorf("churn: %v", err)
			}
		})
	}
	c.end = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		t.Logf("%d Pods in %s, %.1f a second", c.made.Load(), time.Since(c.began), float64(c.made.Load())/time.Since(c.began).Seconds())
	})
	t.Cleanup(c.end)
	return c
}

// reaches waits for n Pods; on a machine that is loaded they take many times the 5 s.
func (c *churn) reaches(t *testing.T, n int64) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), testenv.Poll, 4*testenv.Patience, true, func(context.Context) (bool, error) {
		return c.made.Load() >= n, nil
	})
	if err != nil {
		t.Fatalf("%d Pods so far, want %d: %v", c.made.Load(), n, err)
	}
}

// run ends between two Pods, so that none is left half made.
func (c *churn) run(stop context.Context, id int) error {
	ctx := context.WithoutCancel(stop)
	tick := time.NewTicker(churnTick)
	defer tick.Stop()
	name := func(n int) string { return fmt.Sprintf("pod-%d-%d", id, n) }
	for n := 0; ; n++ {
		select {
		case <-stop.Done():
			return nil
		case <-tick.C:
		}
		if err := c.live(ctx, name(n), fmt.Sprintf("10.%d.%d.%d", id, n>>8, n&255)); err != nil {
			return err
		}
		c.made.Add(1)
		if n < lifetime {
			continue
		}
		options := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
		if err := env.Clients.CoreV1().Pods(c.namespace).Delete(ctx, name(n-lifetime), options); err != nil {
			return err
		}
	}
}

// live creates a Pod, and does what a scheduler and a kubelet do.
func (c *churn) live(ctx context.Context, name, ip string) error {
	c.mu.Lock()
	c.pods[name] = ip
	c.mu.Unlock()
	pods := env.Clients.CoreV1().Pods(c.namespace)
	if _, err := pods.Create(ctx, newPod(name), metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}
	if err := pods.Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		return err
	}
	status := fmt.Appendf(nil, `{"status":{"phase":"Running","podIP":%q,"podIPs":[{"ip":%q}],"hostIP":%q,"hostIPs":[{"ip":%q}]}}`, ip, ip, hostIP, hostIP)
	_, err := pods.Patch(ctx, name, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

// history is all that the Testcrs of a namespace have said.
type history struct {
	mu       sync.Mutex
	last     map[string]state // by podname
	problems []string
}

// state is how far a Pod was by its Testcr: without a node, bound, running,
// terminating, gone.
type state struct {
	stage  int
	object map[string]any
}

const (
	terminating = 3
	gone        = 4
)

// follow watches from now on until the test ends.
func follow(t *testing.T, namespace string) *history {
	t.Helper()
	list, err := testcrs().List(t.Context(), metav1.ListOptions{Limit: 1})
	must(t, err)
	events, err := testcrs().Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.GetResourceVersion(), FieldSelector: "spec.namespace=" + namespace})
	must(t, err)
	t.Cleanup(events.Stop)
	h := &history{last: map[string]state{}}
	go func() {
		for event := range events.ResultChan() {
			h.note(event)
		}
	}()
	return h
}

func (h *history) note(event watch.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	u, ok := event.Object.(*unstructured.Unstructured)
	if !ok {
		h.problems = append(h.problems, fmt.Sprintf("the watch says %v", event.Object))
		return
	}
	spec, _ := u.Object["spec"].(map[string]any)
	text := func(field string) string { s, _ := spec[field].(string); return s }
	now := state{object: map[string]any{"spec": spec, "labels": u.GetLabels(), "written": u.GetManagedFields()}}
	switch facts := [4]string{text("phase"), text("nodename"), text("podip"), text("hostip")}; {
	case event.Type == watch.Deleted:
		now.stage = gone
	case facts == [4]string{"Pending"}:
	case facts == [4]string{"Pending", node}:
		now.stage = 1
	case facts == [4]string{"Running", node, ipOf(text("podname")), hostIP}:
		now.stage = 2
		if spec["terminating"] == true {
			now.stage = terminating
		}
	default:
		h.problems = append(h.problems, fmt.Sprintf("%s says %q, which its Pod never was", text("podname"), facts))
	}
	if before, known := h.last[text("podname")]; known && before.stage >= now.stage {
		h.problems = append(h.problems, fmt.Sprintf("%s went from stage %d to %d:\n%s",
			text("podname"), before.stage, now.stage, cmp.Diff(before.object, now.object)))
	}
	h.last[text("podname")] = now
}

// ipOf is the IP that a churner gives to its Pod.
func ipOf(name string) string {
	var id, n int
	if _, err := fmt.Sscanf(name, "pod-%d-%d", &id, &n); err != nil {
		return ""
	}
	return fmt.Sprintf("10.%d.%d.%d", id, n>>8, n&255)
}

func (h *history) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, problem := range h.problems {
		t.Error(problem)
	}
	if len(h.last) < 2*rollAfter {
		t.Errorf("only %d Testcrs were there", len(h.last))
	}
}

// audited holds the writes to one create for each Pod, and to both programs
// having written.
func audited(t *testing.T, namespace string, c *churn) {
	t.Helper()
	names := map[string]string{}
	for pod := range c.pods {
		names[nameFor(namespace, pod)] = pod
	}
	creates, writers, refused := map[string]int{}, map[bool]int{}, map[int32]int{}
	for _, r := range env.Requests(t) {
		if r.ObjectRef == nil || names[r.ObjectRef.Name] == "" || r.Stage != auditv1.StageResponseComplete || r.Verb == "get" {
			continue
		}
		if r.ResponseStatus.Code >= http.StatusBadRequest {
			refused[r.ResponseStatus.Code]++
			continue
		}
		writers[strings.HasSuffix(r.UserAgent, "/previous")]++
		if r.Verb == "create" {
			creates[names[r.ObjectRef.Name]]++
		}
	}
	t.Logf("writes by the old program: %d, by the new one: %d; refused, by status: %v", writers[true], writers[false], refused)
	for pod := range c.pods {
		if creates[pod] != 1 {
			t.Errorf("the Testcr of %s was created %d times", pod, creates[pod])
		}
	}
	if writers[true] == 0 || writers[false] == 0 {
		t.Error("one of the programs has written nothing")
	}
}
