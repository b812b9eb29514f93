package oracle

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"
)

const someID = "containerd://4F5CA3B2D1E04f5c"

// fullPod has every field that a Testcr contains.
func fullPod() *corev1.Pod {
	yes := true
	began := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600)))
	return &corev1.Pod{
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
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ContainerID: someID}},
		},
	}
}

// TestFactsFor compares the rules with an example that was written by hand from the
// README.
func TestFactsFor(t *testing.T) {
	want := &Facts{
		Spec: map[string]any{
			"podkey": "shop/cart-58f5-x", "podname": "cart-58f5-x", "poduid": "u", "namespace": "shop",
			"podip": "10.0.0.1", "podips": []any{"10.0.0.1", "FD00:0::1", "::1", "junk"}, "hostip": "192.0.2.1",
			"nodename": "node-1", "phase": "Running", "status": "Terminating", "readycontainers": "0/1", "hostnetwork": true, "ready": true, "terminating": true,
			"ownerkind": "ReplicaSet", "ownername": "cart-58f5", "workloadkind": "Deployment", "workloadname": "cart", "workloadproof": "label",
			"serviceaccount": "default", "createdat": "2026-01-02T02:04:05Z", "startedat": "2026-01-02T02:04:05Z",
			"labels": map[string]any{"app": "cart", "empty": "", "pod-template-hash": "58f5"},
			"containers": []any{
				map[string]any{"name": "main", "image": "nginx", "id": someID},
				map[string]any{"name": "first", "kind": "init"},
				map[string]any{"name": "debug", "image": "busybox", "kind": "ephemeral"},
			},
		},
		Labels: map[string]string{
			"app.kubernetes.io/managed-by": "podinfolookup", "stable.example.com/namespace": "shop",
			"stable.example.com/workload": "cart", "stable.example.com/more": "true",
			"ip.stable.example.com/10.0.0.1": "", "ip.stable.example.com/fd00--1": "", "ip.stable.example.com/0--1": "",
			"cid.stable.example.com/4f5ca3b2d1e0": "",
		},
	}
	if diff := cmp.Diff(want, FactsFor(fullPod())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFacts_JSON(t *testing.T) {
	facts := &Facts{}
	if err := json.Unmarshal(FactsFor(fullPod()).JSON(), facts); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(FactsFor(fullPod()), facts); diff != "" {
		t.Errorf("after JSON (-want +got):\n%s", diff)
	}
}

func TestFacts_Validate(t *testing.T) {
	tests := []struct {
		name string
		spec map[string]any
		want string
	}{
		{name: "an empty one"},
		{name: "a full one", spec: FactsFor(fullPod()).Spec},
		{
			name: "a field too many",
			spec: map[string]any{"podkey": "a/b", "color": "red"},
			want: "spec.color is not a field of the CRD",
		},
		{
			name: "another type",
			spec: map[string]any{"ready": "true"},
			want: "spec.ready has another type than in the CRD",
		},
		{
			name: "a time that is none",
			spec: map[string]any{"createdat": "today"},
			want: "spec.createdat has another type than in the CRD",
		},
		{
			name: "another case of letters",
			spec: map[string]any{"PodKey": "a/b"},
			want: "spec.PodKey is not a field of the CRD",
		},
		{
			name: "a container with a field too many",
			spec: map[string]any{"containers": []any{map[string]any{"name": "c", "color": "red"}}},
			want: "spec.containers has another type than in the CRD",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := (&Facts{Spec: test.spec}).Validate(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("error %q, want %q", got, test.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	own := map[string]string{LabelManagedBy: ManagedBy}
	tests := []struct {
		name   string
		labels map[string]string
		spec   map[string]any
		want   Facts
	}{
		{name: "nothing", want: Facts{Spec: map[string]any{}, Labels: map[string]string{}}},
		{
			name:   "empty values count as absent, but for flags",
			labels: own,
			spec: map[string]any{
				"podip": "", "hostip": nil, "labels": map[string]any{}, "podips": []any{}, "truncated": false, "ready": false,
				"containers": []any{map[string]any{"name": "c", "kind": ""}},
			},
			want: Facts{Spec: map[string]any{"ready": false, "containers": []any{map[string]any{"name": "c"}}}, Labels: own},
		},
		{
			name:   "a time in another zone is the same, a fraction of a second is not",
			labels: own,
			spec:   map[string]any{"createdat": "2026-11-23T16:54:38+01:00", "startedat": "2026-11-23T16:54:38.5+01:00"},
			want:   Facts{Spec: map[string]any{"createdat": "2026-11-23T15:54:38Z", "startedat": "2026-11-23T15:54:38.5Z"}, Labels: own},
		},
		{
			name: "labels of three prefixes are the controller's",
			labels: map[string]string{
				"stable.example.com/a": "", "ip.stable.example.com/b": "", "cid.stable.example.com/c": "",
				"team.stable.example.com/d": "", "stable.example.com": "", "app": "",
			},
			want: Facts{
				Spec:   map[string]any{},
				Labels: map[string]string{"stable.example.com/a": "", "ip.stable.example.com/b": "", "cid.stable.example.com/c": ""},
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Read(&metav1.ObjectMeta{Labels: test.labels}, test.spec)
			if diff := cmp.Diff(test.want, got.Facts); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestStored_IsEmptied(t *testing.T) {
	deleted := metav1.NewTime(time.Unix(1, 0))
	content := func(podkey string) map[string]any {
		namespace, name, _ := strings.Cut(podkey, "/")
		return map[string]any{
			"podkey": podkey, "podname": name, "poduid": "", "namespace": namespace,
			"hostnetwork": false, "ready": false, "terminating": true,
		}
	}
	tests := []struct {
		name    string
		podkey  string
		deleted *metav1.Time
		change  func(labels map[string]string, spec map[string]any)
		want    bool
	}{
		{name: "the name of its Pod is left", podkey: "shop/cart", deleted: &deleted, want: true},
		{name: "it has no podkey", deleted: &deleted, want: true},
		{name: "it has the podkey of another Pod", podkey: "shop/other", deleted: &deleted},
		{name: "no finalizer keeps it", podkey: "shop/cart"},
		{
			name: "an IP is left", podkey: "shop/cart", deleted: &deleted,
			change: func(_ map[string]string, spec map[string]any) { spec["podip"] = "10.0.0.1" },
		},
		{
			name: "a label is left", podkey: "shop/cart", deleted: &deleted,
			change: func(labels map[string]string, _ map[string]any) { labels[LabelPrefixIP+"10.0.0.1"] = "" },
		},
		{
			name: "a flag is missing", podkey: "shop/cart", deleted: &deleted,
			change: func(_ map[string]string, spec map[string]any) { delete(spec, "ready") },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := content(test.podkey)
			namespace := spec["namespace"].(string)
			labels := map[string]string{LabelManagedBy: ManagedBy, LabelNamespace: namespace}
			if test.change != nil {
				test.change(labels, spec)
			}
			metadata := &metav1.ObjectMeta{Name: NameFor("shop/cart"), DeletionTimestamp: test.deleted, Labels: labels}
			if got := Read(metadata, spec).IsEmptied(); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}
