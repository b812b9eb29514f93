package history

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// The detail of a life is its intervals and its last state in binary, because text would
// take twice the space. All numbers are varints, and times are in milliseconds, relative
// to Earliest of the life:
//
//	version | life | created | started | state | intervals...
//
// docs/history.md describes it, and what SQL can be asked instead.
const detailVersion = 1

// state is what is not recorded as intervals: the last one of a Pod counts.
type state struct {
	created, started int64 // Unix milliseconds, 0 for none
	phase, status    string
	ready            string // of the containers, as 1/2
	restarts         int64
	flags            uint64
	ends             []containerEnd
}

const (
	flagReady uint64 = 1 << iota
	flagTerminating
)

// containerEnd is why a container ended before its last restart.
type containerEnd struct {
	slot   uint64
	reason string
	code   int64
}

// maxEnds bounds the containers whose last end is recorded.
const maxEnds = 16

func stateOf(s *v1.TestcrSpec) state {
	st := state{
		created: millis(s.CreatedAt), started: millis(s.StartedAt), phase: s.Phase, status: s.Status,
		ready: s.ReadyContainers, restarts: s.Restarts,
	}
	if s.Ready {
		st.flags |= flagReady
	}
	if s.Terminating {
		st.flags |= flagTerminating
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		if (c.PreviousReason != "" || c.PreviousExitCode != 0) && len(st.ends) < maxEnds {
			st.ends = append(st.ends, containerEnd{uint64(i), c.PreviousReason, int64(c.PreviousExitCode)})
		}
	}
	return st
}

func (st *state) fill(s *v1.TestcrSpec) {
	s.CreatedAt, s.StartedAt = timeOf(st.created), timeOf(st.started)
	s.Phase, s.Status, s.ReadyContainers, s.Restarts = st.phase, st.status, st.ready, st.restarts
	s.Ready, s.Terminating = st.flags&flagReady != 0, st.flags&flagTerminating != 0
	for _, e := range st.ends {
		if e.slot < uint64(len(s.Containers)) {
			c := &s.Containers[e.slot]
			c.PreviousReason, c.PreviousExitCode = e.reason, int32(e.code) //nolint:gosec // was one
		}
	}
}

func timeOf(ms int64) metav1.Time {
	if ms == 0 {
		return metav1.Time{}
	}
	return metav1.Time{Time: time.UnixMilli(ms).UTC()}
}

// phases have one byte each.
var phases = []string{"", "Pending", "Running", "Succeeded", "Failed", "Unknown"}

// runtimes have one byte each, and their IDs are packed.
var runtimes = []string{"", "containerd://", "cri-o://", "docker://"}

// encodeDetail returns the detail of a life.
func encodeDetail(l *life) []byte {
	st := l.state
	if l.spec != nil {
		st = stateOf(l.spec)
	}
	e := encoder{base: l.Earliest, out: make([]byte, 0, 256)}
	e.out = append(e.out, detailVersion)
	e.interval(l.Interval)
	e.time(st.created)
	e.time(st.started)
	e.state(&st)
	for i := range l.facts {
		e.fact(&l.facts[i])
	}
	return e.out
}

type encoder struct {
	base int64
	out  []byte
}

func (e *encoder) number(n uint64) { e.out = binary.AppendUvarint(e.out, n) }
func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.out = append(e.out, s...)
}

// time appends a time, 0 for none.
func (e *encoder) time(ms int64) {
	if ms == 0 {
		e.number(0)
		return
	}
	e.number(zigzag(ms-e.base) + 1)
}

func zigzag(n int64) uint64   { return uint64(n)<<1 ^ uint64(n>>63) } //nolint:gosec // the bits count
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

const (
	hasEarliest = 1 << iota
	hasEnd
	hasLatest
)

func (e *encoder) interval(i Interval) {
	var flags uint64
	if i.Earliest != i.From {
		flags |= hasEarliest
	}
	if i.To != open {
		flags |= hasEnd
	}
	if i.Latest != i.To {
		flags |= hasLatest
	}
	e.number(flags)
	e.number(zigzag(i.From - e.base))
	if flags&hasEarliest != 0 {
		e.number(zigzag(i.Earliest - i.From))
	}
	if flags&hasEnd != 0 {
		e.number(zigzag(i.To - i.From))
	}
	if flags&hasLatest != 0 {
		e.time(timeOrNone(i.Latest))
	}
}

func timeOrNone(t int64) int64 {
	if t == open {
		return 0
	}
	return t
}

func (e *encoder) state(st *state) {
	phase := 0
	for i, p := range phases {
		if p == st.phase {
			phase = i
		}
	}
	e.number(uint64(phase))
	status := st.status
	if status == st.phase {
		status = ""
	}
	e.text(status)
	e.text(st.ready)
	e.number(zigzag(st.restarts))
	e.number(st.flags)
	e.number(uint64(len(st.ends)))
	for _, end := range st.ends {
		e.number(end.slot)
		e.text(end.reason)
		e.number(zigzag(end.code))
	}
}

