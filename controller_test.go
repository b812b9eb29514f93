package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

func TestNew_InvalidConfig(t *testing.T) {
	f := setup{}.build(t)
	const noCache = "a controller needs the cache of Pods and the cache of Testcrs"
	tests := []struct {
		name   string
		config Config
		want   string
	}{
		{name: "no workers", config: Config{Pods: f.pods, Testcrs: f.testcrs}, want: "workers must be at least 1, not 0"},
		{name: "no cache of Pods", config: Config{Testcrs: f.testcrs, Workers: 1}, want: noCache},
		{name: "no cache of Testcrs", config: Config{Pods: f.pods, Workers: 1}, want: noCache},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := New(t.Context(), test.config); err == nil || err.Error() != test.want {
				t.Errorf("error is %v, want %s", err, test.want)
			}
		})
	}
}

func TestNew_Defaults(t *testing.T) {
	t.Run("a controller without hooks and recorder works", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			c, err := New(f.ctx, Config{Pods: f.pods, Testcrs: f.testcrs, Workers: 1})
			if err != nil {
				t.Fatal(err)
			}
			f.runCaches(t)
			c.warnings.warnCRD("x")
			ctx, stop := context.WithTimeout(f.ctx, time.Second)
			defer stop()
			if err := c.Run(ctx); err != nil {
				t.Error(err)
			}
			if f.api.stored(t, nameFor(keyOfWeb(1))) == nil {
				t.Error("no Testcr was created")
			}
		})
	})
}

func TestController_plan(t *testing.T) {
	pod := web(1)
	want := testcrOf(pod)
	changed := func(change func(*v1.Testcr)) *v1.Testcr { return testcrOf(pod, change) }
	tests := []struct {
		name       string
		namespace  string // watched, "" for all
		pod        *v1.Testcr
		stored     *v1.Testcr
		storedForm func(*unstructured.Unstructured)
		want       Verb
	}{
		{name: "no Pod and no Testcr need nothing", want: Unchanged},
		{name: "a Pod without a Testcr gets one", pod: want, want: Added},
		{name: "a Testcr that matches is not written", pod: want, stored: want, want: Unchanged},
		{name: "a Testcr that differs is updated", pod: want, stored: changed(func(t *v1.Testcr) { t.Spec.PodIP = "x" }), want: Updated},
		{name: "a Testcr whose label differs is updated", pod: want, stored: changed(func(t *v1.Testcr) { t.Labels[v1.LabelNamespace] = "x" }), want: Updated},
		{
			name: "a Testcr of an earlier Pod of the name is overwritten", pod: want,
			stored: changed(func(t *v1.Testcr) { t.Spec.PodUID = "0" }), want: Updated,
		},
		{name: "a Testcr that does not decode is updated", pod: want, stored: want, storedForm: malformed, want: Updated},
		{name: "a Testcr without our label is adopted if it is of the Pod", pod: want, stored: changed(withoutLabels), want: Updated},
		{
			name: "a Testcr without our label that is of another Pod is left alone", pod: want,
			stored: changed(func(t *v1.Testcr) { t.Labels, t.Spec.PodKey = nil, "a/b" }), want: Foreign,
		},
		{
			name: "a Testcr with our label is overwritten whatever its podkey", pod: want,
			stored: changed(func(t *v1.Testcr) { t.Spec.PodKey = "a/b" }), want: Updated,
		},
		{name: "a Testcr whose Pod is gone is deleted", stored: want, want: Deleted},
		{name: "a Testcr without our label is not deleted", stored: changed(withoutLabels), want: Unchanged},
		{name: "a Testcr of the watched namespace is deleted", namespace: "shop", stored: want, want: Deleted},
		{name: "a Testcr of another namespace is not deleted", namespace: "other", stored: want, want: Unchanged},
		{
			name: "a Testcr whose podkey does not produce its name is deleted by a controller of the namespace of its label", namespace: "shop",
			stored: changed(func(t *v1.Testcr) { t.Spec.PodKey, t.Spec.Namespace = "other/b", "other" }), want: Deleted,
		},
		{
			name: "a Testcr whose podkey does not produce its name is deleted by a controller of its spec.namespace", namespace: "other",
			stored: changed(func(t *v1.Testcr) { t.Spec.PodKey, t.Spec.Namespace = "x", "other" }), want: Deleted,
		},
		{
			name: "a Testcr whose podkey does not produce its name is not deleted by a controller of another namespace", namespace: "b",
			stored: changed(func(t *v1.Testcr) { t.Spec.PodKey = "b/b" }), want: Unchanged,
		},
		{
			name: "a Testcr without podkey and namespace is deleted by every controller", namespace: "b",
			stored: changed(func(t *v1.Testcr) {
				t.Spec.PodKey, t.Spec.Namespace = "", ""
				delete(t.Labels, v1.LabelNamespace)
			}), want: Deleted,
		},
		{
			name:   "a Testcr whose podkey does not produce its name is deleted by a controller of all namespaces",
			stored: changed(func(t *v1.Testcr) { t.Spec.PodKey = "shop/b" }), want: Deleted,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := watching(t, test.namespace)
			verb, planned := f.plan(keyOfWeb(1), test.pod, maybeEntry(t, test.stored, test.storedForm))
			if verb != test.want {
				t.Errorf("verb is %q, want %q", verb, test.want)
			}
			if diff := cmp.Diff(test.pod, planned); diff != "" {
				t.Errorf("the planned Testcr (-want +got):\n%s", diff)
			}
		})
	}
}

