// Command timed runs a command and writes its duration and peak memory to file
// descriptor 3. It is a program of its own because it must be small: in Linux
// the peak of a child includes the memory of its parent at the fork. That of
// bench, even without Pods, is higher than that of the plugin.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	cmd := exec.CommandContext(context.Background(), os.Args[1], os.Args[2:]...) //nolint:gosec // its purpose
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	used, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage) // always so on Linux
	return json.NewEncoder(os.NewFile(3, "result")).Encode(map[string]any{"seconds": seconds, "peakRSSKiB": used.Maxrss})
}
