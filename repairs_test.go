package podinfolookup

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const contestEnded = "No Testcr is changed again and again any more"

func TestRepairs_isPostponed(t *testing.T) {
	t.Run("each repair doubles the delay of the next one, until nobody changes the Testcr", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			key, other := keyOfWeb(1), keyOfWeb(2)
			want := []time.Duration{0}
			for delay := repairDelayMin; delay < repairDelayMax; delay *= 2 {
				want = append(want, delay)
			}
			want = append(want, repairDelayMax, repairDelayMax)
			var got []time.Duration
			for range want {
				begin := time.Now()
				if f.repairs.isPostponed(f.ctx, key, nil) {
					got = append(got, f.waitForKey(t, key).Sub(begin))
				} else {
					got = append(got, 0)
				}
				if f.repairs.isPostponed(f.ctx, key, nil) {
					t.Error("it is postponed after the delay")
				}
				f.repairs.note(key)
				f.repairs.forget(f.ctx)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("delays (-want +got):\n%s", diff)
			}
			if f.repairs.isPostponed(f.ctx, other, nil) {
				t.Error("another Testcr is postponed")
			}
			<-time.After(repairMemory) // virtual time
			if f.repairs.forget(f.ctx); strings.Contains(f.logs(), contestEnded) {
				t.Error("the contest ended too early")
			}
			<-time.After(time.Second)
			f.repairs.forget(f.ctx)
			f.repairs.forget(f.ctx)
			if n := strings.Count(f.logs(), contestEnded); n != 1 {
				t.Errorf("the end of the contest is logged %d times", n)
			}
			if f.repairs.isPostponed(f.ctx, key, nil) || len(f.states.keys) != 0 {
				t.Error("the contest is remembered after its end")
			}
		})
	})
}

// waitForKey waits in virtual time until a key is queued.
func (f *fixture) waitForKey(t *testing.T, want cache.ObjectName) time.Time {
	t.Helper()
	got, _ := f.queue.Get()
	f.queue.Done(got)
	if got != want {
		t.Errorf("%s is queued, want %s", got, want)
	}
	return time.Now()
}

func TestController_sync_Postponed(t *testing.T) {
	tests := []struct {
		name    string
		trigger trigger
		want    Verb
	}{
		{name: "the repair of a Testcr that was just repaired is postponed", want: Unchanged},
		{name: "a change of the Pod is written at once", trigger: trigger{podChanged: true}, want: Updated},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
				f.api.put(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "x" }))
				f.runCaches(t)
				synctest.Wait()
				f.queueOnly()
				f.repairs.note(keyOfWeb(1))
				verb, err := f.sync(f.ctx, keyOfWeb(1), test.trigger)
				if verb != test.want || err != nil {
					t.Errorf("sync returned %s, %v, want %s", verb, err, test.want)
				}
				delay := f.states.get(keyOfWeb(1)).repairDelay
				if delay != repairDelayMin {
					t.Errorf("the delay is %s: the sync counts as another repair", delay)
				}
			})
		})
	}
	t.Run("a Testcr that needs no write is not postponed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(1)))
			f.runCaches(t)
			synctest.Wait()
			f.queueOnly()
			f.repairs.note(keyOfWeb(1))
			if verb, err := f.sync(f.ctx, keyOfWeb(1), trigger{}); verb != Unchanged || err != nil {
				t.Errorf("sync returned %s, %v", verb, err)
			}
			<-time.After(time.Second) // virtual time
			synctest.Wait()
			if got := f.queued(); got != nil {
				t.Errorf("queued keys: %v", got)
			}
		})
	})
}

func TestRepairs_startTrace(t *testing.T) {
	t.Run("one contested Testcr at a time is traced, and one warning is due each contestInterval", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			key, other := keyOfWeb(1), keyOfWeb(2)
			repairUntilContested := func() {
				for min(f.states.get(key).repairDelay, f.states.get(other).repairDelay) < contestedFrom {
					f.repairs.note(key)
					f.repairs.note(other)
				}
			}
			f.repairs.note(key)
			if f.repairs.startTrace(key) {
				t.Error("one repair is a contest")
			}
			repairUntilContested()
			if !f.repairs.startTrace(key) || f.repairs.startTrace(other) || f.repairs.startTrace(key) {
				t.Error("not exactly one of two contested Testcrs is traced")
			}
			f.repairs.recordVersion(nameFor(other), "1")
			f.repairs.recordVersion(nameFor(key), "2")
			if _, ok := f.repairs.endTrace(nameFor(other)); ok {
				t.Error("a Testcr that is not traced ends the trace")
			}
			if version, ok := f.repairs.endTrace(nameFor(key)); version != "2" || !ok {
				t.Errorf("the traced version is %q, %t", version, ok)
			}
			repairUntilContested()
			if f.repairs.startTrace(key) {
				t.Error("it warns twice in a row")
			}
			<-time.After(contestInterval) // virtual time
			f.repairs.forget(f.ctx)
			repairUntilContested()
			if !f.repairs.startTrace(other) {
				t.Error("it never warns again")
			}
			<-time.After(repairMemory)
			repairUntilContested()
			if !f.repairs.startTrace(key) {
				t.Error("it waits for a trace that is lost")
			}
		})
	})
}

