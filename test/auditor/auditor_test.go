package auditor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/auditor"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

// rest is how long the two sides get to be equal on a loaded machine; a planted
// bug is waited for as long.
const rest = 2 * time.Second

// watch starts an auditor.
func watch(t *testing.T) *auditor.Auditor {
	t.Helper()
	a, err := auditor.New(env.AdminConfig, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Run(ctx)
	}()
	t.Cleanup(func() { stop(); <-ended })
	testenv.Eventually(t, func(context.Context) error { return a.Synced() })
	return a
}

func testcrs() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

func create(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nginx:1.29"}}},
	}
	pod, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	must(t, err)
	return pod
}

func run(t *testing.T, pod *corev1.Pod, ip string) *corev1.Pod {
	t.Helper()
	pod = pod.DeepCopy()
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	pod, err := env.Clients.CoreV1().Pods(pod.Namespace).UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
	must(t, err)
	return pod
}

func remove(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	must(t, env.Clients.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes what a controller would have written for a Pod in this state.
func put(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	write(t, testenv.Object(desired.FromPod(pod)))
}

func write(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	have, err := testcrs().Get(t.Context(), u.GetName(), metav1.GetOptions{})
	if err == nil {
		u.SetResourceVersion(have.GetResourceVersion())
		_, err = testcrs().Update(t.Context(), u, metav1.UpdateOptions{})
	} else {
		_, err = testcrs().Create(t.Context(), u, metav1.CreateOptions{})
	}
	must(t, err)
}

func drop(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	must(t, testcrs().Delete(t.Context(), nameOf(pod), metav1.DeleteOptions{}))
}

func nameOf(pod *corev1.Pod) string {
	return v1.NameFor(types.NamespacedName(cache.NewObjectName(pod.Namespace, pod.Name)))
}

func forged(pod *corev1.Pod, field, value string) *unstructured.Unstructured {
	u := testenv.Object(desired.FromPod(pod))
	u.Object["spec"].(map[string]any)[field] = value
	return u
}

// TestAuditor_FindsPlantedBugs plays a controller by hand, on a real API server.
// Each bug is put right before the end, so that only the order of writes shows it,
// unless it is one that is to be seen at rest. Each case has a Pod of its own, so
// one auditor watches all of them, and comes to rest once.
func TestAuditor_FindsPlantedBugs(t *testing.T) {
	tests := []struct {
		name string
		play func(*testing.T, *corev1.Pod)
		want auditor.Kind // "" for none
	}{
		{name: "none: a life by the book", play: func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); put(t, run(t, p, "10.0.0.1")) }},
		{name: "the Testcr of a live Pod is deleted", play: func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); drop(t, p); put(t, p) }, want: auditor.DeletedLive},
		{name: "a UID that the Pod never had", play: func(t *testing.T, p *corev1.Pod) { t.Helper(); write(t, forged(p, "poduid", "nobody's")); put(t, p) }, want: auditor.NeverHadUID},
		{name: "an IP that the Pod never had", play: func(t *testing.T, p *corev1.Pod) { t.Helper(); write(t, forged(p, "podip", "10.9.9.9")); put(t, p) }, want: auditor.NeverHadIP},
		{name: "a node that the Pod was never on", play: func(t *testing.T, p *corev1.Pod) { t.Helper(); write(t, forged(p, "nodename", "moon")); put(t, p) }, want: auditor.NeverHadValue},
		{name: "an older value after a newer one", play: func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			put(t, p)
			running := run(t, p, "10.0.0.1")
			put(t, running)
			put(t, p)
			put(t, running)
		}, want: auditor.WentBack},
		{name: "a value before the Pod has it", play: func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			later := p.DeepCopy()
			later.Status.Phase, later.Status.PodIP, later.Status.PodIPs = corev1.PodRunning, "10.0.0.1", []corev1.PodIP{{IP: "10.0.0.1"}}
			put(t, later)
			run(t, p, "10.0.0.1")
		}, want: auditor.TooEarly},
		{name: "a Testcr that comes back after its Pod", play: func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			put(t, p)
			remove(t, p)
			drop(t, p)
			put(t, p)
			drop(t, p)
		}, want: auditor.WentBack},
		{name: "a Pod without a Testcr at rest", play: func(t *testing.T, _ *corev1.Pod) { t.Helper() }, want: auditor.Missing},
		{name: "an orphan at rest", play: func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); remove(t, p) }, want: auditor.Orphan},
		{name: "an old value at rest", play: func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); run(t, p, "10.0.0.1") }, want: auditor.Differs},
		{name: "two Testcrs of one Pod at rest", play: func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			put(t, p)
			second := testenv.Object(desired.FromPod(p))
			second.SetName("0123456789abcdef0123456789abcdef")
			write(t, second)
			t.Cleanup(func() { // at the end of the epoch
				_ = testcrs().Delete(context.WithoutCancel(t.Context()), second.GetName(), metav1.DeleteOptions{})
			})
		}, want: auditor.Duplicate},
	}
	for epoch := range 2 {
		t.Run(fmt.Sprint("epoch ", epoch), func(t *testing.T) {
			a := watch(t)
			if epoch > 0 {
				a.Restored()
				testenv.Eventually(t, func(context.Context) error { return a.Synced() })
			}
			must(t, a.AtRest(t.Context(), rest)) // what was before is no excuse
			namespace := env.Namespace(t, "")
			pods := make([]*corev1.Pod, len(tests))
			for i, test := range tests {
				pods[i] = create(t, namespace, fmt.Sprintf("pod-%02d", i)) // none is the begin of another
				test.play(t, pods[i])
			}
			must(t, a.AtRest(t.Context(), rest))
			report := a.Report()
			if len(report.Epochs) != epoch {
				t.Errorf("%d restores are reported, want %d", len(report.Epochs), epoch)
			}
			found := len(report.Findings)
			for i, test := range tests {
				t.Run(test.name, func(t *testing.T) {
					of := slices.DeleteFunc(slices.Clone(report.Findings), func(f auditor.Finding) bool { return !isOf(f, pods[i]) })
					found -= len(of)
					if test.want == "" && len(of) == 0 {
						return
					}
					if !slices.ContainsFunc(of, func(f auditor.Finding) bool { return f.Kind == test.want }) {
						t.Errorf("want %q, found %v", test.want, of)
					}
				})
				cleanUp(t, pods[i])
			}
			if found != 0 {
				t.Errorf("%d findings are of no case: %s", found, report.Markdown())
			}
		})
	}
}

