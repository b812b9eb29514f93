package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/history/past"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

const (
	// serverVariable is the environment variable for --podinfo-server.
	serverVariable = "PODINFO_SERVER"
	// historyTimeout bounds an answer of one replica, with the connection to it, unless
	// --request-timeout is given.
	historyTimeout = 5 * time.Second
	// replicasAtOnce bounds the replicas that are asked at the same time.
	replicasAtOnce = 5
	// maxHistoryAnswer bounds the answer of a replica in bytes: it has up to 500 items.
	maxHistoryAnswer = 32 << 20
	// maxToken bounds the file with a token, in bytes.
	maxToken = 64 << 10
	// busyPause is the pause before a busy replica is asked again.
	busyPause = time.Second
)

// history asks the replicas of PodInfoLookup about the past.
type history struct {
	servers []*historyServer
	limit   time.Duration // of an answer
	slots   chan struct{}

	mu     sync.Mutex
	failed []string // the replicas that did not answer, and why
}

// historyServer is a replica, or the server of --podinfo-server.
type historyServer struct {
	name    string // in messages
	url     string
	token   string
	connect func(context.Context) (net.Conn, error) // nil dials the URL

	mu   sync.Mutex
	http *http.Client
	pod  connection // to a replica, from the first question on
	dead error      // of the first connection that failed
}

// historyAnswer is the answer of a replica.
type historyAnswer struct {
	past.Result
	Error string `json:"error"`
	// Restricted reports that the caller may see some namespaces only, and Unchecked that
	// the rights in some were not asked for.
	Restricted bool `json:"restricted"`
	Unchecked  bool `json:"unchecked"`
}

// refusal is an error that a replica returned.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

// newHistory returns the server of --podinfo-server, else all ready replicas. It has to be
// closed.
func (o *options) newHistory(ctx context.Context) (*history, error) {
	limit := historyTimeout
	if o.flags.Changed("request-timeout") {
		given, err := clientcmd.ParseTimeout(*o.config.Timeout)
		if err != nil || given < 0 {
			return nil, cli.Usagef("--request-timeout=%q: give a duration, such as 5s, or 0 for no limit", *o.config.Timeout)
		}
		limit = given
	}
	h := &history{limit: limit, slots: make(chan struct{}, replicasAtOnce)}
	if address := cmp.Or(o.past.server, os.Getenv(serverVariable)); address != "" {
		server, err := o.past.newServer(address)
		h.servers = []*historyServer{server}
		return h, err
	}
	if o.past.tokenFile != "" {
		return nil, cli.Usagef("--podinfo-token-file is for --podinfo-server: a port-forward needs no token")
	}
	clients, err := o.newClients()
	if err != nil {
		return nil, err
	}
	kube, err := kubernetes.NewForConfig(clients.config)
	if err != nil {
		return nil, err
	}
	f := &forwarder{
		config: clients.config, kube: kube, namespace: o.past.installed, isHistory: true,
		ports: portforward.ForwardedPort{Remote: o.past.remotePort},
	}
	pods, err := f.readyPods(ctx)
	if apierrors.IsForbidden(err) {
		return nil, f.refused(err)
	} else if err != nil {
		return nil, err
	}
	for _, pod := range pods {
		h.servers = append(h.servers, f.server(pod))
	}
	return h, nil
}

// newServer returns the server at an address. A token is for https alone.
func (o *pastOptions) newServer(address string) (*historyServer, error) {
	from := "--podinfo-server"
	if o.server == "" {
		from = serverVariable
	}
	at, err := url.Parse(address)
	switch {
	case err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || at.RawQuery != "" || at.Fragment != "":
		return nil, cli.Usagef("%s=%q: give an address such as http://127.0.0.1:9090 or https://podinfo.example.com", from, withoutPassword(at, address))
	case at.User != nil:
		return nil, cli.Usagef("%s=%q: a user in the address is not sent: --podinfo-token-file has the token", from, withoutPassword(at, address))
	}
	s := &historyServer{name: at.Host, url: strings.TrimSuffix(at.String(), "/")}
	if o.tokenFile == "" {
		return s, nil
	}
	if at.Scheme != "https" {
		return nil, cli.Usagef("--podinfo-token-file: a token is sent over https only, not to %s", at)
	}
	s.token, err = readToken(o.tokenFile)
	return s, err
}

