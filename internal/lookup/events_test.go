package lookup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
)

// stream is a connection in virtual time.
type stream struct {
	mu       sync.Mutex // virtual time orders nothing for the race detector
	header   http.Header
	begin    time.Time
	buffered bytes.Buffer
	events   []event
	deadline time.Time
	broken   error
	stop     context.CancelFunc
	stopped  chan struct{}
}

// event is one server-sent event as it arrived.
type event struct {
	At   time.Duration // since the stream began
	Name string
	Data string
}

func (s *stream) Header() http.Header                { return s.header }
func (s *stream) WriteHeader(int)                    {}
func (s *stream) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, s.broken
	}
	return s.buffered.Write(p)
}

func (s *stream) FlushError() error {
	text, whole := strings.CutSuffix(s.buffered.String(), "\n\n")
	name, data, ok := strings.Cut(strings.TrimPrefix(text, "event: "), "\ndata: ")
	if !whole || !ok || strings.Contains(data, "\n") {
		return fmt.Errorf("not one event: %q", text)
	}
	if left := time.Until(s.deadline); left != 10*time.Second {
		return fmt.Errorf("the deadline is in %s", left)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event{time.Since(s.begin), name, data})
	s.buffered.Reset()
	return nil
}

// take returns what has arrived since the last time.
func (s *stream) take() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

// tear lets every write fail from now on.
func (s *stream) tear(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

// open asks for events; it must be called within synctest.
func open(t *testing.T, h http.Handler) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &stream{header: http.Header{}, begin: time.Now(), stop: cancel, stopped: make(chan struct{})}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/events", http.NoBody)
	go func() {
		defer close(s.stopped)
		h.ServeHTTP(s, r)
	}()
	synctest.Wait()
	return s
}

// after lets so much virtual time pass.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// view is the data of an event called "view".
type view struct {
	lookup.View
	Time    time.Time
	Changes int64
}

func (e event) view(t *testing.T) view {
	t.Helper()
	var v view
	if err := json.Unmarshal([]byte(e.Data), &v); err != nil || e.Name != "view" {
		t.Fatalf("%s %s: %v", e.Name, e.Data, err)
	}
	return v
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, h := serve(t, shop()...)
		s := open(t, h)
		type told struct {
			At      time.Duration
			Changes int64
			Pods    int
			Age     float64
		}
		expect := func(why string, want ...told) {
			t.Helper()
			var got []told
			for _, e := range s.take() {
				v := e.view(t)
				if !v.Time.Equal(s.begin.Add(e.At)) {
					t.Errorf("time is %s at %s", v.Time, s.begin.Add(e.At))
				}
				got = append(got, told{e.At, v.Changes, *v.Pods, v.AgeSeconds})
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", why, diff)
			}
		}
		if got := s.header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("type is %s", got)
		}
		expect("at once", told{0, 0, 6, 0})
		after(4999 * time.Millisecond)
		expect("silence")
		after(time.Millisecond)
		expect("after 5 s without a change", told{5 * time.Second, 0, 6, 5})

		i.add(pod("shop", "a", 11, "10.1.0.1", "node-1", nil)) // within half a second of the last
		after(499 * time.Millisecond)
		expect("not twice within half a second")
		after(time.Millisecond)
		expect("a change", told{5500 * time.Millisecond, 1, 7, 5.5})
		after(time.Second)
		i.setAsOf(time.Now())
		i.add(pod("shop", "b", 12, "10.1.0.2", "node-1", nil))
		synctest.Wait()
		expect("a change after a pause, at once", told{6500 * time.Millisecond, 2, 8, 0})

		for n := range 100 { // each 10 ms
			i.add(pod("shop", fmt.Sprint("c", n), 100+n, "10.1.1.1", "node-1", nil))
			after(10 * time.Millisecond)
		}
		expect("many changes", told{7000 * time.Millisecond, 52, 58, 0.5}, told{7500 * time.Millisecond, 102, 108, 1})
		entry := func(name string, uid int, ip string) *podcache.Pod {
			return podcache.NewPod(pod("shop", name, uid, ip, "node-1", nil))
		}
		i.OnDelete(entry("a", 11, "10.1.0.1"))
		i.OnUpdate(entry("b", 12, "10.1.0.2"), entry("b", 12, "10.1.0.3"))
		after(time.Second)
		expect("a deletion and an update", told{8 * time.Second, 104, 107, 1.5})

		second := open(t, h)
		if v := second.take()[0].view(t); v.Changes != 0 || *v.Pods != 107 {
			t.Errorf("another stream begins with %+v, want no changes of 107", v)
		}
		for _, s := range []*stream{s, second} {
			s.stop()
			synctest.Wait()
			select {
			case <-s.stopped:
			default:
				t.Error("it goes on after the request has ended")
			}
		}
		s.take()
		i.add(pod("shop", "d", 13, "10.1.0.4", "node-1", nil))
		after(time.Minute)
		expect("nothing after the end")
	})
}

func TestEventsWhileNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &informer{synced: make(chan struct{})}
		i.setAsOf(time.Now())
		l, err := lookup.New(t.Context(), lookup.Config{Pods: i, Version: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, l.Handler())
		unready := func(err error) string {
			data, _ := json.Marshal(map[string]string{"error": err.Error()}) // strings can be encoded
			return string(data)
		}
		syncing := unready(errors.New("the caches are not synced yet: try again"))
		after(time.Second)
		i.add(shop()[0])
		synctest.Wait()
		close(i.synced)
		after(time.Second)
		i.add(shop()[1])
		synctest.Wait()
		want := []event{{0, "unready", syncing}, {time.Second, "unready", syncing}, {2 * time.Second, "view", ""}}
		s.stop()
		synctest.Wait()
		got := s.take()
		if v := got[2].view(t); *v.Pods != 2 || v.Changes != 2 {
			t.Errorf("view is %+v", v)
		}
		got[2].Data = ""
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestEventsEndWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := serve(t, shop()...)
		s := open(t, h)
		s.tear(errors.New("broken pipe"))
		after(5 * time.Second)
		select {
		case <-s.stopped:
		default:
			t.Error("it goes on without a reader")
		}
		s.stop()
	})
}

func TestEventsEndSoThatRightsAreLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := serve(t, shop()...)
		s := open(t, h)
		defer s.stop()
		ended := func() bool {
			select {
			case <-s.stopped:
				return true
			default:
				return false
			}
		}
		after(10*time.Minute - time.Second)
		if ended() {
			t.Error("it ends before its time")
		}
		after(2 * time.Second)
		if !ended() {
			t.Error("it outlives its rights")
		}
	})
}
