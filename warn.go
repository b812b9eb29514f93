package podinfolookup

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// Reasons of the warnings, as those of Events.
const (
	// ForeignTestcr warns of a Testcr that is not ours and has a name we need.
	ForeignTestcr = "ForeignTestcr"
	// CRDUnusable warns that Testcrs cannot be kept with the CRD as it is.
	CRDUnusable = "CRDUnusable"
)

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
