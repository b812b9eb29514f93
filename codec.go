package podinfolookup

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// Encoding, decoding and comparing are written out field by field: each Pod
// event passes here, and reflection would cost several times as much. A test
// walks the fields by reflection, so that none can be forgotten.

// DecodeTestcr is a cache.TransformFunc that turns what the dynamic client
// reads into a *Testcr without managed fields, a fifth of the size. Anything
// else, a *Testcr too, passes as it is. What does not decode is marked, never
// refused: the controller writes such an object anew.
func DecodeTestcr(obj any) (any, error) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return decodeTestcr(u), nil
	}
	return obj, nil
}

func decodeTestcr(u *unstructured.Unstructured) *Testcr {
	t := &Testcr{
		TypeMeta: metav1.TypeMeta{APIVersion: u.GetAPIVersion(), Kind: u.GetKind()},
		ObjectMeta: metav1.ObjectMeta{
			Name:              u.GetName(),
			Namespace:         u.GetNamespace(),
			UID:               u.GetUID(),
			ResourceVersion:   u.GetResourceVersion(),
			CreationTimestamp: u.GetCreationTimestamp(),
			DeletionTimestamp: u.GetDeletionTimestamp(),
			Labels:            u.GetLabels(),
			Annotations:       u.GetAnnotations(),
			Finalizers:        u.GetFinalizers(),
			OwnerReferences:   u.GetOwnerReferences(),
		},
	}
	spec, ok := u.Object["spec"].(map[string]any)
	t.malformed = !t.Spec.decode(spec) || !ok
	t.tracked = trackedForUsAlone(u)
	return t
}

func trackedForUsAlone(u *unstructured.Unstructured) bool {
	metadata, _ := u.Object["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	for _, e := range entries {
		if entry, _ := e.(map[string]any); entry["manager"] != ManagedBy {
			return false
		}
	}
	return len(entries) > 0
}

// Encode returns t as the dynamic client writes it.
func (t *Testcr) Encode() *unstructured.Unstructured { return t.encode(t.Spec.encode()) }

// body is Encode with a spec that is encoded to the end, at a third of the time:
// good for a write and for nothing else.
func (t *Testcr) body() *unstructured.Unstructured {
	return t.encode(json.RawMessage(t.Spec.appendJSON(make([]byte, 0, 1<<10))))
}

func (t *Testcr) encode(spec any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": t.APIVersion,
		"kind":       t.Kind,
		"spec":       spec,
	}}
	u.SetName(t.Name)
	u.SetUID(t.UID)
	u.SetResourceVersion(t.ResourceVersion)
	u.SetLabels(t.AllLabels())
	u.SetAnnotations(t.Annotations)
	u.SetFinalizers(t.Finalizers)
	u.SetOwnerReferences(t.OwnerReferences)
	u.SetManagedFields(t.ManagedFields)
	if t.tracked {
		// One empty entry is how the API server is told to forget them; it then
		// tracks nothing until somebody applies the object. A create cannot say so.
		u.Object["metadata"].(map[string]any)["managedFields"] = []any{map[string]any{}}
	}
	return u
}

func (s *TestcrSpec) encode() map[string]any {
	out := make(map[string]any, 24)
	out["podkey"], out["podname"], out["poduid"], out["namespace"] = s.PodKey, s.PodName, s.PodUID, s.Namespace
	out["hostnetwork"], out["ready"], out["terminating"] = s.HostNetwork, s.Ready, s.Terminating
	if s.Truncated {
		out["truncated"] = true
	}
	setString(out, "podip", s.PodIP)
	setString(out, "hostip", s.HostIP)
	setString(out, "nodename", s.NodeName)
	setString(out, "phase", s.Phase)
	setString(out, "ownerkind", s.OwnerKind)
	setString(out, "ownername", s.OwnerName)
	setString(out, "workloadkind", s.WorkloadKind)
	setString(out, "workloadname", s.WorkloadName)
	setString(out, "serviceaccount", s.ServiceAccount)
	setTime(out, "createdat", s.CreatedAt)
	setTime(out, "startedat", s.StartedAt)
	if len(s.PodIPs) > 0 {
		ips := make([]any, len(s.PodIPs))
		for i, ip := range s.PodIPs {
			ips[i] = ip
		}
		out["podips"] = ips
	}
	if len(s.Labels) > 0 {
		labels := make(map[string]any, len(s.Labels))
		for k, v := range s.Labels {
			labels[k] = v
		}
		out["labels"] = labels
	}
	if len(s.Containers) > 0 {
		containers := make([]any, len(s.Containers))
		for i := range s.Containers {
			containers[i] = s.Containers[i].encode()
		}
		out["containers"] = containers
	}
	return out
}

