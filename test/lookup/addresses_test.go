package lookup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// found is what these tests read of a search.
type found struct {
	ReadAs  string
	Total   int
	Error   string
	Address *lookup.Address
	Items   []lookup.Pod
}

func (f *found) names() string {
	var names []string
	for i := range f.Items {
		names = append(names, f.Items[i].PodName)
	}
	return strings.Join(names, " ")
}

// asks returns what asks a program that runs with these flags.
func asks(t *testing.T, flags ...string) func(path string) (int, *found) {
	t.Helper()
	args := []string{"--kubeconfig=" + env.User(t, "mall-"+fmt.Sprint(len(flags)), "system:masters", "podinfolookup:editors").Write(t), "--bind-address=127.0.0.1:0"}
	program := testenv.Command(t, binary, append(args, flags...)...).Start(t).Ready(t)
	return func(path string) (int, *found) {
		code, body, err := program.Get(t.Context(), t, path)
		if err != nil {
			t.Fatal(err)
		}
		f := &found{}
		if err := json.Unmarshal([]byte(body), f); err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
		return code, f
	}
}

// mallPods creates the Pods behind the Services of the mall, and one that claims an IP.
func mallPods(t *testing.T) {
	t.Helper()
	for i := range 4 {
		p := newPod("mall", fmt.Sprint("cart-", i+1), 1)
		p.UID = types.UID(fmt.Sprint("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e14", i))
		p.OwnerReferences, p.Labels = nil, nil
		ip := fmt.Sprint("10.40.0.", i+1)
		p.Spec.NodeName, p.Status.HostIP, p.Status.PodIP, p.Status.PodIPs = "worker-41", "192.168.40.1", ip, []corev1.PodIP{{IP: ip}}
		if i == 3 {
			p.Name = "forger"
			p.Annotations = map[string]string{"k8s.v1.cni.cncf.io/network-status": `[{"name":"mall/forged","ips":["10.96.40.17"]}]`}
		}
		create(t, p)
	}
}

