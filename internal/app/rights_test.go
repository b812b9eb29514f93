package app

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/weiyuanke/PodInfoLookup/internal/kube"
)

// right is one verb on one resource, as a manifest grants it.
type right struct{ Kind, Namespace, Group, Resource, Name, Verb string }

func TestRulesFor_Manifests(t *testing.T) {
	watched := []string{metav1.NamespaceDefault}
	tests := []struct {
		file  string
		rules []kube.Rule
	}{
		{file: "rbac.yaml", rules: slices.Concat(podRules(nil, "list", "watch"), testcrRules, eventRules,
			leaseRules(leaseKey{namespace: "podinfolookup", name: "podinfolookup"}.heartbeat(), ""))},
		{file: "rbac-namespace.yaml", rules: slices.Concat(podRules(watched, "list", "watch"), testcrRules, eventRules,
			leaseRules(leaseKey{namespace: "podinfolookup", name: "podinfolookup-default"}, ""),
			leaseRules(leaseKey{namespace: "podinfolookup", name: "podinfolookup-default"}.heartbeat(), ""))},
		{file: "rbac-lookup.yaml", rules: loginRules},
		{file: "rbac-services.yaml", rules: append(serviceRules(nil), rangeRules...)},
		{file: "rbac-nodes.yaml", rules: nodeRules},
		{file: "rbac-owners.yaml", rules: ownerRules(nil, "list", "watch")},
		{file: "rbac-leader.yaml", rules: leaseRules(leaseKey{namespace: "podinfolookup", name: "podinfolookup"}, "")},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			var want []right
			for _, r := range test.rules {
				kind := "ClusterRole"
				if r.Namespace != "" {
					kind = "Role"
				}
				for _, verb := range r.Verbs {
					want = append(want, right{kind, r.Namespace, r.Group, r.Resource, r.Name, verb})
				}
			}
			sorted := cmpopts.SortSlices(func(a, b right) bool { return fmt.Sprint(a) < fmt.Sprint(b) })
			if diff := cmp.Diff(want, rightsOf(t, test.file), sorted); diff != "" {
				t.Errorf("rights (-preflight +manifest):\n%s", diff)
			}
		})
	}
}

func rightsOf(t *testing.T, file string) (rights []right) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "yaml", file))
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(data), "\n---\n") {
		var role rbacv1.ClusterRole // a Role has no more than this
		if err := yaml.Unmarshal([]byte(document), &role); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(role.Kind, "Role") {
			continue
		}
		if role.AggregationRule != nil {
			t.Errorf("%s is made of other roles", role.Name)
		}
		for _, rule := range role.Rules {
			if len(rule.NonResourceURLs) > 0 || len(rule.APIGroups) != 1 || len(rule.Resources) != 1 || len(rule.ResourceNames) > 1 {
				t.Errorf("not one resource: %v", rule)
				continue
			}
			name := strings.Join(rule.ResourceNames, "")
			for _, verb := range rule.Verbs {
				rights = append(rights, right{role.Kind, role.Namespace, rule.APIGroups[0], rule.Resources[0], name, verb})
			}
		}
	}
	return rights
}

func TestOwnerRules(t *testing.T) {
	rulesOf := func(o *options) (of []string) {
		for _, rules := range [][]kube.Rule{rulesFor(o, leaseKey{}, false), verifyRules(o)} {
			for _, r := range rules {
				if r.Manifest == "rbac-owners.yaml" {
					of = append(of, fmt.Sprint(r.Namespace, " ", r.Resource, ".", r.Group, " ", r.Verbs))
				}
			}
		}
		return of
	}
	want := []string{
		"a replicasets.apps [list watch]", "a jobs.batch [list watch]", "b replicasets.apps [list watch]", "b jobs.batch [list watch]",
		"a replicasets.apps [list]", "a jobs.batch [list]", "b replicasets.apps [list]", "b jobs.batch [list]",
	}
	if diff := cmp.Diff(want, rulesOf(&options{namespaces: []string{"a", "b"}, owners: true})); diff != "" {
		t.Errorf("with --owners in two namespaces (-want +got):\n%s", diff)
	}
	if got := rulesOf(&options{}); got != nil {
		t.Errorf("without --owners: %v", got)
	}
}
