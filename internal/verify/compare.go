package verify

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Kind is what a difference is about.
type Kind string

// The kinds of differences.
const (
	// Missing is a Pod without its Testcr.
	Missing Kind = "missing"
	// Orphan is a Testcr of the controller's whose Pod is not there.
	Orphan Kind = "orphan"
	// Differs is a field of spec that is not what the Pod says.
	Differs Kind = "differs"
	// Label is a label that is not the one that the Pod calls for.
	Label Kind = "label"
	// Foreign is somebody else's Testcr on the name that a Pod needs: the
	// controller leaves it alone, so a person must act.
	Foreign Kind = "foreign"
	// Misnamed is a Testcr of the controller's whose podkey makes another name:
	// a second one of a Pod, or one of nothing.
	Misnamed Kind = "misnamed"
	// Unclear is no difference yet: the Pod never stood still for long enough.
	Unclear Kind = "unclear"
)

// Difference is one thing that is not as it must be.
type Difference struct {
	Kind Kind `json:"kind"`
	// Pod is namespace/name; "" where a Testcr belongs to none.
	Pod    string `json:"pod,omitempty"`
	Testcr string `json:"testcr"`
	// Field is the path of a field or the key of a label. Have and Want are its
	// values, nil where there is none.
	Field string `json:"field,omitempty"`
	Have  any    `json:"have,omitempty"`
	Want  any    `json:"want,omitempty"`
}

// digest stands for facts, of which a cluster has too many to keep.
type digest [sha256.Size]byte

func (f *facts) digest() digest {
	text, _ := json.Marshal(f) // in the order of the keys; what came out of JSON goes into it
	return sha256.Sum256(text)
}

// observed is a Testcr as it is stored.
type observed struct {
	name, uid string
	podkey    string
	managed   bool
	deleted   bool // its deletion was asked for, and waits for finalizers
	facts
}

// observe reads a Testcr, whatever is in it. It takes u's spec over.
func observe(u *unstructured.Unstructured) *observed {
	o := &observed{name: u.GetName(), uid: string(u.GetUID()), deleted: u.GetDeletionTimestamp() != nil}
	labels := u.GetLabels()
	o.managed = labels[labelManagedBy] == managedBy
	o.Labels = map[string]string{}
	for key, value := range labels {
		if key == labelManagedBy || strings.HasPrefix(key, labelOtherPrefix) ||
			strings.HasPrefix(key, labelIPPrefix) || strings.HasPrefix(key, labelIDPrefix) {
			o.Labels[key] = value
		}
	}
	o.Spec, _ = u.Object["spec"].(map[string]any)
	if o.Spec == nil {
		o.Spec = map[string]any{}
	}
	o.podkey, _ = o.Spec["podkey"].(string)
	for _, field := range []string{"createdat", "startedat"} {
		if value, ok := o.Spec[field]; ok {
			o.Spec[field] = instant(value)
		}
	}
	if o.Spec["truncated"] == false {
		delete(o.Spec, "truncated")
	}
	dropEmpty(o.Spec)
	return o
}

// named says whether the Testcr has the name that its podkey makes.
func (o *observed) named() bool {
	namespace, name, ok := strings.Cut(o.podkey, "/")
	return ok && namespace != "" && name != "" && !strings.Contains(name, "/") && md5Hex(o.podkey) == o.name
}

// emptied says whether the Testcr is what is right for one that a finalizer keeps
// after its Pod: its name and nothing of the Pod.
func (o *observed) emptied() bool {
	podkey, namespace, name := "", "", ""
	if o.named() {
		podkey = o.podkey
		namespace, name, _ = strings.Cut(podkey, "/")
	}
	want := map[string]any{
		"podkey": podkey, "podname": name, "namespace": namespace, "hostnetwork": false, "ready": false, "terminating": true,
	}
	dropEmpty(want)
	return o.deleted && reflect.DeepEqual(o.Spec, want) &&
		maps.Equal(o.Labels, map[string]string{labelManagedBy: managedBy, labelNamespace: namespace})
}

// scope is the namespaces that are compared; nil is all.
type scope []string

