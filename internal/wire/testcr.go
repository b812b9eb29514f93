package wire

import (
	"bytes"
	"encoding/json"
	"errors"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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
		metav1.ObjectMeta `json:"metadata"`

		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(data, &stored); err != nil {
		return nil, err
	}
	t := &Testcr{Testcr: v1.Testcr{TypeMeta: stored.TypeMeta, ObjectMeta: stored.ObjectMeta}}
	if jsonv2.Unmarshal(stored.Spec, &t.Spec, exactly) != nil {
		t.Malformed, t.Spec = true, decodeFitting(stored.Spec)
	}
	return t, nil
}

// exactly refuses members that the struct does not have, and null, which decodes to
// the zero value otherwise.
var exactly = jsonv2.JoinOptions(
	jsonv2.RejectUnknownMembers(true),
	jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(func(d *jsontext.Decoder, _ any) error {
		if d.PeekKind() == 'n' {
			return errors.New("null")
		}
		return errors.ErrUnsupported // goes on without this function
	})),
)

// decodeFitting returns the fields of a malformed spec that fit, because podkey is
// needed whatever the others are.
func decodeFitting(data []byte) (spec v1.TestcrSpec) {
	var members map[string]jsontext.Value
	if jsonv2.Unmarshal(data, &members) != nil {
		return spec
	}
	for name, value := range members {
		member, err := jsonv2.Marshal(map[string]jsontext.Value{name: value})
		if err == nil {
			_ = jsonv2.Unmarshal(member, &spec, exactly) // does not fit
		}
	}
	return spec
}

// decodeExact decodes in one pass an object that has the fields of a Testcr and no
// others, as nearly every Testcr does. It returns false for any other object.
func decodeExact(data []byte) (*Testcr, bool) {
	t := &Testcr{}
	if bytes.Contains(data, []byte("null")) { // may be a value: see exactly
		return t, false
	}
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
