package addresses

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/tools/cache"
)

// maxHolders bounds the Services and the nodes in a Finding.
const maxHolders = 8

// Table contains Services with their endpoints, and nodes, by their IPs. It does not know
// what was left out when it was filled: see Gaps.
type Table struct {
	mu            sync.RWMutex
	services      map[cache.ObjectName]*Service
	slices        map[cache.ObjectName]map[string]*Slice // by Service, by name
	nodes         map[string]*Node
	serviceAddrs  map[netip.Addr][]*Service
	nodeAddrs     map[netip.Addr][]*Node
	serviceRanges []netip.Prefix
	ranges        map[netip.Prefix][]*Node // of Pods
}

// NewTable returns an empty table.
func NewTable() *Table {
	return &Table{
		services: map[cache.ObjectName]*Service{}, slices: map[cache.ObjectName]map[string]*Slice{}, nodes: map[string]*Node{},
		serviceAddrs: map[netip.Addr][]*Service{}, nodeAddrs: map[netip.Addr][]*Node{}, ranges: map[netip.Prefix][]*Node{},
	}
}

// PutService adds or replaces a Service.
func (t *Table) PutService(s *Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := cache.NewObjectName(s.namespace, s.name)
	t.dropService(key)
	t.services[key] = s
	for _, u := range s.uses {
		t.serviceAddrs[u.addr] = append(t.serviceAddrs[u.addr], s)
	}
}

// RemoveService removes a Service.
func (t *Table) RemoveService(s *Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropService(cache.NewObjectName(s.namespace, s.name))
}

func (t *Table) dropService(key cache.ObjectName) {
	old := t.services[key]
	if old == nil {
		return
	}
	delete(t.services, key)
	for _, u := range old.uses {
		drop(t.serviceAddrs, u.addr, old)
	}
}

// drop removes one value of a key.
func drop[K, V comparable](from map[K][]V, key K, value V) {
	rest := slices.DeleteFunc(from[key], func(v V) bool { return v == value })
	if len(rest) == 0 {
		delete(from, key)
		return
	}
	from[key] = rest
}

// PutSlice adds an EndpointSlice in place of its old state, if there is one.
func (t *Table) PutSlice(old, s *Slice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old != nil {
		t.dropSlice(old) // it may be of another Service
	}
	if s.service == "" {
		return
	}
	key := cache.NewObjectName(s.namespace, s.service)
	if t.slices[key] == nil {
		t.slices[key] = map[string]*Slice{}
	}
	t.slices[key][s.name] = s
}

// RemoveSlice removes an EndpointSlice.
func (t *Table) RemoveSlice(s *Slice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropSlice(s)
}

func (t *Table) dropSlice(s *Slice) {
	key := cache.NewObjectName(s.namespace, s.service)
	delete(t.slices[key], s.name)
	if len(t.slices[key]) == 0 {
		delete(t.slices, key)
	}
}

// PutNode adds or replaces a node.
func (t *Table) PutNode(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropNode(n.name)
	t.nodes[n.name] = n
	for _, u := range n.uses {
		t.nodeAddrs[u.addr] = append(t.nodeAddrs[u.addr], n)
	}
	for _, prefix := range n.ranges {
		t.ranges[prefix] = append(t.ranges[prefix], n)
	}
}

// RemoveNode removes a node.
func (t *Table) RemoveNode(n *Node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropNode(n.name)
}

func (t *Table) dropNode(name string) {
	old := t.nodes[name]
	if old == nil {
		return
	}
	delete(t.nodes, name)
	for _, u := range old.uses {
		drop(t.nodeAddrs, u.addr, old)
	}
	for _, prefix := range old.ranges {
		drop(t.ranges, prefix, old)
	}
}

