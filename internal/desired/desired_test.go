package desired

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired/desiredtest"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// webPod returns a Pod of a Deployment as Kubernetes makes it, with two regular
// containers and one of each other kind. No status is at the place of its container.
func webPod() *corev1.Pod {
	done := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-5d9f-x2x4z", UID: "u-1",
			CreationTimestamp: metav1.Unix(1_700_000_000, 0),
			Labels:            map[string]string{"app": "web", "pod-template-hash": "5d9f"},
			Annotations:       map[string]string{"note": "x"},
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d9f", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", ServiceAccountName: "web", HostNetwork: true,
			Containers:     []corev1.Container{{Name: "main", Image: "nginx:1"}, {Name: "proxy", Image: "envoy:1"}},
			InitContainers: []corev1.Container{{Name: "fetch", Image: "curl:1"}, {Name: "migrate", Image: "sql:1"}},
			EphemeralContainers: []corev1.EphemeralContainer{
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "shell", Image: "busybox:1"}},
				{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "dump", Image: "tcpdump:1"}},
			},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: "192.0.2.1", PodIP: "10.0.0.7",
			PodIPs:    []corev1.PodIP{{IP: "10.0.0.7"}, {IP: "fd00::7"}},
			StartTime: new(metav1.Unix(1_700_000_005, 0)),
			Conditions: []corev1.PodCondition{
				{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
			},
			ContainerStatuses:          []corev1.ContainerStatus{{Name: "proxy", ContainerID: "c://b"}, {Name: "main", ContainerID: "c://a"}},
			InitContainerStatuses:      []corev1.ContainerStatus{{Name: "migrate", ContainerID: "c://d", State: done}, {Name: "fetch", ContainerID: "c://c", State: done}},
			EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "dump", ContainerID: "c://f"}, {Name: "shell", ContainerID: "c://e"}},
		},
	}
}

func webSpec() v1.TestcrSpec {
	return v1.TestcrSpec{
		PodKey: "shop/web-5d9f-x2x4z", PodName: "web-5d9f-x2x4z", PodUID: "u-1", Namespace: "shop",
		PodIP: "10.0.0.7", PodIPs: []string{"10.0.0.7", "fd00::7"}, HostIP: "192.0.2.1", NodeName: "node-1", Phase: "Running",
		HostNetwork: true, Ready: true,
		OwnerKind: "ReplicaSet", OwnerName: "web-5d9f", WorkloadKind: "Deployment", WorkloadName: "web", WorkloadProof: "label", ServiceAccount: "web",
		Status: "Running", ReadyContainers: "0/2",
		CreatedAt: metav1.Unix(1_700_000_000, 0), StartedAt: metav1.Unix(1_700_000_005, 0),
		Labels: map[string]string{"app": "web", "pod-template-hash": "5d9f"},
		Containers: []v1.Container{
			{Name: "main", Image: "nginx:1", ID: "c://a"}, {Name: "proxy", Image: "envoy:1", ID: "c://b"},
			{Name: "fetch", Image: "curl:1", ID: "c://c", Kind: "init"}, {Name: "migrate", Image: "sql:1", ID: "c://d", Kind: "init"},
			{Name: "shell", Image: "busybox:1", ID: "c://e", Kind: "ephemeral"}, {Name: "dump", Image: "tcpdump:1", ID: "c://f", Kind: "ephemeral"},
		},
	}
}

