package podinfolookup

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/cache"
)

func TestNameFor(t *testing.T) {
	// The name that the article shows for its Pod.
	if got, want := NameFor(cache.NewObjectName("default", "nginx")), "29b36e2c6835dded8a115aee874d1ddc"; got != want {
		t.Errorf("NameFor is %s, want %s", got, want)
	}
}

// fill sets every field below v to a value of its own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), n)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[metav1.Time]() {
			v.Set(reflect.ValueOf(metav1.Unix(1_700_000_000+int64(*n), 0)))
			return
		}
		for _, field := range v.Fields() {
			if field.CanSet() {
				fill(field, n)
			}
		}
	}
}

func fullPod() *corev1.Pod {
	pod := &corev1.Pod{}
	n := 0
	fill(reflect.ValueOf(pod).Elem(), &n)
	// What refers to each other.
	pod.Status.Conditions[0].Type, pod.Status.Conditions[0].Status = corev1.PodReady, corev1.ConditionTrue
	pod.Status.ContainerStatuses[0].Name = pod.Spec.Containers[0].Name
	pod.Status.InitContainerStatuses[0].Name = pod.Spec.InitContainers[0].Name
	pod.Status.EphemeralContainerStatuses[0].Name = pod.Spec.EphemeralContainers[0].Name
	pod.OwnerReferences[0] = metav1.OwnerReference{
		APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9f", UID: "u", Controller: new(true), BlockOwnerDeletion: new(true),
	}
	pod.Labels = map[string]string{"pod-template-hash": "5d9f"}
	return pod
}

// leaves calls visit with each field below v that is set and has no fields.
func leaves(path string, v reflect.Value, visit func(string, reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		switch {
		case v.IsNil():
		case v.Type() == reflect.TypeFor[*metav1.Time]():
			visit(path, v)
		default:
			leaves(path, v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			leaves(fmt.Sprintf("%s[%d]", path, i), v.Index(i), visit)
		}
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[metav1.Time]() {
			for i := range v.NumField() {
				leaves(path+"."+v.Type().Field(i).Name, v.Field(i), visit)
			}
			return
		}
		if !v.IsZero() {
			visit(path, v)
		}
	default:
		if v.CanSet() && !v.IsZero() {
			visit(path, v)
		}
	}
}

func TestTransformsMayBeAppliedAgain(t *testing.T) {
	testcrs := newTestcrs(t, newDynamic())
	pods := keepPod(&testcrs.kept)
	for _, test := range []struct {
		name      string
		transform cache.TransformFunc
		object    any
	}{
		{"a Pod", pods, fullPod()},
		{"a Testcr", testcrs.keep, FromPod(fullPod()).Encode()},
		{"a Testcr, decoded alone", DecodeTestcr, FromPod(fullPod()).Encode()},
	} {
		t.Run(test.name, func(t *testing.T) {
			once, err := test.transform(test.object)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := test.transform(once); again != once || err != nil {
				t.Errorf("twice: %v, %v", again, err)
			}
			tombstone := cache.DeletedFinalStateUnknown{Key: "a/b"}
			if got, err := test.transform(tombstone); got != any(tombstone) || err != nil {
				t.Errorf("a tombstone becomes %v, %v", got, err)
			}
		})
	}
}

func TestEverySpecFieldIsEncodedDecodedAndCompared(t *testing.T) {
	want := &TestcrSpec{}
	n := 0
	fill(reflect.ValueOf(want).Elem(), &n)
	var got TestcrSpec
	if !got.decode(want.encode()) {
		t.Error("what was encoded does not decode")
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("spec after encoding and decoding (-want +got):\n%s", diff)
	}
	// The hand-written encoding is what the JSON tags, and so the CRD, say; an
	// unset field is left out by both, too.
	for _, spec := range []*TestcrSpec{want, {}} {
		data, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		var byTags map[string]any
		if err := json.Unmarshal(data, &byTags); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(byTags, spec.encode()); diff != "" {
			t.Errorf("encoding (-by tags +by hand):\n%s", diff)
		}
		var written map[string]any
		if err := json.Unmarshal(spec.appendJSON(nil), &written); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(byTags, written); diff != "" {
			t.Errorf("encoding (-by tags +to the end):\n%s", diff)
		}
	}
	if !want.equal(&got) {
		t.Fatal("a spec does not equal its copy")
	}
	leaves("Spec", reflect.ValueOf(&got).Elem(), func(path string, field reflect.Value) {
		old := reflect.New(field.Type()).Elem()
		old.Set(field)
		field.SetZero()
		if want.equal(&got) {
			t.Errorf("%s is not compared", path)
		}
		field.Set(old)
	})
}

func TestDecodeMarksWhatDoesNotFit(t *testing.T) {
	tests := []struct {
		name          string
		object        map[string]any
		wantMalformed bool
	}{
		{"a spec that fits", map[string]any{"spec": map[string]any{"podip": "10.0.0.1", "ready": true}}, false},
		{"no spec", map[string]any{}, true},
		{"a spec of another type", map[string]any{"spec": "x"}, true},
		{"an unknown field", map[string]any{"spec": map[string]any{"podipv4": "10.0.0.1"}}, true},
		{"a string of another type", map[string]any{"spec": map[string]any{"podip": int64(5)}}, true},
		{"a flag of another type", map[string]any{"spec": map[string]any{"ready": "true"}}, true},
		{"null", map[string]any{"spec": map[string]any{"podip": nil}}, true},
		{"a list of another type", map[string]any{"spec": map[string]any{"podips": map[string]any{}}}, true},
		{"a list with another type in it", map[string]any{"spec": map[string]any{"podips": []any{"a", 1.5}}}, true},
		{"a label of another type", map[string]any{"spec": map[string]any{"labels": map[string]any{"a": true}}}, true},
		{"a container of another type", map[string]any{"spec": map[string]any{"containers": []any{"nginx"}}}, true},
		{"a container with an unknown field", map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"port": "80"}}}}, true},
		{"a container's name of another type", map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"name": 1.0}}}}, true},
		{"a time that is none", map[string]any{"spec": map[string]any{"createdat": "yesterday"}}, true},
		{"a time of another type", map[string]any{"spec": map[string]any{"startedat": 5.0}}, true},
		{"metadata of another type", map[string]any{"metadata": 7.0, "spec": map[string]any{}}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			obj, err := DecodeTestcr(&unstructured.Unstructured{Object: test.object})
			if err != nil {
				t.Fatal(err)
			}
			if got := obj.(*Testcr).malformed; got != test.wantMalformed {
				t.Errorf("malformed is %t, want %t", got, test.wantMalformed)
			}
		})
	}
}

