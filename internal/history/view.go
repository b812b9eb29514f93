package history

import (
	"slices"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// view is a life with everything that its intervals refer to.
type view struct {
	life   *life
	shapes map[int64]*shape
	nodes  map[int64]node
}

// matching returns the intervals in which all terms match, in order. It cuts the life
// where anything changes, and matches each piece like a Pod of the present.
func (v *view) matching(terms []query.Term) (found []Interval) {
	times := v.times()
	var current *Interval // the pieces since the last one that did not match
	for i, t := range times {
		end := int64(open)
		if i+1 < len(times) {
			end = times[i+1]
		}
		if !v.matches(terms, t, false) {
			current = nil
			continue
		}
		isCertain := v.matches(terms, t, true)
		if current == nil || isCertain && current.HasCertain() && current.To < t {
			found = append(found, Interval{Earliest: t, From: end, To: end})
			current = &found[len(found)-1]
		}
		current.Latest = end
		switch {
		case isCertain && !current.HasCertain():
			current.From, current.To = t, end
		case isCertain:
			current.To = end
		case !current.HasCertain():
			current.From, current.To = end, end
		}
	}
	return found
}

func (v *view) matches(terms []query.Term, t int64, isCertain bool) bool {
	_, isMatch := v.matched(terms, t, isCertain)
	return isMatch
}

// matched returns the Pod at time t as it matches the terms. While it is not certain which
// shape the Pod had, it may have had each of them.
func (v *view) matched(terms []query.Term, t int64, isCertain bool) (*v1.TestcrSpec, bool) {
	spec, exists := v.at(t, isCertain, nil)
	if !exists || matchesAll(terms, spec) {
		return spec, exists
	}
	for i := range v.life.facts {
		f := &v.life.facts[i]
		if isCertain || f.kind != factShape || t < f.Earliest || t >= f.Latest {
			continue
		}
		if other, _ := v.at(t, false, f); matchesAll(terms, other) {
			return other, true
		}
	}
	return spec, false
}

func matchesAll(terms []query.Term, spec *v1.TestcrSpec) bool {
	for _, t := range terms {
		if !t.Matches(spec) {
			return false
		}
	}
	return true
}

// times returns when anything changes or may change, in order.
func (v *view) times() []int64 {
	times := make([]int64, 0, 4*len(v.life.facts)+4)
	add := func(i *Interval) {
		for _, t := range []int64{i.Earliest, i.From, i.To, i.Latest} {
			if t != open {
				times = append(times, t)
			}
		}
	}
	add(&v.life.Interval)
	for i := range v.life.facts {
		add(&v.life.facts[i].Interval)
	}
	slices.Sort(times)
	return slices.Compact(times)
}

// at returns the Pod at time t, with everything that it had for certain or else with
// everything that it may have had. shape is the one to take of several, nil for the last. It
// reports whether the Pod existed.
func (v *view) at(t int64, isCertain bool, shape *fact) (*v1.TestcrSpec, bool) {
	has := func(i *Interval) bool {
		if isCertain {
			return i.Covers(t)
		}
		return i.Earliest <= t && t < i.Latest
	}
	if !has(&v.life.Interval) {
		return nil, false
	}
	spec := &v1.TestcrSpec{PodName: v.life.name, PodUID: v.life.uid}
	v.identify(spec)
	for i := range v.life.facts { // the others need its containers
		if f := &v.life.facts[i]; f.kind == factShape && has(&f.Interval) && (shape == nil || shape == f) {
			v.shapes[f.ref].fill(spec)
		}
	}
	for i := range v.life.facts {
		if f := &v.life.facts[i]; has(&f.Interval) {
			v.apply(spec, f)
		}
	}
	v.life.state.fill(spec)
	return spec, true
}

// identify sets the namespace, which is certain also while the shape is not.
func (v *view) identify(spec *v1.TestcrSpec) {
	for i := range v.life.facts {
		if f := &v.life.facts[i]; f.kind == factShape {
			spec.Namespace = v.shapes[f.ref].Namespace
			spec.PodKey = spec.Namespace + "/" + spec.PodName
			return
		}
	}
}

func (v *view) apply(spec *v1.TestcrSpec, f *fact) {
	switch f.kind {
	case factIP:
		spec.PodIPs = append(spec.PodIPs, f.value)
		spec.PodIP = spec.PodIPs[0]
	case factNetworkIP:
		ip, network, _ := strings.Cut(f.value, " ")
		spec.NetworkIPs = append(spec.NetworkIPs, v1.NetworkIP{IP: ip, Network: network})
	case factContainer:
		if int(f.slot) < len(spec.Containers) {
			spec.Containers[f.slot].ID = f.value
		}
	case factNode:
		n := v.nodes[f.ref]
		spec.NodeName = n.name
		if ips := strings.Split(n.ips, ","); n.ips != "" {
			spec.HostIP = ips[0]
			if len(ips) > 1 {
				spec.HostIPs = ips
			}
		}
	case factNodeUID:
		spec.NodeUID = f.value
	case factShape:
	}
}

// shown returns the Pod at the last time of an interval that is not after until, as it
// matches the terms.
func (v *view) shown(terms []query.Term, i Interval, until int64) *v1.TestcrSpec {
	if i.HasCertain() && i.From <= until {
		if spec, ok := v.matched(terms, min(i.To-1, until), true); ok {
			return spec
		}
	}
	spec, _ := v.matched(terms, max(i.Earliest, min(i.Latest-1, until)), false)
	if spec == nil { // not with intervals that v returned
		return &v1.TestcrSpec{PodName: v.life.name, PodUID: v.life.uid}
	}
	return spec
}
