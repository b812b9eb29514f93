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
	b.reportRates(out)
	b.reportCosts(out)
	b.reportMemory(out)
	b.reportRestarts(out)
	b.reportLookups(out)
	b.reportVerify(out)
	_, err := io.WriteString(w, out.String())
	return err
}

var allPrograms = []string{raw, ours, tuned, untuned, sample, article}

// of returns the records of a first sync, or of a window of one.
func (b *bench) of(program string, pods int) []record {
	return slices.DeleteFunc(slices.Clone(b.All), func(r record) bool {
		return r.Measure != "first sync" && r.Measure != "window" || r.Program != program || r.Pods != pods
	})
}

func (b *bench) measured(measure string, pods int) []record {
	return slices.DeleteFunc(slices.Clone(b.All), func(r record) bool { return r.Measure != measure || r.Pods != pods })
}

func rate(r *record) float64 { return float64(r.Testcrs) / r.Seconds }

// toRaw divides by what the raw loop of the same round has.
func (b *bench) toRaw(records []record, f func(*record) float64) []float64 {
	var out []float64
	for i := range records {
		for _, other := range b.of(raw, records[i].Pods) {
			if other.Round == records[i].Round {
				out = append(out, f(&records[i])/f(&other))
			}
		}
	}
	return out
}

func (b *bench) reportRates(w io.Writer) {
	fmt.Fprint(w, "| Pods | program | rounds | s | Testcrs/s | of the raw loop's | processor time of others, s |\n|---|---|---|---|---|---|---|\n")
	for _, pods := range b.o.pods {
		for _, program := range allPrograms {
			records := b.of(program, pods)
			if len(records) == 0 {
				continue
			}
			seconds := harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return r.Seconds }))
			if records[0].Measure == "window" {
				seconds = fmt.Sprintf("(%.0f Testcrs in %.0f s)", harness.Median(harness.Each(records, func(r *record) float64 { return float64(r.Testcrs) })), records[0].Seconds)
			}
			fmt.Fprintf(w, "| %d | %s | %d | %s | %s | %s | %s |\n", pods, program, len(records), seconds,
				harness.Spread("%.4g", harness.Each(records, rate)), harness.Spread("%.2f", b.toRaw(records, rate)),
				harness.Spread("%.1f", harness.Each(records, func(r *record) float64 { return r.CPU["others"] })))
		}
	}
}

func perTestcr(f func(*record) float64) func(*record) float64 {
	return func(r *record) float64 { return f(r) / float64(max(1, r.Testcrs)) }
}

func (b *bench) reportCosts(w io.Writer) {
	fmt.Fprint(w, "\n| Pods | program | its processor time, s per 1,000 | its allocations a Testcr | KiB allocated a Testcr | kube-apiserver, ms a Testcr | of the raw loop's | "+
		"etcd, ms a Testcr | bytes of etcd's log a Testcr | of the raw loop's |\n|---|---|---|---|---|---|---|---|---|---|\n")
	cpu := func(program string) func(*record) float64 {
		return perTestcr(func(r *record) float64 { return r.CPU[program] * 1000 })
	}
	wal := perTestcr(func(r *record) float64 { return r.Etcd["etcd_disk_wal_write_bytes_total"] })
	for _, pods := range b.o.pods {
		for _, program := range allPrograms {
			records := b.of(program, pods)
			if len(records) == 0 {
				continue
			}
			own := [3]string{}
			if program != raw {
				own[0] = harness.Spread("%.3f", harness.Each(records, cpu("podinfolookup")))
				own[1] = harness.Spread("%.0f", harness.Each(records, perTestcr(func(r *record) float64 { return r.Mallocs })))
				own[2] = harness.Spread("%.1f", harness.Each(records, perTestcr(func(r *record) float64 { return r.AllocBytes / 1024 })))
			}
			fmt.Fprintf(w, "| %d | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", pods, program, own[0], own[1], own[2],
				harness.Spread("%.2f", harness.Each(records, cpu("kube-apiserver"))), harness.Spread("%.2f", b.toRaw(records, cpu("kube-apiserver"))),
				harness.Spread("%.2f", harness.Each(records, cpu("etcd"))),
				harness.Spread("%.0f", harness.Each(records, wal)), harness.Spread("%.2f", b.toRaw(records, wal)))
		}
	}
}

