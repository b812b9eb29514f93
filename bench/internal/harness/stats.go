package harness

import (
	"fmt"
	"slices"
	"time"
)

// Each returns the value of f for each record.
func Each[R any](records []R, f func(*R) float64) []float64 {
	out := make([]float64, 0, len(records))
	for i := range records {
		out = append(out, f(&records[i]))
	}
	return out
}

// Spread formats a median, with the minimum and the maximum where there are
// several values.
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

// SpreadOf formats the Spread of f over records.
func SpreadOf[R any](format string, records []R, f func(*R) float64) string {
	return Spread(format, Each(records, f))
}

// Median returns the middle value, or the mean of the two middle values.
func Median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// MedianOf returns the median of f over records.
func MedianOf[R any](records []R, f func(*R) float64) float64 { return Median(Each(records, f)) }

// Quantile returns a quantile of sorted durations, in milliseconds.
func Quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}