func withoutPassword(at *url.URL, address string) string {
	if at == nil {
		return address
	}
	return at.Redacted()
}

func readToken(name string) (string, error) {
	file, err := os.Open(name) //nolint:gosec // G304: it is the user's own file
	if err != nil {
		return "", fmt.Errorf("--podinfo-token-file: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	token := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return "", fmt.Errorf("--podinfo-token-file: %w", err)
	case token == "" || len(text) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("--podinfo-token-file: %s has no token", name)
	}
	return token, nil
}

// server returns a replica, which is reached without a port of this machine, so that no
// other program can use the connection.
func (f *forwarder) server(pod string) *historyServer {
	s := &historyServer{name: "Pod " + f.namespace + "/" + pod, url: "http://" + localAddress(f.ports.Remote)}
	streams := 0
	s.connect = func(ctx context.Context) (net.Conn, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.dead == nil && s.pod.Connection == nil {
			if s.pod, s.dead = f.connect(ctx, pod); apierrors.IsForbidden(s.dead) {
				s.dead = f.refused(s.dead)
			}
		}
		if s.dead != nil {
			return nil, s.dead
		}
		streams++
		return s.pod.dialPort(f.ports.Remote, streams)
	}
	return s
}

func (s *historyServer) client() *http.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: questionsAtOnce}
		if s.connect != nil {
			transport.Proxy, transport.DisableKeepAlives = nil, true
			transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.connect(ctx) }
		}
		// A redirect could lead the token elsewhere.
		s.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return s.http
}

// ask returns the answer of one replica.
func (s *historyServer) ask(ctx context.Context, params url.Values) (historyAnswer, error) {
	for isAgain := false; ; isAgain = true {
		answer, err := s.get(ctx, params)
		var refused refusal
		if isAgain || !errors.As(err, &refused) || refused.status != http.StatusServiceUnavailable {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-time.After(busyPause):
		}
	}
}

func (s *historyServer) get(ctx context.Context, params url.Values) (answer historyAnswer, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/pods?"+params.Encode(), http.NoBody)
	if err != nil {
		return answer, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "kubectl-podinfo/"+version.Version())
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	response, err := s.client().Do(request)
	if err != nil {
		return answer, reachError(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHistoryAnswer+1))
	switch {
	case err != nil:
		return answer, reachError(err)
	case len(body) > maxHistoryAnswer:
		return answer, errors.New("its answer is too long: ask for a shorter range")
	}
	isJSON := json.Unmarshal(body, &answer) == nil
	switch isAnswer := isJSON && answer.Records != nil && !answer.Until.IsZero(); {
	case isAnswer && (response.StatusCode == http.StatusOK || response.StatusCode == http.StatusNotFound):
		return answer, nil // 404 is that nobody had it
	case response.StatusCode == http.StatusOK:
		return answer, errors.New("it is no PodInfoLookup, or one without a record of the past: update it")
	}
	return answer, refusal{response.StatusCode, s.explain(response, cmp.Or(answer.Error, strings.TrimSpace(string(body))))}
}

// explain returns the error of a response with its remedy.
func (s *historyServer) explain(response *http.Response, text string) string {
	const longest = 500
	text = cli.JoinLines(strings.ToValidUTF8(text[:min(len(text), longest)], ""))
	switch response.StatusCode {
	case http.StatusUnauthorized:
		return text + ": --podinfo-token-file has the token of a login"
	case http.StatusBadRequest:
		for _, name := range []string{"at", "since", "until"} {
			if strings.HasPrefix(text, fmt.Sprintf("unknown parameter %q", name)) {
				return "its version keeps no record of the past: update it, and start it with --history=FILE"
			}
		}
	}
	if text == "" || response.StatusCode/100 == 3 {
		return fmt.Sprintf("%s: it is no PodInfoLookup", response.Status)
	}
	return text
}

// reachError returns the cause of a failed request, without its long address.
func reachError(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	if closed, ok := errors.AsType[errNotListening](err); ok { // without the words of the transport
		return closed
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time: --request-timeout=30s gives it longer")
	}
	return err
}

