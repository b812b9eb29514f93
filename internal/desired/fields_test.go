package desired

import (
	"reflect"
	"testing"

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
