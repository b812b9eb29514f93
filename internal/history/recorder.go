package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
)

const (
	// batchDelay is how long changes are collected before they are stored.
	batchDelay = 900 * time.Millisecond
	// maxBatch bounds the lives of one transaction, which takes a writer for some 0.2 s.
	maxBatch = 1000
	// tickInterval is how often the recorder looks at the clock, the age of the cache and
	// the file. The recording is extended every extendInterval when nothing changes.
	tickInterval   = time.Second
	extendInterval = 5 * time.Second
	// confirmAfter is how old the cache may be before the API server is asked.
	confirmAfter   = 2 * time.Second
	confirmTimeout = 5 * time.Second
	// tolerance is the delay of an event, and the difference of the clock, from which on
	// a time is recorded as uncertain.
	tolerance = 5 * time.Second
	maxClock  = 2 * time.Second
	// deliveryDelay is how long an event may take from the connection to the handler. The
	// recording ends so long before the last one.
	deliveryDelay = time.Second
	// The bounds of the events that wait for the store.
	maxQueue      = 20_000
	maxQueueBytes = 16 << 20
	// A store that fails is tried again after minRetry, and after at most maxRetry.
	minRetry = time.Second
	maxRetry = 15 * time.Second
	// findTimeout bounds a question to the store, and flushTimeout the wait for changes
	// that are not stored yet.
	findTimeout  = 5 * time.Second
	flushTimeout = time.Second
	// commitTimeout bounds a transaction, and takeOverTimeout the reading of all open lives.
	commitTimeout   = 30 * time.Second
	takeOverTimeout = 2 * time.Minute
)

// Pods is the part of a *podcache.Cache that a Recorder needs.
type Pods interface {
	AddEventHandler(cache.ResourceEventHandler, cache.HandlerOptions) ([]cache.DoneChecker, error)
	AsOf() time.Time
	Confirm(context.Context) error
}

// Config configures a Recorder.
type Config struct {
	// Location is a file, sqlite:FILE, or a postgres:// URL.
	Location string
	// Cluster is the name of the cluster, "" for one without a name.
	Cluster string
	// Namespaces are those of Pods, none for all.
	Namespaces []string
	// PasswordFile is a file with the password of PostgreSQL, "" for none.
	PasswordFile string
	// Retention is how long lives stay after their end, 0 for ever.
	Retention time.Duration
	// MaxBytes is the size of the file beyond which the oldest lives go, 0 for any.
	MaxBytes int64
	// Pods is the cache that is recorded. The caller runs it.
	Pods Pods
	// Changed is called when the store fails, with the error, and when it works again, with
	// nil. It may be nil.
	Changed func(error)
	// Now and Elapsed are the clock, and the time since any moment of a clock that is never
	// set; nil are those of the system.
	Now     func() time.Time
	Elapsed func() time.Duration
}

// Recorder records the Pods of a cache, and answers questions about the past.
type Recorder struct {
	config Config
	open   func(context.Context) (*store, error)
	synced []cache.DoneChecker
	wake   chan struct{}      // an event was queued
	flush  chan chan struct{} // closed after the events so far were stored
	store  atomic.Pointer[store]
	asOf   atomic.Int64 // of the cache at the last tick, in Unix milliseconds
	failed atomic.Pointer[error]
	// isRecording reports that the store is compared and changes are stored as they come.
	isRecording atomic.Bool
	stats       counters
	// opening is held while the store is opened.
	opening sync.Mutex

	mu         sync.Mutex
	current    map[string]*v1.TestcrSpec // by UID
	isQueueing bool
	isOverflow bool
	queue      []event
	queueBytes int

	// Of the goroutine of Run.
	lives     map[string]*life // without an end, by UID
	dirty     []*life
	recording progress
	recorded  int64         // up to when everything is stored
	committed time.Duration // Elapsed at the last commit
	clock     clock
	pruner    *pruner
}

// counters are those of Stats.
type counters struct {
	lives, failures, overflows atomic.Int64
	lastCommit                 atomic.Int64 // Unix milliseconds
}

// Stats are for metrics.
type Stats struct {
	// IsRecording reports that changes are stored as they come.
	IsRecording bool
	// LastCommit is when changes were last stored, zero before the first time.
	LastCommit time.Time
	// Lives is the number of Pods whose recording began. Failures counts those of the store,
	// and Overflows how often it was away for longer than changes are kept.
	Lives, Failures, Overflows int64
	// Bytes is the size of the file with its log, 0 without one.
	Bytes int64
}

