package podinfolookup

import (
	"encoding/json"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// stored is a Testcr as the API server writes it.
const stored = `{"apiVersion":"stable.example.com/v1","kind":"Testcr","metadata":{"creationTimestamp":"2026-11-23T19:35:06Z","generation":1,` +
	`"labels":{"app.kubernetes.io/managed-by":"podinfolookup","ip.stable.example.com/10.0.0.13":"","stable.example.com/namespace":"default"},` +
	`"managedFields":[{"apiVersion":"stable.example.com/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:a\"b":{}}},"f:spec":{}},` +
	`"manager":"podinfolookup","operation":"Update","time":"2026-11-23T19:35:06Z"}],"name":"29b36e2c6835dded8a115aee874d1ddc",` +
	`"resourceVersion":"154030","uid":"0e1ad54f-0a4f-4f2b-8d7b-35f9bd2a7bd3"},` +
	`"spec":{"containers":[{"id":"containerd://4f5ca3b2d1e0","image":"nginx:1.29","name":"nginx"}],"createdat":"2026-11-23T19:35:06Z","hostip":"192.0.2.1",` +
	`"hostnetwork":false,"labels":{"app":"nginx"},"namespace":"default","nodename":"node-000000","phase":"Running","podip":"10.0.0.13",` +
	`"podips":["10.0.0.13"],"podkey":"default/nginx","podname":"nginx","poduid":"b35f30d3-5178-4948-be79-5ba0e3662fe1","ready":true,` +
	`"serviceaccount":"default","startedat":"2026-11-23T19:35:06Z","terminating":false}}`

func TestWhatIsOrdinaryIsParsed(t *testing.T) {
	full, err := FromPod(fullPod()).Encode().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, data string
		want       bool
	}{
		{"what the API server writes", stored, true},
		{"a Testcr with every field", string(full), true},
		{"spaces", strings.ReplaceAll(stored, `":`, "\" :\n\t"), true},
		{"a finalizer and a deletion", strings.Replace(stored, `"generation":1`, `"finalizers":["a/b"],"deletionTimestamp":"2026-11-23T19:35:06Z"`, 1), true},
		{"the end of the first list", `{"kind":"Testcr","apiVersion":"stable.example.com/v1","metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}`, true},
		{"an escape", strings.Replace(stored, "nginx:1.29", `nginx\u003a1.29`, 1), false},
		{"a field that is not ours", strings.Replace(stored, `"phase"`, `"face"`, 1), false},
		{"a number for a text", strings.Replace(stored, `"Running"`, `1`, 1), false},
		{"nothing for a list", strings.Replace(stored, `["10.0.0.13"]`, `null`, 1), false},
		{"a time that is none", strings.Replace(stored, `"startedat":"2026`, `"startedat":"x026`, 1), false},
		{"an owner", strings.Replace(stored, `"generation":1`, `"ownerReferences":[]`, 1), false},
		{"two specs", strings.Replace(stored, `"spec"`, `"spec":{},"spec"`, 1), false},
		{"another kind", strings.Replace(stored, `"Testcr"`, `"Status"`, 1), false},
		{"another version", strings.Replace(stored, `example.com/v1"`, `example.com/v2"`, 1), false},
		{"something behind it", stored + `,"x":{}`, false},
		{"nothing", ``, false},
		{"a list", `[]`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, ok := parseTestcr([]byte(test.data), &interner{}); ok != test.want {
				t.Errorf("parsed: %t, want %t", ok, test.want)
			}
		})
	}
}

