package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/desired/desiredtest"
)

// stored is a Testcr as the API server sends it.
const stored = `{"apiVersion":"stable.example.com/v1","kind":"Testcr","metadata":{"creationTimestamp":"2026-11-23T19:35:06Z","generation":1,` +
	`"labels":{"app.kubernetes.io/managed-by":"podinfolookup","ip.stable.example.com/10.0.0.13":"","stable.example.com/namespace":"default"},` +
	`"managedFields":[{"apiVersion":"stable.example.com/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:a\"b":{}}},"f:spec":{}},` +
	`"manager":"podinfolookup","operation":"Update","time":"2026-11-23T19:35:06Z"}],"name":"29b36e2c6835dded8a115aee874d1ddc",` +
	`"resourceVersion":"154030","uid":"0e1ad54f-0a4f-4f2b-8d7b-35f9bd2a7bd3"},` +
	`"spec":{"containers":[{"id":"containerd://4f5ca3b2d1e0","image":"nginx:1.29","name":"nginx"}],"createdat":"2026-11-23T19:35:06Z","hostip":"192.0.2.1",` +
	`"hostnetwork":false,"labels":{"app":"nginx"},"namespace":"default","nodename":"node-000000","phase":"Running","podip":"10.0.0.13",` +
	`"podips":["10.0.0.13"],"podkey":"default/nginx","podname":"nginx","poduid":"b35f30d3-5178-4948-be79-5ba0e3662fe1","ready":true,` +
	`"serviceaccount":"default","startedat":"2026-11-23T19:35:06Z","terminating":false}}`

// jsonOf returns v as JSON, and the generic value that it decodes to.
func jsonOf(t *testing.T, v any) (data []byte, generic any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &generic); err != nil {
		t.Fatal(err)
	}
	return data, generic
}

func TestEncode(t *testing.T) {
	specs := map[string]*v1.TestcrSpec{"a spec in which all is set": desiredtest.FullSpec(), "an empty spec": {}}
	for _, change := range desiredtest.Changes() {
		spec := desiredtest.FullSpec()
		change.Apply(spec)
		specs["a spec in which "+change.Name] = spec
	}
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			want := desired.FromSpec(spec)
			want.UID, want.ResourceVersion, want.Finalizers = "u", "7", []string{"hold"}
			want.Annotations = map[string]string{"note": "theirs"}
			want.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "x", Controller: new(true)}}
			u, err := Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			data, generic := jsonOf(t, u)
			_, byTags := jsonOf(t, want)
			unstructured.RemoveNestedField(byTags.(map[string]any), "metadata", "creationTimestamp") // null in old Kubernetes
			if diff := cmp.Diff(byTags, generic); diff != "" {
				t.Errorf("body (-json.Marshal +Encode):\n%s", diff)
			}
			for path, data := range map[string][]byte{
				"in one pass":   data,
				"in two passes": bytes.Replace(data, []byte(`"metadata":{`), []byte(`"metadata":{"unknown":1,`), 1),
			} {
				got, err := decodeTestcr(data)
				if err != nil || got.Malformed {
					t.Fatalf("%s it is malformed: %v", path, err)
				}
				if !desired.Equal(spec, &got.Spec) || !desired.Matches(&got.Testcr, want) {
					t.Errorf("%s it decodes to another Testcr (-want +got):\n%s", path, cmp.Diff(*want, got.Testcr))
				}
				if diff := cmp.Diff(want.ObjectMeta, got.ObjectMeta); diff != "" {
					t.Errorf("%s it decodes to other metadata (-want +got):\n%s", path, diff)
				}
			}
		})
	}
}

func TestEncode_Stored(t *testing.T) {
	t.Run("the stored bytes of the spec stay equal", func(t *testing.T) {
		decoded, err := decodeTestcr([]byte(stored))
		if err != nil {
			t.Fatal(err)
		}
		u, err := Encode(&decoded.Testcr)
		if err != nil {
			t.Fatal(err)
		}
		_, got := jsonOf(t, u)
		var want any
		if err := json.Unmarshal([]byte(stored), &want); err != nil {
			t.Fatal(err)
		}
		// The API server keeps its own.
		unstructured.RemoveNestedField(want.(map[string]any), "metadata", "creationTimestamp")
		unstructured.RemoveNestedField(want.(map[string]any), "metadata", "generation")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-stored +written):\n%s", diff)
		}
	})
}

