package podinfolookup

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// edited makes the podkey of a Testcr one that does not produce its name.
func edited(t *v1.Testcr) { t.Spec.PodKey = "shop/x" }

func TestStrays_resolve(t *testing.T) {
	t.Run("a stray is queued for its Pod, or deleted without one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1), web(2)}}.build(t)
			f.api.put(t, testcrOf(web(1), edited))
			f.api.put(t, testcrOf(web(3), edited))
			f.runCaches(t)
			synctest.Wait()
			f.queueOnly()
			f.strays.add(nameFor(keyOfWeb(1)))
			f.strays.add(nameFor(keyOfWeb(3)))
			f.strays.resolve(f.ctx, f.ctx)
			if diff := cmp.Diff([]cache.ObjectName{keyOfWeb(1)}, f.queued()); diff != "" {
				t.Errorf("queued keys (-want +got):\n%s", diff)
			}
			want := []Write{{Verb: Deleted, Reason: TestcrOrphaned, Pod: cache.ObjectName{Name: nameFor(keyOfWeb(3))}}}
			if diff := cmp.Diff(want, f.takeWrites()); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"delete " + nameFor(keyOfWeb(3))}, f.api.takeRequests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("a Testcr whose podkey is edited is repaired within housekeepingInterval", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.runCaches(t)
			f.run(t)
			<-time.After(2500 * time.Millisecond) // virtual time
			f.takeWrites()
			f.api.put(t, testcrOf(web(1), edited))
			f.api.put(t, testcrOf(web(2), edited))
			f.api.put(t, testcrOf(web(3), edited, deleting))
			<-time.After(housekeepingInterval)
			synctest.Wait()
			for i, want := range []string{1: "shop/web-1", 2: "", 3: ""} {
				if i == 0 {
					continue
				}
				var got string
				if stored := f.api.stored(t, nameFor(keyOfWeb(i))); stored != nil {
					got = stored.Spec.PodKey
				}
				if got != want {
					t.Errorf("podkey of web-%d is %q, want %q", i, got, want)
				}
			}
			if got := f.takeVerbs(); len(got) != 3 {
				t.Errorf("writes: %v, want 3", got)
			}
			if f.api.stored(t, nameFor(keyOfWeb(3))) == nil {
				t.Error("the Testcr with a finalizer is gone")
			}
		})
	})
	t.Run("a failure is logged and retried, and a conflict is retried", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			name := nameFor(keyOfWeb(1))
			for _, test := range []struct {
				err       error
				wantLines int
			}{
				{err: errors.New("away"), wantLines: 1},
				{err: apierrors.NewConflict(v1.GroupVersionResource.GroupResource(), name, errors.New("x"))},
				{err: apierrors.NewNotFound(v1.GroupVersionResource.GroupResource(), name)},
			} {
				f := setup{}.build(t)
				f.api.put(t, testcrOf(web(1), edited))
				f.runCaches(t)
				synctest.Wait()
				f.api.before = func(string, string) error { return test.err }
				f.strays.add(name)
				f.strays.resolve(f.ctx, f.ctx)
				if got := strings.Count(f.logs(), "Sync failed"); got != test.wantLines {
					t.Errorf("%v is logged %d times, want %d", test.err, got, test.wantLines)
				}
				if got := f.takeWrites(); got != nil {
					t.Errorf("writes: %v", got)
				}
				f.api.before = func(string, string) error { return nil }
				f.strays.resolve(f.ctx, f.ctx)
				if diff := cmp.Diff([]Verb{Deleted}, f.takeVerbs()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				f.strays.resolve(f.ctx, f.ctx)
				if got := f.takeWrites(); got != nil || f.strays.take() != nil {
					t.Errorf("it is not resolved: %v", got)
				}
			}
		})
	})
	t.Run("nothing is deleted after the end of Run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.api.put(t, testcrOf(web(1), edited))
			f.runCaches(t)
			synctest.Wait()
			f.strays.add(nameFor(keyOfWeb(1)))
			ended, end := context.WithCancel(f.ctx)
			end()
			f.strays.resolve(ended, f.ctx)
			if got := f.api.takeRequests(); got != nil {
				t.Errorf("requests: %v", got)
			}
		})
	})
}

func TestStrays_remove(t *testing.T) {
	emptied := func(t *v1.Testcr) {
		spec := v1.TestcrSpec{Terminating: true}
		t.Spec, t.Labels = spec, desired.Labels(&spec)
	}
	tests := []struct {
		name      string
		namespace string // watched, "" for all
		changes   []func(*v1.Testcr)
		isGone    bool // the CRD is
		isBehind  bool // the cache does not contain the own last write
		want      []Verb
	}{
		{name: "a stray is deleted", changes: []func(*v1.Testcr){edited}, want: []Verb{Deleted}},
		{name: "a stray that a finalizer keeps is emptied", changes: []func(*v1.Testcr){edited, deleting}, want: []Verb{Updated}},
		{name: "a stray that is emptied is not written", changes: []func(*v1.Testcr){deleting, emptied}},
		{name: "a Testcr that was corrected is not written"},
		{name: "a foreign Testcr is not written", changes: []func(*v1.Testcr){edited, withoutLabels}},
		{name: "a Testcr of the watched namespace is deleted", namespace: "shop", changes: []func(*v1.Testcr){edited}, want: []Verb{Deleted}},
		{name: "a Testcr of another namespace is not written", namespace: "other", changes: []func(*v1.Testcr){edited}},
		{name: "nothing is written without the CRD", changes: []func(*v1.Testcr){edited}, isGone: true},
		{name: "nothing is written from an old cache", changes: []func(*v1.Testcr){edited}, isBehind: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var isGone atomic.Bool
				s := setup{check: func(context.Context) error {
					if isGone.Load() {
						return testcrcache.ErrCRDMissing
					}
					return nil
				}}
				if test.namespace != "" {
					s.namespaces = []string{test.namespace}
				}
				f := s.build(t)
				endWatches := f.api.interruptible()
				f.api.put(t, testcrOf(web(1), test.changes...))
				f.runCaches(t)
				synctest.Wait()
				name := nameFor(keyOfWeb(1))
				if test.isGone {
					isGone.Store(true)
					endWatches()
					<-time.After(5 * time.Second) // virtual time
				}
				if test.isBehind {
					f.api.mute()
					endWatches()
					<-time.After(5 * time.Second)
					f.api.put(t, testcrOf(web(1), append(test.changes, func(t *v1.Testcr) { t.Spec.PodIP = "x" })...))
					if _, err := f.testcrs.Live(f.ctx, name); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.strays.remove(f.ctx, name); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(test.want, f.takeVerbs()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				if got := len(f.api.takeRequests()); got != len(test.want) {
					t.Errorf("%d requests, want %d", got, len(test.want))
				}
			})
		})
	}
	t.Run("a Testcr that does not exist is not deleted", func(t *testing.T) {
		f := setup{}.build(t)
		if err := f.strays.remove(f.ctx, "x"); err != nil || f.api.takeRequests() != nil {
			t.Errorf("removeStray returned %v", err)
		}
	})
}
