// Package plot draws the plots of docs/benchmarks.md and docs/reliability.md from
// the records of firstsync, churn and the soak test.
package plot

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// Run runs `bench plot`.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	o := &options{}
	return harness.Execute(ctx, harness.Command{Name: "plot", Flags: o.flags, Run: o.run}, args, stdout)
}

type options struct{ in, out string }

func (o *options) flags(fs *pflag.FlagSet) {
	fs.StringVar(&o.in, "in", "../docs/benchmarks", "Folder of firstsync.jsonl, churn.jsonl and soak.jsonl, each with or without .gz.")
	fs.StringVar(&o.out, "out", "../docs/benchmarks", "Folder for the plots.")
}

func (o *options) run(context.Context, io.Writer) error {
	syncs, err := read[syncRecord](o.in, "firstsync")
	if err != nil {
		return err
	}
	churns, err := read[churnRecord](o.in, "churn")
	if err != nil {
		return err
	}
	soaks, err := read[soakRecord](o.in, "soak")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o750); err != nil {
		return err
	}
	for name, draw := range map[string]func(path string) error{
		"throughput":      func(path string) error { return drawThroughput(path, syncs) },
		"growth":          func(path string) error { return drawGrowth(path, syncs) },
		"memory":          func(path string) error { return drawMemory(path, syncs) },
		"latency":         func(path string) error { return drawLatency(path, churns) },
		"mass-delete":     func(path string) error { return drawBurst(path, churns, "mass delete") },
		"rolling-restart": func(path string) error { return drawBurst(path, churns, "rolling restart") },
		"soak":            func(path string) error { return drawSoak(path, soaks) },
	} {
		path := filepath.Join(o.out, name+".svg")
		switch err := draw(path); {
		case errors.Is(err, errNothing):
			fmt.Fprintf(os.Stderr, "plot: skipping %s: %v\n", path, errNothing)
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// errNothing is returned for a plot without data.
var errNothing = errors.New("nothing was measured")

// syncRecord has the fields of a line of firstsync.jsonl that plots need.
type syncRecord struct {
	Measure    string             `json:"measure"`
	Program    string             `json:"program"`
	Pods       int                `json:"pods"`
	Testcrs    int                `json:"testcrs"`
	Seconds    float64            `json:"seconds"`
	CPU        map[string]float64 `json:"cpuSeconds"`
	PeakRSSKiB float64            `json:"peakRSSKiB"`
	SteadyKiB  float64            `json:"steadyRSSKiB"`
}

// churnRecord has the fields of a line of churn.jsonl that plots need.
type churnRecord struct {
	Measure string `json:"measure"`
	Program string `json:"program"`
	Lag     map[string]struct {
		Curve []float64 `json:"curve"`
	} `json:"lagMs"`
	Samples []struct {
		At      float64 `json:"at"`
		Pods    float64 `json:"pods"`
		Testcrs float64 `json:"testcrs"`
		Oldest  float64 `json:"oldestMs"`
		Depth   float64 `json:"queueDepth"`
	} `json:"samples"`
}

// soakRecord is a line of soak.jsonl.
type soakRecord struct {
	At       float64 `json:"at"`
	Replicas []struct {
		MiB        float64 `json:"mib"`
		Goroutines float64 `json:"goroutines"`
		Files      float64 `json:"files"`
		Depth      float64 `json:"queueDepth"`
	} `json:"replicas"`
	P50 float64 `json:"p50Ms"`
	P99 float64 `json:"p99Ms"`
}

// read reads folder/name.jsonl.gz or folder/name.jsonl. It returns no records if
// neither exists.
func read[T any](folder, name string) ([]T, error) {
	path := filepath.Join(folder, name+".jsonl")
	file, err := os.Open(path + ".gz") //nolint:gosec // G304: the caller's to choose
	compressed := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		file, err = os.Open(path) //nolint:gosec // G304: as above
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	var in io.Reader = file
	if compressed {
		if in, err = gzip.NewReader(file); err != nil {
			return nil, fmt.Errorf("%s.gz: %w", path, err)
		}
	}
	var records []T
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var r T
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		records = append(records, r)
	}
	return records, lines.Err()
}
