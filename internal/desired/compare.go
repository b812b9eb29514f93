package desired

import (
	"maps"
	"slices"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Equal reports whether two specs have the same content. An absent list equals an
// empty one.
func Equal(s, o *v1.TestcrSpec) bool {
	if s == o {
		return true
	}
	return s.PodKey == o.PodKey && s.PodName == o.PodName && s.PodUID == o.PodUID && s.NodeUID == o.NodeUID && s.Namespace == o.Namespace &&
		s.PodIP == o.PodIP && slices.Equal(s.PodIPs, o.PodIPs) && slices.Equal(s.NetworkIPs, o.NetworkIPs) &&
		s.HostIP == o.HostIP && slices.Equal(s.HostIPs, o.HostIPs) &&
		s.NodeName == o.NodeName && s.Phase == o.Phase &&
		s.Status == o.Status && s.ReadyContainers == o.ReadyContainers && s.Restarts == o.Restarts &&
		s.HostNetwork == o.HostNetwork && s.Ready == o.Ready && s.Terminating == o.Terminating && s.Truncated == o.Truncated &&
		s.OwnerKind == o.OwnerKind && s.OwnerName == o.OwnerName &&
		s.WorkloadKind == o.WorkloadKind && s.WorkloadName == o.WorkloadName && s.WorkloadProof == o.WorkloadProof &&
		s.ServiceAccount == o.ServiceAccount && s.Hostname == o.Hostname && s.Subdomain == o.Subdomain &&
		s.CreatedAt.Equal(&o.CreatedAt) && s.StartedAt.Equal(&o.StartedAt) &&
		maps.Equal(s.Labels, o.Labels) && slices.Equal(s.Containers, o.Containers)
}

// Matches reports whether stored has the spec and the labels of want. Labels that
// do not belong to this program are not compared.
func Matches(stored, want *v1.Testcr) bool {
	for key, value := range want.Labels {
		if got, ok := stored.Labels[key]; !ok || got != value {
			return false
		}
	}
	for key := range stored.Labels {
		if _, wanted := want.Labels[key]; !wanted && v1.IsLabel(key) {
			return false
		}
	}
	return Equal(&stored.Spec, &want.Spec)
}

// Update returns the update of stored to want. Metadata of other clients (labels,
// annotations, finalizers, owner references) stays. The resource version makes the
// API server refuse the update if stored is not the newest state.
func Update(stored, want *v1.Testcr) *v1.Testcr {
	out := &v1.Testcr{TypeMeta: want.TypeMeta, ObjectMeta: stored.ObjectMeta, Spec: want.Spec}
	out.Labels = maps.Clone(want.Labels)
	for key, value := range stored.Labels {
		if _, wanted := want.Labels[key]; !wanted && !v1.IsLabel(key) {
			out.Labels[key] = value
		}
	}
	return out
}

// Reduced returns t without labels and containers, for an API server that refuses
// them. IPs, UID, node, phase and times must not depend on the rest.
func Reduced(t *v1.Testcr) *v1.Testcr {
	spec := t.Spec
	spec.Labels, spec.Containers, spec.Truncated = nil, nil, true
	return FromSpec(&spec)
}

// Emptied returns the content of t after its Pod has gone, if a finalizer keeps t:
// the name of the Pod alone, so that no fact of the Pod leads to it.
func Emptied(t *v1.Testcr) *v1.Testcr {
	spec := v1.TestcrSpec{Terminating: true}
	if key, ok := t.PodKey(); ok {
		spec.PodKey, spec.PodName, spec.Namespace = t.Spec.PodKey, key.Name, key.Namespace
	}
	out := FromSpec(&spec)
	out.Name = t.Name
	return out
}
