package verify

import (
	"crypto/md5" //nolint:gosec // G501: how Testcrs are named, not a secret
	"encoding/hex"
	"net/netip"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

// What the README says of a Testcr, written down a second time. Whoever changes
// that there, and in the controller, is told by a test of this package.
const (
	managedBy = "podinfolookup"

	labelManagedBy   = "app.kubernetes.io/managed-by"
	labelNamespace   = "stable.example.com/namespace"
	labelWorkload    = "stable.example.com/workload"
	labelMore        = "stable.example.com/more"
	labelIPPrefix    = "ip.stable.example.com/"
	labelIDPrefix    = "cid.stable.example.com/"
	labelOtherPrefix = "stable.example.com/"

	// These many IPs and containers get labels, in the order of the spec.
	labelledIPs        = 8
	labelledContainers = 64
)

// facts are all that a Testcr is there to say. spec holds what encoding/json
// makes of JSON (map[string]any, []any, string, bool), without what is empty.
type facts struct {
	Spec map[string]any `json:"spec"`
	// Labels are those that belong to the controller.
	Labels map[string]string `json:"labels"`
}

// expected is the Testcr that a Pod must have.
type expected struct {
	Pod string `json:"pod"` // namespace/name
	facts
}

func (e *expected) name() string { return md5Hex(e.Pod) }

// expect reads off a Pod what its Testcr must say.
func expect(pod *corev1.Pod) *expected {
	e := &expected{Pod: pod.Namespace + "/" + pod.Name}
	e.Spec = map[string]any{
		"podkey":         e.Pod,
		"podname":        pod.Name,
		"poduid":         string(pod.UID),
		"namespace":      pod.Namespace,
		"podip":          pod.Status.PodIP,
		"podips":         ipsOf(&pod.Status),
		"hostip":         pod.Status.HostIP,
		"nodename":       pod.Spec.NodeName,
		"phase":          string(pod.Status.Phase),
		"hostnetwork":    pod.Spec.HostNetwork,
		"ready":          conditionReady(pod.Status.Conditions) == corev1.ConditionTrue,
		"terminating":    pod.DeletionTimestamp != nil,
		"serviceaccount": pod.Spec.ServiceAccountName,
		"createdat":      timestamp(&pod.CreationTimestamp),
		"startedat":      timestamp(pod.Status.StartTime),
		"labels":         pod.Labels,
		"containers":     containersOf(pod),
	}
	ownersOf(pod, e.Spec)
	bound(e.Spec)
	dropEmpty(e.Spec)
	e.Labels = labelsOf(pod, e.Spec)
	return e
}

// bound cuts what a Testcr has no room for.
func bound(spec map[string]any) {
	truncated := false
	shorten := func(value any) any {
		s, ok := value.(string)
		if !ok {
			return value
		}
		s, cut := oracle.String(s)
		truncated = truncated || cut
		return s
	}
	for name, value := range spec {
		spec[name] = shorten(value)
	}
	ips, _ := spec["podips"].([]any)
	for i := range ips {
		ips[i] = shorten(ips[i])
	}
	n := oracle.PodIPs(len(ips))
	spec["podips"], truncated = ips[:n], truncated || n < len(ips)
	labels, _ := spec["labels"].(map[string]string)
	kept, used, cut := oracle.Labels(labels)
	spec["labels"], truncated = anyMap(kept), truncated || cut
	containers, _ := spec["containers"].([]any)
	texts := make([][4]string, len(containers))
	for i := range containers {
		c := containers[i].(map[string]any)
		for j, name := range []string{"name", "image", "id", "kind"} {
			c[name] = shorten(c[name])
			texts[i][j] = c[name].(string)
		}
	}
	n = oracle.Containers(texts, used)
	spec["containers"], truncated = containers[:n], truncated || n < len(containers)
	if truncated {
		spec["truncated"] = true
	}
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // G401: see the import
	return hex.EncodeToString(sum[:])
}

func ipsOf(status *corev1.PodStatus) []any {
	var ips []any
	for _, ip := range status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if ips == nil && status.PodIP != "" {
		ips = []any{status.PodIP}
	}
	return ips
}

func conditionReady(conditions []corev1.PodCondition) corev1.ConditionStatus {
	for _, c := range conditions {
		if c.Type == "Ready" {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// timestamp is RFC 3339 in whole seconds, "" for no time and for a year that
// RFC 3339 cannot write.
func timestamp(t *metav1.Time) string {
	if t.IsZero() || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func anyMap(in map[string]string) map[string]any {
	out := make(map[string]any, len(in))
	for k, v := range in {
		out[k] = v
	}
	return out
}

// ownersOf fills in the owner and the workload.
func ownersOf(pod *corev1.Pod, spec map[string]any) {
	for _, owner := range pod.OwnerReferences {
		if owner.Controller == nil || !*owner.Controller {
			continue
		}
		kind, name := owner.Kind, owner.Name
		// A Deployment calls its ReplicaSets NAME-HASH, and their Pods have HASH
		// in a label.
		hash := pod.Labels["pod-template-hash"]
		group, _, grouped := strings.Cut(owner.APIVersion, "/")
		if deployment := strings.TrimSuffix(name, "-"+hash); grouped && group == "apps" && kind == "ReplicaSet" &&
			hash != "" && deployment != name && deployment != "" {
			kind, name = "Deployment", deployment
		}
		spec["ownerkind"], spec["ownername"] = owner.Kind, owner.Name
		spec["workloadkind"], spec["workloadname"] = kind, name
		return
	}
}

// containersOf lists the regular containers first, then init, then ephemeral ones.
func containersOf(pod *corev1.Pod) []any {
	var out []any
	add := func(name, image, kind string, statuses []corev1.ContainerStatus) {
		id := ""
		for i := range statuses {
			if statuses[i].Name == name {
				id = statuses[i].ContainerID
				break
			}
		}
		out = append(out, map[string]any{"name": name, "image": image, "id": id, "kind": kind})
	}
	for i := range pod.Spec.Containers {
		add(pod.Spec.Containers[i].Name, pod.Spec.Containers[i].Image, "", pod.Status.ContainerStatuses)
	}
	for i := range pod.Spec.InitContainers {
		add(pod.Spec.InitContainers[i].Name, pod.Spec.InitContainers[i].Image, "init", pod.Status.InitContainerStatuses)
	}
	for i := range pod.Spec.EphemeralContainers {
		add(pod.Spec.EphemeralContainers[i].Name, pod.Spec.EphemeralContainers[i].Image, "ephemeral", pod.Status.EphemeralContainerStatuses)
	}
	return out
}

// dropEmpty takes out what a Testcr leaves out: an absent field and an empty one
// say the same.
func dropEmpty(fields map[string]any) {
	for name, value := range fields {
		switch v := value.(type) {
		case string:
			if v == "" {
				delete(fields, name)
			}
		case map[string]any:
			if len(v) == 0 {
				delete(fields, name)
			}
		case []any:
			if len(v) == 0 {
				delete(fields, name)
			}
			for _, item := range v {
				if inner, ok := item.(map[string]any); ok {
					dropEmpty(inner)
				}
			}
		}
	}
}

func labelsOf(pod *corev1.Pod, spec map[string]any) map[string]string {
	labels := map[string]string{labelManagedBy: managedBy, labelNamespace: pod.Namespace}
	if spec["truncated"] == true {
		labels[labelMore] = "true"
	}
	if workload, ok := spec["workloadname"].(string); ok {
		labels[labelWorkload] = labelValue(workload)
	}
	ips, _ := spec["podips"].([]any)
	for i, ip := range ips {
		if label := ipLabel(ip.(string)); label != "" && i < labelledIPs {
			labels[label] = ""
		} else {
			labels[labelMore] = "true"
		}
	}
	containers, _ := spec["containers"].([]any)
	for i, c := range containers {
		id, ok := c.(map[string]any)["id"].(string)
		if !ok {
			continue
		}
		if label := idLabel(id); label != "" && i < labelledContainers {
			labels[label] = ""
		} else {
			labels[labelMore] = "true"
		}
	}
	return labels
}

// ipLabel is "" for what is no IP.
func ipLabel(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	text := strings.ReplaceAll(addr.String(), ":", "-")
	// A label begins and ends with a letter or a digit.
	if strings.HasPrefix(text, "-") {
		text = "0" + text
	}
	if strings.HasSuffix(text, "-") {
		text += "0"
	}
	return labelIPPrefix + text
}

var (
	idDigits   = regexp.MustCompile(`^[0-9a-fA-F]{12}`)
	valueChars = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
)

// idLabel is "" for what does not begin with 12 hexadecimal digits.
func idLabel(id string) string {
	if _, bare, ok := strings.Cut(id, "://"); ok {
		id = bare
	}
	if digits := idDigits.FindString(id); digits != "" {
		return labelIDPrefix + strings.ToLower(digits)
	}
	return ""
}

// labelValue fits a name into the 63 characters of a label's value.
func labelValue(name string) string {
	switch sum := md5Hex(name); {
	case !valueChars.MatchString(name):
		return sum
	case len(name) > 63:
		return name[:52] + "-" + sum[:10]
	default:
		return name
	}
}

// instant writes a time as timestamp does, where it is the same time written in
// another zone.
func instant(value any) any {
	text, ok := value.(string)
	if !ok {
		return value
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return value
	}
	return t.UTC().Format(time.RFC3339Nano)
}
