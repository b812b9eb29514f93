package informer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2"
)

// timeline detects that etcd was restored from a backup. The API server then is at an
// older version than the cache and assigns the same versions again. A watch from a
// future version returns no event until the API server reaches it, so the cache
// would stay as it was before the restore.
type timeline struct {
	mu     sync.Mutex
	last   string // the version that the reflector has reached
	behind bool   // the API server is behind it: the next list must not request it

	onRollback []func(version string)
}

// OnRollback registers f, which is called when the API server is at an older version
// than the cache, and again after the list that replaces the cache. Versions from
// before must not be compared with later ones. Call it before the informer runs.
func (t *timeline) OnRollback(f func(version string)) { t.onRollback = append(t.onRollback, f) }

// requested records the version that the reflector requests. A whole list after a
// restore must request the newest version instead: the API server would answer after
// 3 s that the version is too large.
func (t *timeline) requested(options *metav1.ListOptions, whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if version := options.ResourceVersion; version != "" && version != "0" {
		t.last = version
	}
	if whole && t.behind {
		options.ResourceVersion = ""
	}
}

// resumed compares the version that a watch was resumed from with the present one. If
// the API server is behind, it stops the watch and returns an error that makes the
// reflector list. It reads after the watch is open, so both are of the same etcd.
func (t *timeline) resumed(ctx context.Context, resource string, events watch.Interface, from string,
	list func(context.Context, metav1.ListOptions) (runtime.Object, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	objects, err := list(ctx, metav1.ListOptions{Limit: ProbeLimit})
	switch {
	case err != nil && isForReflector(err):
		err = errors.New(err.Error()) // an answer to this request, not to the watch
	case err == nil && IsNewer(from, versionOf(objects)):
		t.mu.Lock()
		t.behind = true
		t.mu.Unlock()
		t.rolledBack(ctx, resource, from, versionOf(objects))
		err = apierrors.NewResourceExpired("the API server is at an older version")
	}
	if err != nil {
		events.Stop()
		return fmt.Errorf("resuming a watch: %w", err)
	}
	return nil
}

// probeTimeout bounds the list that a resumed watch is compared with.
const probeTimeout = 30 * time.Second

// ProbeLimit is the limit of a list that is requested for its version alone.
const ProbeLimit = 1

// listed records the version of a whole list.
func (t *timeline) listed(ctx context.Context, resource, version string) {
	t.mu.Lock()
	last, behind := t.last, t.behind
	t.last, t.behind = version, false
	t.mu.Unlock()
	if behind || IsNewer(last, version) {
		t.rolledBack(ctx, resource, last, version)
	}
}

func (t *timeline) rolledBack(ctx context.Context, resource, from, to string) {
	klog.FromContext(ctx).Info("The API server is at an older version than the cache, as after a restore of etcd: comparing everything",
		"resource", resource, "cache", from, "now", to)
	for _, f := range t.onRollback {
		f(to)
	}
}

func versionOf(object any) string {
	common, err := meta.CommonAccessor(object)
	if err != nil {
		return ""
	}
	return common.GetResourceVersion()
}
