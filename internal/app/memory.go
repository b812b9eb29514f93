package app

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// GOMEMLIMIT bounds the memory of Go's runtime from above. These values keep it
// low below that limit, and are ignored if GOGC is set.
const (
	startGC  = 50 // the first lists and writes produce most garbage
	steadyGC = 25 // then the caches are nearly all of the heap, and little is allocated
)

// limitGarbage returns the memory of the first sync to the system once it is done.
func limitGarbage(ctx context.Context, isSettled func() bool) {
	setGC := func(percent int) {
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(percent)
		}
	}
	setGC(startGC)
	settled := func(context.Context) (bool, error) { return isSettled(), nil }
	if wait.PollUntilContextCancel(ctx, time.Second, false, settled) == nil {
		setGC(steadyGC)
		debug.FreeOSMemory()
	}
}
