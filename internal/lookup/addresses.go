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

// behind are the Pods of Services and nodes.
type behind struct {
	keys, ips, nodes map[string]bool
	readAs           string
}

func (b *behind) has(s *v1.TestcrSpec) bool {
	return b.keys[s.PodKey] || b.nodes[s.NodeName] || len(b.ips) > 0 && slices.ContainsFunc(s.PodIPs, func(ip string) bool { return b.ips[ip] })
}

// address returns what is known of the IPs and Services in terms, and the Pods behind
// them. Both are nil if there is nothing.
func (l *Lookup) address(s *scope, terms []query.Term) (*Address, *behind) {
	if l.config.Addresses == nil {
		return nil, nil
	}
	all, pods := &Address{}, &behind{keys: map[string]bool{}, ips: map[string]bool{}, nodes: map[string]bool{}}
	var sentences []string
	var seen []netip.Addr
	for _, t := range terms {
		switch {
		case (t.Kind == query.IP || t.Kind == query.HostIP) && t.IsExact() && !slices.Contains(seen, t.Addr):
			seen = append(seen, t.Addr)
			if sentence := l.addressOf(s, t.Addr, all, pods); sentence != "" {
				sentences = append(sentences, sentence)
			}
		case t.IsService():
			if sentence := l.serviceOf(s, t.Text, all, pods); sentence != "" {
				sentences = append(sentences, sentence)
			}
		}
	}
	if len(sentences) == 0 {
		return nil, nil
	}
	all.Text = strings.Join(sentences, "; ")
	if pods.readAs == "" {
		return all, nil
	}
	return all, pods
}

// addressOf adds the Services and nodes that have an IP, and returns a sentence about it,
// or "" if the caller may know nothing.
func (l *Lookup) addressOf(s *scope, addr netip.Addr, all *Address, pods *behind) string {
	f := l.config.Addresses.Lookup(addr, s.namespaces())
	if s.isRestricted() && len(f.Services) == 0 {
		return "" // nodes and ranges are for those who may see all Pods
	}
	if s.isRestricted() {
		f.Nodes, f.MoreNodes = nil, 0
	}
	if all.IP == "" {
		all.IP = addr.String()
	}
	pods.addServices(f.Services, all)
	for _, n := range f.Nodes {
		all.Nodes = append(all.Nodes, AddressNode{n.Name, n.Use})
		pods.nodes[n.Name] = true
		if pods.readAs == "" {
			pods.readAs = byNode
		}
	}
	return f.Describe(l.config.Addresses.Gaps())
}

// serviceOf adds the Services of a name, [NAMESPACE/]NAME, and returns a sentence about
// them, or "" if there are none.
func (l *Lookup) serviceOf(s *scope, text string, all *Address, pods *behind) string {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		namespace, name = "", text
	}
	services, more := l.config.Addresses.Services(namespace, name, s.namespaces())
	pods.addServices(services, all)
	return addresses.DescribeServices(services, more)
}

func (b *behind) addServices(services []addresses.ServiceIP, all *Address) {
	for i := range services {
		s := &services[i]
		out := AddressService{Namespace: s.Namespace, Name: s.Name, Use: s.Use, Endpoints: len(s.Endpoints)}
		for _, e := range s.Endpoints {
			if e.Ready {
				out.Ready++
			}
			if e.Pod != "" {
				b.keys[s.Namespace+"/"+e.Pod] = true
			} else {
				b.ips[e.IP] = true
			}
		}
		all.Services = append(all.Services, out)
		b.readAs = byService
	}
}

// isClaimed reports whether Pods have the facts of q by annotations alone: a Service or
// a node may have them in truth.
func (l *Lookup) isClaimed(s *scope, q index.Query) bool {
	if l.config.Addresses == nil {
		return false
	}
	q.After, q.Compare, q.Limit, q.Skip = nil, nil, 1, 0
	found, _, _ := l.index.Find(nil, s.limit(q)) // those with an IP of their own come first
	return len(found) > 0 && query.AnyAlias(q.Terms, found[0])
}

func (a *Address) text(out *bytes.Buffer) {
	if a != nil {
		fmt.Fprintln(out, printable.Text(a.Text))
	}
}
