package lookup_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/addresses"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
)

// table is a table of addresses that is always complete.
type table struct{ *addresses.Table }

func (table) Gaps() addresses.Gaps { return addresses.Gaps{} }
func (table) Synced() error        { return nil }

// network returns a table of a node and of Services: one of shop whose endpoints are a
// Pod of shop and IPs of team and of kube-system, and one that claims the IP of the node.
func network() table {
	t := addresses.NewTable()
	service := func(namespace, name string, spec corev1.ServiceSpec) {
		t.PutService(addresses.NewService(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}))
	}
	service("shop", "web", corev1.ServiceSpec{ClusterIP: "10.96.0.7"})
	service("team", "claims", corev1.ServiceSpec{ClusterIP: "10.96.0.8", ExternalIPs: []string{"192.0.2.1"}})
	t.PutSlice(nil, addresses.NewSlice(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "web-1"}},
			{Addresses: []string{"10.0.0.10"}}, {Addresses: []string{"192.168.0.1"}},
		},
	}))
	t.PutNode(addresses.NewNode(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-2"},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeExternalIP, Address: "192.0.2.1"}}},
	}))
	return table{t}
}

func TestSearch_Addresses(t *testing.T) {
	_, all := serveWith(t, lookup.Config{Addresses: network()}, shop()...)
	tests := []struct {
		name     string
		allowed  []string // nil for all
		q        string
		wantPods string
		readAs   string
		text     string // "" for no address
	}{
		{
			name: "a Service", q: "10.96.0.7", wantPods: "shop/web-1 team/web-1 kube-system/proxy", readAs: "service",
			text: "10.96.0.7 is the cluster IP of service shop/web -> 1 Pod and 2 other endpoints",
		},
		// The Pods of the node are not hidden by a Service that claims its IP.
		{
			name: "a node that a Service claims", q: "192.0.2.1", wantPods: "team/web-1 shop/web-2", readAs: "service",
			text: "192.0.2.1 is the external IP of service team/claims -> 0 Pods, and the ExternalIP of node node-2",
		},
		{
			name: "two facts", q: "lookup claims.team.svc.cluster.local on 10.96.0.7:53", wantPods: "shop/web-1 team/web-1 kube-system/proxy", readAs: "service",
			text: "service team/claims -> 0 Pods",
		},
		{
			name: "two namespaces", allowed: []string{"shop", "team"}, q: "10.96.0.7", wantPods: "shop/web-1 team/web-1", readAs: "service",
			text: "10.96.0.7 is the cluster IP of service shop/web",
		},
		{name: "another namespace", allowed: []string{"team"}, q: "10.96.0.7", readAs: "text"},
		{
			name: "no node for a caller with one namespace", allowed: []string{"team"}, q: "192.0.2.1", readAs: "service",
			text: "192.0.2.1 is the external IP of service team/claims -> 0 Pods",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := all
			if test.allowed != nil {
				h = &restricted{next: all, allowed: test.allowed}
			}
			code, got := ask(t, h, "/v1/search?q="+strings.ReplaceAll(test.q, " ", "+"))
			if code != http.StatusOK || got.ReadAs != test.readAs || !samePods(got.Items, test.wantPods) {
				t.Errorf("%d, read as %q, want %q; %s, want %s", code, got.ReadAs, test.readAs, keysOf(got.Items), test.wantPods)
			}
			switch {
			case test.text == "" && got.Address != nil:
				t.Errorf("address %+v, want none", got.Address)
			case test.text != "" && (got.Address == nil || !strings.Contains(got.Address.Text, test.text)):
				t.Errorf("address %+v, want %q in it", got.Address, test.text)
			}
			if got.Unchecked {
				t.Error("unchecked: what is in a namespace that the caller may not see must not change the answer")
			}
		})
	}
}

// samePods reports whether the Pods are those in want, in any order.
func samePods(items []lookup.Pod, want string) bool {
	wanted := strings.Fields(want)
	for i := range items {
		if !strings.Contains(" "+want+" ", " "+items[i].PodKey+" ") {
			return false
		}
	}
	return len(items) == len(wanted)
}
