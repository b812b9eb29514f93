package firstsync

import (
	"fmt"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// report returns the tables of docs/benchmarks.md.
func (b *bench) report() *harness.Report {
	out := &harness.Report{}
	b.reportRates(out)
	b.reportCosts(out)
	b.reportMemory(out)
	b.reportRestarts(out)
	b.reportLookups(out)
	b.reportVerify(out)
	return out
}

var programs = []string{
	harness.RawLoop, harness.PodInfoLookup, harness.WithHistory, harness.TunedControllerRuntime, harness.ControllerRuntime, harness.SampleController, harness.Article,
}

// syncs returns the first syncs of a program, complete or not.
func (b *bench) syncs(program string, pods int) []record {
	return b.Select(func(r *record) bool {
		return (r.Measure == firstSync || r.Measure == window) && r.Program == program && r.Pods == pods
	})
}

func (b *bench) measured(measure string, pods int) []record {
	return b.Select(func(r *record) bool { return r.Measure == measure && r.Pods == pods })
}

func rate(r *record) float64 { return float64(r.Testcrs) / r.Seconds }

func others(r *record) float64 { return r.CPU["others"] }

// toRaw returns the ratios to the raw loop of the same round.
func (b *bench) toRaw(records []record, f func(*record) float64) []float64 {
	var out []float64
	for i := range records {
		for _, other := range b.syncs(harness.RawLoop, records[i].Pods) {
			if other.Round == records[i].Round {
				out = append(out, f(&records[i])/f(&other))
			}
		}
	}
	return out
}

func (b *bench) reportRates(out *harness.Report) {
	out.Table("Pods", "program", "rounds", "s", "Testcrs/s", "of the raw loop's", "processor time of others, s")
	for _, pods := range b.o.pods {
		for _, program := range programs {
			records := b.syncs(program, pods)
			if len(records) == 0 {
				continue
			}
			seconds := harness.SpreadOf("%.2f", records, func(r *record) float64 { return r.Seconds })
			if records[0].Measure == window {
				testcrs := harness.MedianOf(records, func(r *record) float64 { return float64(r.Testcrs) })
				seconds = fmt.Sprintf("(%.0f Testcrs in %.0f s)", testcrs, records[0].Seconds)
			}
			out.Row(pods, program, len(records), seconds, harness.SpreadOf("%.4g", records, rate),
				harness.Spread("%.2f", b.toRaw(records, rate)), harness.SpreadOf("%.1f", records, others))
		}
	}
}

func perTestcr(f func(*record) float64) func(*record) float64 {
	return func(r *record) float64 { return f(r) / float64(max(1, r.Testcrs)) }
}

func (b *bench) reportCosts(out *harness.Report) {
	out.Table("Pods", "program", "its processor time, s per 1,000", "its allocations a Testcr", "KiB allocated a Testcr", "kube-apiserver, ms a Testcr", "of the raw loop's",
		"etcd, ms a Testcr", "bytes of etcd's log a Testcr", "of the raw loop's")
	cpu := func(program string) func(*record) float64 {
		return perTestcr(func(r *record) float64 { return r.CPU[program] * 1000 })
	}
	wal := perTestcr(func(r *record) float64 { return r.Etcd["etcd_disk_wal_write_bytes_total"] })
	for _, pods := range b.o.pods {
		for _, program := range programs {
			records := b.syncs(program, pods)
			if len(records) == 0 {
				continue
			}
			own := [3]string{}
			if program != harness.RawLoop {
				own[0] = harness.SpreadOf("%.3f", records, cpu(harness.PodInfoLookup))
				own[1] = harness.SpreadOf("%.0f", records, perTestcr(func(r *record) float64 { return r.Mallocs }))
				own[2] = harness.SpreadOf("%.1f", records, perTestcr(func(r *record) float64 { return r.AllocBytes / 1024 }))
			}
			out.Row(pods, program, own[0], own[1], own[2],
				harness.SpreadOf("%.2f", records, cpu("kube-apiserver")), harness.Spread("%.2f", b.toRaw(records, cpu("kube-apiserver"))),
				harness.SpreadOf("%.2f", records, cpu("etcd")),
				harness.SpreadOf("%.0f", records, wal), harness.Spread("%.2f", b.toRaw(records, wal)))
		}
	}
}

func (b *bench) reportMemory(out *harness.Report) {
	out.Table("resident, MiB", "Pods", "last Testcr there", "steady", "peak", "steady, KiB a Pod above none", "peak, KiB a Pod above none")
	resident := func(r *record) float64 { return float64(r.RSSKiB) }
	steady := func(r *record) float64 { return float64(r.SteadyKiB) }
	peak := func(r *record) float64 { return float64(r.PeakRSSKiB) }
	none := harness.Each(b.measured(restart, 0), steady)
	for _, pods := range append([]int{0}, b.o.pods...) {
		for _, row := range []struct{ measure, program string }{
			{firstSync, harness.PodInfoLookup}, {firstSync, harness.WithHistory}, {firstSyncKept, harness.PodInfoLookup}, {restart, harness.PodInfoLookup},
		} {
			records := b.Select(func(r *record) bool {
				return r.Measure == row.measure && r.Pods == pods && r.Program == row.program
			})
			if len(records) == 0 {
				continue
			}
			mib := func(kib func(*record) float64) string {
				if kib(&records[0]) == 0 {
					return ""
				}
				return harness.SpreadOf("%.0f", records, func(r *record) float64 { return kib(r) / 1024 })
			}
			above := func(kib func(*record) float64) string {
				if pods == 0 || len(none) == 0 || kib(&records[0]) == 0 {
					return ""
				}
				return harness.SpreadOf("%.2f", records, func(r *record) float64 { return (kib(r) - harness.Median(none)) / float64(pods) })
			}
			measure := row.measure
			if row.program == harness.WithHistory {
				measure += ", --history"
			}
			out.Row(measure, pods, mib(resident), mib(steady), mib(peak), above(steady), above(peak))
		}
	}
}

func (b *bench) reportRestarts(out *harness.Report) {
	out.Table("Pods", "ready after, s", "the two lists as bytes, s", "ratio", "the two lists decoded, s", "ratio", "writes")
	for _, pods := range b.o.pods {
		records := b.measured(restart, pods)
		if len(records) == 0 {
			continue
		}
		row := []any{pods, harness.SpreadOf("%.2f", records, func(r *record) float64 { return r.Seconds })}
		for _, lists := range []string{listsAsBytes, listsDecoded} {
			row = append(row, harness.SpreadOf("%.2f", records, func(r *record) float64 { return r.Lists[lists] }),
				harness.SpreadOf("%.2f", records, func(r *record) float64 { return r.Seconds / r.Lists[lists] }))
		}
		out.Row(append(row, 0)...) // any write would have been an error
	}
}

func (b *bench) reportLookups(out *harness.Report) {
	out.Table("Pods", fmt.Sprintf("lookups by IP over HTTP, %d clients", lookupClients), "after", "1/s", "p50, ms", "p99, ms")
	for _, pods := range b.o.pods {
		for _, measure := range []string{lookupBeside, lookupAlone} {
			for _, after := range []string{"the first sync", "restarts"} {
				records := b.Select(func(r *record) bool {
					return r.Measure == measure && r.Pods == pods && (r.Round > 0) == (after == "restarts")
				})
				if len(records) == 0 {
					continue
				}
				out.Row(pods, measure, after, harness.SpreadOf("%.0f", records, func(r *record) float64 { return r.PerSecond }),
					harness.SpreadOf("%.2f", records, func(r *record) float64 { return r.P50Ms }),
					harness.SpreadOf("%.2f", records, func(r *record) float64 { return r.P99Ms }))
			}
		}
	}
}

func (b *bench) reportVerify(out *harness.Report) {
	out.Table("Pods", "`podinfolookup verify`, s", "processor time, s", "peak, MiB")
	for _, pods := range b.o.pods {
		for _, r := range b.measured(verify, pods) {
			out.Row(pods, harness.Decimal(2, r.Seconds), harness.Decimal(2, r.CPU[harness.PodInfoLookup]), harness.MiB(r.PeakRSSKiB))
		}
	}
}
