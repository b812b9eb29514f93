package testcrcache

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
	"k8s.io/client-go/discovery"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// crdPoll is the interval of requests for the CRD while it is missing, and only then.
// It bounds the wait after the CRD is established. A watch of the CRD would need a
// right that nothing else here needs.
const crdPoll = 250 * time.Millisecond

// terminatingPolls is how many requests in a row must find the CRD terminating before
// it is reported. Without finalizers the CRD is gone by then, and reported as missing.
const terminatingPolls = 2

// CRDError describes what is wrong with the CRD and what to do about it.
type CRDError string

func (e CRDError) Error() string { return string(e) }

const (
	// ErrCRDMissing reports that the API server does not serve Testcrs.
	ErrCRDMissing = CRDError("the CRD testcrs.stable.example.com is missing: kubectl apply -f yaml/testcrd.yaml")
	// ErrCRDTerminating reports that the CRD is being deleted: the API server deletes
	// all Testcrs and refuses new ones, and keeps the CRD until the last one is gone.
	ErrCRDTerminating = CRDError("the CRD testcrs.stable.example.com is being deleted and waits for finalizers of its Testcrs: " +
		"kubectl get testcrs -o custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers lists them; " +
		"once it is gone, kubectl apply -f yaml/testcrd.yaml")
)

// CheckCRD requests whether the API server serves Testcrs as this program writes them.
// It returns a CRDError if it does not, or the error of the request.
func CheckCRD(ctx context.Context, client discovery.DiscoveryInterfaceWithContext) error {
	resources, err := client.ServerResourcesForGroupVersionWithContext(ctx, v1.GroupVersion.String())
	if apierrors.IsNotFound(err) {
		return checkOtherVersions(ctx, client)
	}
	if err != nil {
		return err
	}
	for i := range resources.APIResources {
		switch r := &resources.APIResources[i]; {
		case r.Name != v1.GroupVersionResource.Resource:
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
		isServed := slices.ContainsFunc(g.Versions, func(v metav1.GroupVersionForDiscovery) bool { return v.Version == v1.GroupVersion.Version })
		if g.Name == v1.GroupName && !isServed { // served: it has been established since
			return CRDError(fmt.Sprintf("the API server serves %s, this program needs %s: kubectl apply -f yaml/testcrd.yaml",
				g.PreferredVersion.GroupVersion, v1.GroupVersion))
		}
	}
	return ErrCRDMissing
}

// IsCRDGone reports that a request failed because Testcrs are not served (404, but not
// that of a missing object), or are not accepted because the CRD is being deleted
// (403, before Kubernetes 1.34 405). Only the message differs from a missing right.
func IsCRDGone(err error) bool {
	return apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) ||
		(apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err)) &&
			strings.Contains(err.Error(), "custom resource definition is terminating")
}

// crd is the state of the CRD as requests have found it.
type crd struct {
	check       func(context.Context) error
	missing     atomic.Pointer[error] // why Testcrs are not served, or nil
	closed      atomic.Bool           // the API server accepts no new Testcrs
	terminating atomic.Bool           // that is reported
	checks      chan struct{}         // a check is requested

	onLost     []func(error)
	onReturned []func()

	mu sync.Mutex
	// invalidBefore is the version up to which cached Testcrs were deleted with the
	// CRD, or "".
	invalidBefore string
}

// OnCRDLost registers f, which is called with the cause when Testcrs cannot be written
// any more because of the CRD. Call it before the cache runs.
func (c *crd) OnCRDLost(f func(error)) { c.onLost = append(c.onLost, f) }

// OnCRDReturned registers f, which is called when they can be written again.
func (c *crd) OnCRDReturned(f func()) { c.onReturned = append(c.onReturned, f) }

// Unavailable returns why Testcrs are not served or not accepted, or nil.
func (c *crd) Unavailable() error {
	if err := c.missing.Load(); err != nil {
		return *err
	}
	if c.terminating.Load() {
		return ErrCRDTerminating
	}
	return nil
}

// IsServed reports whether Testcrs can be read, updated and deleted.
func (c *crd) IsServed() bool { return c.missing.Load() == nil }

// AcceptsNew reports whether Testcrs can be created.
func (c *crd) AcceptsNew() bool { return c.IsServed() && !c.closed.Load() }

// RequestCheck starts a check whether the API server accepts Testcrs. A standby
// notices a terminating CRD by Testcrs that are deleted although their Pods exist.
func (c *crd) RequestCheck() {
	select {
	case c.checks <- struct{}{}:
	default: // one is pending
	}
}

// refused records that the API server accepts no new Testcrs. No create is sent until
// it does again, so that keys are not retried in vain.
func (c *crd) refused() {
	c.closed.Store(true)
	c.RequestCheck()
}

// run checks the CRD on request until ctx ends.
func (c *crd) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.checks:
			c.pollUntilOpen(ctx)
		}
	}
}

// pollUntilOpen polls until the API server accepts Testcrs. It reports a CRD that
// stays terminating. A missing one is reported by the watch, which ends with it.
func (c *crd) pollUntilOpen(ctx context.Context) {
	for polls := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(crdPoll):
		}
		err := c.check(ctx)
		switch {
		case err == nil:
			c.reopen(ctx, polls >= terminatingPolls)
			return
		case errors.Is(err, ErrCRDTerminating):
			c.closed.Store(true)
			if polls++; polls == terminatingPolls {
				c.terminating.Store(true)
				c.reportLost(ctx, err)
			}
		case errors.As(err, new(CRDError)):
			c.closed.Store(true)
			polls = 0
		}
	}
}

func (c *crd) reopen(ctx context.Context, wasReported bool) {
	c.terminating.Store(false)
	if !c.closed.Swap(false) {
		return
	}
	if wasReported {
		klog.FromContext(ctx).Info("The API server takes new Testcrs again, going on")
	}
	c.reportReturned()
}

func (c *crd) reportLost(ctx context.Context, err error) {
	klog.FromContext(ctx).Error(err, "Waiting for the CRD")
	for _, f := range c.onLost {
		f(err)
	}
}

func (c *crd) reportReturned() {
	for _, f := range c.onReturned {
		f()
	}
}

// invalidVersion returns invalidBefore.
func (c *crd) invalidVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.invalidBefore
}

func (c *crd) setInvalidVersion(version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.invalidBefore = version
}
