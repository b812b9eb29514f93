package lookup_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ageOf returns ageSeconds of an answer, and how long the answer took.
func ageOf(ask func() float64) (age float64, took time.Duration) {
	begin := time.Now()
	age = ask()
	synctest.Wait()
	return age, time.Since(begin)
}

func TestView_IsConfirmed(t *testing.T) {
	tests := []struct {
		name     string
		idle     time.Duration // before the request
		latency  time.Duration // of the API server
		fails    bool
		wantAge  float64
		wantTook time.Duration
		// wantNext is the age in the answer a second later.
		wantNext     float64
		wantConfirms int32 // of both
	}{
		{name: "a young view is not", idle: 500 * time.Millisecond, wantAge: 0.5, wantNext: 1.5},
		{name: "an older one for the next answer", idle: 2500 * time.Millisecond, latency: 50 * time.Millisecond, wantAge: 2.5, wantNext: 1, wantConfirms: 1},
		{name: "an old one for this answer", idle: time.Hour, latency: 50 * time.Millisecond, wantAge: 0.05, wantTook: 50 * time.Millisecond, wantNext: 1.05, wantConfirms: 1},
		{
			name: "an answer does not wait long", idle: time.Hour, latency: 700 * time.Millisecond,
			wantAge: 3600.5, wantTook: 500 * time.Millisecond, wantNext: 1.5, wantConfirms: 1,
		},
		{
			name: "an outage", idle: time.Hour, fails: true, wantAge: 3600, wantNext: 3601, wantConfirms: 2,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, h := serve(t, shop()...)
				i.confirm = func(context.Context) error {
					sent := time.Now()
					<-time.After(test.latency)
					if test.fails {
						return context.DeadlineExceeded
					}
					i.setAsOf(sent)
					return nil
				}
				summary := func() float64 {
					_, got := ask(t, h, "/v1/summary")
					return got.AgeSeconds
				}
				<-time.After(test.idle)
				age, took := ageOf(summary)
				<-time.After(time.Second)
				next, _ := ageOf(summary)
				if age != test.wantAge || took != test.wantTook || next != test.wantNext {
					t.Errorf("age %v after %s, then %v; want %v after %s, then %v", age, took, next, test.wantAge, test.wantTook, test.wantNext)
				}
				if got := i.confirms.Load(); got != test.wantConfirms {
					t.Errorf("%d requests, want %d", got, test.wantConfirms)
				}
			})
		})
	}
}

// However many ask, the API server gets one request a second, and nobody waits for one
// that does not answer more than once.
func TestView_ConfirmsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, h := serve(t, shop()...)
		i.confirm = func(ctx context.Context) error {
			<-ctx.Done() // the timeout of the request
			return ctx.Err()
		}
		<-time.After(time.Hour)
		begin := time.Now()
		var readers sync.WaitGroup
		for range 20 {
			readers.Go(func() { ask(t, h, "/v1/summary") })
		}
		readers.Wait()
		if took := time.Since(begin); took != 500*time.Millisecond {
			t.Errorf("the first answers took %s", took)
		}
		for range 100 {
			begin = time.Now()
			ask(t, h, "/v1/summary")
			if took := time.Since(begin); took != 0 {
				t.Fatalf("an answer during an outage took %s", took)
			}
			<-time.After(100 * time.Millisecond)
		}
		if got := i.confirms.Load(); got != 3 { // each until its timeout of 5 s
			t.Errorf("%d requests in 10 s, want 3", got)
		}
		<-time.After(10 * time.Second)
		if got := i.confirms.Load(); got != 3 {
			t.Errorf("%d requests without readers", got-3)
		}
	})
}

// A page learns within 10 s that the API server froze, whenever that was.
func TestEvents_SilentAPIServer(t *testing.T) {
	for froze := time.Duration(0); froze < 12*time.Second; froze += 700 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			i, h := serve(t, shop()...)
			var isFrozen atomic.Bool
			i.confirm = func(ctx context.Context) error {
				if isFrozen.Load() {
					<-ctx.Done()
					return ctx.Err()
				}
				i.setAsOf(time.Now())
				return nil
			}
			s := open(t, h)
			after(time.Minute + froze)
			for _, e := range s.take() {
				if v := e.view(t); !v.SilentSince.IsZero() {
					t.Fatalf("silent since %s before it froze", v.SilentSince)
				}
			}
			isFrozen.Store(true)
			i.setAsOf(time.Now())
			after(10*time.Second - time.Millisecond)
			events := s.take()
			if last := events[len(events)-1].view(t); last.SilentSince.IsZero() {
				t.Errorf("frozen %s after an event: not reported within 10 s", froze)
			}
			if text := get(t, h, "/v1/summary", "text/plain").Body.String(); !strings.Contains(text, "warning: the API server has not answered since ") {
				t.Errorf("text without a warning:\n%s", text)
			}
			isFrozen.Store(false)
			after(15 * time.Second) // the timeout of a request, and two events
			events = s.take()
			if last := events[len(events)-1].view(t); !last.SilentSince.IsZero() {
				t.Errorf("it answers again, and is reported as silent since %s", last.SilentSince)
			}
			s.stop()
			synctest.Wait()
		})
	}
}

// The numbers are in docs/design.md.
func TestView_ConfirmsInAnIdleHour(t *testing.T) {
	idle := func(t *testing.T) (*informer, http.Handler) {
		t.Helper()
		i, h := serve(t, shop()...)
		i.confirm = func(context.Context) error {
			i.setAsOf(time.Now())
			return nil
		}
		return i, h
	}
	tests := []struct {
		name string
		read func(t *testing.T, h http.Handler)
		want int32
	}{
		{name: "without readers", read: func(*testing.T, http.Handler) { after(time.Hour) }},
		{name: "with a page", want: 719, read: func(t *testing.T, h http.Handler) {
			t.Helper()
			for range 6 { // a stream lasts 10 minutes
				s := open(t, h)
				after(10*time.Minute - time.Second)
				s.stop()
				synctest.Wait()
			}
		}},
		{name: "with ten readers a second", want: 1799, read: func(t *testing.T, h http.Handler) {
			t.Helper()
			for range 10 * 3600 {
				get(t, h, "/v1/pods?limit=1", "")
				after(time.Second / 10)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, h := idle(t)
				test.read(t, h)
				if got := i.confirms.Load(); got != test.want {
					t.Errorf("%d requests, want %d", got, test.want)
				}
			})
		})
	}
}