// watching returns a fixture of a controller of one namespace, or of all.
func watching(t *testing.T, namespace string, pods ...*corev1.Pod) *fixture {
	t.Helper()
	s := setup{pods: pods}
	if namespace != "" {
		s.namespaces = []string{namespace}
	}
	return s.build(t)
}

func maybeEntry(t *testing.T, testcr *v1.Testcr, form func(*unstructured.Unstructured)) *testcrcache.Entry {
	t.Helper()
	switch {
	case testcr == nil:
		return nil
	case form == nil:
		return entryOf(t, testcr)
	}
	return entryOf(t, testcr, form)
}

func TestController_plan_Emptied(t *testing.T) {
	pod := web(1)
	want := testcrOf(pod)
	kept := func(change func(*v1.Testcr)) *v1.Testcr { return testcrOf(pod, deleting, change) }
	emptied := v1.TestcrSpec{PodKey: "shop/web-1", PodName: "web-1", Namespace: "shop", Terminating: true}
	done := kept(func(t *v1.Testcr) { t.Spec, t.Labels = emptied, desired.Labels(&emptied) })
	tests := []struct {
		name      string
		namespace string // watched, "" for all
		pod       *v1.Testcr
		stored    *v1.Testcr
		verb      Verb
		want      *v1.TestcrSpec
	}{
		{name: "its Pod exists", pod: want, stored: kept(func(t *v1.Testcr) { t.Spec.PodIP = "x" }), verb: Updated, want: &want.Spec},
		{name: "its Pod is gone", stored: kept(func(*v1.Testcr) {}), verb: Updated, want: &emptied},
		{name: "its Pod is gone, and it is emptied", stored: done, verb: Unchanged, want: &emptied},
		{name: "its Pod exists again", pod: want, stored: done, verb: Updated, want: &want.Spec},
		{name: "it is not ours", stored: kept(withoutLabels), verb: Unchanged},
		{name: "it is of another namespace", namespace: "other", stored: kept(func(*v1.Testcr) {}), verb: Unchanged},
		{name: "it names no Pod", stored: kept(func(t *v1.Testcr) { t.Spec.PodKey = "a/b" }), verb: Updated, want: &v1.TestcrSpec{Terminating: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			verb, planned := watching(t, test.namespace).plan(keyOfWeb(1), test.pod, entryOf(t, test.stored))
			if verb != test.verb {
				t.Errorf("verb is %q, want %q", verb, test.verb)
			}
			var got *v1.TestcrSpec
			if planned != nil {
				got = &planned.Spec
				if planned.Name != test.stored.Name {
					t.Errorf("the name is %s, want %s", planned.Name, test.stored.Name)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("the planned spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRun_SyncInFlight(t *testing.T) {
	t.Run("Run does not return while a sync runs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1), web(2)}}.build(t)
			release := make(chan struct{})
			f.api.before = func(string, string) error {
				<-release
				return nil
			}
			f.runCaches(t)
			stop, done := f.run(t)
			synctest.Wait()
			if got := len(f.api.takeRequests()); got != 1 {
				t.Fatalf("%d requests are in flight, want 1", got)
			}
			stop()
			<-time.After(time.Minute) // virtual time
			if hasEnded(done) {
				t.Error("Run returned while a request was in flight")
			}
			close(release)
			synctest.Wait()
			if !hasEnded(done) {
				t.Error("Run did not return after the last request")
			}
			if got := len(f.api.takeRequests()); got != 0 {
				t.Errorf("%d requests were made after the stop", got)
			}
			written := 0 // the first of the two
			for i := range 3 {
				if f.testcrs.Get(nameFor(keyOfWeb(i))) != nil {
					written++
				}
			}
			if written != 1 {
				t.Errorf("%d Testcrs exist: the request in flight did not complete", written)
			}
		})
	})
}

func TestRun_ShutdownGrace(t *testing.T) {
	t.Run("a request in flight is cancelled after shutdownGrace", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.hang = true
			f.runCaches(t)
			stop, done := f.run(t)
			synctest.Wait()
			stop()
			<-time.After(shutdownGrace - time.Millisecond) // virtual time
			synctest.Wait()
			if hasEnded(done) {
				t.Error("it is cancelled too early")
			}
			<-time.After(2 * time.Millisecond)
			synctest.Wait()
			if !hasEnded(done) {
				t.Error("it is not cancelled")
			}
			if strings.Contains(f.logs(), "Sync failed") {
				t.Error("a sync that ends with the program is logged as a failure")
			}
		})
	})
}

