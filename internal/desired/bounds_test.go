package desired

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// maxTestcrBytes is the bound of bounds.go for a Testcr in JSON.
const maxTestcrBytes = 300 << 10

// hostilePod returns a Pod that no Testcr has room for.
func hostilePod(fill string) *corev1.Pod {
	long := strings.Repeat(fill, 1<<20/len(fill))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", Labels: map[string]string{}}}
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: long, Name: long, Controller: new(true)}}
	pod.Spec.NodeName, pod.Spec.ServiceAccountName = long, long
	pod.Status.Phase, pod.Status.HostIP, pod.Status.PodIP = corev1.PodPhase(long), long, "10.0.0.1"
	for i := range 5000 {
		pod.Labels[fmt.Sprintf("%s%04d", strings.Repeat(fill, 60/len(fill)), i)] = strings.Repeat(fill, 60/len(fill))
	}
	for i := range 1000 {
		name := fmt.Sprint("c", i)
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name, Image: long})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, ContainerID: long})
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: "10.0.0.1"})
	}
	return pod
}

func TestFromPod_HostilePod(t *testing.T) {
	for _, fill := range []string{"i", "<", `"`, "\x00", "\xff", "é", "\u2028", "\U0001d11e", "\x7f"} {
		t.Run(fmt.Sprintf("the Testcr of a Pod full of %q is bounded", fill), func(t *testing.T) {
			got := FromPod(hostilePod(fill))
			text, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > maxTestcrBytes {
				t.Errorf("the Testcr has %d bytes, want at most %d", len(text), maxTestcrBytes)
			}
			s := &got.Spec
			if !s.Truncated || got.Labels[v1.LabelMore] != "true" {
				t.Errorf("truncated is %t, the label is %q", s.Truncated, got.Labels[v1.LabelMore])
			}
			if s.PodIP != "10.0.0.1" || len(s.PodIPs) != maxPodIPs || len(s.Labels) == 0 || len(s.Containers) == 0 {
				t.Errorf("IP %q, %d IPs, %d labels, %d containers", s.PodIP, len(s.PodIPs), len(s.Labels), len(s.Containers))
			}
			for _, text := range []string{
				s.Phase, s.HostIP, s.NodeName, s.ServiceAccount, s.OwnerKind, s.OwnerName, s.WorkloadKind, s.WorkloadName,
				s.Containers[0].Image, s.Containers[0].ID,
			} {
				if len(text) > maxStringBytes || !utf8.ValidString(text) || !strings.HasSuffix(text, cutMarker) {
					t.Errorf("a string of %d bytes ends in %q", len(text), text[max(0, len(text)-20):])
				}
			}
		})
	}
	t.Run("the Pod is not changed", func(t *testing.T) {
		pod := hostilePod("<")
		FromPod(pod)
		if len(pod.Labels) != 5000 || len(pod.Spec.Containers) != 1000 || len(pod.Status.PodIPs) != 1000 {
			t.Errorf("%d labels, %d containers, %d IPs", len(pod.Labels), len(pod.Spec.Containers), len(pod.Status.PodIPs))
		}
	})
}

func TestBoundString(t *testing.T) {
	tests := []struct {
		name, in, want string
		wantCut        bool
	}{
		{name: "a short string", in: "nginx:1", want: "nginx:1"},
		{name: "the longest string", in: strings.Repeat("a", 2048), want: strings.Repeat("a", 2048)},
		{name: "a byte too long", in: strings.Repeat("a", 2049), want: strings.Repeat("a", 2040) + "...(cut)", wantCut: true},
		{
			name: "a character over the edge", in: strings.Repeat("a", 2039) + "éé" + strings.Repeat("a", 9),
			want: strings.Repeat("a", 2039) + "...(cut)", wantCut: true,
		},
		{name: "not UTF-8", in: "a\xff", want: "a\ufffd"},
		{name: "too long once it is UTF-8", in: strings.Repeat("\xff", 700), want: strings.Repeat("\ufffd", 680) + "...(cut)", wantCut: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s v1.TestcrSpec
			got := test.in
			boundString(&s, &got)
			if got != test.want || s.Truncated != test.wantCut {
				t.Errorf("got %d bytes ending in %q, cut %t", len(got), got[max(0, len(got)-12):], s.Truncated)
			}
		})
	}
}