func TestSpec(t *testing.T) {
	tests := []struct {
		name      string
		change    func(*corev1.Pod)
		wantAfter func(*v1.TestcrSpec)
	}{
		{name: "the whole Pod", change: func(*corev1.Pod) {}, wantAfter: func(*v1.TestcrSpec) {}},
		{
			name:      "podips falls back to podIP",
			change:    func(p *corev1.Pod) { p.Status.PodIPs = nil },
			wantAfter: func(s *v1.TestcrSpec) { s.PodIPs = []string{"10.0.0.7"} },
		},
		{
			name:      "no IP at all",
			change:    func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil },
			wantAfter: func(s *v1.TestcrSpec) { s.PodIP, s.PodIPs = "", nil },
		},
		{
			name:   "an owner that is no controller does not count",
			change: func(p *corev1.Pod) { p.OwnerReferences[0].Controller = nil },
			wantAfter: func(s *v1.TestcrSpec) {
				s.OwnerKind, s.OwnerName, s.WorkloadKind, s.WorkloadName, s.WorkloadProof = "", "", "", "", ""
			},
		},
		{
			name: "the controller counts, wherever it is",
			change: func(p *corev1.Pod) {
				p.OwnerReferences = append([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n"}}, p.OwnerReferences...)
			},
			wantAfter: func(*v1.TestcrSpec) {},
		},
		{
			name:      "a fraction of a second is cut",
			change:    func(p *corev1.Pod) { p.CreationTimestamp = metav1.Unix(5, 999_999_999) },
			wantAfter: func(s *v1.TestcrSpec) { s.CreatedAt = metav1.Unix(5, 0) },
		},
		{
			name:      "a year that RFC 3339 does not have counts as no time",
			change:    func(p *corev1.Pod) { p.CreationTimestamp = metav1.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) },
			wantAfter: func(s *v1.TestcrSpec) { s.CreatedAt = metav1.Time{} },
		},
		{
			name:      "a year before Christ counts as no time",
			change:    func(p *corev1.Pod) { p.Status.StartTime = new(metav1.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)) },
			wantAfter: func(s *v1.TestcrSpec) { s.StartedAt = metav1.Time{} },
		},
		{
			name:      "no node has accepted the Pod",
			change:    func(p *corev1.Pod) { p.Status.StartTime = nil },
			wantAfter: func(s *v1.TestcrSpec) { s.StartedAt = metav1.Time{} },
		},
		{
			name:      "an unknown condition is not ready",
			change:    func(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionUnknown },
			wantAfter: func(s *v1.TestcrSpec) { s.Ready = false },
		},
		{
			name:      "another condition is not ready",
			change:    func(p *corev1.Pod) { p.Status.Conditions[1].Type = corev1.PodScheduled },
			wantAfter: func(s *v1.TestcrSpec) { s.Ready = false },
		},
		{
			name:      "the deletion has been asked for",
			change:    func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Unix(9, 0)) },
			wantAfter: func(s *v1.TestcrSpec) { s.Terminating, s.Status = true, "Terminating" },
		},
		{
			name:      "a container without a status has no ID",
			change:    func(p *corev1.Pod) { p.Status.ContainerStatuses = p.Status.ContainerStatuses[:1] },
			wantAfter: func(s *v1.TestcrSpec) { s.Containers[0].ID = "" },
		},
		{
			name: "a status of another kind of container does not count",
			change: func(p *corev1.Pod) {
				p.Status.ContainerStatuses, p.Status.InitContainerStatuses = nil, p.Status.ContainerStatuses
			},
			wantAfter: func(s *v1.TestcrSpec) {
				for i := range 4 {
					s.Containers[i].ID = ""
				}
				s.Status = "Init:0/2"
			},
		},
		{
			name: "an end before the last restart",
			change: func(p *corev1.Pod) {
				p.Status.ContainerStatuses[0].ImageID = "envoy@sha256:00"
				p.Status.ContainerStatuses[0].RestartCount = 3
				p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
					ContainerID: "c://old", Reason: "OOMKilled", ExitCode: 137,
				}
			},
			wantAfter: func(s *v1.TestcrSpec) {
				c := &s.Containers[1]
				c.ImageID, c.PreviousID, c.PreviousReason, c.PreviousExitCode = "envoy@sha256:00", "c://old", "OOMKilled", 137
				s.Restarts = 3
			},
		},
		{
			name: "a static Pod",
			change: func(p *corev1.Pod) {
				p.Annotations = map[string]string{"kubernetes.io/config.hash": "h", "kubernetes.io/config.mirror": "m"}
			},
			wantAfter: func(s *v1.TestcrSpec) { s.NodeUID = "h" },
		},
		{
			name:      "a static Pod of which only the mirror is known",
			change:    func(p *corev1.Pod) { p.Annotations = map[string]string{"kubernetes.io/config.mirror": "m"} },
			wantAfter: func(s *v1.TestcrSpec) { s.NodeUID = "m" },
		},
		{
			name:      "a node with one IP",
			change:    func(p *corev1.Pod) { p.Status.HostIPs = []corev1.HostIP{{IP: "192.0.2.1"}} },
			wantAfter: func(*v1.TestcrSpec) {},
		},
		{
			name:      "a node with two IPs",
			change:    func(p *corev1.Pod) { p.Status.HostIPs = []corev1.HostIP{{IP: "192.0.2.1"}, {IP: "fd00::1"}} },
			wantAfter: func(s *v1.TestcrSpec) { s.HostIPs = []string{"192.0.2.1", "fd00::1"} },
		},
		{
			name:      "a name in the DNS",
			change:    func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "web-0", "web" },
			wantAfter: func(s *v1.TestcrSpec) { s.Hostname, s.Subdomain = "web-0", "web" },
		},
		{
			name: "no containers",
			change: func(p *corev1.Pod) {
				p.Spec.Containers, p.Spec.InitContainers, p.Spec.EphemeralContainers = nil, nil, nil
			},
			wantAfter: func(s *v1.TestcrSpec) { s.Containers, s.ReadyContainers = nil, "" },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod, want := webPod(), webSpec()
			test.change(pod)
			test.wantAfter(&want)
			if diff := cmp.Diff(want, Spec(pod)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWorkloadOf(t *testing.T) {
	replicaSet := func(name string) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: name}
	}
	job := func(name string) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: "batch/v1", Kind: "Job", Name: name}
	}
	scheduled := time.Unix(29_933_000*60, 0) // the time in the names of the Jobs below
	type workload struct{ kind, name, proof string }
	tests := []struct {
		name    string
		owner   metav1.OwnerReference
		labels  map[string]string
		created time.Time
		want    workload
	}{
		{
			name: "Deployment", owner: replicaSet("web-5d9f"), labels: map[string]string{"pod-template-hash": "5d9f"},
			want: workload{"Deployment", "web", "label"},
		},
		{
			name: "hash of another ReplicaSet", owner: replicaSet("web-5d9f"), labels: map[string]string{"pod-template-hash": "aaaa"},
			want: workload{"ReplicaSet", "web-5d9f", "owner"},
		},
		{name: "no hash", owner: replicaSet("web-"), want: workload{"ReplicaSet", "web-", "owner"}},
		{
			name: "nothing but a hash", owner: replicaSet("-5d9f"), labels: map[string]string{"pod-template-hash": "5d9f"},
			want: workload{"ReplicaSet", "-5d9f", "owner"},
		},
		{
			name: "ReplicaSet of another group", owner: metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "ReplicaSet", Name: "web-5d9f"},
			labels: map[string]string{"pod-template-hash": "5d9f"}, want: workload{"ReplicaSet", "web-5d9f", "owner"},
		},
		{
			name: "another kind", owner: metav1.OwnerReference{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "web-5d9f"},
			labels: map[string]string{"pod-template-hash": "5d9f"}, want: workload{"DaemonSet", "web-5d9f", "owner"},
		},
		{
			name: "Argo Rollout", owner: replicaSet("web-5d9f"), labels: map[string]string{"rollouts-pod-template-hash": "5d9f"},
			want: workload{"Rollout", "web", "label"},
		},
		{
			name: "DeploymentConfig", owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ReplicationController", Name: "web-12"},
			labels: map[string]string{"deploymentconfig": "web"}, want: workload{"DeploymentConfig", "web", "label"},
		},
		{
			name: "ReplicationController of a person", owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ReplicationController", Name: "web-12"},
			want: workload{"ReplicationController", "web-12", "owner"},
		},
		{
			name: "ReplicationController that is no version of its label", owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ReplicationController", Name: "web-b"},
			labels: map[string]string{"deploymentconfig": "web"}, want: workload{"ReplicationController", "web-b", "owner"},
		},
		{
			name: "ReplicationController without a name", owner: metav1.OwnerReference{APIVersion: "v1", Kind: "ReplicationController", Name: "-12"},
			want: workload{"ReplicationController", "-12", "owner"},
		},
		{name: "CronJob", owner: job("backup-29933000"), created: scheduled.Add(2 * time.Second), want: workload{"CronJob", "backup", "name"}},
		{name: "CronJob with a dash", owner: job("nightly-backup-29933000"), created: scheduled, want: workload{"CronJob", "nightly-backup", "name"}},
		{name: "CronJob, clock behind", owner: job("backup-29933000"), created: scheduled.Add(-time.Minute), want: workload{"CronJob", "backup", "name"}},
		{name: "CronJob, a late try", owner: job("backup-29933000"), created: scheduled.Add(24 * time.Hour), want: workload{"CronJob", "backup", "name"}},
		{name: "before its time", owner: job("backup-29933000"), created: scheduled.Add(-61 * time.Second), want: workload{"Job", "backup-29933000", "owner"}},
		{name: "a day after its time", owner: job("backup-29933000"), created: scheduled.Add(24*time.Hour + time.Second), want: workload{"Job", "backup-29933000", "owner"}},
		{name: "date in the name of a Job", owner: job("report-20260512"), created: scheduled, want: workload{"Job", "report-20260512", "owner"}},
		{name: "number alone", owner: job("-29933000"), created: scheduled, want: workload{"Job", "-29933000", "owner"}},
		{name: "number that is too large", owner: job("backup-29933000000000000000"), created: scheduled, want: workload{"Job", "backup-29933000000000000000", "owner"}},
		{name: "letters at the end", owner: job("backup-x9933000"), created: scheduled, want: workload{"Job", "backup-x9933000", "owner"}},
		{
			name: "Job of another group", owner: metav1.OwnerReference{APIVersion: "batch.volcano.sh/v1alpha1", Kind: "Job", Name: "backup-29933000"}, created: scheduled,
			want: workload{"Job", "backup-29933000", "owner"},
		},
		{
			name: "StatefulSet", owner: metav1.OwnerReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db"},
			want: workload{"StatefulSet", "db", "owner"},
		},
		{
			name: "kind of an operator", owner: metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Cluster", Name: "db"},
			want: workload{"Cluster", "db", "owner"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: test.labels, CreationTimestamp: metav1.NewTime(test.created)}}
			kind, name, proof := workloadOf(&test.owner, pod)
			if got := (workload{kind, name, proof}); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestFromPod(t *testing.T) {
	t.Run("it has the name, the labels and the spec that the Pod calls for", func(t *testing.T) {
		spec := webSpec()
		want := &v1.Testcr{
			TypeMeta: metav1.TypeMeta{APIVersion: "stable.example.com/v1", Kind: "Testcr"},
			ObjectMeta: metav1.ObjectMeta{
				Name: v1.NameFor(types.NamespacedName{Namespace: "shop", Name: "web-5d9f-x2x4z"}),
				Labels: map[string]string{
					v1.LabelManagedBy: v1.ManagedBy, v1.LabelNamespace: "shop", v1.LabelWorkload: "web", v1.LabelMore: "true", // c://a is no ID
					prefixIP + "10.0.0.7": "", prefixIP + "fd00--7": "",
				},
			},
			Spec: spec,
		}
		got := FromPod(webPod())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !got.DescribesPod() {
			t.Error("it does not describe its Pod")
		}
	})
}

