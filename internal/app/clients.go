package app

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/version"
)

const (
	// preflightTimeout bounds all questions before the start, so that a server
	// that never answers is told of instead of waited for.
	preflightTimeout = 10 * time.Second

	// minKubernetes is the first release in which selectable fields of custom
	// resources are stable.
	minKubernetes = "1.32"
)

// clients are the ways in which the API server is spoken to.
type clients struct {
	host string
	// ask is for preflight and discovery: few questions, which a small
	// --kube-api-qps would hold up beyond their time.
	ask kubernetes.Interface
	// reviews is for the logins and rights of callers.
	reviews kubernetes.Interface
	// pods lists and watches Pods.
	pods kubernetes.Interface
	// testcrs speaks JSON, the only format that custom resources have everywhere.
	// With leader election it writes only during the tenure.
	testcrs dynamic.Interface
	// reader lists and watches Testcrs.
	reader podinfolookup.TestcrReader
	// leases is for the lease alone.
	leases kubernetes.Interface
	tenure *tenure // nil without leader election
}

// newClients also completes the options by the namespace of the lease.
func newClients(o *options) (*clients, error) {
	config, namespace, err := restConfig(o)
	if err != nil {
		return nil, err
	}
	o.election.ResourceNamespace = cmp.Or(o.election.ResourceNamespace, namespace)
	podinfolookup.DetectDeadConnections()
	config.UserAgent = podinfolookup.ManagedBy + "/" + version.Version()
	config.WarningHandlerWithContext = &warnings{told: map[string]bool{}}
	config.QPS = -1
	ask, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, kubeconfigError(err)
	}
	reviews, err := newReviewClient(config)
	if err != nil {
		return nil, kubeconfigError(err)
	}
	config.QPS, config.Burst = o.qps, o.burst
	if o.qps == 0 {
		config.QPS = -1 // 0 would be client-go's default of 5 a second
	} else if o.burst == 0 {
		config.Burst = max(1, int(2*o.qps))
	}
	pods, err := podinfolookup.NewPodClient(config)
	if err != nil {
		return nil, kubeconfigError(err)
	}
	tenure := newTenure(&o.election)
	testcrs, err := dynamic.NewForConfig(podinfolookup.ShortAnswers(tenure.guard(config)))
	if err != nil {
		return nil, kubeconfigError(err)
	}
	reader, err := podinfolookup.NewTestcrReader(config)
	if err != nil {
		return nil, kubeconfigError(err)
	}
	leases, err := newLeaseClient(config, o.election.RenewDeadline.Duration)
	if err != nil {
		return nil, kubeconfigError(err)
	}
	return &clients{host: config.Host, ask: ask, reviews: reviews, pods: pods, testcrs: testcrs, reader: reader, leases: leases, tenure: tenure}, nil
}

// restConfig finds the cluster, and the namespace in it, as kubectl does.
func restConfig(o *options) (config *rest.Config, namespace string, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	rules.WarnIfAllMissing = false
	overrides := &clientcmd.ConfigOverrides{CurrentContext: o.context}
	found := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err = found.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", fmt.Errorf("no cluster is configured in %s: pass --kubeconfig=FILE and --context, set KUBECONFIG, or run in a Pod",
			strings.Join(rules.GetLoadingPrecedence(), ", "))
	}
	if err == nil {
		namespace, _, err = found.Namespace()
	}
	return config, namespace, kubeconfigError(err)
}

// warningsMost bounds how many different warnings are told.
const warningsMost = 100

// warnings tells each warning of the API server once: it has the same one about a
// field that the CRD does not know in its answer to every write.
type warnings struct {
	mu   sync.Mutex
	told map[string]bool
}

// HandleWarningHeaderWithContext is called for each warning of each answer.
func (w *warnings) HandleWarningHeaderWithContext(ctx context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text != "" && !w.told[text] && len(w.told) < warningsMost {
		w.told[text] = true
		klog.FromContext(ctx).Info("The API server warns; this is told once", "warning", text)
	}
}

