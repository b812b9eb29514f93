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
	// fewQueries are asked one by one, each with two or three requests at once;
	// more of them are answered from one list of all Testcrs. Of 20,000 Testcrs
	// the list takes as long as some 40 queries, but these are work for the API
	// server alone, which others need, too.
	fewQueries = 8
	// pageSize is how many Testcrs are in memory in the form they come in.
	pageSize = 2000
)

// finder finds the Testcrs that each of some terms fits, in the order of
// query.Compare.
type finder interface {
	find(ctx context.Context, terms []query.Term) ([][]*v1.Testcr, error)
}

// server asks the API server for each term.
type server struct {
	testcrs   dynamic.ResourceInterface
	namespace string
	lists     map[selection][]*v1.Testcr // what has been asked for
}

func (s *server) find(ctx context.Context, terms []query.Term) ([][]*v1.Testcr, error) {
	if err := s.ask(ctx, terms); err != nil {
		return nil, explain(err)
	}
	found := make([][]*v1.Testcr, len(terms))
	for i, term := range terms {
		taken := map[string]bool{} // one Testcr may be in two lists, and have changed between them
		for _, selected := range selections(term, s.namespace) {
			for _, t := range s.lists[selected] {
				if fits(t, term, s.namespace) && !taken[t.Name] {
					taken[t.Name] = true
					found[i] = append(found[i], t)
				}
			}
		}
		slices.SortFunc(found[i], func(a, b *v1.Testcr) int { return query.Compare(&a.Spec, &b.Spec) })
	}
	return found, nil
}

// ask asks at once for all that is to be known for terms and is not yet.
func (s *server) ask(ctx context.Context, terms []query.Term) error {
	var asked []selection
	for _, term := range terms {
		for _, selected := range selections(term, s.namespace) {
			if _, known := s.lists[selected]; !known && !slices.Contains(asked, selected) {
				asked = append(asked, selected)
			}
		}
	}
	lists, errs := make([][]*v1.Testcr, len(asked)), make([]error, len(asked))
	var running sync.WaitGroup
	for i := range asked {
		running.Go(func() { lists[i], errs[i] = s.list(ctx, asked[i]) })
	}
	running.Wait()
	for i := range asked {
		if errs[i] != nil {
			return errs[i] // one of them stands for all
		}
		s.lists[asked[i]] = lists[i]
	}
	return nil
}

// list asks for version 0: the API server then answers from its watch cache at
// once, without a word with etcd. The answer may be milliseconds old, as the
// Testcrs themselves are; from an API server that has been cut off from etcd it
// is as old as that.
func (s *server) list(ctx context.Context, selected selection) ([]*v1.Testcr, error) {
	options := metav1.ListOptions{ResourceVersion: "0"}
	selected.apply(&options)
	list, err := s.testcrs.List(ctx, options)
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
func fits(t *v1.Testcr, term query.Term, namespace string) bool {
	return t != nil && t.DescribesPod() && (namespace == "" || t.Spec.Namespace == namespace) && term.Matches(&t.Spec)
}

// selections returns what to ask the API server for to get all that t fits, and
// little else. The union of them is the answer.
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
		// The API server reads this one object. A get would do no less, and take
		// one more right.
		key, _ := cache.ParseObjectName(t.Text)
		field, value = "metadata.name", v1.NameFor(types.NamespacedName(key))
	case query.UID:
		field = "spec.poduid"
	case query.Name:
		field = "spec.podname"
	case query.Node:
		field = "spec.nodename"
	case query.Namespace:
		field = "spec.namespace"
	case query.HostIP:
		field = "spec.hostip"
	}
	return []selection{{labels: in, fields: fields.OneTermEqualSelector(field, value).String()}}
}

// workloadLabels returns the values of the label that Pods of t may have: those
// of a ReplicaSet carry the name of the Deployment behind it.
func workloadLabels(t query.Term) []string {
	values := []string{v1.LabelValue(t.Text)}
	if dash := strings.LastIndexByte(t.Text, '-'); dash > 0 && (t.OwnerKind == "" || t.OwnerKind == "replicaset") {
		values = append(values, v1.LabelValue(t.Text[:dash]))
	}
	return values
}

// listed is a finder with one list of all Testcrs.
type listed struct {
	index   *index.Index
	testcrs map[*v1.TestcrSpec]*v1.Testcr
}

// record is a Testcr in an index.
type record struct{ testcr *v1.Testcr }

func (r record) Spec() *v1.TestcrSpec { return &r.testcr.Spec }

// list reads all Testcrs page by page: one page is decoded while the next is on
// its way, and none is kept. The pages are of one moment.
func list(ctx context.Context, testcrs dynamic.ResourceInterface, namespace string) (*listed, error) {
	l := &listed{index: index.New(), testcrs: map[*v1.TestcrSpec]*v1.Testcr{}}
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return testcrs.List(ctx, options)
	})
	pages.PageSize = pageSize
	pages.PageBufferSize = 1
	err := pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: inNamespace(namespace)}, func(obj runtime.Object) error {
		if t := decode(obj); t != nil && t.DescribesPod() && (namespace == "" || t.Spec.Namespace == namespace) {
			l.index.Put(record{t}, t.ResourceVersion)
			l.testcrs[&t.Spec] = t
		}
		return nil
	})
	return l, explain(err)
}

func (l *listed) find(_ context.Context, terms []query.Term) ([][]*v1.Testcr, error) {
	found := make([][]*v1.Testcr, len(terms))
	for i, t := range terms {
		specs, _, _ := l.index.Find(nil, index.Query{Terms: []query.Term{t}})
		for _, spec := range specs {
			found[i] = append(found[i], l.testcrs[spec])
		}
	}
	return found, nil
}
