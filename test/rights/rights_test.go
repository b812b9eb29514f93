// Package rights_test holds the rights that yaml/ grants to what the program asks
// for in a life that uses everything: no right is missing, and none is idle.
package rights_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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
		name  string
		files []string
		args  []string
		setUp func(*testing.T)
	}{
		{"for all namespaces", []string{"rbac.yaml", "rbac-lookup.yaml", "rbac-leader.yaml"}, nil, func(*testing.T) {}},
		{"for one namespace", []string{"rbac-namespace.yaml", "rbac-lookup.yaml", "rbac-leader.yaml"}, []string{"--namespace=default"}, onlyTheNamespace},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.setUp(t)
			withoutLease(t)
			before := len(env.Requests(t))
			rights := rightsOf(t, test.files...)
			live(t, func() []right { return unused(rights, env.Requests(t)[before:]) }, test.args...)
			// A request that the end of the program has cut is logged a moment later.
			testenv.Eventually(t, func(context.Context) error {
				if idle := unused(rights, env.Requests(t)[before:]); len(idle) > 0 {
					return fmt.Errorf("granted, but never used: %+v", idle)
				}
				return nil
			})
			if wrong := amiss(rights, env.Requests(t)[before:]); len(wrong) > 0 {
				t.Errorf("not granted by %v:\n%s", test.files, strings.Join(wrong, "\n"))
			}
		})
	}
}

// onlyTheNamespace takes away what rbac.yaml grants more than rbac-namespace.yaml.
func onlyTheNamespace(t *testing.T) {
	t.Helper()
	if err := env.Clients.RbacV1().ClusterRoleBindings().Delete(t.Context(), "podinfolookup", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	apply(t, "rbac-namespace.yaml")
	pods := kubernetes.NewForConfigOrDie(env.Config).CoreV1()
	testenv.Eventually(t, func(ctx context.Context) error {
		_, everywhere := pods.Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
		_, here := pods.Pods("default").List(ctx, metav1.ListOptions{})
		if !apierrors.IsForbidden(everywhere) {
			here = errors.Join(here, errors.New("it may still list the Pods of all namespaces"))
		}
		return here
	})
}

// withoutLease deletes the lease of an earlier run, so that there is one to create.
func withoutLease(t *testing.T) {
	t.Helper()
	err := env.Clients.CoordinationV1().Leases("podinfolookup").Delete(t.Context(), "podinfolookup", metav1.DeleteOptions{})
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
