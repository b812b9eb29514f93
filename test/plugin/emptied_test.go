package plugin_test

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// TestQuery_KeptByAFinalizer: of a Testcr that outlives its Pod the name is left.
// It is no Pod, whichever way it is asked for.
func TestQuery_KeptByAFinalizer(t *testing.T) {
	create(t, pod("held/other", "10.6.0.7"))
	name := v1.NameFor(types.NamespacedName(cache.NewObjectName("held", "gone")))
	held := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "stable.example.com/v1", "kind": "Testcr",
		"spec": map[string]any{
			"podkey": "held/gone", "podname": "gone", "poduid": "", "namespace": "held", "hostnetwork": false, "ready": false, "terminating": true,
		},
	}}
	held.SetName(name)
	held.SetFinalizers([]string{"example.com/hold"})
	held.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "podinfolookup", "stable.example.com/namespace": "held"})
	if _, err := testcrs().Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, err := testcrs().Patch(context.WithoutCancel(t.Context()), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	if err := testcrs().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	live, err := testcrs().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cached(t, name, live.GetResourceVersion())

	for _, args := range [][]string{{"held/gone"}, {"--by=name", "gone"}, {"--by=name", "gone", "-n", "held"}} {
		if got := run(t, env.Kubeconfig, "", append(args, keys...)...); got.Code != 1 || got.Stdout != "" {
			t.Errorf("%v: code %d, %s%s", args, got.Code, got.Stdout, got.Stderr)
		}
	}
	// One by one, and from one list of all.
	for _, questions := range []string{"held/gone\n", strings.Repeat("held/gone\nheld/other\n", 10)} {
		got := run(t, env.Kubeconfig, questions, append([]string{"-"}, keys...)...)
		if strings.Contains(got.Stdout, "held/gone") {
			t.Errorf("standard input:\n%s%s", got.Stdout, got.Stderr)
		}
	}
	if got := run(t, env.Kubeconfig, "", append([]string{"--by=namespace", "held"}, keys...)...); got.Stdout != "held/other\n" {
		t.Errorf("its namespace: %s%s", got.Stdout, got.Stderr)
	}
}
