// Package verify_test runs `podinfolookup verify` against a real API server,
// beside the controller or without it.
package verify_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// verifyWithin is how long one comparison may take on a loaded machine, with the
// default --settle.
const verifyWithin = 2 * time.Minute

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

// verify starts the command with the flags.
func verify(t *testing.T, args ...string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, binary, append([]string{"verify"}, args...)...).Start(t)
}

// startController runs the program for one namespace until it is ready.
func startController(t *testing.T, namespace string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, binary, "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace, "--bind-address=127.0.0.1:0").Start(t).Ready(t)
}

// user is a kubeconfig for somebody new with these rights, everywhere.
func user(t *testing.T, name string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	name += "-" + utilrand.String(5) // a test may run again on the same API server
	login := env.User(t, name)
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}
	if _, err := env.Clients.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Clients.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return login.Write(t)
}

var (
	listPods    = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}
	listTestcrs = rbacv1.PolicyRule{APIGroups: []string{"stable.example.com"}, Resources: []string{"testcrs"}, Verbs: []string{"list"}}
)

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName:           "node-1",
			ServiceAccountName: "default",
			Containers:         []corev1.Container{{Name: "main", Image: "main:1"}},
			InitContainers:     []corev1.Container{{Name: "first", Image: "first:1"}},
		},
	}
}

// createPod also does what a kubelet does once the Pod runs.
func createPod(ctx context.Context, namespace, name string, number int) error {
	pods := env.Clients.CoreV1().Pods(namespace)
	pod, err := pods.Create(ctx, newPod(name), metav1.CreateOptions{})
	if err != nil {
		return err
	}
	setRunning(pod, number)
	_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

func setRunning(pod *corev1.Pod, number int) {
	ip := fmt.Sprintf("10.%d.%d.%d", number>>16&255, number>>8&255, number&255)
	pod.Status.Phase, pod.Status.HostIP, pod.Status.PodIP = corev1.PodRunning, "192.0.2.1", ip
	pod.Status.PodIPs = []corev1.PodIP{{IP: ip}, {IP: fmt.Sprintf("fd00::%x", number+1)}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: fmt.Sprintf("containerd://%064x", number+1)}}
}

func deletePod(ctx context.Context, namespace, name string) error {
	return env.Clients.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
}

func testcrs() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

func nameFor(namespace, pod string) string {
	return v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, pod)))
}

// change writes the Testcr of a Pod as f leaves it.
func change(t *testing.T, namespace, pod string, f func(u *unstructured.Unstructured, spec map[string]any)) {
	t.Helper()
	u, err := testcrs().Get(t.Context(), nameFor(namespace, pod), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f(u, u.Object["spec"].(map[string]any))
	if _, err := testcrs().Update(t.Context(), u, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
