package controller_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const wrongIP = "10.9.9.9"

// edit puts another IP into a Testcr.
func edit(manager string) func(context.Context, *unstructured.Unstructured) {
	return func(ctx context.Context, u *unstructured.Unstructured) {
		spec, _ := u.Object["spec"].(map[string]any)
		if spec == nil || spec["podip"] == wrongIP {
			return
		}
		spec["podip"] = wrongIP
		_, _ = testcrs().Update(ctx, u, metav1.UpdateOptions{FieldManager: manager}) // the next event follows a conflict
	}
}

func deleteIt(ctx context.Context, u *unstructured.Unstructured) {
	_ = testcrs().Delete(ctx, u.GetName(), metav1.DeleteOptions{}) // it may be gone
}

// undo has another client undo each write as fast as it can, until stop.
func (s *scene) undo(t *testing.T, undo func(context.Context, *unstructured.Unstructured)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	events, err := testcrs().Watch(ctx, metav1.ListOptions{LabelSelector: v1.LabelNamespace + "=" + s.namespace})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for event := range events.ResultChan() {
			if u, ok := event.Object.(*unstructured.Unstructured); ok && event.Type != watch.Deleted {
				undo(ctx, u)
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		events.Stop()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// TestProgram_TwoWriters has a client that writes as it likes against the program.
func TestProgram_TwoWriters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		undo  func(context.Context, *unstructured.Unstructured)
		cause string
	}{
		{name: "a client edits", undo: edit("some-operator"), cause: "some-operator"},
		{name: "a client that calls itself as the program edits", undo: edit(v1.ManagedBy), cause: "without --leader-elect"},
		{name: "a client deletes", undo: deleteIt, cause: "a client deletes them"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			stop := s.undo(t, test.undo)
			s.backsOff(t)
			if line := s.warned(t); !strings.Contains(line, test.cause) {
				t.Errorf("the warning does not name %q: %s", test.cause, line)
			}
			stop()
			begun := time.Now()
			for s.right(t.Context()) != nil && time.Since(begun) < repairWithin {
				<-time.After(testenv.Poll)
			}
			if err := s.right(t.Context()); err != nil {
				t.Errorf("%s after the other client stopped: %v", repairWithin, err)
			}
			s.warned(t)
		})
	}
}

// TestProgram_PodChangeOfContestedTestcr has a Pod change while the repairs of its
// Testcr wait: the change is written at once all the same.
func TestProgram_PodChangeOfContestedTestcr(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.undo(t, edit("some-operator"))
	s.backsOff(t)
	for name, pod := range s.names {
		s.change(t, pod, func(status *corev1.PodStatus) { status.Phase = corev1.PodSucceeded })
		begun := time.Now()
		testenv.Eventually(t, func(ctx context.Context) error {
			got, err := testcrs().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if phase, _, _ := unstructured.NestedString(got.Object, "spec", "phase"); phase != string(corev1.PodSucceeded) {
				return fmt.Errorf("phase is %q", phase)
			}
			return nil
		})
		if took := time.Since(begun); took > backedOff {
			t.Errorf("the change of %s was written after %s", pod, took)
		}
	}
}
