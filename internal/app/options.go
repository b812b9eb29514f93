package app

import (
	"crypto/md5" //nolint:gosec // for a name
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	cliflag "k8s.io/component-base/cli/flag"
	componentbaseconfig "k8s.io/component-base/config"
	electionoptions "k8s.io/component-base/config/options"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/election"
	"github.com/weiyuanke/PodInfoLookup/internal/heartbeat"
	"github.com/weiyuanke/PodInfoLookup/internal/kube"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
	"github.com/weiyuanke/PodInfoLookup/internal/metrics"
	"github.com/weiyuanke/PodInfoLookup/internal/server"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

// options are the command line. They do not change after parse.
type options struct {
	kube         kube.Config
	server       server.Config
	localAddress string // of the server without a login; "" is none
	election     componentbaseconfig.LeaderElectionConfiguration
	namespaces   []string // sorted; none is all
	clusterName  string
	linkTexts    []string
	links        []lookup.Link
	owners       bool
	workers      int
	services     bool
	nodes        bool
	history      historyOptions
	printChanges bool
	printList    bool

	version bool
	logging *logsapi.LoggingConfiguration
}

// defaultWorkers is measured: see docs/benchmarks.md.
const defaultWorkers = 20

// maxLinks bounds --link, because each Pod is answered with all of them.
const maxLinks = 20

// maxVerbosity bounds -v. At the next level client-go logs bodies: whole Pods with
// their environment, and the tokens of callers in TokenReviews.
const maxVerbosity = 7

// helpColumns is the width of --help.
const helpColumns = 110

// podPath is the lookup of one Pod, for which the right to get its Testcr is enough.
const podPath = "/v1/pods/{namespace}/{name}"

func (o *options) flags() cliflag.NamedFlagSets {
	var sections cliflag.NamedFlagSets
	o.clusterFlags(sections.FlagSet("Cluster"))

	fs := sections.FlagSet("Controller")
	fs.IntVar(&o.workers, "workers", defaultWorkers, "Pods synced at once, at least 1.")
	fs.BoolVar(&o.owners, "owners", false,
		"Watch ReplicaSets and Jobs, metadata only, so that their owner references prove the workload of a Pod instead of labels and names. "+
			"Needs yaml/rbac-owners.yaml.")

	fs = sections.FlagSet("Leader election")
	electionoptions.BindLeaderElectionFlags(&o.election, fs)
	fs.Lookup("leader-elect").Usage = "Let only the replica that holds the lease write; " +
		"the others keep their caches warm and serve lookups. For two and more replicas."
	fs.Lookup("leader-elect-resource-namespace").Usage = "Namespace of the lease. Without it: that of the service " +
		"account this runs as, or of the kubeconfig's context."
	name := fs.Lookup(leaseNameFlag)
	name.Usage = "Name of the lease. Without it: podinfolookup, or podinfolookup-NAMESPACE for one namespace, or " +
		"podinfolookup- and a hash for several."
	name.DefValue = ""
	fs.Lookup("leader-elect-resource-lock").Hidden = true // there is one kind

	fs = sections.FlagSet("Serving")
	fs.StringVar(&o.server.Address, "bind-address", "127.0.0.1:9090",
		`Address that serves the lookup, /metrics, /livez and /readyz. On a loopback address that is plain HTTP without a login. `+
			`On any other one it is TLS, and callers need a token whose user may read Testcrs or Pods; "" serves nothing.`)
	fs.StringVar(&o.localAddress, "local-bind-address", "",
		`Loopback address that serves the same in plain HTTP without a login, beside --bind-address: 127.0.0.1:9091 in a Pod, for kubectl podinfo web. `+
			`Each process that reaches it sees all Pods: with hostNetwork that is each one on the node. "" serves nothing.`)
	fs.StringVar(&o.server.CertFile, "tls-cert-file", "",
		"PEM certificate to serve with, intermediate ones behind it; read again when it changes. "+
			"Also turns on TLS and the login on a loopback address. "+
			"Without it: a new self-signed certificate where TLS is needed, its fingerprint is in the log.")
	fs.StringVar(&o.server.KeyFile, "tls-private-key-file", "", "PEM private key of --tls-cert-file.")
	fs.StringVar(&o.clusterName, "cluster-name", "", "Name of this cluster in the answers of the lookup, on its page, and in kubectl podinfo, "+
		"which reads it from the heartbeat: up to 63 letters, digits and -._ between. Without it: none.")
	fs.StringArrayVar(&o.linkTexts, "link", nil, "Link from each Pod to another page, as NAME=URL; may be repeated. The URL is https and a text/template with "+
		".Namespace .Name .UID .IP .Node .HostIP .Workload .WorkloadKind .Container .ContainerID .Cluster and .Labels, whose values are escaped.")
	fs.BoolVar(&o.services, "services", false,
		"Also answer the IPs of Services, by informers of Services and EndpointSlices. Takes the rights in yaml/rbac-services.yaml.")
	fs.BoolVar(&o.nodes, "nodes", false,
		"Also answer the IPs of nodes, by an informer of nodes. Takes the rights in yaml/rbac-nodes.yaml.")

	o.history.flags(sections.FlagSet("History"))

	fs = sections.FlagSet("Output")
	fs.BoolVar(&o.printChanges, "print-changes", true,
		`Print "add: NAMESPACE/NAME", "update: ..." or "delete: ..." on standard output after each change of a Testcr.`)
	fs.BoolVar(&o.printList, "print-list", true,
		`Print "current list:" and up to 20 Testcrs on standard output once changes have settled.`)

	o.loggingFlags(sections.FlagSet("Logging"))

	fs = sections.FlagSet("Other")
	fs.BoolVar(&o.version, "version", false, "Print the version and exit.")
	fs.BoolP("help", "h", false, "Print this help and exit.")
	return sections
}

// clusterFlags and loggingFlags add the flags that all commands have.
func (o *options) clusterFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.kube.Kubeconfig, "kubeconfig", "",
		"Kubeconfig file. Without it: $KUBECONFIG, ~/.kube/config, then the service account of the Pod this runs in.")
	fs.StringVar(&o.kube.Context, "context", "", "Context of the kubeconfig file. Without it: its current context.")
	fs.StringSliceVar(&o.namespaces, "namespace", nil,
		"Namespace whose Pods get a Testcr; may be repeated. Without it: all. Testcrs of other namespaces are never touched.")
	fs.Float32Var(&o.kube.QPS, "kube-api-qps", 0,
		"Requests a second to the API server. 0 sets no limit here: the API server's own priority and fairness governs.")
	fs.IntVar(&o.kube.Burst, "kube-api-burst", 0, "Requests at once over --kube-api-qps. 0 is twice --kube-api-qps.")
}

