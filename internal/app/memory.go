package app

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

const (
	// defaultGC is Go's: until the first sync is done there is garbage from each Pod
	// and each write, and collecting when the heap has doubled is fast.
	defaultGC = 100

	// garbageMost is up to how much garbage it may double with, in bytes. With 100,000
	// Pods it would else be more than all that the program keeps.
	garbageMost = 128 << 20

	// steadyGC is GOGC once the first sync is done: the caches are then nearly all
	// of the heap and little is allocated, so that collecting at a quarter more costs
	// next to nothing.
	steadyGC = 25
)

// settle bounds the garbage of the first lists and writes, and gives back the
// memory that they took once they are done. Whoever sets GOGC has chosen for good.
func settle(ctx context.Context, c *podinfolookup.Controller) {
	chosen := os.Getenv("GOGC") != ""
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for percent := defaultGC; !c.Settled(); {
		if now := percentFor(liveHeap()); now != percent && !chosen {
			percent = now
			debug.SetGCPercent(percent)
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
	if !chosen {
		debug.SetGCPercent(steadyGC)
	}
	debug.FreeOSMemory()
}

// percentFor returns GOGC for a heap of which so many bytes live.
func percentFor(live uint64) int {
	return int(min(defaultGC, max(steadyGC, defaultGC*garbageMost/max(live, 1))))
}

// liveHeap returns how many bytes the last collection has left.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
