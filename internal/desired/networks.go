package desired

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const (
	configHash        = "kubernetes.io/config.hash"
	networkStatus     = "k8s.v1.cni.cncf.io/network-status"
	networksStatus    = "k8s.v1.cni.cncf.io/networks-status" // its name before
	ovnNetworks       = "k8s.ovn.org/pod-networks"
	maxNetworkIPs     = 16
	maxNetworksParsed = 64 << 10 // bytes of one annotation
)

// networkIPs returns the IPs in annotations that are not among status.podIPs, each
// once. An annotation that is malformed, or larger than those of CNI plugins, has none.
func networkIPs(pod *corev1.Pod) []v1.NetworkIP {
	if len(pod.Annotations) == 0 {
		return nil
	}
	taken := map[netip.Addr]bool{}
	for _, ip := range podIPs(&pod.Status) {
		if addr, err := netip.ParseAddr(ip); err == nil {
			taken[canonical(addr)] = true
		}
	}
	var out []v1.NetworkIP
	add := func(network, ip string) {
		address, _, _ := strings.Cut(ip, "/") // OVN appends the length of the prefix
		addr, err := netip.ParseAddr(address)
		if err != nil {
			return
		}
		if addr = canonical(addr); !taken[addr] && len(out) <= maxNetworkIPs { // one more than may stay: see bound
			taken[addr] = true
			out = append(out, v1.NetworkIP{IP: addr.String(), Network: network})
		}
	}
	for _, key := range []string{networkStatus, networksStatus} {
		var networks []struct {
			Name string   `json:"name"`
			IPs  []string `json:"ips"`
		}
		if parse(pod, key, &networks) {
			for _, n := range networks {
				for _, ip := range n.IPs {
					add(n.Name, ip)
				}
			}
		}
	}
	var networks map[string]struct {
		IPs []string `json:"ip_addresses"`
		IP  string   `json:"ip_address"` // the form before
	}
	if parse(pod, ovnNetworks, &networks) {
		for _, name := range slices.Sorted(maps.Keys(networks)) {
			for _, ip := range append(networks[name].IPs, networks[name].IP) {
				add(name, ip)
			}
		}
	}
	return out
}

func parse(pod *corev1.Pod, annotation string, into any) bool {
	text := pod.Annotations[annotation]
	return text != "" && len(text) <= maxNetworksParsed && json.Unmarshal([]byte(text), into) == nil
}

func canonical(addr netip.Addr) netip.Addr { return addr.WithZone("").Unmap() }
