// Command profiled is podinfolookup, which writes cpu.pprof, heap.pprof and
// allocs.pprof to the folder in $PROFILES. It is a program of its own because
// bench runs it instead of podinfolookup (--binary) and measures its memory:
// it must contain nothing else.
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

// heapInterval is the time between heap profiles. One at the end would not
// contain the caches any more.
const heapInterval = 2 * time.Second

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
		for range time.Tick(heapInterval) {
			_ = write(folder, "heap") // the write at the end returns the same error
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
