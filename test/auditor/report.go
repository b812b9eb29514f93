package auditor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is what an Auditor has to say.
type Report struct {
	Pods     int        `json:"pods"`     // seen, by UID
	Writes   int        `json:"writes"`   // of Testcrs, seen
	Judged   int        `json:"judged"`   // of these; the others wait for the log of Pods
	Gaps     []Gap      `json:"gaps"`     // the first list of each resource is one
	Epochs   []Epoch    `json:"epochs"`   // one for each restore of etcd
	Stale    Staleness  `json:"stale"`    // over all changes
	Found    int        `json:"found"`    // Findings holds the first of them
	Findings []Finding  `json:"findings"` // empty: all promises were kept
	Waiting  int        `json:"waiting"`  // changes that no Testcr shows yet
	Oldest   *time.Time `json:"oldest,omitempty"`
}

// Staleness is how long changes of Pods took to be shown, from when the auditor
// heard of the one to when it heard of the other.
type Staleness struct {
	Changes int           `json:"changes"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	Max     time.Duration `json:"max"`
}

func (s Staleness) String() string {
	const digits = 100 * time.Microsecond
	return fmt.Sprintf("%d changes, stale for %s (p50), %s (p99), %s (max)", s.Changes, s.P50.Round(digits), s.P99.Round(digits), s.Max.Round(digits))
}

// Report returns what was found so far.
func (a *Auditor) Report() Report {
	stale := a.Staleness(func(Sample) bool { return true })
	a.checker.mu.Lock()
	defer a.checker.mu.Unlock()
	c := a.checker
	r := Report{
		Pods: c.pods, Writes: c.writes, Judged: c.judged, Gaps: slices.Clone(c.gaps), Epochs: slices.Clone(c.epochs),
		Stale: stale, Found: c.found, Findings: slices.Clone(c.findings),
	}
	for _, h := range c.histories {
		r.Waiting += len(h.waiting)
		if len(h.waiting) > 0 && (r.Oldest == nil || h.waiting[0].heard.Before(*r.Oldest)) {
			oldest := h.waiting[0].heard
			r.Oldest = &oldest
		}
	}
	return r
}

// Pods returns how many Pods have been seen so far.
func (a *Auditor) Pods() int {
	a.checker.mu.Lock()
	defer a.checker.mu.Unlock()
	return a.checker.pods
}

// Staleness sums up the changes that which picks out.
func (a *Auditor) Staleness(which func(Sample) bool) Staleness {
	a.checker.mu.Lock()
	defer a.checker.mu.Unlock()
	var took []time.Duration
	for _, s := range a.checker.samples {
		if which(s) {
			took = append(took, s.Took)
		}
	}
	if len(took) == 0 {
		return Staleness{}
	}
	slices.Sort(took)
	return Staleness{Changes: len(took), P50: took[len(took)/2], P99: took[len(took)*99/100], Max: took[len(took)-1]}
}

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Pods seen: %d. Writes of Testcrs seen: %d, judged: %d.\n\n", r.Pods, r.Writes, r.Judged)
	fmt.Fprintf(&b, "Staleness: %s.\n\n", r.Stale)
	if r.Waiting > 0 {
		fmt.Fprintf(&b, "Changes not shown yet: %d, the oldest of %s.\n\n", r.Waiting, r.Oldest.Format(time.TimeOnly))
	}
	fmt.Fprintf(&b, "Gaps in the watches, the two first lists (of each epoch) included: %d.\n\n", len(r.Gaps))
	if len(r.Epochs) > 0 {
		fmt.Fprintf(&b, "etcd was restored:\n\n")
		for i, e := range r.Epochs {
			fmt.Fprintf(&b, "- %s, restore %d: the log of Pods before it ends at version %d, that of Testcrs at %d; %d writes were not judged.\n",
				e.At.Format(time.TimeOnly), i+1, e.Pods, e.Testcrs, e.Unjudged)
		}
		b.WriteString("\n")
	}
	if r.Found == 0 {
		b.WriteString("Findings: none.\n")
		return b.String()
	}
	fmt.Fprintf(&b, "Findings: %d.\n\n", r.Found)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "- %s\n", f)
	}
	return b.String()
}
