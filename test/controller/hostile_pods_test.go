package controller_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// hostilePod is a Pod that nobody expects. wantRefused is what the API server
// answers to it or to its status, from the minor version refusedSince on; where it
// says nothing, the Testcr must follow, say what wantSpec says, nil for a field
// that is absent, and have the labels wantLabels.
type hostilePod struct {
	name         string
	edit         func(*corev1.Pod)
	status       func(*corev1.PodStatus)
	wantRefused  string
	refusedSince uint
	wantSpec     map[string]any
	wantLabels   map[string]string
}

// strictIPs is the minor version that refuses IPs with leading zeros and those
// mapped into IPv6 first.
const strictIPs = 36

const odd = "\u202e\u0000\u2028\U0001d11e e\u0301"

func TestProgram_HostilePods(t *testing.T) {
	for group, pods := range map[string][]hostilePod{
		"specs": hostileSpecs(), "statuses": hostileStatuses(), "owners": hostileOwners(),
	} {
		t.Run(group, func(t *testing.T) {
			namespace := env.Namespace(t, "")
			p := start(t, namespace)
			neighbour, err := createWith(t.Context(), env.Clients, namespace, ordinary("neighbour"), runningAt("10.0.0.1"))
			if err != nil {
				t.Fatal(err)
			}
			for i, pod := range pods {
				t.Run(pod.name, func(t *testing.T) {
					pod.check(t, namespace, i)
					if err := p.Running(); err != nil {
						t.Fatal(err)
					}
				})
			}
			follows(t, neighbour)
			verified(t, namespace)
			stop(t, p, nil)
		})
	}
}

func (h *hostilePod) check(t *testing.T, namespace string, i int) {
	t.Helper()
	pod := ordinary(fmt.Sprintf("pod-%02d", i))
	if h.edit != nil {
		h.edit(pod)
	}
	pod, err := createWith(t.Context(), protobuf, namespace, pod, h.status)
	if h.wantRefused != "" && env.Minor >= h.refusedSince {
		if err == nil || !strings.Contains(err.Error(), h.wantRefused) {
			t.Errorf("the API server says %v, want %s", err, h.wantRefused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	follows(t, pod)
	for field, want := range h.wantSpec {
		testenv.Eventually(t, hasSpec(namespace, pod.Name, field, want))
	}
	for label, want := range h.wantLabels {
		testenv.Eventually(t, hasLabel(namespace, pod.Name, label, want))
	}
}

func hostileSpecs() []hostilePod {
	return []hostilePod{
		{name: "every optional field is missing", edit: func(p *corev1.Pod) {
			p.Labels, p.Spec = nil, corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}
		}, wantSpec: map[string]any{"podip": nil, "nodename": nil, "labels": nil, "ownername": nil}},
		{name: "lists and maps that are empty, not absent", edit: func(p *corev1.Pod) {
			p.Labels, p.Annotations, p.OwnerReferences = map[string]string{}, map[string]string{}, []metav1.OwnerReference{}
			p.Spec.InitContainers, p.Spec.EphemeralContainers = []corev1.Container{}, []corev1.EphemeralContainer{}
		}, status: func(s *corev1.PodStatus) {
			s.PodIPs, s.Conditions, s.ContainerStatuses = []corev1.PodIP{}, []corev1.PodCondition{}, []corev1.ContainerStatus{}
		}},
		{name: "1,000 containers with their IDs", edit: func(p *corev1.Pod) {
			p.Spec.Containers = nil
			for i := range 1000 {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: "registry.example.com/team/image:1"})
			}
		}, status: func(s *corev1.PodStatus) {
			runningAt("10.0.1.2")(s)
			for i := range 1000 {
				s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: fmt.Sprintf("c%d", i), ContainerID: fmt.Sprintf("containerd://%064x", i+1)})
			}
		}},
		{name: "annotations of 64 KiB", edit: func(p *corev1.Pod) { p.Annotations = map[string]string{"a": strings.Repeat("a", 64<<10)} }},
		{name: "annotations of over 256 KiB", edit: func(p *corev1.Pod) { p.Annotations = map[string]string{"a": strings.Repeat("a", 257<<10)} },
			wantRefused: "metadata.annotations: Too long"},
		{name: "100 labels as long as may be", edit: func(p *corev1.Pod) {
			p.Labels = map[string]string{}
			for i := range 100 {
				p.Labels[fmt.Sprintf("%s.example.com/%03d%s", strings.Repeat("p", 60), i, strings.Repeat("n", 60))] = strings.Repeat("v", 63)
			}
		}},
		{name: "a label of odd Unicode", edit: func(p *corev1.Pod) { p.Labels["app"] = odd }, wantRefused: "metadata.labels: Invalid value"},
		{name: "labels that look like ours", edit: func(p *corev1.Pod) {
			p.Labels = map[string]string{"app.kubernetes.io/managed-by": "podinfolookup", "stable.example.com/namespace": "other", "ip.stable.example.com/10.9.9.9": ""}
		}},
		{name: "an image of odd Unicode", edit: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "nginx:" + odd + "x" }},
		{name: "an image that is not UTF-8", edit: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "nginx:\xff\xfe\xc3x" }},
		{name: "an image of 64 KiB", edit: func(p *corev1.Pod) { p.Spec.Containers[0].Image = strings.Repeat("i", 64<<10) }},
		{name: "no image", edit: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "" }, wantRefused: "spec.containers[0].image: Required value"},
		{name: "the longest name", edit: func(p *corev1.Pod) { p.Name = strings.Repeat("n", 253) }},
		{name: "a name that looks like an IP", edit: func(p *corev1.Pod) { p.Name = "10.0.0.7" }},
		{name: "a node that does not exist", edit: func(p *corev1.Pod) { p.Spec.NodeName = "nowhere.invalid" },
			wantSpec: map[string]any{"nodename": "nowhere.invalid"}},
		{name: "a node with a slash", edit: func(p *corev1.Pod) { p.Spec.NodeName = "a/b" }, wantRefused: "spec.nodeName: Invalid value"},
	}
}

