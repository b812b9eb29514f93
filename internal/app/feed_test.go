package app

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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

func TestNextList(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := base.Add
	tests := []struct {
		name              string
		now, first, shown time.Time
		want              time.Time
	}{
		{"the first change waits until it has settled", at(0), at(0), time.Time{}, at(250 * time.Millisecond)},
		{"each change puts the list off", at(900 * time.Millisecond), at(0), time.Time{}, at(1150 * time.Millisecond)},
		{"a burst without end gets its list all the same", at(9900 * time.Millisecond), at(0), time.Time{}, at(10 * time.Second)},
		{"a burst that has been too long gets it at once", at(11 * time.Second), at(0), time.Time{}, at(10 * time.Second)},
		{"two lists are a second apart", at(100 * time.Millisecond), at(100 * time.Millisecond), at(0), at(time.Second)},
		{"a list long ago puts nothing off", at(time.Minute), at(time.Minute), at(0), at(time.Minute + 250*time.Millisecond)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, nextList(test.now, test.first, test.shown)); diff != "" {
				t.Errorf("due (-want +got):\n%s", diff)
			}
		})
	}
}

func testcr(namespace, name string) *podinfolookup.Testcr {
	pod := cache.NewObjectName(namespace, name)
	return &podinfolookup.Testcr{
		ObjectMeta: metav1.ObjectMeta{Name: podinfolookup.NameFor(pod)},
		Spec:       podinfolookup.TestcrSpec{PodKey: pod.String(), Namespace: namespace, PodName: name},
	}
}

func TestFirstByPod(t *testing.T) {
	tests := []struct {
		name     string
		pods     []string
		n        int
		want     []string
		wantMore int
	}{
		{"none", nil, 2, nil, 0},
		{"fewer than there is room for", []string{"b"}, 2, []string{"a/b"}, 0},
		{"as many, in disorder", []string{"c", "b"}, 2, []string{"a/b", "a/c"}, 0},
		{"more, the first ones last", []string{"d", "c", "b", "a"}, 2, []string{"a/a", "a/b"}, 2},
		{"more, the first ones first", []string{"a", "b", "c", "d"}, 2, []string{"a/a", "a/b"}, 2},
		{"two of the same key", []string{"b", "b", "a"}, 2, []string{"a/a", "a/b"}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var objs []any
			for _, pod := range test.pods {
				objs = append(objs, testcr("a", pod))
			}
			rows, more := firstByPod(objs, test.n)
			var got []string
			for _, row := range rows {
				got = append(got, row.Spec.PodKey)
			}
			if diff := cmp.Diff(test.want, got); diff != "" || more != test.wantMore {
				t.Errorf("%d more, want %d; rows (-want +got):\n%s", more, test.wantMore, diff)
			}
		})
	}
}

func TestShowsOnlyWatchedNamespaces(t *testing.T) {
	tests := []struct {
		name       string
		namespaces []string
		obj        any
		want       bool
	}{
		{"all are watched", nil, testcr("a", "x"), true},
		{"one of the watched", []string{"a", "b"}, testcr("b", "x"), true},
		{"another one", []string{"a", "b"}, testcr("c", "x"), false},
		{"a deletion that was missed", []string{"a"}, cache.DeletedFinalStateUnknown{Obj: testcr("a", "x")}, true},
		{"a missed deletion of another one", []string{"a"}, cache.DeletedFinalStateUnknown{Obj: testcr("c", "x")}, false},
		{"no Testcr", nil, "x", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := (&feed{namespaces: test.namespaces}).shows(test.obj); got != test.want {
				t.Errorf("shows = %t, want %t", got, test.want)
			}
		})
	}
}

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
func runFeed(t *testing.T, out *printed, o *options) (*feed, cache.Store, context.CancelFunc) {
	t.Helper()
	out.begun = time.Now()
	informer, err := podinfolookup.NewTestcrInformer(noTestcrs{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFeed(out, o, informer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	go f.run(ctx)
	return f, f.testcrs, stop
}

func TestFeedPrintsLinesAtOnceAndTheListOnceSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{}
		f, store, stop := runFeed(t, out, &options{printChanges: true, printList: true})
		nginx := testcr("default", "nginx")
		nginx.Spec.PodIP, nginx.Spec.NodeName, nginx.Spec.Phase = "10.0.0.12", "node-1", "Running"
		nginx.Spec.CreatedAt = metav1.NewTime(time.Now().Add(-time.Hour))

		add(t, store, nginx, testcr("default", "new"))
		f.wrote(podinfolookup.Added, cache.NewObjectName("default", "nginx"))
		f.changed()
		synctest.Wait()
		want := "add: default/nginx\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("before it has settled (-want +got):\n%s", diff)
		}
		<-time.After(settleTime)
		synctest.Wait()
		want += `
current list:
NAME                               POD             IP          NODE     PHASE     AGE
5cf47ed3fea2ea2dbdfbe5ca0ad5d3dd   default/new     <none>      <none>   <none>    <unknown>
29b36e2c6835dded8a115aee874d1ddc   default/nginx   10.0.0.12   node-1   Running   60m

`
		want = strings.Replace(want, "5cf47ed3fea2ea2dbdfbe5ca0ad5d3dd", podinfolookup.NameFor(cache.NewObjectName("default", "new")), 1)
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("once it has settled (-want +got):\n%s", diff)
		}

		f.wrote(podinfolookup.Deleted, cache.NewObjectName("default", "nginx"))
		stop() // what waits is still printed
		synctest.Wait()
		want += "delete: default/nginx\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("after the stop (-want +got):\n%s", diff)
		}
	})
}

