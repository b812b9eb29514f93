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

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

// Kind is the kind of a difference.
type Kind string

// The kinds of differences.
const (
	// Missing is a Pod without its Testcr.
	Missing Kind = "missing"
	// Orphan is a managed Testcr without its Pod.
	Orphan Kind = "orphan"
	// Differs is a field of spec with another value than the Pod requires.
	Differs Kind = "differs"
	// Label is a label with another value than the Pod requires.
	Label Kind = "label"
	// Foreign is an unmanaged Testcr with the name that a Pod needs. The controller
	// does not change it, so a person must delete it.
	Foreign Kind = "foreign"
	// Misnamed is a managed Testcr whose name does not follow from its podkey.
	Misnamed Kind = "misnamed"
	// Unclear is a difference of a Pod that kept changing.
	Unclear Kind = "unclear"
)

// Difference is one difference between a Pod and its Testcr.
type Difference struct {
	Kind Kind `json:"kind"`
	// Pod is namespace/name, "" for a Testcr that belongs to none.
	Pod    string `json:"pod,omitempty"`
	Testcr string `json:"testcr"`
	// Field is the path of a field or the key of a label. Have and Want are its stored
	// and its desired value, or nil.
	Field string `json:"field,omitempty"`
	Have  any    `json:"have,omitempty"`
	Want  any    `json:"want,omitempty"`
}

// digest identifies Facts, because a cluster has too many to keep.
type digest [sha256.Size]byte

func digestOf(facts *oracle.Facts) digest { return sha256.Sum256(facts.JSON()) }

// read returns the content of a Testcr. It takes ownership of u's spec.
func read(u *unstructured.Unstructured) *oracle.Stored {
	spec, _ := u.Object["spec"].(map[string]any)
	return oracle.Read(u, spec)
}

// scope contains the namespaces that are compared; nil is all.
type scope []string

// covers reports whether a managed Testcr is in these namespaces: by its podkey, or, if
// its name does not follow from that, by its label and spec.namespace. A Testcr without
// either is in all of them.
func (s scope) covers(have *oracle.Stored) bool {
	if namespace, _, _ := strings.Cut(have.PodKey(), "/"); len(s) == 0 || have.IsNamedForPod() {
		return len(s) == 0 || slices.Contains(s, namespace)
	}
	spec := have.Text("namespace")
	label := have.Labels[oracle.LabelNamespace]
	return label == "" && spec == "" || slices.Contains(s, label) || slices.Contains(s, spec)
}

// compare returns the differences between a Pod and the Testcr of its name, either of
// which may be nil. Unmanaged Testcrs and those of other namespaces are no difference
// unless a Pod needs their name.
func (s scope) compare(want *oracle.Facts, have *oracle.Stored) []Difference {
	switch {
	case want == nil && have == nil:
		return nil
	case have == nil:
		return []Difference{{Kind: Missing, Pod: want.PodKey(), Testcr: oracle.NameFor(want.PodKey())}}
	case want != nil && !have.Managed && have.PodKey() != want.PodKey():
		return []Difference{{
			Kind: Foreign, Pod: want.PodKey(), Testcr: have.Name, Field: "spec.podkey", Have: have.PodKey(), Want: want.PodKey(),
		}}
	case want != nil:
		return differences(want, have)
	case !have.Managed || !s.covers(have) || have.IsEmptied():
		return nil
	case have.IsNamedForPod():
		return []Difference{{Kind: Orphan, Pod: have.PodKey(), Testcr: have.Name}}
	default:
		return []Difference{{Kind: Misnamed, Testcr: have.Name, Field: "spec.podkey", Have: have.PodKey()}}
	}
}

func differences(want *oracle.Facts, have *oracle.Stored) (out []Difference) {
	kind := Differs
	add := func(field string, h, w any) {
		out = append(out, Difference{Kind: kind, Pod: want.PodKey(), Testcr: have.Name, Field: field, Have: h, Want: w})
	}
	walk("spec", have.Spec, want.Spec, add)
	kind = Label
	for _, key := range unionOfKeys(have.Labels, want.Labels) {
		if h, w := labelOf(have.Labels, key), labelOf(want.Labels, key); h != w {
			add(key, h, w)
		}
	}
	return out
}

// labelOf returns the value of a label, or nil if it is absent.
func labelOf(labels map[string]string, key string) any {
	if value, ok := labels[key]; ok {
		return value
	}
	return nil
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

// member returns the element of a path for a key. Keys with dots are quoted.
func member(key string) string {
	if plainName.MatchString(key) {
		return "." + key
	}
	return "[" + strconv.Quote(key) + "]"
}

// shownBytes bounds the length of a value in a line. JSON output contains all of it.
const shownBytes = 100

// show returns a value for a terminal, on one line and without control characters.
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