// ask asks all replicas, and merges what they recorded. Replicas that fail are noted, unless
// all do.
func (h *history) ask(ctx context.Context, params url.Values) (historyAnswer, error) {
	answers, errs := make([]historyAnswer, len(h.servers)), make([]error, len(h.servers))
	var running sync.WaitGroup
	for i, server := range h.servers {
		running.Go(func() {
			h.slots <- struct{}{}
			defer func() { <-h.slots }()
			limited := ctx
			if h.limit > 0 {
				var cancel context.CancelFunc
				limited, cancel = context.WithTimeout(ctx, h.limit)
				defer cancel()
			}
			answers[i], errs[i] = server.ask(limited, params)
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return historyAnswer{}, ctx.Err()
	}
	var merged historyAnswer
	var results []past.Result
	var failures []string
	var causes []string // each once
	for i := range answers {
		if err := errs[i]; err != nil {
			failures = append(failures, fmt.Sprintf("%s: %v", h.servers[i].name, err))
			if !slices.Contains(causes, err.Error()) {
				causes = append(causes, err.Error())
			}
			continue
		}
		results = append(results, answers[i].Result)
		merged.Restricted = merged.Restricted || answers[i].Restricted
		merged.Unchecked = merged.Unchecked || answers[i].Unchecked
	}
	switch {
	case len(results) > 0:
	case len(failures) > 1 && len(causes) == 1:
		return merged, fmt.Errorf("none of the %d replicas answers about the past: %s", len(failures), causes[0])
	default:
		return merged, fmt.Errorf("no answer about the past: %s", strings.Join(failures, "; "))
	}
	merged.Result = past.Merge(results...)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, failure := range failures {
		if !slices.Contains(h.failed, failure) && len(h.failed) < maxFailures {
			h.failed = append(h.failed, failure)
		}
	}
	return merged, nil
}

// maxFailures bounds the warnings about replicas.
const maxFailures = 20

// failures returns the replicas that did not answer, and why.
func (h *history) failures() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.failed)
}

func (h *history) close() {
	for _, s := range h.servers {
		s.client().CloseIdleConnections()
		s.mu.Lock()
		if s.pod.Connection != nil {
			_ = s.pod.Close()
		}
		s.mu.Unlock()
	}
}

// errNotListening reports that nothing listens on the port of a Pod.
type errNotListening struct {
	port uint16
	text string
}

func (e errNotListening) Error() string {
	return fmt.Sprintf("no answer on its port %d (%s): the args of its Deployment must have --local-bind-address=127.0.0.1:%[1]d, as in yaml/deployment.yaml",
		e.port, cli.JoinLines(e.text))
}

// podConn is a connection to a port of a Pod. Its deadlines are those of its requests,
// which close it.
type podConn struct {
	httpstream.Stream

	to      connection
	failure httpstream.Stream
	port    uint16
	isUsed  bool          // a byte was read
	ended   chan struct{} // of failure
	text    []byte        // that failure had, after ended
	closing sync.Once
}

// dialPort connects to a port of the Pod. n differs between its connections.
func (c connection) dialPort(port uint16, n int) (net.Conn, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(n))
	failure, err := c.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	_ = failure.Close() // nothing is written to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := c.CreateStream(headers)
	if err != nil {
		_ = failure.Reset()
		c.RemoveStreams(failure)
		return nil, err
	}
	p := &podConn{Stream: data, to: c, failure: failure, port: port, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		const longest = 1 << 10
		p.text, _ = io.ReadAll(io.LimitReader(failure, longest))
	}()
	return p, nil
}

// Read returns the error of the kubelet if it could not connect to the port.
func (p *podConn) Read(b []byte) (int, error) {
	n, err := p.Stream.Read(b)
	if p.isUsed = p.isUsed || n > 0; err == nil || p.isUsed {
		return n, err
	}
	select { // both streams end
	case <-p.ended:
		if len(p.text) > 0 {
			return n, errNotListening{p.port, string(p.text)}
		}
	case <-time.After(time.Second):
	}
	return n, err
}

// Close ends both streams.
func (p *podConn) Close() error {
	p.closing.Do(func() {
		_ = p.Reset()
		_ = p.failure.Reset()
		p.to.RemoveStreams(p.Stream, p.failure)
	})
	return nil
}

// LocalAddr has no meaning here.
func (p *podConn) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr has no meaning here.
func (p *podConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline does nothing: the context of a request closes the connection.
func (p *podConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, as SetDeadline.
func (p *podConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, as SetDeadline.
func (p *podConn) SetWriteDeadline(time.Time) error { return nil }
