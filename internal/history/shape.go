package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// shape is what the Pods of a workload have in common. It is stored once for them.
type shape struct {
	Namespace      string            `json:"namespace"`
	HostNetwork    bool              `json:"hostnetwork,omitempty"`
	OwnerKind      string            `json:"ownerkind,omitempty"`
	OwnerName      string            `json:"ownername,omitempty"`
	WorkloadKind   string            `json:"workloadkind,omitempty"`
	WorkloadName   string            `json:"workloadname,omitempty"`
	WorkloadProof  string            `json:"workloadproof,omitempty"`
	ServiceAccount string            `json:"serviceaccount,omitempty"`
	Hostname       string            `json:"hostname,omitempty"`
	Subdomain      string            `json:"subdomain,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Containers     []shapeContainer  `json:"containers,omitempty"`
	Truncated      bool              `json:"truncated,omitempty"`
}

type shapeContainer struct {
	Name    string `json:"name"`
	Image   string `json:"image,omitempty"`
	ImageID string `json:"imageid,omitempty"`
	Kind    string `json:"kind,omitempty"`
}

// podNameLabel has the name of the Pod in the Pods of a StatefulSet.
const podNameLabel = "statefulset.kubernetes.io/pod-name"

// itsName stands for the name of the Pod in podNameLabel and in the hostname, so that the
// Pods of a StatefulSet share a shape. No label and no hostname contains these characters.
const itsName = "$(name)"

// maxShape bounds the JSON of a shape in bytes. The owner of a Pod chooses it.
const maxShape = 16 << 10

// shapeKey identifies a shape by its content.
type shapeKey [16]byte

// encodeShape returns the JSON of the shape of s. Labels, and then containers, are left
// out if it were too long.
func encodeShape(s *v1.TestcrSpec) ([]byte, shapeKey) {
	sh := shape{
		Namespace: s.Namespace, HostNetwork: s.HostNetwork, OwnerKind: s.OwnerKind, OwnerName: s.OwnerName,
		WorkloadKind: s.WorkloadKind, WorkloadName: s.WorkloadName, WorkloadProof: s.WorkloadProof,
		ServiceAccount: s.ServiceAccount, Hostname: hideName(s.Hostname, s.PodName), Subdomain: s.Subdomain,
		Labels: s.Labels, Truncated: s.Truncated,
	}
	if s.PodName != "" && s.Labels[podNameLabel] == s.PodName {
		sh.Labels = maps.Clone(s.Labels)
		sh.Labels[podNameLabel] = itsName
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		sh.Containers = append(sh.Containers, shapeContainer{Name: c.Name, Image: c.Image, ImageID: c.ImageID, Kind: c.Kind})
	}
	text := sh.encode()
	if len(text) > maxShape {
		sh.Labels, sh.Truncated = nil, true
		text = sh.encode()
	}
	for len(text) > maxShape && len(sh.Containers) > 0 {
		sh.Containers = sh.Containers[:len(sh.Containers)/2]
		text = sh.encode()
	}
	sum := sha256.Sum256(text)
	return text, shapeKey(sum[:len(shapeKey{})])
}

func (s *shape) encode() []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // strings and bools
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}

func hideName(value, name string) string {
	if value == name && name != "" {
		return itsName
	}
	return value
}

func showName(value, name string) string {
	if value == itsName {
		return name
	}
	return value
}

// fill sets the fields of s that the shape has. s.PodName is set.
func (s *shape) fill(spec *v1.TestcrSpec) {
	spec.Namespace, spec.HostNetwork = s.Namespace, s.HostNetwork
	spec.OwnerKind, spec.OwnerName = s.OwnerKind, s.OwnerName
	spec.WorkloadKind, spec.WorkloadName, spec.WorkloadProof = s.WorkloadKind, s.WorkloadName, s.WorkloadProof
	spec.ServiceAccount, spec.Hostname, spec.Subdomain = s.ServiceAccount, showName(s.Hostname, spec.PodName), s.Subdomain
	spec.PodKey, spec.Truncated = s.Namespace+"/"+spec.PodName, s.Truncated
	if s.Labels != nil {
		spec.Labels = make(map[string]string, len(s.Labels))
		for key, value := range s.Labels {
			spec.Labels[key] = showName(value, spec.PodName)
		}
	}
	spec.Containers = make([]v1.Container, len(s.Containers))
	for i, c := range s.Containers {
		spec.Containers[i] = v1.Container{Name: c.Name, Image: c.Image, ImageID: c.ImageID, Kind: c.Kind}
	}
}

// facts yields what the shape is found by.
func (s *shape) facts(yield func(kind query.Kind, value string)) {
	yield(query.Namespace, s.Namespace)
	for _, name := range slices.Compact([]string{s.WorkloadName, s.OwnerName}) {
		if name != "" {
			yield(query.Workload, name)
		}
	}
	for _, c := range s.Containers {
		query.ImageFacts(&v1.Container{Image: c.Image, ImageID: c.ImageID}, func(fact string) bool {
			yield(query.Image, fact)
			return true
		})
	}
	for key, value := range s.Labels {
		if value != itsName { // such Pods are found by their name
			yield(query.Label, key+"="+value)
		}
	}
}

// isSameShape reports whether the shapes of two specs of one Pod are equal, without
// encoding them.
func isSameShape(a, b *v1.TestcrSpec) bool {
	return hasSameParts(a, b) && maps.Equal(a.Labels, b.Labels) &&
		slices.EqualFunc(a.Containers, b.Containers, func(x, y v1.Container) bool { return isSameContainer(&x, &y) && x.ImageID == y.ImageID })
}

// completesShape reports whether the only difference of the shape of b is that it has the
// IDs of images, which a Pod gets when it starts. It was the shape of a from the
// beginning, then.
func completesShape(a, b *v1.TestcrSpec) bool {
	return hasSameParts(a, b) && maps.Equal(a.Labels, b.Labels) &&
		slices.EqualFunc(a.Containers, b.Containers, func(x, y v1.Container) bool {
			return isSameContainer(&x, &y) && (x.ImageID == "" || x.ImageID == y.ImageID)
		})
}

func isSameContainer(x, y *v1.Container) bool {
	return x.Name == y.Name && x.Image == y.Image && x.Kind == y.Kind
}

func hasSameParts(a, b *v1.TestcrSpec) bool {
	return a.HostNetwork == b.HostNetwork && a.OwnerKind == b.OwnerKind && a.OwnerName == b.OwnerName &&
		a.WorkloadKind == b.WorkloadKind && a.WorkloadName == b.WorkloadName && a.WorkloadProof == b.WorkloadProof &&
		a.ServiceAccount == b.ServiceAccount && a.Hostname == b.Hostname && a.Subdomain == b.Subdomain && a.Truncated == b.Truncated
}
