package plugin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// mall creates Services, their endpoints and nodes, and the Pods behind them. No
// controller runs here that would make the endpoints.
func mall(t *testing.T) {
	t.Helper()
	kube, ctx := env.Clients, t.Context()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mall"}}
	if _, err := kube.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	service := func(name string, spec corev1.ServiceSpec) {
		spec.Ports = []corev1.ServicePort{{Port: 80}}
		_, err := kube.CoreV1().Services("mall").Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = kube.CoreV1().Services("mall").Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{})
		})
	}
	dual := corev1.IPFamilyPolicyRequireDualStack
	service("cart", corev1.ServiceSpec{
		ClusterIP: "10.96.40.17", ClusterIPs: []string{"10.96.40.17", "fd00:96::4017"}, IPFamilyPolicy: &dual, ExternalIPs: []string{"198.51.100.40"},
	})
	service("empty", corev1.ServiceSpec{ClusterIP: "10.96.40.18"})
	service("database", corev1.ServiceSpec{ClusterIP: "10.96.40.19"})
	ready, unready := true, false
	endpoint := func(name, ip string, isReady *bool) discoveryv1.Endpoint {
		e := discoveryv1.Endpoint{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: isReady}}
		if name != "" {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: "mall", Name: name}
		}
		return e
	}
	slice := func(service, name string, endpoints ...discoveryv1.Endpoint) {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
		}
		if _, err := kube.DiscoveryV1().EndpointSlices("mall").Create(ctx, s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = kube.DiscoveryV1().EndpointSlices("mall").Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{})
		})
	}
	slice("cart", "cart-a", endpoint("cart-1", "10.40.0.1", &ready), endpoint("cart-2", "10.40.0.2", &ready))
	slice("cart", "cart-b", endpoint("cart-3", "10.40.0.3", &unready))
	slice("database", "database-a", endpoint("", "10.40.0.1", &ready), endpoint("", "172.16.40.1", &ready)) // made by hand
	node := func(name, podRange string, addresses ...corev1.NodeAddress) {
		n, err := kube.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: podRange, PodCIDRs: []string{podRange}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = kube.CoreV1().Nodes().Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{}) })
		n.Status.Addresses = addresses
		if _, err := kube.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	node("worker-41", "10.40.0.0/24", corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "192.168.40.1"}, corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: "2001:db8:40::1"})
	node("worker-42", "10.40.1.0/24", corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "192.168.40.2"})
	var pods []*corev1.Pod
	for i := range 3 {
		p := pod(fmt.Sprintf("mall/cart-%d", i+1), fmt.Sprintf("10.40.0.%d", i+1))
		p.UID = types.UID(fmt.Sprintf("00000000-0000-4000-8000-00000000040%d", i))
		p.Spec.NodeName, p.Status.HostIP = "worker-41", "192.168.40.1"
		pods = append(pods, p)
	}
	forger := pod("mall/forger", "10.40.0.66")
	forger.Annotations = map[string]string{"k8s.v1.cni.cncf.io/network-status": `[{"name":"mall/forged","ips":["10.96.40.17"]}]`}
	create(t, append(pods, forger)...)
}

const (
	cart  = "service mall/cart -> 3 Pods (1 not ready)"
	carts = "cart-1 cart-2 cart-3 "
)

// names prints the names of the Pods in the answer.
const names = `-o=jsonpath={range .items[*]}{.spec.podname} {end}{.spec.podname}`

