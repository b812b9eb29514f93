package rbac_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/weiyuanke/PodInfoLookup/internal/plugin"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const forwarder = "rbac-forwarder"

// TestPortForwardRole runs kubectl podinfo web as a user who has the Role of
// yaml/rbac-portforward.yaml alone. Without a kubelet each port-forward fails behind the
// check of rights.
func TestPortForwardRole(t *testing.T) {
	apply(t, "rbac-portforward.yaml")
	kubeconfig := env.User(t, forwarder).Write(t)
	web := func() string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code := plugin.Run(t.Context(), []string{"--kubeconfig=" + kubeconfig, "web", "--port=0"},
			genericiooptions.IOStreams{In: strings.NewReader(""), Out: &stdout, ErrOut: &stderr})
		if code != 1 || stdout.Len() > 0 {
			t.Errorf("code %d, standard output %q", code, &stdout)
		}
		return stderr.String()
	}
	const role = "kubectl create rolebinding podinfolookup-portforward-NAME -n podinfolookup --role=podinfolookup-portforward --user=NAME " +
		"(the Role is in yaml/rbac-portforward.yaml, and shows the Pods of all namespaces)\n"
	testenv.Eventually(t, func(context.Context) error { // the binding of another test may be in force yet
		if got := web(); !strings.HasPrefix(got, "Error from server (Forbidden): ") || !strings.HasSuffix(got, role) {
			return fmt.Errorf("without the Role: %q, want %q", got, role)
		}
		return nil
	})
	bindForwarder(t)
	rights := rightsOf(t, "rbac-portforward.yaml")
	testenv.Eventually(t, func(ctx context.Context) error {
		for _, r := range rights {
			if isAllowed, err := forwarderMay(ctx, r); !isAllowed || err != nil {
				return errors.Join(fmt.Errorf("%+v is not allowed", r), err)
			}
		}
		return nil
	})
	if got := web(); !strings.HasPrefix(got, "error: no Pod of PodInfoLookup in namespace podinfolookup: ") {
		t.Errorf("without a replica: %q", got)
	}
	readyReplica(t)
	const allowed = "Error from server (BadRequest): port-forward to Pod podinfolookup/forwarded: pod forwarded does not have a host assigned\n"
	if got := web(); got != allowed {
		t.Errorf("with a replica: %q, want %q", got, allowed)
	}
}

// TestPortForwardRole_Alone asks for what the Role must not grant.
func TestPortForwardRole_Alone(t *testing.T) {
	apply(t, "rbac-portforward.yaml")
	bindForwarder(t)
	ours := rightsOf(t, "rbac-portforward.yaml")
	verbs := []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*"}
	resources := []right{
		{Resource: "pods"}, {Resource: "pods/portforward"}, {Resource: "pods/log"}, {Resource: "pods/exec"}, {Resource: "pods/attach"},
		{Resource: "pods/proxy"}, {Resource: "secrets"}, {Resource: "configmaps"}, {Resource: "services/proxy"}, {Resource: "serviceaccounts/token"},
		{Group: "stable.example.com", Resource: "testcrs"}, {Group: "coordination.k8s.io", Resource: "leases"},
		{Group: rbacv1.GroupName, Resource: "rolebindings"}, {Group: "*", Resource: "*"},
	}
	for _, namespace := range []string{"podinfolookup", "default", metav1.NamespaceAll} {
		for _, r := range resources {
			for _, verb := range verbs {
				r.Verb, r.Namespace = verb, namespace
				isOurs := slices.ContainsFunc(ours, func(o right) bool {
					return o.Verb == r.Verb && o.Namespace == r.Namespace && o.Group == r.Group && o.Resource == r.Resource
				})
				testenv.Eventually(t, func(ctx context.Context) error {
					isAllowed, err := forwarderMay(ctx, r)
					if err == nil && isAllowed != isOurs {
						err = fmt.Errorf("%+v: allowed: %t, want %t", r, isAllowed, isOurs)
					}
					return err
				})
			}
		}
	}
}

// bindForwarder gives the user the Role, for as long as the test runs.
func bindForwarder(t *testing.T) {
	t.Helper()
	bindings := env.Clients.RbacV1().RoleBindings("podinfolookup")
	binding, err := bindings.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "podinfolookup-portforward-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "podinfolookup-portforward"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: forwarder}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bindings.Delete(context.WithoutCancel(t.Context()), binding.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// forwarderMay asks the API server, as the user, whether a right is there.
func forwarderMay(ctx context.Context, r right) (bool, error) {
	config := rest.CopyConfig(env.AdminConfig)
	config.Impersonate = rest.ImpersonationConfig{UserName: forwarder, Groups: []string{"system:authenticated"}}
	resource, subresource, _ := strings.Cut(r.Resource, "/")
	review, err := kubernetes.NewForConfigOrDie(config).AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: resource, Subresource: subresource,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// readyReplica creates a Pod that looks like a ready replica.
func readyReplica(t *testing.T) {
	t.Helper()
	pods := env.Clients.CoreV1().Pods("podinfolookup")
	_, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "forwarded", Labels: map[string]string{"app.kubernetes.io/name": "podinfolookup"}},
		Spec: corev1.PodSpec{ // as the Pod Security of the namespace demands
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{Name: "podinfolookup", Image: "podinfolookup", SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pods.Delete(context.WithoutCancel(t.Context()), "forwarded", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Error(err)
		}
	})
	_, err = pods.Patch(t.Context(), "forwarded", types.MergePatchType,
		[]byte(`{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
}
