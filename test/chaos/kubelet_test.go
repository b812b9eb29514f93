package chaos_test

import (
	"testing"
	"time"
)

// A kubelet restarts a container that has ended after 10 s, and after twice as
// long each time it ends again, up to 5 minutes. It starts over once the container
// has run for 10 minutes.
const (
	crashFirst  = 10 * time.Second
	crashMost   = 5 * time.Minute
	crashForget = 10 * time.Minute
)

// crashBackoff is the wait before the next start.
type crashBackoff struct{ last time.Duration }

// next returns how long to wait after a process that ran for so long.
func (b *crashBackoff) next(ran time.Duration) time.Duration {
	switch {
	case b.last == 0 || ran >= crashForget:
		b.last = crashFirst
	default:
		b.last = min(2*b.last, crashMost)
	}
	return b.last
}

func TestCrashBackoff_Next(t *testing.T) {
	var b crashBackoff
	for i, step := range []struct{ ran, want time.Duration }{
		{ran: time.Hour, want: 10 * time.Second},
		{ran: time.Second, want: 20 * time.Second},
		{ran: time.Second, want: 40 * time.Second},
		{ran: 9 * time.Minute, want: 80 * time.Second},
		{ran: time.Second, want: 160 * time.Second},
		{ran: time.Second, want: 5 * time.Minute},
		{ran: time.Second, want: 5 * time.Minute},
		{ran: 10 * time.Minute, want: 10 * time.Second},
		{ran: time.Second, want: 20 * time.Second},
	} {
		if got := b.next(step.ran); got != step.want {
			t.Errorf("wait %d: %s, want %s", i, got, step.want)
		}
	}
}
