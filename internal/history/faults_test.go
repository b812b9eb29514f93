package history

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// TestRecorder_Run_FailingStore breaks the store while Pods come and go. The recorder must
// go on by itself, and what it answers must be true.
func TestRecorder_Run_FailingStore(t *testing.T) {
	tests := map[string]struct {
		// breakIt breaks the store, and returns what mends it.
		breakIt func(t *testing.T, r *recording, path string) (mend func())
		// keeps reports that nothing may be lost.
		keeps bool
	}{
		"disk full": {keeps: true, breakIt: func(t *testing.T, r *recording, _ string) func() {
			t.Helper()
			exec(t, r.store.Load().writer, "PRAGMA max_page_count = 1")
			return func() { exec(t, r.store.Load().writer, "PRAGMA max_page_count = 1000000") }
		}},
		"locked": {keeps: true, breakIt: func(t *testing.T, _ *recording, path string) func() {
			t.Helper()
			other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
			if err != nil {
				t.Fatal(err)
			}
			tx, err := other.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := errors.Join(tx.Rollback(), other.Close()); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"read-only": {keeps: true, breakIt: func(t *testing.T, r *recording, _ string) func() {
			t.Helper()
			exec(t, r.store.Load().writer, "PRAGMA query_only = true")
			return func() { exec(t, r.store.Load().writer, "PRAGMA query_only = false") }
		}},
		"deleted": {breakIt: func(t *testing.T, _ *recording, path string) func() {
			t.Helper()
			for _, suffix := range []string{"", "-wal", "-shm"} {
				if err := os.Remove(path + suffix); err != nil {
					t.Fatal(err)
				}
			}
			return func() {}
		}},
		"replaced": {breakIt: func(t *testing.T, _ *recording, path string) func() {
			t.Helper()
			if err := os.WriteFile(path+".new", []byte("no database"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			return func() {}
		}},
		"truncated": {breakIt: func(t *testing.T, _ *recording, path string) func() {
			t.Helper()
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			return func() {}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pods, path := &fakePods{}, filepath.Join(t.TempDir(), "history.db")
				r := record(t, path, pods)
				start := time.Now()
				cart := newPod("cart", "10.0.0.1")
				pods.add(cart)
				pass(time.Minute)
				mend := test.breakIt(t, r, path)
				pass(10 * time.Second)
				for i := range 200 { // more than fits into the pages that are there
					pods.add(newPod(fmt.Sprint("filler-", i), fmt.Sprintf("10.0.1.%d", i)))
				}
				brief := newPod("brief", "10.0.0.2")
				pods.add(brief)
				briefAt := time.Now()
				pass(10 * time.Second)
				pods.remove(brief)
				pass(10 * time.Second)
				if test.keeps { // a question must not make it lose what waits
					r.at(query.IP, "10.0.0.2", time.Now())
				}
				if test.keeps && r.failed.Load() == nil {
					t.Error("the failure is not reported")
				}
				mend()
				pass(time.Minute)
				if err := r.failed.Load(); err != nil {
					t.Fatalf("it did not recover: %v", *err)
				}
				late := newPod("late", "10.0.0.3")
				pods.add(late)
				pass(time.Minute)

				r.expect(query.IP, "10.0.0.1", time.Now(), "cart")
				r.expect(query.IP, "10.0.0.3", time.Now(), "late")
				if test.keeps {
					r.expect(query.IP, "10.0.0.1", start.Add(time.Second), "cart")
					r.expect(query.IP, "10.0.0.2", briefAt.Add(5*time.Second), "brief")
					r.expect(query.IP, "10.0.0.2", briefAt.Add(15*time.Second))
				}
				got, a := r.at(query.IP, "10.0.0.1", start.Add(time.Second))
				record := a.Records[0]
				if test.keeps && (record.Begins.After(start) || len(record.Gaps) > 0) {
					t.Errorf("the record is %+v, want one without a gap", record)
				}
				// The log of a file that was replaced may have all of it.
				if !test.keeps && !record.Begins.After(start.Add(time.Minute)) && !slices.Equal(got, []string{"cart"}) {
					t.Errorf("got %q and %+v, want cart, or a record that begins after the loss", got, record)
				}
			})
		})
	}
}

func exec(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// A file that is damaged is moved aside, also where only the start of it looks like a
// database.
func TestRecorder_Run_Damaged(t *testing.T) {
	for name, damage := range map[string]func(content []byte) []byte{
		"no database": func([]byte) []byte { return []byte("something else, which is no database at all") },
		"half of it":  func(content []byte) []byte { return content[:len(content)/2] },
		"garbled": func(content []byte) []byte {
			for i := 4096; i < len(content); i += 7 {
				content[i] ^= 0x55
			}
			return content
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "history.db")
				pods := &fakePods{}
				r := record(t, path, pods)
				pods.add(newPod("cart", "10.0.0.1"))
				pass(time.Minute)
				r.stop()
				content, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, damage(slices.Clone(content)), 0o600); err != nil {
					t.Fatal(err)
				}
				next := &fakePods{initial: []*corev1.Pod{newPod("late", "10.0.0.2")}}
				r = record(t, path, next)
				pass(2 * time.Minute)
				r.expect(query.IP, "10.0.0.2", time.Now(), "late")
				if _, err := os.Stat(path + ".corrupt"); err != nil {
					t.Errorf("the damaged file was not moved aside: %v", err)
				}
			})
		})
	}
}

