package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

const (
	// clustersAtOnce bounds the clusters that are asked at the same time. A list of all
	// Pods may be in memory for each.
	clustersAtOnce = 16
	// clusterTimeout bounds all requests of one of several clusters together, unless
	// --request-timeout is given. A cluster that takes longer is left out.
	clusterTimeout = 3 * time.Second

	// maxHeld bounds the notes and warnings of one cluster before they are printed, in
	// bytes: API servers may send warnings at will.
	maxHeld = 64 << 10

	// clusterAnnotation contains the cluster of an object that is printed.
	clusterAnnotation = v1.GroupName + "/cluster"
)

// oneClusterFlags would send the requests, or the credentials, of one cluster to all.
var oneClusterFlags = []string{"context", "cluster", "user", "server", "token", "certificate-authority", "client-certificate",
	"client-key", "tls-server-name", "proxy-url"}

// cluster is a cluster that is asked: the only one, or that of a context of --contexts.
// Each has a source, answers and readings of its own.
type cluster struct {
	*options // of the command line, for this cluster

	context string // "" for the only one
	name    string // that is shown: the cluster's own, or that of the context
	lines   *labeledLines

	joined []question // what the words of the command line may mean together

	source      source
	results     []result // of each question
	together    []result // of each of joined
	noNamespace string   // that --namespace does not exist, as a sentence
	err         error    // why there are none
}

// asksSeveral reports that answers name their cluster. The flag decides, not the number
// of contexts, so that a script gets the same columns from each kubeconfig.
func (o *options) asksSeveral() bool { return o.allContexts || o.contextNames != nil }

// clusters returns the clusters to ask, in order.
func (o *options) clusters() ([]*cluster, error) {
	if !o.asksSeveral() {
		return []*cluster{{options: o}}, o.checkContext()
	}
	contexts, err := o.chosenContexts()
	if err != nil {
		return nil, err
	}
	var all []*cluster
	mu := &sync.Mutex{}
	for _, name := range contexts {
		lines := &labeledLines{mu: mu, out: o.ErrOut}
		all = append(all, &cluster{options: o.inContext(name, lines), context: name, name: name, lines: lines})
	}
	return all, nil
}

// checkContext returns an error if the kubeconfig has no context of the name of --context.
func (o *options) checkContext() error {
	name := *o.config.Context
	if name == "" {
		return nil
	}
	config, err := o.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return err
	}
	known := slices.Sorted(maps.Keys(config.Contexts))
	if slices.Contains(known, name) {
		return nil
	}
	return cli.Usagef("--context: there is no context %q: %s", name, choices(name, known))
}

// chosenContexts returns the contexts of the command line, each once.
func (o *options) chosenContexts() ([]string, error) {
	flag := "--contexts"
	if o.allContexts {
		flag = "--all-contexts"
	}
	if o.allContexts && o.contextNames != nil {
		return nil, cli.Usagef("--contexts and --all-contexts: give one of them")
	}
	for _, name := range oneClusterFlags {
		if o.flags.Changed(name) {
			return nil, cli.Usagef("--%s is for one cluster, %s for several: give one of them", name, flag)
		}
	}
	config, err := o.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, err
	}
	known := slices.Sorted(maps.Keys(config.Contexts))
	switch {
	case len(known) == 0:
		return nil, fmt.Errorf("%s: the kubeconfig has no contexts: kubectl config get-contexts lists them", flag)
	case o.allContexts:
		return known, nil
	case len(o.contextNames) == 0: // as from an unset variable of a shell
		return nil, cli.Usagef("--contexts is empty: name some, or take --all-contexts")
	}
	var chosen []string
	for _, name := range o.contextNames {
		if !slices.Contains(known, name) {
			return nil, cli.Usagef("--contexts: there is no context %q: %s", name, choices(name, known))
		}
		if !slices.Contains(chosen, name) {
			chosen = append(chosen, name)
		}
	}
	return chosen, nil
}

// inContext returns the options for one of several clusters, whose notes and warnings go
// to errOut.
func (o *options) inContext(name string, errOut io.Writer) *options {
	config := genericclioptions.NewConfigFlags(true)
	config.Context = &name
	config.KubeConfig, config.Namespace = o.config.KubeConfig, o.config.Namespace
	config.Impersonate, config.ImpersonateUID = o.config.Impersonate, o.config.ImpersonateUID
	config.ImpersonateGroup, config.ImpersonateUserExtra = o.config.ImpersonateGroup, o.config.ImpersonateUserExtra
	config.Insecure, config.DisableCompression = o.config.Insecure, o.config.DisableCompression
	of := *o // --request-timeout bounds a cluster as a whole, not its requests
	of.config, of.ErrOut = config, errOut
	return &of
}

// clusterLimit returns how long one of several clusters may take, 0 for ever.
func (o *options) clusterLimit() (time.Duration, error) {
	if !o.asksSeveral() {
		return 0, nil // --request-timeout bounds its requests
	}
	if !o.flags.Changed("request-timeout") {
		return clusterTimeout, nil
	}
	limit, err := clientcmd.ParseTimeout(*o.config.Timeout)
	if err != nil || limit < 0 {
		return 0, cli.Usagef("--request-timeout=%q: give a duration, such as 5s, or 0 for no limit", *o.config.Timeout)
	}
	return limit, nil
}

