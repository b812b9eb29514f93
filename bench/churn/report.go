package churn

import (
	"fmt"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// report returns the tables of docs/benchmarks.md.
func (b *bench) report() *harness.Report {
	out := &harness.Report{}
	b.reportWrites(out)
	b.reportLag(out)
	b.reportKinds(out)
	b.reportBursts(out)
	return out
}

func (b *bench) measured(measure, program string) []record {
	return b.Select(func(r *record) bool { return r.Measure == measure && r.Program == program })
}

var programs = []string{harness.PodInfoLookup, harness.WithHistory, harness.RawLoop, harness.TunedControllerRuntime}

// writes returns the number of writes, without those that were refused.
func writes(byVerb map[string]int) int {
	return byVerb["create"] + byVerb["update"] + byVerb["patch"] + byVerb["delete"]
}

// reportWrites prints the writes for the life of a Pod.
func (b *bench) reportWrites(out *harness.Report) {
	out.Table("writes a Pod", "program", "Pods", "create", "update", "delete", "all", "refused", "that changed nothing")
	for _, measure := range []string{alone, aloneAtOnce, evenRate} {
		for _, program := range programs {
			pods, needless, byVerb := 0, 0, map[string]int{}
			for _, r := range b.measured(measure, program) {
				pods, needless = pods+r.Pods, needless+r.Needless
				for verb, n := range r.Writes {
					byVerb[verb] += n
				}
			}
			if pods == 0 {
				continue
			}
			perPod := func(n int) float64 { return float64(n) / float64(pods) }
			out.Row(measure, program, pods, harness.Decimal(2, perPod(byVerb["create"])), harness.Decimal(2, perPod(byVerb["update"]+byVerb["patch"])),
				harness.Decimal(2, perPod(byVerb["delete"])), harness.Decimal(2, perPod(writes(byVerb))), harness.Decimal(3, perPod(byVerb["refused"])), needless)
		}
	}
}

// reportLag prints the lag of Testcrs while Pods are created at an even rate.
func (b *bench) reportLag(out *harness.Report) {
	out.Table("Pods/s", "program", "rounds", "changes", "p50, ms", "p99, ms", "max, ms", "its request alone: p50, p99, max, ms", "its processor time, s a 1,000 Pods",
		"kube-apiserver, s a 1,000 Pods", "the driver was late: p99, ms", "others, s")
	for _, program := range programs {
		records := b.measured(evenRate, program)
		if len(records) == 0 {
			continue
		}
		lag := func(f func(distribution) float64) string {
			return harness.SpreadOf("%.1f", records, func(r *record) float64 { return f(r.Lag["all"]) })
		}
		cpu := func(program string) string {
			return harness.SpreadOf("%.2f", records, func(r *record) float64 { return r.CPU[program] / float64(r.Pods) * 1000 })
		}
		request, own := "", cpu(harness.PodInfoLookup)
		if program == harness.RawLoop {
			request, own = quantiles(", ", records, func(r *record) distribution { return *r.Request }), ""
		}
		out.Row(records[0].Rate, program, len(records), records[0].Lag["all"].N, lag(distribution.p50), lag(distribution.p99), lag(distribution.max),
			request, own, cpu("kube-apiserver"),
			harness.SpreadOf("%.1f", records, func(r *record) float64 { return r.Late.P99 }),
			harness.SpreadOf("%.1f", records, func(r *record) float64 { return r.CPU["others"] }))
	}
}

func (d distribution) p50() float64 { return d.P50 }
func (d distribution) p99() float64 { return d.P99 }
func (d distribution) max() float64 { return d.Max }

// quantiles formats the medians of p50, p99 and max over records.
func quantiles(separator string, records []record, of func(*record) distribution) string {
	median := func(f func(distribution) float64) float64 {
		return harness.MedianOf(records, func(r *record) float64 { return f(of(r)) })
	}
	return fmt.Sprintf("%.1f%s%.1f%s%.1f", median(distribution.p50), separator, median(distribution.p99), separator, median(distribution.max))
}

// reportKinds prints the lag by kind of change.
func (b *bench) reportKinds(out *harness.Report) {
	out.Table(append([]string{"p50 / p99 / max, ms, medians"}, kinds...)...)
	for _, program := range programs {
		records := b.measured(evenRate, program)
		if len(records) == 0 {
			continue
		}
		row := []any{program}
		for _, kind := range kinds {
			row = append(row, quantiles(" / ", records, func(r *record) distribution { return r.Lag[kind] }))
		}
		out.Row(row...)
	}
}

// reportBursts prints the lag in the mass delete and the rolling restart.
func (b *bench) reportBursts(out *harness.Report) {
	out.Table("burst", "Pods", "they took, s", "Testcrs are right after that, s", "lag p50, ms", "p99, ms", "max, ms", "deepest queue", "writes a Pod")
	for _, measure := range []string{massDelete, rollingRestart} {
		for _, r := range b.measured(measure, harness.PodInfoLookup) {
			depth, lag := 0.0, r.Lag["all"]
			for _, s := range r.Samples {
				depth = max(depth, s.Depth)
			}
			out.Row(measure, r.Pods, harness.Decimal(1, r.Seconds), harness.Decimal(2, r.Behind),
				harness.Decimal(0, lag.P50), harness.Decimal(0, lag.P99), harness.Decimal(0, lag.Max), harness.Decimal(0, depth),
				harness.Decimal(2, float64(writes(r.Writes))/float64(r.Pods)))
		}
	}
}
