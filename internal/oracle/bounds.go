// Package oracle has rules of the README written down a second time, for
// `podinfolookup verify` and for the tests. It must not import the controller.
package oracle

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"
)

// The bounds of a Testcr, as the README's section "Bounds" has them.
const (
	longestString = 2048
	marker        = "...(cut)"
	roomForLabels = 64 * 1024
	roomForLists  = 128 * 1024
	podIPs        = 16
)

// String returns s as a Testcr has it: bytes that are not UTF-8 are U+FFFD, and a
// string over 2,048 bytes is cut.
func String(s string) (_ string, cut bool) {
	if text, err := json.Marshal(s); err == nil {
		_ = json.Unmarshal(text, &s) // the text that was just written
	}
	if len(s) <= longestString {
		return s, false
	}
	var kept strings.Builder
	for _, r := range s {
		if kept.Len()+utf8.RuneLen(r)+len(marker) > longestString {
			break
		}
		kept.WriteRune(r)
	}
	return kept.String() + marker, true
}

// PodIPs returns how many of n IPs a Testcr has.
func PodIPs(n int) int { return min(n, podIPs) }

// Labels returns the labels that a Testcr has room for, and the room they take.
func Labels(labels map[string]string) (kept map[string]string, used int, cut bool) {
	keys := make([]string, 0, len(labels))
	for key := range labels {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	kept = map[string]string{}
	for _, key := range keys {
		size := room(key) + room(labels[key]) + len(`"":"",`)
		if used+size > roomForLabels {
			return kept, used, true
		}
		used += size
		kept[key] = labels[key]
	}
	return kept, used, false
}

// Containers returns how many of the containers a Testcr has room for beside its
// labels, which take used bytes. Each container has its name, image, ID and kind.
func Containers(containers [][4]string, used int) int {
	for n, c := range containers {
		used += len(`{"name":"","image":"","id":"","kind":""},`) + len(c[3])
		for _, s := range c[:3] {
			used += room(s)
		}
		if used > roomForLists {
			return n
		}
	}
	return len(containers)
}

// room is what s takes in JSON when all is escaped that an encoder may escape.
func room(s string) int {
	const escaped = len(`\u0000`)
	n := len(s)
	for _, r := range s {
		if r < 0x20 || strings.ContainsRune("\"\\<>&\u2028\u2029", r) {
			n += escaped - utf8.RuneLen(r)
		}
	}
	return n
}
