package verify

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

const (
	fullName = "d5b140cc44804f2bb60841d17e0d6cca" // md5 of shop/cart-5d9f-x
	someID   = "containerd://4f5ca3b2d1e04f5ca3b2d1e0"
)

// fullPod has every field that a Testcr tells of.
func fullPod() *corev1.Pod {
	created := metav1.NewTime(time.Date(2026, 11, 23, 15, 54, 38, 0, time.UTC))
	started := metav1.NewTime(created.Add(time.Second))
	yes := true
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "cart-5d9f-x", UID: "u1", ResourceVersion: "7", CreationTimestamp: created,
			Labels:          map[string]string{"app": "cart", "pod-template-hash": "5d9f"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "cart-5d9f", Controller: &yes}},
		},
		Spec: corev1.PodSpec{
			NodeName: "node-1", HostNetwork: true, ServiceAccountName: "cart",
			Containers:     []corev1.Container{{Name: "main", Image: "cart:1"}},
			InitContainers: []corev1.Container{{Name: "first", Image: "init:1"}},
			EphemeralContainers: []corev1.EphemeralContainer{{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "sh:1"},
			}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: "192.0.2.1", PodIP: "10.0.0.1",
			PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}}, StartTime: &started,
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", ContainerID: someID}},
			InitContainerStatuses: []corev1.ContainerStatus{{
				Name: "first", ContainerID: "containerd://aaaaaaaaaaaa1",
				State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}},
			}},
			EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "debug", ContainerID: "containerd://bbbbbbbbbbbb1"}},
		},
	}
}

// truncatedPod is fullPod with the fields that few Pods have, and with an image that a
// Testcr has no room for.
func truncatedPod() *corev1.Pod {
	pod := fullPod()
	pod.Annotations = map[string]string{
		"kubernetes.io/config.hash":         "0123456789abcdef0123456789abcdef",
		"k8s.v1.cni.cncf.io/network-status": `[{"name":"shop/storage","ips":["192.0.2.7"]}]`,
	}
	pod.Spec.Hostname, pod.Spec.Subdomain = "cart-0", "cart"
	pod.Status.HostIPs = []corev1.HostIP{{IP: "192.0.2.1"}, {IP: "2001:db8::1"}}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		statuses[0].ImageID, statuses[0].RestartCount = "cart@sha256:00", 2
		statuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
			ContainerID: "containerd://dddddddddddd1", Reason: "OOMKilled", ExitCode: 137,
		}
	}
	pod.Spec.Containers[0].Image = strings.Repeat("i", 3000)
	return pod
}

// testcrOf is what the controller makes of a Pod, as the dynamic client reads it.
func testcrOf(t *testing.T, pod *corev1.Pod) *unstructured.Unstructured {
	t.Helper()
	encoded, err := wire.Encode(desired.FromPod(pod))
	if err != nil {
		t.Fatal(err)
	}
	text, err := encoded.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	u.SetUID(types.UID("testcr of " + pod.Name))
	return u
}

// found are the lines of a comparison of pod with u, either of which may be nil.
func found(pod *corev1.Pod, u *unstructured.Unstructured, namespaces ...string) []string {
	var (
		want  *oracle.Facts
		have  *oracle.Stored
		lines []string
	)
	if pod != nil {
		want = oracle.FactsFor(pod)
	}
	if u != nil {
		have = read(u.DeepCopy())
	}
	for _, d := range scope(namespaces).compare(want, have) {
		lines = append(lines, d.String())
	}
	return lines
}

func setSpec(u *unstructured.Unstructured, field string, value any) {
	spec := u.Object["spec"].(map[string]any)
	if value == nil {
		delete(spec, field)
		return
	}
	spec[field] = value
}

func setLabel(u *unstructured.Unstructured, key string, value *string) {
	labels := u.GetLabels()
	delete(labels, key)
	if value != nil {
		labels[key] = *value
	}
	u.SetLabels(labels)
}

// properties returns the properties of the CRD's spec and of a container in it.
func properties(t *testing.T) (spec, container []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "yaml", "testcrd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd map[string]any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
	outer, _, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
	inner, _, _ := unstructured.NestedMap(outer, "containers", "items", "properties")
	return slices.Sorted(maps.Keys(outer)), slices.Sorted(maps.Keys(inner))
}

