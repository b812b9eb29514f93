package v1_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/yaml"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// fullTestcr returns a Testcr in which everything is set that can share memory, and
// every field of the spec.
func fullTestcr() *v1.Testcr {
	at := metav1.Unix(1_700_000_000, 0)
	return &v1.Testcr{
		TypeMeta: metav1.TypeMeta{APIVersion: "stable.example.com/v1", Kind: "Testcr"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "29b36e2c6835dded8a115aee874d1ddc", UID: "u", ResourceVersion: "7", Generation: 1, CreationTimestamp: at,
			DeletionTimestamp: &at, DeletionGracePeriodSeconds: new(int64(0)), Finalizers: []string{"hold"},
			Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n", UID: "x", Controller: new(true)}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "m", Time: &at, FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}},
		},
		Spec: v1.TestcrSpec{
			PodKey: "default/nginx", PodName: "nginx", PodUID: "p", NodeUID: "h", Namespace: "default", PodIP: "10.0.0.7", PodIPs: []string{"10.0.0.7", "fd00::7"},
			NetworkIPs: []v1.NetworkIP{{IP: "192.0.2.9", Network: "storage"}}, HostIP: "192.0.2.1", HostIPs: []string{"192.0.2.1", "fd00::1"},
			NodeName: "node-1", Phase: "Running", Status: "Running", ReadyContainers: "1/1", Restarts: 2, HostNetwork: true, Ready: true, Terminating: true,
			OwnerKind: "ReplicaSet", OwnerName: "web-5d9f", WorkloadKind: "Deployment", WorkloadName: "web", WorkloadProof: v1.ProofLabel,
			ServiceAccount: "default", Hostname: "nginx", Subdomain: "web",
			CreatedAt: at, StartedAt: at, Labels: map[string]string{"app": "web"},
			Containers: []v1.Container{{
				Name: "main", Image: "nginx:1", ID: "c://a", ImageID: "nginx@sha256:00", PreviousID: "c://b", PreviousReason: "OOMKilled", PreviousExitCode: 137,
				Kind: v1.ContainerInit,
			}}, Truncated: true,
		},
	}
}

func fullList() *v1.TestcrList {
	list := &v1.TestcrList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more"}, Items: []v1.Testcr{*fullTestcr(), {}}}
	list.Items[1].SetGroupVersionKind(v1.GroupVersionKind)
	list.SetGroupVersionKind(v1.GroupVersion.WithKind("TestcrList"))
	return list
}

func TestAddToScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codecs := serializer.NewCodecFactory(scheme)
	encoder, decoder := codecs.LegacyCodec(v1.GroupVersion), codecs.UniversalDeserializer()
	for _, want := range []runtime.Object{fullTestcr(), fullList()} {
		t.Run(fmt.Sprintf("a %T is encoded and decoded", want), func(t *testing.T) {
			data, err := runtime.Encode(encoder, want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runtime.Decode(decoder, data)
			if err != nil {
				t.Fatal(err)
			}
			again, err := runtime.Encode(encoder, got)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(data, again) || reflect.TypeOf(got) != reflect.TypeOf(want) {
				t.Errorf("a %T (-want +got):\n%s", got, cmp.Diff(string(data), string(again)))
			}
		})
	}
	t.Run("the options of lists and watches are known", func(t *testing.T) {
		if !scheme.Recognizes(v1.GroupVersion.WithKind("ListOptions")) || !scheme.Recognizes(v1.GroupVersion.WithKind("WatchEvent")) {
			t.Error("a generated client could not list and watch")
		}
	})
}

// shared calls found with each pointer, list and map that two equal values share.
func shared(path string, a, b reflect.Value, found func(string)) {
	switch a.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if a.IsNil() {
			return
		}
		if a.Type() == reflect.TypeFor[*metav1.Time]() || a.Kind() != reflect.Pointer || a.Elem().Kind() != reflect.Struct {
			if a.Pointer() == b.Pointer() {
				found(path)
			}
		}
	}
	switch a.Kind() {
	case reflect.Pointer:
		shared(path, a.Elem(), b.Elem(), found)
	case reflect.Slice:
		for i := range a.Len() {
			shared(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i), found)
		}
	case reflect.Struct:
		if a.Type() != reflect.TypeFor[metav1.Time]() {
			for i := range a.NumField() {
				shared(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i), found)
			}
		}
	}
}

