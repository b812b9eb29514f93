package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// report prints the tables of docs/benchmarks.md.
func (b *bench) report(w io.Writer) error {
	out := &strings.Builder{}
	b.reportWrites(out)
	b.reportLag(out)
	b.reportKinds(out)
	b.reportBursts(out)
	_, err := io.WriteString(w, out.String())
	return err
}

func (b *bench) of(measure, program string) []record {
	return slices.DeleteFunc(slices.Clone(b.All), func(r record) bool { return r.Measure != measure || r.Program != program })
}

var programs = []string{ours, raw, tuned}

// reportWrites tells the writes of one life of a Pod.
func (b *bench) reportWrites(w io.Writer) {
	fmt.Fprint(w, "| writes a Pod | program | Pods | create | update | delete | all | refused | that changed nothing |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, measure := range []string{"alone", "alone, at once", "churn"} {
		for _, program := range programs {
			records, pods, needless, writes := b.of(measure, program), 0, 0, map[string]int{}
			for _, r := range records {
				pods, needless = pods+r.Pods, needless+r.Needless
				for verb, n := range r.Writes {
					writes[verb] += n
				}
			}
			if pods == 0 {
				continue
			}
			a := func(n int) float64 { return float64(n) / float64(pods) }
			all := writes["create"] + writes["update"] + writes["patch"] + writes["delete"]
			fmt.Fprintf(w, "| %s | %s | %d | %.2f | %.2f | %.2f | %.2f | %.3f | %d |\n", measure, program, pods,
				a(writes["create"]), a(writes["update"]+writes["patch"]), a(writes["delete"]), a(all), a(writes["refused"]), needless)
		}
	}
}

// reportLag tells how far Testcrs are behind while Pods come at an even rate.
func (b *bench) reportLag(w io.Writer) {
	fmt.Fprintf(w, "\n| Pods/s | program | rounds | changes | p50, ms | p99, ms | max, ms | its request alone: p50, p99, max, ms | its processor time, s a 1,000 Pods | "+
		"kube-apiserver, s a 1,000 Pods | the driver was late: p99, ms | others, s |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, program := range programs {
		records := b.of("churn", program)
		if len(records) == 0 {
			continue
		}
		lag := func(f func(distribution) float64) string {
			return harness.Spread("%.1f", harness.Each(records, func(r *record) float64 { return f(r.Lag["all"]) }))
		}
		cpu := func(program string) string {
			return harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return r.CPU[program] / float64(r.Pods) * 1000 }))
		}
		request, own := "", cpu("podinfolookup")
		if records[0].Request != nil {
			of := func(f func(*distribution) float64) string {
				return fmt.Sprintf("%.1f", harness.Median(harness.Each(records, func(r *record) float64 { return f(r.Request) })))
			}
			request, own = strings.Join([]string{
				of(func(d *distribution) float64 { return d.P50 }), of(func(d *distribution) float64 { return d.P99 }), of(func(d *distribution) float64 { return d.Max }),
			}, ", "), ""
		}
		fmt.Fprintf(w, "| %d | %s | %d | %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", records[0].Rate, program, len(records), records[0].Lag["all"].N,
			lag(func(d distribution) float64 { return d.P50 }), lag(func(d distribution) float64 { return d.P99 }), lag(func(d distribution) float64 { return d.Max }),
			request, own, cpu("kube-apiserver"),
			harness.Spread("%.1f", harness.Each(records, func(r *record) float64 { return r.Late.P99 })),
			harness.Spread("%.1f", harness.Each(records, func(r *record) float64 { return r.CPU["others"] })))
	}
}

func (b *bench) reportKinds(w io.Writer) {
	fmt.Fprintf(w, "\n| p50 / p99 / max, ms, medians | %s |\n|---|%s\n", strings.Join(kinds, " | "), strings.Repeat("---|", len(kinds)))
	for _, program := range programs {
		records := b.of("churn", program)
		if len(records) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s |", program)
		for _, kind := range kinds {
			of := func(f func(distribution) float64) float64 {
				return harness.Median(harness.Each(records, func(r *record) float64 { return f(r.Lag[kind]) }))
			}
			fmt.Fprintf(w, " %.1f / %.1f / %.1f |", of(func(d distribution) float64 { return d.P50 }),
				of(func(d distribution) float64 { return d.P99 }), of(func(d distribution) float64 { return d.Max }))
		}
		fmt.Fprintln(w)
	}
}

// reportBursts tells of the mass delete and the rolling restart.
func (b *bench) reportBursts(w io.Writer) {
	fmt.Fprint(w, "\n| burst | Pods | they took, s | Testcrs are right after that, s | lag p50, ms | p99, ms | max, ms | deepest queue | writes a Pod |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, measure := range []string{"mass delete", "rolling restart"} {
		for _, r := range b.of(measure, ours) {
			depth, writes := 0.0, 0
			for _, s := range r.Samples {
				depth = max(depth, s.Depth)
			}
			for verb, n := range r.Writes {
				if verb != "refused" {
					writes += n
				}
			}
			lag := r.Lag["all"]
			fmt.Fprintf(w, "| %s | %d | %.1f | %.2f | %.0f | %.0f | %.0f | %.0f | %.2f |\n", measure, r.Pods, r.Seconds, r.Behind,
				lag.P50, lag.P99, lag.Max, depth, float64(writes)/float64(r.Pods))
		}
	}
}
