package plugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	// podPageSize bounds how many Pods are in memory whole, some 10 KB each.
	podPageSize = 500
	// maxNamespaces bounds the reviews of rights.
	maxNamespaces = 5000
	// maxSelections bounds the lists with selectors that are requested at once. A text has
	// fewer facts, but a Service may have more Pods.
	maxSelections = 32
	// reviewers is how many reviews are requested at once.
	reviewers = 16
)

// podSource is the source that reads the Pods themselves.
type podSource struct {
	*clients
	scope // of the command line

	current string // the namespace of the context
	watches bool
	errOut  io.Writer

	addresses *addressBook

	isAlone    bool // no Testcrs complete it
	isOpen     bool
	namespaces []string // to read, metav1.NamespaceAll for all
	err        error    // why none can be read
}

func (o *options) newPodSource(clients *clients, watches bool) *podSource {
	s := &podSource{clients: clients, scope: o.scope(), watches: watches, errOut: o.ErrOut}
	s.addresses = &addressBook{pods: s}
	s.current, _, _ = o.config.ToRawKubeConfigLoader().Namespace() // an error was reported when the clients were made
	return s
}

// open finds out which namespaces the user may read, once.
func (s *podSource) open(ctx context.Context) error {
	if s.isOpen {
		return s.err
	}
	s.isOpen = true
	refused := s.mayRead(ctx, s.namespace)
	switch {
	case refused == nil:
		s.namespaces = []string{s.namespace}
	case !apierrors.IsForbidden(refused) || s.namespace != metav1.NamespaceAll:
		s.err = refused
	default:
		if s.namespaces, s.err = s.readable(ctx); s.err == nil && len(s.namespaces) == 0 {
			s.err = refused
		}
	}
	return s.err
}

// openAlone is open for a source that no Testcrs complete: it reports which namespaces
// are left out.
func (s *podSource) openAlone(ctx context.Context) error {
	err := s.open(ctx)
	s.isAlone = true
	if err == nil && !slices.Contains(s.namespaces, s.namespace) {
		fmt.Fprintf(s.errOut, "note: you may list the Pods of these namespaces alone, others are not searched: %s\n", few(s.namespaces))
	}
	return err
}

// allNamespaces is what searched returns if nothing was left out.
const allNamespaces = "all namespaces"

// searched returns the namespaces whose Pods were looked at. Those of Testcrs are more if
// the user may list Testcrs, but not all Pods.
func (s *podSource) searched() string {
	switch {
	case s.namespace != "":
		return fmt.Sprintf("namespace %q", s.namespace)
	case s.isAlone && s.err == nil && !slices.Contains(s.namespaces, metav1.NamespaceAll):
		return "the namespaces " + few(s.namespaces) + " alone"
	}
	return allNamespaces
}

// mayRead returns the error of a list, and of a watch if changes will be followed.
func (s *podSource) mayRead(ctx context.Context, namespace string) error {
	pods := s.kube.CoreV1().Pods(namespace)
	list, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil || !s.watches {
		return err
	}
	w, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err == nil {
		w.Stop()
	}
	return err
}

// readable returns the namespaces whose Pods the user may read. Without the right to
// list namespaces only that of the context is tried.
func (s *podSource) readable(ctx context.Context) ([]string, error) {
	candidates := []string{s.current}
	list, err := s.metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).List(ctx, metav1.ListOptions{Limit: maxNamespaces})
	if err == nil {
		candidates = nil
		for i := range list.Items {
			candidates = append(candidates, list.Items[i].Name)
		}
	} else if !apierrors.IsForbidden(err) {
		return nil, err
	}
	isAllowed, errs := make([]bool, len(candidates)), make([]error, len(candidates))
	var running sync.WaitGroup
	next := make(chan int)
	for range min(reviewers, len(candidates)) {
		running.Go(func() {
			for i := range next {
				isAllowed[i], errs[i] = s.review(ctx, candidates[i])
			}
		})
	}
	for i := range candidates {
		next <- i
	}
	close(next)
	running.Wait()
	var allowed []string
	for i, namespace := range candidates {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if isAllowed[i] {
			allowed = append(allowed, namespace)
		}
	}
	return allowed, nil
}

// review asks the API server for the rights, as `kubectl auth can-i` does.
func (s *podSource) review(ctx context.Context, namespace string) (bool, error) {
	verbs := []string{"list"}
	if s.watches {
		verbs = append(verbs, "watch")
	}
	for _, verb := range verbs {
		review, err := s.kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Resource: "pods", Namespace: namespace},
			},
		}, metav1.CreateOptions{})
		if err != nil || !review.Status.Allowed {
			return false, err
		}
	}
	return true, nil
}

func (s *podSource) answerer(ctx context.Context, isMany bool) (answerer, error) {
	f := newPodFinder(s, false)
	if isMany {
		return f, f.load(ctx)
	}
	return f, nil
}

