package podinfolookup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func version(name, uid, version string) *Testcr {
	return &Testcr{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid), ResourceVersion: version}}
}

// TestTheNewestKnownTestcr walks through what requests and the watch can tell,
// in either order.
func TestTheNewestKnownTestcr(t *testing.T) {
	type step func(*TestcrInformer)
	wrote := func(x *Testcr) step { return func(i *TestcrInformer) { i.learn(x) } }
	deleted := func(x *Testcr) step { return func(i *TestcrInformer) { i.learnGone(x.Name, x.UID) } }
	// The cache is filled before the handlers hear of it.
	watched := func(x *Testcr) step {
		return func(i *TestcrInformer) {
			if err := i.GetStore().Update(x); err != nil {
				panic(err)
			}
		}
	}
	unwatched := func(x *Testcr) step {
		return func(i *TestcrInformer) {
			if err := i.GetStore().Delete(x); err != nil {
				panic(err)
			}
			i.GetStore().Bookmark(x.ResourceVersion)
		}
	}
	passed := func(v string) step { return func(i *TestcrInformer) { i.GetStore().Bookmark(v) } }
	heard := func(x *Testcr, gone bool) step { return func(i *TestcrInformer) { i.saw(x, gone) } }
	first, second, third := version("a", "1", "10"), version("a", "1", "20"), version("a", "2", "30")
	tests := []struct {
		name     string
		steps    []step
		want     *Testcr
		wantNews int
	}{
		{"nothing is known", nil, nil, 0},
		{"what the watch told", []step{watched(first), heard(first, false)}, first, 0},
		{"a write that the watch has yet to tell", []step{watched(first), wrote(second)}, second, 1},
		{"a write that the watch has told", []step{watched(first), wrote(second), watched(second), heard(second, false)}, second, 0},
		{"a write whose event the handlers have yet to hear", []step{watched(first), wrote(second), watched(second)}, second, 1},
		{"a write, and an older event after it", []step{wrote(second), watched(first), heard(first, false)}, second, 1},
		{"a write, and a newer one of somebody else", []step{wrote(first), watched(second), heard(second, false)}, second, 0},
		{"a write, and somebody's deletion", []step{watched(first), wrote(second), unwatched(version("a", "1", "25")), heard(version("a", "1", "25"), true)}, nil, 0},
		{"a write, deleted while nobody watched", []step{wrote(first), passed("40")}, nil, 1},
		{"a deletion that the watch has yet to tell", []step{watched(first), deleted(first)}, nil, 1},
		{"a deletion that the watch has told", []step{watched(first), deleted(first), unwatched(second), heard(second, true)}, nil, 0},
		{"a deletion, and a late event of the deleted one", []step{watched(first), deleted(first), watched(second), heard(second, false)}, nil, 1},
		{"a deletion, and another of the same name", []step{watched(first), deleted(first), watched(third)}, third, 1},
		{"a deletion, then a write", []step{watched(first), deleted(first), wrote(third)}, third, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newTestcrs(t, newDynamic())
			for _, step := range test.steps {
				step(i)
			}
			if diff := cmp.Diff(test.want, i.get("a"), cmp.AllowUnexported(Testcr{})); diff != "" {
				t.Errorf("the newest known (-want +got):\n%s", diff)
			}
			if len(i.news) != test.wantNews {
				t.Errorf("%d are kept besides the cache, want %d", len(i.news), test.wantNews)
			}
		})
	}
}

func TestSweepReturnsWhatTheWatchWillNeverTell(t *testing.T) {
	i := newTestcrs(t, newDynamic())
	lost, ahead := version("lost", "1", "10"), version("ahead", "2", "50")
	i.learn(lost)
	i.learn(ahead)
	i.learnGone("gone", "3")
	i.GetStore().Bookmark("40")
	if got := i.sweep(); len(got) != 0 {
		t.Errorf("the first sweep returns %v, want nothing: the event may be on its way", got)
	}
	if diff := cmp.Diff([]*Testcr{lost}, i.sweep(), cmp.AllowUnexported(Testcr{})); diff != "" {
		t.Errorf("the second sweep (-want +got):\n%s", diff)
	}
	if _, ok := i.news["gone"]; !ok || len(i.news) != 2 || i.get("ahead") != ahead {
		t.Errorf("%v are left, want the write that the watch has yet to reach, and the deletion", i.news)
	}
	for range sweepsOfDeletion {
		if got := i.sweep(); len(got) != 0 {
			t.Errorf("a later sweep returns %v", got)
		}
	}
	if len(i.news) != 1 || i.get("ahead") != ahead {
		t.Errorf("%v is left, want the write that the watch has yet to reach", i.news)
	}
}

