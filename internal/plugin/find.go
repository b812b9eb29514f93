package plugin

import (
	"context"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
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
	find(ctx context.Context, terms []query.Term) ([][]*podinfolookup.Testcr, error)
}

// server asks the API server for each term.
type server struct {
	testcrs   dynamic.ResourceInterface
	namespace string
	lists     map[selection][]*podinfolookup.Testcr // what has been asked for
}

func (s *server) find(ctx context.Context, terms []query.Term) ([][]*podinfolookup.Testcr, error) {
	if err := s.ask(ctx, terms); err != nil {
		return nil, explain(err)
	}
	found := make([][]*podinfolookup.Testcr, len(terms))
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
		slices.SortFunc(found[i], query.Compare)
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
	lists, errs := make([][]*podinfolookup.Testcr, len(asked)), make([]error, len(asked))
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
func (s *server) list(ctx context.Context, selected selection) ([]*podinfolookup.Testcr, error) {
	options := metav1.ListOptions{ResourceVersion: "0"}
	selected.apply(&options)
	list, err := s.testcrs.List(ctx, options)
	if err != nil {
		return nil, err
	}
	testcrs := make([]*podinfolookup.Testcr, len(list.Items))
	for i := range list.Items {
		testcrs[i] = decode(&list.Items[i])
	}
	return testcrs, nil
}

func decode(obj runtime.Object) *podinfolookup.Testcr {
	decoded, _ := podinfolookup.DecodeTestcr(obj) // it never fails
	t, _ := decoded.(*podinfolookup.Testcr)
	return t
}

// fits trusts no selector: labels and specs may have been changed by hand, and
// a Testcr that is not named for its Pod, or has outlived it, tells of none.
func fits(t *podinfolookup.Testcr, term query.Term, namespace string) bool {
	if t == nil || !t.Managed() || t.Emptied() || namespace != "" && t.Spec.Namespace != namespace {
		return false
	}
	_, ok := t.PodKey()
	return ok && term.Matches(t)
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
	more := podinfolookup.LabelMore + "=true"
	field, value := "", t.Text
	switch t.Kind {
	case query.IP:
		return labeled(podinfolookup.LabelIP(t.Addr), more)
	case query.Container:
		if label, ok := podinfolookup.LabelContainer(t.Text); ok {
			return labeled(label, more)
		}
		return labeled(more)
	case query.Workload:
		return labeled(podinfolookup.LabelWorkload + " in (" + strings.Join(workloadLabels(t), ",") + ")")
	case query.Key:
		// The API server reads this one object. A get would do no less, and take
		// one more right.
		key, _ := cache.ParseObjectName(t.Text)
		field, value = "metadata.name", podinfolookup.NameFor(key)
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
	values := []string{podinfolookup.LabelValue(t.Text)}
	if dash := strings.LastIndexByte(t.Text, '-'); dash > 0 && (t.OwnerKind == "" || t.OwnerKind == "replicaset") {
		values = append(values, podinfolookup.LabelValue(t.Text[:dash]))
	}
	return values
}

// listed answers from one list of all Testcrs.
type listed struct{ index *index.Index }

// list reads all Testcrs page by page: one page is decoded while the next is on
// its way, and none is kept. The pages are of one moment.
func list(ctx context.Context, testcrs dynamic.ResourceInterface, namespace string) (*listed, error) {
	x := index.New()
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return testcrs.List(ctx, options)
	})
	pages.PageSize = pageSize
	pages.PageBufferSize = 1
	err := pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: inNamespace(namespace)}, func(obj runtime.Object) error {
		if t := decode(obj); t != nil && (namespace == "" || t.Spec.Namespace == namespace) {
			x.Set(nil, t)
		}
		return nil
	})
	return &listed{x}, explain(err)
}

func (l *listed) find(_ context.Context, terms []query.Term) ([][]*podinfolookup.Testcr, error) {
	found := make([][]*podinfolookup.Testcr, len(terms))
	for i, t := range terms {
		found[i], _, _ = l.index.Find(nil, index.Query{Terms: []query.Term{t}})
	}
	return found, nil
}