func TestLookup_ServicesAndNodes(t *testing.T) {
	env.Mall(t)
	mallPods(t)
	ask := asks(t, "--services", "--nodes")
	const cart, carts = "service mall/cart -> 3 Pods (1 not ready)", "cart-1 cart-2 cart-3"
	for _, test := range []struct {
		name, q      string
		readAs, pods string
		text         string
	}{
		{name: "cluster IP", q: "10.96.40.17", readAs: "service", pods: carts, text: "10.96.40.17 is the cluster IP of " + cart},
		{name: "second family", q: "fd00:96::4017", readAs: "service", pods: carts, text: "fd00:96::4017 is the cluster IP of " + cart},
		{name: "external IP", q: "198.51.100.40", readAs: "service", pods: carts, text: "198.51.100.40 is the external IP of " + cart},
		{name: "line of a log", q: "dial tcp 10.96.40.17:8080: connect: connection refused", readAs: "service", pods: carts, text: cart},
		{name: "name", q: "svc/cart", readAs: "service", pods: carts, text: cart},
		{name: "DNS name", q: "cart.mall.svc.cluster.local", readAs: "service", pods: carts, text: cart},
		{name: "endpoints that are no Pods", q: "10.96.40.19", readAs: "service", pods: "cart-1", text: "service mall/database -> 0 Pods and 2 other endpoints"},
		{name: "no endpoints", q: "10.96.40.18", readAs: "service", text: "10.96.40.18 is the cluster IP of service mall/empty -> 0 Pods"},
		{name: "external IP of a node", q: "2001:db8:40::1", readAs: "node", pods: carts + " forger", text: "2001:db8:40::1 is the ExternalIP of node worker-41"},
		{name: "node without Pods", q: "192.168.40.2", readAs: "node", text: "192.168.40.2 is the InternalIP of node worker-42"},
		{name: "Pod range", q: "10.40.1.77", readAs: "text", text: "10.40.1.77 is in the Pod range 10.40.1.0/24 of node worker-42, and no Pod has it now"},
		{name: "Service range", q: "10.96.40.99", readAs: "text", text: "in the Service range 10.96.0.0/16 of this cluster, and no service and no node has it"},
		{name: "stranger", q: "203.0.113.40", readAs: "text", text: "and no service and no node has it: it is not of this cluster"},
		{name: "loopback", q: "127.0.0.1", readAs: "text", text: "127.0.0.1 is loopback"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, got := ask("/v1/search?q=" + url.QueryEscape(test.q))
			if got.Address == nil || !strings.Contains(got.Address.Text, test.text) || got.ReadAs != test.readAs || got.names() != test.pods {
				t.Errorf("read as %q, want %q; Pods %q, want %q\naddress %+v, want %q in it", got.ReadAs, test.readAs, got.names(), test.pods, got.Address, test.text)
			}
		})
	}
	if code, got := ask("/v1/pods?ip=10.96.40.18"); code != http.StatusNotFound || got.Address == nil || got.Address.Services[0].Name != "empty" {
		t.Errorf("/v1/pods of a Service's IP: %d %+v", code, got.Address)
	}
	// The Pod that claims the IP is no answer to a search, and is marked where it is one.
	if code, got := ask("/v1/pods?ip=10.96.40.17"); code != http.StatusOK || got.names() != "forger" || got.Address == nil {
		t.Errorf("/v1/pods of an IP that a Pod claims: %d, %s, %+v", code, got.names(), got.Address)
	}
	if _, got := ask("/v1/search?by=ip&q=10.96.40.17"); got.ReadAs != "ip" || got.names() != "forger" {
		t.Errorf("by=ip: read as %q, %s", got.ReadAs, got.names())
	}
	if _, got := ask("/v1/search?q=10.40.0.1"); got.ReadAs != "ip" || got.Address != nil {
		t.Errorf("the IP of a Pod: read as %q, %+v", got.ReadAs, got.Address)
	}

	// Services, endpoints and nodes change and go.
	services, nodes := env.Clients.CoreV1().Services("mall"), env.Clients.CoreV1().Nodes()
	if err := env.Clients.DiscoveryV1().EndpointSlices("mall").Delete(t.Context(), "cart-b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := services.Delete(t.Context(), "empty", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := nodes.Delete(t.Context(), "worker-42", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for q, text := range map[string]string{
		"10.96.40.17": "-> 2 Pods", "10.96.40.18": "in the Service range", "192.168.40.2": "it is not of this cluster", "10.40.1.77": "it is not of this cluster",
	} {
		testenv.Eventually(t, func(context.Context) error {
			_, got := ask("/v1/search?q=" + q)
			if got.Address == nil || !strings.Contains(got.Address.Text, text) {
				return fmt.Errorf("%s: %+v, want %q in it", q, got.Address, text)
			}
			return nil
		})
	}
}

// Without one of the flags an answer says what was not looked at, without both there is
// none.
func TestLookup_ServicesOrNodesAlone(t *testing.T) {
	env.Mall(t)
	for _, test := range []struct {
		flags []string
		q     string
		want  string
	}{
		{flags: []string{"--services"}, q: "192.168.40.2", want: "and no service has it; its Pod ranges are not known, because no node names one; nodes are not looked at without --nodes"},
		{flags: []string{"--nodes", "--print-list=false"}, q: "10.96.40.18", want: "and no node has it; its Service ranges are not known; services are not looked at without --services"},
	} {
		ask := asks(t, test.flags...)
		if _, got := ask("/v1/search?q=" + test.q); got.Address == nil || !strings.Contains(got.Address.Text, test.want) {
			t.Errorf("%v: %+v, want %q in it", test.flags, got.Address, test.want)
		}
	}
	ask := asks(t, slices.Repeat([]string{"--print-list=false"}, 3)...)
	if _, got := ask("/v1/search?q=10.96.40.18"); got.Address != nil {
		t.Errorf("without both: %+v", got.Address)
	}
}
