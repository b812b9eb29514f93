package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	// slotAtLeast is the shortest time from one fault to the next: the fault
	// itself, and time to see that it has healed.
	slotAtLeast = 6500 * time.Millisecond
	faultMin    = time.Second
	faultMax    = 3 * time.Second
)

// fault is one entry of the plan.
type fault struct {
	Kind string
	At   time.Duration // from the start of the faults; later when the one before took longer
	For  time.Duration // how long it lasts, where it lasts
	Pick uint64        // seeds whatever else is left to chance in it
}

func (f fault) String() string {
	return fmt.Sprintf("%8s  %s for %s", f.At.Round(100*time.Millisecond), f.Kind, f.For.Round(10*time.Millisecond))
}

// newPlan shuffles all kinds once a round, and has at least one round. The same
// seed, kinds and length give the same plan.
func newPlan(seed uint64, kinds []string, length time.Duration) []fault {
	chance := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // G404: a plan that can be had again
	kinds = slices.Sorted(slices.Values(kinds))
	rounds := max(1, int(length/slotAtLeast)/len(kinds))
	slot := max(slotAtLeast, length/time.Duration(rounds*len(kinds)))
	var plan []fault
	for range rounds {
		chance.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, kind := range kinds {
			plan = append(plan, fault{
				Kind: kind,
				At:   time.Duration(len(plan)) * slot,
				For:  faultMin + time.Duration(chance.Int64N(int64(faultMax-faultMin))),
				Pick: chance.Uint64(),
			})
		}
	}
	return plan
}

func TestTheSameSeedGivesTheSamePlan(t *testing.T) {
	kinds := make([]string, 0, len(faults))
	for kind := range faults { // in any order
		kinds = append(kinds, kind)
	}
	first := newPlan(7, kinds, 30*time.Minute)
	slices.Reverse(kinds)
	if diff := cmp.Diff(first, newPlan(7, kinds, 30*time.Minute)); diff != "" {
		t.Errorf("two plans of one seed:\n%s", diff)
	}
	if cmp.Equal(first, newPlan(8, kinds, 30*time.Minute)) {
		t.Error("another seed gives the same plan")
	}
}

func TestAPlanHasEachKindInEachRound(t *testing.T) {
	kinds := []string{"a", "b", "c"}
	for _, test := range []struct {
		name   string
		length time.Duration
		want   int
	}{
		{"a run that is too short has one round", time.Second, 3},
		{"a run has the rounds that fit", 10 * 3 * slotAtLeast, 30},
		{"what is left over makes the pauses longer", 10*3*slotAtLeast + 2*slotAtLeast, 30},
	} {
		t.Run(test.name, func(t *testing.T) {
			plan := newPlan(1, kinds, test.length)
			if len(plan) != test.want {
				t.Fatalf("%d faults, want %d: %s", len(plan), test.want, plan)
			}
			for i := 0; i < len(plan); i += len(kinds) {
				var round []string
				for _, f := range plan[i : i+len(kinds)] {
					round = append(round, f.Kind)
					if f.For < faultMin || f.For > faultMax {
						t.Errorf("%s: not within %s and %s", f, faultMin, faultMax)
					}
				}
				slices.Sort(round)
				if got := strings.Join(round, ""); got != "abc" {
					t.Errorf("a round of %s", got)
				}
			}
		})
	}
}
