package auditor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// TestPlantedBugsAreFound plays a controller by hand, on a real API server. Each
// bug is put right before the end, so that only the order of writes shows it,
// unless it is one that is to be seen at rest.
func TestPlantedBugsAreFound(t *testing.T) {
	tests := []struct {
		name string
		play func(*testing.T, *corev1.Pod)
		want auditor.Kind // "" for none
	}{
		{"none: a life by the book", func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); put(t, run(t, p, "10.0.0.1")) }, ""},
		{"the Testcr of a live Pod is deleted", func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); drop(t, p); put(t, p) }, auditor.DeletedLive},
		{"a UID that the Pod never had", func(t *testing.T, p *corev1.Pod) { t.Helper(); write(t, forged(p, "poduid", "nobody's")); put(t, p) }, auditor.NeverHadUID},
		{"an IP that the Pod never had", func(t *testing.T, p *corev1.Pod) { t.Helper(); write(t, forged(p, "podip", "10.9.9.9")); put(t, p) }, auditor.NeverHadIP},
		{"a node that the Pod was never on", func(t *testing.T, p *corev1.Pod) { t.Helper(); write(t, forged(p, "nodename", "moon")); put(t, p) }, auditor.NeverHadValue},
		{"an older value after a newer one", func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			put(t, p)
			running := run(t, p, "10.0.0.1")
			put(t, running)
			put(t, p)
			put(t, running)
		}, auditor.WentBack},
		{"a value before the Pod has it", func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			later := p.DeepCopy()
			later.Status.Phase, later.Status.PodIP, later.Status.PodIPs = corev1.PodRunning, "10.0.0.1", []corev1.PodIP{{IP: "10.0.0.1"}}
			put(t, later)
			run(t, p, "10.0.0.1")
		}, auditor.TooEarly},
		{"a Testcr that comes back after its Pod", func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			put(t, p)
			remove(t, p)
			drop(t, p)
			put(t, p)
			drop(t, p)
		}, auditor.WentBack},
		{"a Pod without a Testcr at rest", func(t *testing.T, _ *corev1.Pod) { t.Helper() }, auditor.Missing},
		{"an orphan at rest", func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); remove(t, p) }, auditor.Orphan},
		{"an old value at rest", func(t *testing.T, p *corev1.Pod) { t.Helper(); put(t, p); run(t, p, "10.0.0.1") }, auditor.Differs},
		{"two Testcrs of one Pod at rest", func(t *testing.T, p *corev1.Pod) {
			t.Helper()
			put(t, p)
			second := testenv.Object(desired.FromPod(p))
			second.SetName("0123456789abcdef0123456789abcdef")
			write(t, second)
			t.Cleanup(func() {
				_ = testcrs().Delete(context.WithoutCancel(t.Context()), second.GetName(), metav1.DeleteOptions{}) // of a test that has ended
			})
		}, auditor.Duplicate},
	}
	for i, test := range append(tests, tests...) {
		epoch := i / len(tests)
		t.Run(fmt.Sprintf("%s, in epoch %d", test.name, epoch), func(t *testing.T) {
			a := watch(t)
			if epoch > 0 {
				a.Restored()
				testenv.Eventually(t, func(context.Context) error { return a.Synced() })
			}
			must(t, a.AtRest(t.Context(), rest)) // what was before is no excuse
			pod := create(t, env.Namespace(t, ""), fmt.Sprint("pod-", i))
			test.play(t, pod)
			must(t, a.AtRest(t.Context(), rest))
			report := a.Report()
			if len(report.Epochs) != epoch {
				t.Errorf("%d restores are reported, want %d", len(report.Epochs), epoch)
			}
			found := slices.ContainsFunc(report.Findings, func(f auditor.Finding) bool { return f.Kind == test.want })
			if found != (test.want != "") || !found && report.Found > 0 {
				t.Errorf("want %q, found %s", test.want, report.Markdown())
			}
			cleanUp(t, pod)
		})
	}
}

// cleanUp leaves nothing for the next case to find.
func cleanUp(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	_ = env.Clients.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	_ = testcrs().Delete(t.Context(), nameOf(pod), metav1.DeleteOptions{})
}

// TestTheControllerPassesTheAudit has the real one follow Pods while somebody
// else, who owns up to it, writes Testcrs too.
func TestTheControllerPassesTheAudit(t *testing.T) {
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
