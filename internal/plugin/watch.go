package plugin

import (
	"context"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// The events of --output-watch-events.
const (
	eventAdded    = string(watch.Added)
	eventModified = string(watch.Modified)
	eventDeleted  = string(watch.Deleted)
)

// followedResult is a result that is kept up to date. Each event compares the rows that
// were printed with the caches, so that a late or interrupted watch loses intermediate
// states only.
type followedResult struct {
	scope

	text      string
	terms     []query.Term // in order; the first that matches counts
	via       map[query.Term]string
	informers []cache.Store
	shown     map[string]row // by the key in the informers
}

// followedCluster has the results of a cluster.
type followedCluster struct {
	*cluster
	followed []*followedResult
}

// change is a Pod that may have changed in a cluster.
type change struct {
	cluster *followedCluster
	key     string // in the informers
}

// follow prints each change of the results of clusters until ctx ends. A question without
// a result waits for one of any of its readings.
func (o *options) follow(ctx context.Context, clusters []*cluster, printer printer) error {
	background, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	changed := make(chan change)
	for _, c := range clusters {
		if err := c.follow(background, &running, changed); err != nil {
			return err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-changed:
			if err := c.print(printer); err != nil {
				return err
			}
		}
	}
}

// follow starts the informers of a cluster, which send their changes once all of them are
// synced.
func (c *cluster) follow(ctx context.Context, running *sync.WaitGroup, changed chan<- change) error {
	background, stop := withWarnings(ctx, c.ErrOut)
	context.AfterFunc(ctx, stop)
	src, followed := c.source.followed(), &followedCluster{cluster: c}
	ready := make(chan struct{})
	stores := map[selection]cache.Store{}
	var synced []cache.InformerSynced
	start := func(s selection) (cache.Store, error) {
		if store, ok := stores[s]; ok {
			return store, nil
		}
		pods, err := src.informer(s)
		if err != nil {
			return nil, err
		}
		if _, err := pods.AddEventHandler(followed.sendKeys(background, ready, changed)); err != nil {
			return nil, err
		}
		running.Go(func() { pods.RunWithContext(background) })
		stores[s], synced = pods.GetStore(), append(synced, pods.HasSynced)
		return pods.GetStore(), nil
	}
	var shown []string
	for i := range c.results {
		f := newFollowedResult(&c.results[i], src.key)
		f.scope = src.undecided(c.scopeOf(c.results[i].question))
		for _, s := range selectionsFor(src, f.terms, len(c.results)) {
			store, err := start(s)
			if err != nil {
				return err
			}
			f.informers = append(f.informers, store)
		}
		followed.followed = append(followed.followed, f)
		shown = slices.AppendSeq(shown, maps.Keys(f.shown))
	}
	slices.Sort(shown)
	running.Go(func() { src.monitor(background) })
	running.Go(func() {
		if !cache.WaitForCacheSync(background.Done(), synced...) {
			return
		}
		for _, key := range slices.Compact(shown) { // deletions before the watch began
			followed.send(background, changed, key)
		}
		close(ready)
	})
	return nil
}

func newFollowedResult(r *result, key func(*v1.Testcr) string) *followedResult {
	f := &followedResult{text: shorten(r.text), terms: r.terms, shown: map[string]row{}}
	if exact, _ := query.Exact(r.terms); len(exact) > 0 {
		f.terms = exact // a Pod that is like the one that is waited for is not that
	}
	switch {
	case len(r.behind) > 0:
		f.terms, f.via = r.behind, r.targets
	case len(r.testcrs) > 0:
		f.terms = []query.Term{r.term}
	}
	if r.err != nil {
		f.terms = nil
	}
	for i, t := range r.testcrs {
		f.shown[key(t)] = row{query: f.text, term: r.term, testcr: t, via: r.viaOf(i)}
	}
	return f
}

// selectionsFor returns what to watch for terms: all Pods if there are many questions, or
// a Service with many Pods, because each would need several watches.
func selectionsFor(src source, terms []query.Term, questions int) []selection {
	if questions > fewQueries || len(terms) > maxSelections {
		return src.selections(nil)
	}
	var all []selection
	for i := range terms {
		all = append(all, src.selections(&terms[i])...)
	}
	return all
}

// sendKeys returns a handler that sends the key of each object that changes, after ready.
func (f *followedCluster) sendKeys(ctx context.Context, ready <-chan struct{}, changed chan<- change) cache.ResourceEventHandler {
	send := func(obj any) {
		key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
		if err != nil {
			return // no object
		}
		select {
		case <-ready:
			f.send(ctx, changed, key)
		case <-ctx.Done():
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: send, UpdateFunc: func(_, obj any) { send(obj) }, DeleteFunc: send}
}

func (f *followedCluster) send(ctx context.Context, changed chan<- change, key string) {
	select {
	case changed <- change{f, key}:
	case <-ctx.Done():
	}
}

// print prints the rows of the Pod, unless its state has been printed.
func (c change) print(printer printer) error {
	all := c.cluster.followed
	for _, f := range all {
		r, ok := f.change(c.key)
		if !ok {
			continue
		}
		r.cluster, r.context = c.cluster.label(), c.cluster.context
		if err := printer.print([]row{r}, shape{several: len(all) > 1, watch: true}); err != nil {
			return err
		}
	}
	return nil
}

// change returns the row of a Pod that has changed, or false if its state has been
// printed.
func (f *followedResult) change(key string) (row, bool) {
	was, wasShown := f.shown[key]
	now := row{query: f.text}
	for _, store := range f.informers {
		obj, ok, err := store.GetByKey(key)
		if err != nil || !ok {
			continue
		}
		t := testcrOf(obj)
		i := slices.IndexFunc(f.terms, func(term query.Term) bool { return fits(t, term, f.scope) })
		if i >= 0 && (now.testcr == nil || isNewer(t, now.testcr)) {
			now.term, now.testcr, now.via = f.terms[i], t, f.via[f.terms[i]]
		}
	}
	switch {
	case now.testcr == nil && !wasShown:
		return row{}, false
	case now.testcr == nil:
		delete(f.shown, key)
		was.event = eventDeleted
		return was, true
	case !wasShown:
		now.event = eventAdded
	case !isNewer(now.testcr, was.testcr):
		return row{}, false
	default:
		now.event = eventModified
	}
	f.shown[key] = now
	return now, true
}

func isNewer(t, than *v1.Testcr) bool {
	return informer.IsNewer(t.ResourceVersion, than.ResourceVersion)
}
