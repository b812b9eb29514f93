package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/cli"
)

const (
	// webPort is that of --local-bind-address in yaml/deployment.yaml, and the first
	// choice on this machine, so that the address of the page stays the same.
	webPort = 9091
	// connectTimeout bounds one try to connect to a replica, from the login on.
	connectTimeout = 15 * time.Second
	// Pause between two tries to reconnect, which end only with the command.
	minRetry, maxRetry = 500 * time.Millisecond, 10 * time.Second
)

const webLong = `Opens the page of a cluster in which PodInfoLookup runs, until Ctrl-C.

It forwards a port of this machine to a ready replica, to its --local-bind-address,
and prints the address. No token is needed: the right to forward ports to the Pods of
PodInfoLookup's namespace is the login, and shows the Pods of all namespaces. When the
replica goes, it connects to another one. Every program on this machine can use the
address while it runs.

With flags or further words of a query, as in "web -n shop" and "web -A", it is a query
for "web".
Alone, that is "-- web".`

// webOptions are the flags of web.
type webOptions struct {
	*options

	installed  string // the namespace of PodInfoLookup
	remotePort uint16
	port       uint16 // on this machine
	open       bool
}

func newWebCommand(o *options) *cobra.Command {
	w := &webOptions{options: o}
	cmd := &cobra.Command{
		Use: "web [--open] [--port PORT]", DisableFlagsInUseLine: true,
		Short: "Open the page of a cluster, by a port-forward to PodInfoLookup",
		Long:  webLong,
		Example: `  kubectl podinfo web
  kubectl podinfo web --open --context prod-eu`,
		Args:              noArguments,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return w.run(cmd.Context(), cmd.Flags()) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.BoolVar(&w.open, "open", false, "Also open the page in a browser (xdg-open, on macOS open).")
	fs.Uint16Var(&w.port, "port", webPort, "Port of this machine, on 127.0.0.1. 0 takes a free one, and so does the default if it is in use.")
	fs.StringVar(&w.installed, "podinfo-namespace", v1.ManagedBy, "Namespace that PodInfoLookup runs in.")
	fs.Uint16Var(&w.remotePort, "podinfo-port", webPort, "Port of its --local-bind-address.")
	fs.BoolP("help", "h", false, "Print this help and exit.")
	return cmd
}

// removeWebFrom removes the command if the arguments are those of a query for "web", which
// is the name of many Pods and workloads: it has flags of a query, -n, -A, or further words.
func removeWebFrom(cmd *cobra.Command, args []string) {
	probe := NewCommand(genericiooptions.NewTestIOStreamsDiscard()) // parsing sets its options
	web, rest, err := probe.Find(args)
	if err != nil || web.Name() != "web" {
		return
	}
	var unknown *pflag.NotExistError
	err = web.ParseFlags(rest)
	flags := web.Flags()
	if !errors.As(err, &unknown) && flags.NArg() == 0 && !flags.Changed("namespace") && !flags.Changed("all-namespaces") {
		return
	}
	for _, c := range cmd.Commands() {
		if c.Name() == web.Name() {
			cmd.RemoveCommand(c)
		}
	}
}

func (o *webOptions) run(ctx context.Context, flags *pflag.FlagSet) error {
	switch {
	case o.asksSeveral():
		return cli.Usagef("web opens the page of one cluster: choose it by --context")
	case o.remotePort == 0:
		return cli.Usagef("--podinfo-port=0: must be a port from 1 on")
	}
	if err := o.choosePort(ctx, flags.Changed("port")); err != nil {
		return err
	}
	clients, err := o.newClients()
	if err != nil {
		return err
	}
	kube, err := kubernetes.NewForConfig(clients.config)
	if err != nil {
		return err
	}
	forward := &forwarder{
		config: clients.config, kube: kube, namespace: o.installed,
		ports: portforward.ForwardedPort{Local: o.port, Remote: o.remotePort},
	}
	if err = o.forward(ctx, forward); ctx.Err() == nil {
		return err
	}
	return nil // Ctrl-C is how it ends
}

// choosePort makes sure that the port on this machine is free, before anything is
// asked of the cluster.
func (o *webOptions) choosePort(ctx context.Context, given bool) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", localAddress(o.port))
	if err != nil && !given {
		listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp4", localAddress(0))
	}
	if err != nil {
		return fmt.Errorf("--port=%d: %w: choose another port, 0 takes a free one", o.port, err)
	}
	address, _ := listener.Addr().(*net.TCPAddr) // of "tcp4" it is one
	o.port = uint16(address.Port & (1<<16 - 1))  // it has no more
	return listener.Close()                      // the port-forward listens there, again after each loss
}

