package query_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	// hash is the UID that the kubelet has of a static Pod: its metadata.uid is another.
	hash     = "8f7e6d5c4b3a29180716253443526170"
	hashUID  = "8f7e6d5c-4b3a-2918-0716-253443526170"
	nodesID  = "aaaa000011112222333344445555666677778888999900001111222233334444"
	escaped  = `0f1e2d3c\x2d4b5a\x2d6978\x2d8796\x2da5b4c3d2e1f0`
	wantPod  = "key:shop/cart-5d9f"
	wantBoth = "container:" + id + " uid:" + uid
	wantIP   = "ip:10.0.0.7 hostip:10.0.0.7"
)

// form is a text that somebody may paste, and all terms that it must give.
type form struct{ name, of, want string }

func testForms(t *testing.T, forms []form) {
	t.Helper()
	for _, test := range forms {
		t.Run(test.name, func(t *testing.T) {
			terms, err := query.Parse(test.of)
			if diff := cmp.Diff(test.want, brief(terms)); diff != "" {
				t.Errorf("readings of %q, error %v (-want +got):\n%s", test.of, err, diff)
			}
		})
	}
}

func TestParse_Cgroups(t *testing.T) {
	const slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
	testForms(t, []form{
		{"a line of /proc/PID/cgroup, v1", "12:pids:/kubepods/besteffort/pod" + uid + "/" + id, wantBoth},
		{"a named controller of v1", "1:name=systemd:/kubepods/besteffort/pod" + uid + "/" + id, wantBoth},
		{"a line of /proc/PID/cgroup, v2", "0::" + slice + underscored + ".slice/cri-containerd-" + id + ".scope", wantBoth},
		{"a file under /sys/fs/cgroup", "/sys/fs/cgroup/kubepods.slice/kubepods-pod" + underscored + ".slice/memory.max", "uid:" + uid},
		{"a file of v1 under /sys/fs/cgroup", "/sys/fs/cgroup/memory/kubepods/pod" + uid + "/" + id + "/memory.limit_in_bytes", wantBoth},
		{"a slice alone", "kubepods-burstable-pod" + underscored + ".slice", "uid:" + uid},
		{"a folder of cgroupfs alone", "pod" + uid, "uid:" + uid + " name:pod" + uid + " node:pod" + uid + " workload:pod" + uid},
		{"the end of a path", "pod" + uid + "/" + id, wantBoth + " key:pod" + uid + "/" + id + " workload:pod" + uid + "/" + id},
		{"a scope that is cut", "cri-containerd-" + id[:12] + ".scope", "container:" + id[:12] + " " + names("cri-containerd-"+id[:12]+".scope")},
		{"a scope that is cut to less", "crio-" + id[:7], names("crio-"+id[:7]) + " container:" + id[:7] + "*"},
		{"a scope of containerd", "cri-containerd-" + id + ".scope", scope("cri-containerd-" + id + ".scope")},
		{"a scope of CRI-O", "crio-" + id + ".scope", scope("crio-" + id + ".scope")},
		{"conmon, the monitor of CRI-O", "crio-conmon-" + id + ".scope", scope("crio-conmon-" + id + ".scope")},
		{"a scope of Docker", "docker-" + id + ".scope", scope("docker-" + id + ".scope")},
		{"a scope of Podman", "libpod-" + id + ".scope", scope("libpod-" + id + ".scope")},
		{"CRI-O's v2 with a container folder", slice + underscored + ".slice/crio-" + id + ".scope/container", wantBoth},
		{"Docker without the kubelet's slice", "11:devices:/docker/" + id, "container:" + id},
		{"kind's nested slices, v2", "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" +
			underscored + ".slice/cri-containerd-" + id + ".scope", wantBoth},
		{"kind's node is a container of v1", "4:cpu:/docker/" + nodesID + "/kubelet/kubepods/pod" + uid + "/" + id,
			"container:" + id + " container:" + nodesID + " uid:" + uid},
		{"k3s", "0::/kubepods/besteffort/pod" + uid + "/" + id, wantBoth},
		{"a static Pod", "/kubepods/burstable/pod" + hash + "/" + id, "container:" + id + " uid:" + hashUID},
		{"a static Pod, systemd", slice + hash + ".slice/cri-containerd-" + id + ".scope", "container:" + id + " uid:" + hashUID},
		{"lines of several controllers", "12:pids:/kubepods/pod" + uid + "/" + id + "\n11:cpu:/kubepods/pod" + uid + "/" + id, wantBoth},
		{"cAdvisor's label", `container_cpu_usage_seconds_total{id="` + slice + underscored + `.slice",namespace="shop",pod="cart-5d9f"}`,
			"uid:" + uid + " " + wantPod + " name:cart-5d9f"},
	})
}

