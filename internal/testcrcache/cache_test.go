package testcrcache

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

func TestCache_RunWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, err := wire.ToUnstructured(wanted())
		if err != nil {
			t.Fatal(err)
		}
		client := newDynamic(first)
		c := newCache(t, Config{Client: client})
		start(t, c)
		synctest.Wait()
		if got := c.Get(wanted().Name); got == nil || !got.Matches(wanted()) || got.Labels != nil {
			t.Errorf("listed: %v, want the Testcr without its labels", got)
		}
		other := wanted()
		other.Name, other.Labels = "other", map[string]string{"theirs": "yes"}
		second, err := wire.ToUnstructured(other)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Resource(v1.GroupVersionResource).Create(t.Context(), second, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.Get("other"); got == nil || got.Labels["theirs"] != "yes" {
			t.Errorf("watched: %v, want the Testcr with its label", got)
		}
		var names []string
		for entry := range c.Entries {
			names = append(names, entry.Name)
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{wanted().Name, "other"}, names); diff != "" {
			t.Errorf("entries (-want +got):\n%s", diff)
		}
		for range c.Entries { // ends with its context
			break
		}
		if err := client.Resource(v1.GroupVersionResource).Delete(t.Context(), "other", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.Get("other"); got != nil {
			t.Errorf("deleted: %v", got)
		}
	})
}

// optionsReader records the options of requests.
type optionsReader struct {
	mu   sync.Mutex
	got  []metav1.ListOptions
	open chan struct{} // closed to end the first watch
}

func (r *optionsReader) record(options metav1.ListOptions) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, metav1.ListOptions{
		LabelSelector: options.LabelSelector, FieldSelector: options.FieldSelector, Limit: options.Limit, Watch: options.Watch,
	})
	return len(r.got)
}

func (r *optionsReader) List(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
	r.record(options)
	return &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: "5"}}, nil
}

func (r *optionsReader) Watch(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	w := watch.NewFake()
	if r.record(options) < 4 {
		go func() { <-r.open; w.Stop() }()
	}
	return w, nil
}

func TestConfig_Selectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const labels, fields = "app.kubernetes.io/managed-by=podinfolookup", "spec.namespace=shop"
		reader := &optionsReader{open: make(chan struct{})}
		start(t, newCache(t, Config{Reader: reader, LabelSelector: labels, FieldSelector: fields}))
		<-time.After(time.Minute) // virtual time; a very short watch counts as a failure
		close(reader.open)
		<-time.After(time.Minute) // virtual time
		synctest.Wait()
		list := metav1.ListOptions{LabelSelector: labels, FieldSelector: fields}
		watches, probe := list, list
		list.Limit, watches.Watch, probe.Limit = 500, true, informer.ProbeLimit // 500: of client-go's reflector
		// Each watch is followed by a list of one Testcr for its version.
		want := []metav1.ListOptions{list, watches, probe, watches, probe}
		if diff := cmp.Diff(want, reader.got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// TestCache_OnRollback restores etcd from a backup, which undoes writes.
func TestCache_OnRollback(t *testing.T) {
	tests := []struct {
		name    string
		version string // of the next list
		want    bool
	}{
		{name: "versions go back", version: "20", want: true},
		{name: "a list that is up to date does not end the wait", version: "40"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				version, listed := "40", 0
				var mu sync.Mutex
				var open *watch.FakeWatcher
				c := newCache(t, Config{Reader: stubReader{
					list: func(options metav1.ListOptions) (runtime.Object, error) {
						mu.Lock()
						defer mu.Unlock()
						if options.Limit != informer.ProbeLimit {
							listed++
						}
						old := wire.Testcr{Testcr: v1.Testcr{ObjectMeta: metav1.ObjectMeta{Name: "wrote", UID: "1", ResourceVersion: "5"}}}
						return &metav1.List{
							ListMeta: metav1.ListMeta{ResourceVersion: version}, Items: []runtime.RawExtension{{Object: &old}},
						}, nil
					},
					watch: func(metav1.ListOptions) (watch.Interface, error) {
						mu.Lock()
						defer mu.Unlock()
						open = watch.NewFake()
						return open, nil
					},
				}})
				start(t, c)
				<-time.After(time.Minute) // virtual time; a very short watch counts as a failure
				c.recordWrite("wrote", "50")
				c.recordWrite("new", "51")
				if c.IsCurrent("wrote") || c.IsCurrent("new") {
					t.Fatal("the cache contains writes that it has not reached")
				}
				mu.Lock()
				version = test.version
				open.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
				open.Stop()
				mu.Unlock()
				<-time.After(3 * time.Second) // virtual time
				synctest.Wait()
				if listed < 2 {
					t.Fatalf("%d lists, want another one", listed)
				}
				for _, name := range []string{"wrote", "new"} {
					if got := c.IsCurrent(name); got != test.want {
						t.Errorf("IsCurrent(%s) = %t, want %t", name, got, test.want)
					}
				}
				if got := c.Get("wrote"); got == nil || got.ResourceVersion != "5" {
					t.Errorf("cached is %v, want the version of the backup", got)
				}
			})
		})
	}
}