func TestFeedPrintsAtMostOneListASecond(t *testing.T) {
	tests := []struct {
		name    string
		every   time.Duration // between two changes
		changes int
		want    []time.Duration
	}{
		{"changes that settle", 300 * time.Millisecond, 8,
			[]time.Duration{250 * time.Millisecond, 1450 * time.Millisecond, 2450 * time.Millisecond}},
		{"changes that do not", 200 * time.Millisecond, 5, []time.Duration{1050 * time.Millisecond}},
		{"changes that never do", 200 * time.Millisecond, 101, []time.Duration{10 * time.Second, 20 * time.Second, 21 * time.Second}},
		{"a single one", time.Second, 1, []time.Duration{250 * time.Millisecond}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := &printed{}
				f, _, stop := runFeed(t, out, &options{printList: true})
				for range test.changes {
					f.changed()
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

func TestFeedListsTwentyAndCountsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{}
		f, store, stop := runFeed(t, out, &options{printList: true, namespaces: []string{"mine"}})
		for i := range 23 {
			add(t, store, testcr("mine", fmt.Sprint("pod-", i)), testcr("other", fmt.Sprint("pod-", i)))
		}
		f.changed()
		<-time.After(settleTime)
		synctest.Wait()
		if rows := strings.Count(out.String(), "mine/"); rows != listRows {
			t.Errorf("%d rows, want %d:\n%s", rows, listRows, out)
		}
		if !strings.Contains(out.String(), "... and 3 more: kubectl get testcrs\n\n") {
			t.Errorf("no count of the rest:\n%s", out)
		}
		if strings.Contains(out.String(), "other/") {
			t.Errorf("another namespace is listed:\n%s", out)
		}
		stop()
	})
}

func TestFeedPrintsNothingOfWhatIsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{}
		f, _, stop := runFeed(t, out, &options{})
		f.wrote(podinfolookup.Added, cache.NewObjectName("default", "nginx"))
		stop()
		synctest.Wait()
		if diff := cmp.Diff("", out.String()); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	})
}

func TestFeedDropsAndCountsWhatAnIdleReaderDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{block: make(chan struct{})}
		f, _, stop := runFeed(t, out, &options{printChanges: true})
		const lines = feedBacklog + 1000
		for i := range lines {
			f.wrote(podinfolookup.Added, cache.NewObjectName("default", fmt.Sprint("pod-", i)))
			if i == 0 {
				synctest.Wait() // the feed has taken it, and stands
			}
		}
		close(out.block)
		synctest.Wait()
		want := fmt.Sprintf("... %d changes more than standard output could take\n", lines-feedBacklog-1)
		if !strings.HasSuffix(out.String(), want) || strings.Count(out.String(), "add: ") != feedBacklog+1 {
			t.Errorf("%d lines, and the last is not %q", strings.Count(out.String(), "add: "), want)
		}
		stop()
	})
}

func TestFeedEndsWhenStandardOutputTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &printed{err: errors.New("broken pipe")}
		f, _, stop := runFeed(t, out, &options{printChanges: true, printList: true})
		defer stop()
		// Neither more lines than the backlog holds nor changes wait for a reader.
		for range 2 * feedBacklog {
			f.wrote(podinfolookup.Added, cache.NewObjectName("default", "nginx"))
			f.changed()
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

func add(t *testing.T, store cache.Store, testcrs ...*podinfolookup.Testcr) {
	t.Helper()
	for _, testcr := range testcrs {
		if err := store.Add(testcr); err != nil {
			t.Fatal(err)
		}
	}
}
