package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// pageSize is the limit of a list request.
const pageSize = 500

// EachTestcr calls f for every Testcr.
func EachTestcr(ctx context.Context, testcrs dynamic.ResourceInterface, f func(*unstructured.Unstructured) error) error {
	for options := (metav1.ListOptions{Limit: pageSize}); ; {
		page, err := testcrs.List(ctx, options)
		if err != nil {
			return err
		}
		for i := range page.Items {
			if err := f(&page.Items[i]); err != nil {
				return err
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// Verify compares every Testcr with the desired one; want is by name.
func Verify(ctx context.Context, testcrs dynamic.ResourceInterface, want map[string]*unstructured.Unstructured) error {
	verified := 0
	err := EachTestcr(ctx, testcrs, func(got *unstructured.Unstructured) error {
		want := want[got.GetName()]
		if want == nil {
			return fmt.Errorf("the Testcr %s has no Pod", got.GetName())
		}
		if !reflect.DeepEqual(got.Object["spec"], want.Object["spec"]) || !reflect.DeepEqual(got.GetLabels(), want.GetLabels()) {
			return fmt.Errorf("the Testcr %s is %v, want %v", got.GetName(), got.Object, want.Object)
		}
		verified++
		return nil
	})
	if err == nil && verified != len(want) {
		err = fmt.Errorf("there are %d Testcrs, want %d", verified, len(want))
	}
	return err
}

// SizeOf returns the bytes of a Testcr in etcd, with and without its managed
// fields. etcd stores compact JSON and a line break. It keeps the
// resourceVersion outside the value.
func SizeOf(u *unstructured.Unstructured) (stored, withoutManagedFields int, err error) {
	unstructured.RemoveNestedField(u.Object, "metadata", "resourceVersion")
	full, err := json.Marshal(u.Object)
	if err != nil {
		return 0, 0, err
	}
	u.SetManagedFields(nil)
	short, err := json.Marshal(u.Object)
	return len(full) + 1, len(short) + 1, err
}
