package auditor

import (
	"bytes"
	"crypto/md5" //nolint:gosec // G501: how Testcrs are named, not a secret
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

// spec is the spec of a Testcr as the README has it. What a Pod does not have is
// absent, so that equal specs have equal JSON.
type spec struct {
	PodKey         string            `json:"podkey"`
	PodName        string            `json:"podname"`
	PodUID         string            `json:"poduid"`
	Namespace      string            `json:"namespace"`
	PodIP          string            `json:"podip,omitempty"`
	PodIPs         []string          `json:"podips,omitempty"`
	HostIP         string            `json:"hostip,omitempty"`
	NodeName       string            `json:"nodename,omitempty"`
	Phase          string            `json:"phase,omitempty"`
	HostNetwork    bool              `json:"hostnetwork"`
	Ready          bool              `json:"ready"`
	Terminating    bool              `json:"terminating"`
	OwnerKind      string            `json:"ownerkind,omitempty"`
	OwnerName      string            `json:"ownername,omitempty"`
	WorkloadKind   string            `json:"workloadkind,omitempty"`
	WorkloadName   string            `json:"workloadname,omitempty"`
	ServiceAccount string            `json:"serviceaccount,omitempty"`
	CreatedAt      string            `json:"createdat,omitempty"`
	StartedAt      string            `json:"startedat,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Containers     []container       `json:"containers,omitempty"`
	Truncated      bool              `json:"truncated,omitempty"`
}

type container struct {
	Name  string `json:"name"`
	Image string `json:"image,omitempty"`
	ID    string `json:"id,omitempty"`
	Kind  string `json:"kind,omitempty"`
}

// state is what a Testcr says, or what it is to say of a Pod. The zero value is
// that there is none.
type state struct {
	// text is the canonical JSON of the spec and of the labels that are the
	// controller's: two states are the same if their texts are.
	text string
	uid  string   // of the Pod
	ips  []string // of the Pod, podip among them
}

func (s state) absent() bool { return s.text == "" }

const (
	managedByLabel = "app.kubernetes.io/managed-by"
	managedBy      = "podinfolookup"
	ownDomain      = "stable.example.com/"
)

// testcrOf is a stored Testcr.
type testcrOf struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
}

func (t *testcrOf) managed() bool { return t.Metadata.Labels[managedByLabel] == managedBy }

// state reads the Testcr. A spec that does not have the form above is kept as it
// is, and so is no Pod's. One that is emptied, and waits for finalizers alone, is
// as good as none.
func (t *testcrOf) state() state {
	own := map[string]string{}
	for key, value := range t.Metadata.Labels {
		domain, _, _ := strings.Cut(key, "/")
		if key == managedByLabel || domain+"/" == ownDomain || strings.HasSuffix(domain+"/", "."+ownDomain) {
			own[key] = value
		}
	}
	s := spec{}
	decoder := json.NewDecoder(bytes.NewReader(t.Spec))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return state{text: "malformed: " + string(t.Spec)}
	}
	emptied := &spec{PodKey: s.Namespace + "/" + s.PodName, PodName: s.PodName, Namespace: s.Namespace, Terminating: true}
	if says := stateOf(&s, own); t.Metadata.DeletionTimestamp == nil || says.text != stateOf(emptied, ownLabels(emptied)).text {
		return says
	}
	return state{}
}

func stateOf(s *spec, own map[string]string) state {
	text, err := json.Marshal(struct {
		Spec   *spec             `json:"spec"`
		Labels map[string]string `json:"labels"`
	}{s, own})
	if err != nil {
		return state{text: "malformed: " + err.Error()}
	}
	ips := s.PodIPs
	if s.PodIP != "" {
		ips = append([]string{s.PodIP}, ips...)
	}
	return state{text: string(text), uid: s.PodUID, ips: ips}
}

func podKey(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

// nameOf is the name of the Testcr of the Pod called key.
func nameOf(key string) string { return digest(key) }

func digest(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // G401: see the import
	return hex.EncodeToString(sum[:])
}

// expect returns what the Testcr of a Pod must say.
func expect(pod *corev1.Pod) state {
	s := &spec{
		PodKey: podKey(pod), PodName: pod.Name, PodUID: string(pod.UID), Namespace: pod.Namespace,
		PodIP: pod.Status.PodIP, HostIP: pod.Status.HostIP,
		NodeName: pod.Spec.NodeName, Phase: string(pod.Status.Phase), HostNetwork: pod.Spec.HostNetwork,
		Terminating: !pod.DeletionTimestamp.IsZero(), ServiceAccount: pod.Spec.ServiceAccountName,
		CreatedAt: seconds(&pod.CreationTimestamp), StartedAt: seconds(pod.Status.StartTime),
		Labels: pod.Labels,
	}
	for _, ip := range pod.Status.PodIPs {
		s.PodIPs = append(s.PodIPs, ip.IP)
	}
	if s.PodIPs == nil && s.PodIP != "" {
		s.PodIPs = []string{s.PodIP}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			s.Ready = condition.Status == corev1.ConditionTrue
			break
		}
	}
	addOwner(s, pod)
	addContainers(s, pod)
	s.bound()
	return stateOf(s, ownLabels(s))
}

// bound cuts what a Testcr has no room for.
func (s *spec) bound() {
	shorten := func(text *string) {
		var cut bool
		*text, cut = oracle.String(*text)
		s.Truncated = s.Truncated || cut
	}
	for _, text := range []*string{
		&s.PodIP, &s.HostIP, &s.NodeName, &s.Phase, &s.OwnerKind, &s.OwnerName, &s.WorkloadKind, &s.WorkloadName, &s.ServiceAccount,
	} {
		shorten(text)
	}
	for i := range s.PodIPs {
		shorten(&s.PodIPs[i])
	}
	if n := oracle.PodIPs(len(s.PodIPs)); n < len(s.PodIPs) {
		s.PodIPs, s.Truncated = s.PodIPs[:n], true
	}
	var used int
	var cut bool
	s.Labels, used, cut = oracle.Labels(s.Labels)
	s.Truncated = s.Truncated || cut
	texts := make([][4]string, len(s.Containers))
	for i := range s.Containers {
		c := &s.Containers[i]
		shorten(&c.Name)
		shorten(&c.Image)
		shorten(&c.ID)
		texts[i] = [4]string{c.Name, c.Image, c.ID, c.Kind}
	}
	if n := oracle.Containers(texts, used); n < len(s.Containers) {
		s.Containers, s.Truncated = s.Containers[:n], true
	}
}

// seconds is RFC 3339 without a fraction; a year that it cannot write is no time.
func seconds(t *metav1.Time) string {
	if t.IsZero() {
		return ""
	}
	utc := t.UTC()
	if year := utc.Year(); year < 0 || year > 9999 {
		return ""
	}
	return utc.Format("2006-01-02T15:04:05Z")
}

// addOwner names the controller of the Pod, and the workload: that, or the
// Deployment whose ReplicaSet is called DEPLOYMENT-HASH.
func addOwner(s *spec, pod *corev1.Pod) {
	for i := range pod.OwnerReferences {
		owner := &pod.OwnerReferences[i]
		if owner.Controller == nil || !*owner.Controller {
			continue
		}
		s.OwnerKind, s.OwnerName = owner.Kind, owner.Name
		s.WorkloadKind, s.WorkloadName = owner.Kind, owner.Name
		suffix := "-" + pod.Labels["pod-template-hash"]
		if owner.Kind == "ReplicaSet" && strings.HasPrefix(owner.APIVersion, "apps/") && suffix != "-" &&
			strings.HasSuffix(owner.Name, suffix) && len(owner.Name) > len(suffix) {
			s.WorkloadKind, s.WorkloadName = "Deployment", owner.Name[:len(owner.Name)-len(suffix)]
		}
		return
	}
}

func addContainers(s *spec, pod *corev1.Pod) {
	id := func(name string, statuses []corev1.ContainerStatus) string {
		for i := range statuses {
			if statuses[i].Name == name {
				return statuses[i].ContainerID
			}
		}
		return ""
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		s.Containers = append(s.Containers, container{c.Name, c.Image, id(c.Name, pod.Status.ContainerStatuses), ""})
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		s.Containers = append(s.Containers, container{c.Name, c.Image, id(c.Name, pod.Status.InitContainerStatuses), "init"})
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		s.Containers = append(s.Containers, container{c.Name, c.Image, id(c.Name, pod.Status.EphemeralContainerStatuses), "ephemeral"})
	}
}

var (
	twelveDigits = regexp.MustCompile(`^[0-9a-f]{12}`)
	aLabelValue  = regexp.MustCompile(`^[0-9A-Za-z]([-._0-9A-Za-z]*[0-9A-Za-z])?$`)
)

// ownLabels are the labels of the README's table "label | is there".
func ownLabels(s *spec) map[string]string {
	own := map[string]string{managedByLabel: managedBy, ownDomain + "namespace": s.Namespace}
	switch w := s.WorkloadName; {
	case w == "":
	case !aLabelValue.MatchString(w):
		own[ownDomain+"workload"] = digest(w)
	case len(w) > 63:
		own[ownDomain+"workload"] = w[:52] + "-" + digest(w)[:10]
	default:
		own[ownDomain+"workload"] = w
	}
	more := func(there bool) {
		if there {
			own[ownDomain+"more"] = strconv.FormatBool(true)
		}
	}
	more(s.Truncated)
	for i, text := range s.PodIPs {
		ip, err := netip.ParseAddr(text)
		more(err != nil || i >= 8)
		if err == nil && i < 8 {
			own["ip."+ownDomain+labelIP(ip.Unmap().WithZone(""))] = ""
		}
	}
	for i := range s.Containers {
		id := s.Containers[i].ID
		if _, bare, ok := strings.Cut(id, "://"); ok {
			id = bare
		}
		digits := twelveDigits.FindString(strings.ToLower(id))
		more(s.Containers[i].ID != "" && (digits == "" || i >= 64))
		if digits != "" && i < 64 {
			own["cid."+ownDomain+digits] = ""
		}
	}
	return own
}

// labelIP writes an IP so that it can be in a key: it may not have colons, and
// begins and ends with a letter or a digit.
func labelIP(ip netip.Addr) string {
	text := strings.ReplaceAll(ip.String(), ":", "-")
	if text[0] == '-' {
		text = "0" + text
	}
	if text[len(text)-1] == '-' {
		text += "0"
	}
	return text
}
