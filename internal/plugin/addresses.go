package plugin

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/addresses"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	// maxAddrs bounds the IPs of one text that are looked for beyond the Pods.
	maxAddrs = 8
	// maxServiceLists bounds the namespaces whose Services are listed one by one.
	maxServiceLists = 50
	// objectPageSize bounds how many Services or nodes are in memory whole.
	objectPageSize = 500
)

// addressBook has the Services and the nodes of the cluster, as far as the user may list
// them. They are read once, when the first IP is not found among the Pods.
type addressBook struct {
	pods  *podSource
	table *addresses.Table // nil before
	gaps  addresses.Gaps
}

// target is a Service or a node that is asked for.
type target struct {
	name  string       // "service shop/cart", "node worker-1"
	terms []query.Term // its Pods
}

// find returns the Services and the nodes that terms are facts of, and a sentence about
// each IP in them. Both are empty if there is no such fact.
func (b *addressBook) find(ctx context.Context, terms []query.Term) (targets []target, sentences []string, err error) {
	var addrs []netip.Addr
	for _, t := range terms {
		isAddr := (t.Kind == query.IP || t.Kind == query.HostIP) && t.IsExact()
		if isAddr && !slices.Contains(addrs, t.Addr) && len(addrs) < maxAddrs {
			addrs = append(addrs, t.Addr)
		}
	}
	namespace, name := serviceIn(terms)
	if len(addrs) == 0 && name == "" {
		return nil, nil, nil
	}
	if err := b.load(ctx); err != nil {
		return nil, nil, err
	}
	for _, addr := range addrs {
		f := b.table.Lookup(addr, nil)
		if err := b.loadEndpoints(ctx, f.Services); err != nil {
			return nil, nil, err
		}
		f = b.table.Lookup(addr, nil)
		for i := range f.Services {
			targets = append(targets, serviceTarget(&f.Services[i]))
		}
		for _, n := range f.Nodes {
			targets = append(targets, target{name: "node " + n.Name, terms: []query.Term{{Kind: query.Node, Text: n.Name}}})
		}
		sentences = append(sentences, f.Describe(b.gaps))
	}
	if name == "" {
		return targets, sentences, nil
	}
	services, _ := b.table.Services(namespace, name, nil)
	if err := b.loadEndpoints(ctx, services); err != nil {
		return nil, nil, err
	}
	services, more := b.table.Services(namespace, name, nil)
	for i := range services {
		targets = append(targets, serviceTarget(&services[i]))
	}
	if len(services) > 0 {
		sentences = append(sentences, fmt.Sprintf("%q is %s", name, addresses.DescribeServices(services, more)))
	} else if b.gaps.Services != "" {
		sentences = append(sentences, b.gaps.Services)
	}
	return targets, sentences, nil
}

// serviceIn returns the Service that terms name: in kubectl's TYPE/NAME or as a DNS name.
func serviceIn(terms []query.Term) (namespace, name string) {
	for _, t := range terms {
		if t.IsService() {
			if namespace, name, ok := strings.Cut(t.Text, "/"); ok {
				return namespace, name
			}
			return "", t.Text
		}
	}
	return "", ""
}

func serviceTarget(s *addresses.ServiceIP) target {
	h := target{name: fmt.Sprintf("service %s/%s", s.Namespace, s.Name)}
	for _, e := range s.Endpoints {
		if e.Pod != "" {
			h.terms = append(h.terms, query.Term{Kind: query.Key, Text: s.Namespace + "/" + e.Pod})
		} else if t, err := query.ParseAs(query.IP, e.IP); err == nil {
			h.terms = append(h.terms, t)
		}
	}
	return h
}

