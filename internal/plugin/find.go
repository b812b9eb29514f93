package plugin

import (
	"context"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

const (
	// Up to fewQueries are sent one by one, each as two or three concurrent requests.
	// More are answered from one list of all Testcrs. With 20,000 Testcrs the list
	// takes as long as 40 queries, but queries load the API server more.
	fewQueries = 8
	// pageSize bounds how many Testcrs are in memory undecoded.
	pageSize = 2000
)

// answer contains the Testcrs that match a term, in the order of query.Compare. Those
// that are made from Pods have no UID.
type answer struct {
	testcrs   []*v1.Testcr
	isSkipped bool // nothing was looked for
}

// finder answers terms. isMatched reports that another reading of the same question has
// a match, so that an expensive search for more may be skipped.
type finder interface {
	find(ctx context.Context, terms []query.Term, isMatched bool) ([]answer, error)
	// listed returns the lists of all Pods that were needed for the answers.
	listed() []*indexFinder
}

// apiFinder sends requests to the API server for each term.
type apiFinder struct {
	scope

	testcrs dynamic.ResourceInterface
	lists   map[selection][]*v1.Testcr // the answers so far
	all     *indexFinder               // for terms that no selector finds, and for many; nil before these
}

func (f *apiFinder) find(ctx context.Context, terms []query.Term, _ bool) ([]answer, error) {
	if len(terms) > fewQueries || slices.ContainsFunc(terms, func(t query.Term) bool { return !t.IsExact() }) {
		if f.all == nil {
			var err error
			if f.all, err = newIndexFinder(ctx, f.testcrs, f.scope); err != nil {
				return nil, err
			}
		}
		return f.all.find(ctx, terms, false)
	}
	if err := f.fetch(ctx, terms); err != nil {
		return nil, explain(err)
	}
	found := make([]answer, len(terms))
	for i, term := range terms {
		taken := map[string]bool{} // a Testcr may be in two lists, in different states
		for _, selected := range selections(term, f.namespace) {
			for _, t := range f.lists[selected] {
				if fits(t, term, f.scope) && !taken[t.Name] {
					taken[t.Name] = true
					found[i].testcrs = append(found[i].testcrs, t)
				}
			}
		}
		sortBy(term, found[i].testcrs)
	}
	return found, nil
}

// sortBy sorts the Testcrs that match a term.
func sortBy(term query.Term, testcrs []*v1.Testcr) {
	terms := []query.Term{term}
	slices.SortFunc(testcrs, func(a, b *v1.Testcr) int { return query.CompareFor(terms, &a.Spec, &b.Spec) })
}

func (f *apiFinder) listed() []*indexFinder {
	if f.all == nil {
		return nil
	}
	return f.all.listed()
}

// fetch requests the lists for terms that f does not have yet.
func (f *apiFinder) fetch(ctx context.Context, terms []query.Term) error {
	var wanted []selection
	for _, term := range terms {
		wanted = append(wanted, selections(term, f.namespace)...)
	}
	return fetchAll(f.lists, wanted, func(s selection) ([]*v1.Testcr, error) { return f.list(ctx, s) })
}

// fetchAll adds to lists those that are wanted and missing, with concurrent requests.
func fetchAll(lists map[selection][]*v1.Testcr, wanted []selection, list func(selection) ([]*v1.Testcr, error)) error {
	var missing []selection
	for _, s := range wanted {
		if _, known := lists[s]; !known && !slices.Contains(missing, s) {
			missing = append(missing, s)
		}
	}
	results, errs := make([][]*v1.Testcr, len(missing)), make([]error, len(missing))
	var running sync.WaitGroup
	for i := range missing {
		running.Go(func() { results[i], errs[i] = list(missing[i]) })
	}
	running.Wait()
	for i := range missing {
		if errs[i] != nil {
			return errs[i] // the first represents all
		}
		lists[missing[i]] = results[i]
	}
	return nil
}

// list requests version 0, so that the API server answers from its watch cache without
// calling etcd. The answer may be milliseconds old, as Testcrs are too. If the API
// server is cut off from etcd, the answer is as old as the outage.
func (f *apiFinder) list(ctx context.Context, selected selection) ([]*v1.Testcr, error) {
	options := metav1.ListOptions{ResourceVersion: "0"}
	selected.apply(&options)
	list, err := f.testcrs.List(ctx, options)
	if err != nil {
		return nil, err
	}
	testcrs := make([]*v1.Testcr, len(list.Items))
	for i := range list.Items {
		testcrs[i] = decode(&list.Items[i])
	}
	return testcrs, nil
}

// decode returns nil for an object that has no metadata of a Testcr.
func decode(obj runtime.Object) *v1.Testcr {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	t, err := wire.Decode(u)
	if err != nil {
		return nil
	}
	return &t.Testcr
}

// fits reports whether a selected Testcr has a fact. The selector is not enough, because
// labels and specs can be edited by hand.
func fits(t *v1.Testcr, term query.Term, in scope) bool {
	if t == nil || !t.DescribesPod() {
		return false
	}
	isMatch := term.Matches(&t.Spec)
	// The scope also records a Pod that has lost the label of a query.
	return (isMatch || term.Kind == query.Label) && in.contains(&t.Spec) && isMatch
}

// selections returns selectors whose union contains all Testcrs that match t, and few
// others.
func selections(t query.Term, namespace string) []selection {
	in := inNamespace(namespace)
	labeled := func(labels ...string) (all []selection) {
		for _, l := range labels {
			if in != "" {
				l += "," + in
			}
			all = append(all, selection{labels: l})
		}
		return all
	}
	if !t.IsExact() {
		return []selection{{labels: in}}
	}
	more := v1.LabelMore + "=true"
	field, value := "", t.Text
	switch t.Kind {
	case query.IP:
		return labeled(v1.LabelIP(t.Addr), more)
	case query.Container:
		if label, ok := v1.LabelContainer(t.Text); ok {
			return labeled(label, more)
		}
		return labeled(more)
	case query.Workload:
		return labeled(v1.LabelWorkload + " in (" + strings.Join(workloadLabels(t), ",") + ")")
	case query.Key:
		// The API server reads this one object. A get costs as much, and needs one
		// more right.
		key, _ := cache.ParseObjectName(t.Text)
		field, value = "metadata.name", v1.NameFor(types.NamespacedName(key))
	case query.UID:
		all := []selection{{labels: in, fields: fields.OneTermEqualSelector("spec.poduid", t.Text).String()}}
		if label, ok := v1.LabelNodeUID(t.Text); ok {
			all = append(all, labeled(label)...)
		}
		return all
	case query.Name:
		field = "spec.podname"
	case query.Node:
		field = "spec.nodename"
	case query.Namespace:
		field = "spec.namespace"
	case query.HostIP:
		byField := selection{labels: in, fields: fields.OneTermEqualSelector("spec.hostip", t.Text).String()}
		return append(labeled(v1.LabelHostIP(t.Addr)), byField)
	case query.Image, query.Label:
		return []selection{{labels: in}}
	}
	return []selection{{labels: in, fields: fields.OneTermEqualSelector(field, value).String()}}
}

// workloadLabels returns the values of the label that Pods of t may have: Pods of a
// ReplicaSet have the name of its Deployment.
func workloadLabels(t query.Term) []string {
	values := []string{v1.LabelValue(t.Text)}
	if dash := strings.LastIndexByte(t.Text, '-'); dash > 0 && (t.OwnerKind == "" || t.OwnerKind == "replicaset") {
		values = append(values, v1.LabelValue(t.Text[:dash]))
	}
	return values
}

// indexFinder is a finder with an index of all Testcrs, or of all Pods.
type indexFinder struct {
	index  *index.Index
	testcr func(*v1.TestcrSpec) *v1.Testcr
}

// record is a Testcr in an index.
type record struct{ testcr *v1.Testcr }

func (r record) Spec() *v1.TestcrSpec { return &r.testcr.Spec }

// newIndexFinder lists all Testcrs page by page, all at one resource version. A page is
// decoded while the next is requested, and is not kept.
func newIndexFinder(ctx context.Context, testcrs dynamic.ResourceInterface, in scope) (*indexFinder, error) {
	bySpec := map[*v1.TestcrSpec]*v1.Testcr{}
	f := &indexFinder{index: index.New(), testcr: func(spec *v1.TestcrSpec) *v1.Testcr { return bySpec[spec] }}
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return testcrs.List(ctx, options)
	})
	pages.PageSize = pageSize
	pages.PageBufferSize = 1
	err := pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: inNamespace(in.namespace)}, func(obj runtime.Object) error {
		if t := decode(obj); t != nil && t.DescribesPod() && in.contains(&t.Spec) {
			f.index.Put(record{t}, t.ResourceVersion)
			bySpec[&t.Spec] = t
		}
		return nil
	})
	return f, explain(err)
}

func (f *indexFinder) find(_ context.Context, terms []query.Term, _ bool) ([]answer, error) {
	found := make([]answer, len(terms))
	for i, t := range terms {
		specs, _, _ := f.index.Find(nil, index.Query{Terms: []query.Term{t}})
		for _, spec := range specs {
			found[i].testcrs = append(found[i].testcrs, f.testcr(spec))
		}
	}
	return found, nil
}

func (f *indexFinder) listed() []*indexFinder { return []*indexFinder{f} }