// scope is the readings of a scope: a container, and a name that is none.
func scope(s string) string {
	return "container:" + id + " name:" + s + " node:" + s + " workload:" + s
}

func TestParse_Paths(t *testing.T) {
	testForms(t, []form{
		{"a volume", "/var/lib/kubelet/pods/" + uid + "/volumes/kubernetes.io~empty-dir/cache", "uid:" + uid},
		{"a volume of a static Pod", "/var/lib/kubelet/pods/" + hash + "/volumes/x", "uid:" + hashUID},
		{"a log", "/var/log/pods/shop_cart-5d9f_" + uid + "/cart/0.log", "uid:" + uid + " " + wantPod},
		{"a log of a static Pod", "/var/log/pods/kube-system_etcd-node-1_" + hash + "/etcd/0.log", "uid:" + hashUID + " key:kube-system/etcd-node-1"},
		{"a folder of logs", "shop_cart-5d9f_" + uid, "uid:" + uid + " " + wantPod},
		{"a link to a log", "/var/log/containers/cart-5d9f_shop_cart-" + id + ".log", "container:" + id + " " + wantPod},
		{"a tag of Fluent Bit", "kube.var.log.containers.cart-5d9f_shop_cart-" + id + ".log", "container:" + id + " " + wantPod},
		{"a task of containerd", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + id + "/rootfs", "container:" + id},
		{"a task of containerd 1", "/run/containerd/io.containerd.runtime.v1.linux/k8s.io/" + id + "/config.json", "container:" + id},
		{"a container of containerd's CRI", "/var/lib/containerd/io.containerd.grpc.v1.cri/containers/" + id + "/status", "container:" + id},
		{"storage of CRI-O", "/var/lib/containers/storage/overlay-containers/" + id + "/userdata/config.json", "container:" + id},
		{"run folder of CRI-O", "/run/containers/storage/overlay-containers/" + id + "/userdata", "container:" + id},
		{"a log of Docker", "/var/lib/docker/containers/" + id + "/" + id + "-json.log", "container:" + id},
		{"a mount unit of the kubelet", `var-lib-kubelet-pods-` + escaped + `-volumes-kubernetes.io\x7eprojected-kube\x2dapi\x2daccess\x2dabcde.mount`, "uid:" + uid},
		{"a mount unit of a static Pod", "var-lib-kubelet-pods-" + hash + `-volumes-x.mount`, "uid:" + hashUID +
			" name:var-lib-kubelet-pods-" + hash + "-volumes-x.mount node:var-lib-kubelet-pods-" + hash + "-volumes-x.mount workload:var-lib-kubelet-pods-" + hash + "-volumes-x.mount"},
		{"a mount unit of containerd", `run-containerd-io.containerd.runtime.v2.task-k8s.io-` + id + `-rootfs.mount: Deactivated successfully.`, "container:" + id},
		{"a container of Docker's kubelet", "k8s_cart_cart-5d9f_shop_" + uid + "_0", "uid:" + uid + " " + wantPod},
		{"a sandbox of Docker's kubelet", "/k8s_POD_cart-5d9f_shop_" + uid + "_12", "uid:" + uid + " " + wantPod},
		{"a sandbox of containerd", `failed to reserve sandbox name "cart-5d9f_shop_` + uid + `_1": name is reserved for "` + id + `"`, wantBoth + " " + wantPod},
		{"a request of the API server", "GET /api/v1/namespaces/shop/pods/cart-5d9f/log?container=cart", wantPod},
		{"a key of etcd", "/registry/pods/shop/cart-5d9f", wantPod},
		{"a request of the kubelet's server", "https://192.168.0.1:10250/containerLogs/shop/cart-5d9f/cart", wantPod + " ip:192.168.0.1 hostip:192.168.0.1"},
		{"a volume is not a Pod", "pvc-" + uid, names("pvc-"+uid) + " name:*pvc-" + uid + "*"},
		{"a digest is not a container", "nginx@sha256:" + id, "image:nginx@sha256:" + id},
	})
}

