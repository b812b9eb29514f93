package app

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// steadyGC is GOGC once the first sync is done: the caches are then nearly all
// of the heap and little is allocated, so that collecting at a quarter more costs
// next to nothing. Before, with garbage from each Pod and each write, Go's
// default of 100 is faster.
const steadyGC = 25

// settle gives back the memory that the first lists and writes took, once they
// are done. Whoever sets GOGC has chosen for good.
func settle(ctx context.Context, c *podinfolookup.Controller) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for !c.Settled() {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(steadyGC)
	}
	debug.FreeOSMemory()
}
