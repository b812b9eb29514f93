package firstsync

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// stepTimeout is enough for 100,000 Testcrs on a busy machine.
const stepTimeout = 15 * time.Minute

// Values of record.Measure.
const (
	firstSync     = "first sync"
	firstSyncKept = "first sync, kept" // its Testcrs stay for the restarts
	window        = "window"           // of a first sync that is not completed
	restart       = "restart"
	verify        = "verify"
	lookupBeside  = "lookup"
	lookupAlone   = "lookup, API server stopped"
)

// bench is one run.
type bench struct {
	*harness.Server
	*harness.Records[record]
	o      *options
	raw    *harness.Raw
	watch  *harness.Counter
	bodies []harness.Body // by Pod
}

// record is one line of firstsync.jsonl. Times are in seconds.
type record struct {
	Measure string `json:"measure"`
	Program string `json:"program,omitempty"`
	Round   int    `json:"round,omitempty"`
	Pods    int    `json:"pods"`

	Testcrs    int                `json:"testcrs,omitempty"` // created in Seconds
	Seconds    float64            `json:"seconds,omitempty"` // from the start of the process to the last Testcr; of RawLoop, of the loop
	CPU        harness.CPU        `json:"cpuSeconds,omitempty"`
	Etcd       map[string]float64 `json:"etcd,omitempty"`
	Mallocs    float64            `json:"mallocs,omitempty"`
	AllocBytes float64            `json:"allocBytes,omitempty"`
	Writes     map[string]int     `json:"writes,omitempty"` // of the program, by verb, from the audit log

	harness.Memory
	SteadyKiB int `json:"steadyRSSKiB,omitempty"` // after options.settle

	Lists map[string]float64 `json:"listSeconds,omitempty"`
	harness.Load
}

func newBench(ctx context.Context, o *options) (b *bench, err error) {
	b = &bench{o: o}
	if b.Server, err = harness.StartServer(ctx, o.Root); err != nil {
		return nil, err
	}
	_, version, err := b.CheckEmpty(ctx)
	if err == nil {
		b.Records, err = harness.NewRecords[record](o.Out, "firstsync")
	}
	if err == nil {
		b.raw, err = harness.NewRaw(b.Config)
	}
	if err == nil {
		b.watch, err = b.Count(ctx, version, stepTimeout)
	}
	if err != nil {
		_ = b.Stop() // err is the cause
	}
	return b, err
}

// grow adds Pods until there are n.
func (b *bench) grow(ctx context.Context, n int) error {
	start, before := time.Now(), len(b.bodies)
	if err := b.Fill(ctx, before, n); err != nil {
		return err
	}
	for i := before; i < n; i++ {
		body, err := harness.BodyOf(harness.RunningPod(i))
		if err != nil {
			return err
		}
		b.bodies = append(b.bodies, body)
	}
	if err := b.WaitForPods(ctx, n); err != nil {
		return err
	}
	b.Note("created %d Pods in %s", n-before, time.Since(start).Round(time.Second))
	return b.Compact(ctx)
}

// verify compares every Testcr with the desired one.
func (b *bench) verify(ctx context.Context) error {
	want := make(map[string]*unstructured.Unstructured, len(b.bodies))
	for _, body := range b.bodies {
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal(body.JSON, &u.Object); err != nil {
			return err
		}
		want[body.Name] = u
	}
	return harness.Verify(ctx, b.Testcrs, want)
}

// clear deletes every Testcr, waits until the watch has observed it, and collects
// garbage here and in etcd before the next measurement.
func (b *bench) clear(ctx context.Context) error {
	gone := b.watch.Until(0)
	if err := b.Wipe(ctx); err != nil {
		return err
	}
	if _, err := b.watch.Wait(ctx, gone); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	runtime.GC()
	return b.Compact(ctx)
}

// rounds measures the raw loop and the programs in turns. Each round starts with
// another one, so that none always runs on the fresher server.
func (b *bench) rounds(ctx context.Context) error {
	programs := []string{harness.RawLoop, harness.PodInfoLookup}
	if b.o.History {
		programs = append(programs, harness.WithHistory)
	}
	if b.o.Peers && len(b.bodies) == b.o.peerPods {
		programs = append(programs, harness.TunedControllerRuntime)
	}
	rounds := min(1, b.o.rounds)
	if slices.Contains(b.o.most, len(b.bodies)) {
		rounds = b.o.rounds
	}
	for round := range rounds {
		for i := range programs {
			program := programs[(round+i)%len(programs)]
			if err := b.once(ctx, program, round+1); err != nil {
				return fmt.Errorf("%s: %w", program, err)
			}
			if err := b.clear(ctx); err != nil {
				return fmt.Errorf("%s: %w", program, err)
			}
		}
	}
	return nil
}

func (b *bench) once(ctx context.Context, program string, round int) error {
	if err := harness.Quiet(ctx, b.Dir, nil, b.o.Patience); err != nil {
		return err
	}
	if program == harness.RawLoop {
		return b.rawOnce(ctx, round)
	}
	p, err := b.sync(ctx, record{Measure: firstSync, Program: program, Round: round})
	if err != nil {
		return err
	}
	return p.Stop()
}

// slow measures the peers that are too slow for a complete first sync.
func (b *bench) slow(ctx context.Context) error {
	if !b.o.Peers || len(b.bodies) != b.o.peerPods {
		return nil
	}
	for round := range b.o.slowRounds {
		for _, peer := range []string{harness.ControllerRuntime, harness.SampleController, harness.Article} {
			if err := b.slowOnce(ctx, peer, round+1); err != nil {
				return fmt.Errorf("%s: %w", peer, err)
			}
			if err := b.clear(ctx); err != nil {
				return fmt.Errorf("%s: %w", peer, err)
			}
		}
	}
	return nil
}
