package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	selectors "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

const long = `Finds the Pods that a fact is of. A QUERY is what you have of a Pod:

  10.0.0.7, fd00::7, [fd00::7]:80   an IP of a Pod, else of a node
  8b5c43ef-6b0e-4d0a-...            the UID of a Pod, also inside of a cgroup path
  containerd://4f5ca3b2d1e0...      a container ID, or 12 digits and more of it
  shop/cart-5d9f, cart-5d9f         the name of a Pod
  worker-1                          the name of a node
  deploy/web, web                   the name of a workload
  nginx:1.29, sha256:4f5c...        an image, by its name, tag or digest
  app=cart                          a label of the Pod
  cart-7c9d*, 10.0.0.0/24           a part of a name, a range of IPs
  "dial tcp 10.0.0.7:80: ..."       a text with such facts: a line of a log, a path, a URL
  deploy web, shop cart             TYPE NAME and NAMESPACE NAME, as two arguments
  -                                 standard input: one query a line, # begins a comment.
                                    It is also read if it is a pipe or a file, and there is no QUERY

All namespaces are searched, whatever the kubeconfig says: where a Pod is belongs to
what is asked for. Several Pods are listed live ones first, those of an IP by their start, the last one
first, and NOTE says why one may not be meant. A query that can be read in several ways
says how it was read.

It asks the Testcrs that PodInfoLookup keeps, and compares up to 8 answers with the
Pods. Without Testcrs, or without the right to list them, it reads the Pods that you
may list, and gives the same answers: at once for an IP, for the name of a Pod and of a
node, and after a list of all Pods for anything else.

With --at, --since and --until it asks the record of the past, if PodInfoLookup keeps one
(--history of the program): who had the fact, from when to when. All ready replicas are
asked, by port-forwards, or one at --podinfo-server.

With --contexts or --all-contexts it asks several clusters, each on its own. One that
does not answer is left out with a warning.

Exit code: 0 all is found, in one of several clusters; 1 something is not; 2 the command
line is wrong.`

const examples = `  kubectl podinfo 10.0.0.7
  kubectl podinfo deploy web -n shop -o wide
  kubectl podinfo 10.0.0.7 --at 03:12
  cut -d' ' -f1 access.log | sort -u | kubectl podinfo
  kubectl podinfo annotate access.log`

// options contains the command line.
type options struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
	flags  *pflag.FlagSet // those of config
	local  *pflag.FlagSet // those of the command without a name
	past   pastOptions

	contextNames  []string // nil without --contexts
	allContexts   bool
	allNamespaces bool
	verbosity     int

	selectorText string
	selector     selectors.Selector // nil without --selector
	asked        labelKeys          // also those of queries
	sortBy       string
	showLabels   bool

	by        string
	output    string
	noHeaders bool
	watch     bool
	events    bool
	json      bool // of annotate, as the next two
	services  bool
	nodes     bool
	byHistory bool   // the same
	timezone  string // the same
}

// rareFlags are flags of kubectl that the help does not describe.
var rareFlags = []string{"as-group", "as-uid", "as-user-extra", "certificate-authority", "client-certificate", "client-key",
	"cluster", "disable-compression", "insecure-skip-tls-verify", "proxy-url", "server", "tls-server-name", "token", "user"}

const helpTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with or .Long .Short}}{{. | trimTrailingWhitespaces}}

{{end}}{{.UsageString}}`

const usageTemplate = `Usage:
  {{if .HasParent}}{{.UseLine}}{{else}}{{.CommandPath}} QUERY... [flags]
  {{.CommandPath}} -l SELECTOR [flags]{{range .Commands}}{{if .IsAvailableCommand}}
  {{.UseLine}}{{end}}{{end}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .LocalNonPersistentFlags.HasAvailableFlags}}

