package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/kube"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/verify"
)

const verifyCommand = "verify"

// Exit codes of verify.
const (
	exitClean   = 0
	exitDrift   = 1
	exitUnknown = 2 // the comparison failed
)

const verifyIntro = `Compares all Pods with all Testcrs, as the API server has them now, and prints a line for each difference.
What the controller is about to do counts for nothing: a difference has to last for --settle while its Pod
does not change. It only reads: it needs the right to list Pods and Testcrs.

Usage:
  podinfolookup verify [flags]

Exit code: 0 nothing differs, 1 something differs, 2 the comparison failed.
`

// verifyOptions are the command line of verify.
type verifyOptions struct {
	options // those of the sections Cluster and Logging

	settle, timeout time.Duration
	output          string
}

var verifyOutputs = []string{"text", "json"}

// verifyRules returns the rights that verify needs, a part of the program's own.
func verifyRules(o *options) []kube.Rule {
	testcrs := v1.GroupVersionResource
	rules := append(podRules(o.namespaces, "list"),
		kube.Rule{Group: testcrs.Group, Resource: testcrs.Resource, Verbs: []string{"list"}, Manifest: "rbac.yaml"})
	if o.owners {
		rules = append(rules, ownerRules(o.namespaces, "list")...)
	}
	return rules
}

// verifyMain runs the command and returns its exit code.
func verifyMain(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	code, err := runVerify(ctx, args, stdout)
	logs.FlushLogs()
	if err != nil {
		fmt.Fprintln(stderr, "podinfolookup verify:", cli.OneLine(err))
		return exitUnknown
	}
	return code
}

func (o *verifyOptions) flags() cliflag.NamedFlagSets {
	var sections cliflag.NamedFlagSets
	fs := sections.FlagSet("Cluster")
	o.clusterFlags(fs)
	fs.Lookup("namespace").Usage = "Namespace whose Pods and Testcrs are compared; may be repeated. Without it: all."

	fs = sections.FlagSet("Verify")
	fs.BoolVar(&o.owners, "owners", false,
		"List ReplicaSets and Jobs, too, and expect the workloads of a controller with --owners. It must be the same as there.")
	fs.DurationVar(&o.settle, "settle", 10*time.Second,
		"Minimum time a difference must persist to be reported. A Pod that keeps changing for six times as long is reported "+
			"as unclear.")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "How long all may take. 0 sets no limit.")
	fs.StringVarP(&o.output, "output", "o", verifyOutputs[0],
		"Output format: text, or json for one object a line, with values that a line of text would cut.")

	o.loggingFlags(sections.FlagSet("Logging"))

	fs = sections.FlagSet("Other")
	fs.BoolP("help", "h", false, "Print this help and exit.")
	return sections
}

func parseVerify(args []string, stdout io.Writer) (o *verifyOptions, done bool, err error) {
	o = &verifyOptions{options: *newOptions()}
	all, done, err := parseFlags(args, o.flags(), verifyIntro, stdout)
	if done || err != nil {
		return nil, done, err
	}
	if err := o.checkArguments(all); err != nil {
		return nil, false, err
	}
	errs := o.validateShared()
	if !slices.Contains(verifyOutputs, o.output) {
		errs = append(errs, fmt.Errorf("--output=%q: one of %s is needed", o.output, strings.Join(verifyOutputs, ", ")))
	}
	if o.settle < 0 {
		errs = append(errs, fmt.Errorf("--settle=%s: must not be negative", o.settle))
	}
	if o.timeout < 0 || o.timeout > 0 && o.timeout <= o.settle {
		errs = append(errs, fmt.Errorf("--timeout=%s: must be longer than --settle=%s, or 0 for no limit",
			o.timeout, o.settle))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, false, cli.UsageError{Err: err}
	}
	return o, false, nil
}

func runVerify(ctx context.Context, args []string, stdout io.Writer) (int, error) {
	o, done, err := parseVerify(args, stdout)
	if done || err != nil {
		return exitClean, err
	}
	if err := logsapi.ValidateAndApply(o.logging, nil); err != nil {
		return exitUnknown, fmt.Errorf("%w: see --help", err)
	}
	c, err := newClients(&o.options)
	if err != nil {
		return exitUnknown, err
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout,
			fmt.Errorf("not done within --timeout=%s: give it more, or compare one --namespace", o.timeout))
		defer cancel()
	}
	result, err := compareAll(ctx, c, o)
	if ctx.Err() != nil { // an error after a signal or the timeout is its consequence
		return exitUnknown, context.Cause(ctx)
	}
	if err != nil {
		return exitUnknown, err
	}
	return printResult(stdout, result, o)
}

func readsOnly(context.Context) error { return nil }

func compareAll(ctx context.Context, c *clients, o *verifyOptions) (*verify.Result, error) {
	if err := c.preflight(ctx, verifyRules(&o.options), readsOnly); err != nil {
		return nil, err
	}
	if err := c.checkCRD(ctx); err != nil { // preflight accepts a missing one
		return nil, err
	}
	result, err := verify.Run(ctx, verify.Config{
		Pods: c.pods.CoreV1(), Testcrs: c.testcrs, Owners: c.owners, Namespaces: o.namespaces, Settle: o.settle,
	})
	if apierrors.IsNotFound(err) { // of a list: the resource is gone
		err = testcrcache.ErrCRDMissing
	}
	return result, c.explain(ctx, err)
}

func printResult(stdout io.Writer, result *verify.Result, o *verifyOptions) (int, error) {
	write := result.Text
	if o.output == "json" {
		write = result.JSON
	}
	if err := write(stdout); err != nil {
		return exitUnknown, fmt.Errorf("standard output: %w", err)
	}
	switch result.Verdict() {
	case verify.Drift:
		return exitDrift, nil
	case verify.Undone:
		return exitUnknown, fmt.Errorf("%d Pods never stood still for --settle=%s and were different all the time: "+
			"try a shorter one", len(result.Unclear), o.settle)
	default:
		return exitClean, nil
	}
}
