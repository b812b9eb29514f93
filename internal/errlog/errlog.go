// Package errlog limits how often an error that keeps coming back is logged.
package errlog

import (
	"strings"
	"sync"
	"time"
)

const (
	interval  = time.Minute
	maxCauses = 10 // in an interval
)

// Limiter allows each cause of an error to be logged once a minute, and at most
// ten causes. The zero value is ready for use.
type Limiter struct {
	mu     sync.Mutex
	since  time.Time       // when the interval began
	logged map[string]bool // the causes in it
}

// Allow reports whether err is to be logged now.
func (l *Limiter) Allow(err error) bool {
	cause := WithoutDigits(err.Error())
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.logged == nil || now.Sub(l.since) >= interval {
		l.since, l.logged = now, map[string]bool{}
	}
	if l.logged[cause] || len(l.logged) == maxCauses {
		return false
	}
	l.logged[cause] = true
	return true
}

// WithoutDigits returns s without its digits, so that two messages of one cause
// are equal: the numbers of ports and streams in them differ each time.
func WithoutDigits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, s)
}
