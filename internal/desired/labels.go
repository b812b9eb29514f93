package desired

import (
	"net/netip"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// The bounds of a Testcr's labels, whatever the status and the annotations of its Pod
// hold: IPs of each kind, and containers. A Pod has one IP of each family.
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
	add := func(key string, ok bool) {
		if ok {
			labels[key] = ""
		} else {
			labels[v1.LabelMore] = "true"
		}
	}
	addIP := func(labelFor func(netip.Addr) string, ip string, hasRoom bool) {
		addr, err := netip.ParseAddr(ip)
		if err != nil {
			add("", false)
			return
		}
		add(labelFor(addr), hasRoom)
	}
	for i, ip := range spec.PodIPs {
		addIP(v1.LabelIP, ip, i < maxIPLabels)
	}
	for i := range spec.NetworkIPs {
		addIP(v1.LabelIP, spec.NetworkIPs[i].IP, i < maxIPLabels)
	}
	for i, ip := range spec.HostIPs {
		if ip != spec.HostIP {
			addIP(v1.LabelHostIP, ip, i < maxIPLabels)
		}
	}
	if spec.NodeUID != "" {
		add(v1.LabelNodeUID(spec.NodeUID))
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		for _, id := range []string{c.ID, c.PreviousID} {
			if id != "" {
				key, ok := v1.LabelContainer(id)
				add(key, ok && i < maxIDLabels)
			}
		}
	}
	return labels
}
