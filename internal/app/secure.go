package app

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilcache "k8s.io/apimachinery/pkg/util/cache"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/group"
	tokencache "k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
)

const (
	// Each answer of the API server is taken as true for so long: a token or a
	// right that is taken away still works for this time, and one that has just
	// been granted does after it.
	tokenTTL = 10 * time.Second
	allowTTL = 10 * time.Second
	denyTTL  = 5 * time.Second

	// reviewTimeout bounds each of the two questions, so that both together end
	// before writeTimeout does: the client still gets its 503.
	reviewTimeout = 3 * time.Second

	bearerChallenge = "Bearer"
	// A browser can ask its user for this one only.
	basicChallenge = `Basic realm="podinfolookup: any user name, a service account token as the password", charset="UTF-8"`
)

// reviewRetries are within reviewTimeout; most failures are not tried again.
var reviewRetries = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}

// certificateFrom reads the certificate of the two files, or makes one for
// address where there are none.
func certificateFrom(ctx context.Context, o *options, address *net.TCPAddr) (dynamiccertificates.CertKeyContentProvider, error) {
	if o.tlsCertFile == "" {
		return selfSigned(ctx, address)
	}
	files, err := dynamiccertificates.NewDynamicServingContentFromFiles("files", o.tlsCertFile, o.tlsPrivateKeyFile)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert-file=%s --tls-private-key-file=%s: %w: name a PEM certificate and the PEM key that belongs to it, readable for this user",
			o.tlsCertFile, o.tlsPrivateKeyFile, err)
	}
	return files, nil
}

// selfSigned makes a certificate that is good for a year. Clients can verify it
// by its fingerprint alone.
func selfSigned(ctx context.Context, address *net.TCPAddr) (dynamiccertificates.CertKeyContentProvider, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("a name for the self-signed certificate: %w: name one with --tls-cert-file and --tls-private-key-file", err)
	}
	ips := []net.IP{address.IP}
	if address.IP.IsUnspecified() {
		ips = nil
		interfaces, err := net.InterfaceAddrs()
		if err != nil {
			klog.FromContext(ctx).Error(err, "The self-signed certificate names no IP address")
		}
		for _, i := range interfaces {
			if network, ok := i.(*net.IPNet); ok {
				ips = append(ips, network.IP)
			}
		}
	}
	chain, key, err := cert.GenerateSelfSignedCertKey(host, ips, []string{"localhost"})
	if err != nil {
		return nil, fmt.Errorf("the self-signed certificate: %w: name one with --tls-cert-file and --tls-private-key-file", err)
	}
	return dynamiccertificates.NewStaticCertKeyContent("self-signed", chain, key)
}

// fingerprint is what `openssl x509 -fingerprint -sha256` says of the certificate.
func fingerprint(certificate dynamiccertificates.CertKeyContentProvider) (string, error) {
	chain, _ := certificate.CurrentCertKeyContent()
	parsed, err := cert.ParseCertsPEM(chain)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(parsed[0].Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":"), nil
}

// tlsConfig serves the certificate, and from files always the newest one from when
// follow is called until ctx ends. Connections that are open keep the one they
// began with.
func tlsConfig(ctx context.Context, certificate dynamiccertificates.CertKeyContentProvider) (config *tls.Config, follow func(), err error) {
	config = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	serving := dynamiccertificates.NewDynamicServingCertificateController(config.Clone(), nil, certificate, nil, nil)
	certificate.AddListener(serving)
	if err := serving.RunOnce(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certificate.Name(), err)
	}
	config.GetConfigForClient = serving.GetConfigForClient
	return config, func() {
		go serving.Run(1, ctx.Done())
		if files, ok := certificate.(dynamiccertificates.ControllerRunner); ok {
			go files.Run(ctx, 1)
		}
	}, nil
}

const (
	// reviewRate bounds the reviews a second, and reviewsAtOnce those in flight,
	// so that callers hold up no request of the controller. The API server queues
	// all requests of one user together.
	reviewRate, reviewBurst = 100, 200
	reviewsAtOnce           = 16

	// Places for the time of a login, by address for a new token and by token for
	// one that is known. They are apart, so that new ones keep no known one out.
	newLogins, newLoginsEach     = 32, 8
	knownLogins, knownLoginsEach = 64, 32

	// recheckInterval is how often the login and the right of an event stream are
	// reviewed. Cached reviews are younger than tokenTTL and allowTTL.
	recheckInterval = 30 * time.Second
)

