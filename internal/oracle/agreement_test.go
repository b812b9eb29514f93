package oracle

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// written returns the Testcr that the controller writes for a Pod.
func written(t *testing.T, pod *corev1.Pod) *Stored {
	t.Helper()
	return stored(t, desired.FromPod(pod))
}

// stored returns a Testcr as the API server has it.
func stored(t *testing.T, testcr *v1.Testcr) *Stored {
	t.Helper()
	encoded, err := wire.Encode(testcr)
	if err != nil {
		t.Fatal(err)
	}
	text, err := encoded.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	spec, _ := u.Object["spec"].(map[string]any)
	return Read(u, spec)
}

// The rules are implemented twice. Where the two differ, one of them is wrong.
func TestFactsFor_AgreesWithTheController(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: any numbers do
	for i := range 500 {
		pod := randomPod(source)
		got := written(t, pod)
		if diff := cmp.Diff(FactsFor(pod), &got.Facts); diff != "" || got.Name != NameFor(PodKey(pod)) || got.Validate() != nil {
			text, _ := yaml.Marshal(pod)
			t.Fatalf("Pod %d: name %s, %v (-oracle +controller):\n%s\n%s", i, got.Name, got.Validate(), diff, text)
		}
	}
}

// withOwner returns the Testcr that the controller writes for a Pod with --owners, when
// its owner has this controller.
func withOwner(t *testing.T, pod *corev1.Pod, kind, name string) *Stored {
	t.Helper()
	testcr := desired.FromPod(pod)
	desired.SetWorkload(&testcr.Spec, kind, name)
	return stored(t, desired.FromSpec(&testcr.Spec))
}

func TestFactsWith_AgreesWithTheController(t *testing.T) {
	long := strings.Repeat("é", 2000)
	source := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // G404: any numbers do
	cached := 0
	for i := range 600 {
		pod := randomPod(source)
		object := &metav1.ObjectMeta{Namespace: pod.Namespace, UID: "of the owner"}
		for n := range pod.OwnerReferences {
			pod.OwnerReferences[n].UID = object.UID
		}
		ref, ok := ReadableOwner(pod)
		object.Name = ref.Name
		if i%4 > 0 {
			object.OwnerReferences = []metav1.OwnerReference{
				{Kind: "Other", Name: "no-controller"}, {Kind: "Top", Name: []string{"", "top", "t\xff", long}[i%4], Controller: new(true)},
			}
		}
		owners := Owners{}
		owners.Add(ref.Kind, object)
		want := written(t, pod)
		switch {
		case owners.Lack(pod):
			t.Fatalf("Pod %d lacks an owner", i)
		case ok && i%4 == 0:
			want = withOwner(t, pod, ref.Kind, ref.Name)
		case ok:
			want = withOwner(t, pod, "Top", object.OwnerReferences[1].Name)
		}
		if ok {
			cached++
		}
		if diff := cmp.Diff(FactsWith(owners, pod), &want.Facts); diff != "" {
			text, _ := yaml.Marshal(pod)
			t.Fatalf("Pod %d (-oracle +controller):\n%s\n%s", i, diff, text)
		}
	}
	if cached < 30 {
		t.Errorf("only %d Pods have an owner that is read", cached)
	}
}

func TestOwners_Lack(t *testing.T) {
	pod := fullPod()
	ref := &pod.OwnerReferences[0]
	ref.UID = "o"
	tests := []struct {
		name   string
		object *metav1.ObjectMeta // nil without Owners
		kind   string
		want   bool
	}{
		{name: "owners are not read"},
		{name: "the owner", object: &metav1.ObjectMeta{Namespace: pod.Namespace, Name: ref.Name, UID: "o"}, kind: ref.Kind},
		{name: "another UID", object: &metav1.ObjectMeta{Namespace: pod.Namespace, Name: ref.Name, UID: "p"}, kind: ref.Kind, want: true},
		{name: "another name", object: &metav1.ObjectMeta{Namespace: pod.Namespace, Name: "x", UID: "o"}, kind: ref.Kind, want: true},
		{name: "another namespace", object: &metav1.ObjectMeta{Namespace: "x", Name: ref.Name, UID: "o"}, kind: ref.Kind, want: true},
		{name: "another kind", object: &metav1.ObjectMeta{Namespace: pod.Namespace, Name: ref.Name, UID: "o"}, kind: "Job", want: true},
	}
	for _, test := range tests {
		var owners Owners
		if test.object != nil {
			owners = Owners{}
			owners.Add(test.kind, test.object)
		}
		if got := owners.Lack(pod); got != test.want {
			t.Errorf("%s: Lack = %t, want %t", test.name, got, test.want)
		}
	}
	ref.APIVersion = "example.com/v1"
	if (Owners{}).Lack(pod) {
		t.Error("an owner that is not read is lacking")
	}
}