func (b *addressBook) load(ctx context.Context) error {
	if b.table != nil {
		return nil
	}
	table := addresses.NewTable()
	var running sync.WaitGroup
	var errs [3]error
	running.Go(func() { b.gaps.Services, errs[0] = b.listServices(ctx, table) })
	running.Go(func() { b.gaps.Nodes, errs[1] = b.listNodes(ctx, table) })
	running.Go(func() { b.gaps.ServiceRanges, errs[2] = b.listServiceRanges(ctx, table) })
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	if b.gaps == (addresses.Gaps{Services: notListed("services"), Nodes: notListed("nodes"), ServiceRanges: notListed("servicecidrs")}) {
		all := notListed("services, nodes and servicecidrs")
		b.gaps = addresses.Gaps{Services: all, Nodes: all, ServiceRanges: all}
	}
	if where := b.pods.searched(); where != allNamespaces {
		b.gaps.Pods = "only Pods in " + where + " were looked at"
	}
	b.table = table
	return nil
}

// gapOf returns the reason of a refusal, or err if it is not one.
func gapOf(err error, resource string) (gap string, other error) {
	switch {
	case apierrors.IsForbidden(err):
		return notListed(resource), nil
	case apierrors.IsNotFound(err): // before Kubernetes 1.33
		return fmt.Sprintf("this API server has no %s", resource), nil
	}
	return "", err
}

func notListed(resources string) string {
	return fmt.Sprintf("%s were not looked at, because you may not list them", resources)
}

func (b *addressBook) listServices(ctx context.Context, table *addresses.Table) (gap string, err error) {
	list := func(namespace string) error {
		services := b.pods.kube.CoreV1().Services(namespace)
		return eachObject(ctx, func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return services.List(ctx, options)
		}, func(s *corev1.Service) { table.PutService(addresses.NewService(s)) })
	}
	err = list(b.pods.namespace)
	switch {
	case err == nil && b.pods.namespace != "":
		return fmt.Sprintf("only services in namespace %q were looked at", b.pods.namespace), nil
	case err == nil:
		return "", nil
	}
	gap, err = gapOf(err, "services")
	if err != nil || b.pods.open(ctx) != nil {
		return gap, err
	}
	namespaces := slices.DeleteFunc(slices.Clone(b.pods.namespaces), func(n string) bool { return n == b.pods.namespace })
	var read []string
	for _, namespace := range namespaces[:min(len(namespaces), maxServiceLists)] {
		err := list(namespace)
		if apierrors.IsForbidden(err) {
			continue
		} else if err != nil {
			return "", err
		}
		read = append(read, namespace)
	}
	if len(read) == 0 {
		return gap, nil
	}
	return "only services in these namespaces were looked at: " + few(read), nil
}

func (b *addressBook) listNodes(ctx context.Context, table *addresses.Table) (gap string, err error) {
	nodes := b.pods.kube.CoreV1().Nodes()
	err = eachObject(ctx, func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return nodes.List(ctx, options)
	}, func(n *corev1.Node) { table.PutNode(addresses.NewNode(n)) })
	return gapOf(err, "nodes")
}

func (b *addressBook) listServiceRanges(ctx context.Context, table *addresses.Table) (gap string, err error) {
	ranges := b.pods.kube.NetworkingV1().ServiceCIDRs()
	var all []networkingv1.ServiceCIDR
	err = eachObject(ctx, func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return ranges.List(ctx, options)
	}, func(r *networkingv1.ServiceCIDR) { all = append(all, *r) })
	table.SetServiceRanges(all)
	return gapOf(err, "servicecidrs")
}

// loadEndpoints reads the endpoints of services.
func (b *addressBook) loadEndpoints(ctx context.Context, services []addresses.ServiceIP) error {
	for i := range services {
		s := &services[i]
		slices := b.pods.kube.DiscoveryV1().EndpointSlices(s.Namespace)
		err := eachObject(ctx, func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = discoveryv1.LabelServiceName + "=" + s.Name
			return slices.List(ctx, options)
		}, func(slice *discoveryv1.EndpointSlice) { b.table.PutSlice(nil, addresses.NewSlice(slice)) })
		if apierrors.IsForbidden(err) {
			fmt.Fprintf(b.pods.errOut, "note: you may not list the endpointslices of service %s/%s: its Pods are not known\n", s.Namespace, s.Name)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// eachObject calls do for each object of a list.
func eachObject[T runtime.Object](ctx context.Context, list pager.ListPageFunc, do func(T)) error {
	pages := pager.New(list)
	pages.PageSize, pages.PageBufferSize, pages.FullListIfExpired = objectPageSize, 1, false
	return pages.EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		if t, ok := obj.(T); ok {
			do(t)
		}
		return nil
	})
}