// Stats returns the present counts.
func (r *Recorder) Stats() Stats {
	st := Stats{
		IsRecording: r.isRecording.Load() && r.failed.Load() == nil,
		Lives:       r.stats.lives.Load(), Failures: r.stats.failures.Load(), Overflows: r.stats.overflows.Load(),
	}
	if at := r.stats.lastCommit.Load(); at != 0 {
		st.LastCommit = time.UnixMilli(at)
	}
	if s := r.store.Load(); s != nil {
		st.Bytes = s.bytes()
	}
	return st
}

// event is a change of a Pod: its new spec, or nil if it is gone.
type event struct {
	uid  string
	spec *v1.TestcrSpec
	moment
}

// New returns a Recorder whose handler is registered with the cache. The caller runs it.
func New(ctx context.Context, config Config) (*Recorder, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Elapsed == nil {
		start := time.Now()
		config.Elapsed = func() time.Duration { return time.Since(start) }
	}
	if config.Changed == nil {
		config.Changed = func(error) {}
	}
	r := &Recorder{
		config: config, wake: make(chan struct{}, 1), flush: make(chan chan struct{}),
		current: map[string]*v1.TestcrSpec{}, clock: clock{now: config.Now, elapsed: config.Elapsed},
		pruner: newPruner(config),
	}
	var err error
	if r.open, err = opener(config); err != nil {
		return nil, err
	}
	logger := klog.FromContext(ctx)
	r.synced, err = config.Pods.AddEventHandler(r.handler(), cache.HandlerOptions{Logger: &logger})
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return r, nil
}

func (r *Recorder) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { r.changed(obj.(*podcache.Pod).Spec()) },
		UpdateFunc: func(old, obj any) { r.replaced(old.(*podcache.Pod).Spec(), obj.(*podcache.Pod).Spec()) },
		DeleteFunc: func(obj any) {
			if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = tombstone.Obj
			}
			if pod, ok := obj.(*podcache.Pod); ok {
				r.gone(pod.Spec().PodUID)
			}
		},
	}
}

// replaced records a change. A Pod of the same name with another UID is another Pod.
func (r *Recorder) replaced(old, spec *v1.TestcrSpec) {
	if old.PodUID != spec.PodUID {
		r.gone(old.PodUID)
	}
	r.changed(spec)
}

func (r *Recorder) changed(spec *v1.TestcrSpec) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current[spec.PodUID] = spec
	r.enqueue(event{uid: spec.PodUID, spec: spec, moment: r.moment()})
}

func (r *Recorder) gone(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.current, uid)
	r.enqueue(event{uid: uid, moment: r.moment()})
}

// moment returns the time of an event. If the cache was last known to be current a while
// ago, the change may have happened at any time since.
func (r *Recorder) moment() moment {
	m := moment{at: r.config.Now().UnixMilli()}
	if asOf := r.asOf.Load(); asOf != 0 && m.at-asOf > tolerance.Milliseconds() {
		m.since = asOf
	}
	return m
}