func TestBound(t *testing.T) {
	labels := func(n int) map[string]string {
		out := map[string]string{}
		for i := range n {
			out[fmt.Sprintf("%04d", i)] = strings.Repeat("v", 1024-4-len(`"":"",`))
		}
		return out
	}
	containers := func(n int) (out []v1.Container) {
		for range n {
			out = append(out, v1.Container{Image: strings.Repeat("i", 1024-len(`{"name":"","image":""},`))})
		}
		return out
	}
	type counts struct {
		labels, containers, ips int
		truncated               bool
	}
	tests := []struct {
		name string
		spec v1.TestcrSpec
		want counts
	}{
		{name: "64 KiB of labels are kept", spec: v1.TestcrSpec{Labels: labels(64)}, want: counts{labels: 64}},
		{name: "the last label of more is left out", spec: v1.TestcrSpec{Labels: labels(65)}, want: counts{labels: 64, truncated: true}},
		{name: "128 KiB of containers are kept", spec: v1.TestcrSpec{Containers: containers(128)}, want: counts{containers: 128}},
		{
			name: "the last container of more is left out",
			spec: v1.TestcrSpec{Containers: containers(129)}, want: counts{containers: 128, truncated: true},
		},
		{
			name: "labels and containers share 128 KiB",
			spec: v1.TestcrSpec{Labels: labels(64), Containers: containers(64)}, want: counts{labels: 64, containers: 64},
		},
		{
			name: "labels take room from containers",
			spec: v1.TestcrSpec{Labels: labels(64), Containers: containers(65)}, want: counts{labels: 64, containers: 64, truncated: true},
		},
		{
			name: "every field of a container takes room",
			spec: v1.TestcrSpec{Containers: slices.Repeat([]v1.Container{{
				Image: strings.Repeat("i", 1024-len(`{"name":"","image":"","id":"1","imageid":"2","previousid":"3","previousreason":"4","previousexitcode":-2147483648,"kind":"init"},`)),
				ID:    "1", ImageID: "2", PreviousID: "3", PreviousReason: "4", PreviousExitCode: 1, Kind: "init",
			}}, 129)},
			want: counts{containers: 128, truncated: true},
		},
		{name: "16 IPs are kept", spec: v1.TestcrSpec{PodIPs: make([]string, 16)}, want: counts{ips: 16}},
		{name: "the last of 17 IPs of the node is left out", spec: v1.TestcrSpec{HostIPs: make([]string, 17)}, want: counts{truncated: true}},
		{name: "the last of 17 IPs of networks is left out", spec: v1.TestcrSpec{NetworkIPs: make([]v1.NetworkIP, 17)}, want: counts{truncated: true}},
		{name: "the last of 17 IPs is left out", spec: v1.TestcrSpec{PodIPs: make([]string, 17)}, want: counts{ips: 16, truncated: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := test.spec
			bound(&spec)
			got := counts{len(spec.Labels), len(spec.Containers), len(spec.PodIPs), spec.Truncated}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(counts{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, ok := spec.Labels["0063"]; len(spec.Labels) > 0 && !ok {
				t.Error("another label is kept than the first ones")
			}
		})
	}
	t.Run("labels and the name of a container become UTF-8", func(t *testing.T) {
		spec := v1.TestcrSpec{Labels: map[string]string{"a\xff": "b\xfe"}, Containers: []v1.Container{{Name: "c\xfd"}}}
		bound(&spec)
		want := v1.TestcrSpec{Labels: map[string]string{"a\ufffd": "b\ufffd"}, Containers: []v1.Container{{Name: "c\ufffd"}}}
		if diff := cmp.Diff(want, spec); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestJSONBytes(t *testing.T) {
	for _, s := range []string{"", "abc", "\x00\x1f\n", `"\`, "<>&", "\u2028\u2029", "é\U0001d11e", "\x7f"} {
		t.Run(fmt.Sprintf("%q", s), func(t *testing.T) {
			text, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := jsonBytes(s) + len(`""`); got < len(text) {
				t.Errorf("%d bytes, encoding/json needs %d", got, len(text))
			}
		})
	}
}

func TestShorten(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{name: "as long as the limit", in: strings.Repeat("a", 20), want: strings.Repeat("a", 20)},
		{name: "longer than the limit", in: strings.Repeat("a", 21), want: strings.Repeat("a", 12) + "...(cut)"},
		{name: "a character over the edge", in: strings.Repeat("a", 11) + strings.Repeat("é", 9), want: strings.Repeat("a", 11) + "...(cut)"},
		{name: "an empty string"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Shorten(test.in, 20)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFromPod_Size holds the size of a usual Testcr, without what the API server adds.
// docs/benchmarks.md has the figures.
func TestFromPod_Size(t *testing.T) {
	const digest = "4f5ca3b2d1e04f5ca3b2d1e04f5ca3b2d1e04f5ca3b2d1e04f5ca3b2d1e00a1b"
	created := metav1.Unix(1_796_000_000, 0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "cart-58f5469f5-96cdg", UID: "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5a", CreationTimestamp: created,
			Labels:          map[string]string{"app": "cart", "pod-template-hash": "58f5469f5", "app.kubernetes.io/name": "cart", "app.kubernetes.io/instance": "cart"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "cart-58f5469f5", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{NodeName: "worker-000017", ServiceAccountName: "cart"},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.12.34.56", PodIPs: []corev1.PodIP{{IP: "10.12.34.56"}},
			HostIP: "192.168.12.34", HostIPs: []corev1.HostIP{{IP: "192.168.12.34"}}, StartTime: &created,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	for i, want := range []int{1466, 1665} { // 1.3 times the 1,128 and 1,281 bytes of before it had a status
		name := fmt.Sprintf("registry.example.com/shop/cart-%d", i)
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name[len(name)-6:], Image: name + ":1.29.3"})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: name[len(name)-6:], Ready: true, ContainerID: "containerd://" + digest, ImageID: name + "@sha256:" + digest,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: created}},
		})
		text, err := json.Marshal(FromPod(pod))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d containers: %d bytes", i+1, len(text))
		if len(text) > want {
			t.Errorf("%d containers: %d bytes, want at most %d", i+1, len(text), want)
		}
	}
}
