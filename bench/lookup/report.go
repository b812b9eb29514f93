package lookup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// report returns the tables of docs/benchmarks.md.
func (b *bench) report() *harness.Report {
	out := &harness.Report{}
	for _, clients := range b.o.clients {
		b.reportLoad(out, clients)
	}
	b.reportCPU(out, b.o.clients[0])
	b.reportCommands(out)
	b.reportBytes(out)
	b.reportWrites(out)
	b.reportMemory(out)
	return out
}

func (b *bench) measured(measure string, clients int) []record {
	return b.Select(func(r *record) bool { return r.Measure == measure && r.Clients == clients })
}

// rate returns the median of the rounds.
func (b *bench) rate(measure string, clients int) float64 {
	return harness.MedianOf(b.measured(measure, clients), func(r *record) float64 { return r.PerSecond })
}

func (b *bench) reportLoad(out *harness.Report, clients int) {
	out.Table(fmt.Sprintf("clients at once: %d", clients), "lookups/s, each round", "lookups/s", "p50, ms", "p99, ms", "HTTP lookups for one of these", "processor time of others, s")
	for _, name := range ways {
		var rounds, others []string
		for _, r := range b.measured(name, clients) {
			rounds = append(rounds, formatRate(r.PerSecond))
			others = append(others, harness.Decimal(1, r.CPU["others"]))
		}
		took, rate := slices.Sorted(slices.Values(b.took[way{name, clients}])), b.rate(name, clients)
		out.Row(name, strings.Join(rounds, ", "), formatRate(rate), harness.Decimal(2, harness.Quantile(took, 0.5)), harness.Decimal(2, harness.Quantile(took, 0.99)),
			harness.Decimal(0, b.rate(overHTTP, clients)/rate), strings.Join(others, ", "))
	}
}

func formatRate(rate float64) string {
	if rate < 100 {
		return harness.Decimal(1, rate)
	}
	return harness.Decimal(0, rate)
}

func (b *bench) reportCPU(out *harness.Report, clients int) {
	programs := []string{harness.PodInfoLookup, "kube-apiserver", "etcd", "bench", "others"}
	out.Table(append([]string{fmt.Sprintf("processor time a lookup, ms, clients at once: %d", clients)}, programs...)...)
	for _, name := range ways {
		row := []any{name}
		for _, program := range programs {
			row = append(row, harness.Decimal(3, harness.MedianOf(b.measured(name, clients), func(r *record) float64 {
				return r.CPU[program] / float64(r.Requests) * 1000
			})))
		}
		out.Row(row...)
	}
}

func (b *bench) reportCommands(out *harness.Report) {
	out.Table(fmt.Sprintf("command, %d runs", b.o.calls), "median, s", "slowest, s", "peak memory, MiB")
	for _, c := range b.commandsOf() {
		calls := b.measured(c.name, 0)
		seconds := harness.Each(calls, func(r *record) float64 { return r.Seconds })
		peak := 0
		for _, r := range calls {
			peak = max(peak, r.PeakRSSKiB)
		}
		out.Row("`"+c.name+"`", harness.Decimal(3, harness.Median(seconds)), harness.Decimal(3, slices.Max(seconds)), harness.MiB(peak))
	}
}

func (b *bench) reportBytes(out *harness.Report) {
	out.Table("bytes of a Testcr in etcd, mean", "stored", "without managedFields", "these without the container ID's label", "and without the IP's")
	for _, kind := range kindsOfPods {
		for _, r := range b.measured("size, "+kind, 0) {
			out.Row(fmt.Sprintf("%s, %d Pods", kind, r.Pods), harness.Decimal(0, r.Bytes["stored"]), harness.Decimal(0, r.Bytes["without managedFields"]),
				harness.Decimal(0, r.Bytes["without managedFields"+noContainer]), harness.Decimal(0, r.Bytes["without managedFields"+noLookup]))
		}
	}
}

func (b *bench) reportWrites(out *harness.Report) {
	out.Table("writes to Testcrs", "create", "update", "delete", "others")
	for _, measure := range append([]string{coldStart}, b.eachVersion(life)...) {
		for _, r := range b.measured(measure, 0) {
			create, update, del, all := r.Writes["create"], r.Writes["update"], r.Writes["delete"], 0
			for _, n := range r.Writes {
				all += n
			}
			out.Row(measure, create, update, del, all-create-update-del)
		}
	}
}

func (b *bench) reportMemory(out *harness.Report) {
	out.Table("the program", "Pods", "resident, MiB", "at its peak, MiB", "ready after, s")
	for _, measure := range append([]string{life, coldStart, afterLookups}, b.eachVersion(restart)...) {
		for _, r := range b.measured(measure, 0) {
			ready := ""
			if strings.HasPrefix(measure, restart) {
				ready = harness.Decimal(2, r.Seconds)
			}
			out.Row(measure, r.Pods, harness.MiB(r.RSSKiB), harness.MiB(r.PeakRSSKiB), ready)
		}
	}
}

// eachVersion returns the name of a measure for each measured version.
func (b *bench) eachVersion(measure string) []string {
	var out []string
	for _, v := range b.versions() {
		out = append(out, measure+v.suffix)
	}
	return out
}