func (e *encoder) fact(f *fact) {
	e.number(uint64(f.kind))
	switch f.kind {
	case factNode, factShape:
		e.number(uint64(f.ref)) //nolint:gosec // IDs are positive
	case factIP:
		e.address(f.value)
	case factContainer:
		e.number(uint64(f.slot))
		e.containerID(f.value)
	default:
		e.text(f.value)
	}
	e.interval(f.Interval)
}

// address appends the bytes of an IP, or its text if that is not its canonical form.
func (e *encoder) address(s string) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.String() == s && addr.Zone() == "" {
		raw := addr.AsSlice()
		e.number(uint64(len(raw)))
		e.out = append(e.out, raw...)
		return
	}
	e.number(maxAddress + uint64(len(s)))
	e.out = append(e.out, s...)
}

// maxAddress is added to the length of an IP that is text.
const maxAddress = 16

// containerID appends the bytes of an ID in hexadecimal with a known runtime, or its text.
func (e *encoder) containerID(id string) {
	for i, runtime := range runtimes[1:] {
		rest, ok := strings.CutPrefix(id, runtime)
		if !ok || strings.ToLower(rest) != rest {
			continue
		}
		if raw, err := hex.DecodeString(rest); err == nil && len(raw) > 0 {
			e.number(uint64(i + 1))
			e.number(uint64(len(raw)))
			e.out = append(e.out, raw...)
			return
		}
	}
	e.number(0)
	e.text(id)
}

// errDetail reports a detail that this version did not write.
var errDetail = errors.New("the detail of a Pod in the store is malformed")

// decodeDetail sets the intervals of l, and returns its last state.
func decodeDetail(l *life, base int64, text []byte) (state, error) {
	d := decoder{base: base, in: text}
	if d.byte() != detailVersion {
		return state{}, errDetail
	}
	l.Interval = d.interval()
	st := state{created: d.time(), started: d.time()}
	d.state(&st)
	for len(d.in) > 0 && !d.failed {
		if len(l.facts) == maxFacts {
			return state{}, errDetail
		}
		l.facts = append(l.facts, d.fact())
	}
	if d.failed {
		return state{}, errDetail
	}
	return st, nil
}

// decoder reads a detail. After an error all results are zero, and failed is set.
type decoder struct {
	base   int64
	in     []byte
	failed bool
}

func (d *decoder) fail() {
	d.failed, d.in = true, nil
}

func (d *decoder) byte() byte {
	if len(d.in) == 0 {
		d.fail()
		return 0
	}
	b := d.in[0]
	d.in = d.in[1:]
	return b
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.in)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.in = d.in[size:]
	return n
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.in)) {
		d.fail()
		return nil
	}
	b := d.in[:n]
	d.in = d.in[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes(d.number())) }

func (d *decoder) time() int64 {
	if n := d.number(); n != 0 {
		return d.base + unzigzag(n-1)
	}
	return 0
}

func (d *decoder) interval() Interval {
	flags := d.number()
	i := Interval{From: d.base + unzigzag(d.number()), To: open}
	i.Earliest = i.From
	if flags&hasEarliest != 0 {
		i.Earliest = i.From + unzigzag(d.number())
	}
	if flags&hasEnd != 0 {
		i.To = i.From + unzigzag(d.number())
	}
	i.Latest = i.To
	if flags&hasLatest != 0 {
		if i.Latest = d.time(); i.Latest == 0 {
			i.Latest = open
		}
	}
	return i
}

func (d *decoder) state(st *state) {
	if phase := d.number(); phase < uint64(len(phases)) {
		st.phase = phases[phase]
	}
	if st.status = d.text(); st.status == "" {
		st.status = st.phase
	}
	st.ready = d.text()
	st.restarts = unzigzag(d.number())
	st.flags = d.number()
	n := d.number()
	if n > maxEnds {
		d.fail()
	}
	for range n {
		if d.failed {
			return
		}
		st.ends = append(st.ends, containerEnd{slot: d.number(), reason: d.text(), code: unzigzag(d.number())})
	}
}

func (d *decoder) fact() (f fact) {
	f.kind = factKind(d.number()) //nolint:gosec // an unknown one is skipped by its readers
	switch f.kind {
	case factNode, factShape:
		f.ref = int64(d.number()) //nolint:gosec // was one
	case factIP:
		f.value = d.address()
	case factContainer:
		f.slot = uint16(d.number()) //nolint:gosec // was one
		f.value = d.containerID()
	case factNetworkIP, factNodeUID:
		f.value = d.text()
	default:
		d.fail()
		return fact{}
	}
	f.Interval = d.interval()
	return f
}

func (d *decoder) address() string {
	n := d.number()
	if n > maxAddress {
		return string(d.bytes(n - maxAddress))
	}
	addr, ok := netip.AddrFromSlice(d.bytes(n))
	if !ok {
		d.fail()
		return ""
	}
	return addr.String()
}

func (d *decoder) containerID() string {
	switch runtime := d.number(); {
	case runtime == 0:
		return d.text()
	case runtime < uint64(len(runtimes)):
		return runtimes[runtime] + hex.EncodeToString(d.bytes(d.number()))
	default:
		d.fail()
		return ""
	}
}
