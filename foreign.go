package podinfolookup

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// foreign reports each Testcr once that has the name which a Pod needs, and is not of
// this Pod.
type foreign struct {
	pods     *podcache.Cache
	states   *keyStates
	warnings *warnings
	podKeyOf func(*testcrcache.Entry) (cache.ObjectName, bool)
	reported sync.Map // the UIDs of Testcrs of somebody else
}

// collides reports whether stored is the Testcr of another Pod than key: both keys have
// the same md5, which happens only on purpose. A podkey that was edited by hand does not
// produce the name of the Testcr.
func (f *foreign) collides(key cache.ObjectName, stored *testcrcache.Entry) bool {
	if stored == nil || !stored.IsManaged() || stored.Spec().PodKey == key.String() {
		return false
	}
	other, ok := f.podKeyOf(stored)
	return ok && (!f.pods.Watches(other.Namespace) || f.pods.Pod(other) != nil) // Pods that are not watched may exist
}

// report reports a Testcr that has the name of want and is left alone.
func (f *foreign) report(ctx context.Context, key cache.ObjectName, want *v1.Testcr, stored *testcrcache.Entry) {
	if stored.IsManaged() {
		f.reportCollision(ctx, key, want, stored)
		return
	}
	if _, isReported := f.reported.LoadOrStore(stored.UID, true); isReported {
		return
	}
	const remedy = "delete it, or give it the label " + v1.LabelManagedBy + "=" + v1.ManagedBy
	klog.FromContext(ctx).Error(nil, "A Testcr that is not ours has the name that a Pod needs; it is left alone: "+remedy,
		"testcr", stored.Name, "pod", want.Spec.PodKey, "podkey", stored.Spec().PodKey)
	f.warnings.warn(&stored.ObjectMeta, ForeignTestcr, fmt.Sprintf("The Pod %s needs a Testcr of this name, but this one is not kept by %s; it is left alone: %s",
		want.Spec.PodKey, v1.ManagedBy, remedy))
}

// reportCollision reports two Pods with the same md5. The second one has no Testcr as
// long as the first one exists.
func (f *foreign) reportCollision(ctx context.Context, key cache.ObjectName, want *v1.Testcr, stored *testcrcache.Entry) {
	before := f.states.update(key, func(state *keyState) { state.collidesWith = stored.UID })
	if before.collidesWith == stored.UID {
		return
	}
	const remedy = "give one of them another name"
	klog.FromContext(ctx).Error(nil, "Two Pods have the same md5, and only one of them can have a Testcr: "+remedy,
		"testcr", stored.Name, "pod", want.Spec.PodKey, "podkey", stored.Spec().PodKey)
	f.warnings.warn(&stored.ObjectMeta, NameCollision, fmt.Sprintf("The Pods %s and %s have the same md5, and this Testcr is that of the latter: %s",
		want.Spec.PodKey, stored.Spec().PodKey, remedy))
}

// forget forgets a deleted Testcr, and returns the Pods that had none because of it.
func (f *foreign) forget(deleted types.UID) []cache.ObjectName {
	f.reported.Delete(deleted)
	return f.states.each(0, func(state *keyState) bool {
		collided := deleted != "" && state.collidesWith == deleted
		if collided {
			state.collidesWith = ""
		}
		return collided
	})
}
