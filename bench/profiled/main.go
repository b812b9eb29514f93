// Command profiled is podinfolookup with profiles of it: PROFILES names the
// folder that cpu.pprof, heap.pprof and allocs.pprof are written to at its end.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/app"
)

// heapEvery is how often the heap's profile is taken: the one at the end would
// not show the caches any more.
const heapEvery = 2 * time.Second

func main() { os.Exit(run(os.Getenv("PROFILES"))) }

func run(folder string) int {
	cpu, err := os.Create(filepath.Join(folder, "cpu.pprof")) //nolint:gosec // G703: the caller's to choose
	if err == nil {
		err = pprof.StartCPUProfile(cpu)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		return 1
	}
	go func() {
		for range time.Tick(heapEvery) {
			_ = write(folder, "heap") // the next one, or the end, tells
		}
	}()
	code := app.Main(os.Args[1:], os.Stdout, os.Stderr)
	pprof.StopCPUProfile()
	if err := errors.Join(cpu.Close(), write(folder, "allocs")); err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
	}
	return code
}

func write(folder, profile string) error {
	file, err := os.Create(filepath.Join(folder, profile+".pprof")) //nolint:gosec // G703: the caller's to choose
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup(profile).WriteTo(file, 0), file.Close())
}
