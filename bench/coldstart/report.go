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
	b.reportRatios(out)
	b.reportWorkers(out)
	b.reportCPU(out)
	b.reportBytes(out)
	b.reportProcess(out)
	_, err := io.WriteString(w, out.String())
	return err
}

func (b *bench) of(measure string) []record {
	return slices.DeleteFunc(slices.Clone(b.All), func(r record) bool { return r.Measure != measure })
}

// rawOf returns the raw loop of the same round.
func (b *bench) rawOf(round int) record {
	for _, r := range b.of("raw") {
		if r.Round == round {
			return r
		}
	}
	return record{}
}

func (r record) perSecond() float64 { return float64(r.Pods) / r.Seconds }

func (b *bench) reportRatios(w io.Writer) {
	fmt.Fprint(w, "| round | raw loop, s | Testcrs/s | cold start, s | Testcrs/s | ratio | first to last Testcr, s | Testcrs/s | processor time of others, s |\n"+
		"|---|---|---|---|---|---|---|---|---|\n")
	var ratios []float64
	for _, r := range b.of("cold start") {
		raw := b.rawOf(r.Round)
		ratio := raw.Seconds / r.Seconds
		ratios = append(ratios, ratio)
		fmt.Fprintf(w, "| %d | %.2f | %.0f | %.2f | %.0f | %.2f | %.2f | %.0f | %.1f, %.1f |\n", r.Round, raw.Seconds, raw.perSecond(),
			r.Seconds, r.perSecond(), ratio, r.WriteSeconds, float64(r.Pods)/r.WriteSeconds, raw.CPU["others"], r.CPU["others"])
	}
	fmt.Fprintf(w, "\nRatio: median %.2f, from %.2f to %.2f.\n", harness.Median(ratios), slices.Min(ratios), slices.Max(ratios))
	fmt.Fprint(w, "Printing, in the same rounds, s:")
	for _, r := range b.of("cold start, printing") {
		fmt.Fprintf(w, " %.2f", r.Seconds)
	}
	fmt.Fprintln(w)
}

func (b *bench) reportWorkers(w io.Writer) {
	if len(b.o.workers) == 0 || b.o.sweeps == 0 {
		return
	}
	fmt.Fprint(w, "\n| --workers | s, each | Testcrs/s | ratio, each | ratio, median |\n|---|---|---|---|---|\n")
	for _, workers := range b.o.workers {
		var seconds, ratio []string
		var ratios, rates []float64
		for _, r := range b.of("workers") {
			if r.Workers != workers {
				continue
			}
			rates, ratios = append(rates, r.perSecond()), append(ratios, b.rawOf(r.Round).Seconds/r.Seconds)
			seconds = append(seconds, fmt.Sprintf("%.2f", r.Seconds))
			ratio = append(ratio, fmt.Sprintf("%.2f", ratios[len(ratios)-1]))
		}
		fmt.Fprintf(w, "| %d | %s | %.0f | %s | %.2f |\n", workers, strings.Join(seconds, ", "), harness.Median(rates),
			strings.Join(ratio, ", "), harness.Median(ratios))
	}
}

func (b *bench) reportCPU(w io.Writer) {
	programs := []string{"podinfolookup", "bench", "kube-apiserver", "etcd", "kube-controller-manager", "others", "machine"}
	fmt.Fprintf(w, "\n| processor time, s, median | %s |\n|---|%s\n", strings.Join(programs, " | "), strings.Repeat("---|", len(programs)))
	for _, measure := range []string{"raw", "cold start", "cold start, printing"} {
		fmt.Fprintf(w, "| %s |", measure)
		for _, program := range programs {
			var used []float64
			for _, r := range b.of(measure) {
				used = append(used, r.CPU[program])
			}
			fmt.Fprintf(w, " %.2f |", harness.Median(used))
		}
		fmt.Fprintln(w)
	}
}

func (b *bench) reportBytes(w io.Writer) {
	fmt.Fprint(w, "\n| bytes of a Testcr in etcd | stored | without managedFields | spec alone |\n|---|---|---|---|\n")
	sizes := b.of("size")
	if deployed := b.of("size, Deployment"); len(deployed) > 0 {
		sizes = append(sizes, deployed[0])
	}
	for _, r := range sizes {
		what := fmt.Sprintf("mean of %d bare Pods of one container", r.Pods)
		if r.Measure != "size" {
			what = "Pod of a Deployment, one container with its ID"
		}
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %.0f |\n", what, r.Bytes["stored"], r.Bytes["without managedFields"], r.Bytes["spec"])
	}
}

func (b *bench) reportProcess(w io.Writer) {
	fmt.Fprint(w, "\n| | resident at the end, MiB | at its peak, MiB | /readyz after, s | writes to right Testcrs |\n|---|---|---|---|---|\n")
	for _, measure := range []string{"cold start", "restart"} {
		for _, r := range b.of(measure) {
			ready, writes := "", ""
			if measure == "restart" {
				ready, writes = fmt.Sprintf("%.2f", r.ReadySeconds), fmt.Sprint(r.Writes["all"])
			}
			fmt.Fprintf(w, "| %s %d | %.0f | %.0f | %s | %s |\n", measure, r.Round, float64(r.RSSKiB)/1024, float64(r.PeakRSSKiB)/1024, ready, writes)
		}
	}
}
