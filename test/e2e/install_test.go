package e2e_test

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// nginx is the Testcr of the Pod in yaml/pod.yaml.
const nginx = "29b36e2c6835dded8a115aee874d1ddc"

// TestYAML_InstallAndUninstall runs the commands of README.md. The Pods are simulated;
// the program runs beside them, as their service account.
func TestYAML_InstallAndUninstall(t *testing.T) {
	kubectl(t, "delete", "-k", "yaml/", "--ignore-not-found") // the demo leaves the CRD, and its heartbeat
	kubectl(t, "delete", "lease", "-n", "default", "-l", "app.kubernetes.io/managed-by=podinfolookup")
	install(t)
	isSpread(t)
	// A rolling update gets along without a Pod less, and spreads the new ones.
	kubectl(t, "-n", "podinfolookup", "rollout", "restart", "deployment/podinfolookup")
	kubectl(t, "-n", "podinfolookup", "rollout", "status", "deployment/podinfolookup", "--timeout=60s")
	isSpread(t)
	privilegedPodsAreRefused(t)
	viewIsAggregated(t)

	// Uninstalled but for the CRD, all Testcrs stay.
	program := runAsTheAccount(t)
	kubectl(t, "apply", "-f", "yaml/pod.yaml")
	testenv.Eventually(t, func(ctx context.Context) error {
		return command(ctx, ".cluster/bin/kubectl", "get", "testcr", nginx).Run()
	})
	program.Signal(t, syscall.SIGTERM)
	program.Wait(t, testenv.StopWithin)
	const ours = "app.kubernetes.io/name=podinfolookup"
	kubectl(t, "delete", "namespace,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding", "-l", ours)
	kubectl(t, "delete", "role,rolebinding", "-n", "default", "-l", ours)
	kubectl(t, "get", "testcr", nginx)
	if left := leftovers(t.Context(), t); len(left) == 0 {
		t.Error("what is left is not found")
	}

	// Uninstalled as a whole, while the program is at work, nothing stays.
	install(t)
	runAsTheAccount(t)
	kubectl(t, "delete", "-k", "yaml/", "--ignore-not-found")
	kubectl(t, "delete", "-f", "yaml/pod.yaml")
	testenv.Eventually(t, func(ctx context.Context) error {
		if left := leftovers(ctx, t); len(left) > 0 {
			return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
		}
		return nil
	})
}

// install returns once the Pods are ready, which the controller manager had to get
// past the rules for the namespace.
func install(t *testing.T) {
	t.Helper()
	if out := kubectl(t, "apply", "-k", "yaml/"); strings.Contains(out, "Warning") {
		t.Errorf("installed with a warning:\n%s", out)
	}
	kubectl(t, "-n", "podinfolookup", "wait", "--for=condition=Available", "deployment/podinfolookup", "--timeout=60s")
	kubectl(t, "-n", "podinfolookup", "rollout", "status", "deployment/podinfolookup", "--timeout=60s")
	kubectl(t, "-n", "podinfolookup", "wait", "--for=jsonpath={.status.disruptionsAllowed}=1", "poddisruptionbudget/podinfolookup", "--timeout=60s")
}

func isSpread(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error { // old Pods end a moment after an update
		nodes := strings.Fields(kubectl(t, "-n", "podinfolookup", "get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"))
		if len(nodes) != 2 || nodes[0] == nodes[1] {
			return fmt.Errorf("the Pods are on %v, want two nodes", nodes)
		}
		return nil
	})
}

func privilegedPodsAreRefused(t *testing.T) {
	t.Helper()
	out, err := command(t.Context(), ".cluster/bin/kubectl", "-n", "podinfolookup", "run", "privileged", "--image=nginx:1.29", "--privileged").CombinedOutput()
	if refusal := regexp.MustCompile(`(?s)forbidden: violates PodSecurity "restricted:latest".*must not set securityContext.privileged=true`); err == nil || !refusal.Match(out) {
		t.Errorf("a privileged Pod: %v: %s", err, out)
	}
}

// viewIsAggregated checks what docs/security.md says of the role "view".
func viewIsAggregated(t *testing.T) {
	t.Helper()
	kubectl(t, "create", "clusterrolebinding", "e2e-view", "--clusterrole=view", "--user=everywhere")
	kubectl(t, "create", "rolebinding", "e2e-view", "--clusterrole=view", "--user=here", "--namespace=default")
	for _, test := range []struct {
		user, verb string
		want       bool
	}{{"everywhere", "list", true}, {"everywhere", "delete", false}, {"here", "list", false}, {"here", "get", false}} {
		testenv.Eventually(t, func(ctx context.Context) error {
			out, _ := command(ctx, ".cluster/bin/kubectl", "auth", "can-i", test.verb, "testcrs.stable.example.com", "-A", "--as="+test.user).Output()
			if got := strings.TrimSpace(string(out)); (got == "yes") != test.want || (got == "no") == test.want {
				return fmt.Errorf("may %s %s Testcrs: %q, want %t", test.user, test.verb, got, test.want)
			}
			return nil
		})
	}
	kubectl(t, "delete", "clusterrolebinding", "e2e-view")
	kubectl(t, "delete", "rolebinding", "e2e-view", "--namespace=default")
}

// runAsTheAccount runs the program with a token of its service account, as its
// Pods would.
func runAsTheAccount(t *testing.T) *testenv.Program {
	t.Helper()
	token := strings.TrimSpace(kubectl(t, "-n", "podinfolookup", "create", "token", "podinfolookup"))
	admin, err := clientcmd.LoadFromFile(filepath.Join(dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	login := testenv.Login{Cluster: admin.Clusters[admin.Contexts[admin.CurrentContext].Cluster]}
	login.User = admin.AuthInfos[admin.Contexts[admin.CurrentContext].AuthInfo]
	login.User.ClientCertificateData, login.User.ClientKeyData, login.User.Token = nil, nil, token
	program := testenv.Command(t, binary, "--kubeconfig="+login.Write(t), "--bind-address=127.0.0.1:0",
		"--leader-elect", "--leader-elect-resource-namespace=podinfolookup").Start(t).Ready(t)
	testenv.Eventually(t, func(context.Context) error { return program.Stderr.Has("Holding the lease") })
	return program
}

// leftovers searches all objects of all types for anything that is or speaks of
// ours. Only Events may: the API server deletes them after an hour.
func leftovers(ctx context.Context, t *testing.T) (found []string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{} // of types that are deprecated
	client := dynamic.NewForConfigOrDie(config)
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(config).ServerPreferredResources()
	if err != nil {
		return []string{err.Error()} // a group that is just going
	}
	lists = discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list"}}, lists)
	ours := regexp.MustCompile(`(?i)podinfolookup|testcr|stable\.example\.com`)
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.APIResources {
			resource := version.WithResource(list.APIResources[i].Name)
			if resource.Resource == "events" {
				continue
			}
			objects, err := client.Resource(resource).List(ctx, metav1.ListOptions{})
			if err != nil {
				found = append(found, fmt.Sprintf("%s: %v", resource.GroupResource(), err))
				continue
			}
			for j := range objects.Items {
				data, err := objects.Items[j].MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				if ours.Match(data) {
					found = append(found, fmt.Sprintf("%s %s/%s", resource.GroupResource(), objects.Items[j].GetNamespace(), objects.Items[j].GetName()))
				}
			}
		}
	}
	if len(lists) < 10 {
		t.Fatalf("only %d groups are searched", len(lists))
	}
	return found
}