func TestRun_BeforeCachesSynced(t *testing.T) {
	t.Run("Run returns at its end although the caches are not synced", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.PrependReactor("list", "testcrs", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("no answer")
			})
			f.runCaches(t)
			stop, done := f.run(t)
			synctest.Wait()
			if err := f.Ready(); err == nil {
				t.Error("it is ready without Testcrs")
			}
			if f.Settled() {
				t.Error("it is settled without Testcrs")
			}
			stop()
			synctest.Wait()
			if !hasEnded(done) {
				t.Error("Run did not return")
			}
		})
	})
}

func TestRun_FailingKey(t *testing.T) {
	t.Run("a failing key backs off, and delays no other key", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bad, good := nameFor(keyOfWeb(0)), nameFor(keyOfWeb(1))
			f := setup{pods: []*corev1.Pod{web(0), web(1)}}.build(t)
			var at []time.Duration
			begin := time.Now()
			f.api.before = func(_, name string) error {
				if name != bad {
					return nil
				}
				at = append(at, time.Since(begin))
				return apierrors.NewInternalError(errors.New("no"))
			}
			f.runCaches(t)
			stop, done := f.run(t)
			<-time.After(2 * retryMin) // virtual time
			if f.testcrs.Get(good) == nil {
				t.Error("the other Pod waits as well")
			}
			<-time.After(4 * time.Minute)
			stop()
			<-done
			if len(at) < 16 {
				t.Fatalf("only %d tries", len(at))
			}
			want := retryMin
			for i := 1; i < len(at); i++ {
				if got := at[i] - at[i-1]; got != want {
					t.Errorf("%s between tries %d and %d, want %s", got, i, i+1, want)
				}
				want = min(2*want, retryMax)
			}
		})
	})
}

func TestRun_DeletedWithoutWatch(t *testing.T) {
	t.Run("a Testcr that was deleted while no watch was open is created within 2 s", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.mute()
			var created []time.Time
			f.api.before = func(string, string) error {
				created = append(created, time.Now())
				return nil
			}
			f.runCaches(t)
			f.run(t)
			synctest.Wait()
			f.api.remove(t, nameFor(keyOfWeb(1)))
			f.testcrs.GetStore().Bookmark("100") // as after another list
			<-time.After(time.Minute)            // virtual time
			if len(created) < 2 {
				t.Fatal("it was not created again")
			}
			if took := created[1].Sub(created[0]); took > 2*confirmDelay {
				t.Errorf("it was created again after %s, want 2 s at most", took)
			}
		})
	})
}