func TestEqual(t *testing.T) {
	tests := []struct {
		name      string
		s, o      v1.TestcrSpec
		wantEqual bool
	}{
		{
			name: "an absent list equals an empty one",
			s:    v1.TestcrSpec{PodIPs: []string{}, Labels: map[string]string{}, Containers: []v1.Container{}}, wantEqual: true,
		},
		{
			name: "times in different zones are equal",
			s:    v1.TestcrSpec{CreatedAt: metav1.NewTime(time.Unix(5, 0).UTC())},
			o:    v1.TestcrSpec{CreatedAt: metav1.NewTime(time.Unix(5, 0).In(time.FixedZone("x", 3600)))}, wantEqual: true,
		},
		{name: "no time does not equal the first second of 1970", s: v1.TestcrSpec{StartedAt: metav1.Unix(0, 0)}},
		{name: "the order of IPs counts", s: v1.TestcrSpec{PodIPs: []string{"a", "b"}}, o: v1.TestcrSpec{PodIPs: []string{"b", "a"}}},
		{
			name: "a label without a value does not equal another one without",
			s:    v1.TestcrSpec{Labels: map[string]string{"a": ""}}, o: v1.TestcrSpec{Labels: map[string]string{"b": ""}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := Equal(&test.s, &test.o); got != test.wantEqual {
				t.Errorf("Equal is %t", got)
			}
			if got := Equal(&test.o, &test.s); got != test.wantEqual {
				t.Errorf("the other way round it is %t", got)
			}
			if !Equal(&test.s, &test.s) || !Equal(&test.o, &test.o) {
				t.Error("a spec does not equal itself")
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	want := FromPod(webPod())
	stored := &v1.Testcr{
		TypeMeta: metav1.TypeMeta{Kind: "other"},
		ObjectMeta: metav1.ObjectMeta{
			Name: want.Name, UID: "u", ResourceVersion: "7", Generation: 3, Finalizers: []string{"hold"},
			Annotations:     map[string]string{"note": "theirs"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "n"}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl-label"}},
			Labels:          map[string]string{"team": "shop", v1.LabelManagedBy: "helm", v1.LabelWorkload: "old", prefix + "stale": "x"},
		},
		Spec: *desiredtest.FullSpec(),
	}
	before := stored.DeepCopy()
	got := Update(stored, want)

	t.Run("metadata of others stays", func(t *testing.T) {
		wantMeta := *before.ObjectMeta.DeepCopy()
		wantMeta.Labels = maps.Clone(want.Labels)
		wantMeta.Labels["team"] = "shop"
		if diff := cmp.Diff(wantMeta, got.ObjectMeta); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("kind and spec are those of the Pod", func(t *testing.T) {
		if diff := cmp.Diff(want.TypeMeta, got.TypeMeta) + cmp.Diff(want.Spec, got.Spec); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("the result matches", func(t *testing.T) {
		if !Matches(got, want) {
			t.Errorf("%v does not match %v", got, want)
		}
	})
	t.Run("the cached Testcr is not changed", func(t *testing.T) {
		if diff := cmp.Diff(before, stored); diff != "" {
			t.Errorf("(-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(FromPod(webPod()), want); diff != "" {
			t.Errorf("want (-before +after):\n%s", diff)
		}
	})
}

func TestReduced(t *testing.T) {
	t.Run("it has no labels and containers, and says so", func(t *testing.T) {
		full := FromPod(webPod())
		spec := webSpec()
		spec.Labels, spec.Containers, spec.Truncated = nil, nil, true
		got := Reduced(full)
		if diff := cmp.Diff(FromSpec(&spec), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got.Name != full.Name || got.Labels[v1.LabelMore] != "true" || got.Labels[prefixIP+"10.0.0.7"] != "" {
			t.Errorf("name %s, labels %v", got.Name, got.Labels)
		}
		if diff := cmp.Diff(FromPod(webPod()), full); diff != "" {
			t.Errorf("the argument was changed (-before +after):\n%s", diff)
		}
	})
}

func TestEmptied(t *testing.T) {
	tests := []struct {
		name   string
		podKey string
		want   v1.TestcrSpec
	}{
		{
			name: "the name of the Pod stays", podKey: "shop/web-5d9f-x2x4z",
			want: v1.TestcrSpec{PodKey: "shop/web-5d9f-x2x4z", PodName: "web-5d9f-x2x4z", Namespace: "shop", Terminating: true},
		},
		{name: "the name of another Pod does not stay", podKey: "a/b", want: v1.TestcrSpec{Terminating: true}},
		{name: "without a name nothing stays", want: v1.TestcrSpec{Terminating: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stored := FromPod(webPod())
			stored.Spec.PodKey, stored.Spec.PodName, stored.Spec.Namespace = test.podKey, "edited", "edited"
			stored.DeletionTimestamp = new(metav1.Unix(9, 0))
			got := Emptied(stored)
			if diff := cmp.Diff(test.want, got.Spec); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
			wantLabels := map[string]string{v1.LabelManagedBy: v1.ManagedBy, v1.LabelNamespace: test.want.Namespace}
			if diff := cmp.Diff(wantLabels, got.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			updated := Update(stored, got)
			if got.Name != stored.Name || !updated.IsEmptied() || updated.DescribesPod() {
				t.Errorf("name %s, emptied %t, describes a Pod %t", got.Name, updated.IsEmptied(), updated.DescribesPod())
			}
		})
	}
}

// FuzzFromPod takes Pods as they are stored. The Testcr of each must be valid, and must
// be recognised when it is read back: otherwise it would be written again and again.
func FuzzFromPod(f *testing.F) {
	binary := desiredtest.FullPod()
	binary.Status.Phase, binary.Spec.Containers[0].Image, binary.OwnerReferences[0].Name = "Run\xffning", "\xc3\x28\x00", "\xe2\x82"
	binary.Labels["\xf0"], binary.Labels["\xf1"], binary.Labels["\ufffd"] = "a", "b", "\xfe"
	named := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "nginx"}}
	for _, pod := range []*corev1.Pod{{}, desiredtest.FullPod(), webPod(), binary, named} {
		data, err := pod.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pod := &corev1.Pod{}
		if pod.Unmarshal(data) != nil {
			return
		}
		want := FromPod(pod)
		if problems := validation.IsDNS1123Subdomain(want.Name); len(problems) > 0 {
			t.Errorf("name %q: %v", want.Name, problems)
		}
		for key, value := range want.Labels {
			problems := validation.IsQualifiedName(key)
			if key != v1.LabelNamespace { // the API server accepts no other name of a namespace
				problems = append(problems, validation.IsValidLabelValue(value)...)
			}
			if len(problems) > 0 {
				t.Errorf("label %q=%q: %v", key, value, problems)
			}
		}
		if !utf8.ValidString(pod.Namespace + pod.Name) {
			return // JSON cannot contain it, and the API server accepts no such name
		}
		stored, body := storedTestcr(t, want)
		if stored.Malformed || !Matches(&stored.Testcr, want) {
			t.Errorf("it is not recognised when it is read back:\n%s", body)
		}
		if len(body) > maxTestcrBytes+6*len(pod.Namespace+pod.Name)*4 { // names are not cut: the API server bounds them
			t.Errorf("it has %d bytes", len(body))
		}
	})
}

// storedTestcr returns a Testcr as it is read back after a write, and the body of the
// write.
func storedTestcr(t *testing.T, written *v1.Testcr) (stored *wire.Testcr, body []byte) {
	t.Helper()
	encoded, err := wire.Encode(written)
	if err != nil {
		t.Fatal(err)
	}
	if body, err = json.Marshal(encoded); err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, u); err != nil {
		t.Fatal(err)
	}
	if stored, err = wire.Decode(u); err != nil {
		t.Fatal(err)
	}
	return stored, body
}

func TestSetWorkload(t *testing.T) {
	long := strings.Repeat("n", 1<<20)
	tests := []struct {
		name     string
		of, want string
		wantCut  bool
	}{
		{name: "a short one", of: "shop", want: "shop"},
		{name: "the longest one", of: long[:maxStringBytes], want: long[:maxStringBytes]},
		{name: "one that is too long", of: long[:maxStringBytes+1], want: long[:maxStringBytes-len(cutMarker)] + cutMarker, wantCut: true},
		{name: "one that is far too long", of: long, want: long[:maxStringBytes-len(cutMarker)] + cutMarker, wantCut: true},
		{name: "one that is not UTF-8", of: "\xff", want: "\ufffd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := v1.TestcrSpec{WorkloadKind: "Deployment", WorkloadName: "web", WorkloadProof: v1.ProofLabel}
			clipped := ClipWorkload(test.of)
			SetWorkload(&spec, "Rollout", clipped)
			want := v1.TestcrSpec{WorkloadKind: "Rollout", WorkloadName: test.want, WorkloadProof: v1.ProofOwner, Truncated: test.wantCut}
			if len(clipped) > maxStringBytes+1 {
				t.Errorf("%d bytes are kept", len(clipped))
			}
			if diff := cmp.Diff(want, spec); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}
