package podinfolookup

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxTestcrBytes is what bounds.go promises of each Testcr in JSON.
const maxTestcrBytes = 300 << 10

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

func TestFromPod_HostilePodIsBounded(t *testing.T) {
	for _, fill := range []string{"i", "<", `"`, "\x00", "\xff", "é", "\u2028", "\U0001d11e", "\x7f"} {
		t.Run(fmt.Sprintf("%q", fill), func(t *testing.T) {
			got := FromPod(hostilePod(fill))
			text, err := json.Marshal(got.body())
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > maxTestcrBytes {
				t.Errorf("the Testcr has %d bytes, want at most %d", len(text), maxTestcrBytes)
			}
			s := &got.Spec
			if !s.Truncated || got.Labels[LabelMore] != "true" {
				t.Errorf("truncated is %t, the label is %q", s.Truncated, got.Labels[LabelMore])
			}
			if s.PodIP != "10.0.0.1" || len(s.PodIPs) != maxPodIPs || len(s.Labels) == 0 || len(s.Containers) == 0 {
				t.Errorf("IP %q, %d IPs, %d labels, %d containers", s.PodIP, len(s.PodIPs), len(s.Labels), len(s.Containers))
			}
			for _, text := range []string{s.Phase, s.HostIP, s.NodeName, s.OwnerKind, s.WorkloadName, s.Containers[0].Image, s.Containers[0].ID} {
				if len(text) > maxStringBytes || !utf8.ValidString(text) || !strings.HasSuffix(text, cutMarker) {
					t.Errorf("a string of %d bytes ends in %q", len(text), text[max(0, len(text)-20):])
				}
			}
		})
	}
}

func TestSpec_boundString(t *testing.T) {
	tests := []struct {
		name, in, want string
		wantCut        bool
	}{
		{name: "short", in: "nginx:1", want: "nginx:1"},
		{name: "as long as may be", in: strings.Repeat("a", 2048), want: strings.Repeat("a", 2048)},
		{name: "a byte too long", in: strings.Repeat("a", 2049), want: strings.Repeat("a", 2040) + "...(cut)", wantCut: true},
		{name: "a character over the edge", in: strings.Repeat("a", 2039) + "éé" + strings.Repeat("a", 9),
			want: strings.Repeat("a", 2039) + "...(cut)", wantCut: true},
		{name: "not UTF-8", in: "a\xff", want: "a\ufffd"},
		{name: "too long once it is UTF-8", in: strings.Repeat("\xff", 700), want: strings.Repeat("\ufffd", 680) + "...(cut)", wantCut: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s TestcrSpec
			got := test.in
			s.boundString(&got)
			if got != test.want || s.Truncated != test.wantCut {
				t.Errorf("got %d bytes ending in %q, cut %t", len(got), got[max(0, len(got)-12):], s.Truncated)
			}
		})
	}
}

func TestSpec_bound_LeavesThePodAlone(t *testing.T) {
	pod := hostilePod("<")
	FromPod(pod)
	if len(pod.Labels) != 5000 || len(pod.Spec.Containers) != 1000 || len(pod.Status.PodIPs) != 1000 {
		t.Error("the Pod was changed")
	}
}