func hostileStatuses() []hostilePod {
	status := func(name string, status func(*corev1.PodStatus)) hostilePod {
		return hostilePod{name: name, status: status}
	}
	return []hostilePod{
		{name: "an IP that is none", status: runningAt("not-an-ip"), wantRefused: "status.podIPs[0]: Invalid value"},
		{name: "an IP with leading zeros", status: runningAt("010.000.000.001"), wantRefused: "status.podIPs[0]: Invalid value", refusedSince: strictIPs,
			wantLabels: map[string]string{"stable.example.com/more": "true"}},
		{name: "an IP with a zone", status: runningAt("fe80::1%eth0"), wantRefused: "status.podIPs[0]: Invalid value"},
		{name: "an IP mapped into IPv6", status: runningAt("::ffff:10.0.0.1"), wantRefused: "status.podIPs[0]: Invalid value", refusedSince: strictIPs,
			wantLabels: map[string]string{"ip.stable.example.com/10.0.0.1": ""}},
		{name: "three IPs", status: func(s *corev1.PodStatus) {
			s.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "10.0.0.2"}, {IP: "fd00::1"}}
		}, wantRefused: "status.podIPs: Invalid value"},
		{name: "a host IP that is none", status: func(s *corev1.PodStatus) { s.HostIP = "nowhere" }, wantSpec: map[string]any{"hostip": "nowhere"}},
		{name: "a host IP that is not UTF-8", status: func(s *corev1.PodStatus) { s.HostIP = "\xff" }, wantSpec: map[string]any{"hostip": "\ufffd"}},
		status("a phase that is none", func(s *corev1.PodStatus) { s.Phase = "Exploded " + odd }),
		status("a phase that is not UTF-8", func(s *corev1.PodStatus) { s.Phase = "Run\xffning" }),
		status("a phase of 64 KiB", func(s *corev1.PodStatus) { s.Phase = corev1.PodPhase(strings.Repeat("p", 64<<10)) }),
		status("no phase", func(s *corev1.PodStatus) { s.Phase = "" }),
		status("a start before all time", func(s *corev1.PodStatus) { s.StartTime = &metav1.Time{Time: time.Unix(-62135596800, 0)} }),
		status("a start in the year 0", func(s *corev1.PodStatus) { s.StartTime = &metav1.Time{Time: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)} }),
		status("a start in the year 12000", func(s *corev1.PodStatus) {
			s.StartTime = &metav1.Time{Time: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}
		}),
		status("a condition that is neither true nor false", func(s *corev1.PodStatus) {
			s.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: "Maybe"}, {Type: corev1.PodReady, Status: "True"}}
		}),
		status("statuses of containers that are not there", func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "other", ContainerID: "containerd://0123456789ab"}, {Name: ""}}
		}),
		status("two statuses of one container", func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://0123456789ab"}, {Name: "main", ContainerID: "containerd://ba9876543210"}}
		}),
		status("a container ID that is none", func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "://" + odd}}
		}),
		status("a container ID that is not UTF-8", func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://0123456789ab\xff"}}
		}),
		status("a container ID of 64 KiB", func(s *corev1.PodStatus) {
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://" + strings.Repeat("a", 64<<10)}}
		}),
	}
}