// appendJSON appends what encode returns as JSON.
func (s *TestcrSpec) appendJSON(b []byte) []byte {
	b = appendString(append(b, `{"podkey":`...), s.PodKey)
	b = appendString(append(b, `,"podname":`...), s.PodName)
	b = appendString(append(b, `,"poduid":`...), s.PodUID)
	b = appendString(append(b, `,"namespace":`...), s.Namespace)
	b = strconv.AppendBool(append(b, `,"hostnetwork":`...), s.HostNetwork)
	b = strconv.AppendBool(append(b, `,"ready":`...), s.Ready)
	b = strconv.AppendBool(append(b, `,"terminating":`...), s.Terminating)
	b = appendField(b, `,"podip":`, s.PodIP)
	b = appendField(b, `,"hostip":`, s.HostIP)
	b = appendField(b, `,"nodename":`, s.NodeName)
	b = appendField(b, `,"phase":`, s.Phase)
	b = appendField(b, `,"ownerkind":`, s.OwnerKind)
	b = appendField(b, `,"ownername":`, s.OwnerName)
	b = appendField(b, `,"workloadkind":`, s.WorkloadKind)
	b = appendField(b, `,"workloadname":`, s.WorkloadName)
	b = appendField(b, `,"serviceaccount":`, s.ServiceAccount)
	b = appendTime(b, `,"createdat":`, s.CreatedAt)
	b = appendTime(b, `,"startedat":`, s.StartedAt)
	if len(s.PodIPs) > 0 {
		b = append(b, `,"podips":`...)
		for i, ip := range s.PodIPs {
			b = appendString(append(b, opening('[', i)), ip)
		}
		b = append(b, ']')
	}
	if len(s.Labels) > 0 {
		b = append(b, `,"labels":`...)
		i := 0
		for key, value := range s.Labels {
			b = appendString(append(b, opening('{', i)), key)
			b = appendString(append(b, ':'), value)
			i++
		}
		b = append(b, '}')
	}
	if len(s.Containers) > 0 {
		b = append(b, `,"containers":`...)
		for i := range s.Containers {
			c := &s.Containers[i]
			b = appendString(append(append(b, opening('[', i)), `{"name":`...), c.Name)
			b = appendField(b, `,"image":`, c.Image)
			b = appendField(b, `,"id":`, c.ID)
			b = append(appendField(b, `,"kind":`, c.Kind), '}')
		}
		b = append(b, ']')
	}
	if s.Truncated {
		b = append(b, `,"truncated":true`...)
	}
	return append(b, '}')
}

// opening is what stands in front of the i-th element.
func opening(bracket byte, i int) byte {
	if i > 0 {
		return ','
	}
	return bracket
}

func appendField(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, key...), value)
}