// TestController_sync_CacheNotCurrent is about events that arrive before the own last
// write is in the cache.
func TestController_sync_CacheNotCurrent(t *testing.T) {
	t.Run("a sync waits for the own last write, and keeps its trigger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			pod := web(1)
			pod.Spec.NodeName = "node-1"
			f := setup{pods: []*corev1.Pod{pod}}.build(t)
			watcher := f.api.mute()
			f.runCaches(t)
			f.run(t)
			synctest.Wait()
			if diff := cmp.Diff([]Verb{Added}, f.takeVerbs()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			f.api.takeRequests()
			<-time.After(time.Millisecond) // virtual time
			at := time.Now()
			pod.Status.PodIP = "10.0.0.1"
			f.updatePod(t, pod)
			<-time.After(confirmDelay / 2)
			synctest.Wait()
			if got := f.api.takeRequests(); got != nil {
				t.Errorf("requests based on an old cache: %v", got)
			}
			want := trigger{podChanged: true, firstEvent: at}
			if diff := cmp.Diff(want, f.states.get(keyOfWeb(1)).trigger, compareStates); diff != "" {
				t.Errorf("the kept trigger (-want +got):\n%s", diff)
			}
			u, err := f.api.FakeDynamicClient.Resource(v1.GroupVersionResource).Get(t.Context(), nameFor(keyOfWeb(1)), metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			watcher.Add(u)
			synctest.Wait()
			wantWrites := []Write{{Verb: Updated, Reason: PodChanged, Pod: keyOfWeb(1), FirstEvent: at}}
			if diff := cmp.Diff(wantWrites, f.takeWrites()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("a change is written from a live read if the watch stays silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			pod := web(1)
			pod.Spec.NodeName = "node-1"
			f := setup{pods: []*corev1.Pod{pod}}.build(t)
			f.api.mute()
			f.runCaches(t)
			f.run(t)
			synctest.Wait()
			f.takeWrites()
			<-time.After(time.Millisecond) // virtual time
			at := time.Now()
			pod.Status.PodIP = "10.0.0.1"
			f.updatePod(t, pod)
			<-time.After(2 * confirmDelay)
			synctest.Wait()
			wantWrites := []Write{{Verb: Updated, Reason: PodChanged, Pod: keyOfWeb(1), FirstEvent: at}}
			if diff := cmp.Diff(wantWrites, f.takeWrites()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			f.api.takeRequests()
			<-time.After(10 * confirmDelay)
			synctest.Wait()
			if got := f.api.takeRequests(); got != nil {
				t.Errorf("requests without a change: %v", got)
			}
		})
	})
	t.Run("sync returns Unchanged and queues the key after confirmDelay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.mute()
			f.runCaches(t)
			synctest.Wait()
			f.queueOnly()
			if verb, err := f.sync(f.ctx, keyOfWeb(1), trigger{podChanged: true}); verb != Added || err != nil {
				t.Fatalf("the first sync: %s, %v", verb, err)
			}
			<-time.After(confirmDelay / 2) // virtual time
			synctest.Wait()
			f.queued()
			if verb, err := f.sync(f.ctx, keyOfWeb(1), trigger{podChanged: true}); verb != Unchanged || err != nil {
				t.Errorf("the second sync: %s, %v", verb, err)
			}
			if n := len(f.queued()); n != 0 {
				t.Errorf("%d keys are queued at once", n)
			}
			<-time.After(confirmDelay)
			synctest.Wait()
			if n := len(f.queued()); n != 1 {
				t.Errorf("%d keys are queued after confirmDelay, want 1", n)
			}
		})
	})
}

// liveReads returns how often a Pod was read live.
func (f *fixture) liveReads() (n int) {
	for _, action := range f.podsAPI.Actions() {
		if list, ok := action.(clienttesting.ListAction); ok && !list.GetListRestrictions().Fields.Empty() {
			n++
		}
	}
	return n
}