// TestCache_IsCurrent goes through what requests and the watch report, in either
// order.
func TestCache_IsCurrent(t *testing.T) {
	type step func(*testing.T, *Cache)
	wrote := func(e *Entry) step { return func(_ *testing.T, c *Cache) { c.recordWrite(e.Name, e.ResourceVersion) } }
	deleted := func(e *Entry) step { return func(_ *testing.T, c *Cache) { c.recordDelete(e.Name, e.UID) } }
	watched := func(e *Entry) step { return func(t *testing.T, c *Cache) { t.Helper(); put(t, c, e) } }
	reached := func(version string) step {
		return func(_ *testing.T, c *Cache) { c.GetStore().Bookmark(version) }
	}
	watchedDeletion := func(e *Entry) step {
		return func(t *testing.T, c *Cache) {
			t.Helper()
			if err := c.GetStore().Delete(e); err != nil {
				t.Fatal(err)
			}
			c.GetStore().Bookmark(e.ResourceVersion)
		}
	}
	later := func(d time.Duration) step { return func(*testing.T, *Cache) { <-time.After(d) } } // virtual time
	forgot := func(_ *testing.T, c *Cache) { c.ForgetWrites() }
	first, second, third := entryOf("a", "1", "10"), entryOf("a", "1", "20"), entryOf("a", "2", "30")
	tests := []struct {
		name        string
		steps       []step
		want        bool
		wantEntry   *Entry
		wantPending int
	}{
		{name: "nothing is known", want: true},
		{name: "the watch alone", steps: []step{watched(first)}, want: true, wantEntry: first},
		{
			name:      "a write whose event is to come",
			steps:     []step{watched(first), wrote(second)},
			wantEntry: first, wantPending: 1,
		},
		{
			name:  "a write whose event has come",
			steps: []step{watched(first), wrote(second), watched(second)},
			want:  true, wantEntry: second,
		},
		{
			name:  "a write whose event came before its answer",
			steps: []step{watched(first), watched(second), wrote(second)},
			want:  true, wantEntry: second,
		},
		{
			name:  "a write whose event is cached before the store reports its version",
			steps: []step{wrote(second), watched(second), reached("15")},
			want:  true, wantEntry: second,
		},
		{
			name:      "a write, and an older event after it",
			steps:     []step{wrote(second), watched(first)},
			wantEntry: first, wantPending: 1,
		},
		{
			name:  "a write, and a newer one of another client",
			steps: []step{wrote(first), watched(second)},
			want:  true, wantEntry: second,
		},
		{
			name:  "a write, and a deletion by another client",
			steps: []step{watched(first), wrote(second), watchedDeletion(entryOf("a", "1", "25"))},
			want:  true,
		},
		{name: "a write, deleted while no watch was open", steps: []step{reached("5"), wrote(first), reached("40")}, want: true},
		{name: "a create whose event is to come", steps: []step{reached("5"), wrote(first)}, wantPending: 1},
		{name: "the store reports no version", steps: []step{wrote(second)}, want: true},
		{
			name:      "a deletion whose event is to come",
			steps:     []step{watched(first), deleted(first)},
			wantEntry: first, wantPending: 1,
		},
		{
			name:  "a deletion whose event has come",
			steps: []step{watched(first), deleted(first), watchedDeletion(second)},
			want:  true,
		},
		{
			name:      "a deletion, and a late event of the deleted one",
			steps:     []step{watched(first), deleted(first), watched(second)},
			wantEntry: second, wantPending: 1,
		},
		{
			name:  "a deletion, and another one of the name",
			steps: []step{watched(first), deleted(first), watched(third)},
			want:  true, wantEntry: third,
		},
		{
			name:      "a deletion, then a write whose event is to come",
			steps:     []step{watched(first), deleted(first), wrote(third)},
			wantEntry: first, wantPending: 1,
		},
		{
			name:  "a deletion, then a write whose event has come",
			steps: []step{watched(first), deleted(first), wrote(third), watched(third)},
			want:  true, wantEntry: third,
		},
		{
			name:      "a deletion whose event is late",
			steps:     []step{watched(first), deleted(first), later(deletionTimeout - time.Second)},
			wantEntry: first, wantPending: 1,
		},
		{
			name:  "a deletion that a restore of etcd has undone",
			steps: []step{watched(first), deleted(first), later(deletionTimeout)},
			want:  true, wantEntry: first,
		},
		{
			name:  "a write, and another replica has written since",
			steps: []step{watched(first), wrote(second), forgot},
			want:  true, wantEntry: first,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, Config{})
				for _, step := range test.steps {
					step(t, c)
				}
				if got := c.IsCurrent("a"); got != test.want {
					t.Errorf("IsCurrent = %t, want %t", got, test.want)
				}
				if got := c.Get("a"); got != test.wantEntry {
					t.Errorf("cached is %v, want %v", got, test.wantEntry)
				}
				if !c.IsCurrent("another") {
					t.Error("another Testcr is not current")
				}
				if n := len(c.pending); n != test.wantPending {
					t.Errorf("%d writes are pending, want %d", n, test.wantPending)
				}
			})
		})
	}
}
