package plugin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// mall creates Services and nodes, and the Pods behind them.
func mall(t *testing.T) {
	t.Helper()
	env.Mall(t)
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
	const looked = ": looked for it as ip, hostip, node, name in all namespaces; "
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
		{name: "a Pod of another namespace", args: []string{"10.40.0.1", "-n", "default"}, stderr: `in the Pod range 10.40.0.0/24 of node worker-41; only Pods in namespace "default" were looked at`, code: 1},
		{name: "another namespace", args: []string{"10.96.40.17", "-n", "default"}, stderr: `only services in namespace "default" were looked at`, code: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, env.AdminKubeconfig, "", append(test.args, names)...)
			if got.Code != test.code || got.Stdout != test.stdout || !strings.Contains(got.Stderr, test.stderr) {
				t.Errorf("code %d, want %d\nstandard output %q, want %q\nstandard error %q, want %q in it", got.Code, test.code, got.Stdout, test.stdout, got.Stderr, test.stderr)
			}
		})
	}
	got := run(t, env.AdminKubeconfig, "", "10.96.40.17")
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
	r := start(t, env.AdminKubeconfig, "10.96.40.17", "-w")
	r.has(t, "cart-3")
	p := pod("mall/cart-2", "10.40.0.2")
	p.Spec.NodeName, p.Status.HostIP, p.Status.Phase = "worker-41", "192.168.40.1", corev1.PodSucceeded
	change(t, p)
	r.has(t, "of service mall/cart; completed (Succeeded)")
	if code := r.end(); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestAnnotate_ServicesAndNodes(t *testing.T) {
	mall(t)
	const line = "10.96.40.17:80 10.40.0.1 192.168.40.2 2001:db8:40::1 10.96.40.99\n"
	want := "10.96.40.17[service/mall/cart]:80 10.40.0.1[mall/cart-1] 192.168.40.2[node/worker-42] 2001:db8:40::1[node/worker-41] 10.96.40.99\n"
	for _, test := range []struct {
		name  string
		flags []string
		in    string
		want  string
	}{
		{name: "both", flags: []string{"--services", "--nodes"}, in: line, want: want},
		{name: "twice", flags: []string{"--services", "--nodes"}, in: want, want: want},
		{name: "none", in: line, want: "10.96.40.17[mall/forger]:80 10.40.0.1[mall/cart-1] 192.168.40.2 2001:db8:40::1 10.96.40.99\n"},
		{
			name: "JSON", flags: []string{"--services", "--nodes", "--json"}, in: `{"a":"10.96.40.17 192.168.40.2"}` + "\n",
			want: `{"a":"10.96.40.17 192.168.40.2","podinfo":[{"fact":"10.96.40.17","service":"mall/cart"},{"fact":"192.168.40.2","node":"worker-42"}]}` + "\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, env.AdminKubeconfig, test.in, append([]string{"annotate"}, test.flags...)...)
			if got.Code != 0 || got.Stdout != test.want {
				t.Errorf("code %d, standard error %q\ngot  %swant %s", got.Code, got.Stderr, got.Stdout, test.want)
			}
		})
	}
	t.Run("changes", func(t *testing.T) {
		r := start(t, env.AdminKubeconfig, "annotate", "--services", "--nodes")
		write := func(text string) {
			if _, err := r.Stdin.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		}
		write("192.168.40.2 before\n")
		r.has(t, "192.168.40.2[node/worker-42] before\n")
		if err := env.Clients.CoreV1().Nodes().Delete(t.Context(), "worker-42", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, func(context.Context) error {
			write("192.168.40.2 after\n")
			return r.Stdout.Has("192.168.40.2 after\n")
		})
		r.end()
	})
	t.Run("without the right", func(t *testing.T) {
		user := env.User(t, "mall-annotator").Write(t)
		grant(t, "mall-annotator", "", "pods", []string{"list", "watch"})
		testenv.Eventually(t, func(context.Context) error {
			got := run(t, user, "", "annotate", "--services")
			if got.Code != 1 || !strings.Contains(got.Stderr, `services is forbidden: User "mall-annotator" cannot list resource "services"`) {
				return fmt.Errorf("%+v", got)
			}
			return nil
		})
	})
}
