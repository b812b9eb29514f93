package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

const (
	// A failing key is tried again after 5 ms, 10 ms, 20 ms ... and from the
	// 14th time on each half minute, or when others succeed again. Each key waits for itself alone: there is no
	// bucket that one bad key could empty for the others.
	retryMin = 5 * time.Millisecond
	retryMax = 30 * time.Second

	// A key whose Testcr the API server refuses as too large or invalid waits
	// longer: only a change of the Pod or of the API server helps. A change of the
	// Pod is synced at once, as ever.
	refusedRetryMin = time.Second
	refusedRetryMax = 5 * time.Minute

	// maxTries bounds how often one sync decides again from a live read before
	// it goes back to the queue. A second conflict in a row means that somebody
	// else keeps writing, and the backoff above is the answer to that.
	maxTries = 3

	// requestTimeout bounds one request with all its retries after 429.
	requestTimeout = 30 * time.Second
	// stopGrace is what requests in flight get to end when Run is to stop. With
	// the informers' and servers' own end it keeps a stop under 5 s.
	stopGrace = 3 * time.Second
	// mergeFor is how long a state of a Pod that rarely lasts may be behind in its
	// Testcr: a Pod without a node gets one, and one that is terminating goes. Most
	// Pods then cost three writes: with their node, running, gone. Any other change
	// is written at once, and takes these along.
	mergeFor = 40 * time.Millisecond
	// sweepEvery is how often writes that the watch has not confirmed are met with
	// the cache. It bounds, twice over, for how long a Testcr is missing that was
	// deleted while nobody watched.
	sweepEvery = time.Second
	// mangledEvery is how often a write is tried again that was accepted and has
	// changed nothing.
	mangledEvery = 10 * time.Second
)

// Verb is what was done to a Testcr.
type Verb string

// What the controller does to a Testcr, in the words of the feed.
const (
	Added   Verb = "add"
	Updated Verb = "update"
	Deleted Verb = "delete"

	nothing Verb = "unchanged"
	foreign Verb = "foreign" // left alone, and reported
)

func (v Verb) writes() bool { return v != nothing && v != foreign }

// Controller keeps one Testcr per Pod.
type Controller struct {
	pods    podCaches
	testcrs *TestcrInformer
	shared  bool // with other replicas
	workers int
	wrote   func(Write)
	done    func(Verb, time.Duration, error)
	warn    func(about *corev1.ObjectReference, reason, message string)

	queue  runQueue
	causes causes
	synced []cache.DoneChecker // one a handler: it has heard of the whole first list
	busy   []atomic.Int64      // by worker: since when it is in one sync, in Unix nanoseconds, 0 when in none

	running atomic.Bool // Run is under way
	working atomic.Bool // Run queues keys: a standby must not, because nothing drains its queue
	failed  failures
	refused workqueue.TypedRateLimiter[cache.ObjectName] // of keys whose Testcr is refused as too large or invalid
	reduced reducedPods
	mangled mangled // what the API server does not store as it is written
	repairs repairs

	hash       func(podKey string) string // the name of a Testcr
	mu         sync.Mutex
	reported   map[types.UID]struct{}         // foreign Testcrs that were told of
	collisions map[cache.ObjectName]types.UID // by Pod, the Testcr of another Pod that has its name
}

// New returns a Controller whose handlers are registered; it starts nothing.
func New(ctx context.Context, config Config) (*Controller, error) {
	switch {
	case config.Workers < 1:
		return nil, fmt.Errorf("workers must be at least 1, not %d", config.Workers)
	case len(config.Pods) == 0 || config.Testcrs == nil:
		return nil, errors.New("a controller needs a Pod informer and the Testcr informer")
	}
	config.setDefaults()
	c := &Controller{
		pods:       podCaches{},
		testcrs:    config.Testcrs,
		shared:     config.Replicas,
		workers:    config.Workers,
		wrote:      config.Wrote,
		done:       config.Synced,
		warn:       config.Warn,
		busy:       make([]atomic.Int64, config.Workers),
		failed:     failures{hurried: time.Now()},
		refused:    workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](refusedRetryMin, refusedRetryMax),
		hash:       md5Hex,
		reported:   map[types.UID]struct{}{},
		collisions: map[cache.ObjectName]types.UID{},
	}
	c.testcrs.onLost = c.warnOfCRD
	c.testcrs.onReturned = func() { c.enqueueAll(false) }
	c.testcrs.OnBack(func(string) { c.enqueueAll(false) })
	for namespace, informer := range config.Pods {
		c.pods[namespace] = informer
		informer.OnBack(func(string) { c.enqueueAll(false) })
		if err := c.handle(ctx, informer, c.podHandler(ctx)); err != nil {
			return nil, fmt.Errorf("pod informer: %w", err)
		}
	}
	if err := c.handle(ctx, c.testcrs, c.testcrHandler()); err != nil {
		return nil, fmt.Errorf("testcr informer: %w", err)
	}
	return c, nil
}

