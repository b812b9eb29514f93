package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// record is one line of coldstart.jsonl. Times are in seconds.
type record struct {
	Measure string `json:"measure"`
	Round   int    `json:"round,omitempty"`
	Pods    int    `json:"pods,omitempty"`
	Workers int    `json:"workers,omitempty"` // 0 is the default

	Seconds      float64     `json:"seconds,omitempty"`      // until the last Testcr was there; of raw, the loop
	WriteSeconds float64     `json:"writeSeconds,omitempty"` // from the first Testcr to the last
	ReadySeconds float64     `json:"readySeconds,omitempty"`
	CPU          harness.CPU `json:"cpuSeconds,omitempty"`
	RSSKiB       int         `json:"rssKiB,omitempty"`
	PeakRSSKiB   int         `json:"peakRSSKiB,omitempty"`

	Writes map[string]int     `json:"writes,omitempty"` // of the program, by verb, from the audit log
	Bytes  map[string]float64 `json:"bytes,omitempty"`
}

// raw measures a loop of creates and nothing else.
func (b *bench) raw(ctx context.Context, round int) error {
	objects := make([]*unstructured.Unstructured, 0, len(b.want))
	for _, pod := range b.pods { // in the order that they are listed in
		objects = append(objects, b.want[podinfolookup.NameFor(keyOf(pod))])
	}
	before, err := harness.CPUNow(b.o.clusterDir, nil)
	if err != nil {
		return err
	}
	all := b.watch.Until(len(objects))
	start := time.Now()
	err = harness.Parallel(b.o.creates, len(objects), func(i int) error {
		_, err := b.Testcrs.Create(ctx, objects[i], metav1.CreateOptions{FieldManager: podinfolookup.ManagedBy})
		return err
	})
	took := time.Since(start)
	if err != nil {
		return fmt.Errorf("raw loop: %w", err)
	}
	if all, err = b.watch.Wait(ctx, all); err != nil {
		return fmt.Errorf("raw loop: %w", err)
	}
	after, err := harness.CPUNow(b.o.clusterDir, nil)
	if err != nil {
		return err
	}
	if err := harness.Verify(ctx, b.Testcrs, b.want); err != nil {
		return fmt.Errorf("raw loop: %w", err)
	}
	err = b.Add(record{
		Measure: "raw", Round: round, Pods: len(objects), Seconds: took.Seconds(),
		WriteSeconds: all.Last.Sub(all.First).Seconds(), CPU: after.Since(before),
	})
	if err != nil {
		return err
	}
	return b.wipe(ctx)
}

// silent are the flags without which the program prints on standard output.
var silent = []string{"--print-list=false", "--print-changes=false"}

// start runs the program; its log is added to podinfolookup.log.
func (b *bench) start(args ...string) (*harness.Process, error) {
	args = append([]string{"--kubeconfig=" + b.o.kubeconfig}, args...)
	return harness.Start(b.o.binary, filepath.Join(b.o.out, "podinfolookup.log"), args...)
}

// coldOnce measures a cold start and wipes what it made.
func (b *bench) coldOnce(ctx context.Context, r record, args ...string) error {
	if err := b.cold(ctx, r, args...); err != nil {
		return err
	}
	return b.wipe(ctx)
}

// cold measures the program from its start until every Testcr is there, and
// stops it. The Testcrs stay.
func (b *bench) cold(ctx context.Context, r record, args ...string) (err error) {
	log, err := harness.AuditFrom(b.o.clusterDir)
	if err != nil {
		return err
	}
	before, err := harness.CPUNow(b.o.clusterDir, nil)
	if err != nil {
		return err
	}
	all := b.watch.Until(len(b.want))
	p, err := b.start(args...)
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			_ = p.Stop() // err is the earlier cause
		}
	}()
	r.Pods = len(b.want)
	select {
	case <-all.Reached:
	case <-p.Ended:
		return p.Err()
	case <-b.watch.Ended(): // wait tells why
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(stepTimeout):
	}
	if all, err = b.watch.Wait(ctx, all); err != nil {
		return err
	}
	r.Seconds, r.WriteSeconds = all.Last.Sub(p.Started).Seconds(), all.Last.Sub(all.First).Seconds()
	after, err := harness.CPUNow(b.o.clusterDir, p)
	if err != nil {
		return err
	}
	r.CPU = after.Since(before)
	if r.RSSKiB, r.PeakRSSKiB, err = p.Memory(); err != nil {
		return err
	}
	if err := harness.Verify(ctx, b.Testcrs, b.want); err != nil {
		return err
	}
	stopped = true
	if err := p.Stop(); err != nil {
		return err
	}
	if r.Writes, err = log.Writes(harness.Any); err != nil {
		return err
	}
	if len(r.Writes) != 1 || r.Writes["create"] != len(b.want) {
		return fmt.Errorf("writes of a cold start: %v, want %d creates", r.Writes, len(b.want))
	}
	return b.Add(r)
}
