package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// market is a Pod of everything, like shop, of a namespace that exists.
func market(t *testing.T) []*corev1.Pod {
	t.Helper()
	pods := shop()
	for i, p := range pods {
		p.Namespace = "market" + strings.TrimPrefix(p.Namespace, "shop")
		p.UID += "1"
		for n := range p.Status.PodIPs {
			p.Status.PodIPs[n].IP = strings.Replace(strings.Replace(p.Status.PodIPs[n].IP, "10.1.", "10.21.", 1), "fd01", "fd21", 1)
		}
		p.Status.PodIP = p.Status.PodIPs[0].IP
		pods[i] = p
	}
	pods[0].UID, pods[0].Spec.NodeName = "8b5c43ef-6b0e-4d0a-9f57-2d2a2d8f8a21", "worker-21"
	pods[0].Status.HostIP = "192.168.21.7"
	return pods
}

// marketQueries are questions about market, of each kind of fact.
var marketQueries = [][]string{
	{"10.21.0.7"}, {"fd21::7"}, {"192.168.21.7"}, {"8b5c43ef-6b0e-4d0a-9f57-2d2a2d8f8a21"}, {containerID}, {containerID[:12]},
	{"market/web"}, {"web", "-n", "market"}, {"worker-21"}, {"deploy/cart", "-n", "market"}, {"rs/cart-5d9f7c6b4", "-n", "market"},
	{"--by=workload", "cart", "-n", "market"}, {"--by=namespace", "market"}, {"--by=hostip", "192.168.21.7"}, {"nobody-at-all"}, {"10.21.9.9"},
	{"10.21.0.7", "market/web", "nobody-at-all"},
	{"10.21.0.7", "fd21::7", "market/web", "10.21.0.70", "10.21.0.71", "10.21.0.72", "worker-21", "192.168.21.7", "nobody-at-all"},
	{"10.21.0.7", "-o", "jsonpath={.kind} {.spec}"}, {"10.21.0.7", "-o", "name"}, {"10.21.0.7", "-o", "pod"}, {"10.21.0.7", "-o", "card"}, {"10.21.0.7", "-o", "wide"},
}

func TestWithoutTheCRD(t *testing.T) {
	pods := market(t)
	createPods(t, pods...)
	for _, p := range pods {
		created, err := testcrs().Create(t.Context(), testenv.Object(desired.FromPod(p)), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cached(t, created.GetName(), created.GetResourceVersion())
	}
	var want []result
	for _, args := range marketQueries {
		want = append(want, run(t, env.Kubeconfig, "", args...))
	}
	if err := env.DeleteCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.ApplyCRD(t.Context()); err != nil {
			t.Fatal(err)
		}
	}()
	const note = "note: there are no Testcrs in this cluster: reading the Pods\n"
	testenv.Eventually(t, func(context.Context) error { // the API server needs a moment to stop serving it
		if got := run(t, env.Kubeconfig, "", "market/web"); !strings.HasPrefix(got.Stderr, note) {
			return errors.New(got.Stderr)
		}
		return nil
	})
	for i, args := range marketQueries {
		got := run(t, env.Kubeconfig, "", args...)
		if diff := cmp.Diff(want[i].Stdout, got.Stdout); diff != "" || got.Code != want[i].Code {
			t.Errorf("%v: code %d, want %d, standard output (-with the CRD +without):\n%s", args, got.Code, want[i].Code, diff)
		}
		if strings.Count(got.Stderr, note) != 1 || strings.Contains(got.Stderr, "kubectl apply") {
			t.Errorf("%v: standard error %q", args, got.Stderr)
		}
	}
	got := run(t, env.Kubeconfig, "", "market/web", "-o", "yaml")
	if strings.Contains(got.Stdout, "resourceVersion") || strings.Contains(got.Stdout, "  uid:") || !strings.Contains(got.Stdout, "kind: Testcr") {
		t.Errorf("an object of a Pod:\n%s", got.Stdout)
	}

	followsPods(t, env.Kubeconfig, note)
}

