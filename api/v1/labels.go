package v1

import (
	"net/netip"
	"strings"
)

const (
	// LabelManagedBy with the value ManagedBy marks the Testcrs that PodInfoLookup
	// keeps. It deletes no others.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	// ManagedBy is also the field manager and the user agent of all writes.
	ManagedBy = "podinfolookup"

	labelPrefix   = GroupName + "/"
	labelPrefixIP = "ip." + labelPrefix
	labelPrefixID = "cid." + labelPrefix

	labelPrefixHostIP  = "hostip." + labelPrefix
	labelPrefixNodeUID = "uid." + labelPrefix

	// LabelNamespace has the Pod's namespace as its value.
	LabelNamespace = labelPrefix + "namespace"
	// LabelWorkload has LabelValue of the workload's name as its value.
	LabelWorkload = labelPrefix + "workload"
	// LabelMore is "true" if the Pod has an IP, a container ID or a node's UID without a
	// label, or if the spec is truncated. A client that selects by such labels must read these
	// Testcrs as well.
	LabelMore = labelPrefix + "more"

	// ContainerIDPrefix is how many digits of a container ID its label has: as
	// many as docker ps shows, one less than crictl ps.
	ContainerIDPrefix = 12

	// A label value has at most 63 characters. A longer name is cut to
	// labelValueKept, before "-" and 10 hexadecimal digits of its md5.
	labelValueMax  = 63
	labelValueKept = labelValueMax - 11
)

// LabelIP returns the key of the label that a Testcr has for each IP of its Pod, for
// example ip.stable.example.com/10.0.0.7. An IPv6 address has the form of RFC 5952
// with "-" for ":", and a 0 where it would begin or end with "-": fd00::7 is fd00--7,
// ::1 is 0--1. A zone is left out. An IPv4-mapped IPv6 address is the IPv4 address.
func LabelIP(addr netip.Addr) string { return labelPrefixIP + labelName(addr) }

// LabelHostIP returns the key of the label that a Testcr has for each IP of its node
// but the first, which is the selectable field spec.hostip. Its form is that of LabelIP.
func LabelHostIP(addr netip.Addr) string { return labelPrefixHostIP + labelName(addr) }

func labelName(addr netip.Addr) string {
	s := addr.Unmap().WithZone("").String()
	if addr.Is4() || addr.Is4In6() {
		return s
	}
	s = strings.ReplaceAll(s, ":", "-")
	if s[0] == '-' {
		s = "0" + s
	}
	if s[len(s)-1] == '-' {
		s += "0"
	}
	return s
}

// LabelNodeUID returns the key of the label that the Testcr of a static Pod has for
// the UID that it has on its node, for example
// uid.stable.example.com/5b1c8d8f0e5b1c8d8f0e5b1c8d8f0e5b: in lower case and without
// "-". It returns false for a text that is no UID.
func LabelNodeUID(uid string) (string, bool) {
	uid = strings.ToLower(strings.ReplaceAll(uid, "-", ""))
	return labelPrefixNodeUID + uid, len(uid) == 32 && isHex(uid)
}

// LabelContainer returns the key of the label that a Testcr has for each
// container ID of its Pod, for example cid.stable.example.com/4f5ca3b2d1e0: the
// first 12 hexadecimal digits, in lower case and without the runtime in front
// of "://". It returns false for a text that does not begin with 12 such digits.
func LabelContainer(id string) (string, bool) {
	if _, after, ok := strings.Cut(id, "://"); ok {
		id = after
	}
	if len(id) < ContainerIDPrefix {
		return "", false
	}
	id = strings.ToLower(id[:ContainerIDPrefix])
	return labelPrefixID + id, isHex(id)
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// LabelValue returns name as a label value: name itself if it is a valid one. Of a
// name of more than 63 characters it is the first 52, "-" and 10 hexadecimal digits
// of the md5. Of a name with other characters than label values may have it is the
// md5: an owner reference may have any name.
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

// IsLabel reports whether key is a label that belongs to PodInfoLookup on a Testcr.
// One that the Pod does not call for is removed.
func IsLabel(key string) bool {
	prefix := key[:strings.IndexByte(key, '/')+1]
	return prefix == labelPrefix || prefix == labelPrefixIP || prefix == labelPrefixID ||
		prefix == labelPrefixHostIP || prefix == labelPrefixNodeUID
}
