package heartbeat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/validation"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

const (
	// clockSkew is how far the clock of the controller may be from that of the reader.
	clockSkew = 30 * time.Second
	// maxLeases bounds the answer. There is one Lease for each set of namespaces.
	maxLeases = 500
)

// List returns the heartbeats of all controllers, or none without the right to list
// Leases. It lists by the label, which takes the right to list the Leases of all
// namespaces, else by the default name, which yaml/rbac-view.yaml grants.
func List(ctx context.Context, leases coordinationclient.LeasesGetter) ([]coordinationv1.Lease, error) {
	all := leases.Leases(metav1.NamespaceAll)
	list, err := all.List(ctx, metav1.ListOptions{LabelSelector: v1.LabelManagedBy + "=" + v1.ManagedBy, Limit: maxLeases})
	if apierrors.IsForbidden(err) {
		byName := fields.OneTermEqualSelector(metav1.ObjectNameField, Name(v1.ManagedBy)).String()
		list, err = all.List(ctx, metav1.ListOptions{FieldSelector: byName, Limit: maxLeases})
	}
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(l coordinationv1.Lease) bool {
		return !strings.HasSuffix(l.Name, suffix) || l.Labels[v1.LabelManagedBy] != v1.ManagedBy || l.Spec.RenewTime == nil
	}), nil
}

// Verdict is what heartbeats report about the Testcrs of a namespace.
type Verdict int

// The verdicts.
const (
	Unknown   Verdict = iota // there is no heartbeat that may be read
	Kept                     // a controller keeps the Testcrs
	Stopped                  // the controller that kept them has stopped
	Elsewhere                // a controller keeps those of other namespaces alone
)

// Judge returns the verdict about the Testcrs of a namespace, or of all namespaces for
// "", and the last renewal by a controller that kept them. now is the time of the API
// server, because the clock of the reader may be wrong.
func Judge(leases []coordinationv1.Lease, namespace string, now time.Time) (verdict Verdict, last time.Time) {
	for i := range leases {
		lease := &leases[i]
		renewed := lease.Spec.RenewTime.Time
		if now.Sub(renewed) < -clockSkew {
			continue // no clock may be wrong by more
		}
		lives := isAlive(lease, now)
		switch covers := keeps(lease, namespace); {
		case covers && lives:
			return Kept, renewed
		case covers:
			verdict = Stopped
			if renewed.After(last) {
				last = renewed
			}
		case lives && verdict == Unknown:
			verdict = Elsewhere
		}
	}
	return verdict, last
}

// isAlive reports whether a Lease was renewed in time, by a clock that may be right.
func isAlive(lease *coordinationv1.Lease, now time.Time) bool {
	age := now.Sub(lease.Spec.RenewTime.Time)
	return age >= -clockSkew && age <= duration(lease)+clockSkew
}

// duration returns the duration of a Lease, within bounds: anybody may have edited it.
func duration(lease *coordinationv1.Lease) time.Duration {
	if d := lease.Spec.LeaseDurationSeconds; d != nil && *d > 0 && *d <= 3600 {
		return time.Duration(*d) * time.Second
	}
	return lasts
}

func keeps(lease *coordinationv1.Lease, namespace string) bool {
	namespaces, isLimited := lease.Annotations[annotation]
	return !isLimited || namespace != "" && slices.Contains(strings.Split(namespaces, ","), namespace)
}

// Namespaces returns the namespaces whose Testcrs are kept by one of leases, sorted. What
// cannot be one is left out, because anybody may have edited a Lease.
func Namespaces(leases []coordinationv1.Lease) []string {
	var all []string
	for i := range leases {
		if namespaces := leases[i].Annotations[annotation]; namespaces != "" {
			all = append(all, strings.Split(namespaces, ",")...)
		}
	}
	all = slices.DeleteFunc(all, func(name string) bool { return len(validation.IsDNS1123Label(name)) > 0 })
	slices.Sort(all)
	return slices.Compact(all)
}

// ClusterName returns the name of the cluster, or "" if the Leases that are alive contain
// none, or several. A name that no controller accepts is none, because anybody may have
// edited a Lease. For now see Judge.
func ClusterName(leases []coordinationv1.Lease, now time.Time) string {
	found := ""
	for i := range leases {
		switch name := leases[i].Annotations[nameAnnotation]; {
		case !isAlive(&leases[i], now): // of a controller that has stopped or moved
		case name == "" || CheckClusterName(name) != nil:
		case found != "" && name != found:
			return ""
		default:
			found = name
		}
	}
	return found
}

// maxVersion bounds the version in a Lease, in bytes: anybody may have edited it.
const maxVersion = 200

// Versions returns the versions of the controllers whose Leases are alive, sorted, each
// once. isOld reports that one of them wrote none, or none that is plain text. For now see
// Judge.
func Versions(leases []coordinationv1.Lease, now time.Time) (versions []string, isOld bool) {
	for i := range leases {
		if !isAlive(&leases[i], now) {
			continue
		}
		version := leases[i].Annotations[versionAnnotation]
		if version == "" || len(version) > maxVersion || printable.Text(version) != version {
			isOld = true
			continue
		}
		versions = append(versions, version)
	}
	slices.Sort(versions)
	return slices.Compact(versions), isOld
}

// CheckClusterName returns why name cannot be that of a cluster, or nil. The rule is that
// of a label's value.
func CheckClusterName(name string) error {
	if problems := validation.IsValidLabelValue(name); len(problems) > 0 {
		return errors.New(problems[0])
	}
	return nil
}
