package podinfolookup

import (
	"context"
	"sync"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

const (
	// failuresTold is how many failed syncs are logged in a second. What makes one
	// sync fail (an API server that is away, a right that is missing, a lease that is
	// lost) mostly makes all of them fail, each Pod many times a second at first.
	failuresTold = 3

	// What made all of them fail is mostly over for all of them, too: each hurryEvery
	// the first write that succeeds has up to hurryMost keys tried again at once,
	// which would else wait for as long again as it took. The numbers keep keys that
	// fail by themselves from being tried with every write.
	hurryEvery = time.Second
	hurryMost  = 100
)

// failures are the keys whose last sync has failed, and what is told of that.
type failures struct {
	mu      sync.Mutex
	keys    map[cache.ObjectName]struct{}
	hurried time.Time // when keys were last tried again before their time
	log     logLimiter
}

// logLimiter lets failuresTold lines through in each second, and counts the rest.
type logLimiter struct {
	since  time.Time // when the second began that told is of
	told   int
	untold int
}

// allow reports whether a line may be logged, and how many were not since the one
// before it.
func (l *logLimiter) allow() (ok bool, untold int) {
	if now := time.Now(); now.Sub(l.since) >= time.Second {
		l.since, l.told = now, 0
	}
	if l.told == failuresTold {
		l.untold++
		return false, 0
	}
	l.told++
	untold, l.untold = l.untold, 0
	return true, untold
}

// add records that the sync of key has failed for the times-th time in a row. A
// failure by the content of the Testcr does not end with those of others.
func (f *failures) add(ctx context.Context, err error, key cache.ObjectName, times int) {
	f.mu.Lock()
	if f.keys == nil {
		f.keys = map[cache.ObjectName]struct{}{}
	}
	if isTooLargeOrInvalid(err) {
		delete(f.keys, key)
	} else {
		f.keys[key] = struct{}{}
	}
	if isCRDGone(err) { // the informer says so, once for all keys
		f.mu.Unlock()
		return
	}
	ok, untold := f.log.allow()
	f.mu.Unlock()
	if !ok {
		return
	}
	utilruntime.HandleErrorWithContext(ctx, shortError(err), "Sync failed, will try again",
		"pod", klog.KRef(key.Namespace, key.Name), "failures", times, "notLogged", untold)
}

// over takes note that the sync of key has succeeded, and returns which of the
// failed keys are to be tried again now. wrote says that it made a write.
func (f *failures) over(key cache.ObjectName, wrote bool) (again []cache.ObjectName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
	if !wrote || len(f.keys) == 0 || time.Since(f.hurried) < hurryEvery {
		return nil
	}
	f.hurried = time.Now()
	for key := range f.keys {
		if again = append(again, key); len(again) == hurryMost {
			break
		}
	}
	return again
}
