package podinfolookup

import (
	"context"
	"errors"
	"fmt"
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
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

func TestDetectDeadConnections(t *testing.T) {
	for _, test := range []struct {
		after, timeout string
		want           time.Duration
	}{
		{"", "", 15 * time.Second},
		{"20", "", 25 * time.Second},
		{"", "1", 11 * time.Second},
		{"30", "15", 45 * time.Second},
		{"10", "0", 25 * time.Second},
		{"0", "1", 365 * 24 * time.Hour},
		{"x", "y", 45 * time.Second}, // client-go takes its defaults for these
	} {
		t.Setenv(pingAfterEnv, test.after)
		t.Setenv(pingTimeoutEnv, test.timeout)
		DetectDeadConnections()
		if got := deadAfter(); got != test.want {
			t.Errorf("%q and %q: %s, want %s", test.after, test.timeout, got, test.want)
		}
	}
}

func TestAnOutageIsOverSoonAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const away = time.Hour
		begin, requests := time.Now(), 0
		got, err := patiently(t.Context(), &outage{}, "pods", isForReflector, func() (string, error) {
			requests++
			if time.Since(begin) < away {
				return "", errors.New("connection refused")
			}
			return "list", nil
		})
		if got != "list" || err != nil {
			t.Errorf("the answer is %q, %v", got, err)
		}
		if late := time.Since(begin) - away; late > 4*time.Second {
			t.Errorf("it was noticed %s after the end", late)
		}
		if most := int(away/outageRetryMax) + 10; requests > most {
			t.Errorf("%d requests were made, want at most %d", requests, most)
		}
	})
}

func TestAnOutageIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
		ctx := klog.NewContext(t.Context(), logger)
		requests := 0
		_, err := patiently(ctx, &outage{}, "pods", isForReflector, func() (string, error) {
			requests++
			switch {
			case requests < 100:
				return "", fmt.Errorf("stream error: stream ID %d; INTERNAL_ERROR; received from peer", 2*requests+1)
			case requests < 200:
				return "", errors.New("connection refused")
			default:
				return "list", nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		logs := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
		if n := strings.Count(logs, "Cannot list or watch"); n != 2 {
			t.Errorf("two causes were told of %d times:\n%s", n, logs)
		}
	})
}

// TestOutage_EndsWithAnotherRequest: where a watch meets an outage and then a
// version that is too old, the list behind it meets the end.
func TestOutage_EndsWithAnotherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
		ctx := klog.NewContext(t.Context(), logger)
		var o outage
		for _, answers := range [][]error{{errors.New("connection refused"), apierrors.NewResourceExpired("too old")}, {nil}, {nil}} {
			_, _ = patiently(ctx, &o, "pods", isForReflector, func() (int, error) {
				err := answers[0]
				answers = answers[1:]
				return 0, err
			})
		}
		logs := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
		if begun, ended := strings.Count(logs, "Cannot list or watch"), strings.Count(logs, "answers again"); begun != 1 || ended != 1 {
			t.Errorf("the outage was logged %d times and its end %d times, want one each:\n%s", begun, ended, logs)
		}
	})
}

func TestWhatTheReflectorHasAnAnswerToIsLeftToIt(t *testing.T) {
	resource := GroupVersionResource.GroupResource()
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"a version that is too old", apierrors.NewResourceExpired("too old"), true},
		{"a version that is too new", apierrors.NewTimeoutError("Too large resource version", 1), true},
		{"lists are not streamed", apierrors.NewInvalid(GroupVersionKind.GroupKind(), "", nil), true},
		{"a connection that is refused", errors.New("connection refused"), false},
		{"a server that starts", apierrors.NewServiceUnavailable("starting"), false},
		{"a server that has yet to read its roles", apierrors.NewForbidden(resource, "", nil), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				_, err := patiently(t.Context(), &outage{}, "pods", isForReflector, func() (int, error) {
					if requests++; requests > 1 {
						return 0, nil
					}
					return 0, test.err
				})
				if got := requests == 1 && errors.Is(err, test.err); got != test.want {
					t.Errorf("left to the reflector: %t, want %t (%d requests, %v)", got, test.want, requests, err)
				}
			})
		})
	}
	t.Run("a stop", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := patiently(ctx, &outage{}, "pods", isForReflector, func() (int, error) { return 0, errors.New("refused") }); err == nil {
			t.Error("the request goes on after the stop")
		}
	})
}

