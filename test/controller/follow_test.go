package controller_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// change is one thing that happens to a Pod, and the fields of the Testcr that
// differ after it.
type change struct {
	name string
	make func(t *testing.T, pod *corev1.Pod)
	want map[string]any
}

func status(set func(*corev1.PodStatus)) func(*testing.T, *corev1.Pod) {
	return func(t *testing.T, pod *corev1.Pod) {
		t.Helper()
		set(&pod.Status)
		if _, err := pods(pod.Namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func container(id string) []any {
	c := map[string]any{"name": "nginx", "image": "nginx:1.29"}
	if id != "" {
		c["id"] = id
	}
	return []any{c}
}

var life = []change{
	{
		name: "it is bound to a node",
		make: func(t *testing.T, pod *corev1.Pod) {
			t.Helper()
			binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: "node-7"}}
			if err := env.Clients.CoreV1().Pods(pod.Namespace).Bind(t.Context(), binding, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		want: map[string]any{"nodename": "node-7"},
	},
	{
		name: "it gets its IP addresses of both families",
		make: status(func(s *corev1.PodStatus) {
			s.PodIP, s.PodIPs = "10.0.0.7", []corev1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00::7"}}
			s.HostIP, s.HostIPs = "192.0.2.7", []corev1.HostIP{{IP: "192.0.2.7"}}
		}),
		want: map[string]any{"podip": "10.0.0.7", "podips": []any{"10.0.0.7", "fd00::7"}, "hostip": "192.0.2.7"},
	},
	{
		name: "its container starts",
		make: status(func(s *corev1.PodStatus) {
			s.Phase = corev1.PodRunning
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "nginx", ContainerID: "containerd://aaaa"}}
		}),
		want: map[string]any{"phase": "Running", "status": "Running", "containers": container("containerd://aaaa")},
	},
	{
		name: "it is ready",
		make: status(func(s *corev1.PodStatus) {
			s.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}),
		want: map[string]any{"ready": true},
	},
	{
		name: "its container restarts",
		make: status(func(s *corev1.PodStatus) { s.ContainerStatuses[0].ContainerID = "containerd://bbbb" }),
		want: map[string]any{"containers": container("containerd://bbbb")},
	},
	{
		name: "its labels change",
		make: func(t *testing.T, pod *corev1.Pod) {
			t.Helper()
			pod.Labels = map[string]string{"app": "shop", "tier": "front"}
			if _, err := pods(pod.Namespace).Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		want: map[string]any{"labels": map[string]any{"app": "shop", "tier": "front"}},
	},
	{
		name: "it is no longer ready",
		make: status(func(s *corev1.PodStatus) { s.Conditions[0].Status = corev1.ConditionFalse }),
		want: map[string]any{"ready": false},
	},
	{
		name: "its deletion is asked for",
		make: func(t *testing.T, pod *corev1.Pod) {
			t.Helper()
			if err := pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		want: map[string]any{"terminating": true, "status": "Terminating"},
	},
	{
		name: "it fails",
		make: status(func(s *corev1.PodStatus) { s.Phase = corev1.PodFailed }),
		want: map[string]any{"phase": "Failed", "status": "Failed"},
	},
}

// TestController_PodLife also counts: one write for each change, none
// besides, and no request refused.
func TestController_PodLife(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	c := synced(t, nil, ns)
	pod := create(t, ns, newPod("web"))
	got := waitTrue(t, pod)
	want := map[string]any{
		"podkey": ns + "/web", "podname": "web", "poduid": string(pod.UID), "namespace": ns, "phase": "Pending",
		"status": "Pending", "readycontainers": "0/1",
		"createdat": pod.CreationTimestamp.UTC().Format("2006-01-02T15:04:05Z"),
		"labels":    map[string]any{"app": "web"}, "containers": container(""),
		"hostnetwork": false, "ready": false, "terminating": false,
	}
	if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
		t.Fatalf("spec of a new Pod (-want +got):\n%s", diff)
	}
	wantWrites := []string{"create 201"}
	for _, step := range life {
		live, err := pods(ns).Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		step.make(t, live)
		got := waitTrue(t, pod)
		maps.Copy(want, step.want)
		if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
			t.Fatalf("spec after %s (-want +got):\n%s", step.name, diff)
		}
		if fields := got.GetManagedFields(); fields != nil {
			t.Errorf("managed fields after %s: %v", step.name, fields)
		}
		wantWrites = append(wantWrites, "update 200")
	}
	live, err := pods(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	remove(t, live)
	waitGone(t, nameOf(pod))
	wantWrites = append(wantWrites, "delete 200")
	c.stop()
	if diff := cmp.Diff(wantWrites, c.verbs(t)); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestController_PodShapes(t *testing.T) {
	t.Parallel()
	yes := true
	long := strings.Repeat("long-name.", 25) + "end" // 253 characters
	labels := map[string]string{strings.Repeat("a", 249) + ".io/" + strings.Repeat("k", 63): strings.Repeat("v", 63), "empty": ""}
	tests := []struct {
		name string
		pod  *corev1.Pod
		want map[string]any
		// wantLabels are those of the Testcr itself.
		wantLabels map[string]string
	}{
		{
			name: "on the host's network",
			pod:  &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "host"}, Spec: corev1.PodSpec{HostNetwork: true}},
			want: map[string]any{"hostnetwork": true},
		},
		{
			name: "with a name, labels and an owner's name at their limits",
			pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: long, Labels: labels, OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "apps/v1", Kind: "StatefulSet", Name: long, UID: "1", Controller: &yes},
			}}},
			want:       map[string]any{"podname": long, "ownername": long, "workloadkind": "StatefulSet", "workloadname": long},
			wantLabels: map[string]string{v1.LabelWorkload: v1.LabelValue(long)},
		},
		{
			name: "of a Deployment",
			pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Name: "cart-5d9f-x", Labels: map[string]string{"pod-template-hash": "5d9f"},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "cart-5d9f", UID: "1", Controller: &yes}},
			}},
			want:       map[string]any{"ownerkind": "ReplicaSet", "ownername": "cart-5d9f", "workloadkind": "Deployment", "workloadname": "cart"},
			wantLabels: map[string]string{v1.LabelWorkload: "cart"},
		},
		{
			name: "with an owner whose name no label can have",
			pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "odd", OwnerReferences: []metav1.OwnerReference{
				{APIVersion: "example.com/v1", Kind: "Thing", Name: "a/b c:ü", UID: "1", Controller: &yes},
			}}},
			want:       map[string]any{"ownername": "a/b c:ü", "workloadname": "a/b c:ü"},
			wantLabels: map[string]string{v1.LabelWorkload: v1.LabelValue("a/b c:ü")},
		},
		{
			name: "with init containers",
			pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "init"}, Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{{Name: "first", Image: "busybox"}},
			}},
			want: map[string]any{"containers": []any{
				map[string]any{"name": "nginx", "image": "nginx:1.29"},
				map[string]any{"name": "first", "image": "busybox", "kind": "init"},
			}},
		},
	}
	// 63 characters; the runs of -count=10 share one API server.
	short := env.Namespace(t, "")
	ns := env.Namespace(t, strings.Repeat("n", 63-len(short))+short)
	synced(t, nil, ns)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.pod.Spec.Containers = newPod("").Spec.Containers
			got := waitTrue(t, create(t, ns, test.pod))
			for k, v := range test.want {
				if diff := cmp.Diff(v, got.Object["spec"].(map[string]any)[k]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", k, diff)
				}
			}
			for k, v := range test.wantLabels {
				if diff := cmp.Diff(v, got.GetLabels()[k]); diff != "" {
					t.Errorf("label %s (-want +got):\n%s", k, diff)
				}
			}
		})
	}
}

