package rbac_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// right is one verb on one resource, as a role grants it.
type right struct {
	Role, Namespace       string // no namespace for a ClusterRole
	Verb, Group, Resource string
	Name                  string // of the only object that it is for; "" is any
}

// rightsOf reads the roles of manifests.
func rightsOf(t *testing.T, files ...string) (rights []right) {
	t.Helper()
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(testenv.Root(), "yaml", file))
		if err != nil {
			t.Fatal(err)
		}
		documents := utilyaml.NewYAMLToJSONDecoder(bytes.NewReader(data))
		for {
			var role rbacv1.Role // a ClusterRole of ours has no more than this
			if err := documents.Decode(&role); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if strings.HasSuffix(role.Kind, "Role") {
				rights = append(rights, rightsIn(&role)...)
			}
		}
	}
	return rights
}

func rightsIn(role *rbacv1.Role) (rights []right) {
	for _, rule := range role.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					names := rule.ResourceNames
					if len(names) == 0 {
						names = []string{""}
					}
					for _, name := range names {
						rights = append(rights, right{role.Name, role.Namespace, verb, group, resource, name})
					}
				}
			}
		}
	}
	return rights
}

// covers tells whether the right is one to make the request.
func (r *right) covers(request *auditv1.Event) bool {
	of := request.ObjectRef
	if of == nil {
		return false
	}
	resource := of.Resource
	if of.Subresource != "" {
		resource += "/" + of.Subresource
	}
	return request.Verb == r.Verb && of.APIGroup == r.Group && resource == r.Resource &&
		(r.Namespace == "" || r.Namespace == of.Namespace) && (r.Name == "" || r.Name == of.Name)
}

// unused returns the rights that none of the requests takes.
func unused(rights []right, requests []auditv1.Event) (out []right) {
	for _, r := range rights {
		if !slices.ContainsFunc(requests, func(request auditv1.Event) bool { return r.covers(&request) }) {
			out = append(out, r)
		}
	}
	return out
}

// amiss returns the requests that were refused for want of a right, and those
// that were let through by another right than ours and those of everybody:
// system:basic-user to ask for one's own rights, as the program does before it
// starts, system:discovery and system:public-info-viewer to learn what is served.
func amiss(rights []right, requests []auditv1.Event) (out []string) {
	for i := range requests {
		request := &requests[i]
		decision, reason := request.Annotations["authorization.k8s.io/decision"], request.Annotations["authorization.k8s.io/reason"]
		everybodys := slices.ContainsFunc([]string{"system:basic-user", "system:discovery", "system:public-info-viewer"}, func(binding string) bool {
			return strings.HasPrefix(reason, `RBAC: allowed by ClusterRoleBinding "`+binding+`"`)
		})
		ours := slices.ContainsFunc(rights, func(r right) bool { return r.covers(request) })
		if decision != "allow" || !ours && !everybodys {
			out = append(out, strings.Join([]string{decision, request.Verb, request.RequestURI, reason}, " "))
		}
	}
	return out
}
