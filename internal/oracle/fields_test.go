package oracle

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// specSchema returns the schema of spec in the CRD.
func specSchema(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "yaml", "testcrd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd map[string]any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
	schema, _, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec")
	return schema
}

func propertiesOf(t *testing.T, schema any) map[string]any {
	t.Helper()
	properties, _, err := unstructured.NestedMap(schema.(map[string]any), "properties")
	if err != nil || len(properties) == 0 {
		t.Fatalf("no properties: %v", err)
	}
	return properties
}

// example returns a value of the type of a schema.
func example(t *testing.T, schema any) any {
	t.Helper()
	s := schema.(map[string]any)
	switch {
	case s["type"] == "boolean":
		return true
	case s["type"] == "integer":
		return int64(1)
	case s["format"] == "date-time":
		return "2026-01-02T03:04:05Z"
	case s["type"] == "string":
		return "text"
	case s["type"] == "array":
		return []any{example(t, s["items"])}
	case s["additionalProperties"] != nil:
		return map[string]any{"key": example(t, s["additionalProperties"])}
	case s["type"] == "object":
		object := map[string]any{}
		for name, property := range propertiesOf(t, s) {
			object[name] = example(t, property)
		}
		return object
	}
	t.Fatalf("no example of the type %v", s["type"])
	return nil
}

func TestFields_AreThoseOfTheCRD(t *testing.T) {
	properties := propertiesOf(t, specSchema(t))
	var names []string
	for i := range fields {
		names = append(names, fields[i].name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(properties)), names); diff != "" {
		t.Errorf("fields of spec (-CRD +table):\n%s", diff)
	}
	for i := range fields {
		f := &fields[i]
		schema, ok := properties[f.name]
		if !ok {
			continue // reported above
		}
		t.Run(f.name, func(t *testing.T) {
			if value := example(t, schema); !f.is(value) {
				t.Errorf("a %T is refused, but the CRD has type %v", value, schema.(map[string]any)["type"])
			}
			for _, wrong := range []any{nil, 1.5, []any{1.5}, map[string]any{"key": 1.5}} {
				if f.is(wrong) {
					t.Errorf("%v is accepted", wrong)
				}
			}
			if value := f.value(fullPod()); !f.is(value) {
				t.Errorf("its own value %v of the type %T is refused", value, value)
			}
		})
	}
}

func TestContainerFields_AreThoseOfTheCRD(t *testing.T) {
	items := propertiesOf(t, specSchema(t))["containers"].(map[string]any)["items"]
	var names []string
	for i := range containerFields {
		names = append(names, containerFields[i].name)
	}
	slices.Sort(names)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(propertiesOf(t, items))), names); diff != "" {
		t.Errorf("fields of a container (-CRD +table):\n%s", diff)
	}
	surplus := example(t, items).(map[string]any)
	surplus["color"] = "red"
	if isContainer(surplus) {
		t.Error("a container with a field that is not in the CRD is accepted")
	}
}

// The API server refuses a Testcr without the required fields, so every Pod must
// have them, and only they may be false.
func TestFactsFor_RequiredFieldsOfTheCRD(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cart", UID: "u"}}
	required, _, err := unstructured.NestedStringSlice(specSchema(t), "required")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(required)
	if diff := cmp.Diff(required, slices.Sorted(maps.Keys(FactsFor(pod).Spec))); diff != "" {
		t.Errorf("fields of an empty Pod (-required +have):\n%s", diff)
	}
}
