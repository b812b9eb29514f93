package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"
)

// crdPoll is how often the API server is asked for the CRD while it is missing,
// and only then: it bounds the wait after the CRD is established. A watch on the
// CRD itself would need a right that nothing else here needs.
const crdPoll = 250 * time.Millisecond

// CRDError says what is wrong with the CRD, and what to do about it.
type CRDError string

func (e CRDError) Error() string { return string(e) }

// ErrCRDMissing says that the API server does not serve Testcrs.
const ErrCRDMissing = CRDError("the CRD testcrs.stable.example.com is missing: kubectl apply -f yaml/testcrd.yaml")

// CheckCRD asks the API server whether it serves Testcrs the way this program
// writes them. It returns a CRDError when it does not, or the request's own
// error.
func CheckCRD(ctx context.Context, client discovery.DiscoveryInterfaceWithContext) error {
	gvr := GroupVersionResource
	resources, err := client.ServerResourcesForGroupVersionWithContext(ctx, gvr.GroupVersion().String())
	if apierrors.IsNotFound(err) {
		return checkOtherVersions(ctx, client)
	}
	if err != nil {
		return err
	}
	for i := range resources.APIResources {
		switch r := &resources.APIResources[i]; {
		case r.Name != gvr.Resource:
		case r.Namespaced:
			return CRDError("the CRD testcrs.stable.example.com is of scope Namespaced, this program needs Cluster: " +
				"kubectl delete crd testcrs.stable.example.com, then kubectl apply -f yaml/testcrd.yaml")
		case len(r.Verbs) > 0 && !slices.Contains(r.Verbs, "create"):
			return ErrCRDTerminating
		default:
			return nil
		}
	}
	return ErrCRDMissing
}

func checkOtherVersions(ctx context.Context, client discovery.DiscoveryInterfaceWithContext) error {
	groups, err := client.ServerGroupsWithContext(ctx)
	if err != nil {
		return err
	}
	for i := range groups.Groups {
		g := &groups.Groups[i]
		ours := slices.ContainsFunc(g.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == GroupVersionResource.Version })
		if g.Name == GroupVersionResource.Group && !ours { // ours: it has come since
			return CRDError(fmt.Sprintf("the API server serves %s, this program needs %s: kubectl apply -f yaml/testcrd.yaml",
				g.PreferredVersion.GroupVersion, GroupVersionResource.GroupVersion()))
		}
	}
	return ErrCRDMissing
}

// TestcrInformer is the observed side: a dynamic informer whose cache holds
// *Testcr, that waits out a missing CRD, and that knows what this program wrote
// before the watch has brought it back.
type TestcrInformer struct {
	Informer

	client  dynamic.ResourceInterface
	check   func(context.Context) error
	kept    keeper
	missing atomic.Pointer[error] // why there are no Testcrs, nil when there are
	// The API server takes no new Testcrs; terminating once that is reported.
	closed, terminating atomic.Bool
	doubts              chan struct{} // the CRD is to be asked for
	// Called with the cause when the CRD begins to be missed, and when it is back.
	onLost     func(error)
	onReturned func()

	mu   sync.Mutex
	news map[string]newer // by name, what is known from requests and not yet from the watch
	void string           // cached Testcrs up to this version went with the CRD; "" when there are none such
}

// newer is one Testcr as a request left it.
type newer struct {
	testcr  *Testcr   // nil: deleted
	deleted types.UID // the one that is gone
	sweeps  int       // that have met it
}

const (
	// A write whose version the cache is past is forgotten by the second sweep
	// that meets it: at the first its event may be on the way to the handler.
	sweepsOfWrite = 2
	// A deletion has no version, so a watch that is behind gets this long for it.
	sweepsOfDeletion = 20
)

