// Package heartbeat keeps a Lease that reports that Testcrs are being kept, and reads
// such Leases. It is not the lease of leader election: that one is held by a leader
// that cannot write, too, and there is none without --leader-elect.
package heartbeat

import (
	"context"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/errlog"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
)

const (
	// interval is how often the Lease is renewed, with one request each.
	interval = 10 * time.Second
	// lasts is how long after a renewal Testcrs count as kept: two renewals may fail.
	lasts = 30 * time.Second
	// requestTimeout bounds a renewal. The next one is due afterwards.
	requestTimeout = 5 * time.Second
	// poll is how often the state of the controller is checked, in memory.
	poll = time.Second

	// suffix makes the name of the Lease from that of the election's. No namespace has a
	// dot, so it is never the lease of a controller with --namespace.
	suffix = ".heartbeat"
	// annotation contains the namespaces whose Testcrs are kept. Without it: all.
	annotation = v1.GroupName + "/namespaces"
	// nameAnnotation contains the name of the cluster.
	nameAnnotation = v1.GroupName + "/cluster-name"
	// versionAnnotation contains the version of the controller.
	versionAnnotation = v1.GroupName + "/version"
)

// Name returns the name of the Lease of a controller whose lease for leader election
// has, or would have, the name election.
func Name(election string) string { return election + suffix }

// Config configures a Heartbeat.
type Config struct {
	Leases     coordinationclient.LeaseInterface
	Name       string
	Holder     string   // the name of this process
	Namespaces []string // none is all
	// ClusterName is the name of the cluster for readers of the Lease. "" is none.
	ClusterName string
	Version     string // of this program; "" is none
	// Check returns why Testcrs are not being kept, or nil.
	Check func() error
}

// Heartbeat renews the Lease while Testcrs are being kept. A failure is logged, and has
// no other consequence.
type Heartbeat struct {
	config Config
	lease  *coordinationv1.Lease // as of the last renewal, or nil
	logged string                // the last cause of a failure, "" after a renewal
}

// New returns a Heartbeat. It sends no request.
func New(config Config) *Heartbeat { return &Heartbeat{config: config} }

// Run renews the Lease until ctx ends. The Lease then runs out, or is renewed by the
// next leader.
func (h *Heartbeat) Run(ctx context.Context) {
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	h.lease = nil // another replica may have renewed it since the last term
	for last := (time.Time{}); ; {
		if time.Since(last) >= interval && h.config.Check() == nil {
			last = time.Now()
			h.report(ctx, h.renew(ctx))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// report logs each cause of failed renewals once.
func (h *Heartbeat) report(ctx context.Context, err error) {
	cause := ""
	if err != nil {
		h.lease = nil
		cause = errlog.WithoutDigits(err.Error())
	}
	if cause != "" && cause != h.logged && ctx.Err() == nil {
		klog.FromContext(ctx).Error(informer.WithRemedy(err), "Cannot renew the heartbeat, trying again: "+
			"kubectl podinfo cannot find out whether Testcrs are kept", "lease", h.config.Name)
	}
	h.logged = cause
}

// renew writes the Lease. Its first request reads it, because a former process may have
// left one.
func (h *Heartbeat) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if h.lease == nil {
		lease, err := h.config.Leases.Get(ctx, h.config.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			lease, err = h.config.Leases.Create(ctx, h.next(&coordinationv1.Lease{}), metav1.CreateOptions{})
			h.lease = lease
			return err
		}
		if err != nil {
			return err
		}
		h.lease = lease
	}
	lease, err := h.config.Leases.Update(ctx, h.next(h.lease), metav1.UpdateOptions{})
	if err == nil {
		h.lease = lease
	}
	return err
}

func (h *Heartbeat) next(lease *coordinationv1.Lease) *coordinationv1.Lease {
	lease = lease.DeepCopy()
	lease.Name = h.config.Name
	metav1.SetMetaDataLabel(&lease.ObjectMeta, v1.LabelManagedBy, v1.ManagedBy)
	delete(lease.Annotations, annotation)
	if len(h.config.Namespaces) > 0 {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, annotation, strings.Join(h.config.Namespaces, ","))
	}
	delete(lease.Annotations, nameAnnotation)
	if h.config.ClusterName != "" {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, nameAnnotation, h.config.ClusterName)
	}
	delete(lease.Annotations, versionAnnotation)
	if h.config.Version != "" {
		metav1.SetMetaDataAnnotation(&lease.ObjectMeta, versionAnnotation, h.config.Version)
	}
	now := metav1.NowMicro()
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != h.config.Holder {
		lease.Spec.AcquireTime = &now
	}
	lease.Spec.HolderIdentity, lease.Spec.RenewTime = &h.config.Holder, &now
	lease.Spec.LeaseDurationSeconds = new(int32(lasts / time.Second))
	return lease
}