func TestWorkload(t *testing.T) {
	tests := []struct {
		name               string
		owner              metav1.OwnerReference
		labels             map[string]string
		wantKind, wantName string
	}{
		{
			name: "a ReplicaSet whose hash the Pod carries belongs to a Deployment", owner: metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9f"},
			labels: map[string]string{"pod-template-hash": "5d9f"}, wantKind: "Deployment", wantName: "web",
		},
		{
			name: "a ReplicaSet of another hash stands for itself", owner: metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9f"},
			labels: map[string]string{"pod-template-hash": "aaaa"}, wantKind: "ReplicaSet", wantName: "web-5d9f",
		},
		{
			name: "a ReplicaSet without a hash stands for itself", owner: metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-"},
			wantKind: "ReplicaSet", wantName: "web-",
		},
		{
			name: "a ReplicaSet that is nothing but a hash stands for itself", owner: metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "-5d9f"},
			labels: map[string]string{"pod-template-hash": "5d9f"}, wantKind: "ReplicaSet", wantName: "-5d9f",
		},
		{
			name: "a ReplicaSet of another group proves nothing", owner: metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "ReplicaSet", Name: "web-5d9f"},
			labels: map[string]string{"pod-template-hash": "5d9f"}, wantKind: "ReplicaSet", wantName: "web-5d9f",
		},
		{
			name: "a StatefulSet stands for itself", owner: metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db"},
			wantKind: "StatefulSet", wantName: "db",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if kind, name := workloadOf(&test.owner, test.labels); kind != test.wantKind || name != test.wantName {
				t.Errorf("workload is %s %s, want %s %s", kind, name, test.wantKind, test.wantName)
			}
		})
	}
}