func TestFilter(t *testing.T) {
	named := func(event watch.Event) string { return event.Object.(*corev1.Pod).Name }
	odd := func(event watch.Event) (watch.Event, bool) { return event, named(event) != web(2).Name }
	t.Run("hands on what is approved of, until the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			events := watch.NewFake()
			go func() {
				for n := range 3 {
					events.Add(web(n + 1))
				}
				events.Stop()
			}()
			var got []string
			for event := range filter(events, odd).ResultChan() {
				got = append(got, named(event))
			}
			if diff := cmp.Diff([]string{web(1).Name, web(3).Name}, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	})
	stops := []struct {
		name    string
		waiting bool
	}{{"while an event waits that nobody takes", true}, {"while nothing happens", false}}
	for _, test := range stops {
		t.Run("ends with Stop "+test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left behind
				events := watch.NewFake()
				w := filter(events, func(event watch.Event) (watch.Event, bool) { return event, true })
				if test.waiting {
					events.Add(web(1))
				}
				synctest.Wait()
				w.Stop()
				w.Stop() // as a reflector may
				synctest.Wait()
				if _, open := <-w.ResultChan(); open || !events.IsStopped() {
					t.Errorf("it has not ended: open %t, the watch is stopped %t", open, events.IsStopped())
				}
			})
		})
	}
}

// TestAWatchThatIsCutGoesOnWhereItEnded is about connections that break, time and
// again: each time client-go's reflector would list all, and wait twice as long.
func TestAWatchThatIsCutGoesOnWhereItEnded(t *testing.T) {
	t.Run("after a list", func(t *testing.T) { testCuts(t, false) })
	t.Run("after a list that was streamed", func(t *testing.T) { testCuts(t, true) })
}

// streams is a client whose lists may be streamed: the fakes say that theirs may not.
type streams struct{}

func testCuts(t *testing.T, streamed bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		const cuts = 10
		var client any = fake.NewClientset()
		if streamed {
			client = streams{}
		}
		var lists int
		var from []string
		watches := make(chan *watch.FakeWatcher)
		i := &Informer{}
		err := i.init(&corev1.Pod{}, "pods", client, nil,
			func(_ context.Context, options metav1.ListOptions) (runtime.Object, error) {
				if options.Limit == probeLimit {
					return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1000"}}, nil
				}
				lists++
				return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}, nil
			},
			func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				if options.SendInitialEvents != nil {
					lists++
					options.ResourceVersion = "list"
				}
				from = append(from, options.ResourceVersion)
				w := watch.NewFake()
				select {
				case watches <- w:
					return w, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { i.RunWithContext(ctx) })
		defer func() { stop(); running.Wait() }()

		cut := apierrors.NewClientErrorReporter(http.StatusInternalServerError, "GET", "ClientWatchDecoding").
			AsObject(errors.New("unable to decode an event from the watch stream: connection reset by peer"))
		begin := time.Now()
		want := []string{"1"}
		if streamed {
			want = []string{"list"}
		}
		for n := range cuts {
			w := <-watches
			if n == 0 && streamed {
				w.Action(watch.Bookmark, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
					ResourceVersion: "1", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
				}})
			}
			pod := web(n)
			pod.ResourceVersion = strconv.Itoa(n + 10)
			w.Add(pod)
			w.Error(cut)
			w.Stop()
			want = append(want, pod.ResourceVersion)
		}
		last := <-watches
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%d cuts took %s", cuts, took)
		}
		if diff := cmp.Diff(want, from); diff != "" {
			t.Errorf("where watches began (-want +got):\n%s", diff)
		}
		if lists != 1 {
			t.Errorf("%d lists, want 1", lists)
		}

		// What the API server says itself is still heard: the version is too old.
		last.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
		last.Stop()
		<-watches
		if lists != 2 {
			t.Errorf("%d lists after the version has expired, want 2", lists)
		}
	})
}
