package history

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// detailed returns a life with each kind of fact and of interval.
func detailed() *life {
	spec := &v1.TestcrSpec{
		Phase: "Running", Status: "CrashLoopBackOff", ReadyContainers: "0/1", Restarts: 3, Terminating: true,
		CreatedAt: metav1.Unix(1_000, 0), StartedAt: metav1.Unix(1_001, 0),
		Containers: []v1.Container{{Name: "app", PreviousReason: "OOMKilled", PreviousExitCode: 137}, {Name: "proxy", PreviousExitCode: -1}},
	}
	exact := Interval{Earliest: 1_000_000, From: 1_000_000, To: 2_000_000, Latest: 2_000_000}
	still := Interval{Earliest: 1_000_500, From: 1_000_500, To: open, Latest: open}
	vague := Interval{Earliest: 1_000_000, From: 1_500_000, To: 1_600_000, Latest: 1_700_000}
	unknown := Interval{Earliest: 1_000_000, From: 1_000_000, To: 1_200_000, Latest: open}
	return &life{spec: spec, Interval: still, facts: []fact{
		{kind: factIP, value: "10.0.0.1", Interval: exact},
		{kind: factIP, value: "fd00::1", Interval: still},
		{kind: factIP, value: "::ffff:10.0.0.1", Interval: vague},
		{kind: factIP, value: "no IP", Interval: unknown},
		{kind: factNetworkIP, value: "192.168.0.1 storage", Interval: exact},
		{kind: factContainer, slot: 1, value: "containerd://0123456789abcdef", Interval: exact},
		{kind: factContainer, slot: 2, value: "cri-o://0123456789ABCDEF", Interval: exact},
		{kind: factContainer, value: "rkt://0123456789", Interval: exact},
		{kind: factNode, ref: 7, Interval: exact},
		{kind: factShape, ref: 1 << 40, Interval: exact},
		{kind: factNodeUID, value: "0123456789abcdef0123456789abcdef", Interval: exact},
	}}
}

func TestEncodeDetail(t *testing.T) {
	want := detailed()
	got := &life{}
	st, err := decodeDetail(got, want.Earliest, encodeDetail(want))
	if err != nil {
		t.Fatal(err)
	}
	allow := cmp.AllowUnexported(life{}, fact{}, state{}, containerEnd{})
	if diff := cmp.Diff(stateOf(want.spec), st, allow); diff != "" {
		t.Errorf("the state:\n%s", diff)
	}
	want.spec = nil
	if diff := cmp.Diff(want, got, allow); diff != "" {
		t.Errorf("the life:\n%s", diff)
	}
}

// FuzzDecodeDetail reads what anybody may have written into a store, and searches it.
func FuzzDecodeDetail(f *testing.F) {
	f.Add(int64(1_000_500), encodeDetail(detailed()))
	f.Add(int64(0), []byte{detailVersion})
	f.Fuzz(func(t *testing.T, base int64, text []byte) {
		l := &life{name: "cart"}
		var err error
		if l.state, err = decodeDetail(l, base, text); err != nil {
			return
		}
		v := view{life: l, shapes: map[int64]*shape{}, nodes: map[int64]node{}}
		for i := range l.facts {
			if l.facts[i].kind == factShape {
				v.shapes[l.facts[i].ref] = &shape{Namespace: "shop", Containers: []shapeContainer{{Name: "app"}}}
			}
		}
		term, err := query.ParseAs(query.Name, "cart")
		if err != nil {
			t.Fatal(err)
		}
		terms := []query.Term{term}
		for _, i := range v.matching(terms) {
			v.shown(terms, i, base)
		}
	})
}

// What anybody may have written must not make a search of a life long.
func TestDecodeDetail_Bounded(t *testing.T) {
	for n, want := range map[int]error{maxFacts: nil, maxFacts + 1: errDetail} {
		l := detailed()
		l.facts = slices.Repeat(l.facts[:1], n)
		if _, err := decodeDetail(&life{}, l.Earliest, encodeDetail(l)); !errors.Is(err, want) {
			t.Errorf("%d intervals: error %v, want %v", n, err, want)
		}
	}
}
