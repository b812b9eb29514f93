package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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
	"k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	"k8s.io/client-go/kubernetes"
)

const (
	// Reviews are cached: a token or a right that was revoked works for up to 10 s
	// more, and a right that was refused is refused for up to 5 s more.
	tokenTTL = 10 * time.Second
	allowTTL = 10 * time.Second
	denyTTL  = 5 * time.Second

	// reviewTimeout bounds the review of the token, that of the rights on all Pods, and
	// those of lookup for single namespaces, so that all end before writeTimeout and the
	// client still gets its 503.
	reviewTimeout = 3 * time.Second

	// recheckInterval is how often the token and the right of an event stream are
	// reviewed again.
	recheckInterval = 30 * time.Second

	// Logins in flight: new tokens by address, accepted ones by token. They are
	// counted apart, so that new tokens do not keep accepted ones out.
	newLogins, newLoginsEach           = 32, 8
	acceptedLogins, acceptedLoginsEach = 64, 32

	bearerChallenge = "Bearer"
	// The only challenge for which a browser shows a dialog.
	basicChallenge = `Basic realm="podinfolookup: any user name, a service account token as the password", charset="UTF-8"`
)

// reviewRetries ends within reviewTimeout; most failures are not retried.
var reviewRetries = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3}

// NamespaceRight reports whether a caller may list the Pods of a namespace.
type NamespaceRight func(ctx context.Context, namespace string) (bool, error)

// AuthConfig sets which rights callers need. A request for one Pod needs the right
// to get its object or the Pod, all others the right to list all objects or all Pods;
// metrics need the right to get their path.
type AuthConfig struct {
	Reviews  kubernetes.Interface // from NewReviewClient
	Resource schema.GroupVersionResource
	// NameFor returns the name of the object of a Pod.
	NameFor func(pod types.NamespacedName) string
	// Restrict returns the context of the requests of a caller who may not list all
	// Pods. They are answered for the namespaces that mayList allows, or with refusal
	// if it is not empty and mayList allows none.
	Restrict func(ctx context.Context, mayList NamespaceRight, refusal string) context.Context
}

// authHandler serves callers that the API server authenticates and authorizes.
type authHandler struct {
	config     AuthConfig
	tokens     authenticator.Token
	authorizer authorizer.Authorizer
	next       http.Handler

	budget                     *reviewBudget
	accepted                   *utilcache.LRUExpireCache // SHA-256 of accepted tokens
	newInFlight, knownInFlight inFlight
}

// caller is the authenticated sender of a request.
type caller struct {
	user  user.Info
	token string
}

type callerKey struct{}

// callerFrom returns nil on a server without a login.
func callerFrom(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// WithAuth returns a handler that calls next for callers who have the right.
func (s *Server) WithAuth(c AuthConfig, next http.Handler) (http.Handler, error) {
	return newAuthHandler(c, s.config.Paths, next)
}

func newAuthHandler(c AuthConfig, paths Paths, next http.Handler) (http.Handler, error) {
	h := &authHandler{
		config:        c,
		next:          next,
		budget:        newReviewBudget(),
		accepted:      utilcache.NewLRUExpireCache(maxAccepted),
		newInFlight:   inFlight{total: newLogins, each: newLoginsEach},
		knownInFlight: inFlight{total: acceptedLogins, each: acceptedLoginsEach},
	}
	// As authenticatorfactory.DelegatingAuthenticatorConfig does, but without tokens in
	// the header of a WebSocket, which would bypass the budget.
	authenticatorfactory.RegisterMetrics()
	reviews, err := webhook.NewFromInterface(c.Reviews.AuthenticationV1(), nil, reviewRetries, reviewTimeout,
		webhook.AuthenticatorMetrics{
			RecordRequestTotal:   authenticatorfactory.RecordRequestTotal,
			RecordRequestLatency: authenticatorfactory.RecordRequestLatency,
		})
	if err != nil {
		return nil, err
	}
	h.tokens = group.NewTokenGroupAdder(tokencache.New(reviews, false, tokenTTL, tokenTTL),
		[]string{user.AllAuthenticated})
	h.authorizer, err = authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: c.Reviews.AuthorizationV1(),
		AllowCacheTTL:             allowTTL,
		DenyCacheTTL:              denyTTL,
		WebhookRetryBackoff:       &reviewRetries,
	}.New()
	if err != nil {
		return nil, err
	}
	return h.authenticate(limitInFlight(paths, h.mux(paths))), nil
}