// covers says whether a Testcr of the controller's is one to compare: by its
// podkey, or, where that does not make its name, by its label and spec.namespace.
// One without either is everybody's.
func (s scope) covers(o *observed) bool {
	if namespace, _, _ := strings.Cut(o.podkey, "/"); len(s) == 0 || o.named() {
		return len(s) == 0 || slices.Contains(s, namespace)
	}
	spec, _ := o.Spec["namespace"].(string)
	label := o.Labels[labelNamespace]
	return label == "" && spec == "" || slices.Contains(s, label) || slices.Contains(s, spec)
}

// compare tells what is wrong between a Pod and the Testcr of its name, either
// of which may be nil. What is somebody else's, or of another namespace, is not
// wrong where no Pod needs its name.
func (s scope) compare(want *expected, have *observed) []Difference {
	switch {
	case want == nil && have == nil:
		return nil
	case have == nil:
		return []Difference{{Kind: Missing, Pod: want.Pod, Testcr: want.name()}}
	case want != nil && !have.managed && have.podkey != want.Pod:
		return []Difference{{Kind: Foreign, Pod: want.Pod, Testcr: have.name, Field: "spec.podkey", Have: have.podkey, Want: want.Pod}}
	case want != nil:
		return differences(want, have)
	case !have.managed || !s.covers(have) || have.emptied():
		return nil
	case have.named():
		return []Difference{{Kind: Orphan, Pod: have.podkey, Testcr: have.name}}
	default:
		return []Difference{{Kind: Misnamed, Testcr: have.name, Field: "spec.podkey", Have: have.podkey}}
	}
}

func differences(want *expected, have *observed) (out []Difference) {
	kind := Differs
	add := func(field string, h, w any) {
		out = append(out, Difference{Kind: kind, Pod: want.Pod, Testcr: have.name, Field: field, Have: h, Want: w})
	}
	walk("spec", have.Spec, want.Spec, add)
	kind = Label
	haveLabels, wantLabels := anyMap(have.Labels), anyMap(want.Labels)
	for _, key := range unionOfKeys(haveLabels, wantLabels) {
		if h, w := haveLabels[key], wantLabels[key]; h != w { // nil where there is none
			add(key, h, w)
		}
	}
	return out
}

// walk calls add for each leaf in which have and want differ.
func walk(path string, have, want any, add func(path string, have, want any)) {
	if h, ok := have.(map[string]any); ok {
		if w, ok := want.(map[string]any); ok {
			for _, key := range unionOfKeys(h, w) {
				walk(path+member(key), h[key], w[key], add)
			}
			return
		}
	}
	if h, ok := have.([]any); ok {
		if w, ok := want.([]any); ok {
			at := func(list []any, i int) any {
				if i < len(list) {
					return list[i]
				}
				return nil
			}
			for i := range max(len(h), len(w)) {
				walk(fmt.Sprintf("%s[%d]", path, i), at(h, i), at(w, i), add)
			}
			return
		}
	}
	if !reflect.DeepEqual(have, want) {
		add(path, have, want)
	}
}

func unionOfKeys[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// member is the step of a path into a map: keys of labels have dots in them.
func member(key string) string {
	if plainName.MatchString(key) {
		return "." + key
	}
	return "[" + strconv.Quote(key) + "]"
}

// shownBytes is how much of a long value a line shows; JSON has all of it.
const shownBytes = 100

// show writes a value for a terminal, on one line and without control characters.
func show(value any) string {
	var text string
	switch v := value.(type) {
	case nil:
		return "none"
	case string:
		if len(v) > shownBytes {
			return fmt.Sprintf("%s... (%d bytes)", strconv.Quote(strings.ToValidUTF8(v[:shownBytes], "")), len(v))
		}
		return strconv.Quote(v)
	default:
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return strconv.Quote(fmt.Sprint(v))
		}
		text = strconv.Quote(strings.TrimSpace(buffer.String()))
		text = strings.ReplaceAll(text[1:len(text)-1], `\"`, `"`)
	}
	if len(text) > shownBytes {
		return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:shownBytes], ""), len(text))
	}
	return text
}
