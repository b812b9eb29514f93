package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

const (
	// shutdownGrace is the time that requests in flight get when Run must end. With
	// the end of the informers and servers it keeps a shutdown under 5 s.
	shutdownGrace = 3 * time.Second
	// confirmDelay is the time after a write until its key is synced again. It bounds
	// how long a Testcr is missing that was deleted while no watch was open.
	confirmDelay = time.Second
	// housekeepingInterval is the interval of work that no event causes.
	housekeepingInterval = time.Second
)

// Config configures a Controller. The caller runs the caches, after New and before or
// while Run waits for them. The hooks are called by the workers and must be quick.
type Config struct {
	// Pods is the cache of the Pods that get a Testcr.
	Pods *podcache.Cache
	// Testcrs is the cache of all Testcrs. It writes them.
	Testcrs *testcrcache.Cache
	// LeaderElected reports that another replica may write until Run is called, so
	// that the caches may be older than its writes.
	LeaderElected bool
	// Workers is how many keys are synced at once, at least 1.
	Workers int
	// Recorder sends Events about what a person must act on. It may be nil.
	Recorder record.EventRecorder
	// OnWrite is called after each successful write. It may be nil.
	OnWrite func(Write)
	// OnSync is called after each sync with its duration. It may be nil.
	OnSync func(Verb, time.Duration, error)
}

// Controller keeps one Testcr per Pod.
type Controller struct {
	pods          *podcache.Cache
	testcrs       *testcrcache.Cache
	leaderElected bool
	workers       int
	onWrite       func(Write)
	onSync        func(Verb, time.Duration, error)

	queue    *runQueue
	states   *keyStates
	handlers *handlers
	retries  *retries
	foreign  *foreign
	pruned   *pruned
	repairs  *repairs
	strays   *strays
	warnings *warnings

	syncStarted []atomic.Int64 // by worker, in Unix nanoseconds; 0 between syncs
	started     atomic.Bool    // Run is called
}

// New returns a Controller whose handlers are registered. It starts nothing.
func New(ctx context.Context, config Config) (*Controller, error) {
	switch {
	case config.Workers < 1:
		return nil, fmt.Errorf("workers must be at least 1, not %d", config.Workers)
	case config.Pods == nil || config.Testcrs == nil:
		return nil, errors.New("a controller needs the cache of Pods and the cache of Testcrs")
	}
	config.setDefaults()
	c := &Controller{
		pods:          config.Pods,
		testcrs:       config.Testcrs,
		leaderElected: config.LeaderElected,
		workers:       config.Workers,
		onWrite:       config.OnWrite,
		onSync:        config.OnSync,
		syncStarted:   make([]atomic.Int64, config.Workers),
	}
	c.queue, c.states, c.warnings = newRunQueue(), &keyStates{}, &warnings{recorder: config.Recorder}
	c.retries = newRetries(c.queue, c.states, c.warnings)
	c.foreign = &foreign{pods: c.pods, states: c.states, warnings: c.warnings, podKeyOf: (*testcrcache.Entry).PodKey}
	c.pruned = &pruned{queue: c.queue, states: c.states, warnings: c.warnings}
	c.repairs = &repairs{queue: c.queue, states: c.states, warnings: c.warnings, managedFields: c.testcrs.ManagedFields}
	c.strays = &strays{pods: c.pods, testcrs: c.testcrs, queue: c.queue, warnings: c.warnings, pruned: c.pruned, onWrite: c.onWrite}
	c.handlers = &handlers{pods: c.pods, testcrs: c.testcrs, queue: c.queue, states: c.states, foreign: c.foreign, strays: c.strays}
	c.testcrs.OnCRDLost(c.crdLost)
	c.testcrs.OnCRDReturned(c.handlers.resync)
	c.testcrs.OnRollback(func(string) { c.handlers.resync() })
	c.pods.OnRollback(func(string) { c.handlers.resync() })
	return c, c.handlers.register(ctx)
}

func (c *Config) setDefaults() {
	if c.Recorder == nil {
		c.Recorder = &record.FakeRecorder{} // without a channel it drops Events
	}
	if c.OnWrite == nil {
		c.OnWrite = func(Write) {}
	}
	if c.OnSync == nil {
		c.OnSync = func(Verb, time.Duration, error) {}
	}
}

// crdLost reports why Testcrs cannot be kept, if this replica would keep them.
func (c *Controller) crdLost(err error) {
	if c.started.Load() {
		c.warnings.warnCRD(err.Error())
	}
}