// askAll asks the clusters, several at once. It prints a warning for each that did not
// answer, and returns an error if none did.
func (o *options) askAll(ctx context.Context, clusters []*cluster, questions []question) error {
	limit, err := o.clusterLimit()
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	slots := make(chan struct{}, clustersAtOnce)
	for _, c := range clusters {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			c.ask(ctx, limit, questions)
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	setNames(clusters)
	if !o.asksSeveral() {
		return clusters[0].err
	}
	for _, c := range clusters {
		if c.err != nil {
			fmt.Fprintf(o.ErrOut, "warning: cluster %s: %s\n", printable.Text(c.name), cli.JoinLines(strings.TrimPrefix(message(c.err), "error: ")))
		} else {
			c.lines.release(c.name)
		}
	}
	if len(answered(clusters)) == 0 {
		return errors.New("no cluster has answered: nothing was searched")
	}
	return nil
}

// ask fills in the results of the questions, or the error. It abandons what cannot be
// interrupted, such as a program that fetches credentials.
func (c *cluster) ask(ctx context.Context, limit time.Duration, questions []question) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit,
			fmt.Errorf("no answer within %s: check that it can be reached, or give it longer, such as --request-timeout=30s", limit))
		defer cancel()
	}
	asked := make(chan cluster, 1)
	of := *c
	go func() {
		of.err = of.answer(ctx, questions)
		asked <- of
	}()
	select {
	case *c = <-asked:
	case <-ctx.Done():
		c.err = ctx.Err()
	}
	if c.err != nil && ctx.Err() != nil {
		c.err = context.Cause(ctx)
	}
}

func (c *cluster) answer(ctx context.Context, questions []question) error {
	var err error
	if c.source, err = c.newSource(ctx, c.watch); err != nil {
		return err
	}
	answers, err := c.source.answerer(ctx, len(questions) > fewQueries)
	if err != nil {
		return err
	}
	isJoined, err := c.answerJoined(ctx, answers, questions[:min(1, len(questions))])
	if err != nil {
		return err
	}
	for _, q := range questions {
		if isJoined {
			c.results = append(c.results, result{question: q})
			continue
		}
		r, err := c.resolve(ctx, answers, c.source.book(), q)
		if err != nil {
			return err
		}
		c.results = append(c.results, r)
	}
	c.noteLostLabels()
	suggest(c.together, answers)
	if isJoined {
		return nil
	}
	suggest(c.results, answers)
	return c.explainNamespaces(ctx)
}

// setNames sets the names that are shown. The name that the controller of a cluster was
// given must not be that of another one, or of its context.
func setNames(clusters []*cluster) {
	own := func(c *cluster) string {
		if c.err != nil {
			return ""
		}
		return c.source.clusterName()
	}
	for _, c := range clusters {
		name := own(c)
		if name != "" && !slices.ContainsFunc(clusters, func(other *cluster) bool {
			return other != c && (other.context == name || own(other) == name)
		}) {
			c.name = name
		}
	}
}

// answered returns the clusters that answered.
func answered(clusters []*cluster) []*cluster {
	return slices.DeleteFunc(slices.Clone(clusters), func(c *cluster) bool { return c.err != nil })
}

// namesOf returns the names of clusters for a sentence, without those that have none.
func namesOf(clusters []*cluster) string {
	var all []string
	for _, c := range clusters {
		if c.name != "" {
			all = append(all, printable.Text(c.name))
		}
	}
	return few(all)
}

// rows returns the rows of the question i, or none if they are those of another fact in
// its list.
func (c *cluster) rows(i int) []row {
	r := c.results[i]
	if r.list != "" && slices.ContainsFunc(c.results[:i], func(other result) bool {
		return other.list == r.list && slices.EqualFunc(other.testcrs, r.testcrs, samePod)
	}) {
		return nil
	}
	var rows []row
	for n, t := range r.testcrs {
		rows = append(rows, row{cluster: c.label(), context: c.context, query: shorten(r.text), term: r.term, testcr: t, via: r.viaOf(n), event: eventAdded})
	}
	return rows
}

// label returns what rows and objects show of the cluster, "" for the only one.
func (c *cluster) label() string {
	if !c.asksSeveral() {
		return ""
	}
	return c.name
}

// labeledLines is standard error of one of several clusters. It adds the name of the
// cluster to each line, and holds all lines until the name is known.
type labeledLines struct {
	mu   *sync.Mutex // of out
	out  io.Writer
	name string // "" until release
	held bytes.Buffer

	isFull bool // lines were left out
}

// Write takes whole lines.
func (l *labeledLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.name == "" {
		if l.isFull = l.isFull || l.held.Len()+len(p) > maxHeld; l.isFull {
			return len(p), nil
		}
		return l.held.Write(p)
	}
	return len(p), l.print(string(p))
}

// release prints the lines that were held, and those to come at once.
func (l *labeledLines) release(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.name = printable.Text(name)
	_ = l.print(l.held.String())
	l.held.Reset()
	if l.isFull {
		_ = l.print("warning: it had more notes than are shown\n")
	}
}

func (l *labeledLines) print(text string) error {
	for line := range strings.Lines(text) {
		kind, rest, ok := strings.Cut(line, ": ")
		if !ok || kind != "note" && kind != "warning" {
			kind, rest = "note", line
		}
		if _, err := fmt.Fprintf(l.out, "%s: cluster %s: %s", kind, l.name, rest); err != nil {
			return err
		}
	}
	return nil
}

// completeContexts completes the last name of a list of contexts.
func (o *options) completeContexts(_ *cobra.Command, _ []string, text string) ([]string, cobra.ShellCompDirective) {
	list := text[:strings.LastIndexByte(text, ',')+1]
	given := strings.Split(list, ",")
	var all []string
	for _, name := range o.contexts() {
		if !slices.Contains(given, name) {
			all = append(all, list+name)
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
