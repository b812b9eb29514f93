package desired

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired/desiredtest"
)

func TestEqual_EachField(t *testing.T) {
	if !Equal(desiredtest.FullSpec(), desiredtest.FullSpec()) {
		t.Fatal("a spec does not equal its copy")
	}
	for _, change := range desiredtest.Changes() {
		t.Run(change.Name, func(t *testing.T) {
			one, other := desiredtest.FullSpec(), desiredtest.FullSpec()
			change.Apply(other)
			if cmp.Equal(one, other) {
				t.Fatal("the test changed nothing")
			}
			if Equal(one, other) || Equal(other, one) {
				t.Error("Equal does not compare it")
			}
			if Matches(FromSpec(one), FromSpec(other)) {
				t.Error("Matches does not compare it")
			}
		})
	}
}

// notFromPod are the fields that Spec leaves zero for a Pod in which all is set.
var notFromPod = map[string]bool{
	"Truncated": true, // only for a Pod that is too large: see TestFromPod_HostilePod
}

func TestSpec_EachField(t *testing.T) {
	spec := Spec(desiredtest.FullPod())
	v := reflect.ValueOf(spec)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		t.Run(name, func(t *testing.T) {
			if v.Field(i).IsZero() != notFromPod[name] {
				t.Errorf("it is %v", v.Field(i))
			}
		})
	}
	container := reflect.TypeFor[v1.Container]()
	for i := range container.NumField() {
		t.Run("Containers."+container.Field(i).Name, func(t *testing.T) {
			for _, c := range spec.Containers {
				if !reflect.ValueOf(c).Field(i).IsZero() {
					return
				}
			}
			t.Error("no container has it")
		})
	}
}

// unbounded are the strings that bound does not cut: the API server bounds names, and
// this program makes the others.
var unbounded = []string{"PodKey", "PodName", "Namespace", "ReadyContainers", "WorkloadProof", "NetworkIPs.IP", "Containers.Kind"}

// eachString calls visit with each string in v outside of maps.
func eachString(path string, v reflect.Value, visit func(path string, v reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		visit(path, v)
	case reflect.Slice:
		for i := range v.Len() {
			eachString(path, v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				eachString(strings.TrimPrefix(path+"."+f.Name, "."), v.Field(i), visit)
			}
		}
	}
}

func TestBound_EachField(t *testing.T) {
	for name, text := range map[string]string{"long": strings.Repeat("a", maxStringBytes+1), "not UTF-8": "a\xff"} {
		spec := desiredtest.FullSpec()
		v := reflect.ValueOf(spec).Elem()
		eachString("", v, func(_ string, v reflect.Value) { v.SetString(text) })
		bound(spec)
		eachString("", v, func(path string, v reflect.Value) {
			t.Run(path+" that is "+name, func(t *testing.T) {
				isBounded := v.Len() <= maxStringBytes && utf8.ValidString(v.String())
				if isBounded == slices.Contains(unbounded, path) {
					t.Errorf("it is bounded: %t", isBounded)
				}
			})
		})
	}
}