func TestController_sync_Conflict(t *testing.T) {
	name := nameFor(keyOfWeb(1))
	tests := []struct {
		name     string
		stored   *v1.Testcr // at the start
		pods     []*corev1.Pod
		conflict func(*testing.T, *fixture) // by another client, before the first request
		requests []string
		verbs    []Verb
	}{
		{
			name: "an update of a Testcr that was changed", pods: []*corev1.Pod{web(1)},
			stored: testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.1" }),
			conflict: func(t *testing.T, f *fixture) {
				t.Helper()
				f.api.put(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.2" }))
			},
			requests: []string{"update " + name, "update " + name}, verbs: []Verb{Updated},
		},
		{
			name: "an update of a Testcr that was deleted", pods: []*corev1.Pod{web(1)},
			stored:   testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.1" }),
			conflict: func(t *testing.T, f *fixture) { t.Helper(); f.api.remove(t, name) },
			requests: []string{"update " + name, "create " + name}, verbs: []Verb{Added},
		},
		{
			name: "a create of a Testcr that exists", pods: []*corev1.Pod{web(1)},
			conflict: func(t *testing.T, f *fixture) {
				t.Helper()
				f.api.put(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.2" }))
			},
			requests: []string{"create " + name, "update " + name}, verbs: []Verb{Updated},
		},
		{
			name: "a create of a Testcr that exists and matches", pods: []*corev1.Pod{web(1)},
			conflict: func(t *testing.T, f *fixture) { t.Helper(); f.api.put(t, testcrOf(web(1))) },
			requests: []string{"create " + name},
		},
		{
			name:   "a delete of a Testcr that was changed",
			stored: testcrOf(web(1)),
			conflict: func(t *testing.T, f *fixture) {
				t.Helper()
				f.api.put(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "x" }))
			},
			requests: []string{"delete " + name, "delete " + name}, verbs: []Verb{Deleted},
		},
		{
			name:     "a delete of a Testcr that was deleted",
			stored:   testcrOf(web(1)),
			conflict: func(t *testing.T, f *fixture) { t.Helper(); f.api.remove(t, name) },
			requests: []string{"delete " + name},
		},
	}
	for _, test := range tests {
		t.Run(test.name+" is synced again from live reads", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := setup{pods: test.pods}.build(t)
				if test.stored != nil {
					f.api.put(t, test.stored)
				}
				isDone := false
				f.api.before = func(string, string) error {
					if !isDone {
						isDone = true
						test.conflict(t, f)
					}
					return nil
				}
				f.runCaches(t)
				f.run(t)
				<-time.After(confirmDelay / 2) // virtual time
				synctest.Wait()
				if diff := cmp.Diff(test.requests, f.api.takeRequests()); diff != "" {
					t.Errorf("requests (-want +got):\n%s", diff)
				}
				writes := f.takeWrites()
				var verbs []Verb
				for _, w := range writes {
					verbs = append(verbs, w.Verb)
					if w.Reason != CaughtUp {
						t.Errorf("reason is %s, want that of the first sync", w.Reason)
					}
				}
				if diff := cmp.Diff(test.verbs, verbs); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				if text := f.logs(); strings.Contains(text, "Sync failed") || !strings.Contains(text, "Conflict") {
					t.Errorf("the conflict is not logged, or as a failure: %s", text)
				}
				if pods := f.liveReads(); pods != len(test.verbs) {
					t.Errorf("%d live reads of Pods for %d writes", pods, len(test.verbs))
				}
			})
		})
	}
	t.Run("the write after a conflict is based on the live Testcr", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.1" }))
			f.api.mute() // the cache does not contain the change of the other client
			f.runCaches(t)
			synctest.Wait()
			f.api.put(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.2" }))
			f.runFor(t, confirmDelay/2)
			if diff := cmp.Diff([]string{"update " + name, "update " + name}, f.api.takeRequests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]Verb{Updated}, f.takeVerbs()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("the write after a conflict has the live state of the Pod", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.serveLive(func() []corev1.Pod {
				pod := web(1)
				pod.ResourceVersion, pod.Status.PodIP = "100", "10.0.0.9" // the watch has not delivered it yet
				return []corev1.Pod{*pod}
			})
			isDone := false
			f.api.before = func(string, string) error {
				if !isDone {
					isDone = true
					f.api.put(t, testcrOf(web(1), func(t *v1.Testcr) { t.Spec.PodIP = "10.0.0.1" }))
				}
				return nil
			}
			f.runCaches(t)
			f.runFor(t, time.Second/2)
			if diff := cmp.Diff([]Verb{Updated}, f.takeVerbs()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if got := f.api.stored(t, name).Spec.PodIP; got != "10.0.0.9" {
				t.Errorf("IP is %q, want that of the live Pod", got)
			}
		})
	})
}

