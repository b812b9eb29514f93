package addresses

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func newService(namespace, name string, change func(*corev1.Service)) *Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	change(s)
	return NewService(s)
}

func newSlice(service, name string, endpoints ...discoveryv1.Endpoint) *Slice {
	return NewSlice(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Endpoints:  endpoints,
	})
}

func podEndpoint(namespace, name string, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: ready},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: name},
	}
}

func newNode(name string, addresses []corev1.NodeAddress, ranges ...string) *Node {
	return NewNode(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: ranges}, Status: corev1.NodeStatus{Addresses: addresses},
	})
}

// filled returns a table of a cluster with two Services and two nodes.
func filled() *Table {
	no := false
	t := NewTable()
	t.PutService(newService("shop", "cart", func(s *corev1.Service) {
		s.Spec.ClusterIPs = []string{"10.96.0.17", "fd00:10:96::17"}
		s.Spec.ExternalIPs = []string{"198.51.100.7"}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.7"}, {Hostname: "lb.example.com"}}
	}))
	t.PutService(newService("shop", "headless", func(s *corev1.Service) { s.Spec.ClusterIP = "None" }))
	t.PutSlice(nil, newSlice("cart", "cart-4", podEndpoint("shop", "cart-1", nil), podEndpoint("shop", "cart-2", &no)))
	t.PutSlice(nil, newSlice("cart", "cart-6", podEndpoint("shop", "cart-1", nil), podEndpoint("shop", "cart-3", nil)))
	t.PutNode(newNode("worker-1", []corev1.NodeAddress{
		{Type: "InternalIP", Address: "192.0.2.1"}, {Type: "ExternalIP", Address: "2001:db8::1"}, {Type: "Hostname", Address: "worker-1"},
	}, "10.244.1.0/24", "fd00:10:244:1::/64"))
	t.PutNode(newNode("worker-2", []corev1.NodeAddress{{Type: "InternalIP", Address: "192.0.2.2"}}, "10.244.2.0/24"))
	t.SetServiceRanges([]networkingv1.ServiceCIDR{{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12", "fd00:10:96::/112"}}}})
	return t
}

func TestFinding_Describe(t *testing.T) {
	for _, test := range []struct {
		name, addr string
		gaps       Gaps
		want       string
	}{
		{name: "cluster IP", addr: "10.96.0.17", want: "10.96.0.17 is the cluster IP of service shop/cart -> 3 Pods (1 not ready)"},
		{name: "second family", addr: "fd00:10:96::17", want: "fd00:10:96::17 is the cluster IP of service shop/cart -> 3 Pods (1 not ready)"},
		{name: "external IP", addr: "198.51.100.7", want: "198.51.100.7 is the external IP of service shop/cart -> 3 Pods (1 not ready)"},
		{name: "load balancer", addr: "203.0.113.7", want: "203.0.113.7 is the load balancer IP of service shop/cart -> 3 Pods (1 not ready)"},
		{name: "node", addr: "192.0.2.2", want: "192.0.2.2 is the InternalIP of node worker-2"},
		{name: "external IP of a node", addr: "2001:db8::1", want: "2001:db8::1 is the ExternalIP of node worker-1"},
		{name: "Pod range", addr: "10.244.2.77", want: "10.244.2.77 is in the Pod range 10.244.2.0/24 of node worker-2, and no Pod has it now"},
		{name: "Service range", addr: "10.96.1.1", want: "10.96.1.1 is in the Service range 10.96.0.0/12 of this cluster, and no service and no node has it"},
		{
			name: "stranger", addr: "8.8.8.8",
			want: "8.8.8.8 is in no Pod range and in no Service range of this cluster, and no service and no node has it: it is not of this cluster, unless its Pods have IPs " +
				"outside of the ranges of its nodes, or a node that had it is gone",
		},
		{
			name: "stranger, Pods of some namespaces", addr: "8.8.8.8", gaps: Gaps{Pods: "only some Pods"},
			want: "8.8.8.8 is in no Pod range and in no Service range of this cluster, and no service and no node has it; only some Pods",
		},
		{
			name: "Pod range, Pods of some namespaces", addr: "10.244.2.77", gaps: Gaps{Pods: "only some Pods"},
			want: "10.244.2.77 is in the Pod range 10.244.2.0/24 of node worker-2; only some Pods",
		},
		{
			name: "node, of before", addr: "192.0.2.2", gaps: Gaps{Nodes: "not all", Stale: "read 34 s ago"},
			want: "192.0.2.2 is the InternalIP of node worker-2; read 34 s ago",
		},
		{
			name: "stranger, Services unknown", addr: "8.8.8.8", gaps: Gaps{Services: "services were not looked at"},
			want: "8.8.8.8 is in no Pod range and in no Service range of this cluster, and no node has it; services were not looked at",
		},
		{name: "loopback", addr: "127.0.0.53", want: "127.0.0.53 is loopback: each Pod and each node has it for itself"},
		{name: "loopback of IPv6", addr: "::1", want: "::1 is loopback: each Pod and each node has it for itself"},
		{name: "unspecified", addr: "0.0.0.0", want: "0.0.0.0 is no address: a program that listens at it listens at all of its own"},
		{name: "metadata service", addr: "169.254.169.254", want: "169.254.169.254 is link-local: the metadata service of most clouds"},
		{name: "link-local", addr: "fe80::1", want: "fe80::1 is link-local: it is valid on one node or in one network alone"},
		{name: "multicast", addr: "224.0.0.1", want: "224.0.0.1 is multicast: it is a group's"},
		{name: "broadcast", addr: "255.255.255.255", want: "255.255.255.255 is broadcast: it is everybody's in one network"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := filled().Lookup(netip.MustParseAddr(test.addr), nil)
			if got := f.Describe(test.gaps); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestFinding_Describe_WithoutRanges(t *testing.T) {
	for _, test := range []struct {
		name string
		fill func(*Table)
		gaps Gaps
		want string
	}{
		{name: "nothing", fill: func(*Table) {}, want: "8.8.8.8 is perhaps of this cluster, whose ranges are not known, and no service and no node has it"},
		{
			name: "nothing looked at", fill: func(*Table) {}, gaps: Gaps{Services: "a", Nodes: "b", ServiceRanges: "c"},
			want: "8.8.8.8 is perhaps of this cluster, whose ranges are not known; a; b; c",
		},
		{
			name: "Pod ranges alone", fill: func(t *Table) { t.PutNode(newNode("worker-1", nil, "10.244.1.0/24")) },
			want: "8.8.8.8 is in no Pod range of this cluster, and no service and no node has it; its Service ranges are not known",
		},
		{
			name: "Service ranges alone",
			fill: func(t *Table) {
				t.SetServiceRanges([]networkingv1.ServiceCIDR{{Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/12"}}}})
			},
			want: "8.8.8.8 is in no Service range of this cluster, and no service and no node has it; its Pod ranges are not known, because no node names one",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := NewTable()
			test.fill(table)
			f := table.Lookup(netip.MustParseAddr("8.8.8.8"), nil)
			if got := f.Describe(test.gaps); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestTable_Replaces(t *testing.T) {
	table := filled()
	lookup := func(ip string) string {
		f := table.Lookup(netip.MustParseAddr(ip), nil)
		return f.Describe(Gaps{})
	}
	cart := newService("shop", "cart", func(s *corev1.Service) { s.Spec.ClusterIP = "10.96.0.18" })
	table.PutService(cart)
	if got := lookup("10.96.0.17"); !strings.Contains(got, "in the Service range") {
		t.Errorf("the old IP: %s", got)
	}
	if got := lookup("10.96.0.18"); !strings.Contains(got, "service shop/cart -> 3 Pods") {
		t.Errorf("the new IP: %s", got)
	}
	// A slice is given to another Service, and removed.
	old := newSlice("cart", "cart-6", podEndpoint("shop", "cart-1", nil))
	moved := newSlice("other", "cart-6", podEndpoint("shop", "cart-1", nil))
	table.PutSlice(old, moved)
	if got := lookup("10.96.0.18"); !strings.Contains(got, "-> 2 Pods") {
		t.Errorf("after a slice has gone to another Service: %s", got)
	}
	table.RemoveSlice(moved)
	table.RemoveService(cart)
	if got := lookup("10.96.0.18"); strings.Contains(got, "shop/cart") {
		t.Errorf("after the Service was removed: %s", got)
	}
	table.RemoveNode(newNode("worker-2", nil))
	for _, ip := range []string{"192.0.2.2", "10.244.2.77"} {
		if got := lookup(ip); strings.Contains(got, "worker-2") {
			t.Errorf("after the node was removed: %s", got)
		}
	}
	if len(table.slices) != 1 || len(table.services) != 1 || len(table.nodes) != 1 {
		t.Errorf("%d Services with slices, %d Services and %d nodes are left, want 1 of each", len(table.slices), len(table.services), len(table.nodes))
	}
}

func TestTable_Lookup_SeesNamespaces(t *testing.T) {
	f := filled().Lookup(netip.MustParseAddr("10.96.0.17"), func(namespace string) bool { return namespace != "shop" })
	if f.IsHeld() {
		t.Errorf("a Service of another namespace is shown: %v", f.Services)
	}
}

func TestTable_Lookup_Bounds(t *testing.T) {
	table := NewTable()
	for i := range maxHolders + 5 {
		table.PutService(newService("shop", fmt.Sprint("s", i), func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"198.51.100.7"} }))
		table.PutNode(newNode(fmt.Sprint("n", i), []corev1.NodeAddress{{Type: "ExternalIP", Address: "198.51.100.7"}}))
	}
	f := table.Lookup(netip.MustParseAddr("198.51.100.7"), nil)
	got := f.Describe(Gaps{})
	if len(f.Services) != maxHolders || !strings.Contains(got, "an IP of 5 more services") || !strings.Contains(got, "an IP of 5 more nodes") {
		t.Errorf("got %d Services: %s", len(f.Services), got)
	}
	for i := range maxHolders + 5 {
		table.PutService(newService(fmt.Sprintf("n%02d", i), "web", func(*corev1.Service) {}))
	}
	if found, more := table.Services("", "web", nil); len(found) != maxHolders || more != 5 || !strings.HasSuffix(DescribeServices(found, more), "5 more services of that name") {
		t.Errorf("%d Services of one name, and %d more", len(found), more)
	}
	s := newService("shop", "many", func(s *corev1.Service) {
		for i := range 3 * maxIPs {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, fmt.Sprint("198.51.", i, ".1"))
		}
	})
	if len(s.uses) != maxIPs {
		t.Errorf("%d IPs of a Service are kept, want %d", len(s.uses), maxIPs)
	}
}

func TestNewSlice(t *testing.T) {
	s := newSlice("cart", "cart-1",
		podEndpoint("other", "stranger", nil), // who makes a slice decides what is in it
		discoveryv1.Endpoint{Addresses: []string{"::ffff:10.0.0.9"}},
		discoveryv1.Endpoint{Addresses: []string{"example.com"}},
		discoveryv1.Endpoint{},
	)
	want := []Endpoint{{IP: "10.0.0.1", Ready: true}, {IP: "10.0.0.9", Ready: true}}
	if fmt.Sprint(s.endpoints) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", s.endpoints, want)
	}
}

func TestTable_Services(t *testing.T) {
	table := filled()
	table.PutService(newService("auth", "cart", func(*corev1.Service) {}))
	for _, test := range []struct{ namespace, name, want string }{
		{"", "cart", "service auth/cart -> 0 Pods, service shop/cart -> 3 Pods (1 not ready)"},
		{"shop", "cart", "service shop/cart -> 3 Pods (1 not ready)"},
		{"shop", "none", ""},
	} {
		found, more := table.Services(test.namespace, test.name, nil)
		if got := DescribeServices(found, more); got != test.want {
			t.Errorf("Services(%q, %q): got %s, want %s", test.namespace, test.name, got, test.want)
		}
	}
}
