package errlog

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiter_Allow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		count := func(n int, text func(i int) string) (logged int) {
			for i := range n {
				if l.Allow(errors.New(text(i))) {
					logged++
				}
			}
			return logged
		}
		onePort := func(i int) string { return fmt.Sprintf("port %d: refused", i) }
		if got := count(100, onePort); got != 1 {
			t.Errorf("one cause is logged %d times, want 1", got)
		}
		<-time.After(interval) // virtual time
		if got := count(100, onePort); got != 1 {
			t.Errorf("a minute later it is logged %d times, want 1", got)
		}
		others := count(100, func(i int) string { return strings.Repeat("x", i) })
		if others != maxCauses-1 {
			t.Errorf("%d other causes are logged in a minute, want %d", others, maxCauses-1)
		}
	})
}