func localAddress(port uint16) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
}

// forward serves the page until ctx ends. Without a first connection it returns the
// reason. After it, it reconnects for as long as that takes.
func (o *webOptions) forward(ctx context.Context, f *forwarder) error {
	page := "http://" + localAddress(o.port) + "/"
	pause, first, warned := minRetry, true, ""
	for {
		connected := func(pod string) {
			if first {
				fmt.Fprintln(o.Out, page)
				fmt.Fprintf(o.ErrOut, "note: the page of %s, by a port-forward to Pod %s/%s, until Ctrl-C\n", f.config.Host, f.namespace, pod)
				o.openBrowser(ctx, page)
			} else {
				fmt.Fprintf(o.ErrOut, "note: connected again, to Pod %s/%s\n", f.namespace, pod)
			}
			pause, first, warned = minRetry, false, ""
		}
		err := f.serve(ctx, connected)
		if ctx.Err() != nil || first {
			return err
		}
		if text := cli.JoinLines(err.Error()); text != warned {
			fmt.Fprintf(o.ErrOut, "warning: %s: trying again until Ctrl-C\n", text)
			warned = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRetry)
	}
}

// openBrowser starts the program that opens an address, and does not wait for it: it
// may be the browser itself.
func (o *webOptions) openBrowser(ctx context.Context, page string) {
	if !o.open {
		return
	}
	name, args := "xdg-open", []string{page}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", page}
	}
	browser := exec.CommandContext(context.WithoutCancel(ctx), name, args...) //nolint:gosec // G204: both are chosen above
	if err := browser.Start(); err != nil {
		fmt.Fprintf(o.ErrOut, "warning: no browser was opened: %v\n", err)
		return
	}
	go func() { _ = browser.Wait() }() // its exit code does not show whether a page is open
}

// forwarder forwards a port of this machine to replicas of PodInfoLookup.
type forwarder struct {
	config    *rest.Config
	kube      kubernetes.Interface
	namespace string
	ports     portforward.ForwardedPort
	isHistory bool // it is for questions about the past, not for the page
}

// serve connects to a replica that answers, calls connected with its name, and returns
// the error that ends the connection. Without a replica that answers it returns the
// reason of the last one.
func (f *forwarder) serve(ctx context.Context, connected func(pod string)) error {
	pods, err := f.readyPods(ctx)
	for _, pod := range pods {
		var answered bool
		answered, err = f.serveBy(ctx, pod, connected)
		if answered || ctx.Err() != nil || apierrors.IsForbidden(err) {
			break
		}
	}
	if apierrors.IsForbidden(err) {
		return f.refused(err)
	}
	return err
}

// refused adds what to bind to a Forbidden error.
func (f *forwarder) refused(err error) error {
	what := "the page"
	if f.isHistory {
		what = "the past"
	}
	return fmt.Errorf("%w: %s takes the right to list Pods and to forward ports in namespace %s, for which an administrator runs "+
		"kubectl create rolebinding %s-portforward-NAME -n %[3]s --role=%[4]s-portforward --user=NAME (the Role is in yaml/rbac-portforward.yaml, "+
		"and shows the Pods of all namespaces)", err, what, f.namespace, v1.ManagedBy)
}

// readyPods returns the names of the ready replicas, the newest first: in a rollout the
// old ones are about to go.
func (f *forwarder) readyPods(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	list, err := f.kube.CoreV1().Pods(f.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + v1.ManagedBy})
	if err != nil {
		return nil, err
	}
	pods := slices.DeleteFunc(list.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil || !isReady(&pod) })
	if len(pods) == 0 {
		return nil, f.noReplica(len(list.Items))
	}
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	names := make([]string, 0, len(pods))
	for i := range pods {
		names = append(names, pods[i].Name)
	}
	return names, nil
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func (f *forwarder) noReplica(unready int) error {
	if unready > 0 {
		return fmt.Errorf("none of the %d Pods of PodInfoLookup in namespace %s is ready: kubectl -n %[2]s describe pods shows why", unready, f.namespace)
	}
	if f.isHistory {
		return fmt.Errorf("no Pod of PodInfoLookup in namespace %s, which the past is asked of: choose where it runs by --podinfo-namespace, "+
			"or ask one elsewhere by --podinfo-server=URL", f.namespace)
	}
	return fmt.Errorf("no Pod of PodInfoLookup in namespace %s: choose where it runs by --podinfo-namespace, install it "+
		"(kubectl apply -k yaml/), or run it on this machine (podinfolookup --kubeconfig=FILE), which serves its page at http://127.0.0.1:9090/ (for a workload called web: kubectl podinfo deploy/web)", f.namespace)
}

