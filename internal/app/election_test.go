package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// fakeLease is a lease in memory that can be made to fail, to hang or to be taken.
type fakeLease struct {
	mu     sync.Mutex
	record *resourcelock.LeaderElectionRecord
	fails  error
	delay  time.Duration // between the request and its answer
	trace  []string      // who holds it, at each write
	taken  bool          // by somebody else since it was read: a write is a conflict
}

var errGone = errors.New("the API server is away")

func (l *fakeLease) set(fails error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails = fails
}

func (l *fakeLease) slow(delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = delay
}

// take has another candidate take the lease for good, or holder "" release it.
func (l *fakeLease) take(holder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	record := *l.record
	record.HolderIdentity, record.LeaderTransitions = holder, record.LeaderTransitions+1
	record.RenewTime = metav1.Now()
	l.record, l.taken = &record, true
}

// holder returns the candidate's view of the lease.
func (l *fakeLease) holder() resourcelock.Interface { return &fakeLock{l} }

type fakeLock struct{ *fakeLease }

func (l *fakeLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil {
		return nil, nil, l.fails
	}
	if l.record == nil {
		return nil, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "lease")
	}
	l.taken = false
	record := *l.record
	return &record, []byte(record.HolderIdentity + record.RenewTime.String()), nil
}

func (l *fakeLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, record)
}

// Update is carried out also when the caller has gone before the answer.
func (l *fakeLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	delay := l.delay
	l.mu.Unlock()
	select {
	case <-time.After(delay): // virtual time
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails != nil {
		return l.fails
	}
	if l.taken {
		return apierrors.NewConflict(schema.GroupResource{Resource: "leases"}, "lease", errors.New("it has changed"))
	}
	l.record = &record
	if n := len(l.trace); n == 0 || l.trace[n-1] != record.HolderIdentity {
		l.trace = append(l.trace, record.HolderIdentity)
	}
	return ctx.Err()
}

func (l *fakeLock) RecordEvent(string) {}
func (l *fakeLock) Identity() string   { return "a" }
func (l *fakeLock) Describe() string   { return "fake" }
func (l *fakeLease) held() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.trace...)
}

// candidate is the one called "a".
func candidate(t *testing.T, lease *fakeLease) *election {
	t.Helper()
	config := defaultElection()
	config.LeaderElect = true
	return &election{config: &config, lock: lease.holder(), tenure: newTenure(&config), name: "ns/name"}
}

// ended reports whether no write may be sent.
func (t *tenure) ended() bool {
	until, _ := t.until()
	return until.IsZero()
}

func TestLeadingEndsInGoodOrderOrAtOnce(t *testing.T) {
	t.Run("a signal ends the work first and gives the lease back then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{}
			e := candidate(t, lease)
			ctx, signal := context.WithCancel(t.Context())
			finish := make(chan struct{})
			result := make(chan error, 1)
			go func() {
				result <- e.lead(ctx, func(ctx context.Context) error {
					<-ctx.Done()
					<-finish // the last write
					return nil
				})
			}()
			<-time.After(time.Minute) // virtual time
			signal()
			<-time.After(time.Second)
			if e.tenure.ended() {
				t.Error("the last write is no longer covered by the lease")
			}
			if diff := cmp.Diff([]string{"a"}, lease.held()); diff != "" {
				t.Errorf("the lease was given back while a write is under way (-want +got):\n%s", diff)
			}
			close(finish)
			if err := <-result; err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"a", ""}, lease.held()); diff != "" {
				t.Errorf("holders (-want +got):\n%s", diff)
			}
			if !e.tenure.ended() {
				t.Error("it may still write")
			}
		})
	})
	t.Run("a standby that is stopped never leads", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{record: &resourcelock.LeaderElectionRecord{HolderIdentity: "b", LeaseDurationSeconds: 15}}
			e := candidate(t, lease)
			ctx, signal := context.WithCancel(t.Context())
			time.AfterFunc(5*time.Second, signal)
			if err := e.lead(ctx, func(context.Context) error { t.Error("it works"); return nil }); err != nil {
				t.Error(err)
			}
			if len(lease.held()) > 0 {
				t.Errorf("it wrote the lease: %v", lease.held())
			}
		})
	})
	t.Run("a stop while the lease is being taken leaves it to nobody", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{delay: time.Second}
			e := candidate(t, lease)
			ctx, signal := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, signal) // virtual time
			if err := e.lead(ctx, func(context.Context) error { return nil }); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{"a", ""}, lease.held()); diff != "" {
				t.Errorf("holders (-want +got):\n%s", diff)
			}
		})
	})
	t.Run("an API server that is away does not hold up a stop", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{}
			e := candidate(t, lease)
			ctx, signal := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() { result <- e.lead(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil }) }()
			<-time.After(time.Minute) // virtual time
			lease.slow(time.Hour)
			begun := time.Now()
			signal()
			if err := <-result; err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > releaseWithin {
				t.Errorf("it took %s", took)
			}
			<-time.After(2 * time.Hour) // for the elector to end
		})
	})
	t.Run("without an election there is only the work", func(t *testing.T) {
		want := errors.New("its own")
		if err := (*election)(nil).lead(t.Context(), func(context.Context) error { return want }); !errors.Is(err, want) {
			t.Error(err)
		}
	})
}

