package plugin_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var updateForms = flag.Bool("update-forms", false, "write docs/forms.md")

const (
	formUID      = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5a"
	formID       = "4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a69788796a5b4c3d2e1f0"
	formPrevious = "9a8b7c6d5e4f30211203f4e5d6c7b8a99a8b7c6d5e4f30211203f4e5d6c7b8a9"
	formHash     = "5d3c6b7a8f9e0d1c2b3a495867f6e5d4"
	formDigest   = "sha256:c15da6c91de8d2f436196f3a768483ad32c258ed4e1beb3d367a27ed67253e66"
)

// formPods are the Pods that the examples of docs/forms.md are about.
func formPods() []*corev1.Pod {
	controlled := func(p *corev1.Pod, apiVersion, kind, name string) {
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: "1", Controller: new(true)}}
	}
	cart := pod("shop/cart-5d9f7c6b4-8xk2p", "10.50.0.7", "fd50::7")
	cart.UID, cart.Spec.NodeName, cart.Status.HostIP = formUID, "worker-51", "192.168.50.1"
	cart.Labels = map[string]string{"app": "cart", "pod-template-hash": "5d9f7c6b4"}
	controlled(cart, "apps/v1", "ReplicaSet", "cart-5d9f7c6b4")
	cart.Spec.Containers = []corev1.Container{{Name: "app", Image: "registry.example.com/shop/cart:2.1"}}
	cart.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "app", ContainerID: "containerd://" + formID, ImageID: "registry.example.com/shop/cart@" + formDigest, RestartCount: 1, Ready: true,
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ContainerID: "containerd://" + formPrevious, Reason: "OOMKilled", ExitCode: 137,
		}},
	}}
	cart.Annotations = map[string]string{"k8s.v1.cni.cncf.io/network-status": `[{"name":"shop/storage","ips":["172.16.50.7"]}]`}
	web := pod("shop/web-0", "10.50.0.8")
	web.UID, web.Spec.NodeName, web.Spec.Hostname, web.Spec.Subdomain = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5b", "worker-52", "web-0", "web"
	controlled(web, "apps/v1", "StatefulSet", "web")
	report := pod("shop/report-29334060-x7k2m", "10.50.0.9")
	report.UID, report.Spec.NodeName, report.Status.Phase = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5c", "worker-52", corev1.PodSucceeded
	report.CreationTimestamp = metav1.NewTime(time.Unix(29334060*60+1, 0))
	controlled(report, "batch/v1", "Job", "report-29334060")
	agent := pod("ops/agent-q9w8e", "192.168.50.1")
	agent.UID, agent.Spec.NodeName, agent.Spec.HostNetwork, agent.Status.HostIP = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5d", "worker-51", true, "192.168.50.1"
	controlled(agent, "apps/v1", "DaemonSet", "agent")
	etcdPod := pod("kube-system/etcd-worker-51", "192.168.50.1")
	etcdPod.UID, etcdPod.Spec.NodeName, etcdPod.Spec.HostNetwork, etcdPod.Status.HostIP = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5e", "worker-51", true, "192.168.50.1"
	etcdPod.Annotations = map[string]string{"kubernetes.io/config.hash": formHash, "kubernetes.io/config.mirror": formHash, "kubernetes.io/config.source": "file"}
	return []*corev1.Pod{cart, web, report, agent, etcdPod}
}

