package desired

import (
	"net/netip"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// The bounds of a Testcr's labels, whatever the status of its Pod holds. A Pod has
// one IP of each family.
const (
	maxIPLabels = 8
	maxIDLabels = 64
)

// Labels returns the labels of a Testcr with this spec. Facts that a Pod has several
// of are keys of labels without a value: the API server selects by the presence of a
// key, while a selectable field has one value.
func Labels(spec *v1.TestcrSpec) map[string]string {
	labels := make(map[string]string, 3+len(spec.PodIPs)+len(spec.Containers))
	labels[v1.LabelManagedBy], labels[v1.LabelNamespace] = v1.ManagedBy, spec.Namespace
	if spec.WorkloadName != "" {
		labels[v1.LabelWorkload] = v1.LabelValue(spec.WorkloadName)
	}
	if spec.Truncated {
		labels[v1.LabelMore] = "true"
	}
	for i, ip := range spec.PodIPs {
		if addr, err := netip.ParseAddr(ip); err == nil && i < maxIPLabels {
			labels[v1.LabelIP(addr)] = ""
		} else {
			labels[v1.LabelMore] = "true"
		}
	}
	for i := range spec.Containers {
		id := spec.Containers[i].ID
		if key, ok := v1.LabelContainer(id); ok && i < maxIDLabels {
			labels[key] = ""
		} else if id != "" {
			labels[v1.LabelMore] = "true"
		}
	}
	return labels
}