func (c *Controller) handle(ctx context.Context, informer cache.SharedInformer, handler cache.ResourceEventHandler) error {
	logger := klog.FromContext(ctx)
	handle, err := informer.AddEventHandlerWithOptions(handler, cache.HandlerOptions{Logger: &logger})
	if err != nil {
		return err
	}
	c.synced = append(c.synced, handle.HasSyncedChecker())
	return nil
}

func (c *Controller) podHandler(ctx context.Context) cache.ResourceEventHandler {
	heard := func(obj any, gone bool) {
		key, err := cache.DeletionHandlingObjectToName(obj)
		if err != nil {
			utilruntime.HandleErrorWithContext(ctx, err, "An event without a Pod")
			return
		}
		if gone {
			c.testcrs.kept.forget(key.String())
			c.forgetCollision(key)
		}
		if !c.working.Load() {
			return
		}
		c.causes.add(key, time.Now())
		if pod, ok := obj.(*podState); ok && !gone && pod.passing() {
			c.queue.AddAfter(key, mergeFor)
		} else {
			c.queue.Add(key)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { heard(obj, false) },
		UpdateFunc: func(_, obj any) { heard(obj, false) },
		DeleteFunc: func(obj any) { heard(obj, true) },
	}
}

func (c *Controller) testcrHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { c.observe(obj, false) },
		UpdateFunc: func(_, obj any) { c.observe(obj, false) },
		DeleteFunc: func(obj any) { c.observe(obj, true) },
	}
}

func (c *Controller) observe(obj any, gone bool) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	t, ok := obj.(*Testcr)
	if !ok {
		return
	}
	c.testcrs.saw(t, gone)
	if gone {
		c.mu.Lock()
		delete(c.reported, t.UID)
		c.mu.Unlock()
		c.endCollisions(t)
	}
	key, ok := c.keyOf(t)
	if pod, _ := c.pods.get(key); gone && pod == nil {
		c.testcrs.kept.forget(t.Spec.PodKey)
	} else if gone {
		c.testcrs.doubt()
	}
	if ok && c.working.Load() {
		c.queue.Add(key)
	}
}

// keyOf returns the key that t is synced under, false when it is no business of
// this controller. A Testcr that does not name its Pod has its own name for one.
func (c *Controller) keyOf(t *Testcr) (cache.ObjectName, bool) {
	key, ok := t.PodKey()
	if !ok {
		return cache.ObjectName{Name: t.Name}, true
	}
	return key, c.pods.watch(key.Namespace)
}

// enqueueAll has everything in both caches looked at: at the start, since all
// Testcrs went with their CRD, or since etcd was restored from a backup.
func (c *Controller) enqueueAll(start bool) {
	enqueue := func(key cache.ObjectName) {
		if start {
			c.causes.add(key, time.Time{})
		}
		c.queue.Forget(key) // without the wait that its earlier failures would cost
		c.queue.Add(key)
	}
	c.repairs.reset()
	if !c.working.Load() {
		return
	}
	for _, pods := range c.pods {
		for _, obj := range pods.GetStore().List() {
			enqueue(obj.(*podState).key())
		}
	}
	for _, obj := range c.testcrs.GetStore().List() {
		if key, ok := c.keyOf(obj.(*Testcr)); ok {
			enqueue(key)
		}
	}
}

