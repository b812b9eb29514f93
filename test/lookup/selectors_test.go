package lookup_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// TestTheAPIServerSelects asks the API server itself, by what a Pod has several
// of (labels) and by what it has one of (selectable fields).
func TestTheAPIServerSelects(t *testing.T) {
	a, b := newPod("select", "a", 7), newPod("select", "b", 8)
	b.Status.PodIPs[0].IP = "10.7.0.7" // both have it
	many := newPod("select", "many", 9)
	many.Status.PodIPs = append(many.Status.PodIPs, corev1.PodIP{IP: "FD00:7:0::99"}, corev1.PodIP{IP: "::ffff:10.7.0.99"}, corev1.PodIP{IP: "no address"})
	done := newPod("select", "done", 5)
	done.Status.PodIPs[0].IP, done.Status.Phase = "10.7.0.7", corev1.PodFailed
	for _, pod := range []*corev1.Pod{a, b, many, done} {
		createTestcr(t, pod)
	}
	ip := func(s string) string { return v1.LabelIP(netip.MustParseAddr(s)) }
	id := func(s string) string {
		key, ok := v1.LabelContainer(s)
		if !ok {
			t.Fatalf("%s has no label", s)
		}
		return key
	}
	tests := []struct {
		name          string
		labels, field string
		want          []string
	}{
		{"an IP of three", "ip.stable.example.com/10.7.0.7", "", []string{"select/a", "select/b", "select/done"}},
		{"an IP without completed Pods", "ip.stable.example.com/10.7.0.7", "spec.phase!=Succeeded,spec.phase!=Failed", []string{"select/a", "select/b"}},
		{"an IPv6 address", "ip.stable.example.com/fd00-7--8", "", []string{"select/b"}},
		{"an IPv6 address that the Pod has in another spelling", ip("fd00:7::99"), "", []string{"select/many"}},
		{"IPv4 that the Pod has mapped into IPv6", ip("10.7.0.99"), "", []string{"select/many"}},
		{"an IP of none", ip("10.7.0.98"), "", nil},
		{"all IPs of one Pod", ip("10.7.0.7") + "," + ip("fd00:7::7"), "", []string{"select/a"}},
		{"a container ID", "cid.stable.example.com/777777777777", "", []string{"select/a"}},
		{"a container ID in another spelling", id("docker://" + idOf(8)), "", []string{"select/b"}},
		{"a container ID of none", id("666666666666"), "", nil},
		{"what is not told by labels", v1.LabelMore + "=true," + v1.LabelNamespace + "=select", "", []string{"select/many"}},
		{"a workload", v1.LabelWorkload + "=web," + v1.LabelNamespace + "=select", "", []string{"select/a", "select/b", "select/done", "select/many"}},
		{"podkey", "", "spec.podkey=select/a", []string{"select/a"}},
		{"podname", "", "spec.podname=many", []string{"select/many"}},
		{"poduid", "", "spec.poduid=" + string(b.UID), []string{"select/b"}},
		{"podip", "", "spec.podip=10.7.0.8", []string{"select/b"}},
		{"namespace", "", "spec.namespace=select", []string{"select/a", "select/b", "select/done", "select/many"}},
		{"nodename", "", "spec.nodename=node-9", []string{"select/many"}},
		{"hostip", "", "spec.hostip=192.168.7.7", []string{"select/a"}},
		{"phase", "", "spec.phase=Running,spec.namespace=select", []string{"select/a", "select/b", "select/many"}},
		{"a label and a field", "ip.stable.example.com/10.7.0.7", "spec.nodename=node-8", []string{"select/b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			list, err := testcrs().List(t.Context(), metav1.ListOptions{LabelSelector: test.labels, FieldSelector: test.field})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range list.Items {
				spec, _ := list.Items[i].Object["spec"].(map[string]any)
				key, _ := spec["podkey"].(string)
				got = append(got, key)
			}
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
