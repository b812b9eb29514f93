// Command coldstart measures what podinfolookup does on a cluster full of Pods
// that have no Testcr yet, beside a bare loop of the same creates.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// cleanupTimeout bounds the removal of all that the bench made, which goes on
// after an interruption.
const cleanupTimeout = 3 * time.Minute

// options are the command line.
type options struct {
	kubeconfig string
	clusterDir string
	binary     string
	out        string
	pods       int
	rounds     int
	creates    int
	workers    []int
	sweeps     int
	restarts   int
	keep       bool
}

func main() { harness.Main("coldstart", &options{}) }

// Flags are those of the command line.
func (o *options) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.kubeconfig, "kubeconfig", "../.cluster/kubeconfig", "Kubeconfig file of a cluster that has no Pods of its own.")
	fs.StringVar(&o.clusterDir, "cluster-dir", "../.cluster/.kwok/clusters/podinfolookup", "Folder of that cluster's logs/audit.log and pids/.")
	fs.StringVar(&o.binary, "binary", "../bin/podinfolookup", "The program to measure.")
	fs.StringVar(&o.out, "out", "out", "Folder for coldstart.jsonl and the program's log.")
	fs.IntVar(&o.pods, "pods", 3000, "Running Pods.")
	fs.IntVar(&o.rounds, "rounds", 3, "Rounds of the raw loop and of the program, in turns.")
	fs.IntVar(&o.creates, "creates", 20, "Concurrent creates of the raw loop.")
	fs.IntSliceVar(&o.workers, "workers", []int{5, 10, 20, 30, 50}, "Values of --workers to compare.")
	fs.IntVar(&o.sweeps, "sweeps", 2, "How often each value of --workers is measured.")
	fs.IntVar(&o.restarts, "restarts", 3, "Restarts with every Testcr right.")
	fs.BoolVar(&o.keep, "keep", false, "Leave the Pods and Testcrs when done.")
}

// Validate finds what cannot be measured.
func (o *options) Validate() error {
	if o.pods < 1 || o.rounds < 1 || o.creates < 1 {
		return fmt.Errorf("--pods, --rounds and --creates must be at least 1")
	}
	return nil
}

// Run measures all.
func (o *options) Run(ctx context.Context) (err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	if !o.keep {
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
			defer cancel()
			if cleaned := b.cleanup(ctx); err == nil {
				err = cleaned
			}
		}()
	}
	if err := b.fill(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{b.rounds, b.sweep, b.warm} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.report(os.Stdout)
}

// rounds measures the raw loop and the program, silent and printing, in turns;
// each round begins with another one, so that none always meets the fresher
// server.
func (b *bench) rounds(ctx context.Context) error {
	steps := []func(context.Context, int) error{b.raw, b.coldSilent, b.coldPrinting}
	for round := range b.o.rounds {
		for i := range steps {
			if err := steps[(round+i)%len(steps)](ctx, round+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) coldSilent(ctx context.Context, round int) error {
	return b.coldOnce(ctx, record{Measure: "cold start", Round: round}, silent...)
}

func (b *bench) coldPrinting(ctx context.Context, round int) error {
	return b.coldOnce(ctx, record{Measure: "cold start, printing", Round: round})
}

// sweep compares numbers of workers, each sweep beside one raw loop.
func (b *bench) sweep(ctx context.Context) error {
	for sweep := range b.o.sweeps {
		if len(b.o.workers) == 0 {
			return nil
		}
		if err := b.raw(ctx, b.o.rounds+sweep+1); err != nil {
			return err
		}
		for at := range b.o.workers {
			if sweep%2 == 1 { // back again, so that a drift cancels out
				at = len(b.o.workers) - 1 - at
			}
			r := record{Measure: "workers", Round: b.o.rounds + sweep + 1, Workers: b.o.workers[at]}
			if err := b.coldOnce(ctx, r, append(silent, fmt.Sprintf("--workers=%d", r.Workers))...); err != nil {
				return err
			}
		}
	}
	return nil
}
