package podinfolookup

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

func TestRepairs_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r repairs
		key, other := cache.NewObjectName("shop", "web"), cache.NewObjectName("shop", "cart")
		want := []time.Duration{0}
		for wait := repairWaitMin; wait < repairWaitMax; wait *= 2 {
			want = append(want, wait)
		}
		want = append(want, repairWaitMax, repairWaitMax)
		var got []time.Duration
		for range want {
			wait := r.wait(key)
			got = append(got, wait)
			<-time.After(wait) // virtual time
			if left := r.wait(key); left != 0 {
				t.Errorf("%s are left after the wait", left)
			}
			r.made(key)
			r.sweep()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("waits (-want +got):\n%s", diff)
		}
		if wait := r.wait(other); wait != 0 {
			t.Errorf("another Testcr waits %s", wait)
		}
		<-time.After(repairForget) // virtual time
		if r.sweep() {
			t.Error("the contest ended too early")
		}
		<-time.After(time.Second) // virtual time
		if !r.sweep() || r.sweep() {
			t.Error("the end of the contest is not reported once")
		}
		if wait := r.wait(key); wait != 0 || r.keys != nil {
			t.Errorf("%s and %d entries are left of what is over", wait, len(r.keys))
		}
	})
}

func TestRepairs_Trace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r repairs
		key, other := cache.NewObjectName("shop", "web"), cache.NewObjectName("shop", "cart")
		contest := func() {
			for min(r.keys[key].wait, r.keys[other].wait) < contestedFrom {
				r.made(key)
				r.made(other)
			}
		}
		r.made(key)
		if r.trace(key, "web") {
			t.Error("one repair is a contest")
		}
		contest()
		if !r.trace(key, "web") || r.trace(other, "cart") || r.trace(key, "web") {
			t.Error("of two contested Testcrs not one is traced")
		}
		r.stored("cart", "1")
		r.stored("web", "2")
		if _, _, ok := r.found("cart"); ok {
			t.Error("what is not traced was found")
		}
		if version, contested, ok := r.found("web"); version != "2" || contested != 2 || !ok {
			t.Errorf("found %q of %d contested Testcrs, %t", version, contested, ok)
		}
		contest()
		if r.trace(key, "web") {
			t.Error("it warns twice in a row")
		}
		<-time.After(contestInterval) // virtual time
		r.sweep()
		contest()
		if !r.trace(other, "cart") {
			t.Error("it never warns again")
		}
		<-time.After(repairForget) // virtual time
		contest()
		if !r.trace(key, "web") {
			t.Error("it waits for a trace that is lost")
		}
	})
}

func TestOtherManagers(t *testing.T) {
	entry := func(manager, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, FieldsV1: metav1.NewFieldsV1(fields)}
	}
	const spec = `{"f:spec":{}}`
	tests := []struct {
		name    string
		managed []metav1.ManagedFieldsEntry
		want    []string
	}{
		{name: "nobody is recorded"},
		{name: "ours alone", managed: []metav1.ManagedFieldsEntry{entry(ManagedBy, spec)}},
		{
			name: "another one of the spec", managed: []metav1.ManagedFieldsEntry{entry(ManagedBy, `{}`), entry("helm\n", spec), entry("helm\n", spec)},
			want: []string{`"helm\n"`},
		},
		{
			name:    "another one of a label of ours",
			managed: []metav1.ManagedFieldsEntry{entry("x", `{"f:metadata":{"f:labels":{"f:stable.example.com/workload":{}}}}`)},
			want:    []string{`"x"`},
		},
		{name: "another one of what is theirs", managed: []metav1.ManagedFieldsEntry{entry("x", `{"f:metadata":{"f:labels":{"f:team":{}}}}`), {Manager: "y"}}},
		{
			name:    "more than a line should have",
			managed: []metav1.ManagedFieldsEntry{entry("a", spec), entry("b", spec), entry("c", spec), entry("d", spec)},
			want:    []string{`"a"`, `"b"`, `"c"`},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, otherManagers(test.managed)); diff != "" {
				t.Errorf("managers (-want +got):\n%s", diff)
			}
		})
	}
}
