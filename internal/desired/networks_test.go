package desired

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func TestNetworkIPs(t *testing.T) {
	const multus, ovn = "k8s.v1.cni.cncf.io/network-status", "k8s.ovn.org/pod-networks"
	tests := []struct {
		name        string
		annotations map[string]string
		want        []v1.NetworkIP
	}{
		{name: "no annotation"},
		{name: "another annotation", annotations: map[string]string{"example.com/network-status": `[{"name":"a","ips":["192.0.2.7"]}]`}},
		{
			name: "Multus: the IPs of the status are left out",
			annotations: map[string]string{multus: `[
				{"name": "cbr0", "interface": "eth0", "ips": ["10.0.0.7", "fd00::7"], "default": true, "dns": {}},
				{"name": "shop/storage", "interface": "net1", "ips": ["192.0.2.7", "FD00:0::9"], "mac": "02:00:00:00:00:01", "dns": {}}]`},
			want: []v1.NetworkIP{{IP: "192.0.2.7", Network: "shop/storage"}, {IP: "fd00::9", Network: "shop/storage"}},
		},
		{
			name:        "Multus: the name of the annotation before",
			annotations: map[string]string{"k8s.v1.cni.cncf.io/networks-status": `[{"name":"a","ips":["192.0.2.7"]}]`},
			want:        []v1.NetworkIP{{IP: "192.0.2.7", Network: "a"}},
		},
		{
			name:        "OVN: addresses with the length of their prefix, networks by name",
			annotations: map[string]string{ovn: `{"shop/blue":{"ip_addresses":["192.0.2.9/24"],"ip_address":"192.0.2.9/24"},"default":{"ip_addresses":["10.0.0.7/24"],"ip_address":"192.0.2.8/24"}}`},
			want:        []v1.NetworkIP{{IP: "192.0.2.8", Network: "default"}, {IP: "192.0.2.9", Network: "shop/blue"}},
		},
		{
			name:        "an IP that is there twice",
			annotations: map[string]string{multus: `[{"name":"a","ips":["192.0.2.7","::ffff:192.0.2.7"]}]`, ovn: `{"b":{"ip_address":"192.0.2.7/24"}}`},
			want:        []v1.NetworkIP{{IP: "192.0.2.7", Network: "a"}},
		},
		{name: "what is no IP", annotations: map[string]string{multus: `[{"name":"a","ips":["", "192.0.2.256", "x", "/24"]}]`}},
		{name: "no JSON", annotations: map[string]string{multus: `[{"name":"a"`, ovn: "}"}},
		{name: "JSON of another type", annotations: map[string]string{multus: `{"name":"a","ips":["192.0.2.7"]}`, ovn: `[1]`}},
		{
			name:        "one that is malformed does no harm to the other",
			annotations: map[string]string{multus: `[`, ovn: `{"b":{"ip_address":"192.0.2.7/24"}}`},
			want:        []v1.NetworkIP{{IP: "192.0.2.7", Network: "b"}},
		},
		{name: "larger than 64 KiB", annotations: map[string]string{multus: `[{"name":"a","ips":["192.0.2.7"]}]` + strings.Repeat(" ", 64<<10)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations},
				Status:     corev1.PodStatus{PodIP: "10.0.0.7", PodIPs: []corev1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00::7"}}},
			}
			if diff := cmp.Diff(test.want, networkIPs(pod)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNetworkIPs_Bound(t *testing.T) {
	var ips []string
	for i := range 100 {
		ips = append(ips, fmt.Sprintf("\"192.0.2.%d\"", i))
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Annotations: map[string]string{"k8s.v1.cni.cncf.io/network-status": `[{"name":"a","ips":[` + strings.Join(ips, ",") + `]}]`},
	}}
	if spec := Spec(pod); len(spec.NetworkIPs) != 16 || !spec.Truncated {
		t.Errorf("%d IPs, truncated %t", len(spec.NetworkIPs), spec.Truncated)
	}
}