func (s *podSource) book() *addressBook { return s.addresses }

func (s *podSource) followed() source { return s }

func (s *podSource) undecided(in scope) scope { return in.withoutLabels() }

func (s *podSource) selections(t *query.Term) []selection {
	if t != nil {
		if selected, isExact := s.selectionsOf(*t); isExact {
			return selected
		}
	}
	var all []selection
	for _, namespace := range s.namespaces {
		all = append(all, selection{namespace: namespace, labels: s.podLabels()})
	}
	return all
}

// selectionsOf returns what selects the Pods that match a term, if the API server has a
// field selector for it. isExact is false if there may be others.
func (s *podSource) selectionsOf(t query.Term) (all []selection, isExact bool) {
	reads := func(namespace string) bool {
		return slices.Contains(s.namespaces, metav1.NamespaceAll) || slices.Contains(s.namespaces, namespace)
	}
	if !t.IsExact() {
		return nil, false
	}
	var field string
	isExact = true
	switch t.Kind {
	case query.Key:
		key, err := cache.ParseObjectName(t.Text)
		if err != nil || !reads(key.Namespace) {
			return nil, true
		}
		return []selection{{namespace: key.Namespace, labels: s.podLabels(), fields: fields.OneTermEqualSelector("metadata.name", key.Name).String()}}, true
	case query.Namespace:
		if !reads(t.Text) {
			return nil, true
		}
		return []selection{{namespace: t.Text, labels: s.podLabels()}}, true
	case query.Name:
		field = "metadata.name"
	case query.Node:
		field = "spec.nodeName"
	case query.IP:
		field, isExact = "status.podIP", false // the first IP alone
	default:
		return nil, false
	}
	if len(s.namespaces) > fewQueries { // one list of each costs as much
		return nil, false
	}
	for _, namespace := range s.namespaces {
		all = append(all, selection{namespace: namespace, labels: s.podLabels(), fields: fields.OneTermEqualSelector(field, t.Text).String()})
	}
	return all, isExact
}

func (s *podSource) informer(selected selection) (cache.SharedIndexInformer, error) {
	pods, strings := s.kube.CoreV1().Pods(selected.namespace), &dedup.Pool{}
	return informer.New(informer.Config{
		Resource: "pods", Object: &corev1.Pod{}, Client: s.kube,
		Transform: func(obj any) (any, error) {
			if pod, ok := obj.(*corev1.Pod); ok {
				return newPodRecord(pod, strings), nil
			}
			return obj, nil
		},
		List: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			selected.apply(&options)
			return pods.List(ctx, options)
		},
		Watch: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			selected.apply(&options)
			return pods.Watch(ctx, options)
		},
	})
}

func (s *podSource) key(t *v1.Testcr) string { return t.Spec.PodKey }

func (s *podSource) monitor(context.Context) {} // Pods are never outdated

// podRecord is a Pod as the spec of its Testcr.
type podRecord struct {
	resourceVersion string
	spec            v1.TestcrSpec
}

func newPodRecord(pod *corev1.Pod, strings *dedup.Pool) *podRecord {
	r := &podRecord{resourceVersion: pod.ResourceVersion, spec: desired.Spec(pod)}
	strings.Spec(&r.spec)
	return r
}

// Spec returns the spec of the Testcr.
func (r *podRecord) Spec() *v1.TestcrSpec { return &r.spec }

// GetResourceVersion returns the version of the Pod.
func (r *podRecord) GetResourceVersion() string { return r.resourceVersion }

// testcr returns the Testcr of the Pod, with the version of the Pod.
func (r *podRecord) testcr() *v1.Testcr {
	t := desired.FromSpec(&r.spec)
	t.ResourceVersion = r.resourceVersion
	return t
}

// GetObjectMeta returns the metadata that an informer reads.
func (r *podRecord) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{
		Namespace: r.spec.Namespace, Name: r.spec.PodName, UID: types.UID(r.spec.PodUID), ResourceVersion: r.resourceVersion,
	}
}

// podFinder is a finder of Pods. It requests those that a field selector selects, and
// lists all of them, once, for what has no selector.
type podFinder struct {
	source        *podSource
	selectorsOnly bool // what has no selector is not looked for
	lists         map[selection][]*v1.Testcr
	all           *indexFinder // nil before the list
	strings       *dedup.Pool
}

func newPodFinder(s *podSource, selectorsOnly bool) *podFinder {
	return &podFinder{source: s, selectorsOnly: selectorsOnly, lists: map[selection][]*v1.Testcr{}, strings: &dedup.Pool{}}
}

func (f *podFinder) answer(ctx context.Context, q question) ([]answer, error) {
	return findReadings(ctx, f, q.terms)
}

func (f *podFinder) listed() []*indexFinder {
	if f.all == nil {
		return nil
	}
	return f.all.listed()
}