// serveLive makes live reads of a Pod return these Pods.
func (f *fixture) serveLive(pods func() []corev1.Pod) {
	f.podsAPI.PrependReactor("list", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if action.(clienttesting.ListAction).GetListRestrictions().Fields.Empty() {
			return false, nil, nil
		}
		return true, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "100"}, Items: pods()}, nil
	})
}

// TestRun_LeaderElected is about a cache of Pods that may be older than the writes of
// the leader before.
func TestRun_LeaderElected(t *testing.T) {
	live := web(1)
	live.Status.PodIP = "10.0.0.9"
	tests := []struct {
		name          string
		leaderElected bool
		version       string // of the API server
		live          []corev1.Pod
		want          *v1.Testcr
		wantReads     bool
	}{
		{name: "a stale cache of Pods is not written from", leaderElected: true, version: "100", live: []corev1.Pod{*live}, want: testcrOf(live), wantReads: true},
		{name: "a stale cache of a deleted Pod is not written from", leaderElected: true, version: "100", wantReads: true},
		{name: "a current cache is written from", leaderElected: true, version: "1", live: []corev1.Pod{*live}, want: testcrOf(web(1))},
		{name: "the cache is current without other replicas", version: "100", live: []corev1.Pod{*live}, want: testcrOf(web(1))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := setup{leaderElected: test.leaderElected}.build(t)
				f.podsAPI.PrependReactor("list", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
					list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.Pod{*web(1)}}
					if action.(clienttesting.ListActionImpl).ListOptions.Limit == 1 {
						list.ResourceVersion = test.version
					}
					return true, list, nil
				})
				f.serveLive(func() []corev1.Pod { return test.live })
				f.runCaches(t)
				f.runFor(t, time.Second/2)
				var want, got *v1.TestcrSpec
				var wantVerbs []Verb
				if test.want != nil {
					want, wantVerbs = &test.want.Spec, []Verb{Added}
				}
				if diff := cmp.Diff(wantVerbs, f.takeVerbs()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				if stored := f.api.stored(t, nameFor(keyOfWeb(1))); stored != nil {
					got = &stored.Spec
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("stored spec (-want +got):\n%s", diff)
				}
				if pods := f.liveReads(); (pods > 0) != test.wantReads {
					t.Errorf("%d live reads, want some: %t", pods, test.wantReads)
				}
			})
		})
	}
}

func TestController_sync_LiveReadFails(t *testing.T) {
	t.Run("nothing is written if the live read of the Pod fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.runCaches(t)
			synctest.Wait()
			f.podsAPI.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, errors.New("no answer")
			})
			if verb, err := f.sync(f.ctx, keyOfWeb(1), trigger{conflicted: true}); verb != Unchanged || err == nil {
				t.Errorf("sync returned %s, %v", verb, err)
			}
			if got := f.api.takeRequests(); got != nil {
				t.Errorf("requests: %v", got)
			}
		})
	})
}