// Each field of the CRD is taken away, changed, and emptied.
func TestCompare_FaultInEachField(t *testing.T) {
	pod := truncatedPod()
	clean := testcrOf(t, pod)
	if diff := cmp.Diff([]string(nil), found(pod, clean)); diff != "" {
		t.Fatalf("before any fault (-want +got):\n%s", diff)
	}
	other := func(value any) any {
		switch v := value.(type) {
		case bool:
			return !v
		case string:
			return v + "x"
		case int64:
			return v + 1
		case []any:
			return v[1:]
		case map[string]any:
			return map[string]any{"other": "label"}
		}
		t.Fatalf("no other value for %T", value)
		return nil
	}
	check := func(path string, plant func(fields map[string]any), fields func(*unstructured.Unstructured) map[string]any) {
		t.Run(path, func(t *testing.T) {
			u := clean.DeepCopy()
			plant(fields(u))
			lines := found(pod, u)
			if len(lines) == 0 {
				t.Fatal("not found")
			}
			for _, line := range lines {
				if !strings.HasPrefix(line, "differs   shop/cart-5d9f-x: "+path) {
					t.Errorf("another fault than the planted one: %s", line)
				}
			}
		})
	}
	plants := func(field string) map[string]func(map[string]any) {
		return map[string]func(map[string]any){
			"taken away": func(f map[string]any) { delete(f, field) },
			"changed":    func(f map[string]any) { f[field] = other(f[field]) },
			"a number":   func(f map[string]any) { f[field] = int64(1) },
		}
	}
	spec, container := properties(t)
	for _, field := range spec {
		for _, plant := range plants(field) {
			check("spec."+field, plant, func(u *unstructured.Unstructured) map[string]any { return u.Object["spec"].(map[string]any) })
		}
	}
	for _, field := range container {
		for _, plant := range plants(field) {
			check("spec.containers[1]."+field, plant, func(u *unstructured.Unstructured) map[string]any {
				return u.Object["spec"].(map[string]any)["containers"].([]any)[1].(map[string]any)
			})
		}
	}
}