// names is the readings of a plain name.
func names(s string) string { return "name:" + s + " node:" + s + " workload:" + s }

func TestParse_LogLines(t *testing.T) {
	testForms(t, []form{
		{"klog with a Pod and its UID", `I1127 09:00:00.000000 1 kubelet.go:2453] "SyncLoop ADD" source="api" pods=["shop/cart-5d9f"] podUID="` + uid + `"`,
			"uid:" + uid + " " + wantPod},
		{"klog with several Pods", `"SyncLoop DELETE" source="api" pods=["shop/cart-5d9f","team/web-0"]`, wantPod + " key:team/web-0"},
		{"klog with a container", `"Killing container with a grace period" pod="shop/cart-5d9f" podUID="` + uid + `" containerName="cart" containerID="containerd://` + id + `" gracePeriod=30`,
			wantBoth + " " + wantPod},
		{"klog with a structured container ID", `"SyncLoop (PLEG)" pod="shop/cart" event={"ID":"` + uid + `","Type":"ContainerStarted","Data":"` + id + `"}`,
			wantBoth + " key:shop/cart"},
		{"klog with a type of ID", `podUID=` + uid + ` containerID={"Type":"containerd","ID":"` + id + `"}`, wantBoth},
		{"klog with a short ID", `podID="` + uid[:13] + `" containerID="` + id[:8] + `"`, "uid:" + uid[:13] + "* container:" + id[:8] + "*"},
		{"the kubelet's form of before klog had keys", `Syncing pod "cart-5d9f_shop(` + uid + `)"`, "uid:" + uid + " " + wantPod},
		{"a static Pod of it", `pod="etcd-node-1_kube-system(` + hash + `)"`, "uid:" + hashUID + " key:kube-system/etcd-node-1"},
		{"an Event of a restart", "Back-off 5m0s restarting failed container cart in pod cart-5d9f_shop(" + uid + ")", "uid:" + uid + " " + wantPod},
		{"a Pod in prose", "Failed to create sandbox for pod shop/nginx: no IP left", "key:shop/nginx"},
		{"a quoted Pod", `Error from server (NotFound): pods "nginx" not found`, "name:nginx"},
		{"an orphan", `Orphaned pod "` + uid + `" found, but volumes are not cleaned up`, "uid:" + uid},
		{"the kernel's OOM line", "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-" + id + ".scope,mems_allowed=0,oom_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" +
			underscored + ".slice,task_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice/cri-containerd-" + id + ".scope,task=java,pid=4711,uid=1000", wantBoth},
		{"the kernel's OOM line of v1", "Task in /kubepods/burstable/pod" + uid + "/" + id + " killed as a result of limit of /kubepods/burstable/pod" + uid, wantBoth},
		{"a refused connection", `dial tcp 10.0.0.7:8080: connect: connection refused`, wantIP},
		{"a quoted URL in an error", `Get "http://10.0.0.7:8080/healthz": context deadline exceeded (Client.Timeout exceeded while awaiting headers)`, wantIP},
		{"a probe over IPv6", `Get "http://[fd00::7]:8080/healthz": dial tcp [fd00::7]:8080: i/o timeout`, "ip:fd00::7 hostip:fd00::7"},
		{"two ends", `read tcp 10.0.0.7:55000->10.0.1.2:5432: read: connection reset by peer`, "ip:10.0.0.7 ip:10.0.1.2 hostip:10.0.0.7 hostip:10.0.1.2"},
		{"loopback is nobody's", `dial tcp 127.0.0.1:8080: lookup nowhere`, ""},
		{"an access log", `10.0.0.7 - - [27/Nov/2026:09:00:00 +0000] "GET /api/v1 HTTP/1.1" 200 612 "-" "Mozilla/5.0 (X11; Linux x86_64)"`, wantIP},
		{"tcpdump", `09:00:00.000000 IP 10.0.0.7.55000 > 10.0.1.2.443: Flags [S], seq 1`, "ip:10.0.0.7 ip:10.0.1.2 hostip:10.0.0.7 hostip:10.0.1.2"},
		{"a log of Java", `connect to cart/10.0.0.7:8080 failed`, wantIP},
		{"a JSON line", `{"ts":"2026-11-27T09:00:00Z","msg":"slow","pod":"cart-5d9f","namespace":"shop","ip":"10.0.0.7"}`, wantPod + " name:cart-5d9f " + wantIP},
		{"JSON in a JSON string", `{"log":"{\"pod_name\":\"nginx\",\"podIP\":\"10.0.0.7\"}\n"}`, "name:nginx " + wantIP},
		{"a record of Fluent Bit", `{"kubernetes":{"pod_name":"nginx","namespace_name":"shop","pod_id":"` + uid + `","host":"node-1","docker_id":"` + id + `"}}`,
			wantBoth + " key:shop/nginx name:nginx name:node-1 node:node-1"},
		{"attributes of OpenTelemetry", `k8s.pod.name=nginx k8s.namespace.name=shop k8s.node.name=worker`, "key:shop/nginx name:nginx node:worker"},
		{"an environment", "POD_NAME=nginx\nPOD_NAMESPACE=shop\nPOD_IP=10.0.0.7", "key:shop/nginx name:nginx " + wantIP},
		{"an environment of a container", "HOSTNAME=nginx", "name:nginx node:nginx"},
		{"CNI arguments", `"K8S_POD_NAMESPACE=shop;K8S_POD_NAME=nginx;K8S_POD_INFRA_CONTAINER_ID=` + id + `"`, "container:" + id + " key:shop/nginx name:nginx"},
		{"an object reference", `{"kind":"Pod","namespace":"shop","name":"nginx","apiVersion":"v1"}`, "key:shop/nginx name:nginx"},
		{"an audit log", `{"objectRef":{"resource":"pods","namespace":"shop","name":"nginx"},"sourceIPs":["10.0.0.7"]}`, "key:shop/nginx name:nginx " + wantIP},
		{"an object reference to a workload", `{"kind":"Deployment","namespace":"shop","name":"cart"}`, "workload:deployment/cart"},
		{"kubectl get pods -A", "shop   nginx   1/1   Running   0   5d", "key:shop/nginx name:nginx"},
		{"kubectl get pods", "cart-5d9f   0/1   CrashLoopBackOff   7 (2m ago)   5d", "name:cart-5d9f"},
		{"a command of kubectl", "kubectl logs -n shop cart-5d9f --tail=5", wantPod + " name:cart-5d9f"},
		{"a command with a short name", "kubectl -n shop describe po nginx", "key:shop/nginx name:nginx"},
		{"logs of a short name", "kubectl logs nginx -n shop", "key:shop/nginx name:nginx"},
		{"a command with flags", "kubectl exec -it -n shop nginx -- sh", "key:shop/nginx name:nginx"},
		{"kubectl describe pod", "Name:             nginx\nNamespace:        shop\nNode:             worker/192.168.0.1\nControlled By:  ReplicaSet/web-5d9f",
			"key:shop/nginx name:nginx ip:192.168.0.1 workload:replicaset/web-5d9f hostip:192.168.0.1"},
		{"containerd's metadata", "RunPodSandbox for &PodSandboxMetadata{Name:nginx,Uid:" + uid + ",Namespace:shop,Attempt:0,}", "uid:" + uid + " key:shop/nginx name:nginx"},
		{"an alert", "Pod shop/cart (cart) is restarting 1.2 times / 5 minutes.", "key:shop/cart"},
		{"a node in prose", "Node worker-1 is not ready", "name:worker-1 node:worker-1"},
		{"conntrack", "tcp 6 src=10.0.0.7 dst=10.0.1.2 sport=55000 dport=443", "ip:10.0.0.7 ip:10.0.1.2 hostip:10.0.0.7 hostip:10.0.1.2"},
		{"a pod that is a word", "the pod is not ready", ""},
		{"a label of a Job", "batch.kubernetes.io/job-name=report-123", "workload:job/report-123"},
		{"kubectl scale", "statefulset.apps/db scaled", "workload:statefulset/db"},
		{"a Pod behind its resource", "deleting pods/shop/cart-5d9f now", "key:shop/cart-5d9f name:shop"},
		{"kubectl logs --prefix", "[pod/cart-5d9f/cart] started", "name:cart-5d9f"},
		{"docker ps", id[:12] + "   nginx   \"/docker-entrypoint\"   Up 2 minutes", "container:" + id[:12]},
		{"a time in milliseconds is not an ID", "at 1795770000000 it began", ""},
		{"escape sequences of colors", "\x1b[31m10.0.0.7\x1b[0m failed", wantIP},
		{"quotes of a word processor", "\u201c10.0.0.7\u201d", wantIP},
		{"escaped white space", `up\t10.0.0.7\nnext\u003e10.0.0.7`, wantIP},
		{"a sentence", "the quick brown fox jumps over the lazy dog", ""},
		{"a status", "and/or 1/1 n/a text/plain", ""},
	})
}