func (r *Recorder) enqueue(e event) {
	if !r.isQueueing || r.isOverflow {
		return
	}
	size := sizeOf(e.spec)
	if len(r.queue) >= maxQueue || r.queueBytes+size > maxQueueBytes {
		r.isOverflow, r.queue, r.queueBytes = true, nil, 0
		r.stats.overflows.Add(1)
		return
	}
	r.queue, r.queueBytes = append(r.queue, e), r.queueBytes+size
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// sizeOf estimates the memory that a queued spec keeps, in bytes.
func sizeOf(s *v1.TestcrSpec) int {
	n := 64
	if s == nil {
		return n
	}
	n += 512
	for i := range s.Containers {
		c := &s.Containers[i]
		n += 160 + len(c.ID) + len(c.Image) + len(c.ImageID) + len(c.PreviousID) + len(c.PreviousReason)
	}
	for key, value := range s.Labels {
		n += len(key) + len(value)
	}
	return n
}

// Run records until ctx ends. The store may fail at any time: Run tries again.
func (r *Recorder) Run(ctx context.Context) {
	defer r.stop(ctx)
	var ticking sync.WaitGroup
	defer ticking.Wait()
	ticking.Go(func() { r.watchAge(ctx) })
	for _, handler := range r.synced {
		select {
		case <-handler.Done():
		case <-ctx.Done():
			return
		}
	}
	reason := ReasonStopped
	for retry := minRetry; ctx.Err() == nil; {
		hasBegun, err := r.session(ctx, reason)
		if ctx.Err() != nil {
			return
		}
		if hasBegun {
			reason, retry = ReasonStopped, minRetry
		}
		if why := r.ended(ctx, err); why != ReasonStopped { // until the next one has begun
			reason = why
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(2*retry, maxRetry)
	}
}

// Errors that end a session.
var (
	errOverflow = errors.New("the store was away for longer than changes are kept")
	errLost     = errors.New("the file or the tables were deleted or replaced")
)

// ended reports the end of a session, closes a store that is not usable any more, and
// returns the reason of the gap.
func (r *Recorder) ended(ctx context.Context, err error) Reason {
	if errors.Is(err, errOverflow) {
		return ReasonOverflow
	}
	r.report(ctx, err)
	s := r.store.Load()
	if s == nil || !errors.Is(err, errLost) && !isCorrupt(err) {
		return ReasonStopped
	}
	r.store.Store(nil)
	if err := s.close(); err != nil {
		klog.FromContext(ctx).V(2).Info("Cannot close the history", "err", err)
	}
	if isCorrupt(err) {
		moveAside(ctx, s.path)
	}
	return ReasonLost
}

// report passes a failure of the store, or nil for its end, to Config.Changed, once each.
func (r *Recorder) report(ctx context.Context, err error) {
	if err != nil {
		r.stats.failures.Add(1)
	}
	was := r.failed.Load()
	if (err == nil) == (was == nil) {
		return
	}
	if err == nil {
		r.failed.Store(nil)
		klog.FromContext(ctx).Info("The history is recorded again")
	} else {
		r.failed.Store(&err)
		klog.FromContext(ctx).Error(err, "Cannot record the history: Testcrs and lookups of the present go on")
	}
	r.config.Changed(err)
}

// session opens the store if it is not open, compares it with the cache, and records
// until an error that needs another comparison. hasBegun reports that it recorded.
func (r *Recorder) session(ctx context.Context, reason Reason) (hasBegun bool, _ error) {
	s, err := r.opened(ctx)
	if err != nil {
		return false, err
	}
	before, err := s.takeOver(ctx, r.config.Now().UnixMilli())
	if err != nil {
		return false, err
	}
	snapshot, now := r.beginQueue()
	if err := r.compare(ctx, s, before, snapshot, now); err != nil {
		return false, err
	}
	r.recording = progress{from: now, to: now, reason: reason, namespaces: r.config.Namespaces, recorder: hostname()}
	r.recorded = now
	r.clock.set()
	return true, r.loop(ctx, s)
}

// opened returns the store, and opens it if it is not open.
func (r *Recorder) opened(ctx context.Context) (*store, error) {
	r.opening.Lock()
	defer r.opening.Unlock()
	if s := r.store.Load(); s != nil {
		return s, nil
	}
	s, err := r.open(ctx)
	if err == nil {
		r.store.Store(s)
	}
	return s, err
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}

// beginQueue starts to queue events, and returns the Pods before the first of them.
func (r *Recorder) beginQueue() (map[string]*v1.TestcrSpec, int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isQueueing, r.isOverflow, r.queue, r.queueBytes = true, false, nil, 0
	return maps.Clone(r.current), r.config.Now().UnixMilli()
}

// compare makes the open lives of the store those of the Pods in snapshot. What differs
// changed after the last recording.
func (r *Recorder) compare(ctx context.Context, s *store, before *previous, snapshot map[string]*v1.TestcrSpec, now int64) error {
	r.lives, r.dirty = before.lives, nil
	m := moment{at: now, since: before.until}
	for uid, l := range r.lives {
		if snapshot[uid] == nil {
			l.end(m)
			r.markDirty(l)
			delete(r.lives, uid)
		}
	}
	for uid, spec := range snapshot {
		since := max(before.until, millis(spec.CreatedAt))
		if r.lives[uid] == nil { // it may have had everything since its creation
			since = min(now, millis(spec.CreatedAt))
		}
		if err := r.update(ctx, s, event{uid: uid, spec: spec, moment: moment{at: now, since: max(since, 1)}}); err != nil {
			return err
		}
	}
	return nil
}

// update applies the change of a Pod to its life.
func (r *Recorder) update(ctx context.Context, s *store, e event) error {
	l := r.lives[e.uid]
	if e.spec == nil {
		if l != nil {
			l.end(e.moment)
			r.markDirty(l)
			delete(r.lives, e.uid)
		}
		return nil
	}
	refs, err := s.refsOf(ctx, e.spec, l)
	if err != nil {
		return err
	}
	if l == nil {
		l = &life{id: s.nextID("pods"), uid: e.uid, name: e.spec.PodName, Interval: e.begin(millis(e.spec.CreatedAt))}
		r.lives[e.uid] = l
		r.stats.lives.Add(1)
	}
	l.update(e.spec, refs, e.moment)
	r.markDirty(l)
	return nil
}

func (r *Recorder) markDirty(l *life) {
	if l.isDirty && !l.isListed {
		l.isListed = true
		r.dirty = append(r.dirty, l)
	}
}

// loop stores the events as they come, until ctx ends or the store has to be compared
// with the cache again.
func (r *Recorder) loop(ctx context.Context, s *store) error {
	r.isRecording.Store(true)
	defer r.isRecording.Store(false)
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	retry := minRetry
	for {
		if err := r.drain(ctx, s); err != nil {
			if ctx.Err() != nil || errors.Is(err, errOverflow) || errors.Is(err, errOtherWriter) || errors.Is(err, errLost) || isCorrupt(err) {
				return err
			}
			r.report(ctx, err)
			select {
			case <-time.After(retry):
			case <-ctx.Done():
				return ctx.Err()
			}
			retry = min(2*retry, maxRetry)
			continue
		}
		r.report(ctx, nil)
		retry = minRetry
		if err := r.wait(ctx, s, ticker.C); err != nil {
			return err
		}
	}
}

// wait returns when there is something to store.
func (r *Recorder) wait(ctx context.Context, s *store, tick <-chan time.Time) error {
	delay := r.pruner.enter(batchDelay)
	defer r.pruner.leave()
	var batch <-chan time.Time // ready when the changes have been collected
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case done := <-r.flush:
			err := r.drain(ctx, s)
			close(done)
			if err != nil { // the caller tries again, without losing what is queued
				return nil
			}
		case <-r.wake:
			if batch == nil {
				batch = time.After(delay)
			}
		case <-batch:
			return nil
		case <-r.pruner.due():
			if err := r.pruner.step(ctx, s); err != nil {
				return err
			}
		case <-tick:
			if err := s.check(); err != nil {
				return err
			}
			if r.config.Elapsed()-r.committed >= extendInterval {
				return nil
			}
		}
	}
}

