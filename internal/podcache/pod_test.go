package podcache

import (
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

func fullPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-5d9f-x", UID: "u", ResourceVersion: "7", CreationTimestamp: metav1.Unix(1_700_000_000, 0),
			Labels: map[string]string{"app": "web", "pod-template-hash": "5d9f"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9f", UID: "o", Controller: new(true),
			}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", ServiceAccountName: "web", HostNetwork: true,
			Containers:     []corev1.Container{{Name: "main", Image: "nginx:1.29"}},
			InitContainers: []corev1.Container{{Name: "init", Image: "busybox"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: "192.0.2.1", PodIP: "10.0.0.13", PodIPs: []corev1.PodIP{{IP: "10.0.0.13"}, {IP: "fd00::d"}},
			StartTime:         new(metav1.Unix(1_700_000_001, 0)),
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://0123456789abcdef"}},
		},
	}
}

func TestTransform(t *testing.T) {
	notUTF8 := fullPod()
	notUTF8.Status.Phase, notUTF8.Spec.Containers[0].Image = "Run\xffning", "\xc3\x28\x00"
	notUTF8.Labels = map[string]string{"\xf0": "a", "\xf1": "b", "\ufffd": "\xfe"}
	tests := []struct {
		name string
		pod  *corev1.Pod
	}{
		{name: "a Pod with every field", pod: fullPod()},
		{name: "an empty Pod", pod: &corev1.Pod{}},
		{name: "a Pod that is not UTF-8", pod: notUTF8},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			apply := transform(&dedup.Pool{}, NewPod)
			want := desired.FromPod(test.pod.DeepCopy())
			once, err := apply(test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, testcrOf(once.(*Pod)), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Testcr (-want +got):\n%s", diff)
			}
			if again, err := apply(once); again != once || err != nil {
				t.Errorf("applied again: %v, %v", again, err)
			}
		})
	}
	t.Run("a tombstone passes unchanged", func(t *testing.T) {
		tombstone := cache.DeletedFinalStateUnknown{Key: "a/b"}
		if got, err := transform(&dedup.Pool{}, NewPod)(tombstone); got != any(tombstone) || err != nil {
			t.Errorf("it becomes %v, %v", got, err)
		}
	})
	t.Run("Pods share strings", func(t *testing.T) {
		apply := transform(&dedup.Pool{}, NewPod)
		var names [2]*byte
		for i := range names {
			pod := fullPod()
			pod.Spec.NodeName = string([]byte("node-1")) // a copy of its own
			obj, err := apply(pod)
			if err != nil {
				t.Fatal(err)
			}
			names[i] = unsafe.StringData(obj.(*Pod).Spec().NodeName) //nolint:gosec // G103: only compared
		}
		if names[0] != names[1] {
			t.Error("each Pod has its own copy of the name of the node")
		}
	})
}

func TestPod_IsTransient(t *testing.T) {
	tests := []struct {
		name string
		edit func(*corev1.Pod)
		want bool
	}{
		{name: "a Pod on a node", edit: func(*corev1.Pod) {}},
		{name: "a Pod without a node", edit: func(p *corev1.Pod) { p.Spec.NodeName = "" }, want: true},
		{name: "a Pod that is terminating", edit: func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, want: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := fullPod()
			test.edit(pod)
			if got := NewPod(pod).IsTransient(); got != test.want {
				t.Errorf("IsTransient = %t, want %t", got, test.want)
			}
		})
	}
}

func TestPod_GetObjectMeta(t *testing.T) {
	want := &metav1.ObjectMeta{Namespace: "shop", Name: "web-5d9f-x", UID: "u", ResourceVersion: "7"}
	pod := NewPod(fullPod())
	if diff := cmp.Diff(metav1.Object(want), pod.GetObjectMeta()); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if key, err := cache.MetaNamespaceKeyFunc(pod); err != nil || key != pod.Key().String() || key != "shop/web-5d9f-x" {
		t.Errorf("the key in the store is %q, %v; Key is %s", key, err, pod.Key())
	}
}
