package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// Reasons of the warnings, as those of Events.
const (
	// ForeignTestcr warns of a Testcr that is not ours and has a name we need.
	ForeignTestcr = "ForeignTestcr"
	// CRDUnusable warns that Testcrs cannot be kept with the CRD as it is.
	CRDUnusable = "CRDUnusable"
	// NameCollision warns of two Pods whose Testcrs would have one name.
	NameCollision = "NameCollision"
	// ContestedTestcr warns of a client that undoes what is written.
	ContestedTestcr = "ContestedTestcr"
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

// errMangled says that a write was accepted and has changed nothing.
var errMangled = errors.New("the API server does not store what is written")

// mangled are the Pods whose Testcrs the API server does not store as they are
// written, since the CRD is older than this program. No event tells when that has
// an end, so one of them is tried each mangledEvery.
type mangled struct {
	mu   sync.Mutex
	told bool
	pods map[cache.ObjectName]struct{}
}

// add returns whether that is news.
func (m *mangled) add(pod cache.ObjectName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pods == nil {
		m.pods = map[cache.ObjectName]struct{}{}
	}
	m.pods[pod] = struct{}{}
	told := m.told
	m.told = true
	return !told
}

func (m *mangled) one() (pod cache.ObjectName, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for pod := range m.pods {
		return pod, true
	}
	return cache.ObjectName{}, false
}

// remove lets go of a Pod, and returns whether it was there.
func (m *mangled) remove(pod cache.ObjectName) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.pods[pod]
	delete(m.pods, pod)
	return ok
}

// end returns all Pods, and forgets them.
func (m *mangled) end() []cache.ObjectName {
	m.mu.Lock()
	defer m.mu.Unlock()
	pods := slices.Collect(maps.Keys(m.pods))
	m.told, m.pods = false, nil
	return pods
}

// reportMangled says once that the API server does not store what is written.
func (c *Controller) reportMangled(ctx context.Context, want, stored *Testcr) {
	pod, _ := want.PodKey()
	if !c.mangled.add(pod) {
		return
	}
	const message = "The API server stored something other than what was written: " +
		"the CRD may be older than this program, kubectl apply -f yaml/testcrd.yaml; or a mutating webhook or policy changes it"
	klog.FromContext(ctx).Error(nil, message, "testcr", stored.Name)
	c.warn(referToCRD(), CRDUnusable, message)
}

// noteStored hears of Testcrs that need no write, or no more. One that did and is
// now as it must be, by the watch and not only by our own word, says that the CRD
// has been replaced: then the others are written, too.
func (c *Controller) noteStored(ctx context.Context, pod cache.ObjectName, want, have *Testcr) {
	if want != nil && have != c.testcrs.cached(have.Name) || !c.mangled.remove(pod) || want == nil {
		return
	}
	pods := c.mangled.end()
	klog.FromContext(ctx).Info("The API server stores what is written again", "testcrs", len(pods)+1)
	for _, pod := range pods {
		c.queue.Add(pod)
	}
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