// isOf reports whether a finding names a Pod, be it only in the Testcr that it quotes.
func isOf(f auditor.Finding, pod *corev1.Pod) bool {
	return strings.Contains(f.String(), pod.Namespace+"/"+pod.Name)
}

// cleanUp leaves nothing for the next epoch to find.
func cleanUp(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	_ = env.Clients.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	_ = testcrs().Delete(t.Context(), nameOf(pod), metav1.DeleteOptions{})
}

// TestAuditor_PassesTheController has the real one follow Pods while somebody
// else, who owns up to it, writes Testcrs too.
func TestAuditor_PassesTheController(t *testing.T) {
	namespace := env.Namespace(t, "")
	program := testenv.Command(t, binary, "--kubeconfig="+env.Kubeconfig, "--bind-address=127.0.0.1:0").Start(t).Ready(t)
	a := watch(t)
	churn := func(round int) {
		for i := range 10 {
			pod := run(t, create(t, namespace, fmt.Sprint("pod-", i)), fmt.Sprintf("10.0.%d.%d", round, i))
			settled(t, a) // else most Pods would be gone before they are written
			if i%2 == 0 {
				remove(t, pod)
				pod = create(t, namespace, pod.Name)
			}
			if i < 8 {
				remove(t, pod)
			}
		}
	}
	churn(1)
	settled(t, a)
	left := v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, "pod-9")))
	u, err := testcrs().Patch(t.Context(), left, types.MergePatchType, []byte(`{"spec":{"podip":"10.9.9.9"}}`), metav1.PatchOptions{})
	must(t, err)
	a.AllowWrite(u.GetResourceVersion())
	settled(t, a)
	must(t, testcrs().Delete(t.Context(), left, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(u.GetUID()))}))
	a.AllowDelete(string(u.GetUID()))
	settled(t, a)
	for _, name := range []string{"pod-8", "pod-9"} {
		must(t, env.Clients.CoreV1().Pods(namespace).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))
	}

	churn(2)
	must(t, a.AtRest(t.Context(), testenv.Patience))
	must(t, program.Running())
	report := a.Report()
	t.Log(report.Markdown())
	if report.Found > 0 || report.Judged < 20 || report.Judged != report.Writes {
		t.Error(report.Markdown())
	}
}

// settled waits until Testcrs are what their Pods call for.
func settled(t *testing.T, a *auditor.Auditor) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		if n, _, some := a.Drift(); n > 0 {
			return errors.New(fmt.Sprint(some))
		}
		return nil
	})
}
