package oracle

import (
	"net/netip"
	"regexp"
	"strings"
)

// The labels of a Testcr that belong to the controller, as in the README's table of
// labels.
const (
	// LabelManagedBy with the value ManagedBy marks the controller's Testcrs.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "podinfolookup"

	// LabelNamespace has the namespace of the Pod, LabelWorkload the name of its
	// workload. LabelMore is "true" if an IP or container ID has no label.
	LabelNamespace = prefix + "namespace"
	LabelWorkload  = prefix + "workload"
	LabelMore      = prefix + "more"

	// LabelPrefixIP and LabelPrefixID begin the keys of labels for IPs and container
	// IDs.
	LabelPrefixIP = "ip." + prefix
	LabelPrefixID = "cid." + prefix

	// The IPs of a node but its first, and the UID that a static Pod has on it.
	labelPrefixHostIP  = "hostip." + prefix
	labelPrefixNodeUID = "uid." + prefix

	prefix = "stable.example.com/"
)

// Only so many IPs and containers have labels, in the order of the spec.
const (
	labelledIPs        = 8
	labelledContainers = 64
)

// isOwnLabel reports whether a label belongs to the controller, which deletes those
// that the Pod does not call for.
func isOwnLabel(key string) bool {
	return key == LabelManagedBy || strings.HasPrefix(key, prefix) ||
		strings.HasPrefix(key, LabelPrefixIP) || strings.HasPrefix(key, LabelPrefixID) ||
		strings.HasPrefix(key, labelPrefixHostIP) || strings.HasPrefix(key, labelPrefixNodeUID)
}

// labelsFor returns the labels of a Testcr with this spec.
func labelsFor(spec map[string]any) map[string]string {
	namespace, _ := spec["namespace"].(string)
	labels := map[string]string{LabelManagedBy: ManagedBy, LabelNamespace: namespace}
	if spec["truncated"] == true {
		labels[LabelMore] = "true"
	}
	if workload, ok := spec["workloadname"].(string); ok {
		labels[LabelWorkload] = labelValue(workload)
	}
	add := func(key string, hasRoom bool) {
		if key != "" && hasRoom {
			labels[key] = ""
		} else {
			labels[LabelMore] = "true"
		}
	}
	ips, _ := spec["podips"].([]any)
	for i := range ips {
		add(ipLabel(LabelPrefixIP, ips[i].(string)), i < labelledIPs)
	}
	networks, _ := spec["networkips"].([]any)
	for i := range networks {
		add(ipLabel(LabelPrefixIP, networks[i].(map[string]any)["ip"].(string)), i < labelledIPs)
	}
	hosts, _ := spec["hostips"].([]any)
	for i, ip := range hosts {
		if ip != spec["hostip"] {
			add(ipLabel(labelPrefixHostIP, ip.(string)), i < labelledIPs)
		}
	}
	if uid, ok := spec["nodeuid"].(string); ok {
		add(nodeUIDLabel(uid), true)
	}
	containers, _ := spec["containers"].([]any)
	for i := range containers {
		for _, name := range []string{"id", "previousid"} {
			if id, ok := containers[i].(map[string]any)[name].(string); ok {
				add(idLabel(id), i < labelledContainers)
			}
		}
	}
	return labels
}

// ipLabel returns "" if ip is not an IP.
func ipLabel(prefix, ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	text := strings.ReplaceAll(addr.Unmap().WithZone("").String(), ":", "-")
	// A label must begin and end with a letter or a digit.
	if strings.HasPrefix(text, "-") {
		text = "0" + text
	}
	if strings.HasSuffix(text, "-") {
		text += "0"
	}
	return prefix + text
}

// nodeUIDLabel returns "" if uid is no UID.
func nodeUIDLabel(uid string) string {
	uid = strings.ToLower(strings.ReplaceAll(uid, "-", ""))
	if !uidDigits.MatchString(uid) {
		return ""
	}
	return labelPrefixNodeUID + uid
}

var (
	uidDigits  = regexp.MustCompile(`^[0-9a-f]{32}$`)
	idDigits   = regexp.MustCompile(`^[0-9a-fA-F]{12}`)
	valueChars = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
)

// idLabel returns "" if id does not begin with 12 hexadecimal digits, after the
// runtime.
func idLabel(id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		id = bare
	}
	if digits := idDigits.FindString(id); digits != "" {
		return LabelPrefixID + strings.ToLower(digits)
	}
	return ""
}

// labelValue returns a name as the value of a label, which has at most 63
// characters of a restricted set.
func labelValue(name string) string {
	switch sum := NameFor(name); {
	case !valueChars.MatchString(name):
		return sum
	case len(name) > 63:
		return name[:52] + "-" + sum[:10]
	default:
		return name
	}
}
