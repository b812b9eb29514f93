package plugin

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
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
	shown     map[string]row // by the name of the Testcr
}

// follow prints each change of results until ctx ends. A question without a result waits
// for one of any of its readings.
func (o *options) follow(ctx context.Context, clients *clients, printer printer, results []result) error {
	background, stop := withWarnings(ctx, o.ErrOut)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()

	changed := make(chan string) // names of Testcrs
	stores := map[selection]cache.Store{}
	var synced []cache.InformerSynced
	start := func(s selection) (cache.Store, error) {
		if store, ok := stores[s]; ok {
			return store, nil
		}
		testcrs, err := clients.cache(s)
		if err != nil {
			return nil, err
		}
		if _, err := testcrs.AddEventHandler(sendNames(background, changed)); err != nil {
			return nil, err
		}
		running.Go(func() { testcrs.RunWithContext(background) })
		stores[s], synced = testcrs.GetStore(), append(synced, testcrs.HasSynced)
		return testcrs.GetStore(), nil
	}
	var all []*followedResult
	for i := range results {
		f := newFollowedResult(&results[i])
		for _, s := range o.selectionsFor(f.terms, len(results)) {
			store, err := start(s)
			if err != nil {
				return err
			}
			f.informers = append(f.informers, store)
		}
		all = append(all, f)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	return o.printChanges(ctx, printer, all, changed)
}

func newFollowedResult(r *result) *followedResult {
	f := &followedResult{text: shorten(r.text), terms: r.terms, shown: map[string]row{}}
	if exact, _ := query.Exact(r.terms); len(exact) > 0 {
		f.terms = exact // a Pod that is like the one that is waited for is not that
	}
	if len(r.testcrs) > 0 {
		f.terms = []query.Term{r.term}
	}
	if r.err != nil {
		f.terms = nil
	}
	for _, t := range r.testcrs {
		f.shown[t.Name] = row{query: f.text, term: r.term, testcr: t}
	}
	return f
}

// selectionsFor returns what to watch for terms: all Testcrs if there are many
// questions, because each would need several watches.
func (o *options) selectionsFor(terms []query.Term, questions int) (all []selection) {
	if questions > fewQueries {
		return []selection{{labels: inNamespace(o.namespace())}}
	}
	for _, t := range terms {
		all = append(all, selections(t, o.namespace())...)
	}
	return all
}

// sendNames returns a handler that sends the name of each Testcr that changes.
func sendNames(ctx context.Context, changed chan<- string) cache.ResourceEventHandler {
	send := func(obj any) {
		name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
		if err != nil {
			return // not a Testcr
		}
		select {
		case changed <- name:
		case <-ctx.Done():
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: send, UpdateFunc: func(_, obj any) { send(obj) }, DeleteFunc: send}
}

func (o *options) printChanges(ctx context.Context, printer printer, all []*followedResult, changed <-chan string) error {
	show := func(f *followedResult, name string) error {
		r, ok := f.change(name, o.namespace())
		if !ok {
			return nil
		}
		return printer.print([]row{r}, shape{several: len(all) > 1, watch: true})
	}
	for _, f := range all { // deletions before the watch began
		names := make([]string, 0, len(f.shown))
		for name := range f.shown {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			if err := show(f, name); err != nil {
				return err
			}
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case name := <-changed:
			for _, f := range all {
				if err := show(f, name); err != nil {
					return err
				}
			}
		}
	}
}

// change returns the row of a Testcr that has changed, or false if its state has been
// printed.
func (f *followedResult) change(name, namespace string) (row, bool) {
	was, wasShown := f.shown[name]
	now := row{query: f.text}
	for _, store := range f.informers {
		obj, ok, err := store.GetByKey(name)
		if err != nil || !ok {
			continue
		}
		t := obj.(*testcrcache.Entry).Testcr()
		i := slices.IndexFunc(f.terms, func(term query.Term) bool { return fits(t, term, namespace) })
		if i >= 0 && (now.testcr == nil || isNewer(t, now.testcr)) {
			now.term, now.testcr = f.terms[i], t
		}
	}
	switch {
	case now.testcr == nil && !wasShown:
		return row{}, false
	case now.testcr == nil:
		delete(f.shown, name)
		was.event = eventDeleted
		return was, true
	case !wasShown:
		now.event = eventAdded
	case !isNewer(now.testcr, was.testcr):
		return row{}, false
	default:
		now.event = eventModified
	}
	f.shown[name] = now
	return now, true
}

func isNewer(t, than *v1.Testcr) bool {
	return informer.IsNewer(t.ResourceVersion, than.ResourceVersion)
}
