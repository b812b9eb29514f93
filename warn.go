package podinfolookup

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// Reasons of the warnings, as those of Events.
const (
	// ForeignTestcr warns of a Testcr that is not ours and has a name we need.
	ForeignTestcr = "ForeignTestcr"
	// CRDUnusable warns that Testcrs cannot be kept with the CRD as it is.
	CRDUnusable = "CRDUnusable"
)

// failuresTold is how many failed syncs are logged in a second. What makes one
// sync fail (an API server that is away, a right that is missing, a lease that is
// lost) mostly makes all of them fail, each Pod many times a second at first.
const failuresTold = 3

// failures tells of failed syncs, and counts those for which there was no room.
type failures struct {
	mu     sync.Mutex
	since  time.Time // when the second began that told is of
	told   int
	untold int
}

// tell logs that the sync of key has failed for the times-th time in a row.
func (f *failures) tell(ctx context.Context, err error, key cache.ObjectName, times int) {
	f.mu.Lock()
	if now := time.Now(); now.Sub(f.since) >= time.Second {
		f.since, f.told = now, 0
	}
	if f.told == failuresTold {
		f.untold++
		f.mu.Unlock()
		return
	}
	f.told++
	untold := f.untold
	f.untold = 0
	f.mu.Unlock()
	utilruntime.HandleErrorWithContext(ctx, err, "Sync failed, will try again",
		"pod", klog.KRef(key.Namespace, key.Name), "failures", times, "notLogged", untold)
}

// reportForeign says once that a Testcr which is not ours stands in the way.
func (c *Controller) reportForeign(ctx context.Context, want, have *Testcr) {
	c.mu.Lock()
	_, told := c.reported[have.UID]
	c.reported[have.UID] = struct{}{}
	c.mu.Unlock()
	if told {
		return
	}
	const remedy = "delete it, or give it the label " + LabelManagedBy + "=" + ManagedBy
	klog.FromContext(ctx).Error(nil, "A Testcr that is not ours has the name that a Pod needs; it is left alone: "+remedy,
		"testcr", have.Name, "pod", want.Spec.PodKey, "podkey", have.Spec.PodKey)
	c.warn(referTo(have), ForeignTestcr, fmt.Sprintf("The Pod %s needs a Testcr of this name, but this one is not kept by %s; it is left alone: %s",
		want.Spec.PodKey, ManagedBy, remedy))
}

// warnOfCRD says why Testcrs cannot be kept, if this controller is the one that
// would.
func (c *Controller) warnOfCRD(err error) {
	if c.running.Load() {
		c.warn(referToCRD(), CRDUnusable, err.Error())
	}
}

// reportMangled says once that the API server does not store what is written.
func (c *Controller) reportMangled(ctx context.Context, stored *Testcr) {
	if c.mangled.Swap(true) {
		return
	}
	const message = "The API server stored something other than what was written: " +
		"the CRD may be older than this program, kubectl apply -f yaml/testcrd.yaml"
	klog.FromContext(ctx).Error(nil, message, "testcr", stored.Name)
	c.warn(referToCRD(), CRDUnusable, message)
}

func referTo(t *Testcr) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: GroupVersionKind.GroupVersion().String(), Kind: GroupVersionKind.Kind,
		Name: t.Name, UID: t.UID, ResourceVersion: t.ResourceVersion,
	}
}

// referToCRD has no UID: to read the CRD would take a right that nothing else
// here needs.
func referToCRD() *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: GroupVersionResource.GroupResource().String(),
	}
}
