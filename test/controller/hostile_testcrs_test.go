package controller_test

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var ours = map[string]string{v1.LabelManagedBy: v1.ManagedBy}

// each returns a spec with one value in every field there is.
func each(value any) map[string]any {
	spec := map[string]any{}
	for _, field := range []string{
		"podkey", "podname", "poduid", "podip", "podips", "namespace", "nodename", "hostip", "phase", "hostnetwork", "ready", "terminating",
		"ownerkind", "ownername", "workloadkind", "workloadname", "serviceaccount", "createdat", "startedat", "labels", "containers",
	} {
		spec[field] = value
	}
	return spec
}

func plant(t *testing.T, name string, labels map[string]string, object map[string]any) {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "stable.example.com/v1", "kind": "Testcr"}}
	maps.Copy(u.Object, object)
	u.SetName(name)
	u.SetLabels(labels)
	if _, err := testcrs().Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
		t.Fatalf("%v: %v", object, err)
	}
}

func runningPod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod, err := createWith(t.Context(), env.Clients, namespace, ordinary(name), runningAt("10.0.3.1"))
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

// gone waits until there is no Testcr of this name.
func gone(t *testing.T, name string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		if _, err := testcrs().Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is still there"), err)
		}
		return nil
	})
}

func TestTestcr_WrongShape(t *testing.T) {
	namespace := env.Namespace(t, "")
	deep := map[string]any{}
	for range 100 {
		deep = map[string]any{"a": []any{deep}}
	}
	tests := []struct {
		name   string
		object map[string]any
	}{
		{name: "no-spec"},
		{name: "spec-null", object: map[string]any{"spec": nil}},
		{name: "spec-text", object: map[string]any{"spec": "text"}},
		{name: "spec-list", object: map[string]any{"spec": []any{map[string]any{"podkey": "a/b"}}}},
		{name: "spec-empty", object: map[string]any{"spec": map[string]any{}}},
		{name: "texts", object: map[string]any{"spec": each("text")}},
		{name: "numbers", object: map[string]any{"spec": each(int64(-1))}},
		{name: "fractions", object: map[string]any{"spec": each(1e300)}},
		{name: "truths", object: map[string]any{"spec": each(true)}},
		{name: "lists", object: map[string]any{"spec": each([]any{nil, "x", int64(1), []any{}})}},
		{name: "objects", object: map[string]any{"spec": each(map[string]any{"": map[string]any{}})}},
		{name: "times", object: map[string]any{"spec": map[string]any{"createdat": "0000-99-99T99:99:99Z", "startedat": "yesterday"}}},
		{name: "deep", object: map[string]any{"spec": deep, "status": deep}},
		{name: "large", object: map[string]any{"spec": map[string]any{"podkey": strings.Repeat("k", 1<<20)}}},
		{name: "other-key", object: map[string]any{"spec": map[string]any{"podkey": "elsewhere/other"}}},
	}
	pods := make([]*corev1.Pod, len(tests))
	for i, test := range tests {
		pods[i] = runningPod(t, namespace, test.name)
	}
	orphan := nameFor(namespace, "orphan")
	env.WhileAnyShape(t, func() {
		for _, test := range tests {
			plant(t, nameFor(namespace, test.name), ours, test.object)
		}
		plant(t, orphan, ours, map[string]any{"spec": "text"})
	})
	p := start(t, "")
	for _, pod := range pods {
		follows(t, pod)
	}
	gone(t, orphan)
	verified(t, "")
	stop(t, p, nil)
}

// TestTestcr_OfTheArticle: its program wrote four fields, each one place off, and
// no label. One of the right podkey is adopted. Another may be anybody's: it is
// told of, and what the line says to do helps.
func TestTestcr_OfTheArticle(t *testing.T) {
	namespace := env.Namespace(t, "")
	right, shifted, next := runningPod(t, namespace, "right"), runningPod(t, namespace, "shifted"), runningPod(t, namespace, "next")
	orphan := nameFor(namespace, "orphan")
	of := func(podip, podkey, podname, poduid string) map[string]any {
		return map[string]any{"spec": map[string]any{"podip": podip, "podkey": podkey, "podname": podname, "poduid": poduid}}
	}
	env.WhileAnyShape(t, func() {
		plant(t, nameFor(namespace, "right"), nil, of("", namespace+"/right", "right", "u"))
		plant(t, nameFor(namespace, "shifted"), nil, of("shifted", string(shifted.UID), nameFor(namespace, "shifted"), ""))
		plant(t, orphan, nil, of("orphan", "u", orphan, ""))
	})
	const told = "A Testcr that is not ours has the name that a Pod needs; it is left alone: " +
		"delete it, or give it the label app.kubernetes.io/managed-by=podinfolookup"
	p := start(t, "")
	follows(t, right)
	follows(t, next)
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has(told) })
	comparison := testenv.Command(t, binary, "verify", "--kubeconfig="+env.Kubeconfig, "--settle=1s", "--namespace="+namespace).Start(t)
	if code := comparison.Wait(t, verifyWithin); code != 1 || comparison.Stdout.Has("foreign   "+namespace+"/shifted") != nil {
		t.Errorf("verify: exit code %d: %s%s", code, comparison.Stdout, comparison.Stderr)
	}

	label := exec.CommandContext(t.Context(), filepath.Join(testenv.Root(), ".cluster", "bin", "kubectl"), "--kubeconfig="+env.AdminKubeconfig,
		"label", "testcr", "-l", "!app.kubernetes.io/managed-by", "app.kubernetes.io/managed-by=podinfolookup")
	label.Env = []string{"HOME=" + t.TempDir()}
	if out, err := label.CombinedOutput(); err != nil {
		t.Fatalf("kubectl label: %v\n%s", err, out)
	}
	follows(t, shifted)
	gone(t, orphan)
	verified(t, "")
	stop(t, p, map[string]int{told: 1})
}
