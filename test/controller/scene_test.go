package controller_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	// contestedPods are as many as in the report of the fault: 672 writes a second.
	contestedPods = 4
	// backedOff is a wait between two repairs of a Testcr. It is too long for a slow
	// machine, so it shows a backoff.
	backedOff = 2500 * time.Millisecond
	// The writes of one Testcr until then: the create and up to two updates for the
	// Pod, and a repair after each of the waits of 0, 5 ms, 10 ms ... 5.12 s.
	fewestWrites, mostWrites = 10, 3 + 12
	// repairWithin is the longest wait of a repair, with time for the write.
	repairWithin = 35 * time.Second

	warning = "Testcrs are changed again and again"
)

// scene is a namespace with Pods at rest, and the program that follows it.
type scene struct {
	namespace string
	program   *testenv.Program
	names     map[string]string // of the Testcrs, the Pods' names
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{namespace: env.Namespace(t, ""), names: map[string]string{}}
	s.program = testenv.Command(t, binary, "--kubeconfig="+env.Kubeconfig, "--bind-address=127.0.0.1:0", "--namespace="+s.namespace).Start(t).Ready(t)
	for i := range contestedPods {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%d", i)},
			Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
		}
		if _, err := env.Clients.CoreV1().Pods(s.namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		s.names[v1.NameFor(types.NamespacedName(cache.NewObjectName(s.namespace, pod.Name)))] = pod.Name
		s.change(t, pod.Name, func(status *corev1.PodStatus) {
			status.Phase, status.PodIP, status.PodIPs = corev1.PodRunning, "10.0.0.1", []corev1.PodIP{{IP: "10.0.0.1"}}
		})
	}
	testenv.Eventually(t, s.right)
	return s
}

// change changes the status of a Pod as a kubelet does.
func (s *scene) change(t *testing.T, pod string, change func(*corev1.PodStatus)) {
	t.Helper()
	live, err := env.Clients.CoreV1().Pods(s.namespace).Get(t.Context(), pod, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	change(&live.Status)
	if _, err := env.Clients.CoreV1().Pods(s.namespace).UpdateStatus(t.Context(), live, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// right is a condition: each Pod has its Testcr.
func (s *scene) right(ctx context.Context) error {
	for name, pod := range s.names {
		got, err := testcrs().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		live, err := env.Clients.CoreV1().Pods(s.namespace).Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return err
		}
		spec, _ := got.Object["spec"].(map[string]any)
		if spec["podip"] != live.Status.PodIP || spec["phase"] != string(live.Status.Phase) {
			return fmt.Errorf("the Testcr of %s has podip %v and phase %v", pod, spec["podip"], spec["phase"])
		}
	}
	return nil
}

// writes returns when the program has written each Testcr.
func (s *scene) writes(t *testing.T) map[string][]time.Time {
	t.Helper()
	writes := map[string][]time.Time{}
	for _, r := range env.Requests(t) {
		ref := r.ObjectRef
		if ref == nil || ref.Resource != v1.GroupVersionResource.Resource || !slices.Contains([]string{"create", "update", "delete"}, r.Verb) {
			continue
		}
		if _, ours := s.names[ref.Name]; ours && r.ResponseStatus != nil && r.ResponseStatus.Code < 300 {
			writes[ref.Name] = append(writes[ref.Name], r.StageTimestamp.Time)
		}
	}
	return writes
}

// backsOff waits until the repairs of each Testcr are backedOff apart, and counts
// the writes until then.
func (s *scene) backsOff(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		writes := s.writes(t)
		for name := range s.names {
			at := writes[name]
			n := len(at)
			if n < fewestWrites {
				return fmt.Errorf("%d writes of %s", n, name)
			}
			if time.Since(at[n-1]) < backedOff && at[n-1].Sub(at[n-2]) < backedOff {
				return fmt.Errorf("%d writes of %s, the last two %s apart", n, name, at[n-1].Sub(at[n-2]))
			}
		}
		return nil
	})
	for name, at := range s.writes(t) {
		if len(at) > mostWrites {
			t.Errorf("%d writes of %s until its repairs were %s apart, want at most %d", len(at), name, backedOff, mostWrites)
		}
	}
}

// warned waits for the warning, and returns the line. There is one, and one Event.
func (s *scene) warned(t *testing.T) string {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		if err := s.program.Stderr.Has(warning); err != nil {
			return err
		}
		events, err := s.events(ctx)
		if err == nil && len(events) == 0 {
			err = errors.New("no Event")
		}
		return err
	})
	var lines []string
	for line := range strings.Lines(s.program.Stderr.String()) {
		if strings.Contains(line, warning) {
			lines = append(lines, line)
		}
	}
	events, err := s.events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 1 || len(events) != 1 || events[0].Count > 1 {
		t.Errorf("it warned by %d lines and %d Events, want one each:\n%s\n%v", len(lines), len(events), strings.Join(lines, ""), events)
	}
	return lines[0]
}

func (s *scene) events(ctx context.Context) ([]corev1.Event, error) {
	list, err := env.Clients.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "reason=ContestedTestcr"})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(e corev1.Event) bool {
		return !slices.Contains(slices.Collect(maps.Keys(s.names)), e.InvolvedObject.Name)
	}), nil
}