func TestParse_Lists(t *testing.T) {
	testForms(t, []form{
		{"IPs of one Pod", "10.0.0.7,fd00::7", wantIP + " node:10.0.0.7 name:10.0.0.7 ip:fd00::7 hostip:fd00::7"},
		{"IPs with spaces", "10.0.0.7 fd00::7", wantIP + " node:10.0.0.7 name:10.0.0.7 ip:fd00::7 hostip:fd00::7"},
		{"names", "nginx, shop/cart-5d9f", names("nginx") + " key:shop/cart-5d9f workload:shop/cart-5d9f name:*nginx* key:shop/*cart-5d9f*"},
		{"names in quotes", `["cart-5d9f","web-0"]`, "name:cart-5d9f name:web-0"},
		{"kubectl get pods -o name", "pod/nginx\npod/web-0", "name:nginx key:pod/nginx name:web-0 key:pod/web-0 name:*nginx* name:*web-0*"},
		{"one item in quotes", `"nginx",`, names("nginx") + " name:*nginx*"},
		{"TYPE NAME", "pod nginx", "name:nginx name:*nginx*"},
		{"TYPE NAME with a namespace", "po shop/nginx", "key:shop/nginx"},
		{"TYPE NAME of a workload", "statefulsets.apps db", "workload:statefulset/db"},
		{"TYPE NAME of a node", "no node-1", "node:node-1"},
		{"TYPE NAME of a CronJob", "cj report", "workload:cronjob/report"},
		{"TYPE/NAME of a CronJob", "cronjob.batch/report", "workload:cronjob/report"},
		{"TYPE/NAME twice", "deploy/web ds/log", "workload:deployment/web key:deploy/web workload:daemonset/log key:ds/log"},
	})
}

