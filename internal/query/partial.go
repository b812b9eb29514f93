package query

import (
	"net/netip"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const (
	// minPart is the least of a name that is looked for without "*".
	minPart = 3
	// minPrefix is the least of a UID or a container ID. kubectl, docker and git users
	// cut to 7 and more.
	minPrefix = 6
	// widest4 and widest6 bound a range of IPs: the Pods of one cluster.
	widest4, widest6 = 16, 48
	// maxName is the longest name of a Pod.
	maxName = 253
)

// network returns s as a prefix of many addresses.
func network(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		return netip.Prefix{}, false // errors of netip cost an allocation
	}
	prefix, err := netip.ParsePrefix(s)
	if addr := prefix.Addr(); err == nil && addr.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	return prefix, err == nil && prefix == prefix.Masked() && !prefix.IsSingleIP()
}

// inRange returns the term of a range of IPs, or nil if it is too wide.
func inRange(prefix netip.Prefix) []Term {
	if addr, bits := prefix.Addr(), prefix.Bits(); addr.Is4() && bits < widest4 || addr.Is6() && bits < widest6 {
		return nil
	}
	return []Term{{Kind: IP, Text: prefix.String(), Prefix: prefix}}
}

// partial returns the readings of s as a part of a fact: the beginning of a container
// ID or of a UID, or any part of a name.
func partial(s string) (terms []Term) {
	namespace, name, isSlashed := strings.Cut(s, "/")
	if !isSlashed {
		name = s
		prefix := strings.ToLower(strings.TrimSuffix(s, "*"))
		if len(prefix) < v1.ContainerIDPrefix {
			terms = containers(prefix)
		}
		if uid, ok := uidPrefix(prefix); ok {
			terms = append(terms, Term{Kind: UID, Text: uid + "*", Partial: true})
		}
	}
	glob, ok := globOf(strings.ToLower(name))
	switch {
	case !ok:
	case !isSlashed || isPodType(namespace):
		terms = append(terms, Term{Kind: Name, Text: glob, Partial: true})
	case isBuiltin(namespace):
		for _, t := range typed(namespace, glob) {
			if t.Partial = true; strings.Contains(name, "*") { // a whole name is exact
				terms = append(terms, t)
			}
		}
	case isLabel(namespace):
		terms = append(terms, Term{Kind: Key, Text: namespace + "/" + glob, Partial: true})
	}
	return terms
}

// containers returns the reading of id, in lower case, as the beginning of a container
// ID. With fewer digits than the label of a Testcr has, it is partial.
func containers(id string) []Term {
	switch {
	case !isHex(id) || len(id) < minPrefix:
		return nil
	case len(id) < v1.ContainerIDPrefix:
		return []Term{{Kind: Container, Text: id + "*", Partial: true}}
	}
	return []Term{{Kind: Container, Text: id}}
}

// uidPrefix returns s as the beginning of a UID. The dashes may be missing.
func uidPrefix(s string) (string, bool) {
	s = strings.ReplaceAll(s, "_", "-")
	if isHex(s) && len(s) > 8 && len(s) < 32 {
		whole := dashed(s + strings.Repeat("0", 32-len(s)))
		dashes := 0
		for _, at := range []int{8, 12, 16, 20} {
			if len(s) > at {
				dashes++
			}
		}
		s = whole[:len(s)+dashes]
	}
	if len(s) < minPrefix || len(s) >= 36 {
		return "", false
	}
	for i := range len(s) {
		isDash := i == 8 || i == 13 || i == 18 || i == 23
		if isDash != (s[i] == '-') || !isDash && !isHexByte(s[i]) {
			return "", false
		}
	}
	return s, true
}

// expandDots returns a word that was cut for display with "*" for its dots.
func expandDots(s string) string {
	if strings.ContainsAny(s, separators) {
		return s
	}
	for _, dots := range []string{"\u2026", "..."} {
		if before, ok := strings.CutSuffix(s, dots); ok {
			return before + "*"
		}
	}
	return s
}

// globOf returns a pattern for names that contain s, or for those that s matches if it
// has a "*".
func globOf(s string) (string, bool) {
	bare := strings.ReplaceAll(s, "*", "")
	for i := range len(bare) {
		if c := bare[i]; !isAlphanumeric(c) && c != '-' && c != '.' {
			return "", false
		}
	}
	switch {
	case len(bare) > maxName || strings.HasSuffix(s, ".") || !strings.ContainsFunc(bare, func(r rune) bool { return r != '-' && r != '.' }):
		return "", false
	case len(bare) < len(s):
		return s, true
	case len(s) < minPart:
		return "", false
	}
	return "*" + s + "*", true
}

// matchesGlob reports whether "*" in pattern can stand for the rest of s. It takes time
// in proportion to the length of both, but for names that repeat themselves.
func matchesGlob(pattern, s string) bool {
	first, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == s
	}
	if s, ok = strings.CutPrefix(s, first); !ok {
		return false
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(part):], next
	}
}

func isHexByte(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