// kubeconfigError adds the remedy. clientcmd wraps some causes and only quotes
// others, so the text decides.
func kubeconfigError(err error) error {
	if err == nil {
		return nil
	}
	var remedy string
	switch text := err.Error(); {
	case strings.Contains(text, syscall.ENOENT.Error()):
		remedy = "correct the path"
	case strings.Contains(text, syscall.EACCES.Error()):
		remedy = "make the file readable for this user"
	case strings.HasPrefix(text, `context "`):
		remedy = "kubectl config get-contexts lists those there are"
	default:
		remedy = "kubectl config view shows whether a file is well-formed"
	}
	return fmt.Errorf("kubeconfig: %w: %s", err, remedy)
}

// errNoAnswer is the cause when preflightTimeout is over.
var errNoAnswer = fmt.Errorf("no answer within %s", preflightTimeout)

// preflight asks what would otherwise show up as a program that runs and does
// nothing: is the server there, may we, and is the CRD the one we write. A
// CRD that is missing or being deleted is no error: it is waited for.
func (c *clients) preflight(ctx context.Context, namespaces []string, needed []rule) error {
	ctx, cancel := context.WithTimeoutCause(ctx, preflightTimeout, errNoAnswer)
	defer cancel()
	info, err := c.discovery().ServerVersionWithContext(ctx)
	if err != nil {
		return c.explain(ctx, err)
	}
	if err := c.checkRights(ctx, namespaces, needed); err != nil {
		return c.explain(ctx, err)
	}
	err = podinfolookup.CheckCRD(ctx, c.discovery())
	if err != nil && !errors.Is(err, podinfolookup.ErrCRDMissing) && !errors.Is(err, podinfolookup.ErrCRDTerminating) {
		return c.explain(ctx, err)
	}
	if v, err := utilversion.ParseGeneric(info.GitVersion); err == nil && v.LessThan(utilversion.MustParseGeneric(minKubernetes)) {
		klog.FromContext(ctx).Info("The API server is older than this program supports", "version", info.GitVersion, "supported", minKubernetes+"+")
	}
	return nil
}

// explain adds the remedy to the errors that a first request can meet.
func (c *clients) explain(ctx context.Context, err error) error {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		rights    rightsError
		crd       podinfolookup.CRDError
	)
	switch {
	case err == nil, errors.As(err, &rights), errors.As(err, &crd):
		return err
	case errors.As(err, &authority), errors.As(err, &hostname):
		return fmt.Errorf("%w: the kubeconfig's certificate-authority does not belong to this server", err)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s answered 401 %w: the kubeconfig's credentials are not (or no longer) valid there", c.host, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w: does the kubeconfig's context name a user, and has it credentials?", c.host, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w: check the server's address and the network", c.host, context.Cause(ctx))
	default:
		return fmt.Errorf("%s: %w: check the kubeconfig's server address, and that the API server runs", c.host, err)
	}
}

// rule is one right that the program needs, and which file in yaml/ grants it.
type rule struct {
	group, resource string
	verbs           []string
	manifest        string
	// namespace is where it is needed, "" for everywhere; of Pods, in the watched
	// ones. name is that of the only object, "" for all.
	namespace, name string
}

var (
	// rules are what yaml/rbac.yaml grants, lookupRules, which only serving with a
	// login takes, yaml/rbac-lookup.yaml, and leaderRules yaml/rbac-leader.yaml or
	// yaml/rbac-namespace.yaml; a test holds them together.
	rules = []rule{
		{group: "", resource: "pods", verbs: []string{"list", "watch"}, manifest: "rbac.yaml"},
		{group: podinfolookup.GroupVersionResource.Group, resource: podinfolookup.GroupVersionResource.Resource,
			verbs: []string{"get", "list", "watch", "create", "update", "delete"}, manifest: "rbac.yaml"},
	}
	// eventRules are in yaml/rbac.yaml, too, but the work can do without. Events
	// about objects without a namespace are in this one.
	eventRules = []rule{
		{group: "", resource: "events", verbs: []string{"create", "patch"}, manifest: "rbac.yaml", namespace: metav1.NamespaceDefault},
	}
	lookupRules = []rule{
		{group: "authentication.k8s.io", resource: "tokenreviews", verbs: []string{"create"}, manifest: "rbac-lookup.yaml"},
		{group: "authorization.k8s.io", resource: "subjectaccessreviews", verbs: []string{"create"}, manifest: "rbac-lookup.yaml"},
	}
)

