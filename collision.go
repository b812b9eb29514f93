package podinfolookup

import (
	"context"
	"fmt"

	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// collides reports whether have is the Testcr of another Pod than that called
// key: the md5 of both keys is the same, which happens only on purpose. A podkey
// that was edited by hand does not make the name of the Testcr.
func (c *Controller) collides(key cache.ObjectName, have *Testcr) bool {
	if have == nil || !have.Managed() || key.Namespace == "" || have.Spec.PodKey == key.String() || c.hash(have.Spec.PodKey) != have.Name {
		return false
	}
	other, err := cache.ParseObjectName(have.Spec.PodKey)
	if err != nil || other.Namespace == "" {
		return false
	}
	pods := c.pods.in(other.Namespace)
	return pods == nil || pods.cached(other) != nil // Pods that are not watched may exist
}

// reportCollision warns once for two Pods with one md5. The one that came second
// has no Testcr as long as the other exists.
func (c *Controller) reportCollision(ctx context.Context, want, have *Testcr) {
	key, err := cache.ParseObjectName(want.Spec.PodKey)
	c.mu.Lock()
	told := err != nil || c.collisions[key] == have.UID
	if !told {
		c.collisions[key] = have.UID
	}
	c.mu.Unlock()
	if told {
		return
	}
	const remedy = "give one of them another name"
	klog.FromContext(ctx).Error(nil, "Two Pods have the same md5, and only one of them can have a Testcr: "+remedy,
		"testcr", have.Name, "pod", want.Spec.PodKey, "podkey", have.Spec.PodKey)
	c.warn(referTo(have), NameCollision, fmt.Sprintf("The Pods %s and %s have the same md5, and this Testcr is that of the latter: %s",
		want.Spec.PodKey, have.Spec.PodKey, remedy))
}

// endCollisions queues the Pods that had no Testcr because of t, which is gone.
func (c *Controller) endCollisions(t *Testcr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, uid := range c.collisions {
		if uid == t.UID {
			delete(c.collisions, key)
			if c.working.Load() {
				c.queue.Add(key)
			}
		}
	}
}

// forgetCollision drops the collision of a Pod that is gone.
func (c *Controller) forgetCollision(key cache.ObjectName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.collisions, key)
}