// followsPods checks -w and annotate of a source that is the Pods.
func followsPods(t *testing.T, kubeconfig, stderr string, args ...string) {
	t.Helper()
	first, second := pod("market/first", "10.22.0.7"), pod("market/second", "10.22.0.7")
	createPods(t, first)
	r := start(t, kubeconfig, slices.Concat([]string{"10.22.0.7"}, events, args)...)
	r.shows(t, "ADDED market first Running")
	a := start(t, kubeconfig, append([]string{"annotate"}, args...)...)
	a.ask(t, "10.22.0.7", "10.22.0.7[market/first]")
	createPods(t, second)
	first.Status.Phase = corev1.PodSucceeded
	r.shows(t, "ADDED market first Running", "ADDED market second Running")
	putPod(t, first)
	r.shows(t, "ADDED market first Running", "ADDED market second Running", "MODIFIED market first Succeeded")
	a.ask(t, "10.22.0.7", "10.22.0.7[market/second]")
	removePod(t.Context(), t, second)
	r.shows(t, "ADDED market first Running", "ADDED market second Running", "MODIFIED market first Succeeded", "DELETED market second Running")
	a.ask(t, "10.22.0.7", "10.22.0.7[market/first completed]")
	_ = a.Stdin.Close()
	if code, other := r.end(), <-a.ended; code != 0 || other != 0 || r.Stderr.String() != stderr || a.Stderr.String() != stderr {
		t.Errorf("codes %d, %d, standard error %q, %q, want %q", code, other, r.Stderr, a.Stderr, stderr)
	}
}

// grant lets a user use verbs on a resource, in some namespaces or everywhere.
func grant(t *testing.T, user, group, resource string, verbs []string, namespaces ...string) {
	t.Helper()
	rbac := env.Clients.RbacV1()
	meta := metav1.ObjectMeta{GenerateName: "plugin-"}
	role, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs,
	}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ref := rbacv1.RoleRef{Kind: "ClusterRole", Name: role.Name}
	subjects := []rbacv1.Subject{{Kind: "User", Name: user}}
	if len(namespaces) == 0 {
		binding := &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
		if _, err := rbac.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, namespace := range namespaces {
		binding := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}
		if _, err := rbac.RoleBindings(namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// may waits until a run as a user is not refused.
func may(t *testing.T, kubeconfig string, args ...string) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		if got := run(t, kubeconfig, "", args...); strings.Contains(got.Stderr, "(Forbidden)") {
			return errors.New(got.Stderr)
		}
		return nil
	})
}

func TestWithoutARightOnTestcrs(t *testing.T) {
	user := env.User(t, "plugin-pods").Write(t)
	grant(t, "plugin-pods", "", "pods", []string{"list", "watch"})
	may(t, user, "nobody")
	p := pod("market/unreadable", "10.23.0.7", "fd23::7")
	create(t, p) // its Testcr is there, and is not read
	const note = "note: you may not list Testcrs: reading the Pods\n"
	for _, args := range [][]string{{"10.23.0.7"}, {"fd23::7"}, {"unreadable"}, {"market/unreadable"}} {
		got := run(t, user, "", append(args, keys...)...)
		if got.Stdout != "market/unreadable\n" || !strings.HasPrefix(got.Stderr, note) {
			t.Errorf("%v: %+v", args, got)
		}
	}
	got := run(t, user, "", append([]string{"unreadable"}, keys...)...)
	const perhaps = note + `note: "unreadable" was read as the name of 1 Pod; it is also perhaps the workload of others, which takes --by workload` + "\n"
	if diff := cmp.Diff(perhaps, got.Stderr); diff != "" {
		t.Errorf("standard error (-want +got):\n%s", diff)
	}
	followsPods(t, user, note)
}

// TestSelectorsSpareTheList counts what a user without Testcrs requests.
func TestSelectorsSpareTheList(t *testing.T) {
	createPods(t, pod("market/spared", "10.24.0.7", "fd24::7"))
	// The proxy has the rights of the program, so there are Testcrs, but none of this Pod.
	lease(t, "podinfolookup", time.Now().Add(-time.Hour))
	grant(t, testenv.Account, "coordination.k8s.io", "leases", []string{"list"})
	var r requests
	kubeconfig := r.proxy(t)
	testenv.Eventually(t, func(context.Context) error {
		if got := run(t, kubeconfig, "", "market/spared"); !strings.HasPrefix(got.Stderr, "warning: no controller") {
			return errors.New(got.Stderr)
		}
		return nil
	})
	const before = 3 // the heartbeat, a Testcr and a Pod: what may be read
	tests := []struct {
		query string
		want  []string
	}{
		{query: "10.24.0.7", want: []string{"GET /api/v1/pods"}},
		{query: "market/spared", want: []string{"GET /api/v1/namespaces/market/pods"}},
		{query: "spared", want: []string{"GET /api/v1/pods", "GET /api/v1/pods"}},  // a Pod or a node
		{query: "fd24::7", want: []string{"GET /api/v1/pods", "GET /api/v1/pods"}}, // its second IP: the list
	}
	for _, test := range tests {
		r.take()
		got := run(t, kubeconfig, "", append([]string{test.query}, keys...)...)
		seen := r.take()
		if got.Stdout != "market/spared\n" || len(seen) < before {
			t.Errorf("%s: %+v, %v", test.query, got, seen)
			continue
		}
		if diff := cmp.Diff(test.want, seen[before:]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.query, diff)
		}
	}
}

