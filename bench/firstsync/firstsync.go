// Package firstsync measures the first sync of a full cluster beside a raw loop
// of the same writes and beside peers. It also measures the load on the API
// server, memory, restarts and lookups, for several numbers of Pods.
package firstsync

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// Run runs `bench firstsync`.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	o := &options{}
	return harness.Execute(ctx, harness.Command{Name: "firstsync", Flags: o.flags, Validate: o.validate, Run: o.run}, args, stdout)
}

type options struct {
	harness.ServerOptions
	pods       []int
	rounds     int
	most       []int
	peerPods   int
	slowRounds int
	window     time.Duration
	restarts   int
	settle     time.Duration
	lookups    time.Duration
	creates    int
}

func (o *options) flags(fs *pflag.FlagSet) {
	o.Flags(fs, "firstsync")
	fs.IntSliceVar(&o.pods, "pods", []int{1000, 3000, 10000, 20000}, "Numbers of running Pods, measured in ascending order on one cluster.")
	fs.IntSliceVar(&o.most, "most", []int{3000, 20000}, "Numbers of Pods that are measured in all --rounds. Others are measured in one.")
	fs.IntVar(&o.rounds, "rounds", 5, "Rounds of the raw loop and the programs. With 0 only the first sync before the restarts is measured.")
	fs.IntVar(&o.peerPods, "peer-pods", 3000, "Number of Pods at which the peers are measured.")
	fs.IntVar(&o.slowRounds, "slow-rounds", 1, "Rounds of each peer that is too slow for a complete first sync.")
	fs.DurationVar(&o.window, "window", 15*time.Second, "Run time of such a peer. The last two thirds are measured.")
	fs.IntVar(&o.restarts, "restarts", 3, "Restarts with every Testcr up to date, for each number of Pods.")
	fs.DurationVar(&o.settle, "settle", 5*time.Second, "Time from the last sync to the measurement of steady memory.")
	fs.DurationVar(&o.lookups, "lookups", 3*time.Second, "Duration of each measurement of lookups by IP.")
	fs.IntVar(&o.creates, "creates", 20, "Concurrent creates of the raw loop.")
}

func (o *options) validate() error {
	if o.rounds < 0 || o.creates < 1 || len(o.pods) == 0 || slices.Min(o.pods) < 1 || slices.Max(o.pods) > 1<<20 {
		return errors.New("--creates and --pods must be positive, --rounds not negative, and --pods at most 1048576")
	}
	slices.Sort(o.pods)
	return nil
}

func (o *options) run(ctx context.Context, stdout io.Writer) (err error) {
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
	return b.report().Print(stdout)
}
