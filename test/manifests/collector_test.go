package manifests_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const collector = "system:serviceaccount:kube-system:generic-garbage-collector"

// collect runs the garbage collector of a real kube-controller-manager.
func collect(t *testing.T, kubeconfig string, args ...string) *testenv.Program {
	t.Helper()
	manager := filepath.Join(testenv.Root(), ".cluster", "bin", "kube-controller-manager")
	return testenv.Command(t, manager, append([]string{
		"--kubeconfig=" + kubeconfig, "--controllers=garbage-collector-controller", "--leader-elect=false", "--secure-port=0",
	}, args...)...).Start(t)
}

func TestAdmission_GarbageCollector(t *testing.T) {
	const manager = "system:kube-controller-manager"
	tests := []struct {
		name       string
		kubeconfig string
		own        string // whether each controller has credentials of its own
	}{
		{"a service account for each controller", env.User(t, manager).Write(t), "true"},
		// The roles of the manager are not enough then.
		{"one user for all controllers", env.User(t, manager, "system:masters").Write(t), "false"},
	}
	admin := clusterAdmin(t, "cascading")
	resource := env.Dynamic.Resource(v1.GroupVersionResource)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := collect(t, test.kubeconfig, "--use-service-account-credentials="+test.own)
			for _, cascade := range []string{"foreground", "orphan", "background"} {
				t.Run(cascade, func(t *testing.T) {
					u, err := resource.Create(t.Context(), testcrOf("cascade-"+cascade+"-"+test.own), metav1.CreateOptions{})
					if err != nil {
						t.Fatal(err)
					}
					out, err := kubectlAs(t, admin, "--as=cascading", "--as-group=podinfolookup:editors",
						"delete", "testcr", u.GetName(), "--cascade="+cascade, "--wait=false")
					if err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					testenv.Eventually(t, func(ctx context.Context) error {
						if err := p.Running(); err != nil {
							t.Fatal(err)
						}
						u, err := resource.Get(ctx, u.GetName(), metav1.GetOptions{})
						if err == nil {
							return errors.New("it is kept by " + strings.Join(u.GetFinalizers(), ", "))
						}
						return ignoreNotFound(err)
					})
				})
			}
		})
	}
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// TestAdmission_KubernetesOwnWork: the collector may do what it must and no more,
// and an update that changes nothing, as a storage migration sends, is nobody's.
func TestAdmission_KubernetesOwnWork(t *testing.T) {
	patched := func(patch string) write {
		return func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error {
			_, err := r.Patch(ctx, u.GetName(), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			return err
		}
	}
	unchanged := func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error {
		live, err := r.Get(ctx, u.GetName(), metav1.GetOptions{})
		if err == nil {
			_, err = r.Update(ctx, live, metav1.UpdateOptions{})
		}
		return err
	}
	applied := func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error { // as the migrator does
		same := &unstructured.Unstructured{Object: map[string]any{"apiVersion": u.GetAPIVersion(), "kind": u.GetKind()}}
		same.SetName(u.GetName())
		same.SetUID(u.GetUID())
		same.SetResourceVersion(u.GetResourceVersion())
		_, err := r.Apply(ctx, u.GetName(), same, metav1.ApplyOptions{FieldManager: "storage-version-migrator-controller"})
		return err
	}
	const owner = `{"apiVersion":"v1","kind":"Node","name":"n","uid":"u"}`
	tests := []struct {
		name  string
		user  string
		write write
		may   bool
	}{
		{"the collector deletes", collector, writes["delete"], true},
		{"the collector takes a finalizer", collector, patched(`{"metadata":{"finalizers":null}}`), true},
		{"the collector changes owners", collector, patched(`{"metadata":{"ownerReferences":[` + owner + `]}}`), true},
		{"the collector creates", collector, writes["create"], false},
		{"the collector changes a label", collector, patched(labelled), false},
		{"the collector changes an annotation", collector, patched(`{"metadata":{"annotations":{"a":"b"}}}`), false},
		{"the collector changes the spec", collector, patched(`{"spec":{"podip":"10.9.9.9"}}`), false},
		{"the collector changes the spec beside a finalizer", collector, patched(`{"metadata":{"finalizers":null},"spec":{"ready":true}}`), false},
		{"the manager takes a finalizer", "system:kube-controller-manager", patched(`{"metadata":{"finalizers":null}}`), true},
		{"a migrator updates", "system:serviceaccount:kube-storage-migration:default", unchanged, true},
		{"a migrator applies", "system:serviceaccount:kube-system:storage-version-migrator-controller", applied, true},
		{"a migrator takes a finalizer", "system:serviceaccount:kube-system:storage-version-migrator-controller",
			patched(`{"metadata":{"finalizers":null}}`), false},
		{"a migrator changes owners", "migrator", patched(`{"metadata":{"ownerReferences":[` + owner + `]}}`), false},
		{"a migrator changes the spec", "migrator", patched(`{"spec":{"podip":"10.9.9.9"}}`), false},
		{"a migrator deletes", "migrator", writes["delete"], false},
	}
	admin := clusterAdmin(t, "kubernetes")
	resource := env.Dynamic.Resource(v1.GroupVersionResource)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := testcrsAs(t, admin, func(c *rest.Config) {
				c.Impersonate = rest.ImpersonationConfig{UserName: test.user, Groups: []string{"system:masters"}}
			})
			held := testcrOf("nginx")
			held.SetFinalizers([]string{"example.com/hold"})
			u, err := resource.Create(t.Context(), held, metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				ctx := context.WithoutCancel(t.Context())
				if _, err := resource.Patch(ctx, u.GetName(), types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
					t.Error(err)
				}
				if err := resource.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
					t.Error(err)
				}
			})
			err = test.write(t.Context(), client, u)
			if test.may && err != nil {
				t.Error(err)
			}
			if !test.may {
				helpful(t, err, `"`+test.user+`" may not write Testcrs`)
			}
		})
	}
}