// terms runs an election whose work is traced: "begin", and "end" for the whole
// work, which takes a second after its context has ended.
func terms(t *testing.T, e *election) (trace func() string) {
	t.Helper()
	ctx, signal := context.WithCancel(t.Context())
	var mu sync.Mutex
	var did []string
	do := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		did = append(did, what)
	}
	result := make(chan error, 1)
	go func() {
		result <- e.lead(ctx, func(ctx context.Context) error {
			do("begin")
			<-ctx.Done()
			if ended := e.tenure.ended(); !ended {
				do("may write")
			}
			<-time.After(time.Second) // virtual time
			if !e.tenure.ended() {
				do("lease taken before the end")
			}
			do("end")
			return nil
		})
	}()
	<-time.After(time.Minute)
	t.Cleanup(func() {
		signal()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(did, ", ")
	}
}

func TestElection_LostLeaseMakesAStandby(t *testing.T) {
	tests := []struct {
		name string
		lose func(*fakeLease)
		back func(*fakeLease)
	}{
		{"the API server is away",
			func(l *fakeLease) { l.set(errGone) },
			func(l *fakeLease) { l.set(nil) }},
		{"another one leads",
			func(l *fakeLease) { l.take("b") },
			func(l *fakeLease) { l.take("") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lease := &fakeLease{}
				e := candidate(t, lease)
				trace := terms(t, e)
				test.lose(lease)
				<-time.After(defaultRenewDeadline + 2*defaultRetryPeriod + 2*time.Second) // virtual time
				if diff := cmp.Diff("begin, end", trace()); diff != "" {
					t.Errorf("in the first term (-want +got):\n%s", diff)
				}
				if lease.record.HolderIdentity == "" {
					t.Error("it gave back a lease that it had lost")
				}
				if test.name == "another one leads" { // which renews
					for range 120 {
						lease.take("b")
						<-time.After(5 * time.Second)
					}
				} else {
					<-time.After(10 * time.Minute)
				}
				if err := e.check(); err != nil {
					t.Errorf("/livez fails a standby: %v", err)
				}
				if diff := cmp.Diff("begin, end", trace()); diff != "" {
					t.Errorf("as a standby (-want +got):\n%s", diff)
				}
				test.back(lease)
				<-time.After(defaultLeaseDuration)
				if diff := cmp.Diff("begin, end, begin", trace()); diff != "" {
					t.Errorf("in the second term (-want +got):\n%s", diff)
				}
				if e.tenure.ended() {
					t.Error("it may not write in its second term")
				}
			})
		})
	}
	t.Run("another one led for a moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{}
			e := candidate(t, lease)
			trace := terms(t, e)
			lease.take("b")
			lease.take("")
			<-time.After(2*defaultRetryPeriod + 2*time.Second) // virtual time
			if diff := cmp.Diff("begin, end, begin", trace()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	})
	t.Run("another one led for a moment, and the lease names this one again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{}
			e := candidate(t, lease)
			trace := terms(t, e)
			lease.take("b")
			lease.take("a")
			<-time.After(2*defaultRetryPeriod + 2*time.Second) // virtual time
			if diff := cmp.Diff("begin, end, begin", trace()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	})
}