func mib(kib int) float64 { return float64(kib) / 1024 }

func (b *bench) reportMemory(w io.Writer) {
	fmt.Fprint(w, "\n| resident, MiB | Pods | last Testcr there | steady | peak | steady, KiB a Pod above none | peak, KiB a Pod above none |\n|---|---|---|---|---|---|---|\n")
	none := harness.Each(b.measured("restart", 0), func(r *record) float64 { return mib(r.SteadyKiB) })
	for _, pods := range append([]int{0}, b.o.pods...) {
		for _, measure := range []string{"first sync", kept, "restart"} {
			records := slices.DeleteFunc(b.measured(measure, pods), func(r record) bool { return r.Program != ours })
			if len(records) == 0 {
				continue
			}
			above := func(kib func(*record) int) string {
				if pods == 0 || len(none) == 0 || kib(&records[0]) == 0 {
					return ""
				}
				return harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return (mib(kib(r)) - harness.Median(none)) * 1024 / float64(pods) }))
			}
			steady := ""
			if records[0].SteadyKiB > 0 {
				steady = harness.Spread("%.0f", harness.Each(records, func(r *record) float64 { return mib(r.SteadyKiB) }))
			}
			fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %s |\n", measure, pods,
				harness.Spread("%.0f", harness.Each(records, func(r *record) float64 { return mib(r.RSSKiB) })), steady,
				harness.Spread("%.0f", harness.Each(records, func(r *record) float64 { return mib(r.PeakRSSKiB) })),
				above(func(r *record) int { return r.SteadyKiB }), above(func(r *record) int { return r.PeakRSSKiB }))
		}
	}
}

func (b *bench) reportRestarts(w io.Writer) {
	fmt.Fprint(w, "\n| Pods | ready after, s | the two lists as bytes, s | ratio | the two lists decoded, s | ratio | writes |\n|---|---|---|---|---|---|---|\n")
	for _, pods := range b.o.pods {
		records := b.measured("restart", pods)
		if len(records) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %d | %s ", pods, harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return r.Seconds })))
		for _, lists := range []string{listsAsBytes, listsDecoded} {
			fmt.Fprintf(w, "| %s | %s ", harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return r.Lists[lists] })),
				harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return r.Seconds / r.Lists[lists] })))
		}
		fmt.Fprintln(w, "| 0 |") // else the bench would have failed
	}
}

func (b *bench) reportLookups(w io.Writer) {
	fmt.Fprintf(w, "\n| Pods | lookups by IP over HTTP, %d clients | after | 1/s | p50, ms | p99, ms |\n|---|---|---|---|---|---|\n", lookupClients)
	for _, pods := range b.o.pods {
		for _, measure := range []string{lookupBeside, lookupAlone} {
			for _, after := range []string{"the first sync", "restarts"} {
				records := slices.DeleteFunc(b.measured(measure, pods), func(r record) bool { return r.Round == 0 != (after == "the first sync") })
				if len(records) == 0 {
					continue
				}
				fmt.Fprintf(w, "| %d | %s | %s | %s | %s | %s |\n", pods, measure, after,
					harness.Spread("%.0f", harness.Each(records, func(r *record) float64 { return r.PerSecond })),
					harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return r.P50Ms })),
					harness.Spread("%.2f", harness.Each(records, func(r *record) float64 { return r.P99Ms })))
			}
		}
	}
}

func (b *bench) reportVerify(w io.Writer) {
	fmt.Fprint(w, "\n| Pods | `podinfolookup verify`, s | processor time, s | peak, MiB |\n|---|---|---|---|\n")
	for _, pods := range b.o.pods {
		for _, r := range b.measured("verify", pods) {
			fmt.Fprintf(w, "| %d | %.2f | %.2f | %.0f |\n", pods, r.Seconds, r.CPU["podinfolookup"], mib(r.PeakRSSKiB))
		}
	}
}
