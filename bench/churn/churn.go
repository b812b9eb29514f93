// Package churn measures how far Testcrs are behind their Pods while Pods come
// and go: at an even rate, in the deletion of a namespace, and in a rolling
// restart. It also counts the writes for the life of a Pod.
package churn

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// Run runs `bench churn`.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	o := &options{}
	return harness.Execute(ctx, harness.Command{Name: "churn", Flags: o.flags, Validate: o.validate, Run: o.run}, args, stdout)
}

type options struct {
	harness.ServerOptions
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

func (o *options) flags(fs *pflag.FlagSet) {
	o.Flags(fs, "churn")
	fs.IntVar(&o.standing, "standing", 3000, "Running Pods that do not change meanwhile.")
	fs.IntVar(&o.rate, "rate", 50, "Pods a second.")
	fs.DurationVar(&o.duration, "duration", 20*time.Second, "Time during which Pods are created at that rate.")
	fs.IntVar(&o.rounds, "rounds", 3, "Rounds of the program and the raw loop at that rate. The peer has one round.")
	fs.IntVar(&o.alone, "alone", 3, "Pods that live while nothing else happens.")
	fs.IntVar(&o.deletes, "deletes", 5000, "Pods of the namespace that is deleted; 0 skips the deletion.")
	fs.IntVar(&o.restarts, "restarts", 2000, "Pods of the rolling restart; 0 skips it.")
	fs.IntVar(&o.surge, "surge", 200, "Pods that the rolling restart replaces at the same time.")
	fs.IntVar(&o.bursts, "bursts", 1, "Rounds of the deletion and the rolling restart.")
	fs.DurationVar(&o.scheduled, "scheduled", 20*time.Millisecond, "Time from the creation of a Pod to its binding.")
	fs.DurationVar(&o.ready, "ready", time.Second, "Time from the creation of a Pod until it is Running and ready.")
	fs.DurationVar(&o.life, "life", 3*time.Second, "Time from the creation of a Pod to its deletion.")
	fs.DurationVar(&o.graceful, "graceful", time.Second, "Time from the deletion of a Pod to its end.")
}

func (o *options) validate() error {
	if o.rate < 1 || o.rounds < 1 || o.duration <= 0 || o.surge < 1 || o.standing < 0 || o.deletes < 0 || o.restarts < 0 {
		return errors.New("--rate, --rounds, --duration and --surge must be positive; --standing, --deletes and --restarts not negative")
	}
	if o.scheduled > o.ready || o.ready > o.life {
		return errors.New("--scheduled must not exceed --ready, nor --ready --life")
	}
	return nil
}

func (o *options) run(ctx context.Context, stdout io.Writer) (err error) {
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
	return b.report().Print(stdout)
}
