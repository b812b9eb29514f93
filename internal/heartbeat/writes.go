package heartbeat

import (
	"fmt"
	"sync"
	"time"
)

const (
	// failingAfter is how long every sync must fail to count: a conflict is retried at
	// once, and an object that is refused for its size is one of many.
	failingAfter = time.Minute
	// forgetAfter is how long after the last failure none counts. A failing key is
	// retried after 30 s at most.
	forgetAfter = 2 * time.Minute
)

// Writes records whether Testcrs can be written. The zero value is ready for use, by
// several goroutines.
type Writes struct {
	mu              sync.Mutex
	failing, failed time.Time // the first and the last failure since a success
}

// Succeeded records a successful write.
func (w *Writes) Succeeded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failing = time.Time{}
}

// Synced records a sync. One that succeeds need not have written.
func (w *Writes) Synced(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = time.Now()
	if w.failing.IsZero() {
		w.failing = w.failed
	}
}

// Check returns an error if writes have been failing for failingAfter, and none has
// succeeded.
func (w *Writes) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.failing.IsZero() && time.Since(w.failed) > forgetAfter {
		w.failing = time.Time{}
	}
	if w.failing.IsZero() || time.Since(w.failing) < failingAfter {
		return nil
	}
	return fmt.Errorf("no write has succeeded since %s", w.failing.Format(time.TimeOnly))
}