Flags:
{{.LocalNonPersistentFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}{{end}}

Cluster:
{{with .PersistentFlags}}{{.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}{{end}}{{.InheritedFlags.FlagUsagesWrapped 100 | trimTrailingWhitespaces}}
`

// NewCommand returns kubectl podinfo.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	streams.Out = output{streams.Out}
	o := &options{IOStreams: streams, config: genericclioptions.NewConfigFlags(true)}
	cmd := &cobra.Command{
		Use:               "kubectl-podinfo QUERY...",
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl podinfo"},
		Short:             "Tell which Pods an IP, a UID, a container ID or a name is of",
		Long:              long,
		Example:           examples,
		Version:           version.String(),
		Args:              cobra.ArbitraryArgs, // otherwise a query is an unknown command
		ValidArgsFunction: o.completeQuery,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return o.prepare() },
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.SetIn(streams.In)
	cmd.SetOut(streams.Out)
	cmd.SetErr(streams.ErrOut)
	cmd.SetUsageTemplate(usageTemplate)
	cmd.SetHelpTemplate(helpTemplate)
	cmd.SetFlagErrorFunc(flagError)
	o.addFlags(cmd)
	cmd.AddCommand(newAnnotateCommand(o), newWebCommand(o), newVersionCommand(o))
	cmd.SetHelpCommand(newHelpCommand())
	return cmd
}

// commandNames are the commands that a QUERY may be a typing error for.
var commandNames = []string{"annotate", "completion", "help", "version", "web"}

func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", DisableFlagsInUseLine: true,
		Short: "Print the help of a command",
		Long:  "Prints the help of a command, or that of kubectl podinfo.",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return commandNames, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, _ := cmd.Root().Find(args) // what it does not find is the rest
			if len(rest) > 0 {
				return cli.Usagef("there is no command %q%s", rest[0], didYouMeanWord(rest[0], commandNames))
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// flagError adds the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return cli.Usagef("%w: see kubectl podinfo --help", err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
		return cli.Usagef("%w: did you mean --%s?", err, near)
	}
	return cli.Usagef("%w: see kubectl podinfo --help", err)
}

func (o *options) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.by, "by", "", "Read each QUERY as this kind of fact: "+strings.Join(query.KindNames(), ", ")+".")
	fs.StringVarP(&o.output, "output", "o", "", "Output format: "+strings.Join(formats(), ", ")+".")
	fs.StringVarP(&o.selectorText, "selector", "l", "", "Only Pods with these labels, such as app=cart,tier!=web. Without a QUERY: all of them.")
	fs.StringVar(&o.sortBy, "sort-by", "", "Sort all answers by a column, such as age or restarts, or by a JSONPath of the Testcr or the Pod.")
	fs.BoolVar(&o.showLabels, "show-labels", false, "Add a column with the labels of the Pods to tables.")
	fs.BoolVar(&o.noHeaders, "no-headers", false, "Print tables without their headers.")
	fs.BoolVarP(&o.watch, "watch", "w", false, "After the answer print each change of it, until Ctrl-C.")
	fs.BoolVar(&o.events, "output-watch-events", false, "With --watch: print what became of each Pod (ADDED, MODIFIED, DELETED).")
	o.past.addRangeFlags(fs)
	o.past.addServerFlags(fs)
	o.local = fs
	fs.BoolP("help", "h", false, "Print this help and exit.")
	fs.Bool("version", false, "Print the version and exit.")

	o.config.CacheDir = nil // nothing is discovered
	o.config.AddFlags(cmd.PersistentFlags())
	cluster := cmd.PersistentFlags()
	o.flags = cluster
	cluster.SortFlags = false
	cluster.StringSliceVar(&o.contextNames, "contexts", nil, "Ask the clusters of these contexts at once, such as a,b: a column CLUSTER shows "+
		"where an answer is from. "+fmt.Sprintf("Each has %d s, or --request-timeout, for all of its answers.", clusterTimeout/time.Second))
	cluster.BoolVar(&o.allContexts, "all-contexts", false, "The same for all contexts of the kubeconfig.")
	cluster.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "Search all namespaces, as without it. It overrides --namespace.")
	cluster.IntVarP(&o.verbosity, "v", "v", 0, "Log level, as of kubectl: 6 logs each request, 7 also its headers.")
	for _, name := range rareFlags {
		_ = cluster.MarkHidden(name) // a test checks that each exists
	}
	cluster.Lookup("namespace").Usage = "Search this namespace only. Without it: all."
	cluster.Lookup("request-timeout").Usage = "How long a request may take, such as 5s. 0 sets no limit. All other flags by which " +
		"kubectl finds a cluster are taken, too: kubectl options."

	complete := func(name string, values func(ctx context.Context) []string) {
		_ = cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return values(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
		})
	}
	complete("since", func(context.Context) []string { return []string{"1h", "24h", "7d"} })
	complete("at", func(context.Context) []string { return []string{"-5m", "-1h", "yesterday"} })
	complete("podinfo-namespace", o.namespaces)
	for _, name := range []string{"until", "podinfo-cluster", "podinfo-server", "podinfo-port"} {
		complete(name, func(context.Context) []string { return nil })
	}
	complete("by", func(context.Context) []string { return query.KindNames() })
	complete("output", func(context.Context) []string { return formats() })
	complete("namespace", o.namespaces)
	complete("context", func(context.Context) []string { return o.contexts() })
	_ = cmd.RegisterFlagCompletionFunc("contexts", o.completeContexts)
}

// contexts returns the contexts of the kubeconfig for completion.
func (o *options) contexts() []string {
	config, err := o.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil
	}
	names := make([]string, 0, len(config.Contexts))
	for name := range config.Contexts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// namespaces returns the namespaces of the cluster for completion, or nil if the API
// server does not answer within three seconds.
func (o *options) namespaces(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	clients, err := o.newClients()
	if err != nil {
		return nil
	}
	list, err := clients.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].GetName())
	}
	return names
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return cli.Usagef("unexpected argument %q", args[0])
	}
	return nil
}

// namespace returns the namespace of the command line. That of the kubeconfig's context
// does not count, because an IP must be found in any namespace.
func (o *options) namespace() string {
	if o.allNamespaces {
		return ""
	}
	return *o.config.Namespace
}

func (o *options) checkNamespace() error {
	if n := o.namespace(); n != "" && len(validation.IsDNS1123Label(n)) > 0 {
		return cli.Usagef("--namespace=%q: %s", n, validation.IsDNS1123Label(n)[0])
	}
	return nil
}

// prepare checks what all commands need of the command line.
func (o *options) prepare() error {
	if o.verbosity > maxVerbosity {
		fmt.Fprintf(o.ErrOut, "note: -v %d logs what -v %d does, because bodies contain secrets\n", o.verbosity, maxVerbosity)
	}
	o.logRequests()
	return o.checkNamespace()
}

func (o *options) run(ctx context.Context, args []string) error {
	if o.events && !o.watch {
		return cli.Usagef("--output-watch-events needs --watch")
	}
	if kinds := query.KindNames(); o.by != "" && !slices.Contains(kinds, o.by) {
		return cli.Usagef("%q is no kind of fact: there are %s%s", o.by, strings.Join(kinds, ", "), didYouMeanWord(o.by, kinds))
	}
	if o.selectorText != "" {
		var err error
		if o.selector, err = selectors.Parse(o.selectorText); err != nil {
			return cli.Usagef("--selector: %w", err)
		}
	}
	sorter, err := newSorter(o.sortBy)
	if err != nil {
		return err
	}
	printer, err := o.newPrinter()
	if err != nil {
		return err
	}
	if of, isPast, err := o.pastRange(time.Now()); err != nil {
		return err
	} else if isPast {
		return o.runPast(ctx, args, of, sorted{printer, sorter})
	}
	clusters, err := o.clusters()
	if err != nil {
		return err
	}
	questions, err := o.queries(ctx, args)
	if err != nil {
		return err
	}
	for _, c := range clusters {
		c.joined, c.asked = o.joined(args), askedLabels(questions)
	}
	if err := o.askAll(ctx, clusters, questions); err != nil {
		return err
	}
	questions = o.read(clusters, questions)
	o.explainLast(ctx, clusters, questions)
	return o.printResults(ctx, clusters, sorted{printer, sorter}, questions)
}
