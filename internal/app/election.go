package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	componentbaseconfig "k8s.io/component-base/config"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

const (
	// A candidate looks at the lease each 1 to 2.2 retry periods, so that after a
	// release the next leader begins within 1 s, and after a leader has vanished
	// within the lease duration and 4.4 retry periods. Each look is a read of one
	// object, each renewal a write of one.
	defaultLeaseDuration = 15 * time.Second
	defaultRenewDeadline = 10 * time.Second
	defaultRetryPeriod   = 400 * time.Millisecond

	// releaseWithin is how long after the signal the lease may still be given
	// back: what is left of the 5 s of a stop once the last write has ended.
	releaseWithin = 3500 * time.Millisecond

	// electionStuckAfter is how long past its lease a leader may live that does
	// not notice, before /livez has it restarted.
	electionStuckAfter = 20 * time.Second
)

// errLeaseLost ends the program: another replica may lead from now on.
var errLeaseLost = errors.New("the lease was lost: another replica leads from now on; " +
	"if it comes again, the API server is too slow for --leader-elect-renew-deadline, or this program gets too little processor time")

// errNotLeading is why a write was not sent.
var errNotLeading = errors.New("not sent: this replica does not hold the lease, or has not been able to renew it in time")

func defaultElection() componentbaseconfig.LeaderElectionConfiguration {
	return componentbaseconfig.LeaderElectionConfiguration{
		LeaseDuration: metav1.Duration{Duration: defaultLeaseDuration},
		RenewDeadline: metav1.Duration{Duration: defaultRenewDeadline},
		RetryPeriod:   metav1.Duration{Duration: defaultRetryPeriod},
		ResourceLock:  resourcelock.LeasesResourceLock,
		ResourceName:  podinfolookup.ManagedBy,
	}
}

// election lets one of several replicas work.
type election struct {
	elector *leaderelection.LeaderElector
	tenure  *tenure
	leading chan struct{} // closed when the lease is held
	name    string
}

// newElection returns nil where there is nothing to elect.
func newElection(config *componentbaseconfig.LeaderElectionConfiguration, clients *clients) (*election, error) {
	if !config.LeaderElect {
		return nil, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("a name for the holder of the lease: %w", err)
	}
	e := &election{
		tenure: clients.tenure, leading: make(chan struct{}),
		name: config.ResourceNamespace + "/" + config.ResourceName,
	}
	lock, err := resourcelock.New(config.ResourceLock, config.ResourceNamespace, config.ResourceName, nil,
		clients.leases.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())})
	if err != nil {
		return nil, err
	}
	e.elector, err = leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            timedLock{lock, e.tenure},
		LeaseDuration:   config.LeaseDuration.Duration,
		RenewDeadline:   config.RenewDeadline.Duration,
		RetryPeriod:     config.RetryPeriod.Duration,
		ReleaseOnCancel: true,
		Name:            config.ResourceName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(e.leading) },
			OnStoppedLeading: func() {}, // lead sees the end of Run
		},
	})
	return e, err
}

// lead waits for the lease, has work done while it is held, and gives it back
// once work has returned: work ends with ctx, but the lease is held until the
// last write is done. When the lease is lost, lead returns at once.
func (e *election) lead(ctx context.Context, work func(context.Context) error) error {
	if e == nil {
		return work(ctx)
	}
	held, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.elector.Run(held)
	}()
	late := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(releaseWithin, func() { close(late) }) })
	giveBack := func() {
		release()
		select {
		case <-ended:
		case <-late:
			klog.FromContext(ctx).Info("The lease could not be given back in time, it will run out", "lease", e.name)
		}
	}
	select {
	case <-ctx.Done():
		giveBack()
		return nil
	case <-e.leading:
	}
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- work(leading) }()
	select {
	case err := <-done:
		giveBack()
		return err
	case <-ended:
		e.tenure.end()
		return fmt.Errorf("%s: %w", e.name, errLeaseLost)
	}
}

// check is for /livez: the program should have ended with its lease.
func (e *election) check() error { return e.elector.Check(electionStuckAfter) }