func TestDeepCopy(t *testing.T) {
	spec := reflect.ValueOf(fullTestcr().Spec)
	for i := range spec.NumField() {
		if spec.Field(i).IsZero() {
			t.Errorf("fullTestcr has no %s", spec.Type().Field(i).Name)
		}
	}
	for _, object := range []runtime.Object{fullTestcr(), fullList()} {
		t.Run(fmt.Sprintf("the copy of a %T is equal and shares nothing", object), func(t *testing.T) {
			got := object.DeepCopyObject()
			if diff := cmp.Diff(object, got); diff != "" {
				t.Errorf("copy (-want +got):\n%s", diff)
			}
			shared("", reflect.ValueOf(object).Elem(), reflect.ValueOf(got).Elem(), func(path string) {
				t.Errorf("%s is shared", path)
			})
		})
	}
	t.Run("the copy of nothing is nothing", func(t *testing.T) {
		if (*v1.Testcr)(nil).DeepCopyObject() != nil || (*v1.TestcrList)(nil).DeepCopyObject() != nil {
			t.Error("it is something")
		}
	})
}

// jsonNames returns the names in JSON of the fields of T, sorted.
func jsonNames[T any]() []string {
	var names []string
	for field := range reflect.TypeFor[T]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func readYAML(t *testing.T, path ...string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := yaml.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func propertyNames(t *testing.T, schema map[string]any, path ...string) []string {
	t.Helper()
	properties, _, err := unstructured.NestedMap(schema, append(path, "properties")...)
	if err != nil || len(properties) == 0 {
		t.Fatalf("no properties at %v: %v", path, err)
	}
	return slices.Sorted(maps.Keys(properties))
}

func TestTestcrSpec_Documents(t *testing.T) {
	spec, container := jsonNames[v1.TestcrSpec](), jsonNames[v1.Container]()

	t.Run("the CRD has each field", func(t *testing.T) {
		crd := readYAML(t, "..", "..", "yaml", "testcrd.yaml")
		versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
		if len(versions) != 1 {
			t.Fatalf("%d versions", len(versions))
		}
		version := versions[0].(map[string]any)
		at := []string{"schema", "openAPIV3Schema", "properties", "spec"}
		if diff := cmp.Diff(spec, propertyNames(t, version, at...)); diff != "" {
			t.Errorf("spec, make update writes it (-types +CRD):\n%s", diff)
		}
		if diff := cmp.Diff(container, propertyNames(t, version, append(at, "properties", "containers", "items")...)); diff != "" {
			t.Errorf("containers, make update writes them (-types +CRD):\n%s", diff)
		}
	})

	t.Run("the answers of the HTTP lookup have each field", func(t *testing.T) {
		api := readYAML(t, "..", "..", "docs", "openapi.yaml")
		ofLookup := []string{"testcr", "live", "omitted", "note", "state", "links"} // what the lookup adds
		pod := slices.DeleteFunc(propertyNames(t, api, "components", "schemas", "Pod"), func(name string) bool {
			return slices.Contains(ofLookup, name)
		})
		if diff := cmp.Diff(spec, pod); diff != "" {
			t.Errorf("Pod (-types +docs/openapi.yaml):\n%s", diff)
		}
		if diff := cmp.Diff(container, propertyNames(t, api, "components", "schemas", "Container")); diff != "" {
			t.Errorf("Container (-types +docs/openapi.yaml):\n%s", diff)
		}
	})

	t.Run("the table of fields has each field", func(t *testing.T) {
		table, file := tableOfFields(t)
		if diff := cmp.Diff(spec, table); diff != "" {
			t.Errorf("fields (-types +%s):\n%s", file, diff)
		}
	})
}

var quoted = regexp.MustCompile("`([^`]+)`")

// tableOfFields returns the names in the first column of the table whose first row is
// that of podkey, sorted, and the file that has the table.
func tableOfFields(t *testing.T) (names []string, file string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, filepath.Join("..", "..", "README.md")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, ok := strings.Cut(string(data), "\n| `podkey` |")
		if !ok {
			continue
		}
		names := []string{"podkey"}
		for _, row := range strings.Split(rest, "\n")[1:] {
			if !strings.HasPrefix(row, "|") {
				break
			}
			for _, name := range quoted.FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
				names = append(names, name[1])
			}
		}
		slices.Sort(names)
		return names, file
	}
	t.Fatal("no document has the table")
	return nil, ""
}
