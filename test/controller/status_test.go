package controller_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func terminated(reason string, exitCode, signal int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: exitCode, Signal: signal}}
}

func isRunning() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

// of returns a status with a container for each state. Those that run are ready.
func of(phase corev1.PodPhase, states ...corev1.ContainerState) corev1.PodStatus {
	s := corev1.PodStatus{Phase: phase}
	for i, state := range states {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: fmt.Sprint("c", i), State: state, Ready: state.Running != nil})
	}
	return s
}

// withInit adds init containers. A name that begins with s is that of a sidecar.
func withInit(s corev1.PodStatus, init ...corev1.ContainerStatus) corev1.PodStatus {
	s.InitContainerStatuses = init
	return s
}

func withCondition(s corev1.PodStatus, condition corev1.PodConditionType, status corev1.ConditionStatus, reason string) corev1.PodStatus {
	s.Conditions = append(s.Conditions, corev1.PodCondition{Type: condition, Status: status, Reason: reason})
	return s
}

func withReason(s corev1.PodStatus, reason string) corev1.PodStatus {
	s.Reason = reason
	return s
}

type podState struct {
	status  corev1.PodStatus
	deleted bool
	want    string // STATUS
}

// podStates are states as kubelets report them.
func podStates() map[string]podState {
	pending, running, succeeded, failed := corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded, corev1.PodFailed
	yes := true
	restarted := of(running, waiting("CrashLoopBackOff"), isRunning())
	restarted.ContainerStatuses[0].RestartCount, restarted.ContainerStatuses[1].RestartCount = 7, 2
	notReady := of(running, isRunning())
	notReady.ContainerStatuses[0].Ready = false
	init := func(name string, state corev1.ContainerState) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: name, State: state, RestartCount: 3}
	}
	sidecar := func(ready bool) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "sidecar", State: isRunning(), Started: &yes, Ready: ready, RestartCount: 5}
	}
	done := terminated("Completed", 0, 0)
	return map[string]podState{
		"pending":                  {status: of(pending), want: "Pending"},
		"unknown phase":            {status: of(corev1.PodUnknown), want: "Unknown"},
		"unschedulable":            {status: withCondition(of(pending), corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable"), want: "Pending"},
		"gated":                    {status: withCondition(of(pending), corev1.PodScheduled, corev1.ConditionFalse, "SchedulingGated"), want: "SchedulingGated"},
		"creating":                 {status: of(pending, waiting("ContainerCreating")), want: "ContainerCreating"},
		"waiting for no reason":    {status: of(pending, waiting("")), want: "Pending"},
		"pull fails":               {status: of(pending, waiting("ErrImagePull")), want: "ErrImagePull"},
		"pull is retried":          {status: of(pending, waiting("ImagePullBackOff")), want: "ImagePullBackOff"},
		"bad image name":           {status: of(pending, waiting("InvalidImageName")), want: "InvalidImageName"},
		"never pulled":             {status: of(pending, waiting("ErrImageNeverPull")), want: "ErrImageNeverPull"},
		"bad config":               {status: of(pending, waiting("CreateContainerConfigError")), want: "CreateContainerConfigError"},
		"create fails":             {status: of(pending, waiting("CreateContainerError")), want: "CreateContainerError"},
		"run fails":                {status: of(pending, waiting("RunContainerError")), want: "RunContainerError"},
		"running":                  {status: of(running, isRunning()), want: "Running"},
		"running, not ready":       {status: notReady, want: "Running"},
		"two running":              {status: of(running, isRunning(), isRunning()), want: "Running"},
		"the first waits":          {status: of(running, waiting("CrashLoopBackOff"), isRunning()), want: "CrashLoopBackOff"},
		"the second waits":         {status: of(running, isRunning(), waiting("ImagePullBackOff")), want: "ImagePullBackOff"},
		"both wait":                {status: of(running, waiting("A"), waiting("B")), want: "A"},
		"crash loop":               {status: restarted, want: "CrashLoopBackOff"},
		"ended, to be restarted":   {status: of(running, terminated("Error", 1, 0)), want: "Error"},
		"out of memory":            {status: of(running, terminated("OOMKilled", 137, 9)), want: "OOMKilled"},
		"exit code alone":          {status: of(running, terminated("", 3, 0)), want: "ExitCode:3"},
		"exit code 0 alone":        {status: of(running, terminated("", 0, 0)), want: "ExitCode:0"},
		"signal alone":             {status: of(running, terminated("", 137, 9)), want: "Signal:9"},
		"one completed":            {status: of(running, done, isRunning()), want: "NotReady"},
		"one completed, ready":     {status: withCondition(of(running, done, isRunning()), corev1.PodReady, corev1.ConditionTrue, ""), want: "Running"},
		"one failed, one runs":     {status: of(running, terminated("Error", 1, 0), isRunning()), want: "Error"},
		"the second completed":     {status: of(running, isRunning(), done), want: "NotReady"},
		"succeeded":                {status: of(succeeded, done), want: "Completed"},
		"succeeded, no containers": {status: of(succeeded), want: "Succeeded"},
		"failed":                   {status: of(failed, terminated("Error", 1, 0)), want: "Error"},
		"failed, no containers":    {status: of(failed), want: "Failed"},
		"deadline":                 {status: withReason(of(failed), "DeadlineExceeded"), want: "DeadlineExceeded"},
		"evicted":                  {status: withReason(of(failed), "Evicted"), want: "Evicted"},
		"evicted while it ran":     {status: withReason(of(failed, terminated("Error", 137, 0)), "Evicted"), want: "Error"},
		"refused by its node":      {status: withReason(of(failed), "OutOfcpu"), want: "OutOfcpu"},
		"node shut down":           {status: withReason(of(failed), "Terminated"), want: "Terminated"},
		"affinity":                 {status: withReason(of(failed), "NodeAffinity"), want: "NodeAffinity"},
		"deleted while pending":    {status: of(pending), deleted: true, want: "Terminating"},
		"deleted while running":    {status: of(running, isRunning()), deleted: true, want: "Terminating"},
		"deleted in a crash loop":  {status: of(running, waiting("CrashLoopBackOff")), deleted: true, want: "Terminating"},
		"deleted, completed":       {status: of(succeeded, done), deleted: true, want: "Completed"},
		"deleted, failed":          {status: of(failed, terminated("Error", 1, 0)), deleted: true, want: "Error"},
		"deleted, node lost":       {status: withReason(of(running, isRunning()), "NodeLost"), deleted: true, want: "Unknown"},
		"node lost":                {status: withReason(of(running, isRunning()), "NodeLost"), want: "NodeLost"},
		"no init has begun":        {status: withInit(of(pending, waiting("PodInitializing")), init("i0", waiting("PodInitializing")), init("i1", waiting("PodInitializing"))), want: "Init:0/2"},
		"the first init runs":      {status: withInit(of(pending, waiting("PodInitializing")), init("i0", isRunning()), init("i1", waiting("PodInitializing"))), want: "Init:0/2"},
		"the second init runs":     {status: withInit(of(pending, waiting("PodInitializing")), init("i0", done), init("i1", isRunning())), want: "Init:1/2"},
		"all init are done":        {status: withInit(of(pending, waiting("PodInitializing")), init("i0", done), init("i1", done)), want: "PodInitializing"},
		"init crash loop":          {status: withInit(of(pending), init("i0", waiting("CrashLoopBackOff"))), want: "Init:CrashLoopBackOff"},
		"init pull fails":          {status: withInit(of(pending), init("i0", waiting("ErrImagePull"))), want: "Init:ErrImagePull"},
		"init failed":              {status: withInit(of(pending), init("i0", terminated("Error", 1, 0))), want: "Init:Error"},
		"init exit code":           {status: withInit(of(pending), init("i0", terminated("", 1, 0))), want: "Init:ExitCode:1"},
		"init signal":              {status: withInit(of(pending), init("i0", terminated("", 137, 9))), want: "Init:Signal:9"},
		"initialized":              {status: withCondition(withInit(of(running, isRunning()), init("i0", isRunning())), corev1.PodInitialized, corev1.ConditionTrue, ""), want: "Init:0/1"},
		"sidecar starts":           {status: withInit(of(pending), init("sidecar", isRunning())), want: "Init:0/1"},
		"sidecar runs":             {status: withInit(of(running, isRunning()), sidecar(true)), want: "Running"},
		"sidecar is not ready":     {status: withInit(of(running, isRunning()), sidecar(false)), want: "Running"},
		"sidecar, init fails":      {status: withInit(of(pending), sidecar(true), init("i0", terminated("Error", 2, 0))), want: "Init:Error"},
		"sidecar failed":           {status: withInit(of(running, isRunning()), init("sidecar", terminated("Error", 2, 0))), want: "Init:Error"},
	}
}

// randomState returns a status of odd values.
func randomState(source *rand.Rand) corev1.PodStatus {
	one := func(of ...string) string { return of[source.IntN(len(of))] }
	state := func() corev1.ContainerState {
		switch source.IntN(4) {
		case 0:
			return corev1.ContainerState{}
		case 1:
			return waiting(one("", "PodInitializing", "CrashLoopBackOff"))
		case 2:
			return isRunning()
		}
		return terminated(one("", "Completed", "Error"), source.Int32N(2), source.Int32N(2))
	}
	container := func(name string) corev1.ContainerStatus {
		s := corev1.ContainerStatus{Name: name, State: state(), Ready: source.IntN(2) == 0, RestartCount: source.Int32N(3)}
		if source.IntN(2) == 0 {
			s.Started = new(source.IntN(2) == 0)
		}
		return s
	}
	s := corev1.PodStatus{Phase: corev1.PodPhase(one("Pending", "Running", "Succeeded", "Failed", "Unknown")), Reason: one("", "", "Evicted", "NodeLost")}
	for i := range source.IntN(4) {
		s.ContainerStatuses = append(s.ContainerStatuses, container(fmt.Sprint("c", i)))
	}
	for i := range source.IntN(3) {
		s.InitContainerStatuses = append(s.InitContainerStatuses, container(one("i", "s")+fmt.Sprint(i)))
	}
	for _, condition := range []corev1.PodConditionType{corev1.PodReady, corev1.PodInitialized, corev1.PodScheduled} {
		s = withCondition(s, condition, corev1.ConditionStatus(one("True", "False")), one("", "SchedulingGated"))
	}
	return s
}

// inState creates a Pod with a status. It has a container for each status, and one
// without.
func inState(t *testing.T, ns, name string, state podState) *corev1.Pod {
	t.Helper()
	pod := newPod(name)
	if state.deleted {
		pod.Finalizers = []string{"example.com/hold"}
	}
	pod.Spec.Containers = nil
	for i := range max(1, len(state.status.ContainerStatuses)) {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: fmt.Sprint("c", i), Image: "i"})
	}
	for i := range state.status.InitContainerStatuses {
		c := corev1.Container{Name: state.status.InitContainerStatuses[i].Name, Image: "i"}
		if strings.HasPrefix(c.Name, "s") {
			c.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, c)
	}
	pod = create(t, ns, pod)
	if state.deleted {
		remove(t, pod)
	}
	live, err := pods(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	live.Status = state.status
	if pod, err = pods(ns).UpdateStatus(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return pod
}

// columns are those of kubectl get pods.
type columns struct {
	Ready, Status string
	Restarts      int64
}

// table returns what the API server answers to kubectl get pods, by Pod.
func table(t *testing.T, ns string) map[string]columns {
	t.Helper()
	data, err := env.Clients.CoreV1().RESTClient().Get().Namespace(ns).Resource("pods").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got metav1.Table
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	rows := map[string]columns{}
	for _, row := range got.Rows {
		text, _, _ := strings.Cut(fmt.Sprint(row.Cells[3]), " ") // "7 (5m ago)"
		restarts, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		rows[row.Cells[0].(string)] = columns{Ready: row.Cells[1].(string), Status: row.Cells[2].(string), Restarts: restarts}
	}
	return rows
}

func TestSpec_StatusIsThatOfKubectlGetPods(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	synced(t, nil, ns)
	names := map[string]string{}
	created := map[string]*corev1.Pod{}
	for name, state := range podStates() {
		id := fmt.Sprintf("state-%02d", len(names))
		names[id] = name
		created[id] = inState(t, ns, id, state)
	}
	source := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: any numbers do
	for i := range 100 {
		id := fmt.Sprintf("random-%02d", i)
		created[id] = inState(t, ns, id, podState{status: randomState(source), deleted: source.IntN(4) == 0})
	}
	want, got := table(t, ns), map[string]columns{}
	for id, pod := range created {
		spec := waitTrue(t, pod).Object["spec"].(map[string]any)
		restarts, _ := spec["restarts"].(int64)
		got[id] = columns{Ready: spec["readycontainers"].(string), Status: spec["status"].(string), Restarts: restarts}
		if name, ok := names[id]; ok && want[id].Status != podStates()[name].want {
			t.Errorf("%s: the API server answers %q, want %q", name, want[id].Status, podStates()[name].want)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-kubectl get pods +Testcrs):\n%s\n%v", diff, names)
	}
}