func TestRightsInSomeNamespaces(t *testing.T) {
	a, b, c := env.Namespace(t, "scoped-a"), env.Namespace(t, "scoped-b"), env.Namespace(t, "scoped-c")
	createPods(t, pod(a+"/web", "10.25.0.1"), pod(b+"/web", "10.25.0.2", "fd25::2"), pod(c+"/web", "10.25.0.3"))
	login := env.User(t, "plugin-scoped")
	user := login.Write(t)
	grant(t, "plugin-scoped", "", "pods", []string{"list", "watch"}, a, b)
	// Without the right to list namespaces that of the context is read.
	config, err := clientcmd.LoadFromFile(login.Write(t))
	if err != nil {
		t.Fatal(err)
	}
	config.Contexts["test"].Namespace = b
	inContext := user + ".context"
	if err := clientcmd.WriteToFile(*config, inContext); err != nil {
		t.Fatal(err)
	}
	may(t, user, "web", "-n", a)
	may(t, user, "web", "-n", b)
	const note = "note: you may not list Testcrs: reading the Pods\n"
	only := func(namespaces string) string {
		return note + "note: you may list the Pods of these namespaces alone, others are not searched: " + namespaces + "\n"
	}
	test := func(name, kubeconfig string, args []string, want result) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(want, run(t, kubeconfig, "", append(args, keys...)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	const forbidden = "Error from server (Forbidden): pods is forbidden: User \"plugin-scoped\" cannot list resource \"pods\" in API group \"\" "
	const remedy = ": an administrator grants it by: kubectl create "
	test("neither namespaces nor those of the context", user, []string{"10.25.0.1"},
		result{Stderr: note + forbidden + "at the cluster scope" + remedy +
			"clusterrolebinding podinfo-view --clusterrole=podinfolookup-view --user=plugin-scoped\n", Code: 1})
	test("the namespace of the context", inContext, []string{"fd25::2"}, result{Stderr: only(b), Stdout: b + "/web\n"})
	test("one that is named", user, []string{"10.25.0.1", "-n", a}, result{Stderr: note, Stdout: a + "/web\n"})
	test("one that is not allowed", user, []string{"10.25.0.3", "-n", c},
		result{Stderr: note + forbidden + "in the namespace \"scoped-c\"" + remedy +
			"rolebinding podinfo-view -n scoped-c --clusterrole=view --user=plugin-scoped\n", Code: 1})

	grant(t, "plugin-scoped", "", "namespaces", []string{"list"})
	testenv.Eventually(t, func(context.Context) error {
		if got := run(t, user, "", "10.25.0.1"); got.Code != 0 {
			return errors.New(got.Stderr)
		}
		return nil
	})
	both := only(a + ", " + b)
	test("an IP in one of them", user, []string{"10.25.0.1"}, result{Stderr: both, Stdout: a + "/web\n"})
	test("a second IP", user, []string{"fd25::2"}, result{Stderr: both, Stdout: b + "/web\n"})
	test("a name in both", user, []string{"--by=name", "web"}, result{Stdout: a + "/web\n" + b + "/web\n",
		Stderr: both + "note: \"web\" is the name of 2 Pods in different namespaces: -n NAMESPACE chooses\n"})
	test("a key elsewhere", user, []string{"--by=key", c + "/web"}, result{Code: 1,
		Stderr: both + "error: no Pod matches \"scoped-c/web\": looked for it as key in the namespaces scoped-a, scoped-b alone\n"})
	r := start(t, user, append([]string{"10.25.0.2"}, events...)...)
	r.shows(t, "ADDED scoped-b web Running")
	createPods(t, pod(a+"/late", "10.25.0.2"))
	r.shows(t, "ADDED scoped-b web Running", "ADDED scoped-a late Running")
	r.end()
}

// lease creates the heartbeat of a controller, for as long as the test runs.
func lease(t *testing.T, name string, renewed time.Time, namespaces ...string) {
	t.Helper()
	leases := env.Clients.CoordinationV1().Leases("podinfolookup")
	at := metav1.NewMicroTime(renewed)
	l := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name + ".heartbeat", Labels: map[string]string{"app.kubernetes.io/managed-by": "podinfolookup"}},
		Spec:       coordinationv1.LeaseSpec{RenewTime: &at, LeaseDurationSeconds: new(int32(30))},
	}
	if len(namespaces) > 0 {
		l.Annotations = map[string]string{"stable.example.com/namespaces": strings.Join(namespaces, ",")}
	}
	if _, err := leases.Create(t.Context(), l, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leases.Delete(context.WithoutCancel(t.Context()), l.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// outdated has three Pods: the Testcr of the first is right, that of the second of a Pod
// that was deleted and created anew with another IP, and that of the third of one that
// is gone. The fourth has none.
func outdated(t *testing.T, net string) {
	t.Helper()
	right, again, gone, late := pod("stale/right", net+".1"), pod("stale/again", net+".2"), pod("stale/gone", net+".3"), pod("stale/late", net+".4")
	create(t, right)
	put(t, desired.FromPod(again))
	put(t, desired.FromPod(gone))
	again.UID, again.Status.PodIP, again.Status.PodIPs = "00000000-0000-4000-8000-0000000000ff", net+".5", []corev1.PodIP{{IP: net + ".5"}}
	createPods(t, again, late)
}

func TestHeartbeat(t *testing.T) {
	outdated(t, "10.26.0")
	at := time.Now().Add(-12*time.Minute - 10*time.Second)
	const (
		isGone  = "note: the Testcr of stale/gone is outdated: that Pod is gone\n"
		isAnew  = "note: the Testcr of stale/again is outdated: another Pod has that name now\n"
		missing = "error: no Pod matches %[1]q: looked for it as ip, hostip, node, name in all namespaces; %[1]s is in no Service range of this cluster, " +
			"and no service and no node has it; its Pod ranges are not known, because no node names one\n"
	)
	stopped := "warning: no controller has kept the Testcrs since " + at.Format("15:04") + " (12 min)\n"
	notFound := func(ip string) string { return fmt.Sprintf(missing, ip) }
	isLate := "note: no Testcr has \"10.26.0.4\": the answer comes from the Pods\n"
	tests := []struct {
		name  string
		lease *heldLease
		args  []string
		want  result
	}{
		{name: "none, a right one", args: []string{"10.26.0.1"}, want: result{Stdout: "stale/right\n"}},
		{name: "none, a Pod that is gone", args: []string{"10.26.0.3"}, want: result{Code: 1, Stderr: isGone + notFound("10.26.0.3")}},
		{name: "none, a Pod that has another IP now", args: []string{"10.26.0.2"}, want: result{Code: 1, Stderr: isAnew + notFound("10.26.0.2")}},
		{name: "none, the same by its name", args: []string{"--by=key", "stale/again"}, want: result{Stdout: "stale/again\n", Stderr: isAnew}},
		{name: "none, a Pod without a Testcr", args: []string{"10.26.0.4"}, want: result{Stdout: "stale/late\n", Stderr: isLate}},
		{name: "none, all of them", args: []string{"--by=namespace", "stale"},
			want: result{Stdout: "stale/again\nstale/late\nstale/right\n", Stderr: isAnew + isGone}},
		{name: "kept, a right one", lease: &heldLease{"podinfolookup", time.Now(), nil},
			args: []string{"10.26.0.1"}, want: result{Stdout: "stale/right\n"}},
		{name: "kept, a Pod that is gone", lease: &heldLease{"podinfolookup", time.Now(), nil},
			args: []string{"10.26.0.3"}, want: result{Code: 1, Stderr: isGone + notFound("10.26.0.3")}},
		{name: "kept, a Pod without a Testcr yet", lease: &heldLease{"podinfolookup", time.Now(), nil},
			args: []string{"10.26.0.4"}, want: result{Stdout: "stale/late\n", Stderr: isLate}},
		{name: "stopped", lease: &heldLease{"podinfolookup", at, nil},
			args: []string{"10.26.0.4"}, want: result{Stdout: "stale/late\n", Stderr: stopped}},
		{name: "stopped, a Pod that is gone", lease: &heldLease{"podinfolookup", at, nil},
			args: []string{"10.26.0.3"}, want: result{Code: 1, Stderr: stopped + notFound("10.26.0.3")}},
		{name: "stopped, many questions", lease: &heldLease{"podinfolookup", at, nil},
			args: []string{"10.26.0.1", "10.26.0.4", "10.26.0.5", "stale/right", "stale/late", "stale/again", "10.26.0.1", "10.26.0.4", "10.26.0.5"},
			want: result{Stdout: strings.Repeat("stale/right\nstale/late\nstale/again\n", 3), Stderr: stopped}},
		{name: "of other namespaces", lease: &heldLease{"podinfolookup-web", time.Now(), []string{"web"}},
			args: []string{"10.26.0.4"},
			want: result{Stdout: "stale/late\n", Stderr: "note: there are Testcrs of the namespaces web alone: reading the Pods\n"}},
		{name: "of this namespace", lease: &heldLease{"podinfolookup-stale", time.Now(), []string{"stale"}},
			args: []string{"10.26.0.1", "-n", "stale"}, want: result{Stdout: "stale/right\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.lease != nil {
				lease(t, test.lease.name, test.lease.renewed, test.lease.namespaces...)
			}
			if diff := cmp.Diff(test.want, run(t, env.AdminKubeconfig, "", append(test.args, keys...)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("stopped, changes", func(t *testing.T) {
		lease(t, "podinfolookup", at)
		followsPods(t, env.AdminKubeconfig, stopped)
	})
	t.Run("outdated, changes", func(t *testing.T) {
		followed := start(t, env.AdminKubeconfig, slices.Concat([]string{"--by=key", "stale/again"}, events)...)
		followed.shows(t, "ADDED stale again Running")
		again := pod("stale/again", "10.26.0.6")
		again.Status.Phase = corev1.PodFailed
		putPod(t, again)
		followed.shows(t, "ADDED stale again Running", "MODIFIED stale again Failed")
		followed.end()
	})
}

// heldLease is a Lease that a controller of some namespaces, or of all, has renewed.
type heldLease struct {
	name       string
	renewed    time.Time
	namespaces []string
}

// TestHeartbeat_IsReadByName: the role of yaml/rbac-view.yaml suffices to find it.
func TestHeartbeat_IsReadByName(t *testing.T) {
	user := env.User(t, "plugin-viewer").Write(t)
	out, err := kubectl(t, "apply", "--server-side", "-f", "yaml/rbac-view.yaml")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "plugin-viewer"},
		RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "podinfolookup-view"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "plugin-viewer"}}}
	if _, err := env.Clients.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create(t, pod("market/viewed", "10.27.0.7"))
	lease(t, "podinfolookup", time.Now().Add(-3*time.Hour))
	const refused = "warning: you may not list Pods: the answer comes from the Testcrs, and may be outdated\n"
	testenv.Eventually(t, func(context.Context) error {
		got := run(t, user, "", append([]string{"10.27.0.7"}, keys...)...)
		if got.Stdout != "market/viewed\n" || !strings.HasPrefix(got.Stderr, "warning: no controller has kept") || !strings.Contains(got.Stderr, "(3 h)\n"+refused) {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

// TestProgressIsForTerminals lists more than one page of Pods.
func TestProgressIsForTerminals(t *testing.T) {
	user := env.User(t, "plugin-pages").Write(t)
	grant(t, "plugin-pages", "", "pods", []string{"list"})
	may(t, user, "nobody")
	var pods []*corev1.Pod
	for i := range 1100 {
		pods = append(pods, pod(fmt.Sprintf("paged/p-%d", i), fmt.Sprintf("10.28.%d.%d", i/200, i%200+1), fmt.Sprintf("fd28::%x", i+1)))
	}
	createPods(t, pods...)
	got := run(t, user, "", append([]string{"fd28::400"}, keys...)...)
	if got.Stdout != "paged/p-1023\n" || strings.Contains(got.Stderr, "Reading Pods") {
		t.Errorf("without a terminal: %+v", got)
	}
	screen, end := terminal(t)
	p := program(t, "kubectl-podinfo", append([]string{"fd28::400"}, keys...)...)
	p.Cmd().Env = append(p.Cmd().Env, "KUBECONFIG="+user)
	p.Cmd().Stderr = end
	p.Start(t)
	_ = end.Close()
	text, _ := io.ReadAll(screen) // it ends in an error once the other end is closed
	if code := p.Wait(t, testenv.Patience); code != 0 || p.Stdout.String() != "paged/p-1023\n" ||
		!strings.Contains(string(text), "\rReading Pods: 1000 of ") || !strings.HasSuffix(string(text), "\r\x1b[K") {
		t.Errorf("code %d, standard output %q, terminal %q", code, p.Stdout, text)
	}
}

func kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	p := program(t, "kubectl", args...)
	p.Cmd().Dir = testenv.Root()
	p.Start(t)
	if code := p.Wait(t, testenv.Patience); code != 0 {
		return p.Stderr.String(), os.ErrInvalid
	}
	return p.Stdout.String(), nil
}