func TestFacts_KeepProof(t *testing.T) {
	pod := fullPod()
	want := FactsFor(pod)
	proven := withOwner(t, pod, "Rollout", "other")
	tests := []struct {
		name string
		have *Stored
		want *Facts
	}{
		{name: "no Testcr", want: want},
		{name: "a workload by a label", have: written(t, pod), want: want},
		{name: "a workload by an owner", have: proven, want: &proven.Facts},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, want.KeepProof(test.have)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestFactsFor_BoundsAgreeWithTheController(t *testing.T) {
	fills := []string{"i", "<", `"`, "\x00", "\xff", "é", "\u2028", "\U0001d11e", "\x7f", "ab\xc3<"}
	sizes := []struct{ bytes, containers int }{
		{bytes: 1, containers: 1}, {bytes: 1, containers: 3000}, // of the small ones the overhead of each counts
		{bytes: 680, containers: 1}, {bytes: 680, containers: 200},
		{bytes: 2040, containers: 30}, {bytes: 2040, containers: 200},
		{bytes: 2049, containers: 1}, {bytes: 2049, containers: 30},
	}
	for _, fill := range fills {
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%q %d %d", fill, size.bytes, size.containers), func(t *testing.T) {
				pod := bigPod(strings.Repeat(fill, size.bytes), size.containers)
				pod.Labels[strings.Repeat(fill, size.bytes%64)] = strings.Repeat(fill, size.bytes%512)
				if diff := cmp.Diff(FactsFor(pod), &written(t, pod).Facts); diff != "" {
					t.Errorf("-oracle +controller:\n%.3000s", diff)
				}
			})
		}
	}
}

// bigPod returns fullPod with text in all strings that may be long, and with as many
// more containers and labels.
func bigPod(text string, containers int) *corev1.Pod {
	pod := fullPod()
	pod.UID, pod.OwnerReferences[0].Name, pod.Status.Phase, pod.Status.HostIP = types.UID(text), text, corev1.PodPhase(text), text
	for i := range containers {
		name := fmt.Sprint("c", i)
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: text})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses,
			corev1.ContainerStatus{Name: name, ContainerID: fmt.Sprintf("containerd://%012x%s", i, text)})
		pod.Labels[fmt.Sprintf("%04d.example.com/x", i*3)] = strings.Repeat("v", len(text)%512)
	}
	return pod
}

// ips returns n IPs.
func ips(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("10.8.0.%d", i)
	}
	return out
}

func randomState(source *rand.Rand, one func(...string) string) corev1.ContainerState {
	switch source.IntN(4) {
	case 0:
		return corev1.ContainerState{}
	case 1:
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: one("", "PodInitializing", "CrashLoopBackOff", "w\xff")}}
	case 2:
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Reason: one("", "", "Completed", "Error"), ExitCode: source.Int32N(2), Signal: source.Int32N(2),
	}}
}

