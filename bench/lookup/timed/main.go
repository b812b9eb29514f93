// Command timed runs a command and says on file descriptor 3 how long it took
// and how much memory it had at its peak. Linux counts to a child's peak what its
// parent had when it was started: from the bench itself that would be all Pods.
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
	cmd := exec.CommandContext(context.Background(), os.Args[1], os.Args[2:]...) //nolint:gosec // what it is for
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	used, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage) // on Linux it is one
	return json.NewEncoder(os.NewFile(3, "result")).Encode(map[string]any{"seconds": seconds, "peakRSSKiB": used.Maxrss})
}