func hostileOwners() []hostilePod {
	owned := func(name string, owners ...metav1.OwnerReference) hostilePod {
		return hostilePod{name: name, edit: func(p *corev1.Pod) { p.OwnerReferences = owners }}
	}
	owner := func(apiVersion, kind, name string) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID("u-" + kind), Controller: new(true)}
	}
	unowned := owner("v1", "Node", "node-1")
	unowned.Controller = nil
	hash := owned("a ReplicaSet that is called like nothing but its hash", owner("apps/v1", "ReplicaSet", "-5d9f"))
	edit := hash.edit
	hash.edit = func(p *corev1.Pod) { edit(p); p.Labels["pod-template-hash"] = "5d9f" }
	refused := owned("two controllers", owner("v1", "A", "a"), owner("v1", "B", "b"))
	refused.wantRefused = "Only one reference can have Controller set to true"
	event := owned("an Event as owner", owner("v1", "Event", "e"))
	event.wantRefused = "Kind=Event is disallowed from being an owner"
	return []hostilePod{
		owned("a kind that does not exist", owner("nowhere.example.com/v9", "Nothing", "nobody")),
		owned("a name that no object can have", owner("a/v1", "K", "Ü/ "+odd)),
		owned("a name that is not UTF-8", owner("a/v1", "K\xff", "n\xfe")),
		owned("a name of 4 KiB", owner("a/v1", "K", strings.Repeat("n", 4<<10))),
		owned("no controller among the owners", unowned),
		hash, refused, event,
	}
}

func TestProgram_PodsThatReturnOrStay(t *testing.T) {
	namespace := env.Namespace(t, "")
	p := start(t, namespace)
	for i := range 5 {
		pod, err := createWith(t.Context(), env.Clients, namespace, ordinary("again"), runningAt(fmt.Sprintf("10.0.2.%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		follows(t, pod)
		removePod(t, namespace, "again")
	}
	stuck := ordinary("stuck")
	stuck.Finalizers = []string{"example.com/hold"}
	pod, err := createWith(t.Context(), env.Clients, namespace, stuck, runningAt("10.0.2.9"))
	if err != nil {
		t.Fatal(err)
	}
	removePod(t, namespace, "stuck")
	testenv.Eventually(t, hasSpec(namespace, "stuck", "terminating", true))
	follows(t, pod)
	verified(t, namespace)
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	if _, err := env.Clients.CoreV1().Pods(namespace).Patch(t.Context(), "stuck", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	verified(t, namespace)
	stop(t, p, nil)
}
