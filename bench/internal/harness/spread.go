package harness

import (
	"fmt"
	"slices"
)

// Each returns what f makes of each record.
func Each[R any](records []R, f func(*R) float64) []float64 {
	out := make([]float64, 0, len(records))
	for i := range records {
		out = append(out, f(&records[i]))
	}
	return out
}

// Spread is a median with the least and the most.
func Spread(format string, x []float64) string {
	if len(x) == 0 {
		return ""
	}
	median := fmt.Sprintf(format, Median(x))
	if len(x) == 1 {
		return median
	}
	return fmt.Sprintf("%s ("+format+" to "+format+")", median, slices.Min(x), slices.Max(x))
}