// FuzzParseTestcr holds the fast way to the long one: where it does not give up,
// it says the same.
func FuzzParseTestcr(f *testing.F) {
	f.Add([]byte(stored))
	f.Add([]byte(`{"kind":"Testcr","apiVersion":"stable.example.com/v1","metadata":{"labels":{}},"status":[{"a":"]\"}"}]}`))
	f.Add([]byte(`{"kind":"Testcr","apiVersion":"stable.example.com/v1","metadata":{"managedFields":[{},{"manager":"x"}]},"spec":{"podips":[],"containers":[{}],"labels":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			parseTestcr(data, &interner{}) // what it says means nothing, but it has to end
			return
		}
		got, ok := parseTestcr(data, &interner{})
		if !ok {
			return
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(data); err != nil {
			t.Fatalf("parsed, but it does not decode: %v\n%s", err, data)
		}
		if diff := cmp.Diff(decodeTestcr(u), got, cmp.AllowUnexported(Testcr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-long +fast):\n%s", data, diff)
		}
	})
}

// TestWhatIsCutOffIsNotParsed: a body that ends too early is not known to be JSON.
func TestWhatIsCutOffIsNotParsed(t *testing.T) {
	for end := range len(stored) {
		if _, ok := parseTestcr([]byte(stored)[:end:end], &interner{}); ok {
			t.Errorf("parsed: %s", stored[:end])
		}
		// Another byte in its place, above all one that opens or ends something.
		for _, c := range []byte("\"\\{}[],:x\x00\xff") {
			data := []byte(stored)
			data[end] = c
			parseTestcr(data, &interner{}) // it has to end, and must not panic
		}
	}
}

func TestEventsOfAWatchAreSplit(t *testing.T) {
	tests := []struct {
		name, data string
		want       bool
	}{
		{"as the API server writes it", `{"type":"ADDED","object":{"a":{"b":1}}}` + "\n", true},
		{"an error", `{"type":"ERROR","object":{"kind":"Status"}}`, true},
		{"the other order", `{"object":{},"type":"ADDED"}`, false},
		{"spaces", `{"type": "ADDED", "object": {}}`, false},
		{"an unknown type", `{"type":"RENAMED","object":{}}`, false},
		{"no object", `{"type":"ADDED"}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got, want metav1.WatchEvent
			ok := splitEvent([]byte(test.data), &got)
			if ok != test.want {
				t.Fatalf("split: %t, want %t", ok, test.want)
			}
			decoder := eventDecoder{unstructured.UnstructuredJSONScheme}
			got = metav1.WatchEvent{}
			if _, _, err := decoder.Decode([]byte(test.data), nil, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(test.data), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPodAndItsTestcrShareMemory(t *testing.T) {
	decoded := func(t *testing.T) *Testcr {
		t.Helper()
		got, ok := parseTestcr([]byte(stored), &interner{})
		if !ok {
			t.Fatal("not parsed")
		}
		return got
	}
	tests := []struct {
		name      string
		podFirst  bool
		edit      func(*Testcr)
		wantShare bool
	}{
		{"the Pod came first", true, func(*Testcr) {}, true},
		{"the Testcr came first", false, func(*Testcr) {}, true},
		{"the Testcr was edited", true, func(c *Testcr) { c.Spec.PodIP = "10.9.9.9" }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testcrs := newTestcrs(t, newDynamic())
			testcrs.kept.both = true
			state := &podState{spec: decoded(t).Spec}
			testcr := decoded(t)
			test.edit(testcr)
			steps := []func(){
				func() { testcrs.kept.pod(&state.spec) },
				func() {
					if _, err := testcrs.keep(testcr); err != nil {
						t.Error(err)
					}
				},
			}
			if !test.podFirst {
				steps[0], steps[1] = steps[1], steps[0]
			}
			steps[0]()
			steps[1]()
			shared := unsafe.StringData(state.spec.PodUID) == unsafe.StringData(testcr.Spec.PodUID) && //nolint:gosec // G103: to compare where they are
				&state.spec.Containers[0] == &testcr.Spec.Containers[0]
			if shared != test.wantShare {
				t.Errorf("shared: %t, want %t", shared, test.wantShare)
			}
			testcrs.kept.forget("default/nginx")
			if n := len(testcrs.kept.specs); n != 0 {
				t.Errorf("%d specs are kept of a Pod that is gone", n)
			}
		})
	}
}

func TestLabelsThatFollowFromTheSpecAreNotKept(t *testing.T) {
	pod := fullPod()
	want := FromPod(pod)
	tests := []struct {
		name     string
		edit     func(labels map[string]string)
		wantKept bool
		wantSays bool
	}{
		{"those that the Pod calls for", func(map[string]string) {}, false, true},
		{"one more of somebody else's", func(l map[string]string) { l["theirs"] = "yes" }, true, true},
		{"one more of ours", func(l map[string]string) { l[labelPrefix+"other"] = "true" }, true, false},
		{"one less", func(l map[string]string) { delete(l, LabelNamespace) }, true, false},
		{"none of ours", func(l map[string]string) { delete(l, LabelManagedBy) }, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			have := FromPod(pod)
			test.edit(have.Labels)
			managed, labels := have.Managed(), have.AllLabels()
			have.compact()
			if kept := have.Labels != nil; kept != test.wantKept {
				t.Errorf("kept: %t", kept)
			}
			if have.Managed() != managed || !cmp.Equal(have.AllLabels(), labels) || !cmp.Equal(have.Encode().GetLabels(), labels) {
				t.Errorf("managed %t, labels %v; want %t, %v", have.Managed(), have.AllLabels(), managed, labels)
			}
			if got := have.says(want); got != test.wantSays {
				t.Errorf("says: %t, want %t", got, test.wantSays)
			}
			over := want.over(have)
			if over.labelled || !cmp.Equal(over.Labels["theirs"], labels["theirs"]) || over.Labels[LabelManagedBy] != ManagedBy {
				t.Errorf("over: %v", over.Labels)
			}
		})
	}
}

func TestAnAnswerToAWrite(t *testing.T) {
	written := FromPod(fullPod())
	meta := written.Encode().Object["metadata"].(map[string]any)
	meta["resourceVersion"] = "8"
	whole, ok := parseTestcr([]byte(stored), &interner{})
	if !ok {
		t.Fatal("the Testcr of these tests is not parsed")
	}
	var full unstructured.Unstructured
	if err := full.UnmarshalJSON([]byte(stored)); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name            string
		answer          unstructured.Unstructured
		version         string
		spec            TestcrSpec
		saysWhatWasSent bool
	}{
		{"its metadata, as asked for", unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": meta,
		}}, "8", written.Spec, true},
		{"all of it, from an API server that cannot leave the spec out", full, "154030", whole.Spec, false},
		{"a Testcr without a spec", unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "stable.example.com/v1", "kind": "Testcr", "metadata": meta,
		}}, "8", TestcrSpec{}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := decodeAnswer(&test.answer, written)
			if diff := cmp.Diff(test.spec, got.Spec); diff != "" {
				t.Errorf("the spec (-want +got):\n%s", diff)
			}
			if got.Kind != "Testcr" || got.ResourceVersion != test.version {
				t.Errorf("%s %s, want Testcr %s", got.Kind, got.ResourceVersion, test.version)
			}
			if says := got.says(written); says != test.saysWhatWasSent {
				t.Errorf("says what was written: %t, want %t", says, test.saysWhatWasSent)
			}
		})
	}
}
