package election

import (
	"context"
	"errors"
	"strings"
	"sync"
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
func candidate(t *testing.T, lease *fakeLease) *Election {
	t.Helper()
	config := DefaultConfig("name")
	config.LeaderElect, config.ResourceNamespace = true, "ns"
	return newElection(config, lease.holder())
}

// isClosed reports whether no write may be sent.
func (f *leaseFence) isClosed() bool {
	deadline, _ := f.deadline()
	return deadline.IsZero()
}

func TestElection_Run(t *testing.T) {
	t.Run("a signal ends the work first and gives the lease back then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			lease := &fakeLease{}
			e := candidate(t, lease)
			ctx, signal := context.WithCancel(t.Context())
			finish := make(chan struct{})
			result := make(chan error, 1)
			go func() {
				result <- e.Run(ctx, func(ctx context.Context) error {
					<-ctx.Done()
					<-finish // the last write
					return nil
				})
			}()
			<-time.After(time.Minute) // virtual time
			signal()
			<-time.After(time.Second)
			if e.fence.isClosed() {
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
			if !e.fence.isClosed() {
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
			if err := e.Run(ctx, func(context.Context) error { t.Error("it works"); return nil }); err != nil {
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
			if err := e.Run(ctx, func(context.Context) error { return nil }); err != nil {
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
			go func() { result <- e.Run(ctx, func(ctx context.Context) error { <-ctx.Done(); return nil }) }()
			<-time.After(time.Minute) // virtual time
			lease.slow(time.Hour)
			begun := time.Now()
			signal()
			if err := <-result; err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > releaseTimeout {
				t.Errorf("it took %s", took)
			}
			<-time.After(2 * time.Hour) // for the elector to end
		})
	})
}

// terms runs an election whose work is traced: "begin", and "end" for the whole
// work, which takes a second after its context has ended.
func terms(t *testing.T, e *Election) (trace func() string) {
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
		result <- e.Run(ctx, func(ctx context.Context) error {
			do("begin")
			<-ctx.Done()
			if ended := e.fence.isClosed(); !ended {
				do("may write")
			}
			<-time.After(time.Second) // virtual time
			if !e.fence.isClosed() {
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

func TestElection_Run_LostLease(t *testing.T) {
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
				if err := e.Check(); err != nil {
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
				if e.fence.isClosed() {
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

func TestElection_Check(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{}
		e := candidate(t, lease)
		ctx, signal := context.WithCancel(t.Context())
		finish, result := make(chan struct{}), make(chan error, 1)
		go func() { result <- e.Run(ctx, func(context.Context) error { <-finish; return nil }) }()
		<-time.After(time.Minute) // virtual time
		if err := e.Check(); err != nil {
			t.Errorf("a leader: %v", err)
		}
		lease.set(errGone)
		<-time.After(defaultLeaseDuration + stuckAfter - time.Second)
		if err := e.Check(); err != nil {
			t.Errorf("too early: %v", err)
		}
		<-time.After(2 * time.Second)
		if e.Check() == nil {
			t.Error("/livez passes, though the work goes on without the lease")
		}
		close(finish)
		<-time.After(time.Second)
		if err := e.Check(); err != nil {
			t.Errorf("a standby: %v", err)
		}
		signal()
		if err := <-result; err != nil {
			t.Error(err)
		}
	})
}

func TestTerm_Get_AnotherHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{}
		e := candidate(t, lease)
		lock := &term{Interface: e.lock, election: e, lost: make(chan struct{})}
		if err := lock.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
			t.Fatal(err)
		}
		if e.fence.isClosed() {
			t.Error("it may not write with the lease")
		}
		lease.take("b")
		if _, _, err := lock.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !e.fence.isClosed() {
			t.Error("it may write while another one leads")
		}
		for _, holder := range []string{"a", ""} {
			if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: holder}); !errors.Is(err, errTermOver) {
				t.Errorf("the term goes on for the holder %q: %v", holder, err)
			}
		}
	})
}

func TestTerm_Update_CountsFromBeforeTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := &fakeLease{delay: 3 * time.Second}
		e := candidate(t, lease)
		lock := &term{Interface: e.lock, election: e, lost: make(chan struct{})}
		begun := time.Now()
		if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "a"}); err != nil {
			t.Fatal(err)
		}
		deadline, _ := e.fence.deadline()
		if got, want := deadline.Sub(begun), 12500*time.Millisecond; got != want {
			t.Errorf("it lasts until %s after the request, want %s", got, want)
		}
		<-time.After(9499 * time.Millisecond) // virtual time
		if e.fence.isClosed() {
			t.Error("it has ended too early")
		}
		<-time.After(2 * time.Millisecond)
		if !e.fence.isClosed() {
			t.Error("it has not ended")
		}
	})
}
