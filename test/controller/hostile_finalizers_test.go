package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	heldIP = "10.0.9.1"
	heldID = "0123456789ab"
)

func patchTestcr(t *testing.T, name, patch string) {
	t.Helper()
	if _, err := testcrs().Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// heldPod creates a running Pod whose Testcr has a finalizer and is being deleted.
func heldPod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	pod, err := createWith(t.Context(), env.Clients, namespace, ordinary(name), func(s *corev1.PodStatus) {
		runningAt(heldIP)(s)
		s.HostIP = "192.0.2.9"
		s.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://" + heldID}}
	})
	if err != nil {
		t.Fatal(err)
	}
	follows(t, pod)
	testcr := nameFor(namespace, name)
	patchTestcr(t, testcr, `{"metadata":{"finalizers":["example.com/hold"]}}`)
	t.Cleanup(func() { // a failed test must not leave it behind
		_, err := testcrs().Patch(context.WithoutCancel(t.Context()), testcr, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
	if err := testcrs().Delete(t.Context(), testcr, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	return pod
}

// emptied is a condition: of a Testcr that is kept by a finalizer nothing but the
// name is left, and no fact of its Pod selects it.
func emptied(pod *corev1.Pod) func(context.Context) error {
	return func(ctx context.Context) error {
		u, err := testcrs().Get(ctx, nameFor(pod.Namespace, pod.Name), metav1.GetOptions{})
		if err != nil {
			return err
		}
		want := map[string]any{
			"podkey": pod.Namespace + "/" + pod.Name, "podname": pod.Name, "poduid": "", "namespace": pod.Namespace,
			"hostnetwork": false, "ready": false, "terminating": true,
		}
		labels := map[string]string{"app.kubernetes.io/managed-by": "podinfolookup", "stable.example.com/namespace": pod.Namespace}
		if diff := cmp.Diff(want, u.Object["spec"]) + cmp.Diff(labels, u.GetLabels()); diff != "" || u.GetDeletionTimestamp() == nil {
			return fmt.Errorf("it is not emptied (-want +got):\n%s", diff)
		}
		for _, options := range []metav1.ListOptions{
			{LabelSelector: "ip.stable.example.com/" + heldIP}, {LabelSelector: "cid.stable.example.com/" + heldID},
			{FieldSelector: "spec.podip=" + heldIP}, {FieldSelector: "spec.poduid=" + string(pod.UID)}, {FieldSelector: "spec.hostip=192.0.2.9"},
			{FieldSelector: "spec.namespace=" + pod.Namespace + ",spec.phase=Running"}, {FieldSelector: "spec.namespace=" + pod.Namespace + ",spec.nodename=node-1"},
		} {
			list, err := testcrs().List(ctx, options)
			if err != nil {
				return err
			}
			if len(list.Items) > 0 {
				return fmt.Errorf("%s%s selects it", options.LabelSelector, options.FieldSelector)
			}
		}
		return nil
	}
}

// answersNothing is a condition: the lookup finds no Pod by any fact of pod.
func answersNothing(t *testing.T, p *testenv.Program, pod *corev1.Pod) func(context.Context) error {
	t.Helper()
	return func(ctx context.Context) error {
		var wrong []error
		for _, path := range []string{
			"/v1/pods?ip=" + heldIP, "/v1/pods?uid=" + string(pod.UID), "/v1/pods?container=" + heldID, "/v1/pods?hostip=192.0.2.9",
			"/v1/pods?key=" + url.QueryEscape(pod.Namespace+"/"+pod.Name), "/v1/pods?name=" + pod.Name + "&namespace=" + pod.Namespace,
			"/v1/pods/" + pod.Namespace + "/" + pod.Name,
		} {
			if code, body, err := p.Get(ctx, t, path); err != nil || code != http.StatusNotFound {
				wrong = append(wrong, fmt.Errorf("%s: %d %s %w", path, code, body, err))
			}
		}
		return errors.Join(wrong...)
	}
}

// TestTestcr_KeptByAFinalizer: what somebody else's finalizer keeps after its Pod
// is no answer anywhere, and is no hindrance to the next Pod of the name.
func TestTestcr_KeptByAFinalizer(t *testing.T) {
	namespace := env.Namespace(t, "")
	p := start(t, namespace)
	pod := heldPod(t, namespace, "held")
	testcr := nameFor(namespace, "held")
	if code, body, err := p.Get(t.Context(), t, "/v1/pods?ip="+heldIP); err != nil || code != http.StatusOK {
		t.Errorf("while its Pod is there: %d %s %v", code, body, err)
	}
	removePod(t, namespace, "held")
	testenv.Eventually(t, emptied(pod))
	testenv.Eventually(t, answersNothing(t, p, pod))
	verified(t, namespace)

	again, err := createWith(t.Context(), env.Clients, namespace, ordinary("held"), runningAt("10.0.9.2"))
	if err != nil {
		t.Fatal(err)
	}
	follows(t, again)
	verified(t, namespace)
	kept, err := testcrs().Get(t.Context(), testcr, metav1.GetOptions{})
	if err != nil || kept.GetDeletionTimestamp() == nil {
		t.Errorf("the finalizer did not keep it: %v, %v", kept, err)
	}
	patchTestcr(t, testcr, `{"metadata":{"finalizers":null}}`)
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := testcrs().Get(ctx, testcr, metav1.GetOptions{})
		if err == nil && u.GetUID() == kept.GetUID() {
			err = errors.New("it is still the one that was deleted")
		}
		return err
	})
	follows(t, again)
	verified(t, namespace)
	stop(t, p, nil)
}

// TestTestcr_NamesNoPod: a controller of one namespace deletes what is of that
// namespace or of none, and leaves alone what is of another.
func TestTestcr_NamesNoPod(t *testing.T) {
	namespace, other := env.Namespace(t, ""), env.Namespace(t, "")
	in := func(label string) map[string]string {
		return map[string]string{"app.kubernetes.io/managed-by": "podinfolookup", "stable.example.com/namespace": label}
	}
	tests := []struct {
		name   string
		labels map[string]string
		spec   map[string]any
		stays  bool
	}{
		{name: "key-of-another-pod", labels: in(namespace), spec: map[string]any{"podkey": namespace + "/x", "namespace": namespace}},
		{name: "key-that-is-none", labels: in(namespace), spec: map[string]any{"podkey": "x/y/z", "namespace": other}},
		{name: "spec-namespace-alone", labels: ours, spec: map[string]any{"podkey": "", "namespace": namespace}},
		{name: "no-namespace", labels: ours, spec: map[string]any{"podkey": "", "namespace": ""}},
		{name: "another-namespace", labels: in(other), spec: map[string]any{"podkey": namespace + "/x", "namespace": other}, stays: true},
		{name: "not-ours", spec: map[string]any{"podkey": namespace + "/x", "namespace": namespace}, stays: true},
	}
	p := start(t, namespace)
	for _, test := range tests {
		plant(t, nameFor(namespace, test.name), test.labels, map[string]any{"spec": testenv.Whole(test.spec)})
	}
	for _, test := range tests {
		if !test.stays {
			gone(t, nameFor(namespace, test.name))
		}
	}
	verified(t, namespace)
	for _, test := range tests {
		if !test.stays {
			continue
		}
		if err := testcrs().Delete(t.Context(), nameFor(namespace, test.name), metav1.DeleteOptions{}); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	stop(t, p, nil)
}
