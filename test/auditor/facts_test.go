package auditor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAPodCallsForItsTestcr holds the rules to an example that was written by
// hand from the README.
func TestAPodCallsForItsTestcr(t *testing.T) {
	yes := true
	began := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600)))
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "cart-58f5-x", UID: "u", CreationTimestamp: began, DeletionTimestamp: &began,
			Labels:          map[string]string{"app": "cart", "pod-template-hash": "58f5", "empty": ""},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "cart-58f5", Controller: &yes}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", HostNetwork: true, ServiceAccountName: "default",
			Containers:     []corev1.Container{{Name: "main", Image: "nginx"}},
			InitContainers: []corev1.Container{{Name: "first"}},
			EphemeralContainers: []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}},
			},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", HostIP: "192.0.2.1", StartTime: &began,
			PodIPs:            []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "FD00:0::1"}, {IP: "::1"}, {IP: "junk"}},
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://4F5CA3B2D1E04f5c"}},
		},
	}
	want := `{"spec":{"podkey":"shop/cart-58f5-x","podname":"cart-58f5-x","poduid":"u","namespace":"shop","podip":"10.0.0.1",` +
		`"podips":["10.0.0.1","FD00:0::1","::1","junk"],"hostip":"192.0.2.1","nodename":"node-1","phase":"Running",` +
		`"hostnetwork":true,"ready":true,"terminating":true,"ownerkind":"ReplicaSet","ownername":"cart-58f5",` +
		`"workloadkind":"Deployment","workloadname":"cart","serviceaccount":"default","createdat":"2026-01-02T02:04:05Z",` +
		`"startedat":"2026-01-02T02:04:05Z","labels":{"app":"cart","empty":"","pod-template-hash":"58f5"},` +
		`"containers":[{"name":"main","image":"nginx","id":"containerd://4F5CA3B2D1E04f5c"},{"name":"first","kind":"init"},` +
		`{"name":"debug","image":"busybox","kind":"ephemeral"}]},` +
		`"labels":{"app.kubernetes.io/managed-by":"podinfolookup","cid.stable.example.com/4f5ca3b2d1e0":"",` +
		`"ip.stable.example.com/0--1":"","ip.stable.example.com/10.0.0.1":"","ip.stable.example.com/fd00--1":"",` +
		`"stable.example.com/more":"true","stable.example.com/namespace":"shop","stable.example.com/workload":"cart"}}`
	if diff := cmp.Diff(want, expect(pod).text); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
