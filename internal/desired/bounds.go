package desired

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// The owner of a Pod chooses its strings, and the API server accepts Pods that are
// too large for a Testcr: etcd stores at most 1.5 MiB, and a byte of a string may
// take six in JSON. These bounds keep every Testcr below 300 KiB in any encoding.
const (
	// maxStringBytes bounds each copied string, cutMarker included.
	maxStringBytes = 2 << 10
	// cutMarker ends a string that was cut.
	cutMarker = "...(cut)"
	// maxLabelsBytes bounds spec.labels, and maxListsBytes spec.labels and
	// spec.containers together, in the longest form of their JSON.
	maxLabelsBytes = 64 << 10
	maxListsBytes  = 128 << 10
	// maxPodIPs bounds spec.podips and spec.hostips. The API server allows two.
	maxPodIPs = 16

	labelOverhead = len(`"":"",`)
	// maxEscapeBytes is the most that JSON needs for a byte: \u003c.
	maxEscapeBytes = 6
)

// bound cuts s to the bounds above and to valid UTF-8. It sets Truncated if
// anything is left out. It must not change the label map, which the Pod shares.
func bound(s *v1.TestcrSpec) {
	for _, text := range []*string{
		&s.PodUID, &s.NodeUID, &s.PodIP, &s.HostIP, &s.NodeName, &s.Phase, &s.Status, &s.OwnerKind, &s.OwnerName,
		&s.WorkloadKind, &s.WorkloadName, &s.ServiceAccount, &s.Hostname, &s.Subdomain,
	} {
		boundString(s, text)
	}
	for _, ips := range []*[]string{&s.PodIPs, &s.HostIPs} {
		if len(*ips) > maxPodIPs {
			*ips, s.Truncated = slices.Clone((*ips)[:maxPodIPs]), true
		}
		for i := range *ips {
			boundString(s, &(*ips)[i])
		}
	}
	if len(s.NetworkIPs) > maxNetworkIPs {
		s.NetworkIPs, s.Truncated = slices.Clone(s.NetworkIPs[:maxNetworkIPs]), true
	}
	for i := range s.NetworkIPs {
		boundString(s, &s.NetworkIPs[i].Network)
	}
	for i := range s.Containers {
		c := &s.Containers[i]
		boundString(s, &c.Name)
		boundString(s, &c.Image)
		boundString(s, &c.ID)
		boundString(s, &c.ImageID)
		boundString(s, &c.PreviousID)
		boundString(s, &c.PreviousReason)
	}
	if !listsFit(s) {
		boundContainers(s, maxListsBytes-boundLabels(s))
	}
}

// listsFit reports whether labels and containers certainly fit, as those of nearly
// every Pod do.
func listsFit(s *v1.TestcrSpec) bool {
	labels, containers, valid := 0, 0, true
	for key, value := range s.Labels {
		labels += len(key) + len(value)
		valid = valid && utf8.ValidString(key) && utf8.ValidString(value)
	}
	labels = labels*maxEscapeBytes + len(s.Labels)*labelOverhead
	for i := range s.Containers {
		containers += containerBytes(&s.Containers[i], func(s string) int { return len(s) * maxEscapeBytes })
	}
	return valid && labels <= maxLabelsBytes && labels+containers <= maxListsBytes
}

// boundString makes text valid UTF-8 of at most maxStringBytes. A Pod is stored
// as protobuf, whose strings may have any bytes. JSON turns each byte that is not
// UTF-8 into U+FFFD, and a Testcr that differs from its Pod would be written again
// and again.
func boundString(s *v1.TestcrSpec, text *string) {
	if len(*text) <= maxStringBytes && utf8.ValidString(*text) {
		return
	}
	valid := toUTF8((*text)[:min(len(*text), maxStringBytes)])
	if len(*text) <= maxStringBytes && len(valid) <= maxStringBytes {
		*text = valid
		return
	}
	end := maxStringBytes - len(cutMarker)
	for !utf8.RuneStart(valid[end]) {
		end--
	}
	*text, s.Truncated = valid[:end]+cutMarker, true // a copy: the long string is not kept in memory
}

// boundLabels keeps the first labels in the order of their keys, up to
// maxLabelsBytes. It returns how many bytes they take.
func boundLabels(s *v1.TestcrSpec) (used int) {
	out := make(map[string]string, len(s.Labels))
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		value := toUTF8(s.Labels[key])
		key = toUTF8(key)
		size := jsonBytes(key) + jsonBytes(value) + labelOverhead
		if used+size > maxLabelsBytes {
			s.Truncated = true
			break
		}
		used += size
		out[key] = value // of keys that become equal the last one in order counts
	}
	s.Labels = out
	return used
}

// boundContainers keeps the first containers that fit into room bytes.
func boundContainers(s *v1.TestcrSpec, room int) {
	for i := range s.Containers {
		room -= containerBytes(&s.Containers[i], jsonBytes)
		if room < 0 {
			s.Containers, s.Truncated = slices.Clone(s.Containers[:i]), true
			return
		}
	}
}

// containerBytes returns how many bytes a container takes in JSON at most, and the
// comma behind it. size returns this for a string without quotation marks.
func containerBytes(c *v1.Container, size func(string) int) int {
	n := len(`{"name":""},`) + size(c.Name)
	for _, field := range [...]struct {
		overhead int
		value    string
	}{
		{len(`"image":"",`), c.Image},
		{len(`"id":"",`), c.ID},
		{len(`"imageid":"",`), c.ImageID},
		{len(`"previousid":"",`), c.PreviousID},
		{len(`"previousreason":"",`), c.PreviousReason},
		{len(`"kind":"",`), c.Kind},
	} {
		if field.value != "" {
			n += field.overhead + size(field.value)
		}
	}
	if c.PreviousExitCode != 0 {
		n += len(`"previousexitcode":-2147483648,`)
	}
	return n
}

// jsonBytes returns how many bytes s takes in JSON at most, without quotation
// marks: six for each character that some encoder escapes.
func jsonBytes(s string) (n int) {
	for _, r := range s {
		switch {
		case r < ' ', r == '"', r == '\\', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029':
			n += maxEscapeBytes
		default:
			n += utf8.RuneLen(r)
		}
	}
	return n
}

func toUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// Shorten returns s, or its beginning with cutMarker if it is longer than limit
// bytes.
func Shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len(cutMarker)], "") + cutMarker
}
