package crd_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const labelled = `{"metadata":{"labels":{"by":"somebody"}}}`

// clusterAdmin is the kubeconfig of somebody who may do everything, but is not in
// the escape group.
func clusterAdmin(t *testing.T, name string) string {
	t.Helper()
	return env.User(t, name, "system:masters").Write(t)
}

func testcrsAs(t *testing.T, kubeconfig string, change func(*rest.Config)) dynamic.ResourceInterface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(config)
	}
	return dynamic.NewForConfigOrDie(config).Resource(v1.GroupVersionResource)
}

// testcrOf is the Testcr of a Pod that there is not.
func testcrOf(name string) *unstructured.Unstructured {
	return testenv.Object(desired.FromPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "u"}}))
}

// write is a way to write a Testcr that is there, but for create, which meets none.
type write func(context.Context, dynamic.ResourceInterface, *unstructured.Unstructured) error

var writes = map[string]write{
	"create": func(ctx context.Context, r dynamic.ResourceInterface, _ *unstructured.Unstructured) error {
		_, err := r.Create(ctx, testcrOf("another"), metav1.CreateOptions{})
		return err
	},
	"update": func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error {
		u = u.DeepCopy()
		u.SetResourceVersion("")
		u.SetLabels(map[string]string{"by": "somebody"})
		live, err := r.Get(ctx, u.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		u.SetResourceVersion(live.GetResourceVersion())
		_, err = r.Update(ctx, u, metav1.UpdateOptions{})
		return err
	},
	"patch": func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error {
		_, err := r.Patch(ctx, u.GetName(), types.MergePatchType, []byte(labelled), metav1.PatchOptions{})
		return err
	},
	"delete": func(ctx context.Context, r dynamic.ResourceInterface, u *unstructured.Unstructured) error {
		return r.Delete(ctx, u.GetName(), metav1.DeleteOptions{})
	},
	"deletecollection": func(ctx context.Context, r dynamic.ResourceInterface, _ *unstructured.Unstructured) error {
		return r.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	},
}

func TestAdmission_Writers(t *testing.T) {
	admin := clusterAdmin(t, "root")
	all := []string{"create", "update", "patch", "delete", "deletecollection"}
	tests := []struct {
		name    string
		client  dynamic.ResourceInterface
		may     []string
		mayNot  []string
		refused string // how the refusal begins
	}{
		{name: "our service account", client: testcrsAs(t, env.Kubeconfig, nil), may: []string{"create", "update", "delete"}},
		{name: "a cluster-admin", client: testcrsAs(t, admin, nil), mayNot: all, refused: `"root" may not write Testcrs`},
		{name: "a cluster-admin who takes on the group", client: testcrsAs(t, admin, func(c *rest.Config) {
			c.Impersonate = rest.ImpersonationConfig{UserName: "root", Groups: []string{"podinfolookup:editors"}}
		}), may: all},
		{name: "a cluster-admin as another service account", client: testcrsAs(t, admin, func(c *rest.Config) {
			c.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:podinfolookup:default", Groups: []string{"system:masters"}}
		}), mayNot: all, refused: `"system:serviceaccount:podinfolookup:default" may not write Testcrs`},
	}
	for _, test := range tests {
		for _, verb := range append(test.may, test.mayNot...) {
			t.Run(test.name+" "+verb, func(t *testing.T) {
				resource := env.Dynamic.Resource(v1.GroupVersionResource)
				u, err := resource.Create(t.Context(), testcrOf("nginx"), metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := resource.DeleteCollection(context.WithoutCancel(t.Context()), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
						t.Error(err)
					}
				})
				err = writes[verb](t.Context(), test.client, u)
				if len(test.may) > 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				helpful(t, err, test.refused)
				if got, err := resource.Get(t.Context(), u.GetName(), metav1.GetOptions{}); err != nil || got.GetResourceVersion() != u.GetResourceVersion() {
					t.Errorf("it was written to: %v, %v", got, err)
				}
			})
		}
	}
}

// helpful checks that a refusal says who was refused, and what to do.
func helpful(t *testing.T, err error, begin string) {
	t.Helper()
	if !apierrors.IsForbidden(err) {
		t.Fatalf("error %v, want Forbidden", err)
	}
	for _, want := range []string{
		begin + ", only the service account podinfolookup of the namespace podinfolookup does: change the Pod instead",
		"--as-group=podinfolookup:editors",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// The commands are those of docs/security.md.
func TestAdmission_EscapeGroup(t *testing.T) {
	admin := clusterAdmin(t, "escaping")
	create(t)
	name := "29b36e2c6835dded8a115aee874d1ddc"
	if out, err := kubectlAs(t, admin, "label", "testcr", name, "by=somebody"); err == nil || !strings.Contains(out, "may not write Testcrs") {
		t.Errorf("without the group: %v: %s", err, out)
	}
	as := []string{"--as=escaping", "--as-group=podinfolookup:editors"}
	if out, err := kubectlAs(t, admin, append(as, "label", "testcr", name, "by=somebody")...); err != nil {
		t.Errorf("with the group: %v: %s", err, out)
	}
	for _, more := range [][]string{{"get", "pods", "--all-namespaces"}, {"delete", "-f", "yaml/testcrd.yaml"}} {
		if out, err := kubectlAs(t, admin, append(as, more...)...); err == nil || !strings.Contains(out, "Forbidden") {
			t.Errorf("kubectl %s with the group alone: %v: %s", strings.Join(more, " "), err, out)
		}
	}
}

// The CRD has no subresources now. One that it gets must not be a way around.
func TestAdmission_Subresources(t *testing.T) {
	admin := testcrsAs(t, clusterAdmin(t, "subresources"), nil)
	create(t)
	crds := env.Extensions.ApiextensionsV1().CustomResourceDefinitions()
	update := func(ctx context.Context, subresources *apiextensionsv1.CustomResourceSubresources) {
		crd, err := crds.Get(ctx, "testcrs.stable.example.com", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		crd.Spec.Versions[0].Subresources = subresources
		if _, err := crds.Update(ctx, crd, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	update(t.Context(), &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}})
	t.Cleanup(func() { update(context.WithoutCancel(t.Context()), nil) })
	var err error
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err = admin.Patch(ctx, "29b36e2c6835dded8a115aee874d1ddc", types.MergePatchType, []byte(labelled), metav1.PatchOptions{}, "status")
		if !apierrors.IsForbidden(err) { // it is not served yet, or the API server resets what runs while the CRD changes
			return fmt.Errorf("error %w, want Forbidden", err)
		}
		return nil
	})
	helpful(t, err, `"subresources" may not write Testcrs`)
}

func TestAdmission_CRDDeleted(t *testing.T) {
	admin := clusterAdmin(t, "remover")
	resource := env.Dynamic.Resource(v1.GroupVersionResource)
	for i := range 3 {
		if _, err := resource.Create(t.Context(), testcrOf(fmt.Sprint("pod-", i)), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	out, err := kubectlAs(t, admin, "delete", "-f", filepath.Join("yaml", "testcrd.yaml"), "--timeout=30s")
	if err != nil {
		t.Errorf("kubectl delete: %v: %s", err, out)
	}
	if err := env.ApplyCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, func(ctx context.Context) error {
		list, err := resource.List(ctx, metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d Testcrs are left", len(list.Items))
		}
		return err
	})
	// And the policy holds for the new one.
	_, err = testcrsAs(t, admin, nil).Create(t.Context(), testcrOf("nginx"), metav1.CreateOptions{})
	helpful(t, err, `"remover" may not write Testcrs`)
}