// A store that is away for longer than changes are kept leaves a gap, and no wrong answer.
func TestRecorder_Run_Overflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods, path := &fakePods{}, filepath.Join(t.TempDir(), "history.db")
		r := record(t, path, pods)
		cart := newPod("cart", "10.0.0.1")
		pods.add(cart)
		pass(time.Minute)
		exec(t, r.store.Load().writer, "PRAGMA query_only = true")
		before := time.Now()
		pass(time.Minute)
		for range maxQueue + 1 {
			pods.update(cart, cart)
		}
		lost := newPod("lost", "10.0.0.2")
		pods.add(lost)
		pods.remove(cart)
		pass(time.Minute)
		pods.remove(lost)
		late := newPod("late", "10.0.0.1")
		pods.add(late)
		if n := len(r.queue); n > 0 {
			t.Errorf("%d events are kept after an overflow", n)
		}
		exec(t, r.store.Load().writer, "PRAGMA query_only = false")
		pass(time.Minute)
		r.expect(query.IP, "10.0.0.1", time.Now(), "late")
		r.expect(query.IP, "10.0.0.1", before.Add(30*time.Second), "cart?")
		_, a := r.at(query.IP, "10.0.0.2", before.Add(90*time.Second))
		if gaps := a.Records[0].Gaps; len(a.Holders) != 0 || len(gaps) != 1 || gaps[0].Reason != ReasonOverflow {
			t.Errorf("got %+v, want a gap by the overflow", a)
		}
		if got := r.Stats().Overflows; got != 1 {
			t.Errorf("%d overflows are counted", got)
		}
	})
}

// outagePods returns a cache that was last current at the time in the pointer, and without
// one is current.
func outagePods() (*fakePods, *atomic.Pointer[time.Time]) {
	var asOf atomic.Pointer[time.Time]
	return &fakePods{asOf: func() time.Time {
		if at := asOf.Load(); at != nil {
			return *at
		}
		return time.Now()
	}}, &asOf
}

// An event that arrives late, because the watch was dead, has no exact time.
func TestRecorder_Find_AfterAnOutageOfTheAPIServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods, asOf := outagePods()
		r := record(t, filepath.Join(t.TempDir(), "history.db"), pods)
		cart := newPod("cart", "10.0.0.1")
		pods.add(cart)
		pass(time.Minute)
		cut := time.Now()
		asOf.Store(&cut)
		pass(10 * time.Minute)
		pods.remove(cart) // at any time of the last ten minutes
		asOf.Store(nil)
		pass(time.Minute)
		r.expect(query.IP, "10.0.0.1", cut.Add(-5*time.Second), "cart")
		r.expect(query.IP, "10.0.0.1", cut.Add(5*time.Minute), "cart?")
		r.expect(query.IP, "10.0.0.1", time.Now())
		_, a := r.at(query.IP, "10.0.0.1", cut.Add(5*time.Minute))
		if gaps := a.Records[0].Gaps; len(gaps) != 1 || gaps[0].Reason != ReasonOutage {
			t.Errorf("the gaps are %+v", gaps)
		}
	})
}

// While it is not certain which labels a Pod had, its name and its namespace are.
func TestRecorder_Find_LabelsChangedInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods, asOf := outagePods()
		r := record(t, filepath.Join(t.TempDir(), "history.db"), pods)
		cart := newPod("cart", "10.0.0.1")
		pods.add(cart)
		pass(time.Minute)
		cut := time.Now()
		asOf.Store(&cut)
		pass(15 * time.Second)
		labeled := cart.DeepCopy()
		labeled.Labels["app"] = "cart-2"
		pods.update(cart, labeled) // at any time of the last 15 seconds
		asOf.Store(nil)
		pass(time.Minute)
		within := cut.Add(5 * time.Second)
		r.expect(query.Label, "app=cart", within, "cart?")
		r.expect(query.Label, "app=cart-2", within, "cart?")
		r.expect(query.Key, "shop/cart", within, "cart")
		r.expect(query.Namespace, "shop", within, "cart")
		_, a := r.at(query.IP, "10.0.0.1", within)
		if len(a.Holders) != 1 || a.Holders[0].Spec.PodKey != "shop/cart" || a.Holders[0].Spec.Namespace != "shop" {
			t.Errorf("the holders are %+v", a.Holders)
		}
	})
}

// What happened around a time at which the clock was set is marked.
func TestRecorder_Find_AfterTheClockWasSet(t *testing.T) {
	for name, shift := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var set atomic.Int64
				now := func() time.Time { return time.Now().Add(time.Duration(set.Load())) }
				pods := &fakePods{asOf: now}
				pass(3 * time.Hour)
				r := recordBy(t, Config{Location: filepath.Join(t.TempDir(), "history.db"), Pods: pods, Now: now})
				cart := newPod("cart", "10.0.0.1")
				pods.add(cart)
				pass(10 * time.Minute)
				before := now()
				set.Store(int64(shift))
				pass(10 * time.Minute)
				pods.remove(cart)
				pass(time.Minute)
				late := newPod("late", "10.0.0.1")
				pods.add(late)
				pass(time.Minute)
				r.expect(query.IP, "10.0.0.1", now(), "late")
				if got, a := r.at(query.IP, "10.0.0.1", before.Add(shift/2)); len(a.Records[0].Gaps) != 1 || a.Records[0].Gaps[0].Reason != ReasonClock {
					t.Errorf("at a doubtful time: got %q, %+v", got, a.Records)
				}
			})
		})
	}
}