// NewTestcrInformer returns an informer that has yet to be run. It lists and
// watches through reader, or through client if that is nil. check tells whether
// the API server serves Testcrs (CheckCRD); it is asked before each list and
// watch.
func NewTestcrInformer(client dynamic.Interface, reader TestcrReader, check func(context.Context) error) (*TestcrInformer, error) {
	i := &TestcrInformer{
		client:     client.Resource(GroupVersionResource),
		check:      check,
		onLost:     func(error) {},
		onReturned: func() {},
		doubts:     make(chan struct{}, 1),
		news:       map[string]newer{},
	}
	if reader == nil {
		reader = dynamicReader{i.client}
	}
	i.OnBack(i.back)
	return i, i.init(&Testcr{}, GroupVersionResource.Resource, client, i.keep,
		func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			whole := options.Limit != probeLimit
			return onceServed(ctx, i, whole, func() (runtime.Object, error) { return reader.List(ctx, options) })
		},
		func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			whole := options.SendInitialEvents != nil && *options.SendInitialEvents
			return onceServed(ctx, i, whole, func() (watch.Interface, error) { return reader.Watch(ctx, options) })
		})
}

// keep is a cache.TransformFunc that makes a Testcr small before it is shared;
// one that is in the cache already passes as it is.
func (i *TestcrInformer) keep(obj any) (any, error) {
	obj, err := DecodeTestcr(obj)
	if t, ok := obj.(*Testcr); ok && !t.kept {
		t.kept = true
		t.compact()
		if _, ok := t.PodKey(); ok { // what another podkey stands for is shared with nothing
			i.kept.share(&t.Spec)
		}
	}
	return obj, err
}

// onceServed makes a request as soon as the API server serves Testcrs: the CRD's
// return is noticed within crdPoll. whole says that the answer begins with all
// Testcrs.
func onceServed[T any](ctx context.Context, i *TestcrInformer, whole bool, request func() (T, error)) (T, error) {
	for {
		err := i.check(ctx)
		if errors.Is(err, ErrCRDTerminating) { // Testcrs can still be read
			i.refused()
			err = nil
		}
		if err == nil {
			i.found(ctx)
			var result T
			if result, err = whileValid(i, whole, request); !apierrors.IsNotFound(err) {
				return result, err
			}
			// 404 after a good check: the CRD went in between, or one API server
			// of several has yet to hear of it.
			err = ErrCRDMissing
		}
		if crd := CRDError(""); !errors.As(err, &crd) {
			return *new(T), err
		}
		i.lost(ctx, err)
		select {
		case <-ctx.Done():
			return *new(T), ctx.Err()
		case <-time.After(crdPoll):
		}
	}
}

// whileValid makes a request for the cache as it is, unless that went with the
// CRD: then the informer must ask for all Testcrs first.
func whileValid[T any](i *TestcrInformer, whole bool, request func() (T, error)) (T, error) {
	i.mu.Lock()
	void := i.void
	i.mu.Unlock()
	if void != "" && !whole {
		return *new(T), apierrors.NewResourceExpired("the CRD was deleted meanwhile")
	}
	result, err := request()
	if err == nil && void != "" {
		i.mu.Lock()
		i.void = ""
		i.mu.Unlock()
	}
	return result, err
}

// lost takes note that there is no CRD: all Testcrs have gone with it, whether
// the watch tells so now or only after the next list.
func (i *TestcrInformer) lost(ctx context.Context, err error) {
	old := i.missing.Swap(&err)
	if old == nil {
		i.mu.Lock()
		i.void = i.GetStore().LastStoreSyncResourceVersion()
		clear(i.news)
		i.mu.Unlock()
	}
	if old == nil || (*old).Error() != err.Error() {
		klog.FromContext(ctx).Error(err, "Waiting for the CRD")
		i.onLost(err)
	}
}

func (i *TestcrInformer) found(ctx context.Context) {
	if i.missing.Swap(nil) != nil {
		klog.FromContext(ctx).Info("The CRD is served, going on")
		i.onReturned()
	}
}

// Missing returns why the API server serves no Testcrs or takes no new ones, or
// nil.
func (i *TestcrInformer) Missing() error {
	if err := i.missing.Load(); err != nil {
		return *err
	}
	if i.terminating.Load() {
		return ErrCRDTerminating
	}
	return nil
}

// get returns the newest known Testcr called name, nil when there is none. It
// is shared: callers must not change it.
func (i *TestcrInformer) get(name string) *Testcr {
	i.mu.Lock()
	defer i.mu.Unlock()
	n, ok := i.news[name]
	// The store's own version is read before the store: what it has seen by
	// then, the read below sees too.
	if ok && n.testcr != nil && !i.seen(n.testcr.ResourceVersion) {
		return n.testcr
	}
	cached := i.cached(name)
	if cached != nil && i.void != "" && !isNewer(cached.ResourceVersion, i.void) {
		return nil
	}
	if ok && n.testcr == nil && cached != nil && cached.UID == n.deleted {
		return nil
	}
	return cached
}