func TestFromPodWhereSourcesDiffer(t *testing.T) {
	tests := []struct {
		name string
		pod  corev1.Pod
		want func(*TestcrSpec) any
		is   any
	}{
		{"podips falls back to podIP", corev1.Pod{Status: corev1.PodStatus{PodIP: "10.0.0.1"}}, func(s *TestcrSpec) any { return s.PodIPs }, []string{"10.0.0.1"}},
		{"an owner that is no controller is none", corev1.Pod{ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: "j"}}}},
			func(s *TestcrSpec) any { return s.OwnerKind + s.WorkloadName }, ""},
		{"a fraction of a second is cut", corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Unix(5, 7).UTC())}},
			func(s *TestcrSpec) any { return s.CreatedAt.UTC() }, time.Unix(5, 0).UTC()},
		{"a year that no text can have is none", corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)}},
			func(s *TestcrSpec) any { return s.CreatedAt.IsZero() }, true},
		{"a Pod that waits to be ready is not", corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionUnknown}}}},
			func(s *TestcrSpec) any { return s.Ready }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.is, test.want(&FromPod(&test.pod).Spec)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestManagedFieldsAreForgottenWhenTheyAreOursAlone(t *testing.T) {
	entry := func(manager string) any { return map[string]any{"manager": manager, "operation": "Update"} }
	tests := []struct {
		name    string
		entries any
		want    any
	}{
		{"none", nil, nil},
		{"ours", []any{entry(ManagedBy)}, []any{map[string]any{}}},
		{"ours and somebody's", []any{entry(ManagedBy), entry("kubectl-label")}, nil},
		{"of another type", "x", nil},
		{"with another type in it", []any{"x"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stored := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "a", "managedFields": test.entries}}}
			written := FromPod(fullPod()).over(decodeTestcr(stored)).Encode()
			if diff := cmp.Diff(test.want, written.Object["metadata"].(map[string]any)["managedFields"]); diff != "" {
				t.Errorf("managed fields of an update (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOverKeepsWhatOthersOwn(t *testing.T) {
	want := FromPod(fullPod())
	have := &Testcr{ObjectMeta: metav1.ObjectMeta{
		Name: want.Name, UID: "u", ResourceVersion: "7", Finalizers: []string{"hold"}, Annotations: map[string]string{"note": "theirs"},
		Labels: map[string]string{"team": "shop", LabelManagedBy: "helm", LabelWorkload: "old", labelPrefix + "stale": "x"},
	}}
	got := want.over(have)
	wantLabels := map[string]string{
		"team": "shop", LabelManagedBy: ManagedBy, LabelWorkload: "web", LabelNamespace: want.Spec.Namespace,
		LabelMore: "true", // what fill makes are neither IPs nor container IDs
	}
	if diff := cmp.Diff(wantLabels, got.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if got.UID != "u" || got.ResourceVersion != "7" || got.Finalizers[0] != "hold" || got.Annotations["note"] != "theirs" {
		t.Errorf("metadata is %+v", got.ObjectMeta)
	}
	if _, ok := have.Labels[labelPrefix+"stale"]; !ok {
		t.Error("the cached Testcr was changed")
	}
}

// FuzzFromPod feeds Pods as they come over the wire. Whatever one holds, its
// Testcr must be one that the API server takes and that is recognised when it
// comes back: else the controller would write it for ever.
func FuzzFromPod(f *testing.F) {
	binary := fullPod()
	binary.Status.Phase, binary.Spec.Containers[0].Image, binary.OwnerReferences[0].Name = "Run\xffning", "\xc3\x28\x00", "\xe2\x82"
	binary.Labels["\xf0"], binary.Labels["\xf1"], binary.Labels["\ufffd"] = "a", "b", "\xfe"
	for _, pod := range []*corev1.Pod{{}, fullPod(), binary, {ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"}}} {
		data, err := pod.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pod := &corev1.Pod{}
		if pod.Unmarshal(data) != nil {
			return
		}
		want := FromPod(pod)
		kept, err := keepPod(&keeper{both: true})(pod)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, kept.(*podState).testcr(), cmp.AllowUnexported(Testcr{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("what is kept of the Pod gives another Testcr (-want +got):\n%s", diff)
		}
		if problems := validation.IsDNS1123Subdomain(want.Name); len(problems) > 0 {
			t.Errorf("name %q: %v", want.Name, problems)
		}
		for key, value := range want.Labels {
			problems := validation.IsQualifiedName(key)
			if key != LabelNamespace { // the API server lets no other name in
				problems = append(problems, validation.IsValidLabelValue(value)...)
			}
			if len(problems) > 0 {
				t.Errorf("label %q=%q: %v", key, value, problems)
			}
		}
		encoded, err := json.Marshal(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		var mapped, written map[string]any
		body, err := json.Marshal(want.body())
		if err := errors.Join(err, json.Unmarshal(encoded, &mapped), json.Unmarshal(body, &written)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(mapped, written); diff != "" {
			t.Errorf("encoded to the end, it is something else (-want +got):\n%s", diff)
		}
		if !utf8.ValidString(pod.Namespace + pod.Name) {
			return // JSON cannot hold it, and the API server lets no such name in
		}
		if parsed, ok := parseTestcr(encoded, &interner{}); ok && !parsed.says(want) {
			t.Errorf("it is parsed to something else:\n%s", encoded)
		}
		stored := &unstructured.Unstructured{}
		if err := json.Unmarshal(encoded, stored); err != nil {
			t.Fatal(err)
		}
		if !decodeTestcr(stored).says(want) {
			t.Errorf("it is not recognised when it comes back:\n%s", encoded)
		}
	})
}
