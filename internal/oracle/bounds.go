package oracle

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of a Testcr, as in the README's section "Bounds". All but maxIPs
// are bytes.
const (
	maxString = 2048
	marker    = "...(cut)"
	maxLabels = 64 * 1024
	maxLists  = 128 * 1024 // labels and containers
	maxIPs    = 16         // of each list
)

// String returns s as a Testcr contains it, and whether it is cut: bytes that are
// not UTF-8 are U+FFFD, and a string of more than 2,048 bytes ends in "...(cut)".
func String(s string) (_ string, cut bool) {
	s = toUTF8(s)
	if len(s) <= maxString {
		return s, false
	}
	var kept strings.Builder
	for _, r := range s {
		if kept.Len()+utf8.RuneLen(r)+len(marker) > maxString {
			break
		}
		kept.WriteRune(r)
	}
	return kept.String() + marker, true
}

// toUTF8 returns what is left of s after it was JSON.
func toUTF8(s string) string {
	if text, err := json.Marshal(s); err == nil {
		_ = json.Unmarshal(text, &s) // the text that was just written
	}
	return s
}

// applyBounds cuts the strings of spec, leaves out the labels, containers and IPs
// that have no room, and sets truncated if it did.
func applyBounds(spec map[string]any) {
	truncated := boundStrings(spec)
	for _, name := range []string{"podips", "hostips", "networkips"} {
		if ips := spec[name].([]any); len(ips) > maxIPs {
			spec[name], truncated = ips[:maxIPs], true
		}
	}
	labels, used, cut := boundLabels(spec["labels"].(map[string]any))
	spec["labels"], truncated = labels, truncated || cut
	containers := spec["containers"].([]any)
	if n := countFitting(containers, used); n < len(containers) {
		spec["containers"], truncated = containers[:n], true
	}
	if truncated {
		spec["truncated"] = true
	}
}

// boundStrings applies String to all strings but those of labels, which the API
// server limits to less.
func boundStrings(object map[string]any) (truncated bool) {
	shorten := func(s string) string {
		s, cut := String(s)
		truncated = truncated || cut
		return s
	}
	for name, value := range object {
		switch v := value.(type) {
		case string:
			object[name] = shorten(v)
		case []any:
			for i, item := range v {
				if s, ok := item.(string); ok {
					v[i] = shorten(s)
				} else if inner, ok := item.(map[string]any); ok && boundStrings(inner) {
					truncated = true
				}
			}
		}
	}
	return truncated
}

// boundLabels returns the labels that have room, in the order of their keys, and
// the bytes that they take.
func boundLabels(labels map[string]any) (kept map[string]any, used int, cut bool) {
	kept = map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		value := toUTF8(labels[key].(string))
		key = toUTF8(key)
		size := jsonBytes(key) + jsonBytes(value) + len(`"":"",`)
		if used+size > maxLabels {
			return kept, used, true
		}
		used += size
		kept[key] = value
	}
	return kept, used, false
}

// countFitting returns how many of the containers have room beside the labels,
// which take used bytes.
func countFitting(containers []any, used int) int {
	for n, item := range containers {
		used += len(`{},`) - len(`,`)
		for name, value := range item.(map[string]any) {
			switch v := value.(type) {
			case string:
				if v != "" || name == "name" {
					used += len(name) + jsonBytes(v) + len(`"":"",`)
				}
			case int64:
				if v != 0 {
					used += len(name) + len(`"":-2147483648,`)
				}
			}
		}
		if used > maxLists {
			return n
		}
	}
	return len(containers)
}

// jsonBytes returns how many bytes s takes in JSON, without quotation marks, if
// every character is escaped that an encoder may escape.
func jsonBytes(s string) int {
	const escaped = len(`\u0000`)
	n := len(s)
	for _, r := range s {
		if r < 0x20 || strings.ContainsRune("\"\\<>&\u2028\u2029", r) {
			n += escaped - utf8.RuneLen(r)
		}
	}
	return n
}