func (o *options) loggingFlags(fs *pflag.FlagSet) {
	logsapi.AddFlags(o.logging, fs)
	fs.Lookup("v").Usage = fmt.Sprintf("number for the log level verbosity, at most %d", maxVerbosity)
	fs.VisitAll(func(f *pflag.Flag) {
		f.Hidden = strings.HasPrefix(f.Usage, "[Alpha]") // they need a feature gate that nothing here sets
	})
}

// newOptions returns the options that no flag sets, and the defaults of leader
// election.
func newOptions() *options {
	return &options{
		kube:     kube.Config{UserAgent: v1.ManagedBy + "/" + version.Version()},
		server:   server.Config{Paths: server.Paths{Metrics: metrics.Path, Events: lookup.EventsPath, Pod: podPath}},
		election: election.DefaultConfig(v1.ManagedBy),
		logging:  logsapi.NewLoggingConfiguration(),
	}
}

// leaseName returns the default name of the lease. Controllers of other namespaces
// do other work, so each set of namespaces has a lease of its own.
func leaseName(namespaces []string) string {
	switch len(namespaces) {
	case 0:
		return v1.ManagedBy
	case 1:
		return v1.ManagedBy + "-" + namespaces[0]
	default:
		sum := md5.Sum([]byte(strings.Join(namespaces, ","))) //nolint:gosec // a name, not a secret
		return v1.ManagedBy + "-" + hex.EncodeToString(sum[:])[:10]
	}
}

