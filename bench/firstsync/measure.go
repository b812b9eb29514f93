package firstsync

import (
	"context"
	"fmt"
	"time"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// Metrics of the Go runtime, which podinfolookup and the peers serve.
const (
	mallocs    = "go_memstats_mallocs_total"
	allocBytes = "go_memstats_alloc_bytes_total"
)

// usage is what the components and a program have used so far.
type usage struct {
	cpu  harness.CPU
	etcd map[string]float64
	heap map[string]float64 // of the program, unless there is none
}

func (b *bench) usage(ctx context.Context, p *harness.Process) (u usage, err error) {
	if u.cpu, err = harness.CPUNow(b.Dir, p); err != nil {
		return u, err
	}
	if u.etcd, err = b.EtcdWritten(ctx); err != nil || p == nil {
		return u, err
	}
	url, err := p.URL(ctx)
	if err != nil {
		return u, err
	}
	u.heap, err = harness.Scrape(ctx, url, mallocs, allocBytes)
	return u, err
}

// since sets the difference to before in r.
func (u usage) since(before usage, r *record) {
	r.CPU = u.cpu.Since(before.cpu)
	r.Etcd = map[string]float64{}
	for name, n := range u.etcd {
		r.Etcd[name] = n - before.etcd[name]
	}
	r.Mallocs, r.AllocBytes = u.heap[mallocs]-before.heap[mallocs], u.heap[allocBytes]-before.heap[allocBytes]
}

// rawOnce measures a loop of creates and nothing else.
func (b *bench) rawOnce(ctx context.Context, round int) error {
	before, err := b.usage(ctx, nil)
	if err != nil {
		return err
	}
	all := b.watch.Until(len(b.bodies))
	start := time.Now()
	err = harness.Parallel(b.o.creates, len(b.bodies), func(i int) error {
		_, err := b.raw.Create(ctx, b.bodies[i])
		return err
	})
	took := time.Since(start)
	if err != nil {
		return err
	}
	if _, err = b.watch.Wait(ctx, all); err != nil {
		return err
	}
	after, err := b.usage(ctx, nil)
	if err != nil {
		return err
	}
	r := record{Measure: firstSync, Program: harness.RawLoop, Round: round, Pods: len(b.bodies), Testcrs: len(b.bodies), Seconds: took.Seconds()}
	after.since(before, &r)
	if err := b.verify(ctx); err != nil {
		return err
	}
	return b.Add(r)
}

// sync measures a program from its start until there is a Testcr for each Pod.
// The program keeps running.
func (b *bench) sync(ctx context.Context, r record) (p *harness.Process, err error) {
	log, err := harness.AuditFrom(b.Dir)
	if err != nil {
		return nil, err
	}
	before, err := b.usage(ctx, nil)
	if err != nil {
		return nil, err
	}
	all := b.watch.Until(len(b.bodies))
	if p, err = b.o.StartProgram(r.Program, b.Kubeconfig); err != nil {
		return nil, err
	}
	if err = b.synced(ctx, p, all, before, &r); err == nil {
		err = b.countWrites(log, &r)
	}
	if err == nil {
		err = b.Add(r)
	}
	if err != nil {
		_ = p.Stop() // err is the cause
		return nil, err
	}
	return p, nil
}

// synced waits until all is reached and completes r.
func (b *bench) synced(ctx context.Context, p *harness.Process, all *harness.Goal, before usage, r *record) error {
	select {
	case <-all.Reached:
	case <-p.Ended:
		return p.Err()
	case <-b.watch.Ended(): // Wait returns the cause
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stepTimeout):
	}
	all, err := b.watch.Wait(ctx, all)
	if err != nil {
		return err
	}
	after, err := b.usage(ctx, p)
	if err != nil {
		return err
	}
	after.since(before, r)
	r.Pods, r.Testcrs, r.Seconds = len(b.bodies), len(b.bodies), all.Last.Sub(p.Started).Seconds()
	if r.Memory, err = p.Memory(); err != nil {
		return err
	}
	if err := b.verify(ctx); err != nil {
		return err
	}
	if r.Measure != firstSyncKept {
		return nil
	}
	return b.settled(ctx, p, r)
}

// settled measures steady memory.
func (b *bench) settled(ctx context.Context, p *harness.Process, r *record) error {
	if err := harness.Pause(ctx, b.o.settle); err != nil {
		return err
	}
	steady, err := p.Memory()
	r.SteadyKiB = steady.RSSKiB
	return err
}

// countWrites fails if podinfolookup sent more than one create for each Pod.
func (b *bench) countWrites(log *harness.Audit, r *record) (err error) {
	if r.Writes, err = log.Writes(harness.AgentOf(r.Program)); err != nil {
		return err
	}
	if r.Program == harness.PodInfoLookup && (len(r.Writes) != 1 || r.Writes["create"] != len(b.bodies)) {
		return fmt.Errorf("writes of a first sync: %v, want %d creates", r.Writes, len(b.bodies))
	}
	return nil
}

// slowOnce measures a peer in the last two thirds of the window, after its start,
// its first lists and its first burst of requests.
func (b *bench) slowOnce(ctx context.Context, peer string, round int) (err error) {
	p, err := b.o.StartProgram(peer, b.Kubeconfig)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := p.Stop(); err == nil {
			err = stopped
		}
	}()
	if err := harness.Pause(ctx, b.o.window/3); err != nil {
		return err
	}
	before, err := b.usage(ctx, p)
	if err != nil {
		return err
	}
	first, start := b.watch.Present(), time.Now()
	if err := harness.Pause(ctx, b.o.window-b.o.window/3); err != nil {
		return err
	}
	r := record{Measure: window, Program: peer, Round: round, Pods: len(b.bodies), Testcrs: b.watch.Present() - first, Seconds: time.Since(start).Seconds()}
	after, err := b.usage(ctx, p)
	if err != nil {
		return err
	}
	after.since(before, &r)
	if r.Memory, err = p.Memory(); err != nil {
		return err
	}
	return b.Add(r)
}