// mux authorizes by path. It is a ServeMux as next is, so that the Pod which is
// authorized is the one which is served.
func (h *authHandler) mux(paths Paths) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(paths.Pod, func(w http.ResponseWriter, r *http.Request) {
		h.servePod(w, r, types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")})
	})
	mux.HandleFunc(paths.Metrics, func(w http.ResponseWriter, r *http.Request) {
		right := authorizer.AttributesRecord{Verb: "get", Path: paths.Metrics}
		if allowed, ok := h.review(w, r, right); ok && allowed {
			h.next.ServeHTTP(w, r)
		} else if ok {
			http.Error(w, refusal(r, "get "+paths.Metrics), http.StatusForbidden)
		}
	})
	mux.HandleFunc(paths.Events, func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.stream) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, func(w http.ResponseWriter, r *http.Request, _ []authorizer.AttributesRecord) { h.next.ServeHTTP(w, r) })
	})
	return mux
}

// podsRight is a right on Pods in a namespace, or in all namespaces if it is "".
func podsRight(verb, namespace, name string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		Verb: verb, Namespace: namespace, Name: name, ResourceRequest: true, APIVersion: "v1", Resource: "pods",
	}
}

func (h *authHandler) right(verb, name string) authorizer.AttributesRecord {
	gvr := h.config.Resource
	return authorizer.AttributesRecord{
		Verb: verb, Name: name, ResourceRequest: true,
		APIGroup: gvr.Group, APIVersion: gvr.Version, Resource: gvr.Resource,
	}
}

// authenticate calls next with the caller in the request's context.
func (h *authHandler) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, basic := tokenFrom(r)
		info, ok := h.login(w, r, token, basic)
		if !ok {
			return
		}
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, &caller{user: info, token: token})))
	})
}

// tokenFrom returns the token of a request, "" without one, and whether it was sent
// as a password.
func tokenFrom(r *http.Request) (token string, basic bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	fields := strings.Fields(r.Header.Get("Authorization"))
	if len(fields) != 2 || !strings.EqualFold(fields[0], bearerChallenge) {
		return "", false
	}
	return fields[1], false
}

