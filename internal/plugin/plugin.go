// Package plugin is the kubectl plugin podinfo. It prints the Pods of an IP, a UID, a
// container ID or a name.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// Exit codes.
const (
	exitOK          = 0
	exitMissing     = 1 // something was not found, or a request failed
	exitUsage       = 2 // the command line is wrong
	exitInterrupted = 130
)

var (
	// errMissing reports that something was not found, which is already printed.
	errMissing = errors.New("not found")
	// errClosed reports that the reader of standard output is gone.
	errClosed = errors.New("standard output is closed")
)

// Main runs the plugin until SIGINT or SIGTERM and returns its exit code. A
// second signal ends the process at once.
func Main(args []string, streams genericiooptions.IOStreams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	// With a handler of SIGPIPE, a write to a closed pipe fails instead of ending the
	// process. Programs that this one starts keep the default.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return Run(ctx, args, streams)
}

// Run runs the plugin until ctx ends and returns its exit code.
func Run(ctx context.Context, args []string, streams genericiooptions.IOStreams) int {
	// Warnings, notes and errors quote the cluster and the API server.
	streams.ErrOut = printable.Lines{Writer: streams.ErrOut}
	cmd := NewCommand(streams) //nolint:contextcheck // commands get it from ExecuteContext
	removeWebFrom(cmd, args)   //nolint:contextcheck // it runs nothing
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var usage cli.UsageError
	switch {
	case err == nil, errors.Is(err, errClosed):
		return exitOK
	case errors.Is(err, errMissing):
		return exitMissing
	case errors.As(err, &usage):
		fmt.Fprintln(streams.ErrOut, "error:", cli.JoinLines(err.Error()))
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	default:
		fmt.Fprintln(streams.ErrOut, cli.JoinLines(message(err)))
		return exitMissing
	}
}

// message words an error as kubectl does.
func message(err error) string {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		switch s := status.Status(); s.Reason {
		case metav1.StatusReasonUnauthorized:
			return fmt.Sprintf("error: You must be logged in to the server (%s)", s.Message)
		case "":
			return "Error from server: " + err.Error()
		default:
			return fmt.Sprintf("Error from server (%s): %s", s.Reason, err)
		}
	}
	var failed *url.Error
	switch {
	case !errors.As(err, &failed):
		return "error: " + err.Error()
	case errors.Is(failed, syscall.ECONNREFUSED):
		host := failed.URL
		if server, err := url.Parse(failed.URL); err == nil {
			host = server.Host
		}
		return fmt.Sprintf("The connection to the server %s was refused - did you specify the right host or port?", host)
	default:
		return fmt.Sprintf("Unable to connect to the server: %v", failed.Err)
	}
}

// output is standard output, whose reader may exit early as head(1) does.
type output struct{ io.Writer }

func (o output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errClosed
	}
	return n, err
}