// TestTestcrInformer_Restore restores etcd from a backup, which undoes requests.
func TestTestcrInformer_Restore(t *testing.T) {
	t.Run("versions go back", func(t *testing.T) {
		i := newTestcrs(t, newDynamic())
		older := version("wrote", "1", "5")
		if err := i.GetStore().Add(older); err != nil {
			t.Fatal(err)
		}
		i.learn(version("wrote", "1", "50"))
		i.learn(version("new", "2", "51"))
		i.request(&metav1.ListOptions{ResourceVersion: "49"}, true)
		i.listed(t.Context(), "testcrs", "49")
		if got := i.get("new"); got == nil {
			t.Fatal("a list that is up to date drops the answer of a request")
		}
		i.listed(t.Context(), "testcrs", "20")
		if got := i.get("new"); got != nil {
			t.Errorf("the answer of a write that was undone is used: %v", got)
		}
		if got := i.get("wrote"); got != older {
			t.Errorf("known is %v, want the cached one", got)
		}
	})
	t.Run("versions were bumped, and a deletion is undone", func(t *testing.T) {
		i := newTestcrs(t, newDynamic())
		back := version("back", "1", "5")
		if err := i.GetStore().Add(back); err != nil {
			t.Fatal(err)
		}
		i.learnGone("back", "1")
		var got []*Testcr
		for range sweepsOfDeletion {
			got = append(got, i.sweep()...)
		}
		if diff := cmp.Diff([]*Testcr{back}, got, cmp.AllowUnexported(Testcr{})); diff != "" {
			t.Errorf("to be looked at again (-want +got):\n%s", diff)
		}
	})
}

func TestRequestsWaitForTheCRD(t *testing.T) {
	missing := apierrors.NewGenericServerResponse(404, "GET", GroupVersionResource.GroupResource(), "", "404 page not found", 0, true)
	outage := errors.New("connection refused")
	tests := []struct {
		name             string
		checks, requests []error // the last one stays
		want             error
		wantWait         time.Duration
		wantReturned     int
	}{
		{"a CRD that is there", []error{nil}, []error{nil}, nil, 0, 0},
		{"a CRD that comes", []error{ErrCRDMissing, ErrCRDMissing, nil}, []error{nil}, nil, 2 * crdPoll, 1},
		{"a CRD of another kind that is put right", []error{CRDError("wrong"), nil}, []error{nil}, nil, crdPoll, 1},
		{"a CRD that only some servers know of", []error{nil}, []error{missing, missing, nil}, nil, 2 * crdPoll, 2},
		{"a check that fails is left to the caller's backoff", []error{outage}, []error{nil}, outage, 0, 0},
		{"a request that fails is left to the caller's backoff", []error{nil}, []error{outage}, outage, 0, 0},
	}
	next := func(errs *[]error) error {
		err := (*errs)[0]
		if len(*errs) > 1 {
			*errs = (*errs)[1:]
		}
		return err
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				returned, begin := 0, time.Now()
				i := newTestcrs(t, newDynamic())
				i.check = func(context.Context) error { return next(&test.checks) }
				i.onReturned = func() { returned++ }
				_, err := onceServed(t.Context(), i, true, func() (int, error) { return 0, next(&test.requests) })
				if !errors.Is(err, test.want) {
					t.Errorf("error is %v, want %v", err, test.want)
				}
				if got := time.Since(begin); got != test.wantWait {
					t.Errorf("it took %s, want %s", got, test.wantWait)
				}
				if returned != test.wantReturned || i.Missing() != nil {
					t.Errorf("returned %d times, want %d; missing: %v", returned, test.wantReturned, i.Missing())
				}
			})
		})
	}
	t.Run("a stop ends the wait", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		i := newTestcrs(t, newDynamic())
		i.check = func(context.Context) error { return ErrCRDMissing }
		if _, err := onceServed(ctx, i, true, func() (int, error) { return 0, nil }); !errors.Is(err, context.Canceled) || !errors.Is(i.Missing(), ErrCRDMissing) {
			t.Errorf("error is %v, missing %v", err, i.Missing())
		}
	})
}

