package plugin

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	cardID     = "4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a69788796a5b4c3d2e1f0"
	cardBefore = "9a8b7c6d5e4f30211203f4e5d6c7b8a99a8b7c6d5e4f30211203f4e5d6c7b8a9"
	cardDigest = "sha256:c15da6c91de8d2f436196f3a768483ad32c258ed4e1beb3d367a27ed67253e66"
)

// crashing gives the Pod all that a card shows.
func crashing(pod *corev1.Pod) {
	pod.UID, pod.Spec.NodeName = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5a", "ip-10-0-12-34.eu-central-1.compute.internal"
	pod.CreationTimestamp, pod.Status.StartTime = metav1.NewTime(time.Now().Add(-72*time.Hour)), new(metav1.NewTime(time.Now().Add(-72*time.Hour+time.Second)))
	pod.Labels = map[string]string{"app": "cart", "pod-template-hash": "5d9f"}
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "cart-5d9f", Controller: new(true)}}
	pod.Annotations = map[string]string{"k8s.v1.cni.cncf.io/network-status": `[{"name":"shop/storage","ips":["172.16.50.7"]}]`}
	pod.Spec.ServiceAccountName, pod.Status.HostIP = "cart", "192.0.2.1"
	pod.Spec.Containers = []corev1.Container{{Name: "proxy", Image: "proxy:1"}, {Name: "app", Image: "registry.example.com:5000/shop/cart:2.1"}}
	pod.Spec.InitContainers = []corev1.Container{{Name: "setup", Image: "busybox"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "proxy", ContainerID: "containerd://" + strings.Repeat("0", 64), ImageID: "docker.io/library/proxy@" + cardDigest, Ready: true,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		{
			Name: "app", ContainerID: "containerd://" + cardID, ImageID: "registry.example.com:5000/shop/cart@" + cardDigest, RestartCount: 7,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ContainerID: "containerd://" + cardBefore, Reason: "OOMKilled", ExitCode: 137,
			}},
		},
	}
}

// cardOf returns the card of a row as a terminal of this width gets it.
func cardOf(r row, width int, args ...string) string {
	o := &options{flags: NewCommand(genericiooptions.NewTestIOStreamsDiscard()).PersistentFlags()}
	_ = o.flags.Parse(args)
	text := &cardText{width: width}
	text.write(o.clusterFlags(), r)
	return text.out.String()
}

