// Command churn measures how far Testcrs are behind their Pods while Pods come
// and go: at an even pace, when a namespace is deleted, and in a rolling restart;
// and how many writes one life of a Pod costs.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// options are the command line.
type options struct {
	root      string
	binary    string
	peers     string
	out       string
	standing  int
	rate      int
	duration  time.Duration
	rounds    int
	alone     int
	deletes   int
	restarts  int
	surge     int
	bursts    int
	scheduled time.Duration
	ready     time.Duration
	life      time.Duration
	graceful  time.Duration
}

func main() { harness.Main("churn", &options{}) }

// Flags are those of the command line.
func (o *options) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.root, "root", "..", "The checkout: of .cluster/bin and yaml/testcrd.yaml.")
	fs.StringVar(&o.binary, "binary", "../bin/podinfolookup", "The program to measure.")
	fs.StringVar(&o.peers, "peers", "../bin/peers", `The peers' program, built from ./peers; "" leaves them out.`)
	fs.StringVar(&o.out, "out", "out", "Folder for churn.jsonl and the programs' logs.")
	fs.IntVar(&o.standing, "standing", 3000, "Running Pods that stay as they are meanwhile.")
	fs.IntVar(&o.rate, "rate", 50, "Pods a second.")
	fs.DurationVar(&o.duration, "duration", 20*time.Second, "How long Pods come at that rate.")
	fs.IntVar(&o.rounds, "rounds", 3, "Rounds of that, of the program and of the raw loop in turns; the peer has one.")
	fs.IntVar(&o.alone, "alone", 3, "Pods that live while nothing else happens.")
	fs.IntVar(&o.deletes, "deletes", 5000, "Pods of the namespace that is deleted; 0 leaves it out.")
	fs.IntVar(&o.restarts, "restarts", 2000, "Pods of the rolling restart; 0 leaves it out.")
	fs.IntVar(&o.surge, "surge", 200, "How many of them are replaced at once.")
	fs.IntVar(&o.bursts, "bursts", 1, "How often these two are measured.")
	fs.DurationVar(&o.scheduled, "scheduled", 20*time.Millisecond, "A Pod is bound this long after it was created.")
	fs.DurationVar(&o.ready, "ready", time.Second, "It is Running and ready this long after it was created.")
	fs.DurationVar(&o.life, "life", 3*time.Second, "It is deleted this long after it was created.")
	fs.DurationVar(&o.graceful, "graceful", time.Second, "It is gone this long after it was deleted.")
}

// Validate finds what cannot be measured.
func (o *options) Validate() error {
	if o.rate < 1 || o.rounds < 1 || o.duration <= 0 || o.surge < 1 || o.standing < 0 || o.deletes < 0 || o.restarts < 0 {
		return errors.New("--rate, --rounds, --duration and --surge must be positive")
	}
	if o.scheduled > o.ready || o.ready > o.life {
		return errors.New("--scheduled, --ready and --life must come in this order")
	}
	return nil
}

// Run measures all.
func (o *options) Run(ctx context.Context) (err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		b.stopTracking()
		b.Close()
		err = errors.Join(err, b.Stop())
	}()
	for _, step := range []func(context.Context) error{b.alone, b.rounds, b.massDeletes, b.rollingRestarts} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.report(os.Stdout)
}
