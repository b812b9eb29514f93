// Package podinfolookup keeps one cluster-scoped Testcr per Pod, so that the
// details of any Pod can be queried through the ordinary Kubernetes API.
//
// +groupName=stable.example.com
// +versionName=v1
package podinfolookup

import (
	"crypto/md5" //nolint:gosec // G501: a name, not a secret; 128 bits in hexadecimal make a valid object name of any Pod's.
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
)

// Container kinds of a Testcr; a regular container has none.
const (
	ContainerInit      = "init"
	ContainerEphemeral = "ephemeral"
)

var (
	// GroupVersionResource is where Testcrs are served.
	GroupVersionResource = schema.GroupVersionResource{Group: "stable.example.com", Version: "v1", Resource: "testcrs"}
	// GroupVersionKind is what a Testcr calls itself.
	GroupVersionKind = schema.GroupVersionKind{Group: "stable.example.com", Version: "v1", Kind: "Testcr"}
)

// Testcr holds the details of one Pod, kept true by PodInfoLookup.
// Its name is the lowercase hexadecimal md5 of "namespace/name" of the Pod.
// A change made by hand is undone.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=testcrs,singular=testcr,shortName=tc,scope=Cluster
// +kubebuilder:selectablefield:JSONPath=`.spec.podkey`
// +kubebuilder:selectablefield:JSONPath=`.spec.podname`
// +kubebuilder:selectablefield:JSONPath=`.spec.poduid`
// +kubebuilder:selectablefield:JSONPath=`.spec.podip`
// +kubebuilder:selectablefield:JSONPath=`.spec.namespace`
// +kubebuilder:selectablefield:JSONPath=`.spec.nodename`
// +kubebuilder:selectablefield:JSONPath=`.spec.hostip`
// +kubebuilder:selectablefield:JSONPath=`.spec.phase`
// +kubebuilder:printcolumn:name=Pod,type=string,JSONPath=`.spec.podkey`,description="The Pod, as namespace/name."
// +kubebuilder:printcolumn:name=IP,type=string,JSONPath=`.spec.podip`,description="The Pod's first IP address."
// +kubebuilder:printcolumn:name=Node,type=string,JSONPath=`.spec.nodename`,description="The node that the Pod is bound to."
// +kubebuilder:printcolumn:name=Phase,type=string,JSONPath=`.spec.phase`,description="The Pod's phase."
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.spec.createdat`,description="The age of the Pod."
// +kubebuilder:printcolumn:name=Host-IP,type=string,priority=1,JSONPath=`.spec.hostip`,description="The node's IP address."
// +kubebuilder:printcolumn:name=Workload,type=string,priority=1,JSONPath=`.spec.workloadname`,description="The workload that the Pod belongs to."
// +kubebuilder:printcolumn:name=UID,type=string,priority=1,JSONPath=`.spec.poduid`,description="The Pod's UID."
type Testcr struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// The details of the Pod. Fields that the Pod does not have are absent.
	Spec TestcrSpec `json:"spec"`

	// malformed says that the stored object held something that Spec cannot:
	// such a Testcr equals nothing and is written anew.
	malformed bool
	// labelled says that the stored object has the labels that Spec calls for and
	// no others; Labels is nil then, as it can be had from Spec.
	labelled bool
	// kept says that an informer has it.
	kept bool
	// tracked says that the API server keeps managed fields of the stored
	// object, and for nobody but us: a quarter of its bytes, which no one needs.
	tracked bool
}

// TestcrSpec is what a Testcr says of its Pod. Every field is copied from the
// Pod as the API server last sent it. It has one writer, so it is tracked as one
// field: that keeps some 600 bytes of managed fields out of each new object.
//
// +structType=atomic
type TestcrSpec struct {
	// The Pod, as "namespace/name". Selectable.
	// +kubebuilder:validation:MaxLength=317
	PodKey string `json:"podkey"`
	// metadata.name of the Pod. Selectable.
	// +kubebuilder:validation:MaxLength=253
	PodName string `json:"podname"`
	// metadata.uid of the Pod; it changes when a Pod of the same name is created again. Selectable.
	PodUID string `json:"poduid"`
	// metadata.namespace of the Pod. Selectable.
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// status.podIP of the Pod: the first of podips; absent until the Pod has one. Selectable.
	PodIP string `json:"podip,omitempty"`
	// status.podIPs of the Pod: every IP address, of both families in a dual-stack cluster.
	// +listType=atomic
	PodIPs []string `json:"podips,omitempty"`
	// status.hostIP of the Pod: the IP address of its node. Selectable.
	HostIP string `json:"hostip,omitempty"`
	// spec.nodeName of the Pod: the node that it is bound to; absent until it is scheduled. Selectable.
	NodeName string `json:"nodename,omitempty"`
	// status.phase of the Pod: Pending, Running, Succeeded, Failed or Unknown. Selectable.
	Phase string `json:"phase,omitempty"`
	// Whether the Pod uses its node's network, so that it shares podip with the node and others.
	HostNetwork bool `json:"hostnetwork"`
	// Whether the Pod's condition Ready is True.
	Ready bool `json:"ready"`
	// Whether the deletion of the Pod has been asked for.
	Terminating bool `json:"terminating"`
	// The kind of the Pod's controller owner reference, for example ReplicaSet.
	OwnerKind string `json:"ownerkind,omitempty"`
	// The name of the Pod's controller owner reference.
	OwnerName string `json:"ownername,omitempty"`
	// The kind of workload that the Pod belongs to: its owner, or the Deployment behind a
	// ReplicaSet where the label pod-template-hash proves it.
	WorkloadKind string `json:"workloadkind,omitempty"`
	// The name of the workload that the Pod belongs to.
	WorkloadName string `json:"workloadname,omitempty"`
	// spec.serviceAccountName of the Pod.
	ServiceAccount string `json:"serviceaccount,omitempty"`
	// metadata.creationTimestamp of the Pod.
	CreatedAt metav1.Time `json:"createdat,omitzero"`
	// status.startTime of the Pod: when its node accepted it.
	StartedAt metav1.Time `json:"startedat,omitzero"`
	// The labels of the Pod, in the order of their keys up to 64 KiB of JSON.
	// +mapType=atomic
	Labels map[string]string `json:"labels,omitempty"`
	// The containers of the Pod: regular ones first, then init, then ephemeral ones, up to 128 KiB of
	// JSON with labels.
	// +listType=atomic
	Containers []Container `json:"containers,omitempty"`
	// Whether labels or containers of the Pod are left out here, or a string of more than 2,048 bytes is
	// cut and ends in "...(cut)". Absent otherwise.
	Truncated bool `json:"truncated,omitempty"`
}

// Container is one container of a Pod.
type Container struct {
	// The name of the container, unique in its Pod.
	Name string `json:"name"`
	// The image that the Pod asks for.
	Image string `json:"image,omitempty"`
	// The container's ID with its runtime, for example containerd://4f5c...; absent until it has been
	// created, and another one after each restart.
	ID string `json:"id,omitempty"`
	// Absent for a regular container.
	// +kubebuilder:validation:Enum=init;ephemeral
	Kind string `json:"kind,omitempty"`
}

// NameFor returns the name of the Testcr for the Pod called key: the lowercase
// hexadecimal md5 of "namespace/name", 32 characters.
func NameFor(key cache.ObjectName) string {
	return md5Hex(key.String())
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // G401: see the import.
	return hex.EncodeToString(sum[:])
}

// FromPod returns the Testcr that says all there is to say of pod, without
// anything that only the API server can add (UID, resource version). It shares
// the pod's label map, so neither may be changed afterwards.
func FromPod(pod *corev1.Pod) *Testcr {
	spec := specOf(pod)
	return fromSpec(&spec)
}

func fromSpec(spec *TestcrSpec) *Testcr {
	return &Testcr{
		TypeMeta:   metav1.TypeMeta{APIVersion: testcrAPIVersion, Kind: GroupVersionKind.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: md5Hex(spec.PodKey), Labels: objectLabels(spec)},
		Spec:       *spec,
	}
}

func specOf(pod *corev1.Pod) TestcrSpec {
	spec := TestcrSpec{
		PodKey:         cache.NewObjectName(pod.Namespace, pod.Name).String(),
		PodName:        pod.Name,
		PodUID:         string(pod.UID),
		Namespace:      pod.Namespace,
		PodIP:          pod.Status.PodIP,
		PodIPs:         podIPs(&pod.Status),
		HostIP:         pod.Status.HostIP,
		NodeName:       pod.Spec.NodeName,
		Phase:          string(pod.Status.Phase),
		HostNetwork:    pod.Spec.HostNetwork,
		Ready:          isReady(&pod.Status),
		Terminating:    pod.DeletionTimestamp != nil,
		ServiceAccount: pod.Spec.ServiceAccountName,
		CreatedAt:      wholeSeconds(&pod.CreationTimestamp),
		StartedAt:      wholeSeconds(pod.Status.StartTime),
		Labels:         pod.Labels,
		Containers:     containers(pod),
	}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		spec.OwnerKind, spec.OwnerName = owner.Kind, owner.Name
		spec.WorkloadKind, spec.WorkloadName = workloadOf(owner, pod.Labels)
	}
	spec.bound()
	return spec
}

func podIPs(status *corev1.PodStatus) []string {
	if len(status.PodIPs) == 0 {
		if status.PodIP == "" {
			return nil
		}
		return []string{status.PodIP}
	}
	ips := make([]string, len(status.PodIPs))
	for i := range status.PodIPs {
		ips[i] = status.PodIPs[i].IP
	}
	return ips
}

func isReady(status *corev1.PodStatus) bool {
	for i := range status.Conditions {
		if status.Conditions[i].Type == corev1.PodReady {
			return status.Conditions[i].Status == corev1.ConditionTrue
		}
	}
	return false
}

// wholeSeconds cuts what RFC 3339 without a fraction, the form that times are
// stored in, would lose: else nothing that is read back would equal it. A year
// that the form cannot have (protobuf can) counts as no time.
func wholeSeconds(t *metav1.Time) metav1.Time {
	if t.IsZero() || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		return metav1.Time{}
	}
	return metav1.NewTime(t.Truncate(time.Second))
}

// workloadOf names the Deployment behind a ReplicaSet: its controller names a
// ReplicaSet DEPLOYMENT-HASH and labels the Pods pod-template-hash=HASH. Any
// other owner is the workload itself.
func workloadOf(owner *metav1.OwnerReference, podLabels map[string]string) (kind, name string) {
	if owner.Kind == "ReplicaSet" && strings.HasPrefix(owner.APIVersion, "apps/") {
		if hash := podLabels["pod-template-hash"]; hash != "" {
			if name, ok := strings.CutSuffix(owner.Name, "-"+hash); ok && name != "" {
				return "Deployment", name
			}
		}
	}
	return owner.Kind, owner.Name
}

func containers(pod *corev1.Pod) []Container {
	n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers) + len(pod.Spec.EphemeralContainers)
	if n == 0 {
		return nil
	}
	out := make([]Container, 0, n)
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		out = append(out, Container{Name: c.Name, Image: c.Image, ID: idOf(c.Name, pod.Status.ContainerStatuses)})
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		id := idOf(c.Name, pod.Status.InitContainerStatuses)
		out = append(out, Container{Name: c.Name, Image: c.Image, ID: id, Kind: ContainerInit})
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		id := idOf(c.Name, pod.Status.EphemeralContainerStatuses)
		out = append(out, Container{Name: c.Name, Image: c.Image, ID: id, Kind: ContainerEphemeral})
	}
	return out
}

func idOf(name string, statuses []corev1.ContainerStatus) string {
	for i := range statuses {
		if statuses[i].Name == name {
			return statuses[i].ContainerID
		}
	}
	return ""
}

// says reports whether t, as stored, already says all that want says and
// carries the labels that want calls for.
func (t *Testcr) says(want *Testcr) bool {
	if t.malformed {
		return false
	}
	if t.labelled { // by its own spec, which is that of want if all is well
		return t.Spec.equal(&want.Spec)
	}
	for k, v := range want.Labels {
		if got, ok := t.Labels[k]; !ok || got != v {
			return false
		}
	}
	for k := range t.Labels {
		if _, wanted := want.Labels[k]; !wanted && isOurLabel(k) {
			return false
		}
	}
	return t.Spec.equal(&want.Spec)
}

// over returns t as an update of have: what others keep in have's metadata
// (their labels, annotations, finalizers, owner references) stays, and the
// resource version makes the API server refuse the write when have is old.
func (t *Testcr) over(have *Testcr) *Testcr {
	out := *t
	out.ObjectMeta, out.tracked, out.labelled = have.ObjectMeta, have.tracked, false
	out.Labels = maps.Clone(t.Labels)
	for k, v := range have.Labels {
		if _, ours := t.Labels[k]; !ours && !isOurLabel(k) {
			out.Labels[k] = v
		}
	}
	return &out
}

// emptied returns what is left to say in t when its Pod is gone and a finalizer
// keeps it: its name alone, so that no fact of the Pod finds it.
func (t *Testcr) emptied() *Testcr {
	spec := TestcrSpec{Terminating: true}
	if key, ok := t.PodKey(); ok {
		spec.PodKey, spec.PodName, spec.Namespace = t.Spec.PodKey, key.Name, key.Namespace
	}
	out := fromSpec(&spec)
	out.Name = t.Name
	return out
}

// Emptied reports whether t is of a Pod that is gone, and is kept by a finalizer
// alone: no answer to anybody.
func (t *Testcr) Emptied() bool { return t.DeletionTimestamp != nil && t.Spec.PodUID == "" }

// PodKey returns the key of the Pod that t is named for; false when podkey is
// not what t's name was made from, as after an edit by hand.
func (t *Testcr) PodKey() (cache.ObjectName, bool) {
	key, err := cache.ParseObjectName(t.Spec.PodKey)
	if err != nil || key.Namespace == "" || md5Hex(t.Spec.PodKey) != t.Name {
		return cache.ObjectName{}, false
	}
	return key, true
}

// AllLabels returns the labels of t, those that are not kept in Labels since they
// follow from its spec included.
func (t *Testcr) AllLabels() map[string]string {
	if t.labelled {
		return objectLabels(&t.Spec)
	}
	return t.Labels
}

// compact drops what follows from the rest of t, before t is shared.
func (t *Testcr) compact() {
	if len(t.Labels) > 0 && !t.malformed && maps.Equal(t.Labels, objectLabels(&t.Spec)) {
		t.Labels, t.labelled = nil, true
	}
}

// DeepCopyObject makes a Testcr a runtime.Object.
func (t *Testcr) DeepCopyObject() runtime.Object {
	out := *t
	t.DeepCopyInto(&out.ObjectMeta) // its own method
	out.Spec.PodIPs = slices.Clone(t.Spec.PodIPs)
	out.Spec.Labels = maps.Clone(t.Spec.Labels)
	out.Spec.Containers = slices.Clone(t.Spec.Containers)
	return &out
}

// Managed reports whether t carries the label that makes it ours.
func (t *Testcr) Managed() bool {
	return t.labelled || t.Labels[LabelManagedBy] == ManagedBy
}