func TestController_EphemeralContainersAndSuccess(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	synced(t, nil, ns)
	pod := create(t, ns, newPod("job"))
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox", TerminationMessagePolicy: "File", ImagePullPolicy: "Always"}},
	}
	pod, err := env.Clients.CoreV1().Pods(ns).UpdateEphemeralContainers(t.Context(), pod.Name, pod, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodSucceeded
	pod.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{{Name: "debug", ContainerID: "containerd://dddd"}}
	if pod, err = pods(ns).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	spec := waitTrue(t, pod).Object["spec"].(map[string]any)
	if spec["phase"] != "Succeeded" {
		t.Errorf("phase is %v, want Succeeded", spec["phase"])
	}
	want := map[string]any{"name": "debug", "image": "busybox", "id": "containerd://dddd", "kind": "ephemeral"}
	if diff := cmp.Diff(want, spec["containers"].([]any)[1]); diff != "" {
		t.Errorf("ephemeral container (-want +got):\n%s", diff)
	}
}

func TestController_PodReplaced(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		// stopped: the controller is not running in between.
		stopped bool
	}{
		{name: "while the controller runs"},
		{name: "while the controller is stopped", stopped: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ns := env.Namespace(t, "")
			c := synced(t, nil, ns)
			first := create(t, ns, newPod("web-0"))
			before := waitTrue(t, first)
			if test.stopped {
				c.stop()
			}
			remove(t, first)
			second := create(t, ns, newPod("web-0"))
			if test.stopped {
				c = synced(t, nil, ns)
			}
			after := waitTrue(t, second)
			if got := after.Object["spec"].(map[string]any)["poduid"]; got != string(second.UID) || got == string(first.UID) {
				t.Errorf("poduid is %v, want %s", got, second.UID)
			}
			if test.stopped {
				if after.GetUID() != before.GetUID() {
					t.Error("the Testcr was made anew, want it overwritten")
				}
				c.stop()
				if diff := cmp.Diff([]string{"update 200"}, c.verbs(t)); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestController_AfterDowntime(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	c := synced(t, nil, ns)
	stays, goes := create(t, ns, newPod("stays")), create(t, ns, newPod("goes"))
	kept := waitTrue(t, stays)
	waitTrue(t, goes)
	c.stop()
	remove(t, goes)

	c = synced(t, nil, ns)
	waitGone(t, nameOf(goes))
	c.stop()
	if diff := cmp.Diff([]string{"delete 200"}, c.verbs(t)); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if got := mustRead(t, nameOf(stays)); got.GetResourceVersion() != kept.GetResourceVersion() {
		t.Error("the Testcr of the Pod that stayed was written again")
	}
}

func TestController_RestartWritesNothing(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	c := synced(t, nil, ns)
	var all []*corev1.Pod
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		pod := create(t, ns, newPod(name))
		life[1].make(t, pod)
		all = append(all, pod)
	}
	for _, pod := range all {
		waitTrue(t, pod)
	}
	c.stop()

	c = synced(t, nil, ns)
	// The probe is the last key of the queue: when it is there, the others were
	// looked at.
	probe := create(t, ns, newPod("probe"))
	waitTrue(t, probe)
	c.stop()
	if diff := cmp.Diff([]string{"create 201"}, c.verbs(t)); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}