// tenure knows from when to when this process may write. Leader election itself
// does not keep a leader from writing that was held up, by a stopped process or a
// suspended machine, for longer than its lease.
type tenure struct {
	// lasts is for how long after the beginning of a renewal writes may be sent:
	// half way between the renew deadline, when the elector gives up, and the lease
	// duration, when another replica may lead. What is in flight has the other half.
	lasts   time.Duration
	renewed atomic.Pointer[time.Time] // nil while the lease is not held
}

func newTenure(config *componentbaseconfig.LeaderElectionConfiguration) *tenure {
	if !config.LeaderElect {
		return nil
	}
	return &tenure{lasts: (config.RenewDeadline.Duration + config.LeaseDuration.Duration) / 2}
}

func (t *tenure) end() { t.renewed.Store(nil) }

// until returns when the tenure ends unless it is renewed; the zero time when it
// has ended.
func (t *tenure) until() time.Time {
	renewed := t.renewed.Load()
	if renewed == nil {
		return time.Time{}
	}
	until := renewed.Add(t.lasts)
	// Go's monotonic clock stands still while a machine is suspended; the clock on
	// the wall may be set back. Whichever is later decides.
	if now := time.Now(); !now.Before(until) || !now.Round(0).Before(until.Round(0)) {
		return time.Time{}
	}
	return until
}

// guard lets no write through that is not covered by the lease, at the last
// place where it can be held: also a write that has waited for its turn, and
// each retry. A nil tenure changes nothing.
func (t *tenure) guard(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	if t != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return guarded{next, t} })
	}
	return config
}

type guarded struct {
	next   http.RoundTripper
	tenure *tenure
}

// RoundTrip refuses writes outside the tenure, and gives up those that are under
// way at its end: a stopped process that goes on does not send what it still has.
func (g guarded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return g.next.RoundTrip(r)
	}
	until := g.tenure.until()
	if until.IsZero() {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, errNotLeading
	}
	ctx, cancel := context.WithDeadlineCause(r.Context(), until, errNotLeading)
	response, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = closing{response.Body, cancel}
	return response, nil
}

// closing ends a request's context with its answer.
type closing struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close ends the answer.
func (c closing) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// WrappedRoundTripper is for client-go, which looks for the transport below.
func (g guarded) WrappedRoundTripper() http.RoundTripper { return g.next }

// timedLock keeps the tenure by what becomes of the lease.
type timedLock struct {
	resourcelock.Interface

	tenure *tenure
}

// Get ends the tenure when it finds somebody else in the lease.
func (l timedLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	if err == nil && record.HolderIdentity != l.Identity() {
		l.tenure.end()
	}
	return record, raw, err
}

// Create takes the lease for the first time.
func (l timedLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.timed(ctx, record, l.Interface.Create)
}

// Update takes, renews or releases the lease.
func (l timedLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.timed(ctx, record, l.Interface.Update)
}

// timed counts from the moment before the request: others count from when they
// see the renewal, which is later. A stop does not cut the request, only its
// deadline does: the API server may have carried it out all the same, and the
// elector gives back only a lease that it knows it holds.
func (l timedLock) timed(ctx context.Context, record resourcelock.LeaderElectionRecord,
	write func(context.Context, resourcelock.LeaderElectionRecord) error,
) error {
	deadline, limited := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	if limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	begun := time.Now()
	if record.HolderIdentity != l.Identity() { // it is given back
		l.tenure.end()
		return write(ctx, record)
	}
	err := write(ctx, record)
	if err == nil {
		l.tenure.renewed.Store(&begun)
	}
	return err
}

// newLeaseClient is for the lease alone: one request that hangs must not cost the
// lease, and no limit on other requests may hold a renewal up.
func newLeaseClient(config *rest.Config, renewDeadline time.Duration) (kubernetes.Interface, error) {
	config = rest.AddUserAgent(rest.CopyConfig(config), "leader-election")
	config.QPS = -1
	config.Timeout = max(time.Second, renewDeadline/2)
	return kubernetes.NewForConfig(config)
}
