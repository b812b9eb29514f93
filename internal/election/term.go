package election

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// errTermOver is why the lease is not renewed.
var errTermOver = errors.New("the lease is no longer that of this term")

// term is the lock of one elector. It opens and closes the fence with the lease,
// and ends when another replica has held the lease, if only for a moment. The
// elector misses that if it can take the lease again before the renew deadline.
type term struct {
	resourcelock.Interface

	election *Election
	logger   klog.Logger
	acquired chan struct{} // closed when the lease is held
	lost     chan struct{} // closed when another replica has held the lease since

	// The elector uses the lock from one goroutine.
	held        bool
	transitions int    // of the lease when it was acquired
	holder      string // the other holder that was logged last
}

// Get ends the term when it finds a lease that is not the one of this term.
func (t *term) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if t.isLost() {
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

func (t *term) isLost() bool {
	select {
	case <-t.lost:
		return true
	default:
		return false
	}
}

// end closes the fence, and ends the term if the lease was held in it.
func (t *term) end() {
	t.election.fence.close()
	if t.held && !t.isLost() {
		close(t.lost)
	}
}

// report logs a failed request, but not the conflicts of an ordinary election.
func (t *term) report(err error) {
	if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) && t.election.log.Allow(err) {
		t.logger.Error(err, "Cannot read or write the lease, trying again")
	}
}

// Create acquires the lease for the first time.
func (t *term) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.write(ctx, record, t.Interface.Create)
}

// Update acquires, renews or releases the lease.
func (t *term) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return t.write(ctx, record, t.Interface.Update)
}

// write counts the term from before the request: other replicas count from when
// they observe the renewal, which is later. A stop does not cancel the request,
// only its deadline does. The API server may have carried it out, and the elector
// releases only a lease that it has recorded as held.
func (t *term) write(ctx context.Context, record resourcelock.LeaderElectionRecord,
	request func(context.Context, resourcelock.LeaderElectionRecord) error,
) error {
	if t.isLost() { // the elector would release or acquire the lease of another replica
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
	if record.HolderIdentity != t.Identity() { // a release
		t.election.fence.close()
		return request(ctx, record)
	}
	if err := request(ctx, record); err != nil {
		t.report(err)
		return err
	}
	t.held, t.transitions = true, record.LeaderTransitions
	t.election.fence.renew(begun)
	return nil
}
