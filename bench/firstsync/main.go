// Command firstsync measures the first sync of a full cluster beside a raw loop
// of the same writes and beside peers, what it costs the API server, memory,
// restarts and lookups, as the number of Pods grows.
package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// options are the command line.
type options struct {
	root       string
	binary     string
	peers      string
	out        string
	pods       []int
	rounds     int
	most       []int
	peerPods   int
	slowRounds int
	window     time.Duration
	restarts   int
	settle     time.Duration
	lookups    time.Duration
	patience   time.Duration
	creates    int
}

func main() { harness.Main("firstsync", &options{}) }

// Flags are those of the command line.
func (o *options) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.root, "root", "..", "The checkout: of .cluster/bin and yaml/testcrd.yaml.")
	fs.StringVar(&o.binary, "binary", "../bin/podinfolookup", "The program to measure. bin/profiled writes profiles as well, to the folder PROFILES.")
	fs.StringVar(&o.peers, "peers", "../bin/peers", `The peers' program, built from ./peers; "" leaves them out.`)
	fs.StringVar(&o.out, "out", "out", "Folder for firstsync.jsonl and the programs' logs.")
	fs.IntSliceVar(&o.pods, "pods", []int{1000, 3000, 10000, 20000}, "Running Pods, from few to many on one cluster.")
	fs.IntSliceVar(&o.most, "most", []int{3000, 20000}, "Of these, the numbers that all --rounds are for; the others get one round.")
	fs.IntVar(&o.rounds, "rounds", 5, "Rounds of the raw loop and of the programs, in turns; with 0 there is only the first sync whose Testcrs are kept.")
	fs.IntVar(&o.peerPods, "peer-pods", 3000, "The number of Pods that the peers are measured at.")
	fs.IntVar(&o.slowRounds, "slow-rounds", 1, "Rounds of each peer that is too slow to be waited for.")
	fs.DurationVar(&o.window, "window", 15*time.Second, "How long such a peer runs; the last two thirds are counted.")
	fs.IntVar(&o.restarts, "restarts", 3, "Restarts with every Testcr right, at each number of Pods.")
	fs.DurationVar(&o.settle, "settle", 5*time.Second, "How long after the last write or comparison memory counts as steady, after restarts and the first sync whose Testcrs are kept.")
	fs.DurationVar(&o.lookups, "lookups", 3*time.Second, "How long Pods are looked up by IP, at each number of Pods.")
	fs.DurationVar(&o.patience, "patience", 0, "How long to wait before each measurement for a moment in which no other program takes the processors.")
	fs.IntVar(&o.creates, "creates", 20, "Concurrent creates of the raw loop.")
}

// Validate finds what cannot be measured.
func (o *options) Validate() error {
	if o.rounds < 0 || o.creates < 1 || len(o.pods) == 0 || slices.Min(o.pods) < 1 || slices.Max(o.pods) > 1<<20 {
		return errors.New("--creates and --pods must be positive, --rounds not negative, and --pods at most 1048576")
	}
	slices.Sort(o.pods)
	return nil
}

// Run measures all.
func (o *options) Run(ctx context.Context) (err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		b.watch.Close()
		b.Close()
		err = errors.Join(err, b.Stop())
	}()
	if err := b.empty(ctx); err != nil {
		return err
	}
	for _, pods := range o.pods {
		if err := b.grow(ctx, pods); err != nil {
			return err
		}
		for _, step := range []func(context.Context) error{b.rounds, b.slow, b.warm} {
			if err := step(ctx); err != nil {
				return err
			}
		}
	}
	return b.report(os.Stdout)
}
