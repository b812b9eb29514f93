package plugin

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// maxChecks bounds the Testcrs of one run that are compared with their Pods, and the
// questions for which Pods are selected although a controller keeps the Testcrs. More
// would load the API server as much as a list of all Pods.
const maxChecks = 8

// checkedAnswerer answers from the Testcrs and compares the answers with the Pods: the
// controller may have stopped, or its writes be refused. What the Testcrs lack is looked
// for among the Pods. If a heartbeat proves that Testcrs are kept, only what the API
// server has field selectors for, else everything.
type checkedAnswerer struct {
	source  *testcrSource
	testcrs finder
	pods    *podFinder
	checks  int // that are left
	asked   int // questions to the Pods
	noted   bool
}

func (a *checkedAnswerer) answer(ctx context.Context, q question) ([]answer, error) {
	found, err := findReadings(ctx, a.testcrs, q.terms)
	if err != nil {
		return nil, err
	}
	isOutdated, err := a.check(ctx, q.terms, found)
	if err != nil {
		return nil, err
	}
	isFound := slices.ContainsFunc(found, answer.isFound)
	if isFound && (!isOutdated || a.source.isKept) {
		return found, nil
	}
	live, err := a.askPods(ctx, q.terms)
	switch {
	case err != nil:
		return nil, err
	case live == nil:
		return found, nil
	case !isFound && !isOutdated && slices.ContainsFunc(live, answer.isFound):
		fmt.Fprintf(a.source.errOut, "note: no Testcr has %q: the answer comes from the Pods\n", q.text)
		a.source.isOutdated = !a.source.isKept
	}
	return live, nil
}

func (a *checkedAnswerer) listed() []*indexFinder {
	return append(a.testcrs.listed(), a.pods.listed()...)
}

// askPods answers terms from the Pods, with nil if they cannot be asked.
func (a *checkedAnswerer) askPods(ctx context.Context, terms []query.Term) ([]answer, error) {
	if a.source.isKept && a.asked == maxChecks {
		return nil, nil
	}
	a.asked++
	if err := a.source.pods.open(ctx); apierrors.IsForbidden(err) {
		a.noteUnchecked()
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return findReadings(ctx, a.pods, terms)
}

func (a *checkedAnswerer) noteUnchecked() {
	if !a.noted && !a.source.isKept {
		fmt.Fprintln(a.source.errOut, "note: you may not list Pods: the answer is not compared with them")
		a.noted = true
	}
}

// check compares the UIDs in found with those of the Pods, and replaces each Testcr of
// another Pod by what its Pod calls for, if that has the fact, too.
func (a *checkedAnswerer) check(ctx context.Context, terms []query.Term, found []answer) (isOutdated bool, err error) {
	var testcrs []*v1.Testcr
	for i := range found {
		for _, t := range found[i].testcrs {
			if len(testcrs) < a.checks && !slices.ContainsFunc(testcrs, func(other *v1.Testcr) bool { return samePod(t, other) }) {
				testcrs = append(testcrs, t)
			}
		}
	}
	a.checks -= len(testcrs)
	live, errs := make([]*v1.Testcr, len(testcrs)), make([]error, len(testcrs))
	var running sync.WaitGroup
	for i := range testcrs {
		running.Go(func() { live[i], errs[i] = a.live(ctx, testcrs[i]) })
	}
	running.Wait()
	for i, t := range testcrs {
		if apierrors.IsForbidden(errs[i]) {
			a.noteUnchecked()
			continue
		}
		if errs[i] != nil {
			return false, errs[i]
		}
		if live[i] != t {
			isOutdated = true
			a.replace(terms, found, t, live[i])
		}
	}
	a.source.isOutdated = a.source.isOutdated || isOutdated && !a.source.isKept
	return isOutdated, nil
}

// live returns t if its Pod exists, or the Testcr of the Pod that has its name now, or
// nil.
func (a *checkedAnswerer) live(ctx context.Context, t *v1.Testcr) (*v1.Testcr, error) {
	name := fields.OneTermEqualSelector(metav1.ObjectNameField, t.Spec.PodName).String()
	list, err := a.source.metadata.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(t.Spec.Namespace).
		List(ctx, metav1.ListOptions{FieldSelector: name})
	if err != nil {
		return nil, err
	}
	for i := range list.Items {
		if string(list.Items[i].UID) == t.Spec.PodUID {
			return t, nil
		}
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	pods, err := a.pods.list(ctx, selection{namespace: t.Spec.Namespace, fields: name})
	if err != nil || len(pods) == 0 {
		return nil, err
	}
	return pods[0], nil
}

// replace puts live, or nothing, in place of t.
func (a *checkedAnswerer) replace(terms []query.Term, found []answer, t, live *v1.Testcr) {
	reason := "that Pod is gone"
	if live != nil {
		reason = "another Pod has that name now"
	}
	fmt.Fprintf(a.source.errOut, "note: the Testcr of %s is outdated: %s\n", printable.Text(t.Spec.PodKey), reason)
	for i := range found {
		at := slices.IndexFunc(found[i].testcrs, func(other *v1.Testcr) bool { return samePod(t, other) })
		switch {
		case at < 0:
		case live != nil && fits(live, terms[i], a.source.scope):
			found[i].testcrs[at] = live
		default:
			found[i].testcrs = slices.Delete(found[i].testcrs, at, at+1)
		}
		sortBy(terms[i], found[i].testcrs)
	}
}
