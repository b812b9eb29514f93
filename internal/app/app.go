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
	"strings"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
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
	if len(args) > 0 && args[0] == verifyCommand {
		return verifyMain(ctx, args[1:], stdout, stderr)
	}

	err := run(ctx, args, stdout)
	logs.FlushLogs()
	var usage cli.UsageError
	switch {
	case err == nil || ctx.Err() != nil: // whatever a signal has broken off
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "podinfolookup:", cli.OneLine(err))
		return exitUsage
	default:
		fmt.Fprintln(stderr, "podinfolookup:", cli.OneLine(err))
		return exitError
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	o, done, err := parse(args, stdout)
	if done || err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(o.logging, nil); err != nil {
		return cli.Usagef("%w: see --help", err)
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
	return start(ctx, o, clients, server, stdout)
}

// start serves, waits for the API server, and works until a signal, or until the
// server can no longer serve. An API server that is away must not end this
// program: before the start nor later.
func start(signalled context.Context, o *options, clients *clients, server *server, stdout io.Writer) error {
	ctx, cancel := context.WithCancelCause(signalled)
	defer cancel(nil)
	var apiServer waiting
	server.answer(probe{}, probe{{"api-server", apiServer.check}}, &apiServer)
	if err := server.serve(ctx, cancel); err != nil {
		return err
	}
	err := apiServer.until(ctx, func(ctx context.Context) error {
		if err := clients.preflight(ctx, o.namespaces, rulesFor(o, server.protected())); err != nil {
			return err
		}
		return clients.noteEvents(ctx)
	}, server.announce)
	if err == nil {
		err = work(ctx, o, clients, server, stdout)
	}
	if ctx.Err() != nil && signalled.Err() == nil {
		return context.Cause(ctx) // the server fell over
	}
	return err
}

// work builds what runs, starts it, and stops it in the opposite order: the
// controller first, whose last writes need the caches, the lease and the probes
// still there, then the caches, the feed and the server.
func work(ctx context.Context, o *options, clients *clients, server *server, stdout io.Writer) error {
	klog.FromContext(ctx).Info("Starting", "version", version.Version(), "server", clients.host,
		"namespaces", cmp.Or(strings.Join(o.namespaces, ","), "all"))
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	p, err := build(background, o, clients, server, stdout)
	if err != nil {
		return err
	}
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
	go func() { defer close(printed); p.feed.run(background) }()
	server.answer(p.livez(), p.readyz(), p.handler)
	server.announce()
	running.Go(func() { p.testcrs.RunWithContext(background) })
	for _, informer := range p.pods {
		running.Go(func() { informer.RunWithContext(background) })
	}
	running.Go(func() { settle(background, p.controller) })
	if err := p.election.lead(ctx, p.controller.Run); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Stopped")
	return nil
}

// parts are what the program consists of.
type parts struct {
	pods       map[string]*podinfolookup.PodInformer
	testcrs    *podinfolookup.TestcrInformer
	feed       *feed
	controller *podinfolookup.Controller
	election   *election
	lookup     *lookup.Lookup // nil without an address to serve it at
	handler    http.Handler   // of all paths but the probes'
}

// build makes the parts; what they run in the background ends with ctx.
func build(ctx context.Context, o *options, clients *clients, server *server, stdout io.Writer) (*parts, error) {
	p := &parts{handler: http.NotFoundHandler()}
	var err error
	p.testcrs, err = podinfolookup.NewTestcrInformer(clients.testcrs, clients.reader, func(ctx context.Context) error {
		return podinfolookup.CheckCRD(ctx, clients.discovery())
	})
	if err != nil {
		return nil, err
	}
	if p.pods, err = podInformers(clients, o.namespaces, p.testcrs); err != nil {
		return nil, err
	}
	if p.feed, err = newFeed(stdout, o, p.testcrs); err != nil {
		return nil, err
	}
	if p.election, err = newElection(&o.election, clients); err != nil {
		return nil, err
	}
	p.controller, err = podinfolookup.New(ctx, podinfolookup.Config{
		Pods: p.pods, Testcrs: p.testcrs, Replicas: p.election != nil, Workers: o.workers, Synced: countSync,
		Warn: warner(newRecorder(ctx, clients.ask.CoreV1())),
		Wrote: func(w podinfolookup.Write) {
			countWrite(w)
			p.feed.wrote(w.Verb, w.Pod)
		},
	})
	if err != nil || server.listener == nil {
		return p, err
	}
	return p, p.buildHandler(ctx, clients, server)
}

// buildHandler makes the lookup, which keeps an index, and the metrics: a server
// without an address needs neither.
func (p *parts) buildHandler(ctx context.Context, clients *clients, server *server) error {
	var err error
	if p.lookup, err = lookup.New(ctx, p.testcrs, version.Version()); err != nil {
		return err
	}
	if err := registerMetrics(newCacheMetrics(p.pods, p.testcrs)); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle(metricsPath, metricsHandler())
	mux.Handle("/", p.lookup.Handler())
	p.handler = mux
	if server.protected() {
		p.handler, err = newGuard(clients.reviews, mux)
	}
	return err
}

// livez never asks the API server: an outage must not restart this program.
func (p *parts) livez() probe {
	checks := probe{{"workers", p.controller.Healthy}}
	if p.election != nil {
		checks = append(checks, check{"leader-election", p.election.check})
	}
	return checks
}

func (p *parts) readyz() probe {
	checks := probe{{"crd", p.testcrs.Missing}, {"caches", p.controller.Synced}}
	if p.lookup != nil {
		checks = append(checks, check{"lookup", p.lookup.Synced})
	}
	return checks
}

// podInformers returns a Pod informer for each watched namespace.
func podInformers(clients *clients, namespaces []string, testcrs *podinfolookup.TestcrInformer) (map[string]*podinfolookup.PodInformer, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	pods := map[string]*podinfolookup.PodInformer{}
	for _, namespace := range namespaces {
		informer, err := podinfolookup.NewPodInformer(clients.pods, namespace, testcrs)
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