// parse reads the command line. done reports that nothing is left to do, as after
// --help.
func parse(args []string, stdout io.Writer) (o *options, done bool, err error) {
	o = newOptions()
	sections := o.flags()
	all, done, err := parseFlags(args, sections, intro, stdout)
	if done || err != nil {
		return nil, done, err
	}
	if o.version {
		_, err := fmt.Fprintf(stdout, "podinfolookup %s\n", version.String())
		return nil, true, err
	}
	if err := o.checkArguments(all); err != nil {
		return nil, false, err
	}
	if err := o.validate(); err != nil {
		return nil, false, err
	}
	if !all.Changed(leaseNameFlag) {
		o.election.ResourceName = leaseName(o.namespaces)
	}
	return o, false, nil
}

const leaseNameFlag = "leader-elect-resource-name"

// checkArguments checks what the values of flags do not show.
func (o *options) checkArguments(all *pflag.FlagSet) error {
	if all.NArg() > 0 && all.Arg(0) == verifyCommand {
		return cli.Usagef("verify comes in front of its flags: podinfolookup verify --help")
	}
	if all.NArg() > 0 {
		return cli.Usagef("unexpected argument %q: only flags are taken, see --help", all.Arg(0))
	}
	if all.Changed("namespace") && len(o.namespaces) == 0 { // as from an unset variable of a shell
		return cli.Usagef("--namespace is empty: name one, or leave the flag out for all")
	}
	return nil
}

// parseFlags reads the flags of a command. done reports that --help was printed.
func parseFlags(
	args []string, sections cliflag.NamedFlagSets, intro string, stdout io.Writer,
) (all *pflag.FlagSet, done bool, err error) {
	all = pflag.NewFlagSet("podinfolookup", pflag.ContinueOnError)
	all.SetOutput(io.Discard)
	all.Usage = func() {}
	for _, fs := range sections.FlagSets {
		all.AddFlagSet(fs)
	}
	if err := all.Parse(args); err != nil {
		return nil, false, cli.Usagef("%w: see --help", err)
	}
	if help, err := all.GetBool("help"); err != nil || help {
		printHelp(stdout, intro, sections)
		return nil, true, err
	}
	return all, false, nil
}

const intro = "Keeps one Testcr (stable.example.com/v1, kubectl get testcrs) per Pod, with the details of that Pod.\n\n" +
	"Usage:\n  podinfolookup [flags]\n" +
	"  podinfolookup verify [flags]   compare all Pods with all Testcrs: see verify --help\n"

func printHelp(w io.Writer, intro string, sections cliflag.NamedFlagSets) {
	fmt.Fprint(w, intro)
	for _, name := range sections.Order {
		fmt.Fprintf(w, "\n%s:\n%s", name, sections.FlagSets[name].FlagUsagesWrapped(helpColumns))
	}
}

func (o *options) validate() error {
	var errs []error
	if o.workers < 1 {
		errs = append(errs, fmt.Errorf("--workers=%d: at least 1 is needed", o.workers))
	}
	errs = append(errs, o.validateShared()...)
	errs = append(errs, o.checkServing()...)
	if err := heartbeat.CheckClusterName(o.clusterName); err != nil {
		errs = append(errs, fmt.Errorf("--cluster-name=%q: %w", o.clusterName, err))
	}
	for _, text := range o.linkTexts {
		link, err := lookup.ParseLink(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--link=%q: %w", text, err))
		}
		o.links = append(o.links, link)
	}
	if len(o.links) > maxLinks {
		errs = append(errs, fmt.Errorf("--link is given %d times: at most %d are taken", len(o.links), maxLinks))
	}
	errs = append(errs, o.history.validate()...)
	if err := o.checkElection(); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return cli.UsageError{Err: err}
	}
	return nil
}

