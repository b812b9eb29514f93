package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the authentication plugins of kubectl
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

type clients struct {
	dynamic.Interface

	kube     kubernetes.Interface // decodes only the needed fields of Pods
	metadata metadata.Interface
	config   *rest.Config
	clock    *serverClock
	name     string // of the cluster
}

func (c *clients) clusterName() string { return c.name }

func (o *options) newClients() (*clients, error) {
	config, err := o.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "kubectl-podinfo/" + version.Version()
	config.QPS = -1 // the API server's priority and fairness limits requests
	config.WarningHandler = rest.NewWarningWriter(o.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	if o.asksSeveral() && config.ExecProvider != nil { // questions of several programs would mix
		config.ExecProvider.StdinUnavailable = true
		config.ExecProvider.StdinUnavailableMessage = "log in with --context first, several clusters are asked at once"
	}
	c := &clients{config: config, clock: &serverClock{}}
	config.Wrap(c.clock.wrap)
	if c.Interface, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if c.kube, err = wire.NewPodClient(config); err != nil {
		return nil, err
	}
	c.metadata, err = metadata.NewForConfig(config)
	return c, err
}

// serverClock is the clock of the API server, of which each answer has the time.
type serverClock struct{ ahead atomic.Int64 } // of the clock of this machine, in nanoseconds

func (c *serverClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *serverClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil {
			if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
				c.ahead.Store(int64(time.Until(date)))
			}
		}
		return response, err
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (c *clients) testcrs() dynamic.ResourceInterface {
	return c.Resource(v1.GroupVersionResource)
}

// mayRead returns the errors that an informer would retry without end, and the verb that
// was refused: a missing CRD, missing rights, an unreachable API server.
func (c *clients) mayRead(ctx context.Context, watches bool) (verb string, err error) {
	list, err := c.testcrs().List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil || !watches {
		return "list", explain(err)
	}
	w, err := c.testcrs().Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err == nil {
		w.Stop()
	}
	return "watch", explain(err)
}

// errNoTestcrs reports that the API server does not serve Testcrs.
var errNoTestcrs = errors.New("the API server has no Testcrs")

// explain returns errNoTestcrs for the status 404 of a list, which is that of the
// resource: without Testcrs, a list is empty.
func explain(err error) error {
	if apierrors.IsNotFound(err) {
		return errNoTestcrs
	}
	return err
}

// selection contains the selectors of a list or watch, and the namespace of Pods.
type selection struct{ namespace, labels, fields string }

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

// warnings is a log sink that prints errors for people. It prints an error once in a
// row, and the message that it has ended.
type warnings struct {
	ended func() error // not nil after an interrupt, whose errors are not printed
	mu    *sync.Mutex
	out   io.Writer
	last  *string
	log   logr.Logger // of -v, which drops what it does not ask for
}

// withWarnings returns a context for informers, whose warnings are written to out until
// it is cancelled.
func withWarnings(ctx context.Context, out io.Writer) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	return klog.NewContext(ctx, logr.New(warnings{ctx.Err, &sync.Mutex{}, out, new(string), klog.Background()})), stop
}

// Init has nothing to prepare.
func (w warnings) Init(logr.RuntimeInfo) {}

// Enabled drops messages for developers, unless -v asks for them.
func (w warnings) Enabled(level int) bool { return level == 0 || w.log.V(level).Enabled() }

// WithValues keeps the values for -v alone, because the other text is for people.
func (w warnings) WithValues(values ...any) logr.LogSink {
	w.log = w.log.WithValues(values...)
	return w
}

// WithName drops the name.
func (w warnings) WithName(string) logr.LogSink { return w }

// Info prints the message that an error has ended. The reflector's warning about a short
// watch is no such message.
func (w warnings) Info(level int, text string, values ...any) {
	if level > 0 {
		w.log.V(level).Info(text, values...)
		return
	}
	if strings.HasPrefix(text, "Warning: ") {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if *w.last != "" { // an error that it ends
		fmt.Fprintln(w.out, "note:", text)
	}
	*w.last = ""
}

// Error prints err, unless it was the last error that was printed.
func (w warnings) Error(err error, text string, _ ...any) {
	if w.ended() != nil {
		return
	}
	line := fmt.Sprintf("warning: %s: %s", text, cli.JoinLines(err.Error()))
	w.mu.Lock()
	defer w.mu.Unlock()
	if line != *w.last {
		fmt.Fprintln(w.out, line)
	}
	*w.last = line
}
