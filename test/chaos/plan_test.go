package chaos_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	// slotAtLeast is the shortest time from one fault to the next: the fault
	// itself, and time to see that it has healed.
	slotAtLeast = 6500 * time.Millisecond
	faultMin    = time.Second
	faultMax    = 3 * time.Second
)

// lasts are the kinds that last for a set time. Their slots are longer by it.
var lasts = map[string]time.Duration{
	"API server away 30 s":      30 * time.Second, // longer than the default renew deadline, 10 s
	"API server away 2 minutes": 2 * time.Minute,  // as long as it takes to replace a machine
	"second writer":             secondWriterFor,
	"etcd restored":             backupAge,
	"Testcrs kept by finalizer": keptFor,
}

func slotOf(kind string) time.Duration { return slotAtLeast + lasts[kind] }

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
// seed, kinds and length give the same plan. Time left over makes the pauses longer.
func newPlan(seed uint64, kinds []string, length time.Duration) []fault {
	chance := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // G404: a plan that can be had again
	kinds = slices.Sorted(slices.Values(kinds))
	var round time.Duration
	for _, kind := range kinds {
		round += slotOf(kind)
	}
	rounds := max(1, int(length/round))
	spare := max(0, length-time.Duration(rounds)*round) / time.Duration(rounds*len(kinds))
	var plan []fault
	var at time.Duration
	for range rounds {
		chance.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		for _, kind := range kinds {
			f := fault{
				Kind: kind,
				At:   at,
				For:  faultMin + time.Duration(chance.Int64N(int64(faultMax-faultMin))),
				Pick: chance.Uint64(),
			}
			if set, ok := lasts[kind]; ok {
				f.For = set
			}
			plan = append(plan, f)
			at += slotOf(kind) + spare
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

func TestNewPlan_LongFaults(t *testing.T) {
	const long, set = "API server away 2 minutes", 2 * time.Minute
	kinds := []string{"a", "b", long}
	round := 3*slotAtLeast + set
	for name, test := range map[string]struct {
		length time.Duration
		want   int
	}{
		"a run that is too short has one round":          {length: time.Minute, want: 3},
		"a long fault counts with its length":            {length: 2*round - time.Second, want: 3},
		"two rounds that fit exactly":                    {length: 2 * round, want: 6},
		"what is left over does not shorten a long slot": {length: 2*round + time.Minute, want: 6},
	} {
		t.Run(name, func(t *testing.T) {
			plan := newPlan(3, kinds, test.length)
			if len(plan) != test.want {
				t.Fatalf("%d faults, want %d: %s", len(plan), test.want, plan)
			}
			for i, f := range plan {
				if f.Kind == long && f.For != set {
					t.Errorf("%s, want %s", f, set)
				}
				if i > 0 && f.At-plan[i-1].At < slotOf(plan[i-1].Kind) {
					t.Errorf("%s comes too early after %s", f, plan[i-1])
				}
			}
		})
	}
}

// TestNewPlan_AllKinds holds the plan of all kinds to what the docs promise.
func TestNewPlan_AllKinds(t *testing.T) {
	kinds := slices.Collect(maps.Keys(faults))
	for name, test := range map[string]struct{ length, most time.Duration }{
		"in 10 minutes each kind comes once":         {length: 10 * time.Minute, most: 10 * time.Minute},
		"make test is at most 4 minutes longer than": {length: defaultMinutes * time.Minute, most: (defaultMinutes + 4) * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			plan := newPlan(1, kinds, test.length)
			if len(plan) < len(faults) {
				t.Errorf("%d faults of %d kinds", len(plan), len(faults))
			}
			last := plan[len(plan)-1]
			if end := last.At + slotOf(last.Kind); end > test.most {
				t.Errorf("the plan ends after %s, want %s at most", end, test.most)
			}
		})
	}
	for kind := range lasts {
		if _, ok := faults[kind]; !ok {
			t.Errorf("%q lasts for a set time, but is no kind", kind)
		}
	}
	for kind := range relists {
		if _, ok := faults[kind]; !ok {
			t.Errorf("%q calls for lists, but is no kind", kind)
		}
	}
	for kind := range slowToHeal {
		if _, ok := faults[kind]; !ok {
			t.Errorf("%q is slow to heal, but is no kind", kind)
		}
	}
}

// TestFaults_AreDocumented has each kind in docs/reliability.md, and those with a
// limit of their own in the table of limits.
func TestFaults_AreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "reliability.md"))
	must(t, err)
	_, after, _ := strings.Cut(string(text), "\n## Faults\n")
	section, _, _ := strings.Cut(after, "\n## ")
	before, limits, ok := strings.Cut(section, "| fault | at most | because |")
	if !ok {
		t.Fatal("there is no table of limits")
	}
	kinds, limited := firstColumn(before), firstColumn(limits)
	for kind := range faults {
		if !slices.Contains(kinds, kind) {
			t.Errorf("%q is not in the table of kinds", kind)
		}
		if _, slow := slowToHeal[kind]; (slow || relists[kind] > 0) != slices.Contains(limited, kind) {
			t.Errorf("%q has a limit of its own in the code or in the table of limits, and not in both", kind)
		}
	}
}

// firstColumn returns the names in the first column of a table.
func firstColumn(table string) (names []string) {
	for line := range strings.Lines(table) {
		if row, ok := strings.CutPrefix(line, "| "); ok {
			first, _, _ := strings.Cut(row, " | ")
			names = append(names, strings.Split(first, ", ")...)
		}
	}
	return names
}
