// Package rbac_test holds the rights that yaml/ grants to what the program asks
// for in a life that uses everything: no right is missing, and none is idle.
package rbac_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

// One case after another: they are about one and the same service account.
func TestEachRightIsUsedAndNoneIsMissing(t *testing.T) {
	tests := []struct {
		name       string
		files      []string
		args       []string
		lease      string
		everywhere bool // it may read the Pods of all namespaces
	}{
		{"for one namespace", []string{"rbac-namespace.yaml"}, []string{"--namespace=default"}, "podinfolookup-default", false},
		{"for all namespaces", []string{"rbac.yaml", "rbac-leader.yaml"}, nil, "podinfolookup", true},
		{
			"with owners, Services and nodes", []string{"rbac.yaml", "rbac-leader.yaml", "rbac-owners.yaml", "rbac-services.yaml", "rbac-nodes.yaml"},
			[]string{"--owners", "--services", "--nodes"}, "podinfolookup", true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			grantOnly(t, test.files, test.everywhere)
			withoutLease(t, test.lease)
			before := len(env.Requests(t))
			rights := rightsOf(t, append([]string{"rbac-lookup.yaml"}, test.files...)...)
			live(t, func() []right { return unused(rights, env.Requests(t)[before:]) }, test.lease, test.args...)
			// A request that the end of the program has cut is logged a moment later.
			testenv.Eventually(t, func(context.Context) error {
				if idle := unused(rights, env.Requests(t)[before:]); len(idle) > 0 {
					return fmt.Errorf("granted, but never used: %+v", idle)
				}
				return nil
			})
			if wrong := amiss(rights, env.Requests(t)[before:]); len(wrong) > 0 {
				t.Errorf("not granted by %v of yaml/:\n%s", test.files, strings.Join(wrong, "\n"))
			}
		})
	}
}

// grantOnly applies the files that grant the right to read Pods everywhere or in
// one namespace, and takes away what the others grant.
func grantOnly(t *testing.T, files []string, everywhere bool) {
	t.Helper()
	rbac := env.Clients.RbacV1()
	for _, err := range []error{
		rbac.ClusterRoleBindings().Delete(t.Context(), "podinfolookup", metav1.DeleteOptions{}),
		rbac.ClusterRoleBindings().Delete(t.Context(), "podinfolookup-testcrs", metav1.DeleteOptions{}),
		rbac.ClusterRoleBindings().Delete(t.Context(), "podinfolookup-owners", metav1.DeleteOptions{}),
		rbac.RoleBindings("default").Delete(t.Context(), "podinfolookup", metav1.DeleteOptions{}),
	} {
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	pods := kubernetes.NewForConfigOrDie(env.Config).CoreV1()
	inForce := func(want bool, namespace string) {
		t.Helper()
		testenv.Eventually(t, func(ctx context.Context) error {
			_, err := pods.Pods(namespace).List(ctx, metav1.ListOptions{})
			if !want && err == nil {
				return fmt.Errorf("it may still list the Pods of %q", namespace)
			}
			if !want && apierrors.IsForbidden(err) {
				return nil
			}
			return err
		})
	}
	inForce(false, "default")
	for _, file := range files {
		apply(t, file)
	}
	inForce(true, "default")
	inForce(everywhere, metav1.NamespaceAll)
	jobs := kubernetes.NewForConfigOrDie(env.Config).BatchV1().Jobs(metav1.NamespaceAll)
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := jobs.List(ctx, metav1.ListOptions{})
		if slices.Contains(files, "rbac-owners.yaml") || err != nil && !apierrors.IsForbidden(err) {
			return err
		}
		if err == nil {
			return errors.New("it may still list Jobs")
		}
		return nil
	})
}

// Without yaml/rbac-owners.yaml the flag --owners ends the program at its start.
func TestOwnersWithoutTheirRights(t *testing.T) {
	grantOnly(t, []string{"rbac.yaml", "rbac-leader.yaml"}, true)
	const rights = "list replicasets.apps, watch replicasets.apps, list jobs.batch, watch jobs.batch"
	tests := []struct {
		name string
		args []string
		want string
	}{
		{
			name: "the program", args: []string{"--bind-address="},
			want: "podinfolookup: forbidden: this user may not " + rights +
				": kubectl apply -f yaml/rbac-owners.yaml and use its service account, or grant these rules\n",
		},
		{
			name: "verify", args: []string{"verify"},
			want: "podinfolookup verify: forbidden: this user may not list replicasets.apps, list jobs.batch" +
				": kubectl apply -f yaml/rbac-owners.yaml and use its service account, or grant these rules\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := testenv.Command(t, binary, append(test.args, "--kubeconfig="+env.Kubeconfig, "--owners")...).Start(t)
			if code := p.Wait(t, testenv.StopWithin); code == 0 {
				t.Error("exit code 0")
			}
			if diff := cmp.Diff(test.want, p.Stderr.String()); diff != "" {
				t.Errorf("standard error (-want +got):\n%s", diff)
			}
		})
	}
}

// withoutLease deletes the lease of an earlier run, so that there is one to create.
func withoutLease(t *testing.T, name string) {
	t.Helper()
	err := env.Clients.CoordinationV1().Leases("podinfolookup").Delete(t.Context(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

func apply(t *testing.T, file string) {
	t.Helper()
	kubectl := exec.CommandContext(t.Context(), filepath.Join(testenv.Root(), ".cluster", "bin", "kubectl"),
		"apply", "--server-side", "-f", filepath.Join(testenv.Root(), "yaml", file))
	kubectl.Env = []string{"HOME=" + t.TempDir(), "KUBECONFIG=" + env.AdminKubeconfig}
	if out, err := kubectl.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
