package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	containerID = "4f5ca3b2d1e0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4"
	uid         = "8b5c43ef-6b0e-4d0a-9f57-2d2a2d8f8a11"
)

// shop is one Pod of everything, with others around it.
func shop() []*corev1.Pod {
	cart := pod("shop/cart-5d9f7c6b4-abcde", "10.1.0.7", "fd01::7")
	cart.UID, cart.Spec.NodeName, cart.Status.HostIP = uid, "worker-7", "192.168.1.7"
	cart.Labels = map[string]string{"pod-template-hash": "5d9f7c6b4"}
	cart.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "cart-5d9f7c6b4", Controller: new(true)}}
	cart.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://" + containerID}}
	web := pod("shop/web", "10.1.0.70")
	other := pod("other/web", "10.1.0.71")
	db := pod("other/db-0", "10.1.0.72")
	db.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", Controller: new(true)}}
	return []*corev1.Pod{cart, web, other, db}
}

// keys makes the plugin print the keys of Pods and nothing else.
var keys = []string{"-o", "custom-columns=POD:.spec.podkey", "--no-headers"}

func TestEveryKindOfQuery(t *testing.T) {
	create(t, shop()...)
	const cart = "shop/cart-5d9f7c6b4-abcde\n"
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"an IPv4 address", []string{"10.1.0.7"}, cart},
		{"with a port", []string{"10.1.0.7:8080"}, cart},
		{"mapped into IPv6", []string{"::ffff:10.1.0.7"}, cart},
		{"an IPv6 address", []string{"fd01::7"}, cart},
		{"in another spelling", []string{"FD01:0:0::0007"}, cart},
		{"in brackets with a port", []string{"[fd01::7]:443"}, cart},
		{"the IP of a node", []string{"192.168.1.7"}, cart},
		{"a UID", []string{uid}, cart},
		{"a UID in capitals", []string{strings.ToUpper(uid)}, cart},
		{"a cgroup path", []string{"/kubepods.slice/kubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/cri-containerd-" + containerID + ".scope"}, cart},
		{"a container ID", []string{containerID}, cart},
		{"with its runtime", []string{"containerd://" + containerID}, cart},
		{"with another runtime", []string{"cri-o://" + containerID}, cart},
		{"its first 12 digits", []string{containerID[:12]}, cart},
		{"its first 20 digits", []string{containerID[:20]}, cart},
		{"namespace/name", []string{"shop/web"}, "shop/web\n"},
		{"a name in every namespace", []string{"web"}, "other/web\nshop/web\n"},
		{"a name in one namespace", []string{"web", "-n", "shop"}, "shop/web\n"},
		{"pod/NAME", []string{"pod/web", "-n", "other"}, "other/web\n"},
		{"a node", []string{"worker-7"}, cart},
		{"node/NAME", []string{"node/worker-7"}, cart},
		{"a Deployment", []string{"deploy/cart"}, cart},
		{"its ReplicaSet", []string{"rs/cart-5d9f7c6b4"}, cart},
		{"a workload of any kind", []string{"cart"}, cart},
		{"a StatefulSet in a namespace", []string{"sts/web", "-n", "other"}, "other/db-0\n"},
		{"a namespace, which has to be said", []string{"--by=namespace", "other"}, "other/db-0\nother/web\n"},
		{"a workload of a Pod's name, which has to be said", []string{"--by", "workload", "web"}, "other/db-0\n"},
		{"several", []string{"10.1.0.7", "web", "-n", "shop"}, cart + "shop/web\n"},
		{"standard input", []string{"-"}, cart + "other/db-0\n"},
		{"standard input between others", []string{"10.1.0.70", "-", "10.1.0.71"}, "shop/web\nother/web\n" + cart + "other/db-0\n"},
	}
	const stdin = "# what the log had\n\n  10.1.0.7\r\n\tdb-0\n"
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, env.Kubeconfig, stdin, append(test.args, keys...)...)
			if diff := cmp.Diff(test.want, got.Stdout); diff != "" || got.Code != 0 {
				t.Errorf("code %d, standard error %q, standard output (-want +got):\n%s", got.Code, got.Stderr, diff)
			}
		})
	}
}