func TestCompare_ChangeOfPod(t *testing.T) {
	tests := []struct {
		name   string
		change func(*corev1.Pod)
		want   []string
	}{
		{"nothing that a Testcr tells of", func(p *corev1.Pod) { p.ResourceVersion, p.Annotations = "8", map[string]string{"a": "b"} }, nil},
		{"another Pod of the same name", func(p *corev1.Pod) { p.UID = "u2" }, []string{`spec.poduid: have "u1", want "u2"`}},
		{"another first IP", func(p *corev1.Pod) {
			p.Status.PodIP, p.Status.PodIPs = "10.0.0.2", []corev1.PodIP{{IP: "10.0.0.2"}, {IP: "fd00::1"}}
		}, []string{
			`spec.podip: have "10.0.0.1", want "10.0.0.2"`, `spec.podips[0]: have "10.0.0.1", want "10.0.0.2"`,
			`ip.stable.example.com/10.0.0.1: have "", want none`, `ip.stable.example.com/10.0.0.2: have none, want ""`,
		}},
		{"one IP less", func(p *corev1.Pod) { p.Status.PodIPs = p.Status.PodIPs[:1] }, []string{
			`spec.podips[1]: have "fd00::1", want none`, `ip.stable.example.com/fd00--1: have "", want none`,
		}},
		{"no IP any more", func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = "", nil }, []string{
			`spec.podip: have "10.0.0.1", want none`, `spec.podips: have ["10.0.0.1","fd00::1"], want none`,
			`ip.stable.example.com/10.0.0.1: have "", want none`, `ip.stable.example.com/fd00--1: have "", want none`,
		}},
		{"an IP that is none", func(p *corev1.Pod) { p.Status.PodIPs[1].IP = "fd00" }, []string{
			`spec.podips[1]: have "fd00::1", want "fd00"`, `ip.stable.example.com/fd00--1: have "", want none`, `stable.example.com/more: have none, want "true"`,
		}},
		{"another IP of the node", func(p *corev1.Pod) { p.Status.HostIP = "192.0.2.2" }, []string{`spec.hostip: have "192.0.2.1", want "192.0.2.2"`}},
		{"another node", func(p *corev1.Pod) { p.Spec.NodeName = "node-2" }, []string{`spec.nodename: have "node-1", want "node-2"`}},
		{"another phase", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }, []string{`spec.phase: have "Running", want "Failed"`, `spec.status: have "Running", want "Failed"`}},
		{"a network of its own", func(p *corev1.Pod) { p.Spec.HostNetwork = false }, []string{`spec.hostnetwork: have true, want false`}},
		{"not ready", func(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }, []string{`spec.ready: have true, want false`}},
		{"terminating", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, []string{
			`spec.status: have "Running", want "Terminating"`, `spec.terminating: have false, want true`,
		}},
		{"no owner", func(p *corev1.Pod) { p.OwnerReferences = nil }, []string{
			`spec.ownerkind: have "ReplicaSet", want none`, `spec.ownername: have "cart-5d9f", want none`,
			`spec.workloadkind: have "Deployment", want none`, `spec.workloadname: have "cart", want none`,
			`spec.workloadproof: have "label", want none`,
			`stable.example.com/workload: have "cart", want none`,
		}},
		{"an owner that is no ReplicaSet of a Deployment", func(p *corev1.Pod) { p.OwnerReferences[0].APIVersion = "example.com/v1" }, []string{
			`spec.workloadkind: have "Deployment", want "ReplicaSet"`, `spec.workloadname: have "cart", want "cart-5d9f"`,
			`spec.workloadproof: have "label", want "owner"`,
			`stable.example.com/workload: have "cart", want "cart-5d9f"`,
		}},
		{"an owner with a long name", func(p *corev1.Pod) {
			p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name = "Job", strings.Repeat("a", 64)
		}, []string{
			`spec.ownerkind: have "ReplicaSet", want "Job"`, `spec.ownername: have "cart-5d9f", want "` + strings.Repeat("a", 64) + `"`,
			`spec.workloadkind: have "Deployment", want "Job"`, `spec.workloadname: have "cart", want "` + strings.Repeat("a", 64) + `"`,
			`spec.workloadproof: have "label", want "owner"`,
			`stable.example.com/workload: have "cart", want "` + strings.Repeat("a", 52) + `-014842d480"`,
		}},
		{"another service account", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "other" }, []string{`spec.serviceaccount: have "cart", want "other"`}},
		{"another start", func(p *corev1.Pod) { p.Status.StartTime = &p.CreationTimestamp }, []string{
			`spec.startedat: have "2026-11-23T15:54:39Z", want "2026-11-23T15:54:38Z"`,
		}},
		{"another creation", func(p *corev1.Pod) { p.CreationTimestamp = metav1.Unix(0, 0) }, []string{
			`spec.createdat: have "2026-11-23T15:54:38Z", want "1970-01-01T00:00:00Z"`,
		}},
		{"other labels", func(p *corev1.Pod) {
			p.Labels = map[string]string{"pod-template-hash": "5d9f", "app": "x", "example.com/a": ""}
		}, []string{
			`spec.labels.app: have "cart", want "x"`, `spec.labels["example.com/a"]: have none, want ""`,
		}},
		{"another image", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "cart:2" }, []string{`spec.containers[0].image: have "cart:1", want "cart:2"`}},
		{"a container that was started again", func(p *corev1.Pod) {
			p.Status.ContainerStatuses[0].ContainerID = "containerd://CCCCCCCCCCCC1"
		}, []string{
			`spec.containers[0].id: have "` + someID + `", want "containerd://CCCCCCCCCCCC1"`,
			`cid.stable.example.com/4f5ca3b2d1e0: have "", want none`, `cid.stable.example.com/cccccccccccc: have none, want ""`,
		}},
		{"one container less", func(p *corev1.Pod) { p.Spec.EphemeralContainers = nil }, []string{
			`spec.containers[2]: have {"id":"containerd://bbbbbbbbbbbb1","image":"sh:1","kind":"ephemeral","name":"debug"}, want none`,
			`cid.stable.example.com/bbbbbbbbbbbb: have "", want none`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			u, pod := testcrOf(t, fullPod()), fullPod()
			test.change(pod)
			var want []string
			for _, line := range test.want {
				kind := "label    "
				if strings.HasPrefix(line, "spec.") {
					kind = "differs  "
				}
				want = append(want, kind+" shop/cart-5d9f-x: "+line)
			}
			if diff := cmp.Diff(want, found(pod, u)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// emptied leaves of a Testcr what is right for one that a finalizer keeps.
func emptied(u *unstructured.Unstructured) *unstructured.Unstructured {
	u.Object["spec"] = map[string]any{
		"podkey": "shop/cart-5d9f-x", "podname": "cart-5d9f-x", "poduid": "", "namespace": "shop", "hostnetwork": false, "ready": false, "terminating": true,
	}
	u.SetLabels(map[string]string{oracle.LabelManagedBy: oracle.ManagedBy, oracle.LabelNamespace: "shop"})
	return u
}

func TestCompare_Kinds(t *testing.T) {
	none, helm := (*string)(nil), "helm"
	tests := []struct {
		name       string
		noPod      bool
		namespaces []string
		change     func(*unstructured.Unstructured) *unstructured.Unstructured
		want       []string
	}{
		{"nothing at all", true, nil, func(*unstructured.Unstructured) *unstructured.Unstructured { return nil }, nil},
		{"a Pod without a Testcr", false, nil, func(*unstructured.Unstructured) *unstructured.Unstructured { return nil },
			[]string{"missing   shop/cart-5d9f-x: no Testcr " + fullName}},
		{"a Testcr without a Pod", true, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured { return u },
			[]string{"orphan    shop/cart-5d9f-x: no such Pod, but Testcr " + fullName}},
		{"a Testcr without a Pod in a namespace that is compared", true, []string{"a", "shop"}, func(u *unstructured.Unstructured) *unstructured.Unstructured { return u },
			[]string{"orphan    shop/cart-5d9f-x: no such Pod, but Testcr " + fullName}},
		{"a Testcr without a Pod that a finalizer keeps", true, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			u.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
			return u
		}, []string{"orphan    shop/cart-5d9f-x: no such Pod, but Testcr " + fullName}},
		{"one that is emptied", true, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			u.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
			return emptied(u)
		}, nil},
		{"one that is emptied but for a label", true, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			u.SetDeletionTimestamp(&metav1.Time{Time: time.Unix(1, 0)})
			emptied(u).SetLabels(map[string]string{oracle.LabelManagedBy: oracle.ManagedBy, oracle.LabelNamespace: "shop", oracle.LabelPrefixIP + "10.0.0.1": ""})
			return u
		}, []string{"orphan    shop/cart-5d9f-x: no such Pod, but Testcr " + fullName}},
		{"one that is emptied, and not kept by a finalizer", true, nil, emptied,
			[]string{"orphan    shop/cart-5d9f-x: no such Pod, but Testcr " + fullName}},
		{"a Testcr without a Pod in another namespace", true, []string{"a"}, func(u *unstructured.Unstructured) *unstructured.Unstructured { return u }, nil},
		{"somebody else's Testcr without a Pod", true, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setLabel(u, oracle.LabelManagedBy, none)
			return u
		}, nil},
		{"somebody else's Testcr on the name of a Pod", false, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setLabel(u, oracle.LabelManagedBy, none)
			setSpec(u, "podkey", "a/b")
			return u
		}, []string{"foreign   shop/cart-5d9f-x: Testcr " + fullName + ` is not the controller's and has podkey "a/b": whoever made it must take it away`}},
		{"somebody else's Testcr that the controller takes over, for its podkey is right", false, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setLabel(u, oracle.LabelManagedBy, &helm)
			return u
		}, []string{`label     shop/cart-5d9f-x: app.kubernetes.io/managed-by: have "helm", want "podinfolookup"`}},
		{"a label of the controller's that no Pod calls for", false, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			for _, key := range []string{"ip.stable.example.com/10.9.9.9", "cid.stable.example.com/0123456789ab", "stable.example.com/more"} {
				setLabel(u, key, new(string))
			}
			return u
		}, []string{
			`label     shop/cart-5d9f-x: cid.stable.example.com/0123456789ab: have "", want none`,
			`label     shop/cart-5d9f-x: ip.stable.example.com/10.9.9.9: have "", want none`,
			`label     shop/cart-5d9f-x: stable.example.com/more: have "", want none`,
		}},
		{"a label of somebody else's", false, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setLabel(u, "example.com/team", &helm)
			return u
		}, nil},
		{"a podkey that is not that of the name", false, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setSpec(u, "podkey", "a/b")
			return u
		}, []string{`differs   shop/cart-5d9f-x: spec.podkey: have "a/b", want "shop/cart-5d9f-x"`}},
		{"a second Testcr of a Pod", true, []string{"shop"}, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			u.SetName("copy")
			return u
		}, []string{`misnamed  Testcr copy: podkey "shop/cart-5d9f-x" is that of Testcr ` + fullName}},
		{"a podkey that is none", true, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setSpec(u, "podkey", "a\x1b[31m")
			return u
		}, []string{`misnamed  Testcr ` + fullName + `: podkey "a\x1b[31m" is that of Testcr 95c41cf219c14d060b483dd1a7e2a4e7`}},
		{"what is empty counts as absent, and a time in another zone is the same", false, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setSpec(u, "createdat", "2026-11-23T16:54:38+01:00")
			u.Object["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)["kind"] = ""
			return u
		}, nil},
		{"a time with a fraction of a second", false, nil, func(u *unstructured.Unstructured) *unstructured.Unstructured {
			setSpec(u, "createdat", "2026-11-23T15:54:38.5Z")
			return u
		}, []string{`differs   shop/cart-5d9f-x: spec.createdat: have "2026-11-23T15:54:38.5Z", want "2026-11-23T15:54:38Z"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := fullPod()
			u := test.change(testcrOf(t, pod))
			if test.noPod {
				pod = nil
			}
			got := found(pod, u, test.namespaces...)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompare_MissingAndUnknownFields(t *testing.T) {
	u := testcrOf(t, truncatedPod())
	u.Object["spec"] = map[string]any{"podkey": "shop/cart-5d9f-x", "surplus": int64(1)}
	var got []string
	for _, line := range found(truncatedPod(), u) {
		field, _, _ := strings.Cut(strings.TrimPrefix(line, "differs   shop/cart-5d9f-x: spec."), ":")
		got = append(got, field)
	}
	fields, _ := properties(t)
	want := append(slices.DeleteFunc(fields, func(f string) bool { return f == "podkey" }), "surplus")
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestResult_Output(t *testing.T) {
	long := strings.Repeat("ä", 200)
	drift := Result{Pods: 3, Testcrs: 2, Foreign: 1, Differences: []Difference{
		{Kind: Differs, Pod: "b/y", Testcr: "t2", Field: "spec.ready", Have: false, Want: true},
		{Kind: Differs, Pod: "a/x", Testcr: "t1", Field: "spec.phase", Have: "<\x1b>", Want: long},
		{Kind: Differs, Pod: "a/x", Testcr: "t1", Field: "spec.labels", Have: map[string]any{"a": long}},
		{Kind: Missing, Pod: "a/w", Testcr: "t0"},
		{Kind: Misnamed, Testcr: "t3", Field: "spec.podkey", Have: "a/x"},
	}, Unclear: []Difference{{Kind: Unclear, Pod: "a/v", Testcr: "t9"}}}
	sortDifferences(drift.Differences)
	tests := []struct {
		name       string
		result     Result
		text, json string
	}{
		{"a clean cluster", Result{Pods: 2, Testcrs: 2}, "clean: 2 Pods, 2 Testcrs, 0 differences\n",
			`{"kind":"summary","verdict":"clean","pods":2,"testcrs":2,"foreign":0,"differences":0,"unclear":0}` + "\n"},
		{"one that never stands still", Result{Pods: 1, Unclear: []Difference{{Kind: Unclear, Pod: "a/v", Testcr: "t9"}}},
			"unclear   a/v: it never stood still, Testcr t9\nunclear: 1 Pods, 0 Testcrs, 0 differences, 1 unclear\n",
			`{"kind":"unclear","pod":"a/v","testcr":"t9"}` + "\n" +
				`{"kind":"summary","verdict":"unclear","pods":1,"testcrs":0,"foreign":0,"differences":0,"unclear":1}` + "\n"},
		{"differences, in the order of the Pods", drift, `misnamed  Testcr t3: podkey "a/x" is that of Testcr ` + oracle.NameFor("a/x") + `
missing   a/w: no Testcr t0
differs   a/x: spec.phase: have "<\x1b>", want "` + long[:shownBytes] + `"... (400 bytes)
differs   a/x: spec.labels: have {"a":"` + long[:94] + `... (408 bytes), want none
differs   b/y: spec.ready: have false, want true
unclear   a/v: it never stood still, Testcr t9
drift: 3 Pods, 2 Testcrs, 5 differences, 1 unclear, 1 Testcrs of others left aside
`, `{"kind":"misnamed","testcr":"t3","field":"spec.podkey","have":"a/x"}
{"kind":"missing","pod":"a/w","testcr":"t0"}
{"kind":"differs","pod":"a/x","testcr":"t1","field":"spec.phase","have":"<\u001b>","want":"` + long + `"}
{"kind":"differs","pod":"a/x","testcr":"t1","field":"spec.labels","have":{"a":"` + long + `"}}
{"kind":"differs","pod":"b/y","testcr":"t2","field":"spec.ready","have":false,"want":true}
{"kind":"unclear","pod":"a/v","testcr":"t9"}
{"kind":"summary","verdict":"drift","pods":3,"testcrs":2,"foreign":1,"differences":5,"unclear":1}
`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var text, lines bytes.Buffer
			if err := test.result.Text(&text); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.text, text.String()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if err := test.result.JSON(&lines); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.json, lines.String()); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			for line := range strings.Lines(lines.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("no JSON: %s", line)
				}
			}
		})
	}
}
