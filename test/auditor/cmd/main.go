// Command cmd audits a cluster while it runs: it watches all Pods and Testcrs and
// tells what no controller that keeps its promises would have written.
//
//	go -C test run ./auditor/cmd --kubeconfig=FILE --for=10m --report=DIR
//
// Whoever else writes Testcrs meanwhile is found, too. The exit code is 1 when
// something was found, 2 when the comparison failed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/weiyuanke/PodInfoLookup/test/auditor"
)

// judgeEvery bounds what waits in memory.
const judgeEvery = 30 * time.Second

func main() {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "Kubeconfig file of somebody who may list and watch Pods and Testcrs.")
	length := flag.Duration("for", 0, "How long to watch. 0 is until a signal.")
	rest := flag.Duration("rest", 10*time.Second, "At the end, how long Pods and Testcrs get to be equal while nothing changes. 0 leaves that out.")
	dir := flag.String("report", "", "Folder for report.md and report.json. Without it, report.md goes to standard output.")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	found, err := run(ctx, *kubeconfig, *length, *rest, *dir)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "auditor:", err)
		os.Exit(2) //nolint:gocritic // exitAfterDefer: the signals end with the process
	case found > 0:
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig string, length, rest time.Duration, dir string) (found int, err error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return 0, err
	}
	a, err := auditor.New(config, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	if err != nil {
		return 0, err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Run(watching)
	}()
	defer func() { stop(); <-ended }()
	watch(ctx, a, length)
	if err := a.Synced(); err != nil {
		return 0, err
	}
	a.Judge()
	if rest > 0 {
		if err := a.AtRest(watching, rest); err != nil {
			return 0, err
		}
	}
	report := a.Report()
	return report.Found, write(&report, dir)
}

// watch returns after the length, or with ctx.
func watch(ctx context.Context, a *auditor.Auditor, length time.Duration) {
	if length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, length)
		defer cancel()
	}
	judge := time.NewTicker(judgeEvery)
	defer judge.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-judge.C:
			a.Judge()
		}
	}
}

func write(report *auditor.Report, dir string) error {
	if dir == "" {
		_, err := fmt.Print(report.Markdown())
		return err
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	const private = 0o750
	return errors.Join(os.MkdirAll(dir, private),
		os.WriteFile(filepath.Join(dir, "report.json"), append(data, '\n'), 0o600),      //nolint:gosec // G703: the caller's own folder
		os.WriteFile(filepath.Join(dir, "report.md"), []byte(report.Markdown()), 0o600)) //nolint:gosec // G703: as above
}
