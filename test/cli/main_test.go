// Package cli_test runs the built program against a real API server.
package cli_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

// command is a run of the program on a free port that has yet to be started.
func command(t *testing.T, args ...string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, binary, append([]string{"--bind-address=127.0.0.1:0"}, args...)...)
}

// start runs the program for one namespace until it is ready.
func start(t *testing.T, namespace string, args ...string) *testenv.Program {
	t.Helper()
	args = append([]string{"--kubeconfig=" + env.Kubeconfig, "--namespace=" + namespace}, args...)
	return command(t, args...).Start(t).Ready(t)
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

func deletePod(t *testing.T, namespace, name string) {
	t.Helper()
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := env.Clients.CoreV1().Pods(namespace).Delete(t.Context(), name, options); err != nil {
		t.Fatal(err)
	}
}

// startPod does what a kubelet does once the Pod runs.
func startPod(t *testing.T, namespace, name, ip string) {
	t.Helper()
	pods := env.Clients.CoreV1().Pods(namespace)
	pod, err := pods.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// hasTestcr waits for the Testcr of a Pod, or for its absence.
func hasTestcr(t *testing.T, namespace, name string, want bool) {
	t.Helper()
	testcr := v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, name)))
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := env.Dynamic.Resource(v1.GroupVersionResource).Get(ctx, testcr, metav1.GetOptions{})
		if !want && err == nil {
			return fmt.Errorf("the Testcr of %s/%s is still there", namespace, name)
		}
		if !want && apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// kubeconfigParts is a kubeconfig with the context "test" that is cut down.
type kubeconfigParts struct{ clientcmdapi.Config }

func (k *kubeconfigParts) onlyCluster() {
	k.AuthInfos, k.Contexts, k.CurrentContext = nil, nil, ""
}

func (k *kubeconfigParts) allButCluster() { k.Clusters = nil }

func (k *kubeconfigParts) nowhere() { k.Clusters["test"].Server = "https://127.0.0.1:1" }

func (k *kubeconfigParts) notCurrent() {
	k.Clusters["other"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	k.Contexts["other"] = &clientcmdapi.Context{Cluster: "other"}
	k.CurrentContext = "other"
}
