package app

import (
	"fmt"
	"sync"
	"time"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

const (
	// minWriteFailures is how many syncs in a row must fail until writes count as
	// failing. One may be an API server that restarts.
	minWriteFailures = 3
	// writesForgotten is the time without a failure after which nothing is left to
	// write, as after the deletion of the Pods: a refused write is retried within 5
	// minutes, and all requests of a sync take up to 3 minutes.
	writesForgotten = 8 * time.Minute
	// maxWriteError bounds the reason in bytes: the API server quotes what it refuses.
	maxWriteError = 512
)

// writeRecorder records since when no write of a Testcr has succeeded. A standby writes
// nothing, so it reports only that the CRD is missing.
type writeRecorder struct {
	mu       sync.Mutex
	failures int // since the last success
	first    time.Time
	last     time.Time
	err      error // of the last failure
	crdLost  time.Time
	crdErr   error
}

// synced records the result of a sync.
func (r *writeRecorder) synced(verb podinfolookup.Verb, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil && verb.Writes():
		r.failures, r.err = 0, nil
	case err == nil, testcrcache.IsStale(err), testcrcache.IsCRDGone(err), testcrcache.IsContentRefused(err):
		// Nothing was to be written, or the cause is this one Testcr, or crdLost is next.
	default:
		if r.failures++; r.failures == 1 {
			r.first = time.Now()
		}
		r.last, r.err = time.Now(), err
	}
}

// lost records that Testcrs cannot be written because of the CRD.
func (r *writeRecorder) lost(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.crdErr == nil {
		r.crdLost = time.Now()
	}
	r.crdErr = err
}

// returned records that the API server accepts Testcrs again.
func (r *writeRecorder) returned() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures, r.err, r.crdErr = 0, nil, nil
}

// stopped records that this replica writes no longer.
func (r *writeRecorder) stopped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures, r.err = 0, nil
}

// fail returns since when writes fail, and why. It returns the zero time if they
// succeed, or if nothing is known to fail.
func (r *writeRecorder) fail() (since time.Time, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	isFailing := r.failures >= minWriteFailures && time.Since(r.last) < writesForgotten
	switch {
	case r.crdErr != nil && isFailing && r.first.Before(r.crdLost):
		return r.first, r.crdErr.Error()
	case r.crdErr != nil:
		return r.crdLost, r.crdErr.Error()
	case isFailing:
		return r.first, desired.Shorten(r.err.Error(), maxWriteError)
	default:
		return time.Time{}, ""
	}
}

// check returns an error while writes fail. Everybody may read the probes, so it is
// without the reason, which may name a Testcr.
func (r *writeRecorder) check() error {
	since, _ := r.fail()
	if since.IsZero() {
		return nil
	}
	return fmt.Errorf("fail since %s: the log has the reason", since.UTC().Format(time.RFC3339))
}