// randomPod returns a Pod of values that an API server accepts, most of them odd.
func randomPod(source *rand.Rand) *corev1.Pod {
	one := func(of ...string) string { return of[source.IntN(len(of))] }
	yes := source.IntN(2) == 0
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: one("a", "b-c"), Name: one("x", "web-5d9f-abcde"), UID: types.UID(one("u1", "u2")),
		Labels: map[string]string{"pod-template-hash": one("", "5d9f"), "app": one("", "web"), "rollouts-pod-template-hash": one("", "5d9f"), "deploymentconfig": one("", "web")},
	}}
	times := []*metav1.Time{nil, {}, {Time: time.Unix(1_700_000_000, 999)}, {Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}
	if t := times[source.IntN(len(times))]; t != nil {
		pod.CreationTimestamp = *t
	}
	pod.DeletionTimestamp, pod.Status.StartTime = times[source.IntN(2)], times[source.IntN(len(times))]
	for range source.IntN(3) {
		controls := source.IntN(2) == 0
		pod.OwnerReferences = append(pod.OwnerReferences, metav1.OwnerReference{
			APIVersion: one("apps/v1", "apps", "example.com/v1", "batch/v1", "v1"), Kind: one("ReplicaSet", "Job", "ReplicationController"), Controller: &controls,
			Name: one("web-28333333", "web-28333334", "web-28331893", "web-28331892", "web-1", "-28333333", "web-99999999999", "web-2833x333", "web-5d9f", "-5d9f", "web", "w\xfe\xff", "web-5d9f-5d9f", "system:node", ".x", strings.Repeat("l", 63), strings.Repeat("l", 51)+"-"+strings.Repeat("m", 20)),
		})
	}
	pod.Annotations = map[string]string{
		"kubernetes.io/config.hash":   one("", "0123456789ABCDEF0123456789abcdef", "12345678-1234-1234-1234-123456789012", "no UID", "\xff"),
		"kubernetes.io/config.mirror": one("", "fedcba9876543210fedcba9876543210"),
		"k8s.v1.cni.cncf.io/network-status": one("", "[", "{}", `[{"name":"a/b","ips":["10.0.0.1","10.9.0.1","fd00::9","no IP"]},{"NAME":"c","ips":["10.9.0.1"]}]`,
			`[{"ips":["`+strings.Join(ips(20), `","`)+`"]}]`, `[{"name":"`+strings.Repeat("n", 70_000)+`","ips":["10.9.0.2"]}]`, `[{"ips":"10.9.0.3"}]`),
		"k8s.v1.cni.cncf.io/networks-status": one("", `[{"name":"old","ips":["10.9.0.4"]}]`, `[{"name":"`+strings.Repeat("n", 3000)+`","ips":["10.9.0.2"]}]`),
		"k8s.ovn.org/pod-networks": one("", `{"z":{"ip_addresses":["10.9.1.1/24","fd00::91/64"],"ip_address":"10.9.1.1/24"},"default":{"ip_address":"10.9.1.2/24"}}`, `{"a":1}`,
			`{"a":{"ip_addresses":["::ffff:10.9.0.1/24","fe80::1%eth0"]}}`),
	}
	pod.Spec.Hostname, pod.Spec.Subdomain = one("", "x", "\xff"), one("", "web")
	for range source.IntN(4) * source.IntN(7) {
		pod.Status.HostIPs = append(pod.Status.HostIPs, corev1.HostIP{IP: one("192.0.2.1", "fd00::1", "no IP", "")})
	}
	pod.Status.Reason = one("", "", "Evicted", "NodeLost", "r\xff")
	pod.Spec.NodeName, pod.Spec.HostNetwork, pod.Spec.ServiceAccountName = one("", "n"), yes, one("", "sa")
	pod.Status.Phase, pod.Status.HostIP = corev1.PodPhase(one("", "Running", "Run\xffning")), one("", "192.0.2.1", "\xc3(")
	for range source.IntN(20) {
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: one("10.0.0.1", "10.0.0.01", "fd00::1", "FD00:0::2", "::1", "::",
			"fe80::1%eth0", "::ffff:10.0.0.2", "", "no IP", fmt.Sprintf("10.0.1.%d", source.IntN(256)))})
	}
	pod.Status.PodIP = one("", "10.0.0.1")
	for range source.IntN(3) {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodConditionType(one("Ready", "Initialized", "PodScheduled")), Status: corev1.ConditionStatus(one("True", "False", "Unknown")),
			Reason: one("", "SchedulingGated"),
		})
	}
	names := func() string { return one("c1", "c2", "c3") }
	image := func() string { return one("", "i:1", "i:\xe2\x82\x00") }
	id := func() string {
		return one("", "docker://", "short", "containerd://4F5CA3B2D1E0ff", "4f5ca3b2d1e0", "a://b://4f5ca3b2d1e0", "cri-o://4f5ca3b2d1eg", "c://4f5ca3b2d1e0\xff", "\xff4f5ca3b2d1e0", fmt.Sprintf("c://%016x", source.Uint64()))
	}
	status := func() corev1.ContainerStatus {
		s := corev1.ContainerStatus{
			Name: names(), ContainerID: id(), ImageID: one("", "docker.io/library/i@sha256:00", "\xff"), Ready: source.IntN(2) == 0,
			RestartCount: source.Int32N(3), State: randomState(source, one),
		}
		if source.IntN(2) == 0 {
			s.Started = new(source.IntN(2) == 0)
		}
		if end := randomState(source, one).Terminated; end != nil {
			end.ContainerID = id()
			s.LastTerminationState.Terminated = end
		}
		return s
	}
	for range source.IntN(4) * source.IntN(4) * source.IntN(10) {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: names(), Image: image()})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, status())
	}
	for range source.IntN(3) {
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: names(), Image: image()})
		if source.IntN(2) == 0 {
			pod.Spec.InitContainers[len(pod.Spec.InitContainers)-1].RestartPolicy = new(corev1.ContainerRestartPolicy(one("Always", "Never")))
		}
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, status())
		pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: names(), Image: image()},
		})
		pod.Status.EphemeralContainerStatuses = append(pod.Status.EphemeralContainerStatuses, status())
	}
	return pod
}