// login returns the user of the token, or responds with an error.
func (h *authHandler) login(w http.ResponseWriter, r *http.Request, token string, basic bool) (user.Info, bool) {
	if token == "" {
		basic = basic || strings.Contains(r.Header.Get("Accept"), "text/html")
		unauthorized(w, basic, "no token: send one (kubectl create token) in the header Authorization, after Bearer")
		return nil, false
	}
	hash := sha256.Sum256([]byte(token))
	limit, key := &h.knownInFlight, string(hash[:])
	if _, accepted := h.accepted.Get(hash); !accepted {
		limit, key = &h.newInFlight, clientAddress(r)
		if !h.budget.allow(key) {
			tooManyRequests(w, "too many new tokens from this address, or from all")
			return nil, false
		}
	}
	release, ok := limit.acquire(key)
	if !ok {
		tooManyRequests(w, "too many logins at once")
		return nil, false
	}
	defer release()
	response, ok, err := h.tokens.AuthenticateToken(r.Context(), token)
	switch {
	case ok:
		h.accepted.Add(hash, nil, acceptedTTL)
		return response.User, true
	case isUnavailable(err):
		http.Error(w, "the API server does not check tokens at the moment: try again later", http.StatusServiceUnavailable)
	default:
		h.accepted.Remove(hash)
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

// serve calls next with the rights of which the caller has one. Without any the request
// is restricted.
func (h *authHandler) serve(w http.ResponseWriter, r *http.Request, next func(http.ResponseWriter, *http.Request, []authorizer.AttributesRecord)) {
	rights := []authorizer.AttributesRecord{h.right("list", ""), podsRight("list", "", "")}
	allowed, ok := h.review(w, r, rights...)
	if !ok {
		return
	}
	if !allowed {
		rights = nil
		text := refusal(r, fmt.Sprintf("list %s, nor list pods in a namespace that has any", h.config.Resource.GroupResource()))
		r = r.WithContext(h.config.Restrict(r.Context(), h.mayList, text))
	}
	next(w, r, rights)
}

// servePod calls next for a caller who may get the object of a Pod or the Pod itself.
func (h *authHandler) servePod(w http.ResponseWriter, r *http.Request, pod types.NamespacedName) {
	object := h.config.NameFor(pod)
	allowed, ok := h.review(w, r, h.right("get", object))
	if !ok {
		return
	}
	if !allowed {
		if allowed, ok = h.review(w, r, podsRight("get", pod.Namespace, pod.Name)); !ok {
			return
		}
		if !allowed {
			what := fmt.Sprintf("get %s/%s, nor get pods/%s in namespace %s", h.config.Resource.GroupResource(), object, pod.Name, pod.Namespace)
			http.Error(w, refusal(r, what), http.StatusForbidden)
			return
		}
		only := func(_ context.Context, namespace string) (bool, error) { return namespace == pod.Namespace, nil }
		r = r.WithContext(h.config.Restrict(r.Context(), only, ""))
	}
	h.next.ServeHTTP(w, r)
}

func refusal(r *http.Request, what string) string {
	return fmt.Sprintf("%s may not %s: bind it to a role that grants this", callerFrom(r.Context()).user.GetName(), what)
}

// mayList is a NamespaceRight of the caller of ctx.
func (h *authHandler) mayList(ctx context.Context, namespace string) (bool, error) {
	return h.isAllowed(ctx, callerFrom(ctx).user, podsRight("list", namespace, ""))
}

// stream calls next for a response that stays open. It ends when the token or the right
// to see all Pods is revoked. A restricted stream contains no Pods.
func (h *authHandler) stream(w http.ResponseWriter, r *http.Request, rights []authorizer.AttributesRecord) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		isRevoked := func(ctx context.Context) (bool, error) { return h.isRevoked(ctx, rights), nil }
		if wait.PollUntilContextCancel(ctx, recheckInterval, false, isRevoked) == nil {
			cancel()
		}
	}()
	h.next.ServeHTTP(w, r.WithContext(ctx))
}

// isRevoked reports whether the API server now refuses the token of ctx, or all of
// rights if there are any. It returns false while the API server is away, so that an
// outage ends no stream.
func (h *authHandler) isRevoked(ctx context.Context, rights []authorizer.AttributesRecord) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*reviewTimeout)
	defer cancel()
	response, ok, err := h.tokens.AuthenticateToken(ctx, callerFrom(ctx).token)
	if !ok {
		return !isUnavailable(err)
	}
	if len(rights) == 0 {
		return false
	}
	allowed, err := h.isAllowed(ctx, response.User, rights...)
	return err == nil && !allowed
}

// isUnavailable reports whether a token could not be reviewed. The authenticator
// returns a verdict as an error, too, but as plain text.
func isUnavailable(err error) bool {
	var (
		all     utilerrors.Aggregate
		status  apierrors.APIStatus
		network net.Error
	)
	if errors.As(err, &all) {
		return slices.ContainsFunc(all.Errors(), isUnavailable)
	}
	return errors.As(err, &status) || errors.As(err, &network) ||
		errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// review reports whether the caller has one of the rights. It responds itself, and ok is
// false, if the API server does not answer.
func (h *authHandler) review(w http.ResponseWriter, r *http.Request, rights ...authorizer.AttributesRecord) (allowed, ok bool) {
	allowed, err := h.isAllowed(r.Context(), callerFrom(r.Context()).user, rights...)
	if err != nil { // the authorizer has logged it
		http.Error(w, "the API server does not check rights at the moment: try again later", http.StatusServiceUnavailable)
	}
	return allowed, err == nil
}

// isAllowed reports whether a user has one of the rights.
func (h *authHandler) isAllowed(ctx context.Context, u user.Info, rights ...authorizer.AttributesRecord) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	for _, right := range rights {
		right.User = u
		decision, _, err := h.authorizer.Authorize(ctx, right)
		if err != nil || decision == authorizer.DecisionAllow {
			return err == nil, err
		}
	}
	return false, nil
}
