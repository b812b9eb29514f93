// Package app builds the program from flags, clients, informers, the controller
// and the server, and starts and stops them in order.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/addresses"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/election"
	"github.com/weiyuanke/PodInfoLookup/internal/feed"
	"github.com/weiyuanke/PodInfoLookup/internal/heartbeat"
	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/internal/kube"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/metrics"
	"github.com/weiyuanke/PodInfoLookup/internal/owners"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/server"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // the command line is wrong
)

// printTimeout bounds how long the feed may print at a stop. Standard output may
// be a pipe without a reader, and a write to it cannot be cancelled.
const printTimeout = 500 * time.Millisecond

// Main runs the program until SIGINT or SIGTERM and returns its exit code. A
// second signal ends the process at once.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default action is restored: the second one kills.
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
	case err == nil || ctx.Err() != nil: // an error after a signal is its consequence
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
	// Listening comes first: an address in use is reported before anything starts.
	s, err := listen(ctx, o)
	if err != nil {
		return err
	}
	defer s.close(ctx)
	c, err := newClients(o)
	if err != nil {
		return err
	}
	return start(ctx, o, c, s, stdout)
}

// start serves, waits for the API server, and works until a signal, or until the
// server fails. An API server that is away ends the program neither before the
// start nor later.
func start(signalled context.Context, o *options, c *clients, s *servers, stdout io.Writer) error {
	ctx, cancel := context.WithCancelCause(signalled)
	defer cancel(nil)
	var apiServer kube.Waiter
	waiting := handlers{http.HandlerFunc(unavailable), http.HandlerFunc(unavailable)}
	s.handle(server.Probe{}, server.Probe{{Name: "api-server", Func: apiServer.Check}}, waiting)
	if err := s.serve(ctx, cancel); err != nil {
		return err
	}
	err := apiServer.Wait(ctx, func(ctx context.Context) error {
		tryWrite := func(ctx context.Context) error { return c.tryWrite(ctx, o.namespaces) }
		if err := c.preflight(ctx, rulesFor(o, c.lease, s.main.RequiresLogin()), tryWrite); err != nil {
			return err
		}
		if err := c.checkEvents(ctx); err != nil || !o.services {
			return err
		}
		return c.checkRanges(ctx)
	}, s.announce)
	if err == nil {
		err = work(ctx, o, c, s, stdout)
	}
	if ctx.Err() != nil && signalled.Err() == nil {
		return context.Cause(ctx) // the server failed
	}
	return err
}

// unavailable responds instead of the lookup while the API server is away.
func unavailable(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "waiting for the API server, /readyz has the reason: try again later", http.StatusServiceUnavailable)
}

// work builds the parts, starts them, and stops them in the opposite order. The
// controller stops first, because its last writes need the caches, the lease and
// the probes; then the caches, the feed and the server.
func work(ctx context.Context, o *options, c *clients, s *servers, stdout io.Writer) error {
	klog.FromContext(ctx).Info("Starting", "version", version.Version(), "server", c.cluster.Host(),
		"namespaces", cmp.Or(strings.Join(o.namespaces, ","), "all"))
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	p, err := build(background, o, c, s, stdout)
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	printed := make(chan struct{})
	defer func() {
		stopBackground()
		running.Wait()
		p.closeHistory(ctx)
		select {
		case <-printed:
		case <-time.After(printTimeout):
		}
	}()
	go func() { defer close(printed); p.feed.Run(background) }()
	s.handle(p.livez(), p.readyz(), p.handlers)
	s.announce()
	running.Go(func() { p.testcrs.RunWithContext(background) })
	running.Go(func() { p.pods.RunWithContext(background) })
	if p.addresses != nil {
		running.Go(func() { p.addresses.RunWithContext(background) })
	}
	if p.history != nil && !p.history.IsShared() {
		running.Go(func() { p.history.Run(background) })
	}
	running.Go(func() { limitGarbage(background, p.controller.Settled) })
	if err := p.runController(ctx); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Stopped")
	return nil
}

// parts are what the program consists of.
type parts struct {
	pods       *podcache.Cache
	testcrs    *testcrcache.Cache
	feed       *feed.Feed
	controller *podinfolookup.Controller
	heartbeat  *heartbeat.Heartbeat
	election   *election.Election // nil without leader election
	lookup     *lookup.Lookup     // nil without an address to serve it at
	addresses  *addresses.Cache   // nil without --services and --nodes
	history    *history.Recorder  // nil without --history
	writes     *writeRecorder
	handlers   handlers // of all paths but those of the probes
}

