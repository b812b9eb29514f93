package podinfolookup

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// The reasons of the Events.
const (
	// ForeignTestcr reports a Testcr of somebody else with a name that a Pod needs.
	ForeignTestcr = "ForeignTestcr"
	// CRDUnusable reports that Testcrs cannot be kept with the CRD as it is.
	CRDUnusable = "CRDUnusable"
	// NameCollision reports two Pods whose Testcrs would have the same name.
	NameCollision = "NameCollision"
	// ContestedTestcr reports a client that undoes each write.
	ContestedTestcr = "ContestedTestcr"
	// TestcrReduced reports a Testcr that the API server refuses as too large or
	// invalid unless it has no labels and containers.
	TestcrReduced = "TestcrReduced"
)

const (
	// maxFailureLines is how many failed syncs are logged per second. The cause of one
	// (API server away, missing right, lost lease) is usually the cause of all.
	maxFailureLines = 3
	// maxErrorBytes bounds an error in the log and in an Event: the API server quotes
	// values that it refuses.
	maxErrorBytes = 1 << 9
)

// warnings sends Events about what a person must act on, and bounds the log lines about
// failures.
type warnings struct {
	recorder record.EventRecorder
	limiter  logLimiter
}

// logLimiter allows maxFailureLines per second, and counts the others.
type logLimiter struct {
	mu      sync.Mutex
	second  time.Time // when the current second began
	allowed int
	dropped int
}

// allow reports whether a line may be logged, and how many were dropped before it.
func (l *logLimiter) allow() (ok bool, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Sub(l.second) >= time.Second {
		l.second, l.allowed = now, 0
	}
	if l.allowed == maxFailureLines {
		l.dropped++
		return false, 0
	}
	l.allowed++
	dropped, l.dropped = l.dropped, 0
	return true, dropped
}

// warn sends an Event about a Testcr.
func (w *warnings) warn(testcr *metav1.ObjectMeta, reason, message string) {
	w.recorder.Event(&corev1.ObjectReference{
		APIVersion: v1.GroupVersion.String(), Kind: v1.GroupVersionKind.Kind,
		Name: testcr.Name, UID: testcr.UID, ResourceVersion: testcr.ResourceVersion,
	}, corev1.EventTypeWarning, reason, message)
}

// warnCRD sends an Event about the CRD. The reference has no UID, because reading the
// CRD would need a right that nothing else here needs.
func (w *warnings) warnCRD(message string) {
	w.recorder.Event(&corev1.ObjectReference{
		APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition", Name: v1.GroupVersionResource.GroupResource().String(),
	}, corev1.EventTypeWarning, CRDUnusable, message)
}

// reportFailure logs a failed sync.
func (w *warnings) reportFailure(ctx context.Context, key cache.ObjectName, err error, count int) {
	if testcrcache.IsCRDGone(err) { // the cache reports that, once for all keys
		return
	}
	if ok, dropped := w.limiter.allow(); ok {
		utilruntime.HandleErrorWithContext(ctx, shortError(err), "Sync failed, will try again",
			"pod", klog.KRef(key.Namespace, key.Name), "failures", count, "notLogged", dropped)
	}
}

func shortError(err error) error {
	if text := err.Error(); len(text) > maxErrorBytes {
		return errors.New(desired.Shorten(text, maxErrorBytes))
	}
	return err
}
