package controller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// verifyWithin is how long one comparison may take on a loaded machine.
const verifyWithin = time.Minute

// start runs the program for one namespace, or for all, until it is ready.
func start(t *testing.T, namespace string) *testenv.Program {
	t.Helper()
	args := []string{"--kubeconfig=" + env.Kubeconfig, "--bind-address=127.0.0.1:0"}
	return testenv.Command(t, binary, append(args, scope(namespace)...)...).Start(t).Ready(t)
}

func scope(namespace string) []string {
	if namespace == "" {
		return nil
	}
	return []string{"--namespace=" + namespace}
}

// stop ends the program and holds what it logged to what may be there: some ten
// lines of its start and stop, and as many errors as told has, by their texts.
func stop(t *testing.T, p *testenv.Program, told map[string]int) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	const others = 12
	lines, errors, want := strings.Count(p.Stderr.String(), "\n"), 0, 0
	for text, n := range told {
		want += n
		if got := strings.Count(p.Stderr.String(), text); got != n {
			t.Errorf("%q was told %d times, want %d", text, got, n)
		}
	}
	for line := range strings.Lines(p.Stderr.String()) {
		if strings.HasPrefix(line, "E") || strings.HasPrefix(line, "W") {
			errors++
		}
	}
	if errors != want || lines > want+others {
		t.Errorf("%d lines are logged, %d of them errors, want %d", lines, errors, want)
	}
}

// verified has the program's own comparison find nothing in a namespace, or in all.
func verified(t *testing.T, namespace string, flags ...string) {
	t.Helper()
	args := slices.Concat([]string{"verify", "--kubeconfig=" + env.Kubeconfig, "--settle=1s"}, scope(namespace), flags)
	p := testenv.Command(t, binary, args...).Start(t)
	if code := p.Wait(t, verifyWithin); code != 0 {
		t.Errorf("verify: exit code %d, standard output:\n%s\nstandard error:\n%s", code, p.Stdout, p.Stderr)
	}
}

func ordinary(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "main", Image: "main:1"}}},
	}
}

func runningAt(ip string) func(*corev1.PodStatus) {
	return func(s *corev1.PodStatus) {
		s.Phase, s.PodIP, s.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	}
}

// createWith creates a Pod and sets its status as a kubelet does.
func createWith(ctx context.Context, clients kubernetes.Interface, namespace string, pod *corev1.Pod, status func(*corev1.PodStatus)) (*corev1.Pod, error) {
	pod, err := clients.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil || status == nil {
		return pod, err
	}
	status(&pod.Status)
	updated, err := clients.CoreV1().Pods(namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	if err != nil {
		return pod, fmt.Errorf("status: %w", err)
	}
	return updated, nil
}

func removePod(t *testing.T, namespace, name string) {
	t.Helper()
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := env.Clients.CoreV1().Pods(namespace).Delete(t.Context(), name, options); err != nil {
		t.Fatal(err)
	}
}

func nameFor(namespace, pod string) string {
	return v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, pod)))
}

// follows waits until the Testcr of a Pod is of its UID and has its phase and IP,
// the phase within the bounds.
func follows(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		got, err := testcrs().Get(ctx, nameFor(pod.Namespace, pod.Name), metav1.GetOptions{})
		if err != nil {
			return err
		}
		spec, _ := got.Object["spec"].(map[string]any)
		ip, _ := spec["podip"].(string)
		phase, _ := spec["phase"].(string)
		if want, _ := oracle.String(string(pod.Status.Phase)); spec["poduid"] != string(pod.UID) || phase != want || ip != pod.Status.PodIP {
			return fmt.Errorf("the Testcr of %s/%s says %v", pod.Namespace, pod.Name, spec)
		}
		return nil
	})
}

// hasSpec is a condition: a Testcr has a value in a field.
func hasSpec(namespace, pod, field string, want any) func(context.Context) error {
	return func(ctx context.Context) error {
		u, err := testcrs().Get(ctx, nameFor(namespace, pod), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got, _, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", field); got != want {
			return fmt.Errorf("%s is %v, want %v", field, got, want)
		}
		return nil
	}
}

// hasLabel is a condition: a Testcr has a label.
func hasLabel(namespace, pod, label, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		u, err := testcrs().Get(ctx, nameFor(namespace, pod), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got, ok := u.GetLabels()[label]; !ok || got != want {
			return fmt.Errorf("the labels are %v, want %s=%q", u.GetLabels(), label, want)
		}
		return nil
	}
}
