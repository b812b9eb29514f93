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
	text      string
	terms     []query.Term // in order; the first that matches counts
	informers []cache.Store
	shown     map[string]row // by the key in the informers
}

// follow prints each change of results until ctx ends. A question without a result waits
// for one of any of its readings.
func (o *options) follow(ctx context.Context, src source, printer printer, results []result) error {
	background, stop := withWarnings(ctx, o.ErrOut)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()

	changed := make(chan string) // keys of what the informers have
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
		if _, err := pods.AddEventHandler(sendKeys(background, changed)); err != nil {
			return nil, err
		}
		running.Go(func() { pods.RunWithContext(background) })
		stores[s], synced = pods.GetStore(), append(synced, pods.HasSynced)
		return pods.GetStore(), nil
	}
	var all []*followedResult
	for i := range results {
		f := newFollowedResult(&results[i], src.key)
		for _, s := range selectionsFor(src, f.terms, len(results)) {
			store, err := start(s)
			if err != nil {
				return err
			}
			f.informers = append(f.informers, store)
		}
		all = append(all, f)
	}
	running.Go(func() { src.monitor(background) })
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	return o.printChanges(ctx, printer, all, changed)
}

func newFollowedResult(r *result, key func(*v1.Testcr) string) *followedResult {
	f := &followedResult{text: shorten(r.text), terms: r.terms, shown: map[string]row{}}
	if exact, _ := query.Exact(r.terms); len(exact) > 0 {
		f.terms = exact // a Pod that is like the one that is waited for is not that
	}
	switch {
	case len(r.behind) > 0:
		f.terms = r.behind
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

// selectionsFor returns what to watch for terms: all Pods if there are many questions,
// because each would need several watches.
func selectionsFor(src source, terms []query.Term, questions int) []selection {
	if questions > fewQueries {
		return src.selections(nil)
	}
	var all []selection
	for i := range terms {
		all = append(all, src.selections(&terms[i])...)
	}
	return all
}

// sendKeys returns a handler that sends the key of each object that changes.
func sendKeys(ctx context.Context, changed chan<- string) cache.ResourceEventHandler {
	send := func(obj any) {
		key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
		if err != nil {
			return // no object
		}
		select {
		case changed <- key:
		case <-ctx.Done():
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: send, UpdateFunc: func(_, obj any) { send(obj) }, DeleteFunc: send}
}

func (o *options) printChanges(ctx context.Context, printer printer, all []*followedResult, changed <-chan string) error {
	show := func(f *followedResult, key string) error {
		r, ok := f.change(key, o.namespace())
		if !ok {
			return nil
		}
		return printer.print([]row{r}, shape{several: len(all) > 1, watch: true})
	}
	for _, f := range all { // deletions before the watch began
		for _, key := range slices.Sorted(maps.Keys(f.shown)) {
			if err := show(f, key); err != nil {
				return err
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case key := <-changed:
			for _, f := range all {
				if err := show(f, key); err != nil {
					return err
				}
			}
		}
	}
}

// change returns the row of a Pod that has changed, or false if its state has been
// printed.
func (f *followedResult) change(key, namespace string) (row, bool) {
	was, wasShown := f.shown[key]
	now := row{query: f.text, via: was.via}
	for _, store := range f.informers {
		obj, ok, err := store.GetByKey(key)
		if err != nil || !ok {
			continue
		}
		t := testcrOf(obj)
		i := slices.IndexFunc(f.terms, func(term query.Term) bool { return fits(t, term, namespace) })
		if i >= 0 && (now.testcr == nil || isNewer(t, now.testcr)) {
			now.term, now.testcr = f.terms[i], t
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
