package plugin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // every way to log in that kubectl has
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

type clients struct {
	dynamic.Interface
	config *rest.Config
}

func (o *options) newClients() (*clients, error) {
	config, err := o.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "kubectl-podinfo/" + version.Version()
	config.QPS = -1 // the API server's own priority and fairness governs
	config.WarningHandler = rest.NewWarningWriter(o.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	client, err := dynamic.NewForConfig(config)
	return &clients{Interface: client, config: config}, err
}

func (c *clients) testcrs() dynamic.ResourceInterface {
	return c.Resource(v1.GroupVersionResource)
}

// mayWatch reports early what an informer would try again for ever: no CRD, no
// right, no API server.
func (c *clients) mayWatch(ctx context.Context, namespace string) error {
	options := metav1.ListOptions{LabelSelector: inNamespace(namespace), Limit: 1}
	list, err := c.testcrs().List(ctx, options)
	if err != nil {
		return explain(err)
	}
	options.Limit, options.ResourceVersion = 0, list.GetResourceVersion()
	w, err := c.testcrs().Watch(ctx, options)
	if err != nil {
		return explain(err)
	}
	w.Stop()
	return nil
}

// explain names the CRD where the API server answers 404 to a list: of Testcrs
// that are not there it would be empty.
func explain(err error) error {
	if apierrors.IsNotFound(err) {
		return testcrcache.ErrCRDMissing
	}
	return err
}

// selection is what the API server is asked to select Testcrs by.
type selection struct{ labels, fields string }

func (s selection) apply(options *metav1.ListOptions) {
	options.LabelSelector, options.FieldSelector = s.labels, s.fields
}

func inNamespace(namespace string) string {
	if namespace == "" {
		return ""
	}
	return v1.LabelNamespace + "=" + namespace
}

// cache returns a cache of the selected Testcrs, which outlasts outages and expired
// watches.
func (c *clients) cache(s selection) (*testcrcache.Cache, error) {
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, err
	}
	reader, err := wire.NewTestcrReader(c.config)
	if err != nil {
		return nil, err
	}
	return testcrcache.New(testcrcache.Config{
		Client: c.Interface, Reader: reader, LabelSelector: s.labels, FieldSelector: s.fields,
		Check: func(ctx context.Context) error {
			return testcrcache.CheckCRD(ctx, discovery.ToDiscoveryInterfaceWithContext(client))
		},
	})
}

// warnings is a log sink that tells people of errors, each of them once in a
// row, and of what ends them.
type warnings struct {
	ended func() error // not nil: what fails now was given up, it is no news
	mu    *sync.Mutex
	out   io.Writer
	last  *string
}

// withWarnings returns a context for informers, with its end: what they log
// before that is written to out.
func withWarnings(ctx context.Context, out io.Writer) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	return klog.NewContext(ctx, logr.New(warnings{ctx.Err, &sync.Mutex{}, out, new(string)})), stop
}

// Init has nothing to prepare.
func (w warnings) Init(logr.RuntimeInfo) {}

// Enabled leaves out what only developers read.
func (w warnings) Enabled(level int) bool { return level == 0 }

// WithValues leaves out the values: the text is for people.
func (w warnings) WithValues(...any) logr.LogSink { return w }

// WithName leaves out the name.
func (w warnings) WithName(string) logr.LogSink { return w }

// Info tells of the end of what Error told of. The reflector has a warning of its
// own, of a watch that was short, which ends nothing.
func (w warnings) Info(_ int, text string, _ ...any) {
	if strings.HasPrefix(text, "Warning: ") {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if *w.last != "" { // only then does it end something
		fmt.Fprintln(w.out, "note:", text)
	}
	*w.last = ""
}

// Error tells of err, unless it was the last thing told.
func (w warnings) Error(err error, text string, _ ...any) {
	if w.ended() != nil {
		return
	}
	line := fmt.Sprintf("warning: %s: %v", text, err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if line != *w.last {
		fmt.Fprintln(w.out, line)
	}
	*w.last = line
}
