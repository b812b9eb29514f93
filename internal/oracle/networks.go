package oracle

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// maxAnnotation bounds an annotation that is read, in bytes.
const maxAnnotation = 64 * 1024

func nodeUID(pod *corev1.Pod) string {
	if hash := pod.Annotations["kubernetes.io/config.hash"]; hash != "" {
		return hash
	}
	return pod.Annotations["kubernetes.io/config.mirror"]
}

// hostIPs has no items for a node with one IP.
func hostIPs(status *corev1.PodStatus) []any {
	var ips []any
	if len(status.HostIPs) > 1 {
		for _, ip := range status.HostIPs {
			ips = append(ips, ip.IP)
		}
	}
	return ips
}

// networkIPs returns the IPs in the annotations of network plugins, without those of
// the status. Of a malformed annotation it returns none.
func networkIPs(pod *corev1.Pod) []any {
	type source struct{ network, ip string }
	var sources []source
	for _, name := range []string{"k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status"} {
		var networks []struct {
			Name string
			IPs  []string
		}
		if text := pod.Annotations[name]; len(text) <= maxAnnotation && json.Unmarshal([]byte(text), &networks) == nil {
			for _, n := range networks {
				for _, ip := range n.IPs {
					sources = append(sources, source{n.Name, ip})
				}
			}
		}
	}
	var networks map[string]struct {
		Addresses []string `json:"ip_addresses"`
		Address   string   `json:"ip_address"`
	}
	if text := pod.Annotations["k8s.ovn.org/pod-networks"]; len(text) <= maxAnnotation && json.Unmarshal([]byte(text), &networks) == nil {
		for _, name := range slices.Sorted(maps.Keys(networks)) {
			for _, ip := range networks[name].Addresses {
				sources = append(sources, source{name, ip})
			}
			sources = append(sources, source{name, networks[name].Address})
		}
	}
	known := map[string]bool{}
	for _, ip := range podIPs(&pod.Status) {
		known[plainIP(ip.(string))] = true
	}
	var out []any
	for _, s := range sources {
		ip, _, _ := strings.Cut(s.ip, "/")
		if ip = plainIP(ip); ip != "" && !known[ip] && len(out) <= maxIPs { // one more shows that some are left out
			known[ip] = true
			out = append(out, map[string]any{"ip": ip, "network": s.network})
		}
	}
	return out
}

// plainIP returns the one spelling of an IP, or "".
func plainIP(s string) string {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return ""
	}
	return addr.Unmap().WithZone("").String()
}
