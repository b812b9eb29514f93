// Command bench measures podinfolookup beside other programs and draws plots of
// the results. hack/bench.sh runs it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/weiyuanke/PodInfoLookup/bench/churn"
	"github.com/weiyuanke/PodInfoLookup/bench/firstsync"
	"github.com/weiyuanke/PodInfoLookup/bench/lookup"
	"github.com/weiyuanke/PodInfoLookup/bench/peers"
	"github.com/weiyuanke/PodInfoLookup/bench/plot"
)

var commands = []struct {
	name, summary string
	run           func(ctx context.Context, args []string, stdout io.Writer) error
}{
	{"firstsync", "measure first syncs, memory and restarts as the number of Pods grows", firstsync.Run},
	{"churn", "measure the lag and the writes while Pods come and go", churn.Run},
	{"lookup", "measure ways to find a Pod by its IP", lookup.Run},
	{"plot", "draw the plots of the docs", plot.Run},
	{"peers", "run a controller that firstsync and churn compare podinfolookup to", peers.Run},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	if args[0] == "--help" || args[0] == "-h" || args[0] == "help" {
		fmt.Println("usage: bench COMMAND [flags]")
		for _, c := range commands {
			fmt.Printf("  %-10s %s\n", c.name, c.summary)
		}
		return nil
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		if err := c.run(ctx, args[1:], os.Stdout); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		return nil
	}
	return fmt.Errorf("unknown command %q: see bench --help", args[0])
}
