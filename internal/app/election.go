package app

import (
	"context"
	"crypto/md5" //nolint:gosec // for a name
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	componentbaseconfig "k8s.io/component-base/config"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/errlog"
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

// errLeaseLost is logged when a leader becomes a standby.
var errLeaseLost = errors.New("the lease was lost: another replica may lead from now on; " +
	"if it comes again while the API server answers, that is too slow for --leader-elect-renew-deadline, or this program gets too little processor time")

// errTermOver is why the lease is not renewed.
var errTermOver = errors.New("the lease is no longer that of this term")

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

// leaseName returns the name of the lease for --namespace. Controllers of other
// namespaces do other work, so they must not wait for each other's lease.
func leaseName(namespaces []string) string {
	switch len(namespaces) {
	case 0:
		return podinfolookup.ManagedBy
	case 1:
		return podinfolookup.ManagedBy + "-" + namespaces[0]
	default:
		sum := md5.Sum([]byte(strings.Join(namespaces, ","))) //nolint:gosec // a name, not a secret
		return podinfolookup.ManagedBy + "-" + hex.EncodeToString(sum[:])[:10]
	}
}

// election lets one of several replicas work.
type election struct {
	config  *componentbaseconfig.LeaderElectionConfiguration
	lock    resourcelock.Interface
	tenure  *tenure
	working atomic.Bool // the work of a term has not returned
	name    string
	failing errlog.Limiter // why the lease cannot be read or written
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
	lock, err := resourcelock.New(config.ResourceLock, config.ResourceNamespace, config.ResourceName, nil,
		clients.leases.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())})
	if err != nil {
		return nil, err
	}
	return &election{
		config: config, lock: lock, tenure: clients.tenure,
		name: config.ResourceNamespace + "/" + config.ResourceName,
	}, nil
}

// lead has work done in each term in which this replica holds the lease. Between
// two terms it is a standby. It returns when ctx ends or work fails.
func (e *election) lead(ctx context.Context, work func(context.Context) error) error {
	if e == nil {
		return work(ctx)
	}
	for {
		if lost, err := e.serveTerm(ctx, work); !lost {
			return err
		}
	}
}

// serveTerm waits for the lease, has work done while it is held, and gives it back
// once work has returned: work ends with ctx, but the lease is held until the last
// write is done. When the lease is lost, no write is sent any more, and serveTerm
// returns when work has: the lease is not taken again before.
func (e *election) serveTerm(ctx context.Context, work func(context.Context) error) (lost bool, err error) {
	logger := klog.FromContext(ctx).WithValues("lease", e.name)
	t := &term{Interface: e.lock, election: e, logger: logger, leading: make(chan struct{}), over: make(chan struct{})}
	elector, err := e.newElector(t)
	if err != nil {
		return false, err
	}
	// client-go logs each failed look at the lease, twice a second in an outage:
	// the lock logs each cause once instead.
	held, release := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logr.Discard()))
	defer release()
	ended, late := make(chan struct{}), make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(releaseWithin, func() { close(late) }) })()
	go func() {
		defer close(ended)
		elector.Run(held)
	}()
	giveBack := func() {
		release()
		select {
		case <-ended:
		case <-late:
			logger.Info("The lease could not be given back in time, it will run out")
		}
	}
	select {
	case <-ctx.Done():
		giveBack()
		return false, nil
	case <-t.leading:
	}
	logger.Info("Holding the lease, this replica leads")
	leading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	e.working.Store(true)
	go func() {
		defer e.working.Store(false)
		done <- work(leading)
	}()
	select {
	case err := <-done:
		giveBack()
		return false, err
	case <-ended:
	case <-t.over:
	}
	e.tenure.end()
	if ctx.Err() == nil {
		logger.Error(errLeaseLost, "Standing by")
	}
	stop()
	err = <-done
	giveBack()
	return err == nil && ctx.Err() == nil, err
}

// newElector returns what holds the lock for one term: an elector keeps what it
// has seen of the lease, and the next term must not rely on that.
func (e *election) newElector(t *term) (*leaderelection.LeaderElector, error) {
	return leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            t,
		LeaseDuration:   e.config.LeaseDuration.Duration,
		RenewDeadline:   e.config.RenewDeadline.Duration,
		RetryPeriod:     e.config.RetryPeriod.Duration,
		ReleaseOnCancel: true,
		Name:            e.config.ResourceName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(t.leading) },
			OnStoppedLeading: func() {}, // serveTerm sees the end of Run
		},
	})
}

// check is for /livez: work should have ended with the lease. A standby passes.
func (e *election) check() error {
	if age := e.tenure.age(); e.working.Load() && age > e.config.LeaseDuration.Duration+electionStuckAfter {
		return fmt.Errorf("the lease %s was not renewed for %s, and the work that needs it has not ended", e.name, age.Round(time.Second))
	}
	return nil
}

// tenure knows from when to when this process may write. Leader election itself
// does not keep a leader from writing that was held up, by a stopped process or a
// suspended machine, for longer than its lease.
type tenure struct {
	// lasts is for how long after the beginning of a renewal writes may be sent:
	// half way between the renew deadline, when the elector gives up, and the lease
	// duration, when another replica may lead. What is in flight has the other half.
	lasts time.Duration

	mu      sync.Mutex
	renewed time.Time          // when the last renewal began
	held    context.Context    // ends with the tenure; nil while the lease is not held
	lose    context.CancelFunc // of held
}

