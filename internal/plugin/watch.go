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

// What --output-watch-events tells.
const (
	eventAdded    = string(watch.Added)
	eventModified = string(watch.Modified)
	eventDeleted  = string(watch.Deleted)
)

// followed is an answer that is kept up to date. What it shows is compared with
// what the informers know by now, whatever event it was that woke it: so a watch
// that was cut or came too late loses nothing but intermediate states.
type followed struct {
	text      string
	terms     []query.Term // one after another, the answer fits any of them
	informers []cache.Store
	shown     map[string]row // by the name of the Testcr
}

// follow prints each change of answers until ctx ends. A question without an
// answer waits for one, by any of its readings.
func (o *options) follow(ctx context.Context, clients *clients, printer printer, answers []answer) error {
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
		if _, err := testcrs.AddEventHandler(telling(background, changed)); err != nil {
			return nil, err
		}
		running.Go(func() { testcrs.RunWithContext(background) })
		stores[s], synced = testcrs.GetStore(), append(synced, testcrs.HasSynced)
		return testcrs.GetStore(), nil
	}
	var all []*followed
	for i := range answers {
		f := newFollowed(&answers[i])
		for _, s := range o.watched(f.terms, len(answers)) {
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

func newFollowed(a *answer) *followed {
	f := &followed{text: a.text, terms: a.terms, shown: map[string]row{}}
	if len(a.testcrs) > 0 {
		f.terms = []query.Term{a.term}
	}
	if a.err != nil {
		f.terms = nil
	}
	for _, t := range a.testcrs {
		f.shown[t.Name] = row{query: a.text, term: a.term, testcr: t}
	}
	return f
}

// watched returns what to watch for terms: all Testcrs where there are many
// questions, instead of several watches for each.
func (o *options) watched(terms []query.Term, questions int) (all []selection) {
	if questions > fewQueries {
		return []selection{{labels: inNamespace(o.namespace())}}
	}
	for _, t := range terms {
		all = append(all, selections(t, o.namespace())...)
	}
	return all
}

// telling hands on the name of each Testcr that changes.
func telling(ctx context.Context, changed chan<- string) cache.ResourceEventHandler {
	tell := func(obj any) {
		name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
		if err != nil {
			return // only Testcrs come here
		}
		select {
		case changed <- name:
		case <-ctx.Done():
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: tell, UpdateFunc: func(_, obj any) { tell(obj) }, DeleteFunc: tell}
}

func (o *options) printChanges(ctx context.Context, printer printer, all []*followed, changed <-chan string) error {
	show := func(f *followed, name string) error {
		r, ok := f.change(name, o.namespace())
		if !ok {
			return nil
		}
		return printer.print([]row{r}, shape{several: len(all) > 1, watch: true})
	}
	for _, f := range all { // what went before the watch began
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

// change returns what has become of the Testcr called name, false if that has
// been shown.
func (f *followed) change(name, namespace string) (row, bool) {
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