// Run works until ctx ends, and returns once no sync is running. Requests in flight get
// shutdownGrace. The caches must run on until Run has returned. It may be called again
// then, as in the next term of a leader.
func (c *Controller) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	c.started.Store(true)
	defer c.started.Store(false)
	if err := c.testcrs.Unavailable(); err != nil {
		c.crdLost(err)
	}
	// A Testcr without a Pod is an orphan only if both caches are complete.
	if !cache.WaitFor(klog.NewContext(ctx, logger.V(2)), "caches", c.handlers.synced...) {
		return nil
	}
	if c.leaderElected && c.pods.RequireCurrent(ctx) != nil {
		return nil
	}
	c.testcrs.ForgetWrites() // another replica may have written since
	c.handlers.begin()
	logger.Info("Caches synced", "workers", c.workers, "queued", c.queue.Len())

	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var workers sync.WaitGroup
	for id := range c.workers {
		workers.Go(func() { c.worker(requests, id) })
	}
	workers.Go(func() { c.housekeeping(ctx, requests) })
	<-ctx.Done()
	c.queue.ShutDown()
	grace := time.AfterFunc(shutdownGrace, cancel)
	defer grace.Stop()
	workers.Wait()
	return nil
}

// housekeeping does until ctx ends what no event causes. Its requests end with requests.
func (c *Controller) housekeeping(ctx, requests context.Context) {
	ticker := time.NewTicker(housekeepingInterval)
	defer ticker.Stop()
	prunedTicker := time.NewTicker(prunedInterval)
	defer prunedTicker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.strays.resolve(ctx, requests)
			c.repairs.forget(ctx)
		case <-prunedTicker.C:
			c.pruned.retry()
		}
	}
}

func (c *Controller) worker(ctx context.Context, id int) {
	defer utilruntime.HandleCrashWithContext(ctx)
	for c.processNext(ctx, id) {
	}
}

func (c *Controller) processNext(ctx context.Context, id int) bool {
	key, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(key)
	if c.queue.ShuttingDown() { // the next Run queues it again; it must not stay in the metric of the queue's depth
		return true
	}
	start := time.Now()
	c.syncStarted[id].Store(start.UnixNano())
	defer c.syncStarted[id].Store(0)

	t := c.states.takeTrigger(key)
	verb, err := c.sync(ctx, key, t)
	c.onSync(verb, time.Since(start), err)
	switch {
	case err == nil:
		c.retries.succeeded(key, verb)
	case testcrcache.IsStale(err) && !t.conflicted:
		klog.FromContext(ctx).V(2).Info("Conflict, will read live", "pod", klog.KRef(key.Namespace, key.Name), "err", err)
		t.conflicted = true
		c.states.returnTrigger(key, t)
		c.queue.AddRateLimited(key)
	default: // also a second conflict in a row: another client keeps writing
		c.states.returnTrigger(key, t)
		c.retries.failed(ctx, key, err)
	}
	return true
}

// sync makes the Testcr of one Pod match it, with at most one write. It trusts no event:
// it compares the two caches. A conflict is returned and retried through the queue, from
// live reads.
func (c *Controller) sync(ctx context.Context, key cache.ObjectName, t trigger) (Verb, error) {
	if !c.testcrs.IsServed() {
		return Unchanged, nil // every key is queued again when the CRD is back
	}
	stored, isCurrent, err := c.stored(ctx, key, t)
	if err != nil {
		return Unchanged, err
	}
	if !isCurrent {
		c.states.returnTrigger(key, t)
		c.queue.AddAfter(key, confirmDelay) // the event of the last write comes before
		return Unchanged, nil
	}
	pod, isFresh := c.pods.Get(key)
	verb, want := c.plan(key, pod, stored)
	if !t.podChanged && verb.Writes() && c.repairs.isPostponed(ctx, key, stored) {
		return Unchanged, nil
	}
	if verb.Writes() && (!isFresh || t.conflicted) { // the cache may be older than what the last writer saw
		if pod, err = c.pods.Live(ctx, key); err != nil {
			return Unchanged, err
		}
		verb, want = c.plan(key, pod, stored)
	}
	return c.apply(ctx, key, t, verb, want, stored)
}

