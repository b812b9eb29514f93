package podinfolookup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/klog/v2"
)

// timeline detects that etcd was restored from a backup: the API server then is
// at an older version than the cache, and gives the same versions once more. A
// watch from a version that is yet to come returns no event until then, so the
// cache would stay as it was before the restore.
type timeline struct {
	mu     sync.Mutex
	last   string // the version that the reflector has reached
	back   bool   // the API server is behind it: the next list must not ask for it
	onBack []func(version string)
}

// OnBack registers f to be called when the API server is at a version that is
// older than the cache, and again with the list that replaces the cache. Versions
// from before must not be compared with later ones. It must be called before the
// informer runs.
func (t *timeline) OnBack(f func(version string)) { t.onBack = append(t.onBack, f) }

// request records the version that the reflector asks for. A whole list that
// follows a restore must ask for the newest version instead, or the API server
// answers after 3 s that it has no such version.
func (t *timeline) request(options *metav1.ListOptions, whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if version := options.ResourceVersion; version != "" && version != "0" {
		t.last = version
	}
	if whole && t.back {
		options.ResourceVersion = ""
	}
}

// resumed compares the version that a watch was resumed from with the present
// one. It stops the watch and returns an error that makes the reflector list
// when the API server is behind. The read comes after the watch was opened, so
// both are of the same etcd.
func (t *timeline) resumed(ctx context.Context, resource string, events watch.Interface, from string,
	list func(context.Context, metav1.ListOptions) (runtime.Object, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	objects, err := list(ctx, metav1.ListOptions{Limit: probeLimit})
	switch {
	case err != nil && isForReflector(err):
		err = errors.New(err.Error()) // an answer to this request, not to the watch
	case err == nil && isNewer(from, versionOf(objects)):
		t.mu.Lock()
		t.back = true
		t.mu.Unlock()
		t.wentBack(ctx, resource, from, versionOf(objects))
		err = apierrors.NewResourceExpired("the API server is at an older version")
	}
	if err != nil {
		events.Stop()
		return fmt.Errorf("resuming a watch: %w", err)
	}
	return nil
}

// probeLimit is the limit of a list that is made for its version alone.
const probeLimit = 1

// listed records the version of a whole list.
func (t *timeline) listed(ctx context.Context, resource, version string) {
	t.mu.Lock()
	last, back := t.last, t.back
	t.last, t.back = version, false
	t.mu.Unlock()
	if back || isNewer(last, version) {
		t.wentBack(ctx, resource, last, version)
	}
}

func (t *timeline) wentBack(ctx context.Context, resource, from, to string) {
	klog.FromContext(ctx).Info("The API server is at an older version than the cache, as after a restore of etcd: comparing everything",
		"resource", resource, "cache", from, "now", to)
	for _, f := range t.onBack {
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
