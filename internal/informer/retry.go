package informer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/errlog"
)

// A failed list or watch is retried after 100 ms, doubling to 500 ms. The backoff of
// the reflector goes to 30 s and more, and the caches would be stale for as long
// after an outage of the API server of a minute.
const (
	retryMin = 100 * time.Millisecond
	retryMax = 500 * time.Millisecond
)

// Outage logs the beginning and the end of an outage once each. It outlives a
// request, because the request that succeeds need not be the one that failed. The
// zero value is ready for use.
type Outage struct{ logged atomic.Pointer[string] }

// begin logs err unless the previous line was about the same.
func (o *Outage) begin(ctx context.Context, resource string, err error) {
	cause := errlog.WithoutDigits(err.Error()) // those of streams and ports differ each time
	if last := o.logged.Swap(&cause); last == nil || *last != cause {
		klog.FromContext(ctx).Error(WithRemedy(err), "Cannot list or watch, trying again", "resource", resource)
	}
}

func (o *Outage) end(ctx context.Context, resource string) {
	if o.logged.Swap(nil) != nil {
		klog.FromContext(ctx).Info("The API server answers again", "resource", resource)
	}
}

// RetryUntilAvailable makes a request until it succeeds, ctx ends, or isFinal
// reports that another attempt is useless. It returns the last answer.
func RetryUntilAvailable[T any](ctx context.Context, o *Outage, resource string, isFinal func(error) bool, request func() (T, error)) (T, error) {
	backoff := wait.Backoff{Duration: retryMin, Factor: 2, Jitter: 0.2, Steps: 1 << 30, Cap: retryMax}
	for {
		result, err := request()
		if err == nil {
			o.end(ctx, resource)
		}
		if err == nil || ctx.Err() != nil || isFinal(err) {
			return result, err
		}
		o.begin(ctx, resource, err)
		select {
		case <-ctx.Done():
			return result, ctx.Err()
		case <-time.After(backoff.Step()):
		}
	}
}

// isForReflector reports whether another request of the same kind is useless: the
// requested version is too old or too new, or the API server does not stream lists.
func isForReflector(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsTimeout(err) ||
		apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

// manifests grant the rights on these resources, and rbac.yaml those on all others.
var manifests = map[string]string{
	"replicasets": "rbac-owners.yaml", "jobs": "rbac-owners.yaml",
	"services": "rbac-services.yaml", "endpointslices": "rbac-services.yaml", "nodes": "rbac-nodes.yaml",
}

// WithRemedy adds to the refusal of a request which manifest has the missing right.
// A refusal by an admission policy, or because the CRD is being deleted, is no
// missing right.
func WithRemedy(err error) error {
	if !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "AdmissionPolicy") || strings.Contains(err.Error(), "is terminating") {
		return err
	}
	manifest := "rbac.yaml"
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok {
		if details := status.ErrStatus.Details; details != nil {
			manifest = cmp.Or(manifests[details.Kind], manifest)
		}
	}
	return fmt.Errorf("%w: yaml/%s has the rule that is missing", err, manifest)
}
