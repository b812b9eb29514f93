package addresses

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Finding is what is known of an IP, but for the Pods that have it.
type Finding struct {
	Addr         netip.Addr
	Services     []ServiceIP // that have the IP
	MoreServices int         // beyond the first
	Nodes        []NodeIP    // that have the IP
	MoreNodes    int

	serviceRange, podRange         netip.Prefix // that the IP is in
	rangeOf                        string       // the node of podRange
	hasServiceRanges, hasPodRanges bool         // there are any
}

// ServiceIP is a Service and one of its IPs.
type ServiceIP struct {
	Namespace, Name string
	Use             string // of the IP: "cluster IP", "external IP" or "load balancer IP"
	Endpoints       []Endpoint
}

// NodeIP is a node and one of its IPs.
type NodeIP struct {
	Name string
	Use  string // the type of the address: "InternalIP", "ExternalIP"
}

// Gaps are the reasons why something is not known, or not all of it. They are "" if it
// is. Stale is how old what is known is, if that is too old.
type Gaps struct{ Pods, Services, Nodes, ServiceRanges, Stale string }

// IsHeld reports whether a Service or a node has the IP.
func (f *Finding) IsHeld() bool { return len(f.Services) > 0 || len(f.Nodes) > 0 }

// Describe returns f as a sentence without a full stop. It begins with the IP.
func (f *Finding) Describe(gaps Gaps) string {
	var parts []string
	for i := range f.Services {
		s := &f.Services[i]
		parts = append(parts, fmt.Sprintf("the %s of %s", s.Use, s))
	}
	if f.MoreServices > 0 {
		parts = append(parts, "an IP of "+plural(f.MoreServices, "more service"))
	}
	for _, n := range f.Nodes {
		parts = append(parts, fmt.Sprintf("the %s of node %s", n.Use, n.Name))
	}
	if f.MoreNodes > 0 {
		parts = append(parts, "an IP of "+plural(f.MoreNodes, "more node"))
	}
	text, limits := strings.Join(parts, ", and "), []string{gaps.Stale}
	if text == "" {
		text = special(f.Addr)
	}
	if text == "" {
		text = f.place(gaps)
		limits = []string{gaps.Pods, gaps.Services, gaps.Nodes, gaps.ServiceRanges, gaps.Stale}
	}
	all := []string{f.Addr.String() + " is " + text}
	for _, gap := range slices.Compact(limits) {
		if gap != "" {
			all = append(all, gap)
		}
	}
	return strings.Join(all, "; ")
}

// DescribeServices returns Services of one name, and that there are more of them, as a
// phrase.
func DescribeServices(services []ServiceIP, more int) string {
	var names []string
	for i := range services {
		names = append(names, services[i].String())
	}
	if more > 0 {
		names = append(names, plural(more, "more service")+" of that name")
	}
	return strings.Join(names, ", ")
}

// place returns where an IP is that nobody is known to have.
func (f *Finding) place(gaps Gaps) string {
	nobody := ""
	switch {
	case gaps.Services == "" && gaps.Nodes == "":
		nobody = ", and no service and no node has it"
	case gaps.Services == "":
		nobody = ", and no service has it"
	case gaps.Nodes == "":
		nobody = ", and no node has it"
	}
	switch {
	case f.serviceRange.IsValid():
		return fmt.Sprintf("in the Service range %s of this cluster%s", f.serviceRange, nobody)
	case f.podRange.IsValid():
		text := fmt.Sprintf("in the Pod range %s of node %s", f.podRange, f.rangeOf)
		if gaps.Pods == "" {
			text += ", and no Pod has it now"
		}
		return text
	case f.hasPodRanges && f.hasServiceRanges:
		text := "in no Pod range and in no Service range of this cluster" + nobody
		if gaps.Pods == "" && gaps.Services == "" && gaps.Nodes == "" {
			// Some network plugins take the IPs of Pods from elsewhere.
			text += ": it is not of this cluster, unless its Pods have IPs outside of the ranges of its nodes, or a node that had it is gone"
		}
		return text
	case f.hasPodRanges:
		return "in no Pod range of this cluster" + nobody + "; its Service ranges are not known"
	case f.hasServiceRanges:
		return "in no Service range of this cluster" + nobody + "; its Pod ranges are not known, because no node names one"
	}
	return "perhaps of this cluster, whose ranges are not known" + nobody
}

// special returns what an IP is that no one Pod, Service or node can have, or "".
func special(addr netip.Addr) string {
	switch {
	case addr.IsLoopback():
		return "loopback: each Pod and each node has it for itself"
	case addr.IsUnspecified():
		return "no address: a program that listens at it listens at all of its own"
	case addr.IsMulticast():
		return "multicast: it is a group's"
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "broadcast: it is everybody's in one network"
	case addr == netip.AddrFrom4([4]byte{169, 254, 169, 254}):
		return "link-local: the metadata service of most clouds"
	case addr.IsLinkLocalUnicast():
		return "link-local: it is valid on one node or in one network alone"
	}
	return ""
}

// String returns "service NAMESPACE/NAME -> 3 Pods".
func (s *ServiceIP) String() string {
	pods, others, unready := 0, 0, 0
	for _, e := range s.Endpoints {
		if e.Pod != "" {
			pods++
		} else {
			others++
		}
		if !e.Ready {
			unready++
		}
	}
	text := fmt.Sprintf("service %s/%s -> %s", s.Namespace, s.Name, plural(pods, "Pod"))
	if others > 0 {
		text += " and " + plural(others, "other endpoint")
	}
	if unready > 0 {
		text += fmt.Sprintf(" (%d not ready)", unready)
	}
	return text
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