// serveBy forwards to one Pod until the connection ends. answered reports that the
// page was served.
func (f *forwarder) serveBy(ctx context.Context, pod string, connected func(pod string)) (answered bool, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	connection, err := f.connect(ctx, pod)
	if err != nil {
		return false, fmt.Errorf("port-forward to Pod %s/%s: %w", f.namespace, pod, err)
	}
	ports := []string{fmt.Sprintf("%d:%d", f.ports.Local, f.ports.Remote)}
	ready, ended := make(chan struct{}), make(chan error, 1)
	// Connections that a browser gives up would be logged as errors.
	forward, err := portforward.NewOnAddressesForStreamingWithContext(klog.NewContext(ctx, logr.Discard()), connection,
		[]string{"127.0.0.1"}, ports, ready, nil, nil)
	if err != nil {
		return false, errors.Join(err, connection.Close())
	}
	go func() { ended <- forward.ForwardPorts() }()
	select {
	case <-ready:
	case err = <-ended: // it cannot listen
		return false, err
	}
	if err := f.check(ctx, pod); err != nil {
		stop()
		return false, errors.Join(err, <-ended) // stopped, so that is nil
	}
	connected(pod)
	if err = <-ended; err != nil {
		err = fmt.Errorf("the port-forward to Pod %s/%s ended: %w", f.namespace, pod, err)
	}
	return true, err
}

// check asks the Pod for its /livez, because a connection to a Pod is no proof that
// something listens on the port.
func (f *forwarder) check(ctx context.Context, pod string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+localAddress(f.ports.Local)+"/livez", http.NoBody)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true} // without the proxy of the environment
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("port-forward to Pod %s/%s: no answer on its port %d: unless it has just ended, the args of its Deployment lack "+
			"--local-bind-address=127.0.0.1:%[3]d, which yaml/deployment.yaml has", f.namespace, pod, f.ports.Remote)
	}
	return response.Body.Close()
}

// connection is an open connection to a Pod, as the dialer of a PortForwarder.
type connection struct{ httpstream.Connection }

// Dial returns the connection.
func (c connection) Dial(...string) (httpstream.Connection, string, error) {
	return c, portforward.PortForwardProtocolV1Name, nil
}

// CreateStream returns at the end of the connection, too. Otherwise a request that came
// at that moment would wait for 30 s.
func (c connection) CreateStream(headers http.Header) (httpstream.Stream, error) {
	headers = headers.Clone() // the caller goes on with its own
	type result struct {
		stream httpstream.Stream
		err    error
	}
	created := make(chan result, 1)
	go func() {
		stream, err := c.Connection.CreateStream(headers)
		created <- result{stream, err}
	}()
	select {
	case r := <-created:
		return r.stream, r.err
	case <-c.CloseChan():
		return nil, portforward.ErrLostConnectionToPod
	}
}

// connect opens a connection to a Pod. A dial of client-go cannot be cancelled, so at
// the end of ctx its goroutine is abandoned.
func (f *forwarder) connect(ctx context.Context, pod string) (connection, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	type result struct {
		connection httpstream.Connection
		err        error
	}
	dialed := make(chan result)
	go func() {
		c, err := f.dial(f.kube.CoreV1().RESTClient().Post().Namespace(f.namespace).Resource("pods").Name(pod).SubResource("portforward").URL())
		select {
		case dialed <- result{c, err}:
		case <-ctx.Done():
			if err == nil {
				_ = c.Close()
			}
		}
	}()
	select {
	case r := <-dialed:
		return connection{r.connection}, r.err
	case <-ctx.Done():
		return connection{}, fmt.Errorf("no connection: %w", ctx.Err())
	}
}

// dial connects by WebSocket, and by SPDY where an API server or a proxy has no
// WebSocket, as kubectl does.
func (f *forwarder) dial(to *url.URL) (httpstream.Connection, error) {
	webSocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(to, f.config)
	if err != nil {
		return nil, err
	}
	c, _, err := webSocket.Dial(portforward.PortForwardProtocolV1Name)
	var refused *httpstream.UpgradeFailureError
	if err == nil || !errors.As(err, &refused) && !httpstream.IsHTTPSProxyError(err) {
		return c, err
	}
	transport, upgrader, spdyErr := spdy.RoundTripperFor(f.config)
	if spdyErr != nil {
		return nil, spdyErr
	}
	c, _, spdyErr = spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, to).
		Dial(portforward.PortForwardProtocolV1Name)
	if spdyErr != nil && refused != nil && apierrors.ReasonForError(refused.Cause) != metav1.StatusReasonUnknown {
		return nil, refused.Cause // the error of SPDY is the same as text
	}
	return c, spdyErr
}
