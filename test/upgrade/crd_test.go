package upgrade_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func start(t *testing.T, namespace string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, binary, "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace, "--bind-address=127.0.0.1:0").Start(t).Ready(t)
}

// hasField waits until the Testcr of a Pod has a field, or lacks it.
func hasField(t *testing.T, namespace, pod, field string, want bool) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := testcrs().Get(ctx, nameFor(namespace, pod), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, has, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", field); has != want {
			return fmt.Errorf("%s: %t, want %t", field, has, want)
		}
		return nil
	})
}

// stored says whether what the API server has stored of a probe has a field.
func stored(field string, want bool) func(any) bool {
	return func(spec any) bool {
		fields, ok := spec.(map[string]any)
		_, has := fields[field]
		return ok && has == want
	}
}

const told = "The API server stored something other than what was written: " +
	"the CRD may be older than this program, kubectl apply -f yaml/testcrd.yaml"

func TestUpgrade_OlderCRD(t *testing.T) {
	namespace := env.Namespace(t, "")
	older := func(v *apiextensionsv1.CustomResourceDefinitionVersion) {
		spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
		for _, field := range []string{"labels", "workloadkind", "workloadname"} {
			delete(spec.Properties, field)
		}
	}
	probe := testenv.Whole(map[string]any{"workloadkind": "x"})
	env.ChangeCRD(t, older)
	env.Stores(t, probe, stored("workloadkind", false))
	p := start(t, namespace)
	pods := env.Clients.CoreV1().Pods(namespace)
	for i := range 5 {
		_, err := pods.Create(t.Context(), newPod(fmt.Sprintf("pod-%d", i)), metav1.CreateOptions{})
		must(t, err)
		hasField(t, namespace, fmt.Sprintf("pod-%d", i), "podkey", true)
	}
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has(told) })
	must(t, pods.Delete(t.Context(), "pod-0", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}))

	env.ChangeCRD(t, nil)
	env.Stores(t, probe, stored("workloadkind", true))
	for i := 1; i < 5; i++ {
		hasField(t, namespace, fmt.Sprintf("pod-%d", i), "labels", true)
	}
	verified(t, namespace)
	if n := strings.Count(p.Stderr.String(), told); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	if n := strings.Count(p.Stderr.String(), "unknown field"); n != 1 {
		t.Errorf("the API server's warning was told %d times", n)
	}

	// A second time it is reported again.
	env.ChangeCRD(t, older)
	env.Stores(t, probe, stored("workloadkind", false))
	_, err := pods.Create(t.Context(), newPod("late"), metav1.CreateOptions{})
	must(t, err)
	testenv.Eventually(t, func(context.Context) error {
		if n := strings.Count(p.Stderr.String(), told); n != 2 {
			return fmt.Errorf("it was told %d times, want twice", n)
		}
		return nil
	})
}

// TestUpgrade_NewerCRD: a field that is optional is no business of a
// program that does not know it, until it holds something: what a newer program
// wrote goes when this one writes.
func TestUpgrade_NewerCRD(t *testing.T) {
	namespace := env.Namespace(t, "")
	env.ChangeCRD(t, func(v *apiextensionsv1.CustomResourceDefinitionVersion) {
		spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
		spec.Properties["zone"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
		v.AdditionalPrinterColumns = append(v.AdditionalPrinterColumns,
			apiextensionsv1.CustomResourceColumnDefinition{Name: "Zone", Type: "string", JSONPath: ".spec.zone"})
	})
	env.Stores(t, testenv.Whole(map[string]any{"zone": "x"}), stored("zone", true))
	p := start(t, namespace)
	_, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), newPod("web"), metav1.CreateOptions{})
	must(t, err)
	hasField(t, namespace, "web", "labels", true)
	patch := []byte(`{"spec":{"zone":"a"}}`)
	_, err = testcrs().Patch(t.Context(), nameFor(namespace, "web"), "application/merge-patch+json", patch, metav1.PatchOptions{})
	must(t, err)
	hasField(t, namespace, "web", "zone", false)
	verified(t, namespace)
	if strings.Contains(p.Stderr.String(), "\nE") {
		t.Errorf("errors are logged:\n%s", p.Stderr)
	}
}
