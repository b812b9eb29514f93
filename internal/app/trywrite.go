package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// tryTimeout bounds the request. A webhook that is slow delays each write, and refuses
// none.
const tryTimeout = 3 * time.Second

// refusedWrite reports that the API server accepts no Testcr of this user.
type refusedWrite struct{ error }

func (e refusedWrite) Error() string {
	return fmt.Sprintf("a Testcr cannot be created (tried with dryRun): %v: change that policy or webhook, or run this program "+
		"as the user that it lets write, the service account of yaml/rbac.yaml", e.error)
}

func (e refusedWrite) Unwrap() error { return e.error }

// tryWrite creates a Testcr with dryRun, which is stored nowhere. The reviews of the
// preflight do not see admission policies and webhooks, and a program whose writes are
// refused is of no use. A standby tries it, too, because it writes as soon as it leads.
func (c *clients) tryWrite(ctx context.Context, namespaces []string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: cmp.Or(slices.Concat(namespaces, []string{c.lease.namespace})...), Name: "podinfolookup-dry-run",
	}}
	testcr, err := wire.ToUnstructured(desired.FromPod(pod))
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	_, err = c.dryRuns.Resource(v1.GroupVersionResource).Create(limited, testcr,
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: v1.ManagedBy})
	switch {
	case err == nil, apierrors.IsAlreadyExists(err), testcrcache.IsCRDGone(err):
		return nil // the controller waits for the CRD
	case isRefusedWrite(err):
		return refusedWrite{err}
	case !errors.As(err, new(apierrors.APIStatus)) && (limited.Err() == nil || ctx.Err() != nil):
		return c.cluster.Explain(ctx, err) // no answer of the API server
	default:
		// Such as a webhook that is away or slow, or that takes no dryRun.
		klog.FromContext(ctx).Info("A Testcr could not be created with dryRun, going on", "err", err)
		return nil
	}
}

// isRefusedWrite reports whether a policy, a webhook or the schema has refused a
// Testcr. The code of a refusal is up to the policy or the webhook.
func isRefusedWrite(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || strings.Contains(err.Error(), "denied the request") ||
		strings.Contains(err.Error(), "denied request")
}
