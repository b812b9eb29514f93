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

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
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

// guard lets through who may read Testcrs in the API server itself: who asks for
// one Pod needs the right to get its Testcr, who asks for more the right to list
// all of them; the metrics take the right to get their path.
type guard struct {
	authenticator authenticator.Request
	authorizer    authorizer.Authorizer
	next          http.Handler
}

func newGuard(api kubernetes.Interface, next http.Handler) (http.Handler, error) {
	g := &guard{next: next}
	var err error
	g.authenticator, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		TokenAccessReviewClient:  api.AuthenticationV1(),
		TokenAccessReviewTimeout: reviewTimeout,
		WebhookRetryBackoff:      &reviewRetries,
		CacheTTL:                 tokenTTL,
	}.New()
	if err != nil {
		return nil, err
	}
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
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, testcrRight("list", "")) })
	return mux, nil
}

func testcrRight(verb, name string) authorizer.AttributesRecord {
	testcrs := podinfolookup.GroupVersionResource
	return authorizer.AttributesRecord{
		Verb: verb, Name: name, ResourceRequest: true,
		APIGroup: testcrs.Group, APIVersion: testcrs.Version, Resource: testcrs.Resource,
	}
}

func (g *guard) serve(w http.ResponseWriter, r *http.Request, right authorizer.AttributesRecord) {
	caller := g.authenticate(w, r)
	if caller == nil {
		return
	}
	right.User = caller
	if g.authorize(w, r, right) {
		g.next.ServeHTTP(w, r)
	}
}

// authenticate returns who asks, or answers the request and returns nil.
func (g *guard) authenticate(w http.ResponseWriter, r *http.Request) user.Info {
	_, password, basic := r.BasicAuth()
	if basic {
		r.Header.Set("Authorization", "Bearer "+password)
	}
	who, ok, err := g.authenticator.AuthenticateRequest(r)
	switch {
	case ok:
		return who.User
	case unanswered(err):
		http.Error(w, "the API server does not check tokens at the moment: try again later", http.StatusServiceUnavailable)
		return nil
	}
	challenge, text := bearerChallenge, "the token is not valid, or no longer: send another one (kubectl create token)"
	if err == nil {
		basic = basic || strings.Contains(r.Header.Get("Accept"), "text/html")
		text = "no token: send one (kubectl create token) in the header Authorization, after Bearer"
	}
	if basic {
		challenge = basicChallenge
	}
	w.Header().Set("WWW-Authenticate", challenge)
	http.Error(w, text, http.StatusUnauthorized)
	return nil
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
