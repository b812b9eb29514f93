// Command lookup measures how fast a Pod is found by its IP among 20,000: over
// the HTTP lookup, through the API server, and by the kubectl plugin.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// options are the command line.
type options struct {
	kubeconfig string
	clusterDir string
	binary     string
	before     string
	kubectl    string
	plugin     string
	timed      string
	out        string
	pods       int
	rounds     int
	duration   time.Duration
	clients    []int
	calls      int
	restarts   int
	patience   time.Duration
}

func main() { harness.Main("lookup", &options{}) }

// Flags are those of the command line.
func (o *options) Flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.kubeconfig, "kubeconfig", "../.cluster/bench/kubeconfig", "Kubeconfig file of an empty cluster without nodes and controllers, as hack/bench.sh starts it. What is made there stays.")
	fs.StringVar(&o.clusterDir, "cluster-dir", "../.cluster/bench/.kwok/clusters/podinfolookup", "Folder of that cluster's logs/audit.log and pids/.")
	fs.StringVar(&o.binary, "binary", "../bin/podinfolookup", "The program to measure.")
	fs.StringVar(&o.before, "before", "", "A podinfolookup of another version, whose writes and memory are measured too.")
	fs.StringVar(&o.kubectl, "kubectl", "../.cluster/bin/kubectl", "The plugin's peer.")
	fs.StringVar(&o.plugin, "plugin", "../bin/kubectl-podinfo", `The plugin; "" leaves it out.`)
	fs.StringVar(&o.timed, "timed", "../bin/timed", "The program that runs and measures the plugin, built from ./lookup/timed.")
	fs.StringVar(&o.out, "out", "out", "Folder for lookup.jsonl and the program's log.")
	fs.IntVar(&o.pods, "pods", 20000, "Running Pods.")
	fs.IntVar(&o.rounds, "rounds", 3, "Rounds in which each way to look up is measured once.")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "How long each is measured in a round.")
	fs.IntSliceVar(&o.clients, "clients", []int{8, 1}, "Numbers of clients, each of which asks again once it has its answer.")
	fs.IntVar(&o.calls, "calls", 20, "Runs of the plugin and of kubectl.")
	fs.DurationVar(&o.patience, "patience", 0, "How long to wait before each measurement for a moment in which no other program takes the processors.")
	fs.IntVar(&o.restarts, "restarts", 3, "Restarts with every Testcr right.")
}

// Validate finds what cannot be measured.
func (o *options) Validate() error {
	if o.pods < 2*manyQueries || o.pods > 1<<16 {
		return fmt.Errorf("--pods=%d: from %d to %d are possible", o.pods, 2*manyQueries, 1<<16)
	}
	if o.rounds < 1 || o.calls < 1 || o.duration <= 0 || len(o.clients) == 0 || slices.Min(o.clients) < 1 {
		return errors.New("--rounds, --calls, --duration and --clients must be positive")
	}
	return nil
}

// Run measures all.
func (o *options) Run(ctx context.Context) error {
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
	return b.report(os.Stdout)
}
