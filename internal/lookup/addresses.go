package lookup

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/addresses"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// Addresses is the part of an *addresses.Cache that a Lookup needs.
type Addresses interface {
	Lookup(addr netip.Addr, sees func(namespace string) bool) addresses.Finding
	Services(namespace, name string, sees func(namespace string) bool) (found []addresses.ServiceIP, more int)
	Gaps() addresses.Gaps
	Synced() error
}

// Results of a search for what no Pod has.
const (
	byService = "service"
	byNode    = string(query.Node)
)

// Address is what is known of an IP, or of a Service, that is no Pod's.
type Address struct {
	IP       string           `json:"ip,omitempty"`
	Services []AddressService `json:"services,omitempty"`
	Nodes    []AddressNode    `json:"nodes,omitempty"`
	Text     string           `json:"text"` // all of it in a sentence
}

// AddressService is a Service, and what it uses the IP for.
type AddressService struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Use       string `json:"use,omitempty"` // "cluster IP", "external IP" or "load balancer IP"
	Endpoints int    `json:"endpoints"`
	Ready     int    `json:"ready"` // of these
}

// AddressNode is a node, and the type of the IP.
type AddressNode struct {
	Name string `json:"name"`
	Use  string `json:"use"` // "InternalIP" or "ExternalIP"
}

// behind are the Pods of a Service or of nodes.
type behind struct {
	readAs string
	terms  []query.Term
	filter func(*v1.TestcrSpec) bool
}

// address returns what is known of the IPs and Services in terms, and the Pods behind
// the first that has any. Both are nil if there is nothing.
func (l *Lookup) address(s *scope, terms []query.Term) (*Address, *behind) {
	if l.config.Addresses == nil {
		return nil, nil
	}
	var first *Address
	for _, t := range terms {
		var a *Address
		var b *behind
		switch {
		case (t.Kind == query.IP || t.Kind == query.HostIP) && t.IsExact():
			a, b = l.addressOf(s, t.Addr)
		case t.IsService():
			a, b = l.serviceOf(s, t.Text)
		default:
			continue
		}
		if b != nil {
			return a, b
		}
		if first == nil {
			first = a
		}
	}
	return first, nil
}

func (l *Lookup) addressOf(s *scope, addr netip.Addr) (*Address, *behind) {
	f := l.config.Addresses.Lookup(addr, s.namespaces())
	if s.isRestricted() && len(f.Services) == 0 {
		return nil, nil // nodes and ranges are for those who may see all Pods
	}
	if s.isRestricted() {
		f.Nodes, f.MoreNodes = nil, 0
	}
	a := &Address{IP: addr.String(), Text: f.Describe(l.config.Addresses.Gaps())}
	for i := range f.Services {
		a.Services = append(a.Services, addressService(&f.Services[i]))
	}
	for _, n := range f.Nodes {
		a.Nodes = append(a.Nodes, AddressNode{n.Name, n.Use})
	}
	switch {
	case len(f.Services) > 0:
		return a, behindServices(f.Services)
	case len(f.Nodes) > 0:
		return a, &behind{readAs: byNode, terms: []query.Term{{Kind: query.Node, Text: f.Nodes[0].Name}}}
	}
	return a, nil
}

func (l *Lookup) serviceOf(s *scope, text string) (*Address, *behind) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		namespace, name = "", text
	}
	services, more := l.config.Addresses.Services(namespace, name, s.namespaces())
	if len(services) == 0 {
		return nil, nil
	}
	a := &Address{Text: addresses.DescribeServices(services, more)}
	for i := range services {
		a.Services = append(a.Services, addressService(&services[i]))
	}
	return a, behindServices(services)
}

func addressService(s *addresses.ServiceIP) AddressService {
	out := AddressService{Namespace: s.Namespace, Name: s.Name, Use: s.Use, Endpoints: len(s.Endpoints)}
	for _, e := range s.Endpoints {
		if e.Ready {
			out.Ready++
		}
	}
	return out
}

// behindServices returns the Pods of services, which are in any of them.
func behindServices(services []addresses.ServiceIP) *behind {
	b := &behind{readAs: byService}
	keys, ips := map[string]bool{}, map[string]bool{}
	for i := range services {
		s := &services[i]
		for _, e := range s.Endpoints {
			if e.Pod != "" {
				keys[s.Namespace+"/"+e.Pod] = true
			} else {
				ips[e.IP] = true
			}
		}
	}
	b.filter = func(t *v1.TestcrSpec) bool {
		return keys[t.PodKey] || len(ips) > 0 && slices.ContainsFunc(t.PodIPs, func(ip string) bool { return ips[ip] })
	}
	return b
}

// isClaimed reports whether Pods have the facts of q by annotations alone: a Service or
// a node may have them in truth.
func (l *Lookup) isClaimed(s *scope, q index.Query) bool {
	if l.config.Addresses == nil {
		return false
	}
	q.Limit, q.Skip = 1, 0
	found, _, _ := l.index.Find(nil, s.limit(q)) // those with an IP of their own come first
	return len(found) > 0 && query.AnyAlias(q.Terms, found[0])
}

func (a *Address) text(out *bytes.Buffer) {
	if a != nil {
		fmt.Fprintln(out, printable.Text(a.Text))
	}
}
