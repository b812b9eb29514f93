package history

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const (
	// maxFacts bounds the intervals of one life. The oldest that ended go first: they
	// are those of the first restarts of a container.
	maxFacts = 256
	// maxShapes bounds the shapes of one life, because a user may change labels as often
	// as they like. After that a change replaces the last shape.
	maxShapes = 20
	// maxValue bounds one value in bytes. Longer ones are not recorded.
	maxValue = 512
)

// factKind is the kind of an interval of a life.
type factKind byte

const (
	factIP        factKind = 1 // an IP of the Pod
	factNetworkIP factKind = 2 // an IP in a further network, a space, and the network's name
	factContainer factKind = 3 // an ID of the container with the number slot
	factNode      factKind = 4 // ref is the ID of the node
	factShape     factKind = 5 // ref is the ID of the shape
	factNodeUID   factKind = 6 // the UID of a static Pod on its node
)

// fact is one interval of a life.
type fact struct {
	kind    factKind
	isDirty bool // not stored as it is
	slot    uint16
	value   string
	ref     int64
	Interval
}

func (f *fact) isOpen() bool { return f.Latest == open }

func (f *fact) is(other *fact) bool {
	return f.kind == other.kind && f.slot == other.slot && f.value == other.value && f.ref == other.ref
}

// life is a Pod from its creation to its deletion.
type life struct {
	id        int64
	uid, name string
	// spec is the last one. It is shared with the Pod cache. It is nil for a life that was
	// read from the store and not compared with its Pod yet: state is the last one then.
	spec  *v1.TestcrSpec
	state state
	facts []fact
	// dropped were trimmed, and their rows may be stored.
	dropped []fact
	// Interval is when the Pod existed.
	Interval
	isDirty  bool // not stored as it is
	isListed bool // among those that are stored next
}

// moment is when something was observed: at time at, or between since and at if since is
// not 0. Both are in Unix milliseconds.
type moment struct{ at, since int64 }

func (m moment) begin(notBefore int64) Interval {
	earliest := m.at
	if m.since != 0 {
		earliest = min(m.at, max(m.since, notBefore))
	}
	return Interval{Earliest: earliest, From: m.at, To: open, Latest: open}
}

// end ends an interval. If the clock was set back, the end may be before the beginning:
// nothing of it is certain then. Earliest does not change, because it is part of the key
// of the row.
func (m moment) end(i *Interval) {
	i.To, i.Latest = m.at, m.at
	if m.since != 0 {
		i.To = min(m.at, m.since)
	}
	i.Latest = max(i.Latest, i.From, i.Earliest+1)
}

// refs are the IDs of the node and the shape of a spec, 0 for none.
type refs struct{ node, shape int64 }

// update compares the facts of the life with those of spec, which was observed at m. A
// change of the state alone is stored with the next other change, or the end.
func (l *life) update(spec *v1.TestcrSpec, r refs, m moment) {
	wanted := factsOf(make([]fact, 0, 8), spec, r)
	isChanged := false
	for i := range l.facts {
		f := &l.facts[i]
		if f.isOpen() && !slices.ContainsFunc(wanted, func(w fact) bool { return w.is(f) }) {
			isChanged = true
			if f.kind == factShape && l.replaceShape(f, spec, r, m) {
				continue
			}
			m.end(&f.Interval)
			f.isDirty = true
		}
	}
	for i := range wanted {
		w := &wanted[i]
		if slices.ContainsFunc(l.facts, func(f fact) bool { return f.isOpen() && f.is(w) }) {
			continue
		}
		notBefore := l.Earliest
		if w.kind == factIP || w.kind == factContainer {
			notBefore = max(notBefore, millis(spec.StartedAt))
		}
		w.Interval, w.isDirty = m.begin(notBefore), true
		l.facts = append(l.facts, *w)
		isChanged = true
	}
	l.trim()
	l.spec, l.isDirty = spec, l.isDirty || isChanged
}

// replaceShape replaces the shape of the open interval f, if the new one completes it, or
// if the life has too many. In the latter case it is not certain from when on the Pod
// had the new one.
func (l *life) replaceShape(f *fact, spec *v1.TestcrSpec, r refs, m moment) bool {
	completes := l.spec != nil && completesShape(l.spec, spec)
	if !completes && l.shapes() < maxShapes {
		return false
	}
	f.ref, f.isDirty = r.shape, true
	if !completes {
		f.From = m.at
	}
	return true
}

func (l *life) shapes() (n int) {
	for i := range l.facts {
		if l.facts[i].kind == factShape {
			n++
		}
	}
	return n
}

// trim drops the oldest intervals that ended beyond maxFacts.
func (l *life) trim() {
	for excess := len(l.facts) - maxFacts; excess > 0; excess-- {
		i := slices.IndexFunc(l.facts, func(f fact) bool { return !f.isOpen() })
		if i < 0 {
			l.dropped = append(l.dropped, l.facts[maxFacts:]...)
			l.facts = l.facts[:maxFacts]
			return
		}
		l.dropped = append(l.dropped, l.facts[i])
		l.facts = slices.Delete(l.facts, i, i+1)
	}
}

// end ends the life and all its open intervals.
func (l *life) end(m moment) {
	m.end(&l.Interval)
	for i := range l.facts {
		if f := &l.facts[i]; f.isOpen() {
			m.end(&f.Interval)
			f.isDirty = true
		}
	}
	l.isDirty = true
}

// factsOf appends the facts of a spec, without their intervals. A completed Pod has no IP:
// another one may have it by now.
func factsOf(facts []fact, s *v1.TestcrSpec, r refs) []fact {
	if r.shape != 0 {
		facts = append(facts, fact{kind: factShape, ref: r.shape})
	}
	if r.node != 0 {
		facts = append(facts, fact{kind: factNode, ref: r.node})
	}
	add := func(kind factKind, slot int, value string) {
		if value != "" && len(value) <= maxValue {
			facts = append(facts, fact{kind: kind, slot: uint16(slot), value: value}) //nolint:gosec // at most maxFacts
		}
	}
	add(factNodeUID, 0, s.NodeUID)
	if !isCompleted(s) {
		for _, ip := range s.PodIPs {
			add(factIP, 0, ip)
		}
		for i := range s.NetworkIPs {
			add(factNetworkIP, 0, strings.TrimSuffix(s.NetworkIPs[i].IP+" "+s.NetworkIPs[i].Network, " "))
		}
	}
	for i := range s.Containers {
		if len(facts) >= maxFacts {
			break
		}
		add(factContainer, i, s.Containers[i].ID)
	}
	return facts
}

func isCompleted(s *v1.TestcrSpec) bool {
	return s.Phase == string(corev1.PodSucceeded) || s.Phase == string(corev1.PodFailed)
}

func millis(t metav1.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