func TestSaysHowItWasRead(t *testing.T) {
	create(t, shop()...)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"plain", []string{"10.1.0.7"}, ""},
		{"a name that is also a workload's", []string{"web", "-n", "other"},
			"note: \"web\" was read as the name of 1 Pod; it is also the workload of 1 Pod (--by workload)\n"},
		{"a name in two namespaces", []string{"web"},
			"note: \"web\" was read as the name of 2 Pods in different namespaces: -n NAMESPACE chooses; it is also the workload of 1 Pod (--by workload)\n"},
		{"as it was told", []string{"web", "-n", "other", "--by=name"}, ""},
		{"several Pods where several are meant", []string{"--by=namespace", "other"}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, env.Kubeconfig, "", append(test.args, keys...)...)
			if diff := cmp.Diff(test.want, got.Stderr); diff != "" || got.Code != 0 {
				t.Errorf("code %d, standard error (-want +got):\n%s", got.Code, diff)
			}
		})
	}
}

func TestSharedIPsAreAllListed(t *testing.T) {
	live, done, going := pod("shop/live", "10.2.0.7"), pod("shop/done", "10.2.0.7"), pod("shop/a-going", "10.2.0.7")
	done.Status.Phase, going.DeletionTimestamp = corev1.PodFailed, &metav1.Time{}
	host := []*corev1.Pod{pod("shop/agent-b", "10.2.0.9"), pod("shop/agent-a", "10.2.0.9")}
	for _, p := range host {
		p.Spec.HostNetwork, p.Status.HostIP = true, "10.2.0.9"
	}
	create(t, append(host, live, done, going)...)

	got := run(t, env.Kubeconfig, "", "10.2.0.7")
	want := result{Stdout: `NAMESPACE   NAME      STATUS        READY   RESTARTS   IP         NODE       WORKLOAD   AGE         NOTE
shop        live      Running       0/1     0          10.2.0.7   worker-1   <none>     <unknown>   
shop        a-going   Terminating   0/1     0          10.2.0.7   worker-1   <none>     <unknown>   terminating
shop        done      Failed        0/1     0          10.2.0.7   worker-1   <none>     <unknown>   completed (Failed): its IP may be another Pod's by now
`, Stderr: "note: \"10.2.0.7\" is an IP of 3 Pods, live ones first: see NOTE\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	got = run(t, env.Kubeconfig, "", "10.2.0.9")
	want = result{Stdout: `NAMESPACE   NAME      STATUS    READY   RESTARTS   IP         NODE       WORKLOAD   AGE         NOTE
shop        agent-a   Running   0/1     0          10.2.0.9   worker-1   <none>     <unknown>   host network: shares the IP of its node
shop        agent-b   Running   0/1     0          10.2.0.9   worker-1   <none>     <unknown>   host network: shares the IP of its node
`, Stderr: "note: \"10.2.0.9\" is an IP of 2 Pods, live ones first: see NOTE\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Facts that have no label of their own, and labels that lie.
func TestTrustsNoSelector(t *testing.T) {
	crowded := pod("shop/crowded")
	for i := range 10 {
		crowded.Status.PodIPs = append(crowded.Status.PodIPs, corev1.PodIP{IP: fmt.Sprintf("10.3.0.%d", i)})
	}
	create(t, crowded)
	foreign, renamed := desired.FromPod(pod("shop/foreign", "10.3.1.1")), desired.FromPod(pod("shop/renamed", "10.3.1.1"))
	delete(foreign.Labels, v1.LabelManagedBy)
	renamed.Name = desired.FromPod(pod("shop/x")).Name
	liar := desired.FromPod(pod("shop/liar", "10.3.1.1"))
	liar.Spec.PodIPs = []string{"10.3.1.2"}
	put(t, foreign)
	put(t, renamed)
	put(t, liar)
	tests := []struct{ query, want string }{
		{"10.3.0.1", "shop/crowded\n"},
		{"10.3.0.9", "shop/crowded\n"},
		{"10.3.1.1", ""},
	}
	for _, test := range tests {
		few := run(t, env.Kubeconfig, "", append([]string{test.query}, keys...)...)
		many := run(t, env.Kubeconfig, strings.Repeat("nobody\n", 10), append([]string{test.query, "-"}, keys...)...)
		if diff := cmp.Diff([]string{test.want, test.want}, []string{few.Stdout, many.Stdout}); diff != "" {
			t.Errorf("%s: alone and among many (-want +got):\n%s", test.query, diff)
		}
	}
}

func TestManyQueriesAreOneList(t *testing.T) {
	create(t, shop()...)
	var r requests
	kubeconfig := r.proxy(t)
	const list, pods = "GET /apis/stable.example.com/v1/testcrs", "GET /api/v1/namespaces/shop/pods"
	// The first list is whether Testcrs can be read, and of the Pods there is the metadata.
	requests := func() []string {
		return slices.DeleteFunc(r.take(), func(seen string) bool { return seen == "GET /apis/coordination.k8s.io/v1/leases" })
	}
	single := run(t, kubeconfig, "", append([]string{"10.1.0.7"}, keys...)...)
	if seen := requests(); single.Code != 0 || !slices.Equal(seen, []string{list, list, list, pods}) {
		t.Errorf("one IP: code %d, requests %v, want two lists and a comparison", single.Code, seen)
	}
	many := run(t, kubeconfig, strings.Repeat("10.1.0.7\nweb\n", 100), "-", "-n", "shop", "--no-headers")
	if seen := requests(); !slices.Equal(seen[:2], []string{list, list}) || len(seen) != 10 {
		t.Errorf("200 queries: requests %v, want one list and eight comparisons", seen)
	}
	lines := strings.Split(strings.TrimSpace(many.Stdout), "\n")
	if many.Code != 0 || len(lines) != 200 || !strings.HasPrefix(lines[0], "10.1.0.7   shop   cart-") || !strings.HasPrefix(lines[199], "web        shop   web ") {
		t.Errorf("code %d, %d lines, first %q, last %q", many.Code, len(lines), lines[0], lines[len(lines)-1])
	}
}

func TestExitCodes(t *testing.T) {
	create(t, shop()...)
	tests := []struct {
		name  string
		args  []string
		stdin string
		want  result
	}{
		{"all found", append([]string{"shop/web"}, keys...), "", result{Stdout: "shop/web\n"}},
		{"one of two found", append([]string{"shop/web", "10.1.9.9"}, keys...), "", result{Code: 1, Stdout: "shop/web\n",
			Stderr: "error: no Pod matches \"10.1.9.9\": looked for it as ip, hostip, node, name in all namespaces; 10.1.9.9 is perhaps of this cluster, " +
				"whose ranges are not known; services, nodes and servicecidrs were not looked at, because you may not list them\n"}},
		{"not in that namespace", append([]string{"deploy/cart", "-n", "other"}, keys...), "", result{Code: 1,
			Stderr: "error: no Pod matches \"deploy/cart\": looked for it as workload, key in namespace \"other\"\n"}},
		{"a line that says nothing", append([]string{"-"}, keys...), "shop/web\n?\n", result{Code: 1, Stdout: "shop/web\n",
			Stderr: "error: line 2: \"?\" is neither an IP, a UID, a container ID nor a name: say what it is with --by or another parameter\n"}},
		{"no line", []string{"-"}, "\n# nothing\n", result{}},
		{"an object that is not there", []string{"nobody", "-o", "json"}, "", result{Code: 1,
			Stderr: "error: no Pod matches \"nobody\": looked for it as name, node, workload in all namespaces\n"}},
		{"an empty query", []string{""}, "", result{Code: 2, Stderr: "error: nothing to look for: give an IP, a UID, a container ID or a name\n"}},
		{"an unknown flag", []string{"--nonsense"}, "", result{Code: 2, Stderr: "error: unknown flag: --nonsense: see kubectl podinfo --help\n"}},
		{"events without a watch", []string{"web", "--output-watch-events"}, "", result{Code: 2, Stderr: "error: --output-watch-events needs --watch\n"}},
		{"events in a format that has none", []string{"web", "-w", "--output-watch-events", "-o", "name"}, "",
			result{Code: 2, Stderr: "error: --output-watch-events takes tables, -o json and -o yaml, not -o name\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, run(t, env.Kubeconfig, test.stdin, test.args...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUsageErrorsAreOneLine(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"x", "--by=nonsense"}, `error: "nonsense" is no kind of fact: there are ip, `},
		{[]string{"x", "-o", "nonsense"}, `error: -o "nonsense" is none of card, table, wide, pod, json, `},
		{[]string{"x", "-n", "Shop"}, `error: --namespace="Shop": a lowercase RFC 1123 label`},
		{[]string{"annotate", "-n", "a/b"}, `error: --namespace="a/b": `},
		{[]string{"--by=node", "Worker"}, `error: "Worker": a lowercase RFC 1123 subdomain`},
		{[]string{"--by=namespace", "a.b"}, `error: "a.b": `},
		{[]string{"--by=key", "Shop/web"}, `error: "Shop/web": `},
		{[]string{"--by=ip", "x"}, `error: "x" is not an IPv4 or IPv6 address`},
		{[]string{strings.Repeat("x", 2000)}, `error: "xxxxxxxxxxxxxxxx"... is longer than `},
	}
	for _, test := range tests {
		got := run(t, env.Kubeconfig, "", test.args...)
		if got.Code != 2 || got.Stdout != "" || !strings.HasPrefix(got.Stderr, test.want) || strings.Count(got.Stderr, "\n") != 1 {
			t.Errorf("%.60s: code %d, %q, want %q", test.args, got.Code, got.Stderr, test.want)
		}
	}
}

func TestOutputFormats(t *testing.T) {
	create(t, shop()...)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"JSONPath of one object", []string{"10.1.0.70", "-o", "jsonpath={.kind} {.spec.podkey}"}, "Testcr shop/web"},
		{"JSONPath of a list", []string{"web", "-o", "jsonpath={.kind} {.items[*].spec.podkey}"}, "List other/web shop/web"},
		{"what may be several is always a list", []string{"worker-7", "-o", "jsonpath={.kind} {.items[*].spec.podip}"}, "List 10.1.0.7"},
		{"a Go template", []string{"10.1.0.70", "-o", "go-template={{.spec.podname}}"}, "web"},
		{"names", []string{"shop/web", "-o", "name"}, "pod/web\n"},
		{"Pods", []string{"web", "-o", "pod"}, "--kubeconfig=" + env.Kubeconfig + " -n other pod/web\n--kubeconfig=" + env.Kubeconfig + " -n shop pod/web\n"},
		{"custom columns", []string{"shop/web", "-o", "custom-columns=POD:.spec.podname,IP:.spec.podip"}, "POD   IP\nweb   10.1.0.70\n"},
	}
	for _, test := range tests {
		if got := run(t, env.Kubeconfig, "", test.args...); got.Stdout != test.want || got.Code != 0 {
			t.Errorf("%s: code %d, %q, want %q", test.name, got.Code, got.Stdout, test.want)
		}
	}
	for format, want := range map[string]string{"json": `"podkey": "shop/web"`, "yaml": "podkey: shop/web\n", "wide": "HOST-IP"} {
		got := run(t, env.Kubeconfig, "", "shop/web", "-o", format)
		if got.Code != 0 || !strings.Contains(got.Stdout, want) || strings.Contains(got.Stdout, "managedFields") {
			t.Errorf("-o %s: code %d, %s", format, got.Code, got.Stdout)
		}
	}
}

func TestWithoutRights(t *testing.T) {
	nobody := env.User(t, "plugin-nobody").Write(t)
	const want = "note: you may not list Testcrs: reading the Pods\n" +
		"Error from server (Forbidden): pods is forbidden: User \"plugin-nobody\" cannot list resource \"pods\" " +
		"in API group \"\" at the cluster scope: an administrator grants it by: " +
		"kubectl create clusterrolebinding podinfo-view --clusterrole=podinfolookup-view --user=plugin-nobody\n"
	for _, args := range [][]string{{"10.1.0.7"}, {"a", "b", "c", "d", "e", "f", "g", "h", "i"}, {"10.1.0.7", "-w"}, {"annotate"}} {
		if diff := cmp.Diff(result{Stderr: want, Code: 1}, run(t, nobody, "10.1.0.7\n", args...)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", args, diff)
		}
	}
}

// With the right to list alone every query works, and annotate says what it lacks.
func TestListIsAllThatQueriesNeed(t *testing.T) {
	create(t, shop()...)
	const name = "plugin-reader"
	reader := env.User(t, name).Write(t)
	roles := env.Clients.RbacV1()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{v1.GroupVersionResource.Group}, Resources: []string{v1.GroupVersionResource.Resource}, Verbs: []string{"list"},
	}}}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: name}}}
	if _, err := roles.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := roles.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context()) // that one has ended
		if err := errors.Join(roles.ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{}), roles.ClusterRoles().Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			t.Error(err)
		}
	})
	testenv.Eventually(t, func(context.Context) error {
		want := result{Stdout: "shop/web\n", Stderr: "note: you may not list Pods: the answer is not compared with them\n"}
		if got := run(t, reader, "", append([]string{"shop/web"}, keys...)...); got != want {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if got := run(t, reader, "x\n", "annotate"); got.Code != 1 || got.Stdout != "" || !strings.Contains(got.Stderr, "may not watch Testcrs") {
		t.Errorf("annotate: %+v", got)
	}
}

func TestWithoutAnAPIServer(t *testing.T) {
	login := env.Login()
	login.Cluster.Server = "https://127.0.0.1:1"
	want := result{Stderr: "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n", Code: 1}
	if diff := cmp.Diff(want, run(t, login.Write(t), "", "10.1.0.7")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The namespace of the kubeconfig's context narrows nothing.
func TestSearchesAllNamespaces(t *testing.T) {
	create(t, shop()...)
	t.Setenv("KUBECONFIG", env.Kubeconfig)
	got := run(t, env.Login().Write(t), "", append([]string{"10.1.0.72"}, keys...)...)
	if diff := cmp.Diff(result{Stdout: "other/db-0\n"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