// build makes the parts. Their goroutines end with ctx.
func build(ctx context.Context, o *options, c *clients, s *servers, stdout io.Writer) (*parts, error) {
	p := &parts{election: c.election, handlers: handlers{http.NotFoundHandler(), http.NotFoundHandler()}, writes: &writeRecorder{}}
	var err error
	p.testcrs, err = testcrcache.New(testcrcache.Config{
		Client: c.testcrs, Reader: c.reader,
		Check: func(ctx context.Context) error { return testcrcache.CheckCRD(ctx, c.cluster.Discovery()) },
	})
	if err != nil {
		return nil, err
	}
	p.testcrs.OnCRDLost(p.writes.lost)
	p.testcrs.OnCRDReturned(p.writes.returned)
	if p.pods, err = newPodCache(o, c); err != nil {
		return nil, err
	}
	p.feed, err = feed.New(feed.Config{
		Out: stdout, PrintChanges: o.printChanges, PrintList: o.printList, Testcrs: p.testcrs, Row: newFeedRow(o.namespaces),
	})
	if err != nil {
		return nil, err
	}
	events := newRecorder(ctx, c.cluster.Kube.CoreV1())
	p.controller, err = podinfolookup.New(ctx, podinfolookup.Config{
		Pods: p.pods, Testcrs: p.testcrs, LeaderElected: p.election != nil, Workers: o.workers,
		Recorder: events,
		OnSync: func(verb podinfolookup.Verb, took time.Duration, err error) {
			metrics.ObserveSync(string(verb), took, err)
			p.writes.synced(verb, err)
		},
		OnWrite: func(w podinfolookup.Write) {
			metrics.ObserveWrite(metrics.Write{
				Verb: string(w.Verb), Reason: string(w.Reason), Since: w.FirstEvent, Repairs: w.Reason.IsRepair(),
			})
			p.feed.Changed(string(w.Verb), w.Pod)
		},
	})
	if err != nil {
		return nil, err
	}
	if err := p.newHistory(ctx, o, events); err != nil {
		return nil, err
	}
	if p.heartbeat, err = p.newHeartbeat(o, c); err != nil || !o.serves() {
		return p, err
	}
	return p, p.buildHandlers(ctx, o, c, s)
}

func newPodCache(o *options, c *clients) (*podcache.Cache, error) {
	if !o.owners {
		return podcache.New(c.pods, o.namespaces...)
	}
	of, err := owners.New(c.owners, o.namespaces...)
	if err != nil {
		return nil, err
	}
	return podcache.NewWithOwners(c.pods, of, o.namespaces...)
}

// buildHandlers makes the lookup, which keeps an index, and the metrics. Servers
// without an address need neither.
func (p *parts) buildHandlers(ctx context.Context, o *options, c *clients, s *servers) error {
	config := lookup.Config{Pods: p.pods, Version: version.Version(), ClusterName: o.clusterName, WritesFail: p.writes.fail, Links: o.links}
	var err error
	if o.services || o.nodes {
		p.addresses, err = addresses.NewCache(addresses.Config{
			Client: c.pods, Services: o.services, Nodes: o.nodes, Namespaces: o.namespaces,
		}, func([]netip.Addr) { p.lookup.Changed() })
		if err != nil {
			return err
		}
		config.Addresses = p.addresses
	}
	if p.history != nil { // a nil *Recorder would be a History
		config.History = p.history
	}
	p.lookup, err = lookup.New(ctx, config)
	if err != nil {
		return err
	}
	if err := metrics.Register(p.metricsConfig()); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle(metrics.Path, metrics.Handler())
	mux.Handle("/", p.lookup.Handler())
	p.handlers = handlers{main: mux, local: mux}
	if s.main.RequiresLogin() {
		auth := server.AuthConfig{
			Reviews: c.reviews, Resource: v1.GroupVersionResource, NameFor: v1.NameFor,
			Restrict: func(ctx context.Context, mayList server.NamespaceRight, refusal string) context.Context {
				return lookup.WithAccess(ctx, lookup.Access{MayList: mayList, Refusal: refusal})
			},
		}
		p.handlers.main, err = s.main.WithAuth(auth, mux)
	}
	return err
}

// runController runs the controller until ctx ends, with leader election only
// while this replica leads. The heartbeat is kept for as long.
func (p *parts) runController(ctx context.Context) error {
	run := func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		var beating sync.WaitGroup
		defer beating.Wait()
		defer stop()
		beating.Go(func() { p.heartbeat.Run(ctx) })
		if p.history != nil && p.history.IsShared() { // the leader writes
			beating.Go(func() { p.history.Run(ctx) })
		}
		defer p.writes.stopped()
		return p.controller.Run(ctx)
	}
	if p.election == nil {
		return run(ctx)
	}
	return p.election.Run(ctx, run)
}

// livez sends no request: an outage of the API server must not restart the program.
func (p *parts) livez() server.Probe {
	checks := server.Probe{{Name: "workers", Func: p.controller.Healthy}}
	if p.election != nil {
		checks = append(checks, server.Check{Name: "leader-election", Func: p.election.Check})
	}
	return checks
}

func (p *parts) readyz() server.Probe {
	checks := server.Probe{{Name: "crd", Func: p.testcrs.Unavailable}, {Name: "caches", Func: p.controller.Synced}}
	if p.lookup != nil {
		checks = append(checks, server.Check{Name: "lookup", Func: p.lookup.Synced})
	}
	return append(checks, server.Check{Name: "writes", Func: p.writes.check, IsWarning: true})
}