func TestParse_Addresses(t *testing.T) {
	testForms(t, []form{
		{"a URL", "http://10.0.0.7:8080/healthz?x=1", wantIP},
		{"a URL of IPv6", "http://[fd00::7]:8080/healthz", "ip:fd00::7 hostip:fd00::7"},
		{"a URL with a password", "postgres://user:secret@10.0.0.7:5432/db", wantIP},
		{"a URL of a Pod of a StatefulSet", "http://web-0.web.shop.svc.cluster.local:8080/x", "key:shop/web-0"},
		{"a URL of a name", "http://cart-5d9f:8080/", "name:cart-5d9f"},
		{"an address of Kafka", "PLAINTEXT://web-0.web:9092", "name:web-0"},
		{"another site", "https://example.com/a?b=c", ""},
		{"a range", "10.0.0.0/24", "ip:10.0.0.0/24"},
		{"a range of IPv6", "fd00::/64", "ip:fd00::/64"},
		{"a range that is mapped into IPv6", "::ffff:10.0.0.0/120", "ip:10.0.0.0/24"},
		{"a range in a sentence", "no route to 10.0.0.0/24 found", "ip:10.0.0.0/24"},
		{"an address in ip addr", "inet 10.0.0.7/24 brd 10.0.0.255 scope global eth0", wantIP[:11] + " ip:10.0.0.255 hostip:10.0.0.7 hostip:10.0.0.255"},
		{"a label before it", "src:10.0.0.7", wantIP},
		{"a service behind it", "10.0.0.7:http", wantIP},
		{"a reverse name", "7.0.0.10.in-addr.arpa", wantIP + " " + names("7.0.0.10.in-addr.arpa")},
		{"a reverse name with its dot", "7.0.0.10.in-addr.arpa.", wantIP},
		{"a reverse name of IPv6", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", "ip:fd00::7 hostip:fd00::7"},
		{"a part of a reverse name", "0.10.in-addr.arpa.", "name:0.10.in-addr.arpa"},
		{"the record of a Pod", "10-0-0-7.shop.pod.cluster.local", wantIP + " " + names("10-0-0-7.shop.pod.cluster.local")},
		{"the record of a Pod without a domain", "10-0-0-7.shop.pod", wantIP + " " + names("10-0-0-7.shop.pod")},
		{"the record of a Pod of IPv6", "fd00--7.shop.pod.example.org.", "ip:fd00::7 hostip:fd00::7"},
		{"the record of an endpoint", "10-0-0-7.cart.shop.svc.cluster.local.", wantIP},
		{"the record of a Pod of a StatefulSet", "web-0.web.shop.svc.k8s.example.org.", "key:shop/web-0"},
		{"a record without a domain", "web-0.web.shop.svc", "key:shop/web-0 " + names("web-0.web.shop.svc")},
		{"a Pod of a StatefulSet and its Service", "web-0.web:9092", names("web-0.web") + " name:web-0"},
		{"a Pod of a StatefulSet, its Service and namespace", "web-0.web.shop", names("web-0.web.shop") + " key:shop/web-0 name:*web-0.web.shop*"},
		{"a host and its port", "nginx:8080", names("nginx")},
		{"an address with dashes", "10-0-0-7", names("10-0-0-7") + " ip:10.0.0.7 name:*10-0-0-7*"},
		{"tcpdump of IPv6", "IP6 fd00::7.55000 > fd00::8.443: Flags [S]", "ip:fd00::7 ip:fd00::8 hostip:fd00::7 hostip:fd00::8"},
		{"a record in a log", "lookup web-0.web.shop.svc.cluster.local on 10.96.0.10:53: no such host",
			"key:shop/web-0 ip:10.96.0.10 hostip:10.96.0.10"},
		{"a node that is called by its IP", "ip-10-0-0-7.eu-west-1.compute.internal",
			names("ip-10-0-0-7.eu-west-1.compute.internal") + " hostip:10.0.0.7 name:*ip-10-0-0-7.eu-west-1.compute.internal*"},
	})
}

func TestParse_Partial(t *testing.T) {
	testForms(t, []form{
		{"a part of a name", "cart-86cd", names("cart-86cd") + " name:*cart-86cd*"},
		{"a part of a name in capitals", "Cart-86CD", names("cart-86cd") + " name:*cart-86cd*"},
		{"the beginning of a name", "cart-7c9d*", "name:cart-7c9d*"},
		{"the end of a name", "*-7C9D", "name:*-7c9d"},
		{"the middle of a name", "c*d", "name:c*d"},
		{"a name that is cut by a user interface", "cart-7c9d\u2026", "name:cart-7c9d*"},
		{"a name that is cut, in ASCII", "cart-7c9d...", "name:cart-7c9d*"},
		{"a part of a workload", "deploy/cart-*", "workload:deployment/cart-*"},
		{"a part of a node", "node/worker-*", "node:worker-*"},
		{"a part of a name behind its type, as words", "pod cart-7c9d*", "name:cart-7c9d*"},
		{"the kubelet's name of a Pod", "nginx_shop", "key:shop/nginx key:nginx/shop"},
		{"an Event", "nginx.17f3b2c1a9d0e8f6", names("nginx.17f3b2c1a9d0e8f6") + " name:nginx name:*nginx.17f3b2c1a9d0e8f6*"},
		{"a part of a name in a namespace", "shop/cart-7c9d*", "key:shop/cart-7c9d*"},
		{"a part of a name behind its type", "pod/cart-7c9d*", "name:cart-7c9d*"},
		{"the beginning of a UID or a container ID", "0f1e2d", names("0f1e2d") + " container:0f1e2d* uid:0f1e2d* name:*0f1e2d*"},
		{"the beginning of a UID", uid[:13], names(uid[:13]) + " uid:" + uid[:13] + "* name:*" + uid[:13] + "*"},
		{"the beginning of a UID in capitals", strings.ToUpper(uid[:14]) + "*", "uid:" + uid[:14] + "* name:" + uid[:14] + "*"},
		{"the beginning of a UID of systemd", underscored[:13], "uid:" + uid[:13] + "*"},
		{"five digits are too few", "0f1e2", names("0f1e2") + " name:*0f1e2*"},
		{"two letters are too few", "we", names("we")},
		{"nothing but a star", "*", ""},
		{"nothing but stars and dots", "*-.*", ""},
		{"a HOSTNAME that is cut", strings.Repeat("a", 62) + "x", names(strings.Repeat("a", 62)+"x") + " name:*" + strings.Repeat("a", 62) + "x*"},
		{"a container ID with its runtime", "cri-o://" + id[:8], "container:" + id[:8] + "*"},
	})
}