func TestDropManagedFields(t *testing.T) {
	t.Run("the body has one empty entry", func(t *testing.T) {
		decoded, err := decodeTestcr([]byte(stored))
		if err != nil {
			t.Fatal(err)
		}
		u, err := Encode(&decoded.Testcr)
		if err != nil {
			t.Fatal(err)
		}
		DropManagedFields(u)
		data, _ := jsonOf(t, u)
		if !bytes.Contains(data, []byte(`"managedFields":[{}]`)) || bytes.Contains(data, []byte("fieldsV1")) {
			t.Errorf("body is %s", data)
		}
	})
}

func TestToUnstructured(t *testing.T) {
	for name, spec := range map[string]*v1.TestcrSpec{"a full spec": desiredtest.FullSpec(), "an empty spec": {}} {
		t.Run(name+" can be read and decoded", func(t *testing.T) {
			want := desired.FromSpec(spec)
			u, err := ToUnstructured(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(u.DeepCopy()) // which panics on what is not JSON
			if err != nil || got.Malformed || !desired.Matches(&got.Testcr, want) {
				t.Errorf("malformed %t, %v (-want +got):\n%s", got.Malformed, err, cmp.Diff(*want, got.Testcr))
			}
			if key, _, err := unstructured.NestedString(u.Object, "spec", "podkey"); err != nil || key != spec.PodKey {
				t.Errorf("podkey is %q, %v", key, err)
			}
			if _, ok, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "creationTimestamp"); ok {
				t.Error("it has a creation timestamp")
			}
			if u.GroupVersionKind() != v1.GroupVersionKind {
				t.Errorf("it is a %s", u.GroupVersionKind())
			}
		})
	}
	t.Run("a creation timestamp is kept", func(t *testing.T) {
		testcr := desired.FromSpec(&v1.TestcrSpec{})
		testcr.CreationTimestamp = metav1.Unix(1_700_000_000, 0)
		u, err := ToUnstructured(testcr)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.GetCreationTimestamp(); !got.Equal(&testcr.CreationTimestamp) {
			t.Errorf("it is %s", got)
		}
	})
}