// Run works until ctx ends, and returns once no sync is running. Requests in
// flight at that moment get stopGrace to end. The informers must run on until
// Run has returned. It may be called again then, as in the next term of a leader.
func (c *Controller) Run(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	c.running.Store(true)
	defer c.running.Store(false)
	if err := c.testcrs.Missing(); err != nil {
		c.warnOfCRD(err)
	}

	// An orphan is known as one only when both caches are whole. From the moment
	// on that working is set, what the caches learn is queued; what they knew
	// before is queued here.
	if !cache.WaitFor(klog.NewContext(ctx, logger.V(2)), "caches", c.synced...) {
		return nil
	}
	if c.shared && c.pods.distrust(ctx) != nil {
		return nil
	}
	c.testcrs.forgetWrites() // another replica may have written since
	c.causes.clear()
	c.queue.open()
	c.working.Store(true)
	c.enqueueAll(true)
	for pod, until := range c.reduced.all() { // they waited in the queue of the Run before
		c.queue.AddAfter(pod, time.Until(until))
	}
	logger.Info("Caches synced", "workers", c.workers, "queued", c.queue.Len())

	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var workers sync.WaitGroup
	for id := range c.workers {
		workers.Go(func() { c.worker(requests, id) })
	}
	c.sweepUntil(ctx)
	c.working.Store(false)
	c.queue.ShutDown()
	grace := time.AfterFunc(stopGrace, cancel)
	defer grace.Stop()
	workers.Wait()
	return nil
}

// sweepUntil does until ctx ends what no event asks for.
func (c *Controller) sweepUntil(ctx context.Context) {
	sweeper := time.NewTicker(sweepEvery)
	defer sweeper.Stop()
	again := time.NewTicker(mangledEvery)
	defer again.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-sweeper.C:
			for _, t := range c.testcrs.sweep() {
				c.observe(t, false)
			}
			if c.repairs.sweep() {
				klog.FromContext(ctx).Info("No Testcr is changed again and again any more")
			}
		case <-again.C:
			if key, ok := c.mangled.one(); ok { // the CRD may be another by now
				c.queue.Add(key)
			}
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
	if c.queue.ShuttingDown() { // the next Run finds it again; it must not stay in the metric of the queue's depth
		return true
	}
	begun := time.Now()
	c.busy[id].Store(begun.UnixNano())
	defer c.busy[id].Store(0)

	cause := c.causes.take(key)
	verb, err := c.sync(ctx, key, cause)
	c.done(verb, time.Since(begun), err)
	if err == nil {
		c.queue.Forget(key)
		c.refused.Forget(key)
		for _, failed := range c.failed.over(key, verb.writes()) {
			c.queue.Add(failed)
		}
		return true
	}
	if cause.pod {
		c.causes.add(key, cause.since)
	}
	if !c.queue.ShuttingDown() {
		c.failed.add(ctx, err, key, c.queue.NumRequeues(key)+c.refused.NumRequeues(key)+1)
	}
	if isTooLargeOrInvalid(err) {
		c.queue.AddAfter(key, c.refused.When(key))
	} else {
		c.queue.AddRateLimited(key)
	}
	return true
}

