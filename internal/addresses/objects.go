package addresses

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// The bounds of one object, whose lists may have any length.
const (
	maxIPs       = 64
	maxEndpoints = 1000 // of an EndpointSlice, as the API server has it
)

// What an IP is used for.
const (
	useClusterIP    = "cluster IP"
	useExternalIP   = "external IP"
	useLoadBalancer = "load balancer IP"
)

// use is an IP and what it is used for: one of the above, or the type of a node's
// address.
type use struct {
	addr netip.Addr
	name string
}

// object is what an informer reads of any of the objects below.
type object struct{ namespace, name, resourceVersion string }

func objectOf(m *metav1.ObjectMeta) object { return object{m.Namespace, m.Name, m.ResourceVersion} }

// GetObjectMeta returns the metadata that an informer reads.
func (o *object) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: o.namespace, Name: o.name, ResourceVersion: o.resourceVersion}
}

// Service is the part of a Service that tells its IPs.
type Service struct {
	object

	uses []use
}

// NewService returns the IPs of a Service. Names of load balancers are none.
func NewService(s *corev1.Service) *Service {
	out := &Service{object: objectOf(&s.ObjectMeta)}
	clusterIPs := s.Spec.ClusterIPs
	if len(clusterIPs) == 0 {
		clusterIPs = []string{s.Spec.ClusterIP}
	}
	for _, ip := range clusterIPs {
		out.uses = appendUse(out.uses, ip, useClusterIP) // "None" is no IP
	}
	for _, ip := range s.Spec.ExternalIPs {
		out.uses = appendUse(out.uses, ip, useExternalIP)
	}
	for i := range s.Status.LoadBalancer.Ingress {
		out.uses = appendUse(out.uses, s.Status.LoadBalancer.Ingress[i].IP, useLoadBalancer)
	}
	return out
}

func appendUse(uses []use, ip, name string) []use {
	addr, err := netip.ParseAddr(ip)
	if err != nil || len(uses) == maxIPs {
		return uses
	}
	u := use{query.Canonical(addr), name}
	if slices.ContainsFunc(uses, func(other use) bool { return other.addr == u.addr }) {
		return uses
	}
	return append(uses, u)
}

// Slice is the part of an EndpointSlice that tells which Pods a Service has.
type Slice struct {
	object

	service   string
	endpoints []Endpoint
}

// Endpoint is what a Service forwards to.
type Endpoint struct {
	Pod   string // the name of a Pod in the namespace of the Service, or ""
	IP    string // without a Pod
	Ready bool
}

// NewSlice returns the endpoints of an EndpointSlice.
func NewSlice(s *discoveryv1.EndpointSlice) *Slice {
	out := &Slice{object: objectOf(&s.ObjectMeta), service: s.Labels[discoveryv1.LabelServiceName]}
	for i := range s.Endpoints[:min(len(s.Endpoints), maxEndpoints)] {
		e := &s.Endpoints[i]
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		if ref := e.TargetRef; ref != nil && ref.Kind == "Pod" && (ref.Namespace == "" || ref.Namespace == s.Namespace) {
			out.endpoints = append(out.endpoints, Endpoint{Pod: ref.Name, Ready: ready})
			continue
		}
		if len(e.Addresses) == 0 {
			continue
		}
		if addr, err := netip.ParseAddr(e.Addresses[0]); err == nil {
			out.endpoints = append(out.endpoints, Endpoint{IP: query.Canonical(addr).String(), Ready: ready})
		}
	}
	return out
}

// Node is the part of a node that tells its IPs and those of its Pods.
type Node struct {
	object

	uses   []use
	ranges []netip.Prefix
}

// NewNode returns the IPs of a node.
func NewNode(n *corev1.Node) *Node {
	out := &Node{object: objectOf(&n.ObjectMeta)}
	for _, a := range n.Status.Addresses {
		out.uses = appendUse(out.uses, a.Address, string(a.Type)) // names are no IPs
	}
	ranges := n.Spec.PodCIDRs
	if len(ranges) == 0 {
		ranges = []string{n.Spec.PodCIDR}
	}
	out.ranges = appendRanges(nil, ranges)
	return out
}

func appendRanges(ranges []netip.Prefix, texts []string) []netip.Prefix {
	for _, text := range texts {
		if prefix, err := netip.ParsePrefix(text); err == nil && len(ranges) < maxIPs {
			ranges = append(ranges, prefix.Masked())
		}
	}
	return ranges
}

func addrsOf(uses []use) []netip.Addr {
	addrs := make([]netip.Addr, len(uses))
	for i := range uses {
		addrs[i] = uses[i].addr
	}
	return addrs
}

func (s *Service) addrs() []netip.Addr { return addrsOf(s.uses) }

func (s *Slice) addrs() []netip.Addr { return nil }

func (n *Node) addrs() []netip.Addr { return addrsOf(n.uses) }

func (s *Service) isSame(other *Service) bool { return slices.Equal(s.uses, other.uses) }

func (s *Slice) isSame(other *Slice) bool {
	return s.service == other.service && slices.Equal(s.endpoints, other.endpoints)
}

func (n *Node) isSame(other *Node) bool {
	return slices.Equal(n.uses, other.uses) && slices.Equal(n.ranges, other.ranges)
}
