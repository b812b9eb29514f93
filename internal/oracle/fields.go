package oracle

import (
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// field is one field of a Testcr's spec, a row of the README's section "Fields".
type field struct {
	name string
	// is reports whether a stored value has the type that the CRD gives the field.
	is func(any) bool
	// value returns the value for a Pod, before applyBounds: a string, bool, int64,
	// []any or map[string]any, because these are the types of decoded JSON.
	value func(*corev1.Pod) any
	// canonical returns the same value for all spellings of it; nil if there is
	// only one spelling.
	canonical func(any) any
	// omitZero marks a field that is absent when it is false or 0. A field that is
	// an empty string, list or map is always absent.
	omitZero bool
}

// fields has the order of the README.
var fields = []field{
	{name: "podkey", is: is[string], value: func(p *corev1.Pod) any { return PodKey(p) }},
	{name: "podname", is: is[string], value: func(p *corev1.Pod) any { return p.Name }},
	{name: "poduid", is: is[string], value: func(p *corev1.Pod) any { return string(p.UID) }},
	{name: "nodeuid", is: is[string], value: func(p *corev1.Pod) any { return nodeUID(p) }},
	{name: "podip", is: is[string], value: func(p *corev1.Pod) any { return p.Status.PodIP }},
	{name: "podips", is: isListOf(is[string]), value: func(p *corev1.Pod) any { return podIPs(&p.Status) }},
	{name: "networkips", is: isListOf(isObjectOf(map[string]func(any) bool{"ip": is[string], "network": is[string]})), value: func(p *corev1.Pod) any { return networkIPs(p) }},
	{name: "namespace", is: is[string], value: func(p *corev1.Pod) any { return p.Namespace }},
	{name: "nodename", is: is[string], value: func(p *corev1.Pod) any { return p.Spec.NodeName }},
	{name: "hostip", is: is[string], value: func(p *corev1.Pod) any { return p.Status.HostIP }},
	{name: "hostips", is: isListOf(is[string]), value: func(p *corev1.Pod) any { return hostIPs(&p.Status) }},
	{name: "phase", is: is[string], value: func(p *corev1.Pod) any { return string(p.Status.Phase) }},
	{name: "status", is: is[string], value: func(p *corev1.Pod) any { return columnsOf(p).status }},
	{name: "readycontainers", is: is[string], value: func(p *corev1.Pod) any { return columnsOf(p).ready }},
	{name: "restarts", is: is[int64], omitZero: true, value: func(p *corev1.Pod) any { return columnsOf(p).restarts }},
	{name: "hostnetwork", is: is[bool], value: func(p *corev1.Pod) any { return p.Spec.HostNetwork }},
	{name: "ready", is: is[bool], value: func(p *corev1.Pod) any { return isReady(&p.Status) }},
	{name: "terminating", is: is[bool], value: func(p *corev1.Pod) any { return p.DeletionTimestamp != nil }},
	{name: "ownerkind", is: is[string], value: func(p *corev1.Pod) any { return controllerOf(p).Kind }},
	{name: "ownername", is: is[string], value: func(p *corev1.Pod) any { return controllerOf(p).Name }},
	{name: "workloadkind", is: is[string], value: func(p *corev1.Pod) any { return workloadOf(p).kind }},
	{name: "workloadname", is: is[string], value: func(p *corev1.Pod) any { return workloadOf(p).name }},
	{name: "workloadproof", is: is[string], value: func(p *corev1.Pod) any { return workloadOf(p).proof }},
	{name: "serviceaccount", is: is[string], value: func(p *corev1.Pod) any { return p.Spec.ServiceAccountName }},
	{name: "hostname", is: is[string], value: func(p *corev1.Pod) any { return p.Spec.Hostname }},
	{name: "subdomain", is: is[string], value: func(p *corev1.Pod) any { return p.Spec.Subdomain }},
	{name: "createdat", is: isTime, canonical: inUTC, value: func(p *corev1.Pod) any { return timestamp(&p.CreationTimestamp) }},
	{name: "startedat", is: isTime, canonical: inUTC, value: func(p *corev1.Pod) any { return timestamp(p.Status.StartTime) }},
	{name: "labels", is: isMapOf(is[string]), value: func(p *corev1.Pod) any { return labelMap(p.Labels) }},
	{name: "containers", is: isListOf(isContainer), value: func(p *corev1.Pod) any { return containersOf(p) }},
	// applyBounds sets it where it cuts something or leaves something out.
	{name: "truncated", is: is[bool], value: func(*corev1.Pod) any { return false }, omitZero: true},
}

// container is one container of a Pod, with the status of its name.
type container struct {
	kind   string // "" for a regular container
	spec   corev1.EphemeralContainerCommon
	status corev1.ContainerStatus
}

// previous returns the end of the container before its last restart, or the zero value.
func (c *container) previous() corev1.ContainerStateTerminated {
	if end := c.status.LastTerminationState.Terminated; end != nil {
		return *end
	}
	return corev1.ContainerStateTerminated{}
}

// containerField is one field of an item of spec.containers.
type containerField struct {
	name     string
	is       func(any) bool
	value    func(*container) any // as that of field, as is omitZero
	omitZero bool
}

var containerFields = []containerField{
	{name: "name", is: is[string], value: func(c *container) any { return c.spec.Name }},
	{name: "image", is: is[string], value: func(c *container) any { return c.spec.Image }},
	{name: "id", is: is[string], value: func(c *container) any { return c.status.ContainerID }},
	{name: "imageid", is: is[string], value: func(c *container) any { return c.status.ImageID }},
	{name: "previousid", is: is[string], value: func(c *container) any { return c.previous().ContainerID }},
	{name: "previousreason", is: is[string], value: func(c *container) any { return c.previous().Reason }},
	{name: "previousexitcode", is: is[int64], value: func(c *container) any { return int64(c.previous().ExitCode) }, omitZero: true},
	{name: "kind", is: is[string], value: func(c *container) any { return c.kind }},
}

// PodKey returns "namespace/name" of a Pod.
func PodKey(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

func podIPs(status *corev1.PodStatus) []any {
	if len(status.PodIPs) == 0 && status.PodIP != "" {
		return []any{status.PodIP}
	}
	ips := make([]any, len(status.PodIPs))
	for i := range status.PodIPs {
		ips[i] = status.PodIPs[i].IP
	}
	return ips
}

// isReady reports whether the first condition Ready is True.
func isReady(status *corev1.PodStatus) bool {
	for _, condition := range status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// controllerOf returns the first owner reference that is the controller's, or the
// zero value.
func controllerOf(pod *corev1.Pod) metav1.OwnerReference {
	for _, owner := range pod.OwnerReferences {
		if owner.Controller != nil && *owner.Controller {
			return owner
		}
	}
	return metav1.OwnerReference{}
}

// timestamp returns RFC 3339 in whole seconds, or "" for no time and for a year
// that RFC 3339 cannot express.
func timestamp(t *metav1.Time) string {
	if t.IsZero() || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// inUTC returns a time as timestamp does, because the API server stores the zone
// that the client sent. It keeps a fraction of a second, which is a difference.
func inUTC(value any) any {
	text, _ := value.(string)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return value
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func labelMap(labels map[string]string) map[string]any {
	out := make(map[string]any, len(labels))
	for key, value := range labels {
		out[key] = value
	}
	return out
}

// containersOf returns the regular containers first, then the init containers,
// then the ephemeral ones.
func containersOf(pod *corev1.Pod) []any {
	var out []any
	add := func(kind string, spec corev1.EphemeralContainerCommon, statuses []corev1.ContainerStatus) {
		c := container{kind: kind, spec: spec}
		for i := range statuses {
			if statuses[i].Name == spec.Name {
				c.status = statuses[i]
				break
			}
		}
		object := make(map[string]any, len(containerFields))
		for _, f := range containerFields {
			if value := f.value(&c); !f.omitZero || !reflect.ValueOf(value).IsZero() {
				object[f.name] = value
			}
		}
		out = append(out, object)
	}
	for i := range pod.Spec.Containers {
		add("", corev1.EphemeralContainerCommon(pod.Spec.Containers[i]), pod.Status.ContainerStatuses)
	}
	for i := range pod.Spec.InitContainers {
		add("init", corev1.EphemeralContainerCommon(pod.Spec.InitContainers[i]), pod.Status.InitContainerStatuses)
	}
	for i := range pod.Spec.EphemeralContainers {
		add("ephemeral", pod.Spec.EphemeralContainers[i].EphemeralContainerCommon, pod.Status.EphemeralContainerStatuses)
	}
	return out
}

func is[T any](value any) bool {
	_, ok := value.(T)
	return ok
}

func isTime(value any) bool {
	text, ok := value.(string)
	if !ok {
		return false
	}
	_, err := time.Parse(time.RFC3339, text)
	return err == nil
}

func isListOf(isItem func(any) bool) func(any) bool {
	return func(value any) bool {
		list, ok := value.([]any)
		for _, item := range list {
			ok = ok && isItem(item)
		}
		return ok
	}
}

func isMapOf(isItem func(any) bool) func(any) bool {
	return func(value any) bool {
		object, ok := value.(map[string]any)
		for _, item := range object {
			ok = ok && isItem(item)
		}
		return ok
	}
}

// isObjectOf returns a function that accepts objects of these fields.
func isObjectOf(fields map[string]func(any) bool) func(any) bool {
	return func(value any) bool {
		object, ok := value.(map[string]any)
		for name, item := range object {
			is, known := fields[name]
			ok = ok && known && is(item)
		}
		return ok
	}
}

func isContainer(value any) bool {
	types := make(map[string]func(any) bool, len(containerFields))
	for _, f := range containerFields {
		types[f.name] = f.is
	}
	return isObjectOf(types)(value)
}
