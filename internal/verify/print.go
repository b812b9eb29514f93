package verify

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// Verdict is one word for a Result.
type Verdict string

// The verdicts. Drift is reported even if other Pods are unclear.
const (
	Clean  Verdict = "clean"
	Drift  Verdict = "drift"
	Undone Verdict = "unclear"
)

// Verdict returns the verdict of r.
func (r *Result) Verdict() Verdict {
	switch {
	case len(r.Differences) > 0:
		return Drift
	case len(r.Unclear) > 0:
		return Undone
	default:
		return Clean
	}
}

// sortDifferences sorts by Pod, Testcr and kind. The sort is stable, so that
// containers[2] comes before containers[10].
func sortDifferences(d []Difference) {
	slices.SortStableFunc(d, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Testcr, b.Testcr), cmp.Compare(a.Kind, b.Kind))
	})
}

// Text prints a line for each difference, and one with the totals.
func (r *Result) Text(w io.Writer) error {
	out := bufio.NewWriter(w)
	for _, list := range [][]Difference{r.Differences, r.Unclear} {
		for i := range list {
			fmt.Fprintln(out, printable.Text(list[i].String()))
		}
	}
	fmt.Fprintf(out, "%s: %d Pods, %d Testcrs, %d differences", r.Verdict(), r.Pods, r.Testcrs, len(r.Differences))
	if n := len(r.Unclear); n > 0 {
		fmt.Fprintf(out, ", %d unclear", n)
	}
	if r.Foreign > 0 {
		fmt.Fprintf(out, ", %d Testcrs of others left aside", r.Foreign)
	}
	fmt.Fprintln(out)
	return out.Flush()
}

// String returns d on one line.
func (d Difference) String() string {
	of := d.Pod
	if of == "" {
		of = "Testcr " + d.Testcr
	}
	head := fmt.Sprintf("%-9s %s: ", d.Kind, of)
	switch d.Kind {
	case Missing:
		return head + "no Testcr " + d.Testcr
	case Orphan:
		return head + "no such Pod, but Testcr " + d.Testcr
	case Foreign:
		return fmt.Sprintf("%sTestcr %s is not the controller's and has podkey %s: whoever made it must take it away", head, d.Testcr, show(d.Have))
	case Misnamed:
		podkey, _ := d.Have.(string)
		return fmt.Sprintf("%spodkey %s is that of Testcr %s", head, show(d.Have), oracle.NameFor(podkey))
	case Unclear:
		return fmt.Sprintf("%sit never stood still, Testcr %s", head, d.Testcr)
	default:
		return fmt.Sprintf("%s%s: have %s, want %s", head, d.Field, show(d.Have), show(d.Want))
	}
}

// JSON prints one object a line: each difference, then the totals.
func (r *Result) JSON(w io.Writer) error {
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(jsonWriter{out})
	encoder.SetEscapeHTML(false)
	for _, list := range [][]Difference{r.Differences, r.Unclear} {
		for i := range list {
			if err := encoder.Encode(&list[i]); err != nil {
				return err
			}
		}
	}
	err := encoder.Encode(struct {
		Kind    string  `json:"kind"`
		Verdict Verdict `json:"verdict"`
		*Result
		Differences int `json:"differences"`
		Unclear     int `json:"unclear"`
	}{"summary", r.Verdict(), r, len(r.Differences), len(r.Unclear)})
	if err != nil {
		return err
	}
	return out.Flush()
}

// jsonWriter escapes the characters that json.Encoder does not. The encoder writes each
// object in one call.
type jsonWriter struct{ io.Writer }

func (w jsonWriter) Write(p []byte) (int, error) {
	if _, err := w.Writer.Write(printable.JSON(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
