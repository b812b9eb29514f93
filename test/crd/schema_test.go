package crd_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func resource() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

// TestCRD_Older: the API server prunes a field that its CRD lacks, so no
// write can make the Testcr right. That is reported once and not retried for ever.
func TestCRD_Older(t *testing.T) {
	namespace := env.Namespace(t, "")
	env.ChangeCRD(t, func(v *apiextensionsv1.CustomResourceDefinitionVersion) {
		spec := v.Schema.OpenAPIV3Schema.Properties["spec"]
		delete(spec.Properties, "containers")
		delete(spec.Properties, "ownername")
	})
	env.Stores(t, testenv.Whole(map[string]any{"ownername": "x"}), func(stored any) bool {
		spec, ok := stored.(map[string]any)
		return ok && spec["ownername"] == nil
	})
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

// TestCRD_StoredNonsense: what an earlier, laxer CRD let in.
func TestCRD_StoredNonsense(t *testing.T) {
	namespace := env.Namespace(t, "")
	createPods(t, namespace, 1)
	pods, err := env.Clients.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := desired.FromPod(&pods.Items[0])
	env.WhileAnyShape(t, func() {
		u := testenv.Object(want)
		spec := u.Object["spec"].(map[string]any)
		spec["ready"], spec["podips"], spec["unknown"] = "yes", map[string]any{"a": int64(1)}, []any{1.5}
		if _, err := resource().Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	start(t, namespace).Ready(t)
	testenv.Eventually(t, func(ctx context.Context) error {
		got, err := resource().Get(ctx, want.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if diff := cmp.Diff(testenv.Object(want).Object["spec"], got.Object["spec"]); diff != "" {
			return fmt.Errorf("spec (-want +got):\n%s", diff)
		}
		return nil
	})
}
