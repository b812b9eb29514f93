package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/cache"
)

func TestNextList(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := base.Add
	tests := []struct {
		name               string
		now, first, listed time.Time
		want               time.Time
	}{
		{name: "the first change waits until it has settled", now: at(0), first: at(0), want: at(250 * time.Millisecond)},
		{name: "each change puts the list off", now: at(900 * time.Millisecond), first: at(0), want: at(1150 * time.Millisecond)},
		{name: "a burst without end gets its list all the same", now: at(9900 * time.Millisecond), first: at(0), want: at(10 * time.Second)},
		{name: "a burst that has been too long gets it at once", now: at(11 * time.Second), first: at(0), want: at(10 * time.Second)},
		{name: "two lists are a second apart", now: at(100 * time.Millisecond), first: at(100 * time.Millisecond), listed: at(0), want: at(time.Second)},
		{name: "a list long ago puts nothing off", now: at(time.Minute), first: at(time.Minute), listed: at(0), want: at(time.Minute + 250*time.Millisecond)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, nextList(test.now, test.first, test.listed)); diff != "" {
				t.Errorf("due (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFeed_firstRows(t *testing.T) {
	pod := func(i int) string { return fmt.Sprintf("a/%02d", i) }
	ascending, descending := make([]string, maxRows+2), make([]string, maxRows+2)
	for i := range ascending {
		ascending[i], descending[len(descending)-1-i] = pod(i), pod(i)
	}
	tests := []struct {
		name     string
		pods     []string
		want     []string
		wantMore int
	}{
		{name: "none"},
		{name: "fewer than there is room for, in disorder", pods: []string{"a/c", "a/b"}, want: []string{"a/b", "a/c"}},
		{name: "more, the first ones last", pods: descending, want: ascending[:maxRows], wantMore: 2},
		{name: "more, the first ones first", pods: ascending, want: ascending[:maxRows], wantMore: 2},
		{name: "two of the same key", pods: append([]string{"a/00"}, ascending...),
			want: append([]string{"a/00"}, ascending[:maxRows-1]...), wantMore: 3},
		{name: "what is not listed does not count", pods: []string{"hidden/a", "a/b"}, want: []string{"a/b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var objects []any
			for _, pod := range test.pods {
				objects = append(objects, row(pod))
			}
			f := &Feed{config: Config{Testcrs: fakeInformer{Store: listOf{objects: objects}}, Row: rowOf}}
			rows, more := f.firstRows()
			var got []string
			for _, row := range rows {
				got = append(got, row.Pod)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || more != test.wantMore {
				t.Errorf("%d more, want %d; rows (-want +got):\n%s", more, test.wantMore, diff)
			}
		})
	}
}

func TestFeed_isListed(t *testing.T) {
	tests := []struct {
		name string
		obj  any
		want bool
	}{
		{name: "a listed one", obj: row("a/x"), want: true},
		{name: "another one", obj: row("hidden/x")},
		{name: "a deletion that was missed", obj: cache.DeletedFinalStateUnknown{Obj: row("a/x")}, want: true},
		{name: "a missed deletion of another one", obj: cache.DeletedFinalStateUnknown{Obj: row("hidden/x")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := (&Feed{config: Config{Row: rowOf}}).isListed(test.obj); got != test.want {
				t.Errorf("isListed = %t, want %t", got, test.want)
			}
		})
	}
}

// row is the object that the fake informer has of a Pod, and its own row.
func row(pod string) Row {
	return Row{Name: "testcr-of-" + strings.ReplaceAll(pod, "/", "-"), Pod: pod}
}

func rowOf(obj any) (Row, bool) {
	r, ok := obj.(Row)
	return r, ok && !strings.HasPrefix(r.Pod, "hidden/")
}

// fakeInformer is an informer without events: tests call enqueueList.
type fakeInformer struct{ cache.Store }

func (i fakeInformer) GetStore() cache.Store { return i.Store }

func (i fakeInformer) AddEventHandler(cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	return nil, nil
}

// listOf is a store that lists objects in their order.
type listOf struct {
	cache.Store
	objects []any
}

func (l listOf) List() []any { return l.objects }

// printed is a standard output that keeps what it got, and when.
type printed struct {
	mu    sync.Mutex
	begun time.Time
	text  strings.Builder
	lists []time.Duration
	err   error
	block chan struct{} // where not nil, a write ends when it is closed
}

func (p *printed) Write(b []byte) (int, error) {
	if p.block != nil {
		<-p.block
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	if strings.Contains(string(b), "current list:") {
		p.lists = append(p.lists, time.Since(p.begun))
	}
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// runFeed runs a feed whose list comes from the returned store.
func runFeed(t *testing.T, out *printed, changes, list bool) (*Feed, cache.Store, context.CancelFunc) {
	t.Helper()
	out.begun = time.Now()
	store := cache.NewStore(func(obj any) (string, error) { return obj.(Row).Pod, nil })
	f, err := New(Config{Out: out, PrintChanges: changes, PrintList: list, Testcrs: fakeInformer{Store: store}, Row: rowOf})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	go f.Run(ctx)
	return f, store, stop
}

func TestFeed_Run_LinesAtOnceListOnceSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{}
		f, store, stop := runFeed(t, out, true, true)
		add(t, store, row("default/new"), Row{
			Name: "29b36e2c6835dded8a115aee874d1ddc", Pod: "default/nginx", IP: "10.0.0.12", Node: "node-1", Phase: "Running",
			CreatedAt: time.Now().Add(-time.Hour),
		})
		f.Changed("add", cache.NewObjectName("default", "nginx"))
		f.enqueueList()
		synctest.Wait()
		want := "add: default/nginx\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("before it has settled (-want +got):\n%s", diff)
		}
		<-time.After(settleDelay)
		synctest.Wait()
		want += `
current list:
NAME                               POD             IP          NODE     PHASE     AGE
testcr-of-default-new              default/new     <none>      <none>   <none>    <unknown>
29b36e2c6835dded8a115aee874d1ddc   default/nginx   10.0.0.12   node-1   Running   60m

`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("once it has settled (-want +got):\n%s", diff)
		}

		f.Changed("delete", cache.NewObjectName("default", "nginx"))
		stop() // what waits is still printed
		synctest.Wait()
		want += "delete: default/nginx\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("after the stop (-want +got):\n%s", diff)
		}
	})
}

