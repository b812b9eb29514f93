package wire

import (
	"bytes"
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Testcr is a Testcr as the API server stores it.
type Testcr struct {
	v1.Testcr

	// Malformed reports that the stored object has no spec, or one with a field that
	// TestcrSpec does not have or of another type. Such a Testcr must be written anew.
	Malformed bool
}

// decodeTestcr decodes the JSON of a Testcr. A spec that does not fit is Malformed.
// It returns an error only if the metadata cannot be decoded.
func decodeTestcr(data []byte) (*Testcr, error) {
	if t, ok := decodeExact(data); ok {
		return t, nil
	}
	var stored struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata,omitempty"`

		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, err
	}
	t := &Testcr{Testcr: v1.Testcr{TypeMeta: stored.TypeMeta, ObjectMeta: stored.ObjectMeta}}
	spec := json.NewDecoder(bytes.NewReader(stored.Spec))
	spec.DisallowUnknownFields()
	t.Malformed = bytes.Equal(stored.Spec, []byte("null")) || spec.Decode(&t.Spec) != nil
	return t, nil
}

// decodeExact decodes in one pass an object that has the fields of a Testcr and no
// others, as nearly every Testcr does. It returns false for any other object.
func decodeExact(data []byte) (*Testcr, bool) {
	t := &Testcr{}
	err := jsonv2.Unmarshal(data, &t.Testcr, jsonv2.RejectUnknownMembers(true))
	return t, err == nil && t.Kind == v1.GroupVersionKind.Kind && t.APIVersion == apiVersion && t.Spec.PodKey != ""
}

var apiVersion = v1.GroupVersion.String()

// Decode returns a Testcr that the dynamic client has read. A spec that does not fit
// is Malformed.
func Decode(u *unstructured.Unstructured) (*Testcr, error) {
	data, err := u.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return decodeTestcr(data)
}

// Encode returns t as the dynamic client sends it. The spec is encoded already, so
// the object can be sent but not read or changed.
func Encode(t *v1.Testcr) (*unstructured.Unstructured, error) {
	spec, err := json.Marshal(&t.Spec)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion,
		"kind":       v1.GroupVersionKind.Kind,
		"spec":       json.RawMessage(spec),
	}}
	u.SetName(t.Name)
	u.SetUID(t.UID)
	u.SetResourceVersion(t.ResourceVersion)
	u.SetLabels(t.Labels)
	u.SetAnnotations(t.Annotations)
	u.SetFinalizers(t.Finalizers)
	u.SetOwnerReferences(t.OwnerReferences)
	u.SetManagedFields(t.ManagedFields)
	return u, nil
}

// DropManagedFields makes the API server drop the managed fields of u at an update:
// it reads one empty entry so, and then tracks nothing until somebody applies the
// object. A create cannot do that.
func DropManagedFields(u *unstructured.Unstructured) {
	u.Object["metadata"].(map[string]any)["managedFields"] = []any{map[string]any{}}
}

// ToUnstructured returns t as an object that can be read, printed and changed.
func ToUnstructured(t *v1.Testcr) (*unstructured.Unstructured, error) {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(t)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetGroupVersionKind(v1.GroupVersionKind)
	if t.CreationTimestamp.IsZero() {
		unstructured.RemoveNestedField(object, "metadata", "creationTimestamp")
	}
	return u, nil
}