func TestRepairs_report(t *testing.T) {
	t.Run("a client that undoes each write is reported once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.runCaches(t)
			f.run(t)
			<-time.After(2 * time.Second) // virtual time
			f.takeWrites()
			edited := testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.9" })
			for range 400 {
				f.api.put(t, edited, func(u *unstructured.Unstructured) {
					u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "helm", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}})
				})
				<-time.After(100 * time.Millisecond)
			}
			for _, w := range f.takeWrites() {
				if w.Reason != TestcrEdited {
					t.Errorf("reason is %s", w.Reason)
				}
			}
			if diff := cmp.Diff([]string{ContestedTestcr}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
			if text := f.logs(); !strings.Contains(text, `the field manager \"helm\" changes them`) || !strings.Contains(text, "contested=1") {
				t.Errorf("the warning does not name the client: %s", text)
			}
		})
	})
}

func TestRepairs_report_Deleted(t *testing.T) {
	t.Run("a client that deletes a Testcr again and again is reported", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.runCaches(t)
			f.run(t)
			<-time.After(2 * time.Second) // virtual time
			for range 400 {
				if f.api.stored(t, nameFor(keyOfWeb(1))) != nil {
					f.api.remove(t, nameFor(keyOfWeb(1)))
				}
				<-time.After(100 * time.Millisecond)
			}
			if diff := cmp.Diff([]string{ContestedTestcr}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
			if text := f.logs(); !strings.Contains(text, "a client deletes them") {
				t.Errorf("the warning does not give the cause: %s", text)
			}
		})
	})
}

func TestController_write_RecordsVersion(t *testing.T) {
	t.Run("the version of the last write that succeeded is recorded", func(t *testing.T) {
		f := setup{}.build(t)
		key, want := keyOfWeb(1), testcrOf(web(1))
		for f.states.get(key).repairDelay < contestedFrom {
			f.repairs.note(key)
		}
		if !f.repairs.startTrace(key) {
			t.Fatal("it is not traced")
		}
		if isWritten, err := f.write(f.ctx, key, Added, want, nil); !isWritten || err != nil {
			t.Fatalf("write returned %t, %v", isWritten, err)
		}
		stored := f.api.stored(t, want.Name).ResourceVersion
		if isWritten, err := f.write(f.ctx, key, Added, want, nil); isWritten || err == nil {
			t.Fatalf("the second write returned %t, %v", isWritten, err)
		}
		if version, _ := f.repairs.endTrace(want.Name); version != stored {
			t.Errorf("the version is %q, want %q", version, stored)
		}
	})
}

func TestRepairs_causeOf(t *testing.T) {
	managedBy := func(managers ...string) []metav1.ManagedFieldsEntry {
		var managed []metav1.ManagedFieldsEntry
		for _, manager := range managers {
			managed = append(managed, metav1.ManagedFieldsEntry{Manager: manager, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)})
		}
		return managed
	}
	tests := []struct {
		name      string
		isDeleted bool
		written   string // version
		managed   []metav1.ManagedFieldsEntry
		err       error
		want      string
	}{
		{name: "it was deleted", isDeleted: true, want: "a client deletes them"},
		{name: "it is as it was written", written: "2", want: "the API server stores something other than what is written"},
		{name: "the read fails", written: "1", err: errors.New("no answer"), want: "unknown, no answer"},
		{name: "another field manager", written: "1", managed: managedBy(v1.ManagedBy, "helm"), want: `the field manager "helm" changes them`},
		{name: "our field manager", written: "1", managed: managedBy(v1.ManagedBy), want: "a client with the field manager podinfolookup changes them"},
		{name: "no field manager", written: "1", want: "unknown, the API server has recorded no field manager"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := setup{}.build(t)
			f.api.put(t, testcrOf(web(1)), func(u *unstructured.Unstructured) { u.SetManagedFields(test.managed) })
			stored, err := f.testcrs.Live(t.Context(), nameFor(keyOfWeb(1)))
			if err != nil {
				t.Fatal(err)
			}
			if test.err != nil {
				f.api.PrependReactor("get", "testcrs", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, test.err })
			}
			if test.isDeleted {
				stored = nil
			}
			if got := f.repairs.causeOf(t.Context(), stored, test.written); !strings.HasPrefix(got, test.want) {
				t.Errorf("the cause is %q, want %q", got, test.want)
			}
		})
	}
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
		{name: "ours alone", managed: []metav1.ManagedFieldsEntry{entry(v1.ManagedBy, spec)}},
		{
			name: "another one of the spec", managed: []metav1.ManagedFieldsEntry{entry(v1.ManagedBy, `{}`), entry("helm\n", spec), entry("helm\n", spec)},
			want: []string{`"helm\n"`},
		},
		{
			name:    "another one of a label of ours",
			managed: []metav1.ManagedFieldsEntry{entry("x", `{"f:metadata":{"f:labels":{"f:stable.example.com/workload":{}}}}`)},
			want:    []string{`"x"`},
		},
		{
			name:    "another one of the label that marks our Testcrs",
			managed: []metav1.ManagedFieldsEntry{entry("x", `{"f:metadata":{"f:labels":{"f:app.kubernetes.io/managed-by":{}}}}`)},
			want:    []string{`"x"`},
		},
		{
			name:    "another one of fields of its own",
			managed: []metav1.ManagedFieldsEntry{entry("x", `{"f:metadata":{"f:labels":{"f:team":{}}}}`), {Manager: "y"}},
		},
		{
			name:    "more than one line should have",
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