// watchAge notes the age of the cache until ctx ends.
func (r *Recorder) watchAge(ctx context.Context) {
	for ctx.Err() == nil {
		r.tick(ctx)
		select {
		case <-time.After(tickInterval):
		case <-ctx.Done():
		}
	}
}

// tick notes how old the cache is, and asks the API server if that is not known.
func (r *Recorder) tick(ctx context.Context) {
	asOf := r.config.Pods.AsOf()
	if r.config.Now().Sub(asOf) > confirmAfter {
		ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
		defer cancel()
		if err := r.config.Pods.Confirm(ctx); err != nil {
			klog.FromContext(ctx).V(4).Info("The age of the cache is not known", "err", err)
		}
		asOf = r.config.Pods.AsOf()
	}
	if !asOf.IsZero() {
		r.asOf.Store(asOf.UnixMilli())
	}
}

// drain stores all events so far, and extends the recording.
func (r *Recorder) drain(ctx context.Context, s *store) error {
	asOf := min(r.asOf.Load(), r.config.Now().UnixMilli()) - deliveryDelay.Milliseconds()
	r.mu.Lock()
	events, isOverflow := r.queue, r.isOverflow
	r.queue, r.queueBytes = nil, 0
	r.mu.Unlock()
	if isOverflow {
		return errOverflow
	}
	for i, e := range events {
		if err := r.update(ctx, s, e); err != nil {
			r.requeue(events[i:])
			return err
		}
	}
	r.advance(s, asOf)
	for first := true; first || len(r.dirty) > 0; first = false {
		n, p := min(len(r.dirty), maxBatch), r.recording
		if n < len(r.dirty) { // nothing after the last recording is complete yet
			p.to = max(p.from, min(p.to, r.recorded))
		}
		if err := s.commit(ctx, r.dirty[:n], p); err != nil {
			return err
		}
		for _, l := range r.dirty[:n] {
			l.isListed = false
		}
		r.dirty = r.dirty[n:]
	}
	r.dirty, r.committed, r.recorded = nil, r.config.Elapsed(), r.recording.to
	r.stats.lastCommit.Store(r.config.Now().UnixMilli())
	return nil
}