func TestQuery_ServicesAndNodes(t *testing.T) {
	mall(t)
	admin := env.User(t, "mall-admin", "system:masters").Write(t)
	const looked = " not found: looked for it as ip, hostip, node, name; "
	for _, test := range []struct {
		name, stdout string
		args         []string
		stderr       string
		code         int
	}{
		{name: "cluster IP", args: []string{"10.96.40.17"}, stdout: carts, stderr: "note: 10.96.40.17 is the cluster IP of " + cart},
		{name: "second family", args: []string{"fd00:96::4017"}, stdout: carts, stderr: "note: fd00:96::4017 is the cluster IP of " + cart},
		{name: "external IP", args: []string{"198.51.100.40"}, stdout: carts, stderr: "note: 198.51.100.40 is the external IP of " + cart},
		{name: "line of a log", args: []string{"dial tcp 10.96.40.17:8080: connect: connection refused"}, stdout: carts, stderr: cart},
		{name: "name", args: []string{"svc/cart", "-n", "mall"}, stdout: carts, stderr: cart},
		{name: "DNS name", args: []string{"cart.mall.svc.cluster.local"}, stdout: carts, stderr: cart},
		{name: "endpoints that are no Pods", args: []string{"10.96.40.19"}, stdout: "cart-1 ", stderr: "service mall/database -> 0 Pods and 2 other endpoints"},
		{name: "no endpoints", args: []string{"10.96.40.18"}, stderr: looked + "10.96.40.18 is the cluster IP of service mall/empty -> 0 Pods", code: 1},
		{name: "node", args: []string{"192.168.40.1"}, stdout: carts, stderr: `note: "192.168.40.1" is an IP of node worker-41 -> 3 Pods`},
		{name: "external IP of a node", args: []string{"2001:db8:40::1"}, stdout: carts, stderr: "2001:db8:40::1 is the ExternalIP of node worker-41"},
		{name: "node without Pods", args: []string{"192.168.40.2"}, stderr: looked + "192.168.40.2 is the InternalIP of node worker-42", code: 1},
		{name: "Pod range", args: []string{"10.40.1.77"}, stderr: "10.40.1.77 is in the Pod range 10.40.1.0/24 of node worker-42, and no Pod has it now", code: 1},
		{name: "Service range", args: []string{"10.96.40.99"}, stderr: "in the Service range 10.96.0.0/16 of this cluster, and no service and no node has it", code: 1},
		{name: "stranger", args: []string{"203.0.113.40"}, stderr: "and no service and no node has it: it is not of this cluster", code: 1},
		{name: "loopback", args: []string{"127.0.0.1"}, stderr: "127.0.0.1 is loopback", code: 1},
		{name: "another namespace", args: []string{"10.96.40.17", "-n", "default"}, stderr: `only services in namespace "default" were looked at`, code: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, admin, "", append(test.args, names)...)
			if got.Code != test.code || got.Stdout != test.stdout || !strings.Contains(got.Stderr, test.stderr) {
				t.Errorf("code %d, want %d\nstandard output %q, want %q\nstandard error %q, want %q in it", got.Code, test.code, got.Stdout, test.stdout, got.Stderr, test.stderr)
			}
		})
	}
	got := run(t, admin, "", "10.96.40.17")
	if strings.Count(got.Stdout, "of service mall/cart") != 3 {
		t.Errorf("the notes of a table:\n%s", got.Stdout)
	}
}

// TestQuery_ServicesWithRights asks as users who may see only a part of it.
func TestQuery_ServicesWithRights(t *testing.T) {
	mall(t)
	lists := []string{"list"}
	onlyPods := env.User(t, "mall-pods").Write(t)
	grant(t, "mall-pods", "", "pods", lists)
	inMall := env.User(t, "mall-inside").Write(t)
	grant(t, "mall-inside", "", "namespaces", lists)
	for group, resources := range map[string][]string{"": {"pods", "services"}, "discovery.k8s.io": {"endpointslices"}} {
		for _, resource := range resources {
			grant(t, "mall-inside", group, resource, lists, "mall")
		}
	}
	noSlices := env.User(t, "mall-slices").Write(t)
	for _, resource := range []string{"pods", "services", "nodes"} {
		grant(t, "mall-slices", "", resource, lists)
	}
	for _, test := range []struct {
		name, kubeconfig, ip string
		stdout               string
		stderr               []string
		code                 int
	}{
		{name: "Pods alone", kubeconfig: onlyPods, ip: "10.96.40.17", stdout: "forger", stderr: []string{"note: 10.96.40.17 is perhaps of this cluster", "you may not list them"}},
		{
			name: "Pods alone, nobody's", kubeconfig: onlyPods, ip: "10.96.40.18", code: 1,
			stderr: []string{
				"perhaps of this cluster, whose ranges are not known; services, nodes and servicecidrs were not looked at, because you may not list them",
			},
		},
		{name: "one namespace", kubeconfig: inMall, ip: "10.96.40.17", stdout: carts, stderr: []string{cart}},
		{name: "one namespace, nobody's", kubeconfig: inMall, ip: "10.96.40.99", stderr: []string{"only services in these namespaces were looked at: mall"}, code: 1},
		{
			name: "without endpoints", kubeconfig: noSlices, ip: "10.96.40.18", code: 1,
			stderr: []string{"you may not list the endpointslices of service mall/empty: its Pods are not known"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			testenv.Eventually(t, func(context.Context) error { // rights take a moment
				got := run(t, test.kubeconfig, "", test.ip, names)
				if got.Code != test.code || got.Stdout != test.stdout {
					return fmt.Errorf("code %d, want %d, standard output %q, want %q, standard error %q", got.Code, test.code, got.Stdout, test.stdout, got.Stderr)
				}
				for _, want := range test.stderr {
					if !strings.Contains(got.Stderr, want) {
						return fmt.Errorf("standard error %q, want %q in it", got.Stderr, want)
					}
				}
				return nil
			})
		})
	}
}

func TestWatch_Service(t *testing.T) {
	mall(t)
	r := start(t, env.User(t, "mall-admin", "system:masters").Write(t), "10.96.40.17", "-w")
	r.has(t, "cart-3")
	p := pod("mall/cart-2", "10.40.0.2")
	p.Spec.NodeName, p.Status.HostIP, p.Status.Phase = "worker-41", "192.168.40.1", corev1.PodSucceeded
	change(t, p)
	r.has(t, "of service mall/cart; completed (Succeeded)")
	if code := r.end(); code != 0 {
		t.Errorf("code %d", code)
	}
}