// SetServiceRanges replaces the ranges of cluster IPs.
func (t *Table) SetServiceRanges(all []networkingv1.ServiceCIDR) {
	var ranges []netip.Prefix
	for i := range all {
		ranges = appendRanges(ranges, all[i].Spec.CIDRs)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serviceRanges = ranges
}

// Lookup returns what is known of addr. sees limits the namespaces of Services; nil
// stands for all.
func (t *Table) Lookup(addr netip.Addr, sees func(namespace string) bool) Finding {
	t.mu.RLock()
	defer t.mu.RUnlock()
	f := Finding{Addr: addr}
	for _, s := range t.serviceAddrs[addr] {
		if sees == nil || sees(s.namespace) {
			f.Services = append(f.Services, t.serviceIP(s, useOf(s.uses, addr)))
		}
	}
	slices.SortFunc(f.Services, func(a, b ServiceIP) int {
		return cmp.Or(strings.Compare(a.Use, b.Use), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	f.Services, f.MoreServices = firstFew(f.Services)
	for _, n := range t.nodeAddrs[addr] {
		f.Nodes = append(f.Nodes, NodeIP{Name: n.name, Use: useOf(n.uses, addr)})
	}
	slices.SortFunc(f.Nodes, func(a, b NodeIP) int { return strings.Compare(a.Name, b.Name) })
	f.Nodes, f.MoreNodes = firstFew(f.Nodes)
	f.hasServiceRanges, f.hasPodRanges = len(t.serviceRanges) > 0, len(t.ranges) > 0
	for _, prefix := range t.serviceRanges {
		if prefix.Contains(addr) {
			f.serviceRange = prefix
		}
	}
	for bits := addr.BitLen(); bits > 0 && !f.podRange.IsValid(); bits-- {
		prefix, _ := addr.Prefix(bits)
		for i, n := range t.ranges[prefix] {
			if i == 0 || n.name < f.rangeOf {
				f.podRange, f.rangeOf = prefix, n.name
			}
		}
	}
	return f
}

// Services returns the first Services of a name, and how many more there are: in one
// namespace or, if that is "", in all. For sees see Lookup.
func (t *Table) Services(namespace, name string, sees func(namespace string) bool) (found []ServiceIP, more int) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var keys []cache.ObjectName
	if namespace != "" {
		keys = []cache.ObjectName{cache.NewObjectName(namespace, name)}
	} else {
		for key := range t.services {
			if key.Name == name {
				keys = append(keys, key)
			}
		}
	}
	keys = slices.DeleteFunc(keys, func(key cache.ObjectName) bool {
		return t.services[key] == nil || sees != nil && !sees(key.Namespace)
	})
	slices.SortFunc(keys, func(a, b cache.ObjectName) int { return strings.Compare(a.Namespace, b.Namespace) })
	keys, more = firstFew(keys)
	for _, key := range keys {
		found = append(found, t.serviceIP(t.services[key], ""))
	}
	return found, more
}

func (t *Table) serviceIP(s *Service, name string) ServiceIP {
	out := ServiceIP{Namespace: s.namespace, Name: s.name, Use: name}
	for _, slice := range t.slices[cache.NewObjectName(s.namespace, s.name)] {
		out.Endpoints = append(out.Endpoints, slice.endpoints...)
	}
	out.Endpoints = distinct(out.Endpoints)
	return out
}

// distinct returns endpoints sorted, each once: a Pod with IPs of two families is in two
// slices. It is ready if it is in any of them.
func distinct(endpoints []Endpoint) []Endpoint {
	slices.SortFunc(endpoints, func(a, b Endpoint) int {
		byReady := 0
		if a.Ready != b.Ready {
			byReady = 1
			if a.Ready {
				byReady = -1
			}
		}
		return cmp.Or(strings.Compare(a.Pod, b.Pod), strings.Compare(a.IP, b.IP), byReady)
	})
	return slices.CompactFunc(endpoints, func(a, b Endpoint) bool { return a.Pod == b.Pod && a.IP == b.IP })
}

func useOf(uses []use, addr netip.Addr) string {
	for _, u := range uses {
		if u.addr == addr {
			return u.name
		}
	}
	return ""
}

func firstFew[T any](all []T) (few []T, more int) {
	n := min(len(all), maxHolders)
	return all[:n], len(all) - n
}
