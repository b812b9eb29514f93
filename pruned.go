package podinfolookup

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// prunedInterval is the interval of retries of a write that the API server accepted but
// did not store.
const prunedInterval = 10 * time.Second

// pruned reports once that the API server does not store Testcrs as they are written,
// because the CRD is older than this program. No event reports the end of it, so one
// such key is retried each prunedInterval.
type pruned struct {
	queue    *runQueue
	states   *keyStates
	warnings *warnings

	mu         sync.Mutex
	isReported bool
	endedAt    time.Time // of the last report's cause
}

// note records that a Testcr is not stored as it is written.
func (p *pruned) note(ctx context.Context, key cache.ObjectName, testcr string) {
	p.states.update(key, func(state *keyState) { state.isPruned = true })
	p.report(ctx, testcr)
}

func (p *pruned) report(ctx context.Context, testcr string) {
	p.mu.Lock()
	// While the API server replaces a CRD, single requests still meet the old one.
	isDue := !p.isReported && time.Since(p.endedAt) >= prunedInterval
	p.isReported = p.isReported || isDue
	p.mu.Unlock()
	if !isDue {
		return
	}
	const message = "The API server stored something other than what was written: " +
		"the CRD may be older than this program, kubectl apply -f yaml/testcrd.yaml; or a mutating webhook or policy changes it"
	klog.FromContext(ctx).Error(nil, message, "testcr", testcr)
	p.warnings.warnCRD(message)
}

// retry queues one pruned key, because the CRD may be another by now.
func (p *pruned) retry() {
	for _, key := range p.states.each(1, func(state *keyState) bool { return state.isPruned }) {
		p.queue.Add(key)
	}
}

// noteMatches records that a Testcr needs no write. If it was pruned before and is as it
// must be now, the CRD was replaced, and the other pruned keys are queued. Without a Pod
// it is only forgotten.
func (p *pruned) noteMatches(ctx context.Context, key cache.ObjectName, want *v1.Testcr) {
	before := p.states.update(key, func(state *keyState) { state.isPruned = false })
	if !before.isPruned || want == nil {
		return
	}
	p.mu.Lock()
	p.isReported, p.endedAt = false, time.Now()
	p.mu.Unlock()
	others := p.states.each(0, func(state *keyState) bool {
		wasPruned := state.isPruned
		state.isPruned = false
		return wasPruned
	})
	klog.FromContext(ctx).Info("The API server stores what is written again", "testcrs", len(others)+1)
	for _, other := range others {
		p.queue.Add(other)
	}
}