func (o *options) checkServing() (errs []error) {
	if _, _, err := net.SplitHostPort(o.server.Address); err != nil && o.server.Address != "" {
		errs = append(errs, fmt.Errorf("--bind-address=%s: %w: HOST:PORT is needed", o.server.Address, err))
	}
	if host, _, err := net.SplitHostPort(o.localAddress); o.localAddress != "" {
		ip := net.ParseIP(host)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("--local-bind-address=%s: %w: HOST:PORT is needed", o.localAddress, err))
		case host != "localhost" && !ip.IsLoopback(): // what localhost resolves to is checked when it is bound
			errs = append(errs, fmt.Errorf("--local-bind-address=%s: must be localhost or a loopback IP, because callers do not log in here: "+
				"--bind-address serves others", o.localAddress))
		}
	}
	if (o.server.CertFile == "") != (o.server.KeyFile == "") {
		errs = append(errs, fmt.Errorf("--tls-cert-file=%s --tls-private-key-file=%s: give both or neither",
			o.server.CertFile, o.server.KeyFile))
	}
	if !o.serves() && (o.services || o.nodes) {
		errs = append(errs, errors.New("--services and --nodes are answered over HTTP: they need --bind-address"))
	}
	return errs
}

// serves reports whether there is an address to serve the lookup at.
func (o *options) serves() bool { return o.server.Address != "" || o.localAddress != "" }

// validateShared checks the flags that all commands have, and sorts the namespaces.
func (o *options) validateShared() (errs []error) {
	if err := o.checkVerbosity(); err != nil {
		errs = append(errs, err)
	}
	if !(o.kube.QPS >= 0 && o.kube.QPS <= math.MaxFloat32) { // NaN is neither
		errs = append(errs, fmt.Errorf("--kube-api-qps=%g: must be a number from 0 on, 0 sets no limit", o.kube.QPS))
	}
	if o.kube.Burst < 0 {
		errs = append(errs, fmt.Errorf("--kube-api-burst=%d: must not be negative", o.kube.Burst))
	}
	for _, namespace := range o.namespaces {
		if problems := validation.IsDNS1123Label(namespace); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("--namespace=%q: %s", namespace, problems[0]))
		}
	}
	slices.Sort(o.namespaces)
	o.namespaces = slices.Compact(o.namespaces)
	return errs
}

// checkVerbosity refuses levels that log objects and tokens.
func (o *options) checkVerbosity() error {
	most := o.logging.Verbosity
	for _, module := range o.logging.VModule {
		most = max(most, module.Verbosity)
	}
	if most > maxVerbosity {
		return fmt.Errorf("-v or --vmodule of %d would log whole objects and the tokens of callers: at most %d is taken",
			most, maxVerbosity)
	}
	return nil
}

func (o *options) checkElection() error {
	e := &o.election
	switch retry := time.Duration(leaderelection.JitterFactor * float64(e.RetryPeriod.Duration)); {
	case !e.LeaderElect:
		return nil
	case e.RetryPeriod.Duration <= 0:
		return fmt.Errorf("--leader-elect-retry-period=%s: must be more than 0", e.RetryPeriod.Duration)
	case e.RenewDeadline.Duration <= retry:
		return fmt.Errorf("--leader-elect-renew-deadline=%s: must be more than %g times --leader-elect-retry-period=%s",
			e.RenewDeadline.Duration, leaderelection.JitterFactor, e.RetryPeriod.Duration)
	case e.LeaseDuration.Duration <= e.RenewDeadline.Duration, e.LeaseDuration.Duration < time.Second:
		return fmt.Errorf("--leader-elect-lease-duration=%s: must be more than --leader-elect-renew-deadline=%s, "+
			"and at least 1s",
			e.LeaseDuration.Duration, e.RenewDeadline.Duration)
	case e.LeaseDuration.Duration%time.Second != 0:
		return fmt.Errorf("--leader-elect-lease-duration=%s: a lease has whole seconds", e.LeaseDuration.Duration)
	case e.ResourceLock != resourcelock.LeasesResourceLock:
		return fmt.Errorf("--leader-elect-resource-lock=%s: only %s are supported", e.ResourceLock,
			resourcelock.LeasesResourceLock)
	case len(validation.IsDNS1123Subdomain(e.ResourceName)) > 0:
		return fmt.Errorf("--leader-elect-resource-name=%q: %s", e.ResourceName,
			validation.IsDNS1123Subdomain(e.ResourceName)[0])
	}
	return nil
}