// newReviewClient returns the client for reviews, with bounds of its own.
func newReviewClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // client-go's limiter would return an error like a verdict
	limiter, inFlight := rate.NewLimiter(reviewRate, reviewBurst), make(chan struct{}, reviewsAtOnce)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return limitedTransport{next, limiter, inFlight} })
	return kubernetes.NewForConfig(config)
}

// limitedTransport sends at the rate of its limiter, and has at most
// cap(inFlight) requests wait for their answers.
type limitedTransport struct {
	http.RoundTripper
	limiter  *rate.Limiter
	inFlight chan struct{}
}

// RoundTrip waits for its turn until the context of the request ends.
func (t limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.limiter.Wait(r.Context()) != nil {
		return nil, context.DeadlineExceeded
	}
	select {
	case t.inFlight <- struct{}{}:
		defer func() { <-t.inFlight }()
		return t.RoundTripper.RoundTrip(r)
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// guard lets through who may read Testcrs in the API server itself: a request for
// one Pod needs the right to get its Testcr, every other one the right to list
// all of them; the metrics take the right to get their path.
type guard struct {
	tokens     authenticator.Token
	authorizer authorizer.Authorizer
	next       http.Handler

	budget              *budget
	known               *utilcache.LRUExpireCache // SHA-256 of tokens that were accepted
	newcomers, returned places
}

// caller is who sent a request, and by which token.
type caller struct {
	user  user.Info
	token string
}

type callerKey struct{}

// callerOf returns nil where there is no login.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

func newGuard(api kubernetes.Interface, next http.Handler) (http.Handler, error) {
	g := &guard{
		next: next, budget: newBudget(), known: utilcache.NewLRUExpireCache(maxKnown),
		newcomers: places{total: newLogins, each: newLoginsEach}, returned: places{total: knownLogins, each: knownLoginsEach},
	}
	// As authenticatorfactory.DelegatingAuthenticatorConfig does, without tokens
	// in the header of a WebSocket: each token must pass the budget.
	authenticatorfactory.RegisterMetrics()
	reviews, err := webhook.NewFromInterface(api.AuthenticationV1(), nil, reviewRetries, reviewTimeout, webhook.AuthenticatorMetrics{
		RecordRequestTotal:   authenticatorfactory.RecordRequestTotal,
		RecordRequestLatency: authenticatorfactory.RecordRequestLatency,
	})
	if err != nil {
		return nil, err
	}
	g.tokens = group.NewTokenGroupAdder(tokencache.New(reviews, false, tokenTTL, tokenTTL), []string{user.AllAuthenticated})
	g.authorizer, err = authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: api.AuthorizationV1(),
		AllowCacheTTL:             allowTTL,
		DenyCacheTTL:              denyTTL,
		WebhookRetryBackoff:       &reviewRetries,
	}.New()
	if err != nil {
		return nil, err
	}
	// The handler behind reads paths in the same way, so that what is allowed
	// and what is answered are the same Pod.
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/pods/{namespace}/{name}", func(w http.ResponseWriter, r *http.Request) {
		pod := cache.NewObjectName(r.PathValue("namespace"), r.PathValue("name"))
		g.serve(w, r, testcrRight("get", podinfolookup.NameFor(pod)))
	})
	mux.HandleFunc(metricsPath, func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, authorizer.AttributesRecord{Verb: "get", Path: metricsPath})
	})
	mux.HandleFunc(lookup.EventsPath, func(w http.ResponseWriter, r *http.Request) { g.stream(w, r, testcrRight("list", "")) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, testcrRight("list", "")) })
	return g.login(shared(mux)), nil
}

func testcrRight(verb, name string) authorizer.AttributesRecord {
	testcrs := podinfolookup.GroupVersionResource
	return authorizer.AttributesRecord{
		Verb: verb, Name: name, ResourceRequest: true,
		APIGroup: testcrs.Group, APIVersion: testcrs.Version, Resource: testcrs.Resource,
	}
}

// login has next serve who is known to the API server.
func (g *guard) login(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, basic := tokenOf(r)
		who, ok := g.authenticate(w, r, token, basic)
		if !ok {
			return
		}
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, &caller{who, token})))
	})
}

// tokenOf returns the token of a request, "" without one, and whether it came as
// a password.
func tokenOf(r *http.Request) (token string, basic bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	fields := strings.Fields(r.Header.Get("Authorization"))
	if len(fields) != 2 || !strings.EqualFold(fields[0], bearerChallenge) {
		return "", false
	}
	return fields[1], false
}

