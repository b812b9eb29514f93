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
	for _, clients := range b.o.clients {
		b.reportLoad(out, clients)
	}
	b.reportCPU(out, b.o.clients[0])
	b.reportCommands(out)
	b.reportBytes(out)
	b.reportWrites(out)
	b.reportMemory(out)
	_, err := io.WriteString(w, out.String())
	return err
}

func (b *bench) of(measure string, clients int) []record {
	return slices.DeleteFunc(slices.Clone(b.All), func(r record) bool { return r.Measure != measure || r.Clients != clients })
}

// rate returns the median of the rounds.
func (b *bench) rate(measure string, clients int) float64 {
	return harness.Median(each(b.of(measure, clients), func(r *record) float64 { return r.PerSecond }))
}

func each(records []record, f func(*record) float64) []float64 {
	out := make([]float64, len(records))
	for i := range records {
		out[i] = f(&records[i])
	}
	return out
}

func (b *bench) reportLoad(w io.Writer, clients int) {
	fmt.Fprintf(w, "| clients at once: %d | lookups/s, each round | lookups/s | p50, ms | p99, ms | HTTP lookups for one of these | processor time of others, s |\n|---|---|---|---|---|---|---|\n", clients)
	for _, name := range ways {
		var rounds, others []string
		for _, r := range b.of(name, clients) {
			rounds = append(rounds, fmt.Sprintf("%.*f", digits(r.PerSecond), r.PerSecond))
			others = append(others, fmt.Sprintf("%.1f", r.CPU["others"]))
		}
		took, rate := slices.Sorted(slices.Values(b.took[way{name, clients}])), b.rate(name, clients)
		fmt.Fprintf(w, "| %s | %s | %.*f | %.2f | %.2f | %.0f | %s |\n", name, strings.Join(rounds, ", "), digits(rate), rate,
			harness.Quantile(took, 0.5), harness.Quantile(took, 0.99), b.rate(overHTTP, clients)/rate, strings.Join(others, ", "))
	}
	fmt.Fprintln(w)
}

// digits are the decimals that a rate is worth.
func digits(rate float64) int {
	if rate < 100 {
		return 1
	}
	return 0
}

func (b *bench) reportCPU(w io.Writer, clients int) {
	programs := []string{"podinfolookup", "kube-apiserver", "etcd", "bench", "others"}
	fmt.Fprintf(w, "| processor time a lookup, ms, clients at once: %d | %s |\n|---|%s\n", clients, strings.Join(programs, " | "), strings.Repeat("---|", len(programs)))
	for _, name := range ways {
		fmt.Fprintf(w, "| %s |", name)
		for _, program := range programs {
			used := each(b.of(name, clients), func(r *record) float64 { return r.CPU[program] / float64(r.Requests) * 1000 })
			fmt.Fprintf(w, " %.3f |", harness.Median(used))
		}
		fmt.Fprintln(w)
	}
}

func (b *bench) reportCommands(w io.Writer) {
	fmt.Fprintf(w, "\n| command, %d runs | median, s | slowest, s | peak memory, MiB |\n|---|---|---|---|\n", b.o.calls)
	for _, c := range b.commandsOf() {
		calls := b.of(c.name, 0)
		seconds := each(calls, func(r *record) float64 { return r.Seconds })
		fmt.Fprintf(w, "| `%s` | %.3f | %.3f | %.0f |\n", c.name, harness.Median(seconds), slices.Max(seconds),
			slices.Max(each(calls, func(r *record) float64 { return float64(r.PeakRSSKiB) / 1024 })))
	}
}

func (b *bench) reportBytes(w io.Writer) {
	fmt.Fprint(w, "\n| bytes of a Testcr in etcd, mean | stored | without managedFields | these without the container ID's label | and without the IP's |\n|---|---|---|---|---|\n")
	for _, kind := range kindsOfPods {
		for _, r := range b.of("size, "+kind, 0) {
			fmt.Fprintf(w, "| %s, %d Pods | %.0f | %.0f | %.0f | %.0f |\n", kind, r.Pods, r.Bytes["stored"], r.Bytes["without managedFields"],
				r.Bytes["without managedFields"+noContainer], r.Bytes["without managedFields"+noLookup])
		}
	}
}

func (b *bench) reportWrites(w io.Writer) {
	fmt.Fprint(w, "\n| writes to Testcrs | create | update | delete | others |\n|---|---|---|---|---|\n")
	measures := []string{"cold start"}
	for _, v := range b.versions() {
		measures = append(measures, "life"+v.suffix)
	}
	for _, measure := range measures {
		for _, r := range b.of(measure, 0) {
			all := 0
			for _, n := range r.Writes {
				all += n
			}
			known := r.Writes["create"] + r.Writes["update"] + r.Writes["delete"]
			fmt.Fprintf(w, "| %s | %d | %d | %d | %d |\n", measure, r.Writes["create"], r.Writes["update"], r.Writes["delete"], all-known)
		}
	}
}

func (b *bench) reportMemory(w io.Writer) {
	fmt.Fprint(w, "\n| the program | Pods | resident, MiB | at its peak, MiB | ready after, s |\n|---|---|---|---|---|\n")
	measures := []string{"life", "cold start", "after the lookups"}
	for _, v := range b.versions() {
		measures = append(measures, "restart"+v.suffix)
	}
	for _, measure := range measures {
		for _, r := range b.of(measure, 0) {
			ready := ""
			if strings.HasPrefix(measure, "restart") {
				ready = fmt.Sprintf("%.2f", r.Seconds)
			}
			fmt.Fprintf(w, "| %s | %d | %.0f | %.0f | %s |\n", measure, r.Pods, float64(r.RSSKiB)/1024, float64(r.PeakRSSKiB)/1024, ready)
		}
	}
}
