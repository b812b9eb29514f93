// Package app puts the program together: flags, clients, informers, controller
// and servers, and the order in which they start and stop.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/cache"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // the command line is wrong
)

// printTimeout is what the feed gets at a stop to print what waits. Standard
// output may be a pipe that nobody reads, and a write to it cannot be broken off.
const printTimeout = 500 * time.Millisecond

// Main runs the program until SIGINT or SIGTERM and returns its exit code. A
// second signal ends the process at once.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// From the first signal on the default action is back: the second one kills.
	context.AfterFunc(ctx, stop)
	// A closed pipe on standard output ends the feed, not the controller.
	signal.Ignore(syscall.SIGPIPE)

	err := run(ctx, args, stdout)
	logs.FlushLogs()
	var usage usageError
	switch {
	case err == nil || ctx.Err() != nil: // whatever a signal has broken off
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "podinfolookup:", oneLine(err))
		return exitUsage
	default:
		fmt.Fprintln(stderr, "podinfolookup:", oneLine(err))
		return exitError
	}
}

func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	o, done, err := parse(args, stdout)
	if done || err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(o.logging, nil); err != nil {
		return usageError{fmt.Errorf("%w: see --help", err)}
	}
	// Listening comes first: an address in use is told of before anything runs.
	server, err := listen(ctx, o)
	if err != nil {
		return err
	}
	defer server.close(ctx)
	clients, err := newClients(o)
	if err != nil {
		return err
	}
	needed := rules
	if server.protected() {
		needed = slices.Concat(rules, lookupRules)
	}
	if err := clients.preflight(ctx, o.namespaces, needed); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Starting", "version", versionString(), "server", clients.host,
		"namespaces", cmp.Or(strings.Join(o.namespaces, ","), "all"))
	return start(ctx, o, clients, server, stdout)
}

// start builds what runs, starts it, and stops it in the opposite order: the
// controller first, whose last writes need the caches and the probes still
// there, then the caches, the feed and the server.
func start(signalled context.Context, o *options, clients *clients, server *server, stdout io.Writer) error {
	ctx, cancel := context.WithCancelCause(signalled)
	defer cancel(nil)
	pods, err := podInformers(clients, o.namespaces)
	if err != nil {
		return err
	}
	testcrs, err := podinfolookup.NewTestcrInformer(clients.testcrs, func(ctx context.Context) error {
		return podinfolookup.CheckCRD(ctx, clients.discovery())
	})
	if err != nil {
		return err
	}
	feed, err := newFeed(stdout, o, testcrs)
	if err != nil {
		return err
	}
	controller, err := podinfolookup.New(ctx, podinfolookup.Config{
		Pods: pods, Testcrs: testcrs, Workers: o.workers, Wrote: feed.wrote,
	})
	if err != nil {
		return err
	}

	handler, err := lookupHandler(ctx, server, clients, testcrs)
	if err != nil {
		return err
	}

	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	printed := make(chan struct{})
	defer func() {
		stopBackground()
		running.Wait()
		select {
		case <-printed:
		case <-time.After(printTimeout):
		}
	}()
	go func() { defer close(printed); feed.run(background) }()
	if err := server.serve(ctx, controller, handler, cancel); err != nil {
		return err
	}
	running.Go(func() { testcrs.RunWithContext(background) })
	for _, informer := range pods {
		running.Go(func() { informer.RunWithContext(background) })
	}
	if err := controller.Run(ctx); err != nil {
		return err
	}
	if signalled.Err() == nil {
		return context.Cause(ctx) // the server fell over
	}
	klog.FromContext(ctx).Info("Stopped")
	return nil
}

// lookupHandler returns what server serves beside the probes; it keeps an index,
// which a server without an address does not need.
func lookupHandler(ctx context.Context, server *server, clients *clients, testcrs *podinfolookup.TestcrInformer) (http.Handler, error) {
	if server.listener == nil {
		return http.NotFoundHandler(), nil
	}
	l, err := lookup.New(ctx, testcrs, versionString())
	switch {
	case err != nil:
		return nil, err
	case !server.protected():
		return l.Handler(), nil
	}
	return newGuard(clients.ask, l.Handler())
}

// podInformers returns a Pod informer for each watched namespace.
func podInformers(clients *clients, namespaces []string) (map[string]cache.SharedIndexInformer, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	pods := map[string]cache.SharedIndexInformer{}
	for _, namespace := range namespaces {
		informer, err := podinfolookup.NewPodInformer(clients.pods, namespace)
		if err != nil {
			return nil, err
		}
		pods[namespace] = informer
	}
	return pods, nil
}

func (c *clients) discovery() discovery.DiscoveryInterfaceWithContext {
	return discovery.ToDiscoveryInterfaceWithContext(c.ask.Discovery())
}