// TestController_CRDReturns has the CRD deleted, with all Testcrs, and created again.
func TestController_CRDReturns(t *testing.T) {
	t.Run("nothing is written without the CRD, and everything when it is back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var isGone atomic.Bool
			f := setup{pods: []*corev1.Pod{web(1)}, check: func(context.Context) error {
				if isGone.Load() {
					return testcrcache.ErrCRDMissing
				}
				return nil
			}}.build(t)
			f.api.before = func(string, string) error {
				if isGone.Load() {
					return apierrors.NewGenericServerResponse(http.StatusNotFound, "POST", v1.GroupVersionResource.GroupResource(), "x", "404", 0, true)
				}
				return nil
			}
			endWatches := f.api.interruptible()
			f.runCaches(t)
			f.run(t)
			<-time.After(10 * time.Second) // virtual time
			f.takeWrites()
			isGone.Store(true)
			f.api.remove(t, nameFor(keyOfWeb(1)))
			endWatches()
			<-time.After(10 * time.Second)
			if err := f.Ready(); !errors.Is(err, testcrcache.ErrCRDMissing) {
				t.Errorf("Ready returned %v", err)
			}
			f.createPod(t, web(2))
			<-time.After(10 * time.Second)
			if got := f.takeWrites(); got != nil {
				t.Errorf("writes without the CRD: %v", got)
			}
			if diff := cmp.Diff([]string{CRDUnusable}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
			isGone.Store(false)
			<-time.After(10 * time.Second)
			if err := f.Ready(); err != nil {
				t.Errorf("Ready returned %v", err)
			}
			for i := 1; i <= 2; i++ {
				if f.api.stored(t, nameFor(keyOfWeb(i))) == nil {
					t.Errorf("the Testcr of web-%d is missing", i)
				}
			}
			if verbs := f.takeVerbs(); len(verbs) != 2 {
				t.Errorf("writes: %v, want 2", verbs)
			}
		})
	})
}

func TestController_crdLost(t *testing.T) {
	t.Run("only a controller that runs sends an Event", func(t *testing.T) {
		f := setup{}.build(t)
		f.crdLost(testcrcache.ErrCRDMissing)
		if got := f.takeEvents(); got != nil {
			t.Errorf("a standby sends %v", got)
		}
		f.started.Store(true)
		f.crdLost(testcrcache.ErrCRDMissing)
		if diff := cmp.Diff([]string{CRDUnusable}, f.takeEvents()); diff != "" {
			t.Errorf("Events (-want +got):\n%s", diff)
		}
	})
	t.Run("a CRD that is missing at the start is reported", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{check: func(context.Context) error { return testcrcache.ErrCRDMissing }}.build(t)
			f.runCaches(t)
			<-time.After(time.Second) // virtual time
			if got := f.takeEvents(); got != nil {
				t.Errorf("a standby sends %v", got)
			}
			f.runFor(t, time.Second)
			if diff := cmp.Diff([]string{CRDUnusable}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
		})
	})
}

// TestController_apply_CRDTerminating has the API server refuse creates while the CRD
// is being deleted.
func TestController_apply_CRDTerminating(t *testing.T) {
	t.Run("one create is sent, and the next when the CRD accepts Testcrs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var isTerminating atomic.Bool
			f := setup{pods: []*corev1.Pod{web(1)}, check: func(context.Context) error {
				if isTerminating.Load() {
					return testcrcache.ErrCRDTerminating
				}
				return nil
			}}.build(t)
			f.api.before = func(string, string) error {
				if isTerminating.Load() {
					return apierrors.NewForbidden(v1.GroupVersionResource.GroupResource(), "x",
						errors.New("create not allowed while custom resource definition is terminating"))
				}
				return nil
			}
			f.runCaches(t)
			synctest.Wait()
			isTerminating.Store(true)
			f.run(t)
			<-time.After(time.Minute) // virtual time
			name := nameFor(keyOfWeb(1))
			if diff := cmp.Diff([]string{"create " + name}, f.api.takeRequests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if strings.Contains(f.logs(), "Sync failed") {
				t.Error("the terminating CRD is reported for a Pod")
			}
			isTerminating.Store(false)
			<-time.After(time.Second)
			if diff := cmp.Diff([]string{"create " + name}, f.api.takeRequests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	})
}

func TestController_Healthy(t *testing.T) {
	t.Run("a controller with a stuck worker is not healthy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			release := make(chan struct{})
			f.api.before = func(string, string) error {
				<-release
				return nil
			}
			f.runCaches(t)
			f.run(t)
			<-time.After(stuckAfter - time.Second) // virtual time
			if err := f.Healthy(); err != nil {
				t.Errorf("too early: %v", err)
			}
			<-time.After(2 * time.Second)
			if err := f.Healthy(); err == nil {
				t.Error("a worker is stuck, and the controller is healthy")
			}
			close(release)
			synctest.Wait()
			if err := f.Healthy(); err != nil {
				t.Errorf("the worker goes on, and the controller is not healthy: %v", err)
			}
		})
	})
}