// requeue puts events that were not applied before those that came meanwhile.
func (r *Recorder) requeue(events []event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.isOverflow {
		return
	}
	r.queue = append(events, r.queue...)
	r.queueBytes = 0
	for _, e := range r.queue {
		r.queueBytes += sizeOf(e.spec)
	}
}

// advance extends the recording up to asOf. After an outage of the API server, and after
// the clock was set, another recording begins.
func (r *Recorder) advance(s *store, asOf int64) {
	switch {
	case r.clock.wasSet():
		now := r.config.Now().UnixMilli()
		s.recording, r.recording.from, r.recording.to, r.recording.reason = 0, now, now, ReasonClock
		r.clock.set()
	case asOf-r.recording.to > 2*(tolerance+extendInterval).Milliseconds():
		s.recording, r.recording.from, r.recording.to, r.recording.reason = 0, asOf, asOf, ReasonOutage
	default:
		r.recording.to = max(r.recording.to, asOf)
	}
}

// stop stores what is left.
func (r *Recorder) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	s := r.store.Load()
	if s != nil && r.lives != nil {
		if err := r.drain(ctx, s); err != nil {
			klog.FromContext(ctx).V(2).Info("The last changes are not in the history", "err", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isQueueing, r.queue, r.queueBytes = false, nil, 0
}

// Close closes the store, after Run has returned.
func (r *Recorder) Close() error {
	if s := r.store.Swap(nil); s != nil {
		return s.close()
	}
	return nil
}

// IsShared reports that several replicas share the store, so that only one may record.
// Those that do not can answer all the same.
func (r *Recorder) IsShared() bool { return isPostgres(r.config.Location) }

// ErrNotReady reports that the store is not open.
var ErrNotReady = errors.New("the history is not available yet: try again")

// Find answers a question about the past. Changes that are not stored yet are stored first.
func (r *Recorder) Find(ctx context.Context, q Query) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	if r.isRecording.Load() && q.Until.UnixMilli() >= r.stats.lastCommit.Load() {
		r.flushed(ctx)
	}
	s := r.store.Load()
	if s == nil && r.IsShared() { // this replica may not record
		var err error
		if s, err = r.opened(ctx); err != nil {
			return Answer{}, fmt.Errorf("%w: %w", ErrNotReady, err)
		}
	}
	if s == nil {
		if err := r.failed.Load(); err != nil {
			return Answer{}, fmt.Errorf("%w: %w", ErrNotReady, *err)
		}
		return Answer{}, ErrNotReady
	}
	return s.find(ctx, q)
}

// flushed waits until the events so far are stored, for up to flushTimeout.
func (r *Recorder) flushed(ctx context.Context) {
	timeout := time.After(flushTimeout)
	done := make(chan struct{})
	select {
	case r.flush <- done:
	case <-timeout:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-timeout:
	case <-ctx.Done():
	}
}

// clock notices that the wall clock was set, because it differs from the time that passed.
type clock struct {
	now     func() time.Time
	elapsed func() time.Duration
	wall    int64
	passed  time.Duration
}

func (c *clock) set() { c.wall, c.passed = c.now().UnixMilli(), c.elapsed() }

// wasSet reports whether the clock was set since the last call. A clock that is slewed is
// followed.
func (c *clock) wasSet() bool {
	if c.wall == 0 {
		c.set()
	}
	difference := c.now().UnixMilli() - c.wall - (c.elapsed() - c.passed).Milliseconds()
	c.set()
	return difference > maxClock.Milliseconds() || difference < -maxClock.Milliseconds()
}
