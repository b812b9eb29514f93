package crd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// kubectl runs kubectl as the test's own user and returns what it prints.
func kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return kubectlAs(t, env.AdminKubeconfig, args...)
}

func kubectlAs(t *testing.T, kubeconfig string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(testenv.Root(), ".cluster", "bin", "kubectl"), args...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + t.TempDir()}
	cmd.Dir = testenv.Root()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustKubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := kubectl(t, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// files are the manifests of yaml/, without the kustomization.
func files(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testenv.Root(), "yaml", "*.yaml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("yaml/ has %d manifests, %v", len(files), err)
	}
	return slices.DeleteFunc(files, func(file string) bool { return filepath.Base(file) == "kustomization.yaml" })
}

// The namespace that they are for is there, and warns of Pods that it would refuse.
func TestManifests_AcceptedStrictly(t *testing.T) {
	sources := [][]string{{"-k", "yaml/"}}
	for _, file := range files(t) {
		sources = append(sources, []string{"-f", "yaml/" + filepath.Base(file)})
	}
	for _, source := range sources {
		t.Run(strings.Join(source, " "), func(t *testing.T) {
			args := append([]string{"apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"}, source...)
			if out := mustKubectl(t, args...); strings.Contains(out, "Warning") {
				t.Errorf("accepted with a warning:\n%s", out)
			}
		})
	}
}

func TestManifests_Kustomization(t *testing.T) {
	var want []string
	for _, file := range files(t) {
		// A Pod to try it with, the rights for one namespace alone, and those of flags.
		if !slices.Contains([]string{"pod.yaml", "rbac-namespace.yaml", "rbac-owners.yaml", "rbac-services.yaml", "rbac-nodes.yaml"}, filepath.Base(file)) {
			want = append(want, objects(t, mustKubectl(t, "create", "--dry-run=client", "-o=json", "-f", file))...)
		}
	}
	got := objects(t, mustKubectl(t, "create", "--dry-run=client", "-o=json", "-k", "yaml/"))
	labelled := objects(t, mustKubectl(t, "create", "--dry-run=client", "-o=json", "-k", "yaml/", "-l", "app.kubernetes.io/name=podinfolookup"))
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-files +kustomization):\n%s", diff)
	}
	if diff := cmp.Diff(want, labelled); diff != "" {
		t.Errorf("objects with the label (-want +got):\n%s", diff)
	}
}

// objects names the objects that kubectl has printed as JSON, one after another,
// in order.
func objects(t *testing.T, out string) (names []string) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(out))
	for decoder.More() {
		var u unstructured.Unstructured
		if err := decoder.Decode(&u.Object); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		all := []unstructured.Unstructured{u}
		if u.IsList() {
			list, err := u.ToList()
			if err != nil {
				t.Fatal(err)
			}
			all = list.Items
		}
		for i := range all {
			names = append(names, strings.Join([]string{all[i].GetKind(), all[i].GetNamespace(), all[i].GetName()}, "/"))
		}
	}
	slices.Sort(names)
	return names
}

func TestCRD_Schema(t *testing.T) {
	crd, err := testenv.CRD()
	if err != nil {
		t.Fatal(err)
	}
	fields := sets.New[string]()
	for _, f := range crd.Spec.Versions[0].SelectableFields {
		fields.Insert(f.JSONPath)
	}
	want := sets.New(".spec.podkey", ".spec.podname", ".spec.poduid", ".spec.podip", ".spec.namespace", ".spec.nodename", ".spec.hostip", ".spec.phase")
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("selectable fields (-want +got):\n%s", diff)
	}
	if len(crd.Spec.Names.Categories) > 0 {
		t.Errorf("it is in the categories %v", crd.Spec.Names.Categories)
	}
	// Every field has a description. The API server publishes the schema a moment
	// after the CRD is established.
	var out string
	testenv.Eventually(t, func(context.Context) (err error) {
		if out, err = kubectl(t, "explain", "testcr.spec"); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
	if strings.Contains(out, "<no description>") {
		t.Errorf("kubectl explain has gaps:\n%s", out)
	}
	for _, field := range []string{"podip", "containers", "workloadname"} {
		if explained := mustKubectl(t, "explain", "testcr.spec."+field); !strings.Contains(explained, "DESCRIPTION:") {
			t.Errorf("kubectl explain testcr.spec.%s:\n%s", field, explained)
		}
	}
	create(t)
	header := func(args ...string) []string {
		first, _, _ := strings.Cut(mustKubectl(t, append([]string{"get", "tc"}, args...)...), "\n")
		return strings.Fields(first)
	}
	if diff := cmp.Diff([]string{"NAME", "POD", "IP", "NODE", "PHASE", "STATUS", "AGE"}, header()); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"NAME", "POD", "IP", "NODE", "PHASE", "STATUS", "AGE", "READY", "RESTARTS", "HOST-IP", "WORKLOAD", "UID"}, header("-o", "wide")); diff != "" {
		t.Errorf("wide columns (-want +got):\n%s", diff)
	}
	for _, selector := range []string{
		"spec.podkey=default/nginx", "spec.podname=nginx", "spec.poduid=u1", "spec.podip=10.0.0.7",
		"spec.namespace=default", "spec.nodename=node-7", "spec.hostip=192.0.2.7", "spec.phase=Running",
	} {
		if out := mustKubectl(t, "get", "testcrs", "-o", "name", "--field-selector", selector); strings.Count(out, "testcr.stable.example.com/") != 1 {
			t.Errorf("--field-selector %s finds %q", selector, out)
		}
	}
}

// create makes the Testcr of a running Pod.
func create(t *testing.T) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx", UID: "u1"}}
	pod.Spec.NodeName = "node-7"
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.7", HostIP: "192.0.2.7"}
	resource := env.Dynamic.Resource(v1.GroupVersionResource)
	if _, err := resource.Create(t.Context(), testenv.Object(desired.FromPod(pod)), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		name := desired.FromPod(pod).Name
		if err := resource.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}