// resolveTargets answers r with the Pods of the Services and nodes that it is about. It
// returns a sentence for each IP.
func (o *options) resolveTargets(ctx context.Context, answers answerer, book *addressBook, r *result) (sentences []string, err error) {
	targets, sentences, err := book.find(ctx, r.terms)
	if err != nil {
		return nil, err
	}
	r.isAddress = len(targets) > 0
	for _, h := range targets {
		if len(h.terms) == 0 {
			continue
		}
		found, err := answers.answer(ctx, question{text: r.text, terms: h.terms})
		if err != nil {
			return nil, err
		}
		r.behind = append(r.behind, h.terms...)
		for _, t := range h.terms {
			if r.targets == nil {
				r.targets = map[query.Term]string{}
			}
			r.targets[t] = h.name
		}
		// The answer is complete with the first Pod that matches: the others may have no
		// Testcr yet.
		if missing := unmatched(h.terms, found); len(missing) > 0 && len(missing) < len(h.terms) {
			rest, err := answers.answer(ctx, question{text: r.text, terms: missing})
			if err != nil {
				return nil, err
			}
			found = append(found, rest...)
			if lost := unmatched(missing, rest); len(lost) > 0 {
				sentences = append(sentences, fmt.Sprintf("%d Pods of %s were not found", len(lost), h.name))
			}
		}
		for i := range found {
			for _, t := range found[i].testcrs {
				if !slices.ContainsFunc(r.testcrs, func(other *v1.Testcr) bool { return samePod(t, other) }) {
					r.testcrs, r.via = append(r.testcrs, t), append(r.via, h.name)
				}
			}
		}
	}
	if o.watch && slices.ContainsFunc(r.behind, func(t query.Term) bool { return t.Kind != query.Node }) {
		sentences = append(sentences, "-w follows these Pods, not the Service")
	}
	return sentences, nil
}

// unmatched returns the Pods among terms that have no answer.
func unmatched(terms []query.Term, found []answer) (missing []query.Term) {
	for i, t := range terms {
		if t.Kind == query.Key && (i >= len(found) || !found[i].isFound()) {
			missing = append(missing, t)
		}
	}
	return missing
}

// watchAddresses returns a cache of what the flags of annotate ask for, or nil. A right
// that is missing is an error, because informers would retry without end.
func (o *options) watchAddresses(ctx context.Context, book *addressBook, changed func([]netip.Addr)) (*addresses.Cache, error) {
	if !o.services && !o.nodes {
		return nil, nil
	}
	kube, namespace := book.pods.kube, o.namespace()
	var tries []func(metav1.ListOptions) error
	if o.services {
		tries = append(tries,
			func(options metav1.ListOptions) error {
				_, err := kube.CoreV1().Services(namespace).List(ctx, options)
				return err
			},
			func(options metav1.ListOptions) error {
				_, err := kube.DiscoveryV1().EndpointSlices(namespace).List(ctx, options)
				return err
			})
	}
	if o.nodes {
		tries = append(tries, func(options metav1.ListOptions) error { _, err := kube.CoreV1().Nodes().List(ctx, options); return err })
	}
	for _, try := range tries {
		if err := try(metav1.ListOptions{Limit: 1}); err != nil {
			return nil, err
		}
	}
	config := addresses.Config{Client: kube, Services: o.services, Nodes: o.nodes}
	if namespace != "" {
		config.Namespaces = []string{namespace}
	}
	return addresses.NewCache(config, changed)
}