func TestDecode(t *testing.T) {
	object := func(field string, value any) map[string]any {
		return map[string]any{"spec": map[string]any{"podkey": "a/b", field: value}}
	}
	tests := []struct {
		name          string
		object        map[string]any
		wantMalformed bool
	}{
		{name: "a spec that fits", object: map[string]any{"spec": map[string]any{"podip": "10.0.0.1", "ready": true}}},
		{name: "an empty spec", object: map[string]any{"spec": map[string]any{}}},
		{name: "no spec", object: map[string]any{}, wantMalformed: true},
		{name: "null for the spec", object: map[string]any{"spec": nil}, wantMalformed: true},
		{name: "a spec of another type", object: map[string]any{"spec": "x"}, wantMalformed: true},
		{name: "an unknown field", object: object("podipv4", "10.0.0.1"), wantMalformed: true},
		{name: "a field in capitals", object: object("PODIP", "10.0.0.1"), wantMalformed: true},
		{name: "a string of another type", object: object("podip", int64(5)), wantMalformed: true},
		{name: "a flag of another type", object: object("ready", "true"), wantMalformed: true},
		{name: "null for a string", object: object("podip", nil), wantMalformed: true},
		{name: "null for a flag", object: object("ready", nil), wantMalformed: true},
		{name: "null for a time", object: object("createdat", nil), wantMalformed: true},
		{name: "null for a list", object: object("podips", nil), wantMalformed: true},
		{name: "null in a list", object: object("podips", []any{nil}), wantMalformed: true},
		{name: "null for a map", object: object("labels", nil), wantMalformed: true},
		{name: "null in a map", object: object("labels", map[string]any{"a": nil}), wantMalformed: true},
		{name: "null for a container", object: object("containers", []any{nil}), wantMalformed: true},
		{name: "a string that is called null", object: object("podip", ":null,")},
		{name: "a list of another type", object: object("podips", map[string]any{}), wantMalformed: true},
		{name: "a list with another type in it", object: object("podips", []any{"a", 1.5}), wantMalformed: true},
		{name: "a label of another type", object: object("labels", map[string]any{"a": true}), wantMalformed: true},
		{name: "a container of another type", object: object("containers", []any{"nginx"}), wantMalformed: true},
		{name: "a container with an unknown field", object: object("containers", []any{map[string]any{"port": "80"}}), wantMalformed: true},
		{name: "a container's field in capitals", object: object("containers", []any{map[string]any{"Name": "a"}}), wantMalformed: true},
		{name: "a container's name of another type", object: object("containers", []any{map[string]any{"name": 1.0}}), wantMalformed: true},
		{name: "a time that is none", object: object("createdat", "yesterday"), wantMalformed: true},
		{name: "a time of another type", object: object("startedat", 5.0), wantMalformed: true},
		{name: "an unknown field beside the spec", object: map[string]any{"spec": map[string]any{}, "status": map[string]any{"a": "b"}}},
		{name: "an unknown field of the metadata", object: map[string]any{"spec": map[string]any{}, "metadata": map[string]any{"a": "b"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.object["apiVersion"], test.object["kind"] = "stable.example.com/v1", "Testcr"
			got, err := Decode(&unstructured.Unstructured{Object: test.object})
			if err != nil {
				t.Fatal(err)
			}
			if got.Malformed != test.wantMalformed {
				t.Errorf("malformed is %t, want %t", got.Malformed, test.wantMalformed)
			}
			if spec, ok := test.object["spec"].(map[string]any); ok && spec["podkey"] != nil && got.Spec.PodKey != "a/b" {
				t.Errorf("podkey is %q: it fits, whatever the rest is", got.Spec.PodKey)
			}
		})
	}
	t.Run("metadata of another type is an error", func(t *testing.T) {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "stable.example.com/v1", "kind": "Testcr", "metadata": 7.0, "spec": map[string]any{},
		}}
		if _, err := Decode(u); err == nil {
			t.Error("there is none")
		}
	})
}

