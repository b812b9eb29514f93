// Command peers keeps the same Testcrs as podinfolookup the way other programs
// would: it is what the benchmarks measure podinfolookup against.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// peers are run until their context ends. The config is as client-go reads it
// from a kubeconfig, with its own limits.
var peers = map[string]func(context.Context, *rest.Config) error{
	"article":                   runArticle,
	"sample-controller":         runSampleController,
	"controller-runtime":        runControllerRuntime,
	"controller-runtime, tuned": runTunedControllerRuntime,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var names []string
	for name := range peers {
		names = append(names, name)
	}
	slices.Sort(names)
	fs := pflag.NewFlagSet("peers", pflag.ExitOnError)
	peer := fs.String("peer", "", "Which: "+strings.Join(names, "; ")+".")
	kubeconfig := fs.String("kubeconfig", "", "Kubeconfig file.")
	address := fs.String("bind-address", "127.0.0.1:0", "Where /metrics is served.")
	if err := fs.Parse(os.Args[1:]); err != nil {
		return err
	}
	work, ok := peers[*peer]
	if !ok {
		return fmt.Errorf("there is no peer %q: see --help", *peer)
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = UserAgentPrefix + strings.NewReplacer(", ", "-", " ", "-").Replace(*peer) + "/1"
	if err := serveMetrics(ctx, *address); err != nil {
		return err
	}
	return work(ctx, config)
}

// UserAgentPrefix is how the audit log tells peers apart.
const UserAgentPrefix = "peer-"

// serveMetrics has Go's own metrics at /metrics, and says where in the words
// that the harness waits for.
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
