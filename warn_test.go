package podinfolookup

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
)

// TestAWriteThatChangesNothing is about an API server whose CRD is older than
// this program: it drops what it does not know, and so gives the same version
// back. The Testcr must not pass for what was written, or nothing would be tried
// again once the CRD is replaced.
func TestAWriteThatChangesNothing(t *testing.T) {
	testcrs := newTestcrs(t, newDynamic())
	pods, err := NewPodInformer(fake.NewClientset(), metav1.NamespaceAll, testcrs)
	if err != nil {
		t.Fatal(err)
	}
	var warned int
	c, err := New(t.Context(), Config{
		Pods: map[string]*PodInformer{metav1.NamespaceAll: pods}, Testcrs: testcrs, Workers: 1,
		Warn: func(_ *corev1.ObjectReference, reason, _ string) {
			if reason == CRDUnusable {
				warned++
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.queue.ShutDown()
	testcrs.GetStore().Bookmark("10") // the watch has come as far
	want := FromPod(web(1))
	have := version(want.Name, "1", "10")
	answer := func(resourceVersion string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
			"metadata": map[string]any{"name": want.Name, "uid": "1", "resourceVersion": resourceVersion},
		}}
	}

	for range 2 {
		if err := c.wroteBack(t.Context(), want, have, answer("10"), nil); !errors.Is(err, errMangled) {
			t.Fatalf("a write that gave the version it rested on: %v, want errMangled", err)
		}
	}
	if got := c.testcrs.get(want.Name); got != nil {
		t.Errorf("it is believed: %v", got)
	}
	if pod, ok := c.mangled.one(); !ok || pod.String() != want.Spec.PodKey {
		t.Errorf("to be tried again is %v, want %s", pod, want.Spec.PodKey)
	}
	if warned != 1 {
		t.Errorf("warned %d times, want once", warned)
	}

	if err := c.wroteBack(t.Context(), want, have, answer("11"), nil); err != nil {
		t.Fatal(err)
	}
	if got := c.testcrs.get(want.Name); got == nil || got.ResourceVersion != "11" {
		t.Errorf("a write that gave a new version is not believed: %v", got)
	}
}
