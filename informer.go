package podinfolookup

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// A list or watch that fails is tried again after 100 ms, doubling to 2 s. The
// reflector's own backoff goes to 30 s and more, and so long would the caches
// be behind after an outage of the API server that lasted a minute.
const (
	outageRetryMin = 100 * time.Millisecond
	outageRetryMax = 2 * time.Second
)

// NewPodInformer returns an informer of the trimmed Pods of a namespace, or of
// all for metav1.NamespaceAll, that has yet to be run.
func NewPodInformer(client kubernetes.Interface, namespace string) (cache.SharedIndexInformer, error) {
	pods := client.CoreV1().Pods(namespace)
	return newInformer(&corev1.Pod{}, "pods", client, TrimPod,
		func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return pods.List(ctx, options)
		},
		pods.Watch)
}

// newInformer returns an informer without resync that is patient with outages.
// client tells whether lists may be streamed.
func newInformer(object runtime.Object, description string, client any, transform cache.TransformFunc,
	list func(context.Context, metav1.ListOptions) (runtime.Object, error),
	watches func(context.Context, metav1.ListOptions) (watch.Interface, error),
) (cache.SharedIndexInformer, error) {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return patiently(ctx, description, func() (runtime.Object, error) { return list(ctx, options) })
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return patiently(ctx, description, func() (watch.Interface, error) { return watches(ctx, options) })
		},
	}
	informer := cache.NewSharedIndexInformerWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, client), object,
		cache.SharedIndexInformerOptions{ObjectDescription: description})
	return informer, informer.SetTransform(transform)
}

// patiently makes a request until it succeeds, or fails in a way that the
// reflector has an answer to.
func patiently[T any](ctx context.Context, what string, request func() (T, error)) (T, error) {
	backoff := wait.Backoff{Duration: outageRetryMin, Factor: 2, Jitter: 0.2, Steps: 1 << 30, Cap: outageRetryMax}
	told := ""
	for {
		result, err := request()
		if err == nil && told != "" {
			klog.FromContext(ctx).Info("The API server answers again", "resource", what)
		}
		if err == nil || ctx.Err() != nil || isForReflector(err) {
			return result, err
		}
		if err.Error() != told {
			told = err.Error()
			klog.FromContext(ctx).Error(withRemedy(err), "Cannot list or watch, trying again", "resource", what)
		}
		select {
		case <-ctx.Done():
			return result, ctx.Err()
		case <-time.After(backoff.Step()):
		}
	}
}

// isForReflector reports whether another request of the same kind is no use: the
// version that it asks for is too old or too new, or the API server does not
// stream lists.
func isForReflector(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTimeout(err) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}