func TestElection_CheckFailsALeaderThatDoesNotStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{}
		e := candidate(t, lease)
		ctx, signal := context.WithCancel(t.Context())
		finish, result := make(chan struct{}), make(chan error, 1)
		go func() { result <- e.lead(ctx, func(context.Context) error { <-finish; return nil }) }()
		<-time.After(time.Minute) // virtual time
		if err := e.check(); err != nil {
			t.Errorf("a leader: %v", err)
		}
		lease.set(errGone)
		<-time.After(defaultLeaseDuration + electionStuckAfter - time.Second)
		if err := e.check(); err != nil {
			t.Errorf("too early: %v", err)
		}
		<-time.After(2 * time.Second)
		if e.check() == nil {
			t.Error("/livez passes, though the work goes on without the lease")
		}
		close(finish)
		<-time.After(time.Second)
		if err := e.check(); err != nil {
			t.Errorf("a standby: %v", err)
		}
		signal()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestAnotherHolderEndsTheTenureAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{}
		e := candidate(t, lease)
		lock := &term{Interface: e.lock, election: e, over: make(chan struct{})}
		if err := lock.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
			t.Fatal(err)
		}
		if e.tenure.ended() {
			t.Error("it may not write with the lease")
		}
		lease.take("b")
		if _, _, err := lock.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !e.tenure.ended() {
			t.Error("it may write while another one leads")
		}
		for _, holder := range []string{"a", ""} {
			if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: holder}); !errors.Is(err, errTermOver) {
				t.Errorf("the term goes on for the holder %q: %v", holder, err)
			}
		}
	})
}

func TestATenureCountsFromBeforeTheRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{delay: 3 * time.Second}
		e := candidate(t, lease)
		lock := &term{Interface: e.lock, election: e, over: make(chan struct{})}
		begun := time.Now()
		if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
			t.Fatal(err)
		}
		until, _ := e.tenure.until()
		if got, want := until.Sub(begun), 12500*time.Millisecond; got != want {
			t.Errorf("it lasts until %s after the request, want %s", got, want)
		}
		<-time.After(9499 * time.Millisecond) // virtual time
		if e.tenure.ended() {
			t.Error("it has ended too early")
		}
		<-time.After(2 * time.Millisecond)
		if !e.tenure.ended() {
			t.Error("it has not ended")
		}
	})
}

// body tells whether it was closed.
type body struct {
	io.Reader
	closed atomic.Bool
}

func (b *body) Close() error { b.closed.Store(true); return nil }

func TestWritesPassOnlyDuringTheTenure(t *testing.T) {
	lasting := func(renewed *time.Time) *tenure {
		v := &tenure{lasts: 50 * time.Millisecond}
		if renewed != nil {
			v.renew(*renewed)
		}
		return v
	}
	now, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	tests := []struct {
		name    string
		tenure  *tenure
		method  string
		wantErr error
	}{
		{"a read passes without the lease", lasting(nil), http.MethodGet, nil},
		{"a write passes with the lease", lasting(&now), http.MethodPost, nil},
		{"a write before the lease is refused", lasting(nil), http.MethodPost, errNotLeading},
		{"a write after the lease is refused", lasting(&past), http.MethodPut, errNotLeading},
		{"a delete after the lease is refused", lasting(&past), http.MethodDelete, errNotLeading},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				_, _ = io.WriteString(w, "answer")
			}))
			defer server.Close()
			sent := &body{Reader: strings.NewReader("body")}
			r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL, sent)
			if err != nil {
				t.Fatal(err)
			}
			response, err := guarded{http.DefaultTransport, test.tenure}.RoundTrip(r)
			if !errors.Is(err, test.wantErr) {
				t.Fatalf("error %v, want %v", err, test.wantErr)
			}
			if test.wantErr != nil {
				if asked.Load() > 0 || !sent.closed.Load() {
					t.Errorf("%d requests were sent; the body was closed: %t", asked.Load(), sent.closed.Load())
				}
				return
			}
			got, err := io.ReadAll(response.Body)
			if err != nil || string(got) != "answer" || response.Body.Close() != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	t.Run("a write under way ends when the lease is lost", func(t *testing.T) {
		held := time.Now()
		tenure := &tenure{lasts: time.Hour}
		tenure.renew(held)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			tenure.end()
			_, _ = io.Copy(io.Discard, r.Body) // only then is the client's end noticed
			<-r.Context().Done()
		}))
		defer server.Close()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := guarded{http.DefaultTransport, tenure}.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
			t.Error("it went on")
		}
	})
	t.Run("a write under way ends with the lease", func(t *testing.T) {
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		defer server.Close()
		defer close(release)
		begun := time.Now()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := guarded{http.DefaultTransport, lasting(&begun)}.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
			t.Error("it went on")
		}
	})
}