func appendTime(b []byte, key string, t metav1.Time) []byte {
	if t.IsZero() {
		return b
	}
	return append(t.UTC().AppendFormat(append(append(b, key...), '"'), time.RFC3339), '"')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			utilruntime.Must(err) // a string can always be encoded
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func (c *Container) encode() map[string]any {
	out := map[string]any{"name": c.Name}
	setString(out, "image", c.Image)
	setString(out, "id", c.ID)
	setString(out, "kind", c.Kind)
	return out
}

func setString(out map[string]any, key, value string) {
	if value != "" {
		out[key] = value
	}
}

func setTime(out map[string]any, key string, t metav1.Time) {
	if !t.IsZero() {
		out[key] = t.UTC().Format(time.RFC3339)
	}
}

// decode fills s from a stored spec and reports whether s now holds all of it:
// false when a field is unknown or of another type.
func (s *TestcrSpec) decode(in map[string]any) bool {
	exact := true
	for key, value := range in {
		var ok bool
		switch key {
		case "podkey":
			s.PodKey, ok = value.(string)
		case "podname":
			s.PodName, ok = value.(string)
		case "poduid":
			s.PodUID, ok = value.(string)
		case "namespace":
			s.Namespace, ok = value.(string)
		case "podip":
			s.PodIP, ok = value.(string)
		case "podips":
			s.PodIPs, ok = decodeStrings(value)
		case "hostip":
			s.HostIP, ok = value.(string)
		case "nodename":
			s.NodeName, ok = value.(string)
		case "phase":
			s.Phase, ok = value.(string)
		case "hostnetwork":
			s.HostNetwork, ok = value.(bool)
		case "ready":
			s.Ready, ok = value.(bool)
		case "terminating":
			s.Terminating, ok = value.(bool)
		case "truncated":
			s.Truncated, ok = value.(bool)
		case "ownerkind":
			s.OwnerKind, ok = value.(string)
		case "ownername":
			s.OwnerName, ok = value.(string)
		case "workloadkind":
			s.WorkloadKind, ok = value.(string)
		case "workloadname":
			s.WorkloadName, ok = value.(string)
		case "serviceaccount":
			s.ServiceAccount, ok = value.(string)
		case "createdat":
			s.CreatedAt, ok = decodeTime(value)
		case "startedat":
			s.StartedAt, ok = decodeTime(value)
		case "labels":
			s.Labels, ok = decodeLabels(value)
		case "containers":
			s.Containers, ok = decodeContainers(value)
		}
		exact = exact && ok
	}
	return exact
}

func decodeTime(value any) (metav1.Time, bool) {
	s, ok := value.(string)
	if !ok {
		return metav1.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, s)
	return metav1.NewTime(t), err == nil
}

func decodeStrings(value any) ([]string, bool) {
	in, ok := value.([]any)
	out := make([]string, 0, len(in))
	for _, v := range in {
		s, isString := v.(string)
		out, ok = append(out, s), ok && isString
	}
	return out, ok
}

func decodeLabels(value any) (map[string]string, bool) {
	in, ok := value.(map[string]any)
	out := make(map[string]string, len(in))
	for k, v := range in {
		s, isString := v.(string)
		out[k], ok = s, ok && isString
	}
	return out, ok
}

func decodeContainers(value any) ([]Container, bool) {
	in, exact := value.([]any)
	out := make([]Container, len(in))
	for i := range in {
		fields, ok := in[i].(map[string]any)
		exact = exact && ok
		for key, v := range fields {
			switch c := &out[i]; key {
			case "name":
				c.Name, ok = v.(string)
			case "image":
				c.Image, ok = v.(string)
			case "id":
				c.ID, ok = v.(string)
			case "kind":
				c.Kind, ok = v.(string)
			default:
				ok = false
			}
			exact = exact && ok
		}
	}
	return out, exact
}

// equal compares what two specs say: an absent list equals an empty one.
func (s *TestcrSpec) equal(o *TestcrSpec) bool {
	return s.PodKey == o.PodKey && s.PodName == o.PodName && s.PodUID == o.PodUID && s.Namespace == o.Namespace &&
		s.PodIP == o.PodIP && slices.Equal(s.PodIPs, o.PodIPs) && s.HostIP == o.HostIP &&
		s.NodeName == o.NodeName && s.Phase == o.Phase &&
		s.HostNetwork == o.HostNetwork && s.Ready == o.Ready && s.Terminating == o.Terminating && s.Truncated == o.Truncated &&
		s.OwnerKind == o.OwnerKind && s.OwnerName == o.OwnerName &&
		s.WorkloadKind == o.WorkloadKind && s.WorkloadName == o.WorkloadName &&
		s.ServiceAccount == o.ServiceAccount &&
		s.CreatedAt.Equal(&o.CreatedAt) && s.StartedAt.Equal(&o.StartedAt) &&
		maps.Equal(s.Labels, o.Labels) && slices.Equal(s.Containers, o.Containers)
}