func (i *TestcrInformer) cached(name string) *Testcr {
	if obj, ok, err := i.GetStore().GetByKey(name); err == nil && ok {
		return obj.(*Testcr)
	}
	return nil
}

// seen reports whether the cache holds all that happened up to version. Where
// the store does not tell (client-go's feature AtomicFIFO off) it answers true:
// the API server then refuses a write that rests on an old read.
func (i *TestcrInformer) seen(version string) bool {
	return !isNewer(version, i.GetStore().LastStoreSyncResourceVersion())
}

func isNewer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order > 0
}

// live reads the Testcr called name from the API server, nil when there is
// none. have is what it was thought to be.
func (i *TestcrInformer) live(ctx context.Context, name string, have *Testcr) (*Testcr, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	u, err := i.client.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !isCRDGone(err) {
		if have != nil {
			i.learnGone(name, have.UID)
		}
		return nil, nil
	}
	if err != nil {
		return nil, withRemedy(err)
	}
	t := decodeTestcr(u)
	i.learn(t)
	return t, nil
}

// isStale reports whether the API server refused a write because what it rests
// on is no longer so.
func isStale(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) && !isCRDGone(err)
}

// isCRDGone tells the 404 of a missing resource from that of a missing object,
// and the refusal of a CRD that is being deleted from that of a missing right or
// verb: there only the message differs. It is a 403, before Kubernetes 1.34 a 405.
func isCRDGone(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) ||
		(apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err)) &&
			strings.Contains(err.Error(), "custom resource definition is terminating")
}

// withRemedy adds what to do about a missing right. The refusal of an admission
// policy says so itself.
func withRemedy(err error) error {
	if apierrors.IsForbidden(err) && !isCRDGone(err) && !strings.Contains(err.Error(), "AdmissionPolicy") {
		return fmt.Errorf("%w: yaml/rbac.yaml has the rule that is missing", err)
	}
	return err
}

// learn records t as a request returned it.
func (i *TestcrInformer) learn(t *Testcr) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.news[t.Name] = newer{testcr: t}
}

// learnGone records that the Testcr called name with this UID is no more.
func (i *TestcrInformer) learnGone(name string, uid types.UID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.news[name] = newer{deleted: uid}
}

// forgetWrites forgets what requests returned, so that the watch alone counts.
func (i *TestcrInformer) forgetWrites() {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.news)
}

// saw forgets what the watch has now told, too. gone says that t was deleted.
func (i *TestcrInformer) saw(t *Testcr, gone bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n, ok := i.news[t.Name]
	if ok && (n.testcr != nil && i.seen(n.testcr.ResourceVersion) || n.testcr == nil && gone && t.UID == n.deleted) {
		delete(i.news, t.Name)
	}
}

// back drops the answers of requests. A restore of etcd has undone those writes,
// and the cache reaches their versions only after as many other writes.
func (i *TestcrInformer) back(string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	clear(i.news)
}

// sweep forgets what the watch will never tell, and returns the Testcrs that
// are to be looked at again for it: one that was written and then deleted by
// somebody else while the watch was cut is in neither list, so no handler
// hears of it. One that was deleted and is still in the cache was restored with
// a backup of etcd.
func (i *TestcrInformer) sweep() []*Testcr {
	i.mu.Lock()
	defer i.mu.Unlock()
	var unheard []*Testcr
	for name, n := range i.news {
		most := sweepsOfDeletion
		if n.testcr != nil {
			if !i.seen(n.testcr.ResourceVersion) {
				continue
			}
			most = sweepsOfWrite
		}
		if n.sweeps++; n.sweeps < most {
			i.news[name] = n
			continue
		}
		delete(i.news, name)
		if n.testcr != nil {
			unheard = append(unheard, n.testcr)
		} else if t := i.cached(name); t != nil && t.UID == n.deleted {
			unheard = append(unheard, t)
		}
	}
	return unheard
}