func TestCard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := `Pod        shop/cart-5d9f-8xk2p
Cluster    prod-eu
Note       previous container of app, OOMKilled (137)
Status     CrashLoopBackOff, phase Running, ready 1/2, 7 restarts
Restarted  app with OOMKilled (137)
Node       ip-10-0-12-34.eu-central-1.compute.internal
IP         10.0.0.7, fd00::7
Networks   172.16.50.7 in the network shop/storage, by an annotation
Host IP    192.0.2.1
Workload   Deployment/cart, by the owner's name and a label
Owner      ReplicaSet/cart-5d9f
Account    cart
Age        3d, created 1999-12-29 00:00:00 UTC, started 1999-12-29 00:00:01 UTC
UID        8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5a
Labels     app=cart
           pod-template-hash=5d9f

Container  proxy
  proxy:1
  sha256:c15da6c91de8d2f436196f3a768483ad32c258ed4e1beb3d367a27ed67253e66
  containerd://0000000000000000000000000000000000000000000000000000000000000000
Container  app
  registry.example.com:5000/shop/cart:2.1
  sha256:c15da6c91de8d2f436196f3a768483ad32c258ed4e1beb3d367a27ed67253e66
  containerd://4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a69788796a5b4c3d2e1f0
  before the restart: OOMKilled (137)
  containerd://9a8b7c6d5e4f30211203f4e5d6c7b8a99a8b7c6d5e4f30211203f4e5d6c7b8a9
Container  setup (init)
  busybox

Next, with --token as before
  kubectl logs --as='it''s me' --context=eu -n shop cart-5d9f-8xk2p -c app --previous
  kubectl logs --as='it''s me' --context=eu -n shop cart-5d9f-8xk2p -c app
  kubectl exec -it --as='it''s me' --context=eu -n shop cart-5d9f-8xk2p -c app -- sh
  kubectl describe pod --as='it''s me' --context=eu -n shop cart-5d9f-8xk2p
`
		want = strings.ReplaceAll(want, "it''s", `it'\''s`)
		r := row{cluster: "prod-eu", context: "eu", testcr: testcr("cart-5d9f-8xk2p", []string{"10.0.0.7", "fd00::7"}, crashing)}
		r.term, _ = query.ParseAs(query.Container, cardBefore)
		if diff := cmp.Diff(want, cardOf(r, 80, "--as=it's me", "--token=secret")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestCard_Commands(t *testing.T) {
	const logs, exec, describe = "kubectl logs ", "kubectl exec ", "kubectl describe "
	with := func(containers ...string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			for _, name := range containers {
				pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name})
			}
		}
	}
	pending := func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodPending }
	tests := []struct {
		name string
		row  row
		args []string
		want []string // what the lines of commands begin with
	}{
		{name: "a Pod that runs", row: rowsOf(testcr("a", nil, with("x", "y")))[0], want: []string{logs + "-n shop a -c x", exec + "-it -n shop a -c x -- sh", describe + "pod -n shop a"}},
		{name: "one that waits", row: rowsOf(testcr("a", nil, with("x"), pending))[0], want: []string{describe}},
		{name: "one that has completed", row: rowsOf(testcr("a", nil, with("x"), completed))[0], want: []string{logs, describe}},
		{name: "one without containers", row: rowsOf(testcr("a", nil))[0], want: []string{describe}},
		{name: "one that is gone", row: row{testcr: testcr("a", nil, with("x")), event: eventDeleted}},
		{name: "a container that no command can name", row: rowsOf(testcr("a", nil, with("$(reboot)", "y")))[0], want: []string{logs + "-n shop a -c y", exec, describe}},
		{name: "a Pod that no command can name", row: rowsOf(testcr("a;reboot", nil, with("x")))[0]},
		{name: "a context that needs quotes", row: row{context: "a b;'c'", testcr: testcr("a", nil)}, want: []string{`kubectl describe pod --context='a b;'\''c'\''' -n shop a`}},
		{name: "a context that does not print", row: row{context: "a\x1b", testcr: testcr("a", nil)}},
		{name: "flags that choose the cluster", row: rowsOf(testcr("a", nil))[0], args: []string{"--kubeconfig=f", "--context=c", "--as-group=g", "--as-group=h", "--request-timeout=5s", "-n", "x"},
			want: []string{"kubectl describe pod --kubeconfig=f --context=c --as-group=g --as-group=h -n shop a"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := cardOf(test.row, 0, test.args...)
			_, text, _ = strings.Cut(text, "\nNext")
			got := strings.Split(strings.TrimSpace(text), "\n")
			if text == "" {
				got = nil
			}
			isPrefix := func(a, b string) bool {
				return strings.HasPrefix(strings.TrimSpace(b), a) || strings.HasPrefix(strings.TrimSpace(a), b)
			}
			if diff := cmp.Diff(test.want, got, cmp.Comparer(isPrefix)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCard_Bounds gives a card all that a stranger can put into a Testcr.
func TestCard_Bounds(t *testing.T) {
	hostile := "x\x1b[2J\u202e\nforged" + strings.Repeat(" long日", 300)
	c := testcr("a", nil)
	s := &c.Spec
	s.NodeName, s.Phase, s.Status, s.ReadyContainers, s.HostIP, s.WorkloadKind, s.WorkloadName = hostile, hostile, hostile, hostile, hostile, hostile, hostile
	s.OwnerName, s.ServiceAccount, s.Hostname, s.Subdomain, s.PodUID, s.NodeUID = hostile, hostile, hostile, hostile, hostile, hostile
	s.Truncated, s.Labels = true, map[string]string{}
	for i := range 1000 {
		s.Labels[fmt.Sprint(i, hostile)] = hostile
		s.PodIPs, s.HostIPs = append(s.PodIPs, hostile), append(s.HostIPs, hostile)
		s.NetworkIPs = append(s.NetworkIPs, v1.NetworkIP{IP: hostile, Network: hostile})
		s.Containers = append(s.Containers, v1.Container{Name: hostile, Image: hostile, ID: hostile, ImageID: hostile, PreviousID: hostile, PreviousReason: hostile, Kind: hostile})
	}
	for _, width := range []int{0, 1, 20, 80} {
		text := cardOf(row{cluster: hostile, testcr: c, via: hostile}, width)
		if len(text) > 100_000 || strings.Count(text, "\n") > 10_000 {
			t.Errorf("in %d columns it has %d bytes, %d lines", width, len(text), strings.Count(text, "\n"))
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) || strings.Contains(text, "\nforged") {
			t.Errorf("in %d columns it controls the terminal: %q", width, text)
		}
		if width == 1 || width == 20 { // words are on lines of their own
			continue
		}
		for _, want := range []string{"and 990 more\n", "and 992 more containers: -o json has all\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("in %d columns there is no %q", width, want)
			}
		}
	}
}

func TestImageID(t *testing.T) {
	tests := []struct{ image, id, want string }{
		{"nginx:1.29", "docker.io/library/nginx@" + cardDigest, cardDigest},
		{"grafana/loki", "docker.io/grafana/loki@" + cardDigest, cardDigest},
		{"localhost:5000/x", "localhost:5000/x@" + cardDigest, cardDigest},
		{"nginx@" + cardDigest, "docker-pullable://nginx@" + cardDigest, cardDigest},
		{"nginx:1.29", "mirror.example.com/nginx@" + cardDigest, "mirror.example.com/nginx@" + cardDigest},
		{"nginx:1.29", cardDigest, cardDigest},
		{"", "nginx@" + cardDigest, "nginx@" + cardDigest},
		{"nginx", "", ""},
	}
	for _, test := range tests {
		if got := imageID(&v1.Container{Image: test.image, ImageID: test.id}); got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.image, test.id, got, test.want)
		}
	}
}

func TestCard_OfSeveral(t *testing.T) {
	rows := rowsOf(testcr("a", nil), testcr("b", nil, func(pod *corev1.Pod) { pod.UID = types.UID("") }))
	text := printed(t, options{output: cardFormat}, shape{several: true}, rows[:1], rows[1:])
	if strings.Count(text, "Query      q\n") != 2 || !strings.Contains(text, "\n\nQuery      q\nPod        shop/b\n") {
		t.Error(text)
	}
}