func leaderRules(namespace, name, manifest string) []rule {
	const group, resource = "coordination.k8s.io", "leases"
	return []rule{
		{group: group, resource: resource, verbs: []string{"create"}, manifest: manifest, namespace: namespace},
		{group: group, resource: resource, verbs: []string{"get", "update"}, manifest: manifest, namespace: namespace, name: name},
	}
}

// rulesFor returns the rights that the options call for.
func rulesFor(o *options, login bool) []rule {
	needed := slices.Clone(rules)
	if login {
		needed = append(needed, lookupRules...)
	}
	if o.election.LeaderElect {
		manifest := "rbac-leader.yaml"
		if len(o.namespaces) > 0 { // the name of the lease is another one
			manifest = "rbac-namespace.yaml"
		}
		needed = append(needed, leaderRules(o.election.ResourceNamespace, o.election.ResourceName, manifest)...)
	}
	return needed
}

// noteEvents says so when Events cannot be sent: nothing else tells. It returns
// only errors that another try may not meet.
func (c *clients) noteEvents(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, preflightTimeout, errNoAnswer)
	defer cancel()
	err := c.checkRights(ctx, nil, eventRules)
	if lacking, ok := errors.AsType[rightsError](err); ok {
		klog.FromContext(ctx).Info("Events cannot be sent where a person must act, the log alone tells: yaml/rbac.yaml has the rule that is missing",
			"missing", strings.Join(lacking.missing, ", "))
	}
	if isTransient(err) {
		return c.explain(ctx, err)
	}
	return nil
}

// rightsError names the rights that are missing, and the files that grant them.
type rightsError struct{ missing, manifests []string }

func (e rightsError) Error() string {
	return fmt.Sprintf("forbidden: this user may not %s: kubectl apply -f yaml/%s and use its service account, or grant these rules",
		strings.Join(e.missing, ", "), strings.Join(slices.Compact(slices.Clone(e.manifests)), " -f yaml/"))
}

// checkRights asks the server about each right, as `kubectl auth can-i` does.
func (c *clients) checkRights(ctx context.Context, namespaces []string, needed []rule) error {
	var (
		asked     []authorizationv1.ResourceAttributes
		manifests []string
	)
	for _, r := range needed {
		in := []string{r.namespace}
		if r.resource == "pods" && len(namespaces) > 0 {
			in = namespaces
		}
		for _, namespace := range in {
			for _, verb := range r.verbs {
				asked = append(asked, authorizationv1.ResourceAttributes{
					Verb: verb, Group: r.group, Resource: r.resource, Namespace: namespace, Name: r.name,
				})
				manifests = append(manifests, r.manifest)
			}
		}
	}
	allowed, errs := make([]bool, len(asked)), make([]error, len(asked))
	var reviews sync.WaitGroup
	for i := range asked {
		reviews.Go(func() { allowed[i], errs[i] = c.can(ctx, &asked[i]) })
	}
	reviews.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one of them stands for all
		}
	}
	var lacking rightsError
	for i, ok := range allowed {
		if !ok {
			lacking.missing = append(lacking.missing, describe(&asked[i]))
			lacking.manifests = append(lacking.manifests, manifests[i])
		}
	}
	if len(lacking.missing) > 0 {
		return lacking
	}
	return nil
}

func (c *clients) can(ctx context.Context, what *authorizationv1.ResourceAttributes) (bool, error) {
	review, err := c.ask.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: what},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// describe words a right as `kubectl auth can-i` takes it.
func describe(what *authorizationv1.ResourceAttributes) string {
	s := what.Verb + " " + what.Resource
	if what.Group != "" {
		s += "." + what.Group
	}
	if what.Name != "" {
		s += "/" + what.Name
	}
	if what.Namespace != metav1.NamespaceAll {
		s += " in namespace " + what.Namespace
	}
	return s
}
