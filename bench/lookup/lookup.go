// Package lookup measures how fast a Pod is found by its IP among 20,000: by
// HTTP lookups, through the API server, and by the kubectl plugin.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// Run runs `bench lookup`.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	o := &options{}
	return harness.Execute(ctx, harness.Command{Name: "lookup", Flags: o.flags, Validate: o.validate, Run: o.run}, args, stdout)
}

type options struct {
	harness.Options
	kubeconfig string
	clusterDir string
	before     string
	kubectl    string
	plugin     string
	timed      string
	pods       int
	rounds     int
	duration   time.Duration
	clients    []int
	calls      int
	restarts   int
}

func (o *options) flags(fs *pflag.FlagSet) {
	o.Flags(fs, "lookup")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "../.cluster/bench/kubeconfig", "Kubeconfig file of an empty cluster without nodes and controllers, as hack/bench.sh starts it. Its Pods are not deleted at the end.")
	fs.StringVar(&o.clusterDir, "cluster-dir", "../.cluster/bench/.kwok/clusters/podinfolookup", "Folder that contains logs/audit.log and pids/ of that cluster.")
	fs.StringVar(&o.before, "before", "", "Another version of podinfolookup, whose writes and memory are measured too.")
	fs.StringVar(&o.kubectl, "kubectl", "../.cluster/bin/kubectl", "kubectl, the peer of the plugin.")
	fs.StringVar(&o.plugin, "plugin", "../bin/kubectl-podinfo", `The plugin; "" skips it.`)
	fs.StringVar(&o.timed, "timed", "../bin/timed", "Program that runs and measures the plugin and kubectl, built from ./timed.")
	fs.IntVar(&o.pods, "pods", 20000, "Running Pods.")
	fs.IntVar(&o.rounds, "rounds", 3, "Rounds in which each way to look up a Pod is measured once.")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "Duration of each of these measurements.")
	fs.IntSliceVar(&o.clients, "clients", []int{8, 1}, "Numbers of concurrent clients.")
	fs.IntVar(&o.calls, "calls", 20, "Runs of the plugin and of kubectl.")
	fs.IntVar(&o.restarts, "restarts", 3, "Restarts with every Testcr up to date.")
}

func (o *options) validate() error {
	if o.pods < 2*manyQueries || o.pods > 1<<16 {
		return fmt.Errorf("--pods=%d must be from %d to %d", o.pods, 2*manyQueries, 1<<16)
	}
	if o.rounds < 1 || o.calls < 1 || o.duration <= 0 || len(o.clients) == 0 || slices.Min(o.clients) < 1 {
		return errors.New("--rounds, --calls, --duration and --clients must be positive")
	}
	return nil
}

func (o *options) run(ctx context.Context, stdout io.Writer) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.Close()
	for _, step := range []func(context.Context) error{b.lives, b.fill, b.measure, b.sizes, b.commands, b.memory} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.report().Print(stdout)
}