func newTenure(config *componentbaseconfig.LeaderElectionConfiguration) *tenure {
	if !config.LeaderElect {
		return nil
	}
	return &tenure{lasts: (config.RenewDeadline.Duration + config.LeaseDuration.Duration) / 2}
}

// renew begins the tenure, or has it go on, by a renewal that began at begun.
func (t *tenure) renew(begun time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renewed = begun
	if t.held == nil {
		t.held, t.lose = context.WithCancel(context.Background())
	}
}

// end lets no write begin from now on, and breaks off those under way.
func (t *tenure) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held != nil {
		t.lose()
	}
	t.held = nil
}

// age is how long ago the lease was renewed.
func (t *tenure) age() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.renewed)
}

// until returns when the tenure ends unless it is renewed, and a context that
// ends with it; the zero time when it has ended.
func (t *tenure) until() (time.Time, context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		return time.Time{}, nil
	}
	until := t.renewed.Add(t.lasts)
	// Go's monotonic clock stands still while a machine is suspended; the clock on
	// the wall may be set back. Whichever is later decides.
	if now := time.Now(); !now.Before(until) || !now.Round(0).Before(until.Round(0)) {
		return time.Time{}, nil
	}
	return until, t.held
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
	until, held := g.tenure.until()
	if until.IsZero() {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, errNotLeading
	}
	ctx, cancel := context.WithDeadlineCause(r.Context(), until, errNotLeading)
	unhold := context.AfterFunc(held, cancel) //nolint:contextcheck // the tenure is not the request's
	end := func() {
		unhold()
		cancel()
	}
	response, err := g.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		end()
		return nil, err
	}
	response.Body = closing{response.Body, end}
	return response, nil
}

// closing ends a request's context with its answer.
type closing struct {
	io.ReadCloser
	cancel func()
}

// Close ends the answer.
func (c closing) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// WrappedRoundTripper is for client-go, which looks for the transport below.
func (g guarded) WrappedRoundTripper() http.RoundTripper { return g.next }

// term is the lock as the elector of one term sees it. It keeps the tenure by what
// becomes of the lease, and ends the term when somebody else has held the lease,
// if only for a moment: the elector itself does not notice that when it can take
// the lease again before the renew deadline.
type term struct {
	resourcelock.Interface

	election *election
	logger   klog.Logger
	leading  chan struct{} // closed when the lease is held
	over     chan struct{} // closed when it was somebody else's since

	// The elector uses the lock from one goroutine.
	held        bool
	transitions int    // of the lease when it was taken
	holder      string // who holds it instead, as far as it was logged
}

// Get ends the term when it finds a lease that is not the one of this term.
func (t *term) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if t.isOver() {
		return nil, nil, errTermOver
	}
	record, raw, err := t.Interface.Get(ctx)
	switch {
	case apierrors.IsNotFound(err):
		t.end() // another replica may have held it before it was deleted
	case err != nil:
		t.report(err)
	case record.HolderIdentity != t.Identity():
		t.end()
		if record.HolderIdentity != t.holder && record.HolderIdentity != "" {
			t.logger.Info("Another replica holds the lease", "holder", record.HolderIdentity)
		}
		t.holder = record.HolderIdentity
	case t.held && record.LeaderTransitions != t.transitions:
		t.end()
	}
	return record, raw, err
}

func (t *term) isOver() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

// end ends the tenure, and the term if it has begun.
func (t *term) end() {
	t.election.tenure.end()
	if t.held && !t.isOver() {
		close(t.over)
	}
}

// report logs a failure with the lease, unless that is part of any election.
func (t *term) report(err error) {
	if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && t.election.failing.Allow(err) {
		t.logger.Error(err, "Cannot read or write the lease, trying again")
	}
}

// Create takes the lease for the first time.
func (t *term) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.timed(ctx, record, t.Interface.Create)
}

// Update takes, renews or releases the lease.
func (t *term) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.timed(ctx, record, t.Interface.Update)
}

// timed counts from the moment before the request: others count from when they
// see the renewal, which is later. A stop does not cut the request, only its
// deadline does: the API server may have carried it out all the same, and the
// elector gives back only a lease that it knows it holds.
func (t *term) timed(ctx context.Context, record resourcelock.LeaderElectionRecord,
	write func(context.Context, resourcelock.LeaderElectionRecord) error,
) error {
	if t.isOver() { // the elector would release, or take again, a lease that is another's
		return errTermOver
	}
	deadline, limited := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	if limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	begun := time.Now()
	if record.HolderIdentity != t.Identity() { // it is given back
		t.election.tenure.end()
		return write(ctx, record)
	}
	err := write(ctx, record)
	if err != nil {
		t.report(err)
		return err
	}
	t.held, t.transitions = true, record.LeaderTransitions
	t.election.tenure.renew(begun)
	return nil
}

// newLeaseClient is for the lease alone: one request that hangs must not cost the
// lease, and no limit on other requests may hold a renewal up.
func newLeaseClient(config *rest.Config, renewDeadline time.Duration) (kubernetes.Interface, error) {
	config = rest.AddUserAgent(rest.CopyConfig(config), "leader-election")
	config.QPS = -1
	config.Timeout = max(time.Second, renewDeadline/2)
	return kubernetes.NewForConfig(config)
}
