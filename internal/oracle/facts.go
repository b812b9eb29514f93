package oracle

import (
	"crypto/md5" //nolint:gosec // G501: the README names Testcrs by it; it is no secret
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Facts is the content of a Testcr: what FactsFor requires for a Pod, or what Read
// found. Two Facts that mean the same are equal and have equal JSON.
type Facts struct {
	// Spec contains decoded JSON: map[string]any, []any, string, bool and int64.
	// Empty fields are absent.
	Spec map[string]any `json:"spec"`
	// Labels are those that belong to the controller.
	Labels map[string]string `json:"labels"`
}

// FactsFor returns what the Testcr of a Pod must contain. The rules are those of the
// README's sections "Fields" and "Bounds" and of its table of labels.
func FactsFor(pod *corev1.Pod) *Facts { return FactsWith(nil, pod) }

// FactsWith returns what the Testcr of a Pod must contain if the controller has the
// flag --owners. Without the owner of the Pod that is the same.
func FactsWith(owners Owners, pod *corev1.Pod) *Facts {
	spec := make(map[string]any, len(fields))
	for i := range fields {
		spec[fields[i].name] = fields[i].value(pod)
	}
	if top, ok := owners.top(pod); ok {
		spec["workloadkind"], spec["workloadname"], spec["workloadproof"] = top.kind, top.name, top.proof
	}
	applyBounds(spec)
	dropEmpty(spec)
	return &Facts{Spec: spec, Labels: labelsFor(spec)}
}

// KeepProof returns f, or f with the workload that an owner had proved before it was
// gone: have contains it. Nothing can prove another one then, and a controller that
// saw the owner keeps it.
func (f *Facts) KeepProof(have *Stored) *Facts {
	if have == nil || have.Text("workloadproof") != "owner" {
		return f
	}
	spec := maps.Clone(f.Spec)
	for _, name := range []string{"workloadkind", "workloadname", "workloadproof"} {
		spec[name] = have.Spec[name]
	}
	dropEmpty(spec)
	return &Facts{Spec: spec, Labels: labelsFor(spec)}
}

// JSON returns the Facts as JSON with sorted keys.
func (f *Facts) JSON() []byte {
	text, err := json.Marshal(f)
	if err != nil { // Spec contains decoded JSON, which can be encoded
		panic(err)
	}
	return text
}

// Text returns a field of Spec, or "" if it is absent or not a string.
func (f *Facts) Text(name string) string {
	text, _ := f.Spec[name].(string)
	return text
}

// PodKey returns spec.podkey, whatever it contains.
func (f *Facts) PodKey() string { return f.Text("podkey") }

// Validate returns an error if Spec has a field that is not in the CRD, or a value
// of another type than the CRD's.
func (f *Facts) Validate() error {
	for _, name := range slices.Sorted(maps.Keys(f.Spec)) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			return fmt.Errorf("spec.%s is not a field of the CRD", name)
		}
		if !fields[i].is(f.Spec[name]) {
			return fmt.Errorf("spec.%s has another type than in the CRD", name)
		}
	}
	return nil
}

// NameFor returns the name of the Testcr of the Pod podkey, "namespace/name": its
// lowercase hexadecimal md5, 32 characters.
func NameFor(podkey string) string {
	sum := md5.Sum([]byte(podkey)) //nolint:gosec // G401: see the import
	return hex.EncodeToString(sum[:])
}

// Stored is a Testcr as the API server stores it.
type Stored struct {
	Facts

	Name, UID string
	// Managed is set if the Testcr has the label that marks the controller's own.
	Managed bool
	// Deleted is set if the Testcr has a deletionTimestamp: it waits for finalizers.
	Deleted bool
}

// Read returns a Testcr with any content. spec is that of the object as decoded
// JSON, with int64 for integers, or nil. Read takes ownership of spec.
func Read(metadata metav1.Object, spec map[string]any) *Stored {
	if spec == nil {
		spec = map[string]any{}
	}
	for i := range fields {
		f := &fields[i]
		if value, ok := spec[f.name]; ok && f.canonical != nil {
			spec[f.name] = f.canonical(value)
		}
	}
	dropEmpty(spec)
	labels := map[string]string{}
	for key, value := range metadata.GetLabels() {
		if isOwnLabel(key) {
			labels[key] = value
		}
	}
	return &Stored{
		Facts: Facts{Spec: spec, Labels: labels},
		Name:  metadata.GetName(), UID: string(metadata.GetUID()),
		Managed: labels[LabelManagedBy] == ManagedBy, Deleted: metadata.GetDeletionTimestamp() != nil,
	}
}

// IsNamedForPod reports whether podkey has the form "namespace/name", and the
// Testcr has the name that belongs to it.
func (s *Stored) IsNamedForPod() bool {
	namespace, name, ok := strings.Cut(s.PodKey(), "/")
	return ok && namespace != "" && name != "" && !strings.Contains(name, "/") && NameFor(s.PodKey()) == s.Name
}

// IsEmptied reports whether a finalizer keeps the Testcr, and it contains the name
// of its Pod but nothing else of it. This is the README's state of a Testcr whose
// Pod is gone. A Testcr that is not named for its podkey must not contain that either.
func (s *Stored) IsEmptied() bool {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}}
	if s.IsNamedForPod() {
		pod.Namespace, pod.Name, _ = strings.Cut(s.PodKey(), "/")
	}
	want := FactsFor(&pod)
	delete(want.Spec, "status")
	if pod.Name == "" {
		delete(want.Spec, "podkey") // it would be "/"
	}
	return s.Deleted && reflect.DeepEqual(&s.Facts, want)
}

// dropEmpty deletes the fields that mean the same as absent ones, in spec and in
// the items of its lists.
func dropEmpty(spec map[string]any) {
	for i := range fields {
		if value := spec[fields[i].name]; fields[i].omitZero && value != nil && reflect.ValueOf(value).IsZero() {
			delete(spec, fields[i].name)
		}
	}
	dropEmptyValues(spec)
}

func dropEmptyValues(object map[string]any) {
	maps.DeleteFunc(object, func(_ string, value any) bool {
		switch v := value.(type) {
		case nil:
			return true
		case string:
			return v == ""
		case map[string]any:
			return len(v) == 0
		case []any:
			for _, item := range v {
				if inner, ok := item.(map[string]any); ok {
					dropEmptyValues(inner)
				}
			}
			return len(v) == 0
		default:
			return false
		}
	})
}
