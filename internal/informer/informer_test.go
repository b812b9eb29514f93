package informer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
)

func web(i int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%d", i)}}
}

// streams is a client whose lists may be streamed. Those of the fakes may not.
type streams struct{}

// listEnd returns the bookmark at the end of a streamed list.
func listEnd(version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: version, Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
	}}
}

// run runs an informer of Pods until the test ends.
func run(t *testing.T, config Config) *Informer {
	t.Helper()
	i := newPods(t, config)
	start(t, i)
	return i
}

func newPods(t *testing.T, config Config) *Informer {
	t.Helper()
	config.Resource, config.Object = "pods", &corev1.Pod{}
	i, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func start(t *testing.T, i *Informer) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { i.RunWithContext(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
}

// interrupted is an API server whose watches are handed to the test.
type interrupted struct {
	lists   int
	from    []string // the versions that watches began from, "list" for a streamed list
	watches chan *watch.FakeWatcher
}

func (s *interrupted) list(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
	if options.Limit == ProbeLimit {
		return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1000"}}, nil
	}
	s.lists++
	return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
}

func (s *interrupted) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	if options.SendInitialEvents != nil {
		s.lists++
		options.ResourceVersion = "list"
	}
	s.from = append(s.from, options.ResourceVersion)
	w := watch.NewFake()
	select {
	case s.watches <- w:
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Connections may break again and again. For each, client-go's reflector would list
// all objects, and wait twice as long.
func TestInformer_ResumesInterruptedWatch(t *testing.T) {
	tests := []struct {
		name       string
		client     any
		isStreamed bool
		from       string
	}{
		{name: "after a list", client: fake.NewClientset(), from: "1"},
		{name: "after a streamed list", client: streams{}, isStreamed: true, from: "list"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const interruptions = 10
				server := &interrupted{watches: make(chan *watch.FakeWatcher)}
				run(t, Config{Client: test.client, List: server.list, Watch: server.watch})
				interruption := apierrors.NewClientErrorReporter(http.StatusInternalServerError, "GET", "ClientWatchDecoding").
					AsObject(errors.New("unable to decode an event from the watch stream: connection reset by peer"))
				begin, want := time.Now(), []string{test.from}
				for n := range interruptions {
					w := <-server.watches
					if n == 0 && test.isStreamed {
						w.Action(watch.Bookmark, listEnd("1"))
					}
					pod := web(n)
					pod.ResourceVersion = strconv.Itoa(n + 10)
					w.Add(pod)
					w.Error(interruption)
					w.Stop()
					want = append(want, pod.ResourceVersion)
				}
				last := <-server.watches
				if took := time.Since(begin); took > time.Second {
					t.Errorf("%d interruptions took %s", interruptions, took)
				}
				if diff := cmp.Diff(want, server.from); diff != "" {
					t.Errorf("versions that watches began from (-want +got):\n%s", diff)
				}
				if server.lists != 1 {
					t.Errorf("%d lists, want 1", server.lists)
				}

				// An error of the API server itself still causes a list.
				last.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
				last.Stop()
				<-server.watches
				if server.lists != 2 {
					t.Errorf("%d lists after the version has expired, want 2", server.lists)
				}
			})
		})
	}
}

func TestInformer_AsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = 15 * time.Second
		i := &Informer{silence: silence}
		age := func() time.Duration {
			if i.AsOf().IsZero() {
				return -1
			}
			return time.Since(i.AsOf())
		}
		received := func() { i.asOf.Store(time.Now().UnixNano()) }
		steps := []struct {
			name string
			do   func()
			wait time.Duration
			want time.Duration
		}{
			{name: "before the first list", do: func() {}, want: -1},
			{name: "after a list", do: received, wait: time.Minute, want: time.Minute},
			{name: "a watch is open", do: func() { received(); i.watching.Store(true) }, wait: 10 * time.Second, want: 10 * time.Second},
			{name: "the open watch is silent for long", do: func() {}, wait: time.Minute, want: silence},
			{name: "the watch has ended", do: i.watchEnded, want: silence},
			{name: "time passes without a watch", do: func() {}, wait: time.Minute, want: time.Minute + silence},
			{name: "another watch could not be opened", do: i.watchEnded, want: time.Minute + silence},
		}
		for _, step := range steps {
			step.do()
			<-time.After(step.wait) // virtual time
			if diff := cmp.Diff(step.want, age()); diff != "" {
				t.Errorf("%s: age (-want +got):\n%s", step.name, diff)
			}
		}
	})
}

func TestInformer_AsOf_FollowsListsAndWatches(t *testing.T) {
	t.Setenv(pingAfterEnv, "10")
	t.Setenv(pingTimeoutEnv, "5")
	synctest.Test(t, func(t *testing.T) {
		server := &interrupted{watches: make(chan *watch.FakeWatcher)}
		i := run(t, Config{Client: fake.NewClientset(), List: server.list, Watch: server.watch})
		ages := []time.Duration{}
		see := func() { synctest.Wait(); ages = append(ages, time.Since(i.AsOf())) }
		<-time.After(time.Minute) // virtual time; after the list, without a watch
		see()
		w := <-server.watches
		see()
		<-time.After(time.Minute) // virtual time
		see()
		w.Add(web(1))
		see()
		w.Stop()
		<-time.After(time.Minute) // virtual time; the next watch is not answered
		see()
		<-server.watches
		want := []time.Duration{time.Minute, 0, 15 * time.Second, 0, time.Minute}
		if diff := cmp.Diff(want, ages); diff != "" {
			t.Errorf("ages (-want +got):\n%s", diff)
		}
	})
}

func TestInformer_watchFailed(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{name: "a short watch", err: errors.New("very short watch"), want: 1},
		{name: "the version is too old", err: apierrors.NewResourceExpired("too old")},
		{name: "the version is gone", err: apierrors.NewGenericServerResponse(http.StatusGone, "GET", pods, "", "too old", 0, true)},
		{name: "the end of the connection", err: io.EOF},
		{name: "an unexpected end of the connection", err: io.ErrUnexpectedEOF},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, text := logged(t)
			newPods(t, Config{}).watchFailed(ctx, nil, test.err)
			if n := strings.Count(text(), "Cannot list or watch"); n != test.want {
				t.Errorf("logged %d outages, want %d:\n%s", n, test.want, text())
			}
		})
	}
	t.Run("a stop is no outage", func(t *testing.T) {
		ctx, text := logged(t)
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		newPods(t, Config{}).watchFailed(ctx, nil, errors.New("refused"))
		if strings.Contains(text(), "Cannot list or watch") {
			t.Errorf("logged an outage:\n%s", text())
		}
	})
}
