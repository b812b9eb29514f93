package addresses

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/informer"
)

const (
	// rangesEvery is how often the Service ranges are read. They hardly ever change.
	rangesEvery = time.Minute
	// rangesTimeout bounds one read of them.
	rangesTimeout = 30 * time.Second
	// staleAfter is the age from which a Finding reports it. It is more than the 15 s
	// that a dead connection of a watch takes to be closed.
	staleAfter = 20 * time.Second
)

// Config configures a Cache.
type Config struct {
	Client     kubernetes.Interface
	Services   bool     // read Services, their endpoints and the Service ranges
	Nodes      bool     // read nodes
	Namespaces []string // of Services; none is all
}

// Cache is a Table that informers keep up to date.
type Cache struct {
	*Table

	config    Config
	informers []*informer.Informer
	synced    []cache.DoneChecker
	changed   func([]netip.Addr)
	rangesGap atomic.Pointer[string] // why the Service ranges are not known, "" if they are
}

// NewCache returns a cache that the caller runs. changed is called after each change,
// from several goroutines, with the IPs whose Services or nodes may have changed.
func NewCache(config Config, changed func([]netip.Addr)) (*Cache, error) {
	c := &Cache{Table: NewTable(), config: config, changed: changed}
	namespaces := config.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	var errs []error
	if config.Services {
		for _, namespace := range namespaces {
			services, slices := config.Client.CoreV1().Services(namespace), config.Client.DiscoveryV1().EndpointSlices(namespace)
			errs = append(errs,
				add(c, "services", &corev1.Service{}, NewService, lister(services.List), services.Watch,
					func(_, s *Service) { c.PutService(s) }, c.RemoveService),
				add(c, "endpointslices", &discoveryv1.EndpointSlice{}, NewSlice, lister(slices.List), slices.Watch, c.PutSlice, c.RemoveSlice))
		}
	}
	if config.Nodes {
		nodes := config.Client.CoreV1().Nodes()
		errs = append(errs, add(c, "nodes", &corev1.Node{}, NewNode, lister(nodes.List), nodes.Watch, func(_, n *Node) { c.PutNode(n) }, c.RemoveNode))
	}
	return c, errors.Join(errs...)
}

// lister returns a list function that returns any object.
func lister[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) func(context.Context, metav1.ListOptions) (runtime.Object, error) {
	return func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return list(ctx, options)
	}
}

// trimmed is a pointer to a part of an object.
type trimmed[T any] interface {
	*T
	addrs() []netip.Addr
	isSame(other *T) bool
}

// add adds an informer of objects that trim makes smaller.
func add[Whole runtime.Object, T any, P trimmed[T]](
	c *Cache, resource string, object Whole, trim func(Whole) P,
	list func(context.Context, metav1.ListOptions) (runtime.Object, error),
	watches func(context.Context, metav1.ListOptions) (watch.Interface, error),
	put func(old, now P), remove func(P),
) error {
	i, err := informer.New(informer.Config{
		Resource: resource, Object: object, Client: c.config.Client, List: list, Watch: watches,
		Transform: func(obj any) (any, error) {
			if whole, ok := obj.(Whole); ok {
				return trim(whole), nil
			}
			return obj, nil
		},
	})
	if err != nil {
		return err
	}
	registration, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if now, ok := obj.(P); ok {
				put(nil, now)
				c.changed(now.addrs())
			}
		},
		UpdateFunc: func(was, obj any) {
			old, hadOld := was.(P)
			now, ok := obj.(P)
			if !ok {
				return
			}
			if hadOld && old.isSame(now) { // nodes report their state all the time
				return
			}
			put(old, now)
			addrs := now.addrs()
			if hadOld {
				addrs = append(addrs, old.addrs()...)
			}
			c.changed(addrs)
		},
		DeleteFunc: func(obj any) {
			if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = tombstone.Obj
			}
			if old, ok := obj.(P); ok {
				remove(old)
				c.changed(old.addrs())
			}
		},
	})
	if err != nil {
		return err
	}
	c.informers, c.synced = append(c.informers, i), append(c.synced, registration.HasSyncedChecker())
	return nil
}

// RunWithContext runs the informers until ctx ends.
func (c *Cache) RunWithContext(ctx context.Context) {
	var running sync.WaitGroup
	for _, i := range c.informers {
		running.Go(func() { i.RunWithContext(ctx) })
	}
	if c.config.Services {
		running.Go(func() { wait.UntilWithContext(ctx, c.readRanges, rangesEvery) })
	}
	running.Wait()
}

// readRanges reads the Service ranges. They need a right on the whole cluster, and
// Kubernetes 1.33, so they are optional.
func (c *Cache) readRanges(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, rangesTimeout)
	defer cancel()
	list, err := c.config.Client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	var gap string
	switch {
	case err == nil:
		c.SetServiceRanges(list.Items)
	case apierrors.IsForbidden(err):
		gap = "servicecidrs are not looked at: yaml/rbac-services.yaml has the right that is missing"
	case apierrors.IsNotFound(err):
		gap = "this API server has no servicecidrs"
	case c.rangesGap.Load() != nil: // an outage, which the informers report
		return
	default:
		gap = "servicecidrs could not be read yet"
	}
	c.rangesGap.Store(&gap)
}

// asOf returns a time up to which the whole cache is known to be current: see
// informer.AsOf.
func (c *Cache) asOf() time.Time {
	oldest := time.Now()
	for _, i := range c.informers {
		if asOf := i.AsOf(); asOf.Before(oldest) {
			oldest = asOf
		}
	}
	return oldest
}

// Gaps returns what the cache does not have.
func (c *Cache) Gaps() Gaps {
	g := Gaps{Services: "services are not looked at without --services", Nodes: "nodes are not looked at without --nodes"}
	if len(c.config.Namespaces) > 0 {
		g.Pods = "only Pods in the namespaces of --namespace are known"
	}
	if age := time.Since(c.asOf()); age > staleAfter && c.Synced() == nil {
		g.Stale = fmt.Sprintf("services and nodes were last read %.0f s ago", age.Seconds())
	}
	if c.config.Services {
		g.Services = ""
		if len(c.config.Namespaces) > 0 {
			g.Services = "only services in the namespaces of --namespace are looked at"
		}
		if gap := c.rangesGap.Load(); gap != nil {
			g.ServiceRanges = *gap
		}
	}
	if c.config.Nodes {
		g.Nodes = ""
	}
	return g
}

// Synced returns nil once the table contains the objects of the first lists.
func (c *Cache) Synced() error {
	for _, handler := range c.synced {
		select {
		case <-handler.Done():
		default:
			return errors.New("services and nodes are not synced yet: try again")
		}
	}
	return nil
}