// authenticate returns whose token it is, or answers the request.
func (g *guard) authenticate(w http.ResponseWriter, r *http.Request, token string, basic bool) (user.Info, bool) {
	if token == "" {
		basic = basic || strings.Contains(r.Header.Get("Accept"), "text/html")
		unauthorized(w, basic, "no token: send one (kubectl create token) in the header Authorization, after Bearer")
		return nil, false
	}
	id := sha256.Sum256([]byte(token))
	room, from := &g.returned, string(id[:])
	if _, known := g.known.Get(id); !known {
		room, from = &g.newcomers, addressOf(r)
		if !g.budget.allow(from) {
			tooMany(w, "too many new tokens from this address, or from all")
			return nil, false
		}
	}
	release, ok := room.take(from)
	if !ok {
		tooMany(w, "too many logins at once")
		return nil, false
	}
	defer release()
	who, ok, err := g.tokens.AuthenticateToken(r.Context(), token)
	switch {
	case ok:
		g.known.Add(id, nil, knownFor)
		return who.User, true
	case unanswered(err):
		http.Error(w, "the API server does not check tokens at the moment: try again later", http.StatusServiceUnavailable)
	default:
		g.known.Remove(id)
		unauthorized(w, basic, "the token is not valid, or no longer: send another one (kubectl create token)")
	}
	return nil, false
}

func unauthorized(w http.ResponseWriter, basic bool, text string) {
	challenge := bearerChallenge
	if basic {
		challenge = basicChallenge
	}
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, text, http.StatusUnauthorized)
}

// serve answers who has the right.
func (g *guard) serve(w http.ResponseWriter, r *http.Request, right authorizer.AttributesRecord) {
	right.User = callerOf(r.Context()).user
	if g.authorize(w, r, right) {
		g.next.ServeHTTP(w, r)
	}
}

// stream is serve for what stays open: it ends when the token or the right does.
func (g *guard) stream(w http.ResponseWriter, r *http.Request, right authorizer.AttributesRecord) {
	ctx, end := context.WithCancel(r.Context())
	defer end()
	go func() {
		revoked := func(ctx context.Context) (bool, error) { return g.revoked(ctx, right), nil }
		if wait.PollUntilContextCancel(ctx, recheckInterval, false, revoked) == nil {
			end()
		}
	}()
	g.serve(w, r.WithContext(ctx), right)
}

// revoked reports whether the API server refuses the caller of ctx by now. It
// does not while the API server gives no answer, so that an outage ends no stream.
func (g *guard) revoked(ctx context.Context, right authorizer.AttributesRecord) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*reviewTimeout)
	defer cancel()
	who, ok, err := g.tokens.AuthenticateToken(ctx, callerOf(ctx).token)
	if !ok {
		return !unanswered(err)
	}
	right.User = who.User
	decision, _, err := g.authorizer.Authorize(ctx, right)
	return err == nil && decision != authorizer.DecisionAllow
}

// unanswered says that err is no verdict on a token but the want of one. The
// authenticator returns both as errors; a verdict is a bare text.
func unanswered(err error) bool {
	var (
		all     utilerrors.Aggregate
		status  apierrors.APIStatus
		network net.Error
	)
	if errors.As(err, &all) {
		return slices.ContainsFunc(all.Errors(), unanswered)
	}
	return errors.As(err, &status) || errors.As(err, &network) ||
		errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// authorize reports whether the caller has the right, or answers the request.
func (g *guard) authorize(w http.ResponseWriter, r *http.Request, right authorizer.AttributesRecord) bool {
	ctx, cancel := context.WithTimeout(r.Context(), reviewTimeout)
	defer cancel()
	decision, _, err := g.authorizer.Authorize(ctx, right)
	switch {
	case err != nil: // the authorizer has logged it
		http.Error(w, "the API server does not check rights at the moment: try again later", http.StatusServiceUnavailable)
	case decision == authorizer.DecisionAllow:
		return true
	default:
		what := right.Path
		if right.ResourceRequest {
			what = podinfolookup.GroupVersionResource.GroupResource().String()
		}
		if right.Name != "" {
			what += "/" + right.Name
		}
		http.Error(w, fmt.Sprintf("%s may not %s %s: bind it to a ClusterRole that grants this", right.User.GetName(), right.Verb, what), http.StatusForbidden)
	}
	return false
}