func TestController_Settled(t *testing.T) {
	t.Run("it is false while a key is queued", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.runCaches(t)
			synctest.Wait()
			f.queueOnly()
			if !f.Settled() {
				t.Error("it is not settled although no key is queued")
			}
			f.queue.Add(keyOfWeb(1))
			if f.Settled() {
				t.Error("it is settled although a key is queued")
			}
			f.queued()
		})
	})
}

func TestConfig_OnSync(t *testing.T) {
	t.Run("it is called with the verb, the duration and the error of each sync", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			isRefused := false
			f.api.before = func(string, string) error {
				<-time.After(time.Millisecond) // virtual time
				if isRefused {
					return nil
				}
				isRefused = true
				return apierrors.NewInternalError(errors.New("no"))
			}
			var got []string
			f.onSync = func(verb Verb, took time.Duration, err error) {
				got = append(got, fmt.Sprint(verb, " ", took, " ", strconv.FormatBool(err == nil)))
			}
			f.runCaches(t)
			f.runFor(t, confirmDelay/2)
			want := []string{"add 1ms false", "add 1ms true", "unchanged 0s true"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("syncs (-want +got):\n%s", diff)
			}
		})
	})
}

func TestRun_ManyWorkers(t *testing.T) {
	t.Run("the keys are synced by all workers at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1), web(2), web(3)}, workers: 2}.build(t)
			release := make(chan struct{})
			f.api.before = func(string, string) error {
				<-release
				return nil
			}
			f.runCaches(t)
			f.run(t)
			synctest.Wait()
			if got := len(f.api.takeRequests()); got != 2 {
				t.Errorf("%d requests are in flight, want 2", got)
			}
			close(release)
			synctest.Wait()
			if got := len(f.takeVerbs()); got != 3 {
				t.Errorf("%d writes, want 3", got)
			}
		})
	})
}

func TestRun_Standby(t *testing.T) {
	t.Run("a standby queues nothing, and catches up when it runs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.put(t, testcrOf(web(9), func(t *v1.Testcr) { t.Spec.PodKey = "shop/x" })) // a stray
			f.runCaches(t)
			synctest.Wait()
			if err := f.Ready(); err != nil {
				t.Errorf("its caches are synced, and it is not ready: %v", err)
			}
			f.createPod(t, web(2))
			f.createPod(t, web(4))
			synctest.Wait()
			f.deletePod(t, web(4))
			f.handlers.resync()
			synctest.Wait()
			if n := f.queue.Len() + len(f.states.keys) + len(f.strays.take()); n > 0 {
				t.Errorf("%d keys are queued, and nothing drains the queue", n)
			}

			stop, done := f.run(t)
			synctest.Wait()
			<-time.After(2 * time.Second) // virtual time
			f.createPod(t, web(3))
			at := time.Now()
			<-time.After(coalesceDelay)
			synctest.Wait()
			stop()
			<-done
			want := []Write{
				{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(1)},
				{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(2)},
				{Verb: Deleted, Reason: TestcrOrphaned, Pod: cache.ObjectName{Name: nameFor(keyOfWeb(9))}},
				{Verb: Added, Reason: PodChanged, Pod: keyOfWeb(3), FirstEvent: at},
			}
			byPod := cmp.Transformer("byPod", func(writes []Write) map[cache.ObjectName]Write {
				m := map[cache.ObjectName]Write{}
				for _, w := range writes {
					m[w.Pod] = w
				}
				return m
			})
			writes := f.takeWrites()
			if diff := cmp.Diff(want, writes, byPod); diff != "" || len(writes) != len(want) {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
}

func TestController_processNext_Failure(t *testing.T) {
	t.Run("a failed sync keeps its trigger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			hasFailed := false
			f.api.before = func(string, string) error {
				if hasFailed {
					return nil
				}
				hasFailed = true
				return apierrors.NewInternalError(errors.New("no"))
			}
			f.runCaches(t)
			f.runFor(t, time.Second)
			if diff := cmp.Diff([]Write{{Verb: Added, Reason: CaughtUp, Pod: keyOfWeb(1)}}, f.takeWrites()); diff != "" || !hasFailed {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
		})
	})
}
