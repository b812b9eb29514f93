// Package dedup keeps one copy of strings and label sets that many Pods have: the
// names of nodes, namespaces, images and workloads.
package dedup

import (
	"maps"
	"slices"
	"strings"
	"sync"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const (
	// The capacity of each map of a generational, in entries and in bytes of keys. A
	// cluster of 100,000 Pods has some 40,000 such strings and half as many sets of
	// labels. The owners of Pods choose the strings, so their bytes are bounded too.
	maxEntries = 1 << 15
	maxBytes   = 2 << 20
	// maxStringBytes is the longest string that is shared. Names of nodes, images and
	// workloads are shorter. Longer strings are rarely repeated.
	maxStringBytes = 256
	// maxLabelsBytes is the largest set of labels that is shared.
	maxLabelsBytes = 2 << 10
)

// generational is a map that drops entries which were not used for a while. When
// current is full it becomes previous, and the former previous is dropped. Objects
// that share a dropped entry keep it.
type generational[V any] struct {
	current, previous map[string]V
	bytes             int // of the keys in current
}

func (g *generational[V]) get(key []byte) (V, bool) {
	if v, ok := g.current[string(key)]; ok {
		return v, true
	}
	v, ok := g.previous[string(key)]
	if ok {
		g.put(string(key), v)
	}
	return v, ok
}

func (g *generational[V]) put(key string, v V) {
	if len(g.current) >= maxEntries || g.bytes+len(key) > maxBytes {
		g.previous, g.current, g.bytes = g.current, nil, 0
	}
	if g.current == nil {
		g.current = map[string]V{}
	}
	g.current[key] = v
	g.bytes += len(key)
}

// Pool holds the shared strings and label sets. It may be used by several
// goroutines. The zero value is ready for use.
type Pool struct {
	mu      sync.Mutex
	strings generational[string]
	labels  generational[map[string]string]
	key     []byte // reused by sameLabels
}

// Spec replaces the strings and labels of spec by shared copies.
func (p *Pool) Spec(spec *v1.TestcrSpec) {
	spec.PodName = spec.PodKey[len(spec.PodKey)-len(spec.PodName):]
	if len(spec.PodIPs) > 0 && spec.PodIPs[0] == spec.PodIP {
		spec.PodIPs[0] = spec.PodIP
	}
	if spec.Hostname == spec.PodName {
		spec.Hostname = spec.PodName
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range []*string{
		&spec.Namespace, &spec.HostIP, &spec.NodeName, &spec.Phase, &spec.Status, &spec.ReadyContainers, &spec.OwnerKind, &spec.OwnerName,
		&spec.WorkloadKind, &spec.WorkloadName, &spec.WorkloadProof, &spec.ServiceAccount, &spec.Subdomain,
	} {
		*s = p.same(*s)
	}
	for i := range spec.HostIPs {
		spec.HostIPs[i] = p.same(spec.HostIPs[i])
	}
	for i := range spec.NetworkIPs {
		spec.NetworkIPs[i].Network = p.same(spec.NetworkIPs[i].Network)
	}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		c.Name, c.Image, c.ImageID, c.PreviousReason = p.same(c.Name), p.same(c.Image), p.same(c.ImageID), p.same(c.PreviousReason)
	}
	spec.Labels = p.sameLabels(spec.Labels)
}

// String returns the shared copy of s.
func (p *Pool) String(s string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.same(s)
}

func (p *Pool) same(s string) string {
	if len(s) > maxStringBytes || s == "" {
		return s
	}
	if known, ok := p.strings.get([]byte(s)); ok {
		return known
	}
	s = strings.Clone(s) // it may be a part of a longer one
	p.strings.put(s, s)
	return s
}

// sameLabels returns a map that the Pods of a workload share.
func (p *Pool) sameLabels(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	p.key = p.key[:0]
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		p.key = append(append(append(append(p.key, name...), 0), labels[name]...), 0)
	}
	if len(p.key) > maxLabelsBytes {
		p.key = nil
		return labels
	}
	if known, ok := p.labels.get(p.key); ok {
		return known
	}
	own := make(map[string]string, len(labels))
	for name, value := range labels {
		own[p.same(name)] = p.same(value)
	}
	p.labels.put(string(p.key), own)
	return own
}
