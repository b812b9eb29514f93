package podinfolookup

import (
	"net/netip"
	"strings"
)

const (
	// LabelManagedBy with the value ManagedBy marks a Testcr as ours: only such
	// a Testcr is ever deleted.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is also the field manager and the user agent of all writes.
	ManagedBy = "podinfolookup"

	// A label under one of these prefixes that the Pod does not call for is
	// taken away again, so that selectors never find stale facts.
	labelPrefix   = "stable.example.com/"
	labelPrefixIP = "ip." + labelPrefix
	labelPrefixID = "cid." + labelPrefix

	// LabelNamespace holds the Pod's namespace, for lists to select by.
	LabelNamespace = labelPrefix + "namespace"
	// LabelWorkload holds LabelValue of the workload's name, for lists to select
	// by.
	LabelWorkload = labelPrefix + "workload"
	// LabelMore is "true" where the Pod has an IP or a container ID without a label,
	// or the spec is truncated: a client that selects by IP or ID must read these
	// Testcrs as well.
	LabelMore = labelPrefix + "more"

	// Whatever a status holds, a Testcr has at most these many labels for IPs
	// (a Pod has one of each family) and for container IDs.
	maxIPLabels = 8
	maxIDLabels = 64

	// ContainerIDPrefix is how many digits of a container ID its label has: as
	// many as docker ps shows, one less than crictl ps.
	ContainerIDPrefix = 12

	// A label value ends at 63 characters; a longer name keeps this many in
	// front of "-" and 10 hexadecimal digits of its md5.
	labelValueMax  = 63
	labelValueKept = labelValueMax - 11
)

// objectLabels returns the labels of a Testcr with this spec. What a Pod has
// several of is in the keys of labels without a value: the API server selects
// by the presence of a key, while a selectable field is a single value.
func objectLabels(spec *TestcrSpec) map[string]string {
	labels := make(map[string]string, 3+len(spec.PodIPs)+len(spec.Containers))
	labels[LabelManagedBy], labels[LabelNamespace] = ManagedBy, spec.Namespace
	if spec.WorkloadName != "" {
		labels[LabelWorkload] = LabelValue(spec.WorkloadName)
	}
	if spec.Truncated {
		labels[LabelMore] = "true"
	}
	for i, ip := range spec.PodIPs {
		if addr, err := netip.ParseAddr(ip); err == nil && i < maxIPLabels {
			labels[LabelIP(addr)] = ""
		} else {
			labels[LabelMore] = "true"
		}
	}
	for i := range spec.Containers {
		id := spec.Containers[i].ID
		if key, ok := LabelContainer(id); ok && i < maxIDLabels {
			labels[key] = ""
		} else if id != "" {
			labels[LabelMore] = "true"
		}
	}
	return labels
}

func isOurLabel(key string) bool {
	prefix := key[:strings.IndexByte(key, '/')+1]
	return prefix == labelPrefix || prefix == labelPrefixIP || prefix == labelPrefixID
}

// LabelIP returns the key of the label that a Testcr has for each IP of its Pod,
// for example ip.stable.example.com/10.0.0.7. An IPv6 address is written as RFC
// 5952 has it, with "-" for ":" and a 0 where it would begin or end with one:
// fd00::7 is fd00--7, and ::1 is 0--1. A zone is left out, and an IPv4 address
// mapped into IPv6 is the IPv4 address.
func LabelIP(addr netip.Addr) string {
	s := addr.Unmap().WithZone("").String()
	if addr.Is4() || addr.Is4In6() {
		return labelPrefixIP + s
	}
	s = strings.ReplaceAll(s, ":", "-")
	if s[0] == '-' {
		s = "0" + s
	}
	if s[len(s)-1] == '-' {
		s += "0"
	}
	return labelPrefixIP + s
}

// LabelContainer returns the key of the label that a Testcr has for each
// container ID of its Pod, for example cid.stable.example.com/4f5ca3b2d1e0: the
// first 12 hexadecimal digits, in lower case and without the runtime in front
// of "://". It returns false for what does not begin with as many.
func LabelContainer(id string) (string, bool) {
	if _, after, ok := strings.Cut(id, "://"); ok {
		id = after
	}
	if len(id) < ContainerIDPrefix {
		return "", false
	}
	id = strings.ToLower(id[:ContainerIDPrefix])
	return labelPrefixID + id, strings.Trim(id, "0123456789abcdef") == ""
}

// LabelValue returns name as a label value: itself where it is one, its first 52
// characters, "-" and 10 hexadecimal digits of its md5 where it has over 63, and
// its whole md5 where it has characters that label values cannot have (the API
// server lets an owner reference name anything).
func LabelValue(name string) string {
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && (i == 0 || i == len(name)-1 || c != '-' && c != '_' && c != '.') {
			return md5Hex(name)
		}
	}
	if len(name) <= labelValueMax {
		return name
	}
	return name[:labelValueKept] + "-" + md5Hex(name)[:labelValueMax-labelValueKept-1]
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
