package commandcrd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// updateCRD changes the CRD until the end of the test. The API server may go by
// the old one for a moment: see stores.
func updateCRD(t *testing.T, change func(*apiextensionsv1.CustomResourceDefinitionVersion)) {
	t.Helper()
	update := func(ctx context.Context, change func(*apiextensionsv1.CustomResourceDefinitionVersion)) error {
		crds := env.Extensions.ApiextensionsV1().CustomResourceDefinitions()
		live, err := crds.Get(ctx, podinfolookup.GroupVersionResource.GroupResource().String(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		crd, err := testenv.CRD()
		if err != nil {
			return err
		}
		change(&crd.Spec.Versions[0])
		live.Spec.Versions = crd.Spec.Versions
		_, err = crds.Update(ctx, live, metav1.UpdateOptions{})
		return err
	}
	if err := update(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := update(context.WithoutCancel(t.Context()), func(*apiextensionsv1.CustomResourceDefinitionVersion) {}); err != nil {
			t.Error(err)
		}
	})
}

// stores waits until the API server goes by a new schema: until it accepts a
// Testcr with this spec and what it stores of it is as accepted says.
func stores(t *testing.T, spec map[string]any, accepted func(stored map[string]any) bool) {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "stable.example.com/v1", "kind": "Testcr", "spec": spec}}
	u.SetName("probe")
	testenv.Eventually(t, func(ctx context.Context) error {
		stored, err := resource().Create(ctx, u, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if err := resource().Delete(ctx, "probe", metav1.DeleteOptions{}); err != nil {
			return err
		}
		if spec, ok := stored.Object["spec"].(map[string]any); !ok || !accepted(spec) {
			return errors.New("the API server goes by the old schema")
		}
		return nil
	})
}

func resource() interface {
	Create(context.Context, *unstructured.Unstructured, metav1.CreateOptions, ...string) (*unstructured.Unstructured, error)
	Delete(context.Context, string, metav1.DeleteOptions, ...string) error
	Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error)
	List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error)
} {
	return env.Dynamic.Resource(podinfolookup.GroupVersionResource)
}

func specOf(name, namespace string) map[string]any {
	return map[string]any{
		"podkey": namespace + "/" + name, "podname": name, "poduid": "u", "namespace": namespace,
		"hostnetwork": false, "ready": false, "terminating": false, "ownername": "x",
	}
}

// TestAnOlderCRDIsToldOf: the API server drops a field that it does not know, so
// no write can make the Testcr right. That is said once and not tried for ever.
func TestAnOlderCRDIsToldOf(t *testing.T) {
	namespace := env.Namespace(t, "")
	updateCRD(t, func(v *apiextensionsv1.CustomResourceDefinitionVersion) {
		spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
		delete(spec.Properties, "containers")
		delete(spec.Properties, "ownername")
	})
	stores(t, specOf("probe", namespace), func(stored map[string]any) bool { return stored["ownername"] == nil })
	p := start(t, namespace).Ready(t)
	createPods(t, namespace, 1)
	hasTestcrs(t, namespace, 1)
	const told = "the CRD may be older than this program, kubectl apply -f yaml/testcrd.yaml"
	toldOnce(t, p, told, 1)
	createPods(t, namespace, 4)
	hasTestcrs(t, namespace, 5)
	toldOnce(t, p, told, 1)
	list, err := resource().List(t.Context(), metav1.ListOptions{FieldSelector: "spec.namespace=" + namespace})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range list.Items {
		if u.GetGeneration() != 1 {
			t.Errorf("%s was changed %d times", u.GetName(), u.GetGeneration()-1)
		}
	}
}

// TestStoredNonsenseIsWrittenAnew: what an earlier, laxer CRD let in.
func TestStoredNonsenseIsWrittenAnew(t *testing.T) {
	namespace := env.Namespace(t, "")
	createPods(t, namespace, 1)
	pods, err := env.Clients.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := podinfolookup.FromPod(&pods.Items[0])
	func() {
		yes := true
		updateCRD(t, func(v *apiextensionsv1.CustomResourceDefinitionVersion) {
			v.SelectableFields, v.AdditionalPrinterColumns = nil, nil
			v.Schema.OpenAPIV3Schema.Properties["spec"] = apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &yes}
		})
		stores(t, map[string]any{"ready": "yes"}, func(stored map[string]any) bool { return stored["ready"] == "yes" })
		u := want.Encode()
		u.Object["spec"].(map[string]any)["ready"] = "yes"
		u.Object["spec"].(map[string]any)["podips"] = map[string]any{"a": int64(1)}
		u.Object["spec"].(map[string]any)["unknown"] = []any{1.5}
		if _, err := resource().Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}()
	updateCRD(t, func(*apiextensionsv1.CustomResourceDefinitionVersion) {})
	stores(t, specOf("probe", namespace), func(stored map[string]any) bool { return stored["ownername"] == "x" })
	start(t, namespace).Ready(t)
	testenv.Eventually(t, func(ctx context.Context) error {
		got, err := resource().Get(ctx, want.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want.Encode().Object["spec"], got.Object["spec"]); diff != "" {
			return fmt.Errorf("spec (-want +got):\n%s", diff)
		}
		return nil
	})
}