// stored returns the Testcr of a Pod from the cache. After a conflict it is read live,
// and so it is for a change of the Pod if the watch does not deliver the last write
// within confirmDelay. isCurrent is false until then.
func (c *Controller) stored(ctx context.Context, key cache.ObjectName, t trigger) (stored *testcrcache.Entry, isCurrent bool, err error) {
	name := nameFor(key)
	pending := c.testcrs.PendingFor(name) // before the read, which then includes the write
	if t.conflicted || t.podChanged && pending >= confirmDelay {
		stored, err = c.testcrs.Live(ctx, name)
		return stored, true, err
	}
	return c.testcrs.Get(name), pending == 0, nil
}

// plan returns what to do so that stored becomes want, the Testcr that the Pod calls
// for. pod and stored are nil if they do not exist, and so is want.
func (c *Controller) plan(key cache.ObjectName, pod *v1.Testcr, stored *testcrcache.Entry) (Verb, *v1.Testcr) {
	want := c.retries.reducedIfRefused(key, pod)
	collides := c.foreign.collides(key, stored)
	switch {
	case collides && want == nil:
		return Unchanged, nil
	case collides:
		return Foreign, want
	case want == nil && (stored == nil || !stored.MayDelete(c.pods.Watches)):
		return Unchanged, nil
	case want == nil && stored.DeletionTimestamp == nil:
		return Deleted, nil
	case want == nil: // a finalizer keeps it
		want = desired.Emptied(stored.Testcr())
	case stored == nil:
		return Added, want
	case !stored.IsManaged() && stored.Spec().PodKey != want.Spec.PodKey:
		return Foreign, want
	}
	if stored.Matches(want) {
		return Unchanged, want
	}
	return Updated, want
}

// apply does what plan returned.
func (c *Controller) apply(ctx context.Context, key cache.ObjectName, t trigger, verb Verb, want *v1.Testcr, stored *testcrcache.Entry) (Verb, error) {
	switch {
	case verb == Foreign:
		c.foreign.report(ctx, key, want, stored)
		return verb, nil
	case verb == Unchanged:
		c.pruned.noteMatches(ctx, key, want)
		return verb, nil
	case verb == Added && !c.testcrs.AcceptsNew():
		return Unchanged, nil // every key is queued again when the CRD is back
	}
	isRepair := !t.podChanged
	if isRepair && c.repairs.startTrace(key) && verb == Updated {
		stored = c.testcrs.Traceable(ctx, stored)
	}
	reason := reasonFor(t, verb, want, stored)
	isWritten, err := c.write(ctx, key, verb, want, stored)
	switch {
	case err != nil:
		return verb, err
	case !isWritten:
		return Unchanged, nil
	}
	c.written(ctx, key, t, verb, reason)
	return verb, nil
}

// write sends one request, or two if the API server refuses the first because of its
// content. isWritten is false if the API server did not store it.
func (c *Controller) write(ctx context.Context, key cache.ObjectName, verb Verb, want *v1.Testcr, stored *testcrcache.Entry) (isWritten bool, err error) {
	if verb == Deleted {
		err = c.testcrs.Delete(ctx, stored)
		return err == nil, err
	}
	version, err := c.store(ctx, want, stored)
	if isTooLargeOrInvalid(err) && len(want.Spec.Labels)+len(want.Spec.Containers) > 0 {
		c.retries.reduce(ctx, key, want, err)
		want = desired.Reduced(want)
		if stored != nil && stored.Matches(want) {
			return false, nil
		}
		version, err = c.store(ctx, want, stored)
	}
	if errors.Is(err, testcrcache.ErrPruned) {
		c.pruned.note(ctx, key, want.Name)
		err = nil
	}
	if version != "" {
		c.repairs.recordVersion(want.Name, version)
	}
	return version != "", err
}

func (c *Controller) store(ctx context.Context, want *v1.Testcr, stored *testcrcache.Entry) (version string, err error) {
	if stored == nil {
		return c.testcrs.Create(ctx, want)
	}
	return c.testcrs.Update(ctx, stored, want)
}

// written reports a write.
func (c *Controller) written(ctx context.Context, key cache.ObjectName, t trigger, verb Verb, reason Reason) {
	if !t.podChanged {
		c.repairs.note(key)
	}
	c.queue.AddAfter(key, confirmDelay)
	c.onWrite(Write{Verb: verb, Reason: reason, Pod: key, FirstEvent: t.firstEvent})
	klog.FromContext(ctx).V(4).Info("Wrote", "verb", verb, "reason", reason, "pod", klog.KRef(key.Namespace, key.Name), "testcr", nameFor(key))
}