// sync makes the Testcr of the Pod called key true with at most one write, and
// returns which. It starts from the two caches; a write that the API server
// refuses because they were old is decided again from a live read of both: who
// has written the Testcr since may have known a newer Pod, too.
func (c *Controller) sync(ctx context.Context, key cache.ObjectName, cause cause) (Verb, error) {
	if c.testcrs.missing.Load() != nil {
		return nothing, nil // enqueueAll brings each key back once the CRD is
	}
	name := NameFor(key)
	if key.Namespace == "" {
		name = key.Name
		if pod, ok := c.pods.of(name); ok {
			c.queue.Add(pod) // under its own key, so that no two workers write one Testcr
			return nothing, nil
		}
	}
	pod, sure := c.pods.get(key)
	have := c.testcrs.get(name)
	// A change of the Pod is written at once, the repair of a contested Testcr waits.
	if !cause.pod && c.postponed(ctx, key, name, c.decide(key, c.want(key, pod, have), have), have) {
		return nothing, nil
	}
	for try := 1; ; try++ {
		want := c.want(key, pod, have)
		verb := c.decide(key, want, have)
		if verb != nothing && !sure {
			var err error
			if pod, err = c.pods.live(ctx, key); err != nil {
				return nothing, err
			}
			want = c.want(key, pod, have)
			verb = c.decide(key, want, have)
		}
		if verb == nothing || want == nil {
			c.noteStored(ctx, key, want, have)
		}
		if verb == Added && c.testcrs.closed.Load() {
			return nothing, nil // enqueueAll brings each key back
		}
		if verb.writes() && !cause.pod && c.repairs.trace(key, name) && verb == Updated {
			have = c.traced(ctx, have)
		}
		err := c.write(ctx, verb, want, have)
		if isCRDGone(err) {
			c.testcrs.refused()
		}
		if errors.Is(err, errMangled) {
			return nothing, nil
		}
		if err == nil && verb.writes() {
			if !cause.pod {
				c.repairs.made(key)
			}
			reason := cause.reason(verb, want, have)
			c.wrote(Write{Verb: verb, Reason: reason, Pod: key, Since: cause.since})
			klog.FromContext(ctx).V(4).Info("Wrote", "verb", verb, "reason", reason, "pod", klog.KRef(key.Namespace, key.Name), "testcr", name)
		}
		if !isStale(err) || try == maxTries {
			return verb, err
		}
		if have, err = c.testcrs.live(ctx, name, have); err != nil {
			return verb, err
		}
		sure = false
	}
}

// decide returns what is to be done so that have, the Testcr as it is, becomes
// want, the Testcr as the Pod called key calls for; nil stands for absent.
func (c *Controller) decide(key cache.ObjectName, want, have *Testcr) Verb {
	collides := c.collides(key, have)
	switch {
	case collides && want == nil:
		return nothing
	case collides:
		return foreign
	case want == nil && (have == nil || !c.pods.own(have)):
		return nothing
	case want == nil:
		return Deleted
	case have == nil:
		return Added
	case !have.Managed() && have.Spec.PodKey != want.Spec.PodKey:
		return foreign
	case have.says(want):
		return nothing
	default:
		return Updated
	}
}

func (c *Controller) write(ctx context.Context, verb Verb, want, have *Testcr) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	switch verb {
	case Added, Updated:
		err := c.store(ctx, want, have)
		if isTooLargeOrInvalid(err) {
			err = c.storeReduced(ctx, want, have, err)
		}
		return err
	case Deleted:
		err := c.testcrs.client.Delete(ctx, have.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion},
		})
		if err == nil && len(have.Finalizers) == 0 {
			c.testcrs.learnGone(have.Name, have.UID)
		}
		return withRemedy(err)
	case foreign:
		if have.Managed() {
			c.reportCollision(ctx, want, have)
		} else {
			c.reportForeign(ctx, want, have)
		}
	}
	return nil
}

// store creates want, or updates have to it.
func (c *Controller) store(ctx context.Context, want, have *Testcr) error {
	if have == nil {
		u, err := c.testcrs.client.Create(ctx, want.body(), metav1.CreateOptions{FieldManager: ManagedBy})
		return c.wroteBack(ctx, want, nil, u, err)
	}
	u, err := c.testcrs.client.Update(ctx, want.over(have).body(), metav1.UpdateOptions{FieldManager: ManagedBy})
	return c.wroteBack(ctx, want, have, u, err)
}

// wroteBack learns from the API server's answer to a write, so that the next
// sync of the same Pod need not wait for the watch.
func (c *Controller) wroteBack(ctx context.Context, want, have *Testcr, answer *unstructured.Unstructured, err error) error {
	if err != nil {
		return withRemedy(err)
	}
	t := decodeAnswer(answer, want)
	if have != nil && t.ResourceVersion == have.ResourceVersion {
		// Nothing has changed, and so nothing is learned: what is stored still
		// differs, as the watch has told.
		c.reportMangled(ctx, want, have)
		return errMangled
	}
	c.testcrs.learn(t)
	c.repairs.stored(t.Name, t.ResourceVersion)
	if !t.says(want) {
		c.reportMangled(ctx, want, t)
	}
	return nil
}
