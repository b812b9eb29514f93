package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/heartbeat"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// monitorEvery is how often the heartbeat is read while changes are followed.
const monitorEvery = 30 * time.Second

// source is where answers come from: the Testcrs, or the Pods themselves. The rest of
// the plugin does not know which, because a Pod is turned into its Testcr.
type source interface {
	// answerer returns what answers questions; isMany reports that there are more than
	// fewQueries.
	answerer(ctx context.Context, isMany bool) (answerer, error)
	// book returns the Services and nodes of the cluster.
	book() *addressBook
	// followed returns the source whose changes are to be followed after the answers.
	followed() source
	// selections returns what to watch for a term, or for all Pods if it is nil.
	selections(*query.Term) []selection
	// undecided returns the part of a scope that selections do not decide.
	undecided(in scope) scope
	// informer returns a cache that outlasts outages. The caller runs it.
	informer(selection) (cache.SharedIndexInformer, error)
	// key returns the key of t in the informers.
	key(t *v1.Testcr) string
	// clusterName returns the name that the controller of the cluster was given, or "".
	clusterName() string
	// monitor warns, until ctx ends, once the informers may be outdated.
	monitor(ctx context.Context)
}

// answerer answers the readings of a question, in order and up to the one that is certain.
type answerer interface {
	answer(ctx context.Context, q question) ([]answer, error)
	// listed returns the lists of all Pods that were needed for the answers.
	listed() []*indexFinder
}

// newSource chooses the source: the Testcrs if they can be read and their controller is not
// known to have stopped, else the Pods. watches reports that changes will be followed.
func (o *options) newSource(ctx context.Context, watches bool) (source, error) {
	clients, err := o.newClients()
	if err != nil {
		return nil, err
	}
	pods := o.newPodSource(clients, watches)
	var leases []coordinationv1.Lease
	var reading sync.WaitGroup
	reading.Go(func() { leases, _ = heartbeat.List(ctx, clients.kube.CoordinationV1()) }) // none is no proof: see checkedAnswerer
	verb, err := clients.mayRead(ctx, watches)
	reading.Wait()
	clients.name = heartbeat.ClusterName(leases, clients.clock.now())
	switch {
	case errors.Is(err, errNoTestcrs):
		fmt.Fprintln(o.ErrOut, "note: there are no Testcrs in this cluster: reading the Pods")
		return pods, o.withRemedy(pods.openAlone(ctx), false)
	case apierrors.IsForbidden(err):
		fmt.Fprintf(o.ErrOut, "note: you may not %s Testcrs: reading the Pods\n", verb)
		return pods, o.withRemedy(pods.openAlone(ctx), true)
	case err != nil:
		return nil, err
	}
	testcrs := &testcrSource{clients: clients, scope: o.scope(), pods: pods, errOut: o.ErrOut}
	switch verdict, last := heartbeat.Judge(leases, o.namespace(), clients.clock.now()); verdict {
	case heartbeat.Kept:
		testcrs.isKept = true
		return testcrs, nil
	case heartbeat.Stopped:
		fmt.Fprintln(o.ErrOut, stopped(last, clients.clock.now()))
	case heartbeat.Elsewhere:
		fmt.Fprintf(o.ErrOut, "note: there are Testcrs of the namespaces %s alone: reading the Pods\n", few(heartbeat.Namespaces(leases)))
	default:
		return testcrs, nil
	}
	if err := pods.openAlone(ctx); apierrors.IsForbidden(err) {
		fmt.Fprintln(o.ErrOut, "warning: you may not list Pods: the answer comes from the Testcrs, and may be outdated")
		return testcrs, nil
	} else if err != nil {
		return nil, err
	}
	return pods, nil
}

func stopped(last, now time.Time) string {
	layout := "15:04"
	if now.Sub(last) >= 12*time.Hour {
		layout = "2006-01-02 15:04"
	}
	return fmt.Sprintf("warning: no controller has kept the Testcrs since %s (%s)", last.Local().Format(layout), ago(now.Sub(last)))
}

func ago(d time.Duration) string {
	switch {
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// few returns the first names of a list, which may be long.
func few(names []string) string {
	const shown = 5
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d others", strings.Join(names[:shown], ", "), len(names)-shown)
}

// testcrSource is the source that reads Testcrs.
type testcrSource struct {
	*clients
	scope // of the command line

	pods       *podSource
	errOut     io.Writer
	isKept     bool // a controller is known to keep the Testcrs
	isOutdated bool // a Testcr was found to be
}

func (s *testcrSource) answerer(ctx context.Context, isMany bool) (answerer, error) {
	var testcrs finder = &apiFinder{testcrs: s.testcrs(), scope: s.scope, lists: map[selection][]*v1.Testcr{}}
	if isMany {
		var err error
		if testcrs, err = newIndexFinder(ctx, s.testcrs(), s.scope); err != nil {
			return nil, err
		}
	}
	return &checkedAnswerer{source: s, testcrs: testcrs, checks: maxChecks, pods: newPodFinder(s.pods, s.isKept)}, nil
}

func (s *testcrSource) book() *addressBook { return s.pods.book() }

func (s *testcrSource) followed() source {
	if s.isOutdated && s.pods.isOpen && s.pods.err == nil {
		return s.pods
	}
	return s
}

func (s *testcrSource) undecided(in scope) scope { return in }

func (s *testcrSource) selections(t *query.Term) []selection {
	if t == nil {
		return []selection{{labels: inNamespace(s.namespace)}}
	}
	return selections(*t, s.namespace)
}

func (s *testcrSource) informer(selected selection) (cache.SharedIndexInformer, error) {
	return s.cache(selected)
}

func (s *testcrSource) key(t *v1.Testcr) string { return t.Name }

func (s *testcrSource) monitor(ctx context.Context) {
	if !s.isKept {
		return
	}
	ticker := time.NewTicker(monitorEvery)
	defer ticker.Stop()
	for isKept := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		leases, err := heartbeat.List(ctx, s.kube.CoordinationV1())
		if err != nil {
			continue // the informers report an outage
		}
		now := s.clock.now()
		verdict, last := heartbeat.Judge(leases, s.namespace, now)
		if isKept && verdict == heartbeat.Stopped {
			fmt.Fprintln(s.errOut, stopped(last, now)+": what follows may be outdated")
		}
		isKept = verdict != heartbeat.Stopped
	}
}

// podState is a Pod in an informer: its spec, and the version of the object.
type podState interface {
	index.Record
	GetResourceVersion() string
}

// stateOf returns the state of a Pod that an object or a tombstone of an informer
// describes, or nil.
func stateOf(obj any) podState {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	switch obj := obj.(type) {
	case *testcrcache.Entry:
		if obj.DescribesPod() {
			return obj
		}
	case *podRecord:
		return obj
	}
	return nil
}

// testcrOf returns the Testcr of an object of an informer.
func testcrOf(obj any) *v1.Testcr {
	switch obj := obj.(type) {
	case *testcrcache.Entry:
		return obj.Testcr()
	case *podRecord:
		return obj.testcr()
	}
	return nil
}

// podHandler returns an event handler that calls update with two states of a Pod; nil
// stands for absent.
func podHandler(update func(old, pod podState)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { update(nil, stateOf(obj)) },
		UpdateFunc: func(old, obj any) { update(stateOf(old), stateOf(obj)) },
		DeleteFunc: func(obj any) { update(stateOf(obj), nil) },
	}
}
