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
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// fakeLease is a lease in memory that can be made to fail, to hang or to be taken.
type fakeLease struct {
	mu     sync.Mutex
	record *resourcelock.LeaderElectionRecord
	fails  error
	delay  time.Duration // between the request and its answer
	trace  []string      // who holds it, at each write
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

func (l *fakeLease) take(holder string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	record := *l.record
	record.HolderIdentity = holder
	l.record = &record
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
func defaultsOf(lock resourcelock.Interface) leaderelection.LeaderElectionConfig {
	return leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: defaultLeaseDuration, RenewDeadline: defaultRenewDeadline, RetryPeriod: defaultRetryPeriod, ReleaseOnCancel: true,
	}
}

// candidate is the one called "a".
func candidate(t *testing.T, lease *fakeLease) *election {
	t.Helper()
	config := defaultElection()
	config.LeaderElect = true
	e := &election{tenure: newTenure(&config), leading: make(chan struct{}), name: "ns/name"}
	lec := defaultsOf(timedLock{lease.holder(), e.tenure})
	lec.Callbacks = leaderelection.LeaderCallbacks{
		OnStartedLeading: func(context.Context) { close(e.leading) },
		OnStoppedLeading: func() {},
	}
	var err error
	if e.elector, err = leaderelection.NewLeaderElector(lec); err != nil {
		t.Fatal(err)
	}
	return e
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
			if e.tenure.until().IsZero() {
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
			if !e.tenure.until().IsZero() {
				t.Error("it may still write")
			}
		})
	})
	t.Run("a lost lease ends lead while work still runs", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{}
			e := candidate(t, lease)
			finish := make(chan struct{})
			defer close(finish)
			result := make(chan error, 1)
			go func() {
				result <- e.lead(t.Context(), func(context.Context) error { <-finish; return nil })
			}()
			<-time.After(time.Minute) // virtual time
			lease.set(errGone)
			begun := time.Now()
			if err := <-result; !errors.Is(err, errLeaseLost) {
				t.Errorf("error %v", err)
			}
			if took := time.Since(begun); took > defaultRenewDeadline+2*defaultRetryPeriod {
				t.Errorf("it took %s", took)
			}
			if !e.tenure.until().IsZero() {
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

func TestAnotherHolderEndsTheTenureAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{}
		e := candidate(t, lease)
		lock := timedLock{lease.holder(), e.tenure}
		if err := lock.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
			t.Fatal(err)
		}
		if e.tenure.until().IsZero() {
			t.Error("it may not write with the lease")
		}
		lease.take("b")
		if _, _, err := lock.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !e.tenure.until().IsZero() {
			t.Error("it may write while another one leads")
		}
	})
}

func TestATenureCountsFromBeforeTheRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{delay: 3 * time.Second}
		e := candidate(t, lease)
		lock := timedLock{lease.holder(), e.tenure}
		begun := time.Now()
		if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
			t.Fatal(err)
		}
		if got, want := e.tenure.until().Sub(begun), 12500*time.Millisecond; got != want {
			t.Errorf("it lasts until %s after the request, want %s", got, want)
		}
		<-time.After(9499 * time.Millisecond) // virtual time
		if e.tenure.until().IsZero() {
			t.Error("it has ended too early")
		}
		<-time.After(2 * time.Millisecond)
		if !e.tenure.until().IsZero() {
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
		v.renewed.Store(renewed)
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
