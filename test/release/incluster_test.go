package release_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	// secrets is where the kubelet puts the service account into a container.
	secrets = "var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // G101: a path

	// home is the namespace that yaml/ installs into, and the name of what is in it.
	home = "podinfolookup"

	// rotation is how long a new token may lie unread: client-go reads the file each
	// minute. The kubelet replaces it long before the old one runs out.
	rotation = time.Minute + testenv.Patience
)

// TestImage_InCluster runs the program of the image as the kubelet would: its files,
// its user, its arguments, and a token in a file that changes.
func TestImage_InCluster(t *testing.T) {
	t.Parallel()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "bound"}}
	if _, err := env.Clients.CoreV1().Secrets(home).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	old := tokenFor(t, &authenticationv1.BoundObjectReference{Kind: "Secret", APIVersion: "v1", Name: secret.Name})
	files := map[string][]byte{"token": []byte(old), "ca.crt": env.AdminConfig.CAData, "namespace": []byte(home)}
	for name, data := range files {
		mount(t, name, data)
	}
	server, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	namespace := env.Namespace(t, "")
	container := containerOf(t)
	run := inside(t, slices.Concat(container.Args, []string{
		"--bind-address=127.0.0.1:0", "--namespace=" + namespace,
		"--leader-elect-resource-name=podinfolookup", // which yaml/rbac-leader.yaml grants
	})...)
	run.Env = []string{"KUBERNETES_SERVICE_HOST=" + server.Hostname(), "KUBERNETES_SERVICE_PORT=" + server.Port()}
	for _, v := range container.Env {
		run.Env = append(run.Env, v.Name+"="+v.Value)
	}
	program := testenv.Command(t, run.Path)
	run.Stdout, run.Stderr = program.Stdout, program.Stderr
	*program.Cmd() = *run
	program.Start(t).Ready(t)

	createPod(t, namespace, "before")
	written(t, namespace, "before")

	fresh := tokenFor(t, nil)
	mount(t, "token", []byte(fresh))
	takenUp(t, fresh, namespace, "before")
	if err := env.Clients.CoreV1().Secrets(home).Delete(t.Context(), secret.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refused(t, old)
	createPod(t, namespace, "after")
	written(t, namespace, "after")
	if err := program.Running(); err != nil {
		t.Error(err)
	}
}

// containerOf returns the container of yaml/deployment.yaml.
func containerOf(t *testing.T) corev1.Container {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testenv.Root(), "yaml", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := bytes.Cut(data, []byte("\n---\n"))
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(first, &d); err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0]
}

// mount puts a file where the kubelet would, whole at once.
func mount(t *testing.T, name string, data []byte) {
	t.Helper()
	folder := filepath.Join(inside(t).SysProcAttr.Chroot, secrets)
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // G301: the program in it runs as another user
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, ".new"), data, 0o644); err != nil { //nolint:gosec // G306: as above
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, ".new"), filepath.Join(folder, name)); err != nil {
		t.Fatal(err)
	}
}

// tokenFor returns a token of the service account that is valid as long as bound exists.
func tokenFor(t *testing.T, bound *authenticationv1.BoundObjectReference) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: bound}}
	token, err := env.Clients.CoreV1().ServiceAccounts(home).CreateToken(t.Context(), home, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// refused waits until a token is good for nothing any more.
func refused(t *testing.T, token string) {
	t.Helper()
	config := rest.AnonymousClientConfig(env.AdminConfig)
	config.BearerToken = token
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := clients.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
		if !apierrors.IsUnauthorized(err) {
			return fmt.Errorf("the old token: %w", err)
		}
		return nil
	})
}

func createPod(t *testing.T, namespace, name string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
	}
	if _, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// written waits for a Pod's Testcr.
func written(t *testing.T, namespace, name string) {
	t.Helper()
	testcr := v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, name)))
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := env.Dynamic.Resource(v1.GroupVersionResource).Get(ctx, testcr, metav1.GetOptions{})
		return err
	})
}

// takenUp waits until the lease is renewed and Testcrs are written with a token, by the
// audit log. Each client reads the file at times of its own. So that there are writes, it
// changes a Pod again and again.
func takenUp(t *testing.T, token, namespace, pod string) {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ JTI string }
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	uses := func(resource string) bool {
		return slices.ContainsFunc(env.Requests(t), func(r auditv1.Event) bool {
			return r.ObjectRef != nil && r.ObjectRef.Resource == resource && r.ObjectRef.Name != "podinfolookup.heartbeat" &&
				slices.Contains([]string{"create", "update"}, r.Verb) && !strings.Contains(r.RequestURI, "dryRun") &&
				slices.Contains(r.User.Extra["authentication.kubernetes.io/credential-id"], "JTI="+claims.JTI)
		})
	}
	n := 0
	err = wait.PollUntilContextTimeout(t.Context(), time.Second, rotation, true, func(ctx context.Context) (bool, error) {
		n++
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"n":"%d"}}}`, n)
		_, err := env.Clients.CoreV1().Pods(namespace).Patch(ctx, pod, types.MergePatchType, patch, metav1.PatchOptions{})
		return err == nil && uses("leases") && uses("testcrs"), err
	})
	if err != nil {
		t.Fatalf("the new token is not used within %s: %v", rotation, err)
	}
}