func TestTerminatingCRD(t *testing.T) {
	outage := errors.New("connection refused")
	tests := []struct {
		name                   string
		checks                 []error // the last one stays
		wantLost, wantReturned int
		want                   error
	}{
		{"one that stays is reported once", []error{ErrCRDTerminating}, 1, 0, ErrCRDTerminating},
		{"one that goes at once is reported by the watch", []error{ErrCRDTerminating, ErrCRDMissing}, 0, 0, nil},
		{"one that gives way to another", []error{ErrCRDTerminating, ErrCRDTerminating, ErrCRDMissing, nil}, 1, 1, nil},
		{"an outage meanwhile", []error{ErrCRDTerminating, outage, ErrCRDTerminating, outage, nil}, 1, 1, nil},
		{"a discovery that is late", []error{nil}, 0, 1, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				i := newTestcrs(t, newDynamic())
				lost, returned := 0, 0
				i.onLost, i.onReturned = func(error) { lost++ }, func() { returned++ }
				i.check = func(context.Context) error {
					err := test.checks[0]
					if len(test.checks) > 1 {
						test.checks = test.checks[1:]
					}
					return err
				}
				i.refused()
				if !i.closed.Load() {
					t.Error("creates go on")
				}
				i.untilOpen(ctx)
				if i.closed.Load() != (test.wantReturned == 0) {
					t.Errorf("closed: %t", i.closed.Load())
				}
				if lost != test.wantLost || returned != test.wantReturned || !errors.Is(i.Missing(), test.want) {
					t.Errorf("lost %d times, returned %d times, missing: %v; want %d, %d, %v",
						lost, returned, i.Missing(), test.wantLost, test.wantReturned, test.want)
				}
			})
		})
	}
}

func TestWhatWentWithTheCRDIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newTestcrs(t, newDynamic())
		served := []error{ErrCRDMissing, nil}
		i.check = func(context.Context) error {
			err := served[0]
			served = served[min(1, len(served)-1):]
			return err
		}
		if err := i.GetStore().Update(version("old", "1", "10")); err != nil {
			t.Fatal(err)
		}
		i.learn(version("wrote", "2", "11"))
		ask := func(whole bool) error {
			_, err := onceServed(t.Context(), i, whole, func() (int, error) { return 0, nil })
			return err
		}
		if err := ask(false); !apierrors.IsResourceExpired(err) {
			t.Errorf("watching on: %v, want it refused as expired", err)
		}
		if got := i.get("old"); got != nil {
			t.Errorf("the cache still has %s", got.Name)
		}
		if got := i.get("wrote"); got != nil {
			t.Errorf("the write of %s is still believed", got.Name)
		}
		i.learn(version("new", "3", "20"))
		if i.get("new") == nil {
			t.Error("a write after the return is not believed")
		}
		if err := ask(true); err != nil {
			t.Error(err)
		}
		if err := i.GetStore().Update(version("old", "4", "9")); err != nil {
			t.Fatal(err)
		}
		if i.get("old") == nil {
			t.Error("what was listed after the return is not believed")
		}
		if err := ask(false); err != nil {
			t.Errorf("watching on after the list: %v", err)
		}
	})
}

func TestHeardIsBoundedWhileAWatchIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = 15 * time.Second
		i := &TestcrInformer{}
		i.silence = silence
		age := func() time.Duration {
			if i.Heard().IsZero() {
				return -1
			}
			return time.Since(i.Heard())
		}
		pass := func(d time.Duration) { <-time.After(d) }
		var got []time.Duration
		see := func() { got = append(got, age()) }

		see()
		i.heard.Store(time.Now().UnixNano()) // a list
		pass(time.Minute)
		see()
		i.heard.Store(time.Now().UnixNano())
		i.watching.Store(true) // a watch
		pass(10 * time.Second)
		see()
		pass(time.Minute)
		see()
		i.deaf() // it has ended
		see()
		pass(time.Minute)
		see()
		i.deaf() // and cannot be had again
		see()
		want := []time.Duration{-1, time.Minute, 10 * time.Second, silence, silence, time.Minute + silence, time.Minute + silence}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ages (-want +got):\n%s", diff)
		}
	})
}