func TestDecodeExact(t *testing.T) {
	full, _ := jsonOf(t, desired.FromPod(desiredtest.FullPod()))
	replaced := func(old, with string) string {
		t.Helper()
		if !strings.Contains(stored, old) {
			t.Fatalf("nothing contains %s", old)
		}
		return strings.Replace(stored, old, with, 1)
	}
	tests := []struct {
		name, data string
		want       bool
	}{
		{name: "what the API server sends", data: stored, want: true},
		{name: "a Testcr with every field", data: string(full), want: true},
		{name: "spaces", data: strings.ReplaceAll(stored, `":`, "\" :\n\t"), want: true},
		{name: "a finalizer and a deletion", data: replaced(`"generation":1`, `"finalizers":["a/b"],"deletionTimestamp":"2026-11-23T19:35:06Z"`), want: true},
		{name: "an escape", data: replaced("nginx:1.29", `nginx\u003a1.29`), want: true},
		{name: "an owner", data: replaced(`"generation":1`, `"ownerReferences":[{"kind":"Node"}]`), want: true},
		{
			name: "the end of a streamed list",
			data: `{"kind":"Testcr","apiVersion":"stable.example.com/v1","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}`,
		},
		{name: "an unknown field", data: replaced(`"phase"`, `"face"`)},
		{name: "a field in capitals", data: replaced(`"phase"`, `"Phase"`)},
		{name: "a number for a string", data: replaced(`"Running"`, `1`)},
		{name: "null for a list", data: replaced(`["10.0.0.13"]`, `null`)},
		{name: "a time that is none", data: replaced(`"startedat":"2026`, `"startedat":"x026`)},
		{name: "two specs", data: replaced(`"spec"`, `"spec":{},"spec"`)},
		{name: "no key of a Pod", data: replaced(`"podkey":"default/nginx",`, "")},
		{name: "another kind", data: replaced(`"Testcr"`, `"Status"`)},
		{name: "another version", data: replaced(`example.com/v1"`, `example.com/v2"`)},
		{name: "more behind it", data: stored + `,"x":{}`},
		{name: "nothing"},
		{name: "a list", data: `[]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, ok := decodeExact([]byte(test.data)); ok != test.want {
				t.Errorf("decoded: %t, want %t", ok, test.want)
			}
		})
	}
}

func TestDecodeTestcr_BrokenOff(t *testing.T) {
	t.Run("an object that ends at any byte is an error", func(t *testing.T) {
		for end := range len(stored) {
			if _, err := decodeTestcr([]byte(stored)[:end:end]); err == nil {
				t.Errorf("decoded: %s", stored[:end])
			}
		}
	})
	t.Run("another byte at any place does not panic", func(*testing.T) {
		for at := range len(stored) {
			for _, c := range []byte("\"\\}x\xff") {
				data := []byte(stored)
				data[at] = c
				_, _ = decodeTestcr(data)
			}
		}
	})
}

// fits reports whether a value of a spec has only fields that the type t has, with
// values of its types. It is an independent form of the rule for Malformed.
func fits(value any, t reflect.Type) bool {
	switch {
	case t == reflect.TypeFor[metav1.Time]():
		text, ok := value.(string)
		_, err := time.Parse(time.RFC3339, text)
		return ok && err == nil
	case t.Kind() == reflect.Struct:
		fields, ok := value.(map[string]any)
		known := map[string]reflect.Type{}
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			known[name] = field.Type
		}
		for name, v := range fields {
			ok = ok && known[name] != nil && fits(v, known[name])
		}
		return ok
	case t.Kind() == reflect.Map:
		entries, ok := value.(map[string]any)
		for _, v := range entries {
			ok = ok && fits(v, t.Elem())
		}
		return ok
	case t.Kind() == reflect.Slice:
		elements, ok := value.([]any)
		for _, v := range elements {
			ok = ok && fits(v, t.Elem())
		}
		return ok
	}
	return value != nil && reflect.TypeOf(value) == t
}

// FuzzDecodeTestcr compares decodeTestcr with encoding/json, and Malformed with fits.
func FuzzDecodeTestcr(f *testing.F) {
	f.Add([]byte(stored))
	f.Add([]byte(strings.Replace(stored, `"nginx:1.29"`, `null`, 1)))
	f.Add([]byte(strings.Replace(stored, `"phase"`, `"Phase"`, 1)))
	f.Add([]byte(`{"kind":"Testcr","apiVersion":"stable.example.com/v1","metadata":{"labels":{}},"status":[{"a":"]\"}"}]}`))
	f.Add([]byte(`{"kind":"Testcr","apiVersion":"stable.example.com/v1","metadata":{"managedFields":[{},{"manager":"x"}]},` +
		`"spec":{"podkey":"a","podips":[],"containers":[{}],"labels":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := decodeTestcr(data)
		// The API server sends UTF-8 and no name twice, for which decoders differ.
		if !json.Valid(data) || !jsontext.Value(data).IsValid() {
			return // but it must not panic
		}
		var want v1.Testcr
		strict := json.NewDecoder(bytes.NewReader(data))
		strict.DisallowUnknownFields()
		strictErr := strict.Decode(&want)
		if strictErr == nil && err != nil {
			t.Fatalf("only encoding/json decodes it: %v", err)
		}
		if exact, ok := decodeExact(data); ok && (strictErr != nil || cmp.Diff(want, exact.Testcr) != "") {
			t.Errorf("%v; decoded in one pass (-encoding/json +got):\n%s", strictErr, cmp.Diff(want, exact.Testcr))
		}
		if err != nil {
			return
		}
		if strictErr == nil && !got.Malformed {
			if diff := cmp.Diff(want, got.Testcr); diff != "" {
				t.Errorf("(-encoding/json +got):\n%s", diff)
			}
		}
		var generic struct{ Spec json.RawMessage }
		var spec any
		if json.Unmarshal(data, &generic) != nil || json.Unmarshal(generic.Spec, &spec) != nil {
			spec = nil
		}
		if want := !fits(spec, reflect.TypeFor[v1.TestcrSpec]()); got.Malformed != want {
			t.Errorf("malformed is %t, want %t:\n%s", got.Malformed, want, generic.Spec)
		}
	})
}

func BenchmarkDecodeTestcr(b *testing.B) {
	for name, data := range map[string]string{"exact": stored, "other": strings.Replace(stored, `"generation"`, `"unknown"`, 1)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodeTestcr([]byte(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
