package testenv

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mall creates the Services cart, empty and database in the namespace mall, with
// endpoints that are the Pods cart-1 to cart-3 and IPs, and the nodes worker-41 and
// worker-42, for as long as the test runs. No controller runs that would make endpoints.
func (e *Env) Mall(t *testing.T) {
	t.Helper()
	kube, ctx := e.Clients, t.Context()
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
}
