// Package desired contains the rules of a Testcr: what it must contain for a Pod,
// and whether a stored one does. Its functions are pure.
package desired

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// FromPod returns the Testcr that pod calls for, without what only the API server
// adds (UID, resource version). It shares the label map of pod, so that neither may
// be changed afterwards.
func FromPod(pod *corev1.Pod) *v1.Testcr {
	spec := Spec(pod)
	return FromSpec(&spec)
}

// FromSpec returns the Testcr with this spec: its name is that of the Pod in
// spec.PodKey, and its labels are those of Labels.
func FromSpec(spec *v1.TestcrSpec) *v1.Testcr {
	return &v1.Testcr{
		TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: v1.GroupVersionKind.Kind},
		ObjectMeta: metav1.ObjectMeta{
			Name:   v1.NameFor(types.NamespacedName{Namespace: spec.Namespace, Name: spec.PodName}),
			Labels: Labels(spec),
		},
		Spec: *spec,
	}
}

var apiVersion = v1.GroupVersion.String()

// Spec returns the spec of the Testcr that pod calls for, within the bounds of
// bounds.go. It shares the label map of pod.
func Spec(pod *corev1.Pod) v1.TestcrSpec {
	spec := v1.TestcrSpec{
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
	bound(&spec)
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

// wholeSeconds cuts the fraction of a second, because times are stored as RFC 3339
// without one and would differ when they are read back. A year outside RFC 3339,
// which protobuf can have, counts as no time.
func wholeSeconds(t *metav1.Time) metav1.Time {
	if t.IsZero() || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		return metav1.Time{}
	}
	return metav1.NewTime(t.Truncate(time.Second))
}

// workloadOf returns the workload of a Pod: its owner, or the Deployment behind a
// ReplicaSet. The Deployment controller names a ReplicaSet DEPLOYMENT-HASH and
// labels its Pods pod-template-hash=HASH.
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

func containers(pod *corev1.Pod) []v1.Container {
	n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers) + len(pod.Spec.EphemeralContainers)
	if n == 0 {
		return nil
	}
	out := make([]v1.Container, 0, n)
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		out = append(out, v1.Container{Name: c.Name, Image: c.Image, ID: idOf(c.Name, pod.Status.ContainerStatuses)})
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		id := idOf(c.Name, pod.Status.InitContainerStatuses)
		out = append(out, v1.Container{Name: c.Name, Image: c.Image, ID: id, Kind: v1.ContainerInit})
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		id := idOf(c.Name, pod.Status.EphemeralContainerStatuses)
		out = append(out, v1.Container{Name: c.Name, Image: c.Image, ID: id, Kind: v1.ContainerEphemeral})
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
