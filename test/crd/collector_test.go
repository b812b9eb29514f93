package crd_test

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
		{name: "a service account for each controller", kubeconfig: env.User(t, manager).Write(t), own: "true"},
		// The roles of the manager are not enough then.
		{name: "one user for all controllers", kubeconfig: env.User(t, manager, "system:masters").Write(t), own: "false"},
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
		{name: "the collector deletes", user: collector, write: writes["delete"], may: true},
		{name: "the collector takes a finalizer", user: collector, write: patched(`{"metadata":{"finalizers":null}}`), may: true},
		{name: "the collector changes owners", user: collector, write: patched(`{"metadata":{"ownerReferences":[` + owner + `]}}`), may: true},
		{name: "the collector creates", user: collector, write: writes["create"]},
		{name: "the collector changes a label", user: collector, write: patched(labelled)},
		{name: "the collector changes an annotation", user: collector, write: patched(`{"metadata":{"annotations":{"a":"b"}}}`)},
		{name: "the collector changes the spec", user: collector, write: patched(`{"spec":{"podip":"10.9.9.9"}}`)},
		{name: "the collector changes the spec beside a finalizer", user: collector, write: patched(`{"metadata":{"finalizers":null},"spec":{"ready":true}}`)},
		{name: "the manager takes a finalizer", user: "system:kube-controller-manager", write: patched(`{"metadata":{"finalizers":null}}`), may: true},
		{name: "a migrator updates", user: "system:serviceaccount:kube-storage-migration:default", write: unchanged, may: true},
		{name: "a migrator applies", user: "system:serviceaccount:kube-system:storage-version-migrator-controller", write: applied, may: true},
		{name: "a migrator takes a finalizer", user: "system:serviceaccount:kube-system:storage-version-migrator-controller",
			write: patched(`{"metadata":{"finalizers":null}}`)},
		{name: "a migrator changes owners", user: "migrator", write: patched(`{"metadata":{"ownerReferences":[` + owner + `]}}`)},
		{name: "a migrator changes the spec", user: "migrator", write: patched(`{"spec":{"podip":"10.9.9.9"}}`)},
		{name: "a migrator deletes", user: "migrator", write: writes["delete"]},
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
