package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/klog/v2"
)

const (
	// preflightTimeout bounds all requests of a preflight, so that a server that
	// never answers is reported instead of waited for.
	preflightTimeout = 10 * time.Second

	// minKubernetes is the first release in which selectable fields of custom
	// resources are stable.
	minKubernetes = "1.32"
)

// errNoAnswer is the cause when preflightTimeout is over.
var errNoAnswer = fmt.Errorf("no answer within %s", preflightTimeout)

// Rule is a right that the program needs on one resource.
type Rule struct {
	Group, Resource string
	Verbs           []string
	Namespace       string // "" is all namespaces
	Name            string // "" is all objects
	Manifest        string // the file in yaml/ that grants it
}

// Preflight finds at the start what would otherwise leave a program that runs and
// writes nothing: a server that is no API server, missing rights, and what check
// returns, whose errors are returned as they are.
func (c *Cluster) Preflight(ctx context.Context, rules []Rule, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, preflightTimeout, errNoAnswer)
	defer cancel()
	info, err := c.Discovery().ServerVersionWithContext(ctx)
	if err != nil {
		return c.Explain(ctx, err)
	}
	if err := c.checkRights(ctx, rules); err != nil {
		return c.Explain(ctx, err)
	}
	if err := check(ctx); err != nil {
		return err
	}
	supported := utilversion.MustParseGeneric(minKubernetes)
	if v, err := utilversion.ParseGeneric(info.GitVersion); err == nil && v.LessThan(supported) {
		klog.FromContext(ctx).Info("The API server is older than this program supports", "version", info.GitVersion,
			"supported", minKubernetes+"+")
	}
	return nil
}

// CheckOptional logs message if one of the rules is not granted. It returns only
// errors that a retry may not meet.
func (c *Cluster) CheckOptional(ctx context.Context, rules []Rule, message string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, preflightTimeout, errNoAnswer)
	defer cancel()
	err := c.checkRights(ctx, rules)
	if rights, ok := errors.AsType[missingRightsError](err); ok {
		klog.FromContext(ctx).Info(message, "missing", strings.Join(rights.missing, ", "))
	}
	if isTransient(err) {
		return c.Explain(ctx, err)
	}
	return nil
}

// missingRightsError names the rights that are missing, and the files that grant
// them.
type missingRightsError struct{ missing, manifests []string }

func (e missingRightsError) Error() string {
	return fmt.Sprintf("forbidden: this user may not %s: kubectl apply -f yaml/%s and use its service account, "+
		"or grant these rules",
		strings.Join(e.missing, ", "), strings.Join(slices.Compact(slices.Clone(e.manifests)), " -f yaml/"))
}

// checkRights asks the API server for each right, as `kubectl auth can-i` does.
func (c *Cluster) checkRights(ctx context.Context, rules []Rule) error {
	var (
		rights    []authorizationv1.ResourceAttributes
		manifests []string
	)
	for _, r := range rules {
		for _, verb := range r.Verbs {
			rights = append(rights, authorizationv1.ResourceAttributes{
				Verb: verb, Group: r.Group, Resource: r.Resource, Namespace: r.Namespace, Name: r.Name,
			})
			manifests = append(manifests, r.Manifest)
		}
	}
	allowed, errs := make([]bool, len(rights)), make([]error, len(rights))
	var reviews sync.WaitGroup
	for i := range rights {
		reviews.Go(func() { allowed[i], errs[i] = c.isAllowed(ctx, &rights[i]) })
	}
	reviews.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the first: the others have the same cause
		}
	}
	var lacking missingRightsError
	for i, ok := range allowed {
		if !ok {
			lacking.missing = append(lacking.missing, describe(&rights[i]))
			lacking.manifests = append(lacking.manifests, manifests[i])
		}
	}
	if len(lacking.missing) > 0 {
		return lacking
	}
	return nil
}

func (c *Cluster) isAllowed(ctx context.Context, right *authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: right},
	}
	review, err := c.Kube.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// describe words a right as `kubectl auth can-i` takes it.
func describe(right *authorizationv1.ResourceAttributes) string {
	s := right.Verb + " " + right.Resource
	if right.Group != "" {
		s += "." + right.Group
	}
	if right.Name != "" {
		s += "/" + right.Name
	}
	if right.Namespace != metav1.NamespaceAll {
		s += " in namespace " + right.Namespace
	}
	return s
}
