// Package desired contains the rules of a Testcr: what it must contain for a Pod,
// and whether a stored one does. Its functions are pure.
package desired

import (
	"cmp"
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
		NodeUID:        nodeUID(pod),
		Namespace:      pod.Namespace,
		PodIP:          pod.Status.PodIP,
		PodIPs:         podIPs(&pod.Status),
		NetworkIPs:     networkIPs(pod),
		HostIP:         pod.Status.HostIP,
		HostIPs:        hostIPs(&pod.Status),
		NodeName:       pod.Spec.NodeName,
		Phase:          string(pod.Status.Phase),
		HostNetwork:    pod.Spec.HostNetwork,
		Ready:          hasCondition(pod, corev1.PodReady),
		Terminating:    pod.DeletionTimestamp != nil,
		ServiceAccount: pod.Spec.ServiceAccountName,
		Hostname:       pod.Spec.Hostname,
		Subdomain:      pod.Spec.Subdomain,
		CreatedAt:      wholeSeconds(&pod.CreationTimestamp),
		StartedAt:      wholeSeconds(pod.Status.StartTime),
		Labels:         pod.Labels,
		Containers:     containers(pod),
	}
	state := stateOf(pod)
	spec.Status, spec.ReadyContainers, spec.Restarts = state.status, state.readyOf(), state.restarts
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		spec.OwnerKind, spec.OwnerName = owner.Kind, owner.Name
		spec.WorkloadKind, spec.WorkloadName, spec.WorkloadProof = workloadOf(owner, pod)
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

// hostIPs returns nil for a node with one IP, which is status.hostIP.
func hostIPs(status *corev1.PodStatus) []string {
	if len(status.HostIPs) < 2 {
		return nil
	}
	ips := make([]string, len(status.HostIPs))
	for i := range status.HostIPs {
		ips[i] = status.HostIPs[i].IP
	}
	return ips
}

// nodeUID returns the UID that a static Pod has on its node: the hash of its
// manifest. It creates the Pod in the API server with this annotation.
func nodeUID(pod *corev1.Pod) string {
	return cmp.Or(pod.Annotations[configHash], pod.Annotations[corev1.MirrorPodAnnotationKey])
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

func containers(pod *corev1.Pod) []v1.Container {
	n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers) + len(pod.Spec.EphemeralContainers)
	if n == 0 {
		return nil
	}
	out := make([]v1.Container, 0, n)
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		out = append(out, container(c.Name, c.Image, "", pod.Status.ContainerStatuses))
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		out = append(out, container(c.Name, c.Image, v1.ContainerInit, pod.Status.InitContainerStatuses))
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		out = append(out, container(c.Name, c.Image, v1.ContainerEphemeral, pod.Status.EphemeralContainerStatuses))
	}
	return out
}

func container(name, image, kind string, statuses []corev1.ContainerStatus) v1.Container {
	c := v1.Container{Name: name, Image: image, Kind: kind}
	for i := range statuses {
		if status := &statuses[i]; status.Name == name {
			c.ID, c.ImageID = status.ContainerID, status.ImageID
			if last := status.LastTerminationState.Terminated; last != nil {
				c.PreviousID, c.PreviousReason, c.PreviousExitCode = last.ContainerID, last.Reason, last.ExitCode
			}
			break
		}
	}
	return c
}
