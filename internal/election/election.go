// Package election lets one of several replicas write. It adds to client-go's
// leader election that no write passes without the lease, see fence.go, and that a
// replica which lost the lease becomes a standby instead of exiting.
package election

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	componentbaseconfig "k8s.io/component-base/config"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/errlog"
)

const (
	// A candidate reads the lease every 1 to 2.2 retry periods. So the next leader
	// starts within 1 s of a release, and within the lease duration and 4.4 retry
	// periods of a crash. Each renewal is a write of one object.
	defaultLeaseDuration = 15 * time.Second
	defaultRenewDeadline = 10 * time.Second
	defaultRetryPeriod   = 400 * time.Millisecond

	// releaseTimeout is how long after the signal the lease may still be released:
	// the rest of the 5 s that a stop takes, after the last write.
	releaseTimeout = 3500 * time.Millisecond

	// stuckAfter is how long past its lease a leader may still work before /livez
	// fails and the kubelet restarts it.
	stuckAfter = 20 * time.Second
)

// errLeaseLost is logged when a leader becomes a standby.
var errLeaseLost = errors.New("the lease was lost: another replica may lead from now on; " +
	"if it comes again while the API server answers, that is too slow for --leader-elect-renew-deadline, " +
	"or this program gets too little processor time")

// DefaultConfig returns the defaults of the flags. Leader election is off.
func DefaultConfig(leaseName string) componentbaseconfig.LeaderElectionConfiguration {
	return componentbaseconfig.LeaderElectionConfiguration{
		LeaseDuration: metav1.Duration{Duration: defaultLeaseDuration},
		RenewDeadline: metav1.Duration{Duration: defaultRenewDeadline},
		RetryPeriod:   metav1.Duration{Duration: defaultRetryPeriod},
		ResourceLock:  resourcelock.LeasesResourceLock,
		ResourceName:  leaseName,
	}
}

// Election runs work on the replica that holds the lease.
type Election struct {
	config  componentbaseconfig.LeaderElectionConfiguration
	lock    resourcelock.Interface
	fence   *leaseFence
	log     errlog.Limiter // of failed requests for the lease
	working atomic.Bool    // the work of a term has not returned
}

// New returns an Election for the lease that config names. It sends no request.
func New(config componentbaseconfig.LeaderElectionConfiguration, kube *rest.Config) (*Election, error) {
	client, err := newLeaseClient(kube, config.RenewDeadline.Duration)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("a name for the holder of the lease: %w", err)
	}
	lock, err := resourcelock.New(config.ResourceLock, config.ResourceNamespace, config.ResourceName, nil,
		client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())})
	if err != nil {
		return nil, err
	}
	return newElection(config, lock), nil
}

func newElection(config componentbaseconfig.LeaderElectionConfiguration, lock resourcelock.Interface) *Election {
	lasts := (config.RenewDeadline.Duration + config.LeaseDuration.Duration) / 2
	return &Election{config: config, lock: lock, fence: &leaseFence{lasts: lasts}}
}

// newLeaseClient returns a client for the lease alone, so that neither a request
// that hangs nor the limit on other requests delays a renewal.
func newLeaseClient(config *rest.Config, renewDeadline time.Duration) (kubernetes.Interface, error) {
	config = rest.AddUserAgent(rest.CopyConfig(config), "leader-election")
	config.QPS = -1
	config.Timeout = max(time.Second, renewDeadline/2)
	return kubernetes.NewForConfig(config)
}

// Fence returns a copy of config for clients whose writes need the lease.
func (e *Election) Fence(config *rest.Config) *rest.Config { return e.fence.wrap(config) }

// Run calls work in each term in which this replica holds the lease. Between two
// terms the replica is a standby. Run returns when ctx ends or work fails.
func (e *Election) Run(ctx context.Context, work func(context.Context) error) error {
	for {
		if lost, err := e.runTerm(ctx, work); !lost {
			return err
		}
	}
}

// Check is a liveness check: it fails if work goes on long after the lease has
// expired. A standby passes.
func (e *Election) Check() error {
	if age := e.fence.sinceRenewal(); e.working.Load() && age > e.config.LeaseDuration.Duration+stuckAfter {
		return fmt.Errorf("the lease %s was not renewed for %s, and the work that needs it has not ended",
			e.leaseName(), age.Round(time.Second))
	}
	return nil
}

func (e *Election) leaseName() string {
	return e.config.ResourceNamespace + "/" + e.config.ResourceName
}

// runTerm acquires the lease, calls work while it is held, and releases it after
// work has returned: work ends with ctx, but its last write needs the lease. When
// the lease is lost, the fence closes, and the lease is not acquired again before
// work has returned.
func (e *Election) runTerm(ctx context.Context, work func(context.Context) error) (lost bool, err error) {
	logger := klog.FromContext(ctx).WithValues("lease", e.leaseName())
	t := &term{Interface: e.lock, election: e, logger: logger, acquired: make(chan struct{}), lost: make(chan struct{})}
	electorDone, release, err := e.startElector(ctx, t)
	if err != nil {
		return false, err
	}
	defer release()
	select {
	case <-ctx.Done():
		return false, nil
	case <-t.acquired:
	}
	logger.Info("Holding the lease, this replica leads")
	workCtx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	e.working.Store(true)
	go func() {
		defer e.working.Store(false)
		done <- work(workCtx)
	}()
	select {
	case err := <-done:
		return false, err
	case <-electorDone:
	case <-t.lost:
	}
	e.fence.close()
	if ctx.Err() == nil {
		logger.Error(errLeaseLost, "Standing by")
	}
	stop()
	err = <-done
	return err == nil && ctx.Err() == nil, err
}

// startElector runs an elector for one term, because an elector keeps what it has
// observed of the lease, and the next term must not rely on that. release stops
// the elector, which releases the lease if it is held, and waits for that.
func (e *Election) startElector(ctx context.Context, t *term) (done <-chan struct{}, release func(), err error) {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            t,
		LeaseDuration:   e.config.LeaseDuration.Duration,
		RenewDeadline:   e.config.RenewDeadline.Duration,
		RetryPeriod:     e.config.RetryPeriod.Duration,
		ReleaseOnCancel: true,
		Name:            e.config.ResourceName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(t.acquired) },
			OnStoppedLeading: func() {}, // runTerm waits for the end of Run
		},
	})
	if err != nil {
		return nil, nil, err
	}
	// client-go logs each failed request for the lease, twice a second in an outage.
	// The term logs each cause once instead.
	held, cancel := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logr.Discard()))
	ended, late := make(chan struct{}), make(chan struct{})
	cancelLate := context.AfterFunc(ctx, func() { time.AfterFunc(releaseTimeout, func() { close(late) }) })
	go func() {
		defer close(ended)
		elector.Run(held)
	}()
	return ended, func() {
		defer cancelLate()
		cancel()
		select {
		case <-ended:
		case <-late:
			t.logger.Info("The lease could not be given back in time, it will run out")
		}
	}, nil
}