func TestFeed_Run_ListInterval(t *testing.T) {
	tests := []struct {
		name    string
		every   time.Duration // between two changes
		changes int
		want    []time.Duration
	}{
		{name: "changes that settle", every: 300 * time.Millisecond, changes: 8,
			want: []time.Duration{250 * time.Millisecond, 1450 * time.Millisecond, 2450 * time.Millisecond}},
		{name: "changes that do not", every: 200 * time.Millisecond, changes: 5, want: []time.Duration{1050 * time.Millisecond}},
		{name: "changes that never do", every: 200 * time.Millisecond, changes: 101, want: []time.Duration{10 * time.Second, 20 * time.Second, 21 * time.Second}},
		{name: "a single one", every: time.Second, changes: 1, want: []time.Duration{250 * time.Millisecond}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &printed{}
				f, _, stop := runFeed(t, out, false, true)
				for range test.changes {
					f.enqueueList()
					<-time.After(test.every)
				}
				<-time.After(time.Minute)
				stop()
				synctest.Wait()
				if diff := cmp.Diff(test.want, out.lists); diff != "" {
					t.Errorf("lists (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestFeed_Run_RowsBeyondTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{}
		f, store, stop := runFeed(t, out, false, true)
		for i := range 23 {
			add(t, store, row(fmt.Sprint("mine/pod-", i)), row(fmt.Sprint("hidden/pod-", i)))
		}
		f.enqueueList()
		<-time.After(settleDelay)
		synctest.Wait()
		if rows := strings.Count(out.String(), "mine/"); rows != maxRows {
			t.Errorf("%d rows, want %d:\n%s", rows, maxRows, out)
		}
		if !strings.Contains(out.String(), "... and 3 more: kubectl get testcrs\n\n") {
			t.Errorf("no count of the rest:\n%s", out)
		}
		if strings.Contains(out.String(), "hidden/") {
			t.Errorf("a row that is not listed is printed:\n%s", out)
		}
		stop()
	})
}

func TestFeed_Run_SwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{}
		f, _, stop := runFeed(t, out, false, false)
		f.Changed("add", cache.NewObjectName("default", "nginx"))
		stop()
		synctest.Wait()
		if diff := cmp.Diff("", out.String()); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	})
}

func TestFeed_Run_SlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{block: make(chan struct{})}
		f, _, stop := runFeed(t, out, true, false)
		const lines = maxBacklog + 1000
		for i := range lines {
			f.Changed("add", cache.NewObjectName("default", fmt.Sprint("pod-", i)))
			if i == 0 {
				synctest.Wait() // the feed has taken it, and stands
			}
		}
		close(out.block)
		synctest.Wait()
		want := fmt.Sprintf("... %d changes more than standard output could take\n", lines-maxBacklog-1)
		if !strings.HasSuffix(out.String(), want) || strings.Count(out.String(), "add: ") != maxBacklog+1 {
			t.Errorf("%d lines, and the last is not %q", strings.Count(out.String(), "add: "), want)
		}
		stop()
	})
}

func TestFeed_Run_ClosedOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{err: errors.New("broken pipe")}
		f, _, stop := runFeed(t, out, true, true)
		defer stop()
		// Neither more lines than the backlog holds nor changes wait for a reader.
		for range 2 * maxBacklog {
			f.Changed("add", cache.NewObjectName("default", "nginx"))
			f.enqueueList()
		}
		synctest.Wait()
		out.mu.Lock()
		out.err = nil
		out.mu.Unlock()
		<-time.After(time.Minute)
		if diff := cmp.Diff("", out.String()); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	})
}

func add(t *testing.T, store cache.Store, rows ...Row) {
	t.Helper()
	for _, row := range rows {
		if err := store.Add(row); err != nil {
			t.Fatal(err)
		}
	}
}
