package app

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/kube"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// The rights that the program needs, as the files in yaml/ grant them. A test
// compares both.
var (
	testcrRules = []kube.Rule{{
		Group: v1.GroupVersionResource.Group, Resource: v1.GroupVersionResource.Resource,
		Verbs: []string{"get", "list", "watch", "create", "update", "delete"}, Manifest: "rbac.yaml",
	}}
	// eventRules are optional. Events about objects without a namespace are created
	// in the namespace default.
	eventRules = []kube.Rule{
		{Resource: "events", Verbs: []string{"create", "patch"}, Manifest: "rbac.yaml", Namespace: metav1.NamespaceDefault},
	}
	// rangeRules are optional: the ranges of the IPs of Services.
	rangeRules = []kube.Rule{{Group: "networking.k8s.io", Resource: "servicecidrs", Verbs: []string{"list"}, Manifest: "rbac-services.yaml"}}
	nodeRules  = []kube.Rule{{Resource: "nodes", Verbs: []string{"list", "watch"}, Manifest: "rbac-nodes.yaml"}}
	// loginRules are needed on a server with a login.
	loginRules = []kube.Rule{
		loginRule("authentication.k8s.io", "tokenreviews"),
		loginRule("authorization.k8s.io", "subjectaccessreviews"),
	}
)

func loginRule(group, resource string) kube.Rule {
	return kube.Rule{Group: group, Resource: resource, Verbs: []string{"create"}, Manifest: "rbac-lookup.yaml"}
}

// podRules are needed in each watched namespace, or everywhere.
func podRules(namespaces []string, verbs ...string) []kube.Rule {
	rules := make([]kube.Rule, 0, len(namespaces))
	for _, namespace := range orAll(namespaces) {
		rules = append(rules, kube.Rule{Resource: "pods", Verbs: verbs, Manifest: "rbac.yaml", Namespace: namespace})
	}
	return rules
}

// serviceRules are needed in each watched namespace, or everywhere.
func serviceRules(namespaces []string) (rules []kube.Rule) {
	for _, namespace := range orAll(namespaces) {
		rule := kube.Rule{Resource: "services", Verbs: []string{"list", "watch"}, Manifest: "rbac-services.yaml", Namespace: namespace}
		rules = append(rules, rule)
		rule.Group, rule.Resource = "discovery.k8s.io", "endpointslices"
		rules = append(rules, rule)
	}
	return rules
}

// ownerRules are needed for --owners, where Pods are watched.
func ownerRules(namespaces []string, verbs ...string) []kube.Rule {
	var rules []kube.Rule
	for _, namespace := range orAll(namespaces) {
		rules = append(rules,
			kube.Rule{Group: "apps", Resource: "replicasets", Verbs: verbs, Manifest: "rbac-owners.yaml", Namespace: namespace},
			kube.Rule{Group: "batch", Resource: "jobs", Verbs: verbs, Manifest: "rbac-owners.yaml", Namespace: namespace})
	}
	return rules
}

func leaseRules(lease leaseKey, manifest string) []kube.Rule {
	create := kube.Rule{
		Group: "coordination.k8s.io", Resource: "leases", Verbs: []string{"create"},
		Manifest: manifest, Namespace: lease.namespace,
	}
	renew := create
	renew.Verbs, renew.Name = []string{"get", "update"}, lease.name
	return []kube.Rule{create, renew}
}

// rulesFor returns the rights that the options require.
func rulesFor(o *options, lease leaseKey, login bool) []kube.Rule {
	rules := append(podRules(o.namespaces, "list", "watch"), testcrRules...)
	if o.owners {
		rules = append(rules, ownerRules(o.namespaces, "list", "watch")...)
	}
	if login {
		rules = append(rules, loginRules...)
	}
	if o.services {
		rules = append(rules, serviceRules(o.namespaces)...)
	}
	if o.nodes {
		rules = append(rules, nodeRules...)
	}
	if o.election.LeaderElect {
		manifest := "rbac-leader.yaml"
		if len(o.namespaces) > 0 { // the lease has another name
			manifest = "rbac-namespace.yaml"
		}
		rules = append(rules, leaseRules(lease, manifest)...)
	}
	return rules
}

// preflight checks what the program needs before it starts, at last by try. A CRD
// that is missing or being deleted is no error, because the controller waits for it.
func (c *clients) preflight(ctx context.Context, rules []kube.Rule, try func(context.Context) error) error {
	return c.cluster.Preflight(ctx, rules, func(ctx context.Context) error {
		err := c.checkCRD(ctx)
		if errors.Is(err, testcrcache.ErrCRDMissing) || errors.Is(err, testcrcache.ErrCRDTerminating) {
			return nil
		}
		if err != nil {
			return err
		}
		return try(ctx)
	})
}

func (c *clients) checkCRD(ctx context.Context) error {
	return c.explain(ctx, testcrcache.CheckCRD(ctx, c.cluster.Discovery()))
}

// explain adds the remedy to err. Errors of the CRD contain theirs.
func (c *clients) explain(ctx context.Context, err error) error {
	if _, ok := errors.AsType[testcrcache.CRDError](err); ok {
		return err
	}
	return c.cluster.Explain(ctx, err)
}

// checkEvents logs that Events cannot be created: nothing else reports it.
func (c *clients) checkEvents(ctx context.Context) error {
	return c.cluster.CheckOptional(ctx, eventRules,
		"Events cannot be created, warnings are only in this log: yaml/rbac.yaml has the rule that is missing")
}

// checkRanges logs that the ranges of Services cannot be read.
func (c *clients) checkRanges(ctx context.Context) error {
	return c.cluster.CheckOptional(ctx, rangeRules,
		"The ranges of Services cannot be read, answers report it: yaml/rbac-services.yaml has the rule that is missing")
}

// orAll returns namespaces, or the one that stands for all if there are none.
func orAll(namespaces []string) []string {
	if len(namespaces) == 0 {
		return []string{metav1.NamespaceAll}
	}
	return namespaces
}
