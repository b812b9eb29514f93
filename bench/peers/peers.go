// Package peers contains other controllers that keep the same Testcrs as
// podinfolookup, to which the benchmarks compare it.
package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// peers run until their context ends. The config is that of the kubeconfig, with
// the default rate limits of client-go.
var peers = map[string]func(context.Context, *rest.Config) error{
	harness.Article:                runArticle,
	harness.SampleController:       runSampleController,
	harness.ControllerRuntime:      runControllerRuntime,
	harness.TunedControllerRuntime: runTunedControllerRuntime,
}

// Run runs `bench peers`, which the other benchmarks start as a process. The
// packages of bench that a peer does not use cost it 5,000 allocations, 10 ms
// and 20 MiB at its start. No table contains the memory of peers.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	o := &options{}
	return harness.Execute(ctx, harness.Command{Name: "peers", Flags: o.flags, Validate: o.validate, Run: o.run}, args, stdout)
}

type options struct {
	peer        string
	kubeconfig  string
	bindAddress string
}

func (o *options) flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.peer, "peer", "", "Controller to run: "+names()+".")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "Kubeconfig file.")
	fs.StringVar(&o.bindAddress, "bind-address", "127.0.0.1:0", "Address of /metrics.")
}

func names() string { return strings.Join(slices.Sorted(maps.Keys(peers)), "; ") }

func (o *options) validate() error {
	if peers[o.peer] == nil {
		return fmt.Errorf("--peer=%q must be one of: %s", o.peer, names())
	}
	return nil
}

func (o *options) run(ctx context.Context, _ io.Writer) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = harness.PeerAgent + strings.NewReplacer(", ", "-", " ", "-").Replace(o.peer) + "/1"
	if err := serveMetrics(ctx, o.bindAddress); err != nil {
		return err
	}
	return peers[o.peer](ctx, config)
}

// serveMetrics serves the metrics of the Go runtime at /metrics, and logs its
// address in the form that harness.Start expects.
func serveMetrics(ctx context.Context, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "peers:", err)
		}
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() }) // the process ends
	fmt.Fprintf(os.Stderr, "\"Serving /metrics\" address=%q\n", listener.Addr())
	return nil
}
