package testenv

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

// equip makes the two users, with what yaml/ has for the program's.
func (e *Env) equip(ctx context.Context) error {
	admin, err := e.AddUser(envtest.User{Name: "tester", Groups: []string{"system:masters", editors}}, &rest.Config{QPS: -1})
	if err != nil {
		return err
	}
	e.AdminConfig = admin.Config()
	e.Clients = kubernetes.NewForConfigOrDie(e.AdminConfig)
	e.Dynamic = dynamic.NewForConfigOrDie(e.AdminConfig)
	e.Extensions = apiextensions.NewForConfigOrDie(e.AdminConfig)
	info, err := e.Clients.Discovery().ServerVersion()
	if err != nil {
		return err
	}
	e.Minor = version.MustParseGeneric(info.GitVersion).Minor()
	if e.AdminKubeconfig, err = e.write("admin.kubeconfig", &clientcmdapi.AuthInfo{
		ClientCertificateData: e.AdminConfig.CertData, ClientKeyData: e.AdminConfig.KeyData,
	}); err != nil {
		return err
	}
	if err := e.ApplyCRD(ctx); err != nil {
		return err
	}
	for _, file := range manifests {
		if err := e.apply(ctx, file); err != nil {
			return err
		}
	}
	if err := e.allowHeartbeats(ctx); err != nil {
		return err
	}
	token, err := e.Clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	e.Config = rest.AnonymousClientConfig(e.AdminConfig)
	e.Config.BearerToken = token.Status.Token
	if e.Kubeconfig, err = e.write("kubeconfig", &clientcmdapi.AuthInfo{Token: token.Status.Token}); err != nil {
		return err
	}
	return e.inForce(ctx)
}

// allowHeartbeats lets the program keep its heartbeats in the namespace default: it runs
// outside of the cluster, and for namespaces that yaml/rbac-namespace.yaml does not name.
func (e *Env) allowHeartbeats(ctx context.Context) error {
	meta := metav1.ObjectMeta{Name: "heartbeats", Namespace: metav1.NamespaceDefault}
	rules := []rbacv1.PolicyRule{{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"get", "create", "update"}}}
	rbac := e.Clients.RbacV1()
	if _, err := rbac.Roles(meta.Namespace).Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := rbac.RoleBindings(meta.Namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account}},
	}, metav1.CreateOptions{})
	return err
}

// AllowOwners grants the program what --owners takes.
func (e *Env) AllowOwners(t *testing.T) {
	t.Helper()
	if err := e.apply(t.Context(), "rbac-owners.yaml"); err != nil {
		t.Fatal(err)
	}
	clients := kubernetes.NewForConfigOrDie(e.Config)
	Eventually(t, func(ctx context.Context) error {
		_, ofReplicaSets := clients.AppsV1().ReplicaSets("").List(ctx, metav1.ListOptions{})
		_, ofJobs := clients.BatchV1().Jobs("").List(ctx, metav1.ListOptions{})
		return errors.Join(ofReplicaSets, ofJobs)
	})
}

// apply applies a manifest of yaml/ as a user does.
func (e *Env) apply(ctx context.Context, file string) error {
	kubectl := exec.CommandContext(ctx, filepath.Join(Root(), ".cluster", "bin", "kubectl"), //nolint:gosec // G204: our own binary
		"--kubeconfig="+e.AdminKubeconfig, "apply", "--server-side", "-f", filepath.Join(Root(), "yaml", file))
	kubectl.Env = []string{"HOME=" + e.Dir}
	if out, err := kubectl.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl apply --server-side -f yaml/%s: %w\n%s", file, err, out)
	}
	return nil
}

// inForce waits until the API server goes by what was applied, which it hears of
// a moment later: the service account may write Testcrs, a cluster-admin may not.
func (e *Env) inForce(ctx context.Context) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "none"}}
	dry := func(ctx context.Context, config *rest.Config) error {
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return err
		}
		_, err = client.Resource(v1.GroupVersionResource).
			Create(ctx, Object(desired.FromPod(pod)), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	var ours, theirs error
	err := wait.PollUntilContextTimeout(ctx, Poll, Patience, true, func(ctx context.Context) (bool, error) {
		ours, theirs = dry(ctx, e.Config), dry(ctx, e.Environment.Config)
		return ours == nil && apierrors.IsForbidden(theirs), nil
	})
	if err != nil {
		return fmt.Errorf("yaml/ is not in force: the service account: %w, a cluster-admin: %w", ours, theirs)
	}
	return nil
}

// write writes a kubeconfig into the folder of the Env.
func (e *Env) write(name string, user *clientcmdapi.AuthInfo) (string, error) {
	path := filepath.Join(e.Dir, name)
	config := Login{Cluster: e.cluster(), User: user}.kubeconfig()
	return path, clientcmd.WriteToFile(*config, path)
}

func (e *Env) cluster() *clientcmdapi.Cluster {
	return &clientcmdapi.Cluster{Server: strings.TrimSuffix(e.AdminConfig.Host, "/"), CertificateAuthorityData: e.AdminConfig.CAData}
}