func (f *podFinder) find(ctx context.Context, terms []query.Term, isMatched bool) ([]answer, error) {
	if f.all == nil && len(terms) > maxSelections {
		if err := f.load(ctx); err != nil {
			return nil, err
		}
	}
	if f.all != nil {
		return f.all.find(ctx, terms, isMatched)
	}
	found, isComplete, err := f.findSelected(ctx, terms)
	if err != nil {
		return nil, err
	}
	if isComplete || f.selectorsOnly {
		return found, nil
	}
	if isMatched || slices.ContainsFunc(found, answer.isFound) {
		for i := range found {
			_, isExact := f.source.selectionsOf(terms[i])
			found[i].isSkipped = !isExact && !found[i].isFound()
		}
		return found, nil
	}
	if err := f.load(ctx); err != nil {
		return nil, err
	}
	return f.all.find(ctx, terms, isMatched)
}

// findSelected answers terms by field selectors. isComplete reports that no other Pod
// can match.
func (f *podFinder) findSelected(ctx context.Context, terms []query.Term) (found []answer, isComplete bool, err error) {
	var wanted []selection
	isComplete = true
	for _, t := range terms {
		selected, isExact := f.source.selectionsOf(t)
		wanted = append(wanted, selected...)
		isComplete = isComplete && isExact
	}
	if err := fetchAll(f.lists, wanted, func(s selection) ([]*v1.Testcr, error) { return f.list(ctx, s) }); err != nil {
		return nil, false, err
	}
	found = make([]answer, len(terms))
	for i, term := range terms {
		selected, _ := f.source.selectionsOf(term)
		for _, s := range selected {
			for _, t := range f.lists[s] {
				if fits(t, term, f.source.withoutLabels()) {
					found[i].testcrs = append(found[i].testcrs, t)
				}
			}
		}
		sortBy(term, found[i].testcrs)
	}
	return found, isComplete, nil
}

// list returns the selected Pods as they are now.
func (f *podFinder) list(ctx context.Context, selected selection) ([]*v1.Testcr, error) {
	var testcrs []*v1.Testcr
	strings := &dedup.Pool{} // several lists are read at once
	err := f.eachPod(ctx, selected, nil, func(pod *corev1.Pod) { testcrs = append(testcrs, newPodRecord(pod, strings).testcr()) })
	return testcrs, err
}

// load lists all Pods that the user may read. Each is indexed as it comes, and nothing
// else of it is kept.
func (f *podFinder) load(ctx context.Context) error {
	all := &indexFinder{index: index.New()}
	records := map[*v1.TestcrSpec]*podRecord{}
	all.testcr = func(spec *v1.TestcrSpec) *v1.Testcr { return records[spec].testcr() }
	progress := newProgress(f.source.errOut)
	defer progress.end()
	for _, selected := range f.source.selections(nil) {
		err := f.eachPod(ctx, selected, progress, func(pod *corev1.Pod) {
			r := newPodRecord(pod, f.strings)
			if !f.source.withoutLabels().contains(&r.spec) {
				return
			}
			records[&r.spec] = r
			all.index.Put(r, r.resourceVersion)
		})
		if err != nil {
			return err
		}
	}
	f.all = all
	return nil
}

// eachPod calls do for each selected Pod. The next page is requested while one is read.
func (f *podFinder) eachPod(ctx context.Context, selected selection, progress *progress, do func(*corev1.Pod)) error {
	pods := f.source.kube.CoreV1().Pods(selected.namespace)
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		list, err := pods.List(ctx, options)
		if err == nil {
			progress.page(len(list.Items), list.RemainingItemCount)
		}
		return list, err
	})
	pages.PageSize, pages.PageBufferSize = podPageSize, 1
	pages.FullListIfExpired = false // all Pods at once may be more than fits into memory
	var options metav1.ListOptions
	selected.apply(&options)
	return pages.EachListItem(ctx, options, func(obj runtime.Object) error {
		if pod, ok := obj.(*corev1.Pod); ok {
			do(pod)
		}
		return nil
	})
}

// progress shows on a terminal how many Pods are read. A nil one shows nothing.
type progress struct {
	out  io.Writer
	read int
	long bool // there was more than one page
}

// newProgress returns nil unless out, or the writer that it wraps, is a terminal.
func newProgress(out io.Writer) *progress {
	if lines, ok := out.(printable.Lines); ok {
		out = lines.Writer
	}
	file, ok := out.(*os.File)
	if !ok {
		return nil
	}
	if info, err := file.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return &progress{out: file}
}

// page is called for one page after another.
func (p *progress) page(n int, remaining *int64) {
	if p == nil {
		return
	}
	p.read += n
	if remaining == nil && !p.long {
		return
	}
	p.long = true
	total := ""
	if remaining != nil {
		total = fmt.Sprintf(" of %d", int64(p.read)+*remaining)
	}
	fmt.Fprintf(p.out, "\rReading Pods: %d%s\x1b[K", p.read, total)
}

func (p *progress) end() {
	if p != nil && p.long {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