// forms are the examples of docs/forms.md. A row without arguments begins a table.
func forms() [][]string {
	underscored := strings.ReplaceAll(formUID, "-", "_")
	return [][]string{
		{"IPs"},
		{"an IP", "10.50.0.7"}, {"IPv6, in any spelling", "FD50:0:0::7"}, {"with a port", "10.50.0.7:8080"}, {"in brackets, with a zone", "[fd50::7%eth0]:80"},
		{"IPv4 in IPv6", "::ffff:10.50.0.7"}, {"with the length of its network", "10.50.0.7/24"}, {"a range", "10.50.0.0/28"},
		{"a further network of the Pod", "172.16.50.7"}, {"the IP of a Pod that has completed", "10.50.0.9"},
		{"the IP of a node", "192.168.50.1", "--by=hostip"}, {"the same, which Pods on the host network share", "192.168.50.1"},
		{"a reverse name", "7.0.50.10.in-addr.arpa"}, {"a name of DNS with the IP", "10-50-0-7.shop.pod.cluster.local"},
		{"the same, of an endpoint", "10-50-0-7.cart.shop.svc.example.org"}, {"a name of AWS", "ip-192-168-50-1.eu-central-1.compute.internal"},
		{"IPs that no Pod has"},
		{"the cluster IP of a Service", "10.96.40.17"}, {"its external IP", "198.51.100.40"}, {"a Service without Pods", "10.96.40.18"},
		{"a Service with other endpoints", "10.96.40.19"}, {"a Service by its name", "svc/cart", "-n", "mall"}, {"a Service by its DNS name", "cart.mall.svc.cluster.local"},
		{"a node", "2001:db8:40::1"}, {"a node without Pods", "192.168.40.2"}, {"a Pod range", "10.40.1.77"}, {"a Service range", "10.96.40.99"},
		{"another network", "203.0.113.40"}, {"loopback", "127.0.0.1"}, {"the metadata service of a cloud", "169.254.169.254"},
		{"IDs"},
		{"a UID", formUID}, {"in capitals", strings.ToUpper(formUID)}, {"as systemd writes it", underscored}, {"without its dashes", strings.ReplaceAll(formUID, "-", "")},
		{"its beginning", formUID[:8]}, {"the hash of a static Pod", formHash}, {"a container ID", formID}, {"with its runtime", "containerd://" + formID},
		{"its first digits, as crictl prints them", formID[:13]}, {"6 digits and more", formID[:7]}, {"a container of before the restart", formPrevious[:12]},
		{"Names"},
		{"NAMESPACE/NAME", "shop/cart-5d9f7c6b4-8xk2p"}, {"a name", "web-0"}, {"a part of it", "cart-5d9f"}, {"in any case, with a star", "CART-*"},
		{"cut by a log", "cart-5d9f7c6b4-8x..."}, {"a near miss", "cart-5d9f7c6b4-8xk2q"}, {"TYPE/NAME", "pod/web-0"}, {"TYPE NAME", "pod web-0"},
		{"a Deployment", "deploy/cart"}, {"a ReplicaSet", "rs/cart-5d9f7c6b4"}, {"a StatefulSet", "sts/web"}, {"a CronJob", "cronjob/report"}, {"its Job", "job/report-29334060"},
		{"a type with its group", "deployments.apps/cart"}, {"a workload by its name alone", "report"}, {"a node", "worker-52"},
		{"a Pod of a StatefulSet in DNS", "web-0.web.shop.svc.cluster.local"}, {"without its domain", "web-0.web.shop"},
		{"Images and labels"},
		{"an image with its tag", "cart:2.1"}, {"with its registry", "registry.example.com/shop/cart:2.1"}, {"without the tag", "shop/cart", "--by=image"},
		{"a digest", formDigest}, {"a label", "app=cart"},
		{"Cgroups"},
		{"v2 of systemd", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice/cri-containerd-" + formID + ".scope"},
		{"v1 of cgroupfs", "12:pids:/kubepods/burstable/pod" + formUID + "/" + formID},
		{"CRI-O", "/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-" + formID + ".scope"},
		{"its monitor", "crio-conmon-" + formID + ".scope"}, {"docker", "docker-" + formID + ".scope"}, {"a slice alone", "kubepods-burstable-pod" + underscored + ".slice"},
		{"a node in a container", "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + underscored + ".slice"},
		{"a static Pod", "/kubepods/burstable/pod" + formHash},
		{"Paths and units of a node"},
		{"a volume", "/var/lib/kubelet/pods/" + formUID + "/volumes/kubernetes.io~csi/data/mount"},
		{"a log", "/var/log/pods/shop_cart-5d9f7c6b4-8xk2p_" + formUID + "/app/0.log"},
		{"a log of a static Pod", "/var/log/pods/kube-system_etcd-worker-51_" + formHash + "/etcd/0.log"},
		{"a link to a log", "/var/log/containers/cart-5d9f7c6b4-8xk2p_shop_app-" + formID + ".log"},
		{"containerd's task", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + formID + "/rootfs"},
		{"CRI-O's storage", "/var/lib/containers/storage/overlay-containers/" + formID + "/userdata"},
		{"docker's log", "/var/lib/docker/containers/" + formID + "/" + formID + "-json.log"},
		{"a mount unit", `var-lib-kubelet-pods-` + strings.ReplaceAll(formUID, "-", `\x2d`) + `-volumes-kubernetes.io\x7ecsi-data-mount.mount`},
		{"a container of docker", "k8s_app_cart-5d9f7c6b4-8xk2p_shop_" + formUID + "_1"},
		{"Lines of logs"},
		{"the kubelet", `"Killing container with a grace period" pod="shop/cart-5d9f7c6b4-8xk2p" podUID="` + formUID + `" containerID="containerd://` + formID + `"`},
		{"an older kubelet", `Orphaned pod "` + formUID + `" found, but volume paths are still present on disk`},
		{"NAME_NAMESPACE(UID)", `Error syncing pod "cart-5d9f7c6b4-8xk2p_shop(` + formUID + `)"`},
		{"the kernel", "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/kubepods.slice/kubepods-pod" + underscored + ".slice,task_memcg=/kubepods.slice/kubepods-pod" +
			underscored + ".slice/cri-containerd-" + formPrevious + ".scope,task=java,pid=4711,uid=1000"},
		{"a refused connection", "dial tcp 10.50.0.7:8080: connect: connection refused"},
		{"a connection of two Pods", "read tcp 10.50.0.8:55000->10.50.0.7:80: read: connection reset by peer"},
		{"an access log", `10.50.0.8 - - [26/Nov/2026:03:12:07 +0000] "GET /healthz HTTP/1.1" 200 2`},
		{"JSON", `{"level":"error","kubernetes":{"namespace_name":"shop","pod_name":"web-0"}}`},
		{"an environment", "HOSTNAME=web-0"}, {"a URL", "http://10.50.0.7:8080/cart?id=7"}, {"a URL of the API", "/api/v1/namespaces/shop/pods/web-0/log"},
		{"the output of kubectl", "shop   web-0   1/1   Running   0   3d"}, {"a command of kubectl", "kubectl -n shop logs web-0"},
		{"Several, and none"},
		{"a list", "10.50.0.7,10.50.0.8"}, {"two facts of one Pod", "10.50.0.7 " + formUID}, {"a text without a fact", "the quick brown fox"},
	}
}

// TestForms holds docs/forms.md to the answers of the built plugin. To write it:
// go -C test test ./plugin -run TestForms -update-forms
func TestForms(t *testing.T) {
	mall(t)
	create(t, formPods()...)
	// The race detector would take most of the time of so many short runs.
	binary := filepath.Join(t.TempDir(), "kubectl-podinfo")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join(testenv.Root(), "cmd", "kubectl-podinfo")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	var out strings.Builder
	fmt.Fprint(&out, `# Forms of a query

Each of these is given to `+"`kubectl podinfo`"+` as one argument, unless it has a flag. The answers are those of the built plugin on an API server: a test asks for all
of them, and writes this page (`+"`go -C test test ./plugin -run TestForms -update-forms`"+`). [plugin.md](plugin.md#paste-anything) has the rules.
`)
	for _, form := range forms() {
		if len(form) == 1 {
			fmt.Fprintf(&out, "\n## %s\n\n| what | query | answer |\n|---|---|---|\n", form[0])
			continue
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", form[0], code(form[1:]), formAnswer(t, binary, form[1:]))
	}
	path := filepath.Join(testenv.Root(), "docs", "forms.md")
	if *updateForms {
		if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), out.String()); diff != "" {
		t.Errorf("docs/forms.md (-have +answers):\n%s", diff)
	}
}

// code returns arguments as code in a table.
func code(args []string) string {
	return "`" + strings.ReplaceAll(strings.Join(args, " "), "|", `\|`) + "`"
}

// formAnswer returns the answer of the built plugin: the keys of Pods, and what it
// prints to standard error.
func formAnswer(t *testing.T, binary string, args []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary,
		append([]string{"--kubeconfig=" + env.AdminKubeconfig, `-o=jsonpath={range .items[*]}{.spec.podkey} {end}{.spec.podkey}`}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err) // it did not start
	}
	var cells []string
	if keys := strings.Fields(stdout.String()); len(keys) > 0 {
		cells = append(cells, "`"+strings.Join(keys, "` `")+"`")
	}
	for line := range strings.Lines(stderr.String()) {
		line = strings.ReplaceAll(strings.TrimSpace(line), "|", `\|`)
		cells = append(cells, line)
	}
	return strings.Join(cells, "<br>")
}
