package query

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// IsAlias reports whether s, which matches t, has the fact by an annotation alone: a
// user who may change a Pod can write any IP and any UID there.
func (t Term) IsAlias(s *v1.TestcrSpec) bool {
	switch t.Kind {
	case IP:
		return !slices.ContainsFunc(s.PodIPs, t.isAddr)
	case UID:
		return !t.is(s.PodUID)
	}
	return false
}

// AnyAlias reports whether s has any of the facts by an annotation alone.
func AnyAlias(terms []Term, s *v1.TestcrSpec) bool {
	for i := range terms {
		if terms[i].IsAlias(s) {
			return true
		}
	}
	return false
}

// CompareFor orders Pods that match terms: those that have a fact by an annotation alone
// come last. The others are in the order of Compare, but of the holders of an IP the one
// that started last is first.
func CompareFor(terms []Term, a, b *v1.TestcrSpec) int {
	if byAlias := compareBool(AnyAlias(terms, a), AnyAlias(terms, b)); byAlias != 0 {
		return byAlias
	}
	return CompareHolders(terms, a, b)
}

// CompareHolders is CompareFor of Pods that are alike in AnyAlias. Times count in whole
// seconds, as in JSON, so that a Pod which was encoded keeps its place.
func CompareHolders(terms []Term, a, b *v1.TestcrSpec) int {
	if Rank(a) == Rank(b) && slices.ContainsFunc(terms, isOneIP) {
		if byStart := cmp.Compare(started(b), started(a)); byStart != 0 {
			return byStart
		}
	}
	return Compare(a, b)
}

func isOneIP(t Term) bool { return t.Kind == IP && t.IsExact() }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// NoteFor returns why s, which matches terms, may not be the intended Pod, or how it has
// the facts. It is "" for a live Pod with its own IP.
func NoteFor(terms []Term, s *v1.TestcrSpec) string {
	var notes []string
	for i := range terms {
		if note := terms[i].claim(s); note != "" {
			notes = append(notes, note)
		}
	}
	if note := Note(s); note != "" {
		notes = append(notes, note)
	}
	return strings.Join(notes, "; ")
}

// claim returns how s has the fact t, if that is not as expected.
func (t Term) claim(s *v1.TestcrSpec) string {
	switch {
	case t.Kind == Container:
		return t.previousIn(s)
	case !t.IsAlias(s):
		return ""
	case t.Kind == UID:
		return "its UID on the node, by an annotation"
	}
	for i := range s.NetworkIPs {
		if n := &s.NetworkIPs[i]; t.isAddr(n.IP) {
			return strings.TrimSpace("its IP in the network "+n.Network) + ", by an annotation"
		}
	}
	return ""
}

// previousIn returns the note on a container ID of before a restart.
func (t Term) previousIn(s *v1.TestcrSpec) string {
	note := ""
	for i := range s.Containers {
		c := &s.Containers[i]
		if t.isID(c.ID) {
			return ""
		}
		if c.PreviousID != "" && t.isID(c.PreviousID) {
			note = fmt.Sprintf("previous container of %s, %s (%d)", c.Name, cmp.Or(c.PreviousReason, "ended"), c.PreviousExitCode)
		}
	}
	return note
}

// maxImageParts bounds the facts of one image.
const maxImageParts = 8

// ImageFacts calls yield with the names that an image is found by: the reference, with
// and without its tag or digest, and without one or more of its first parts; and the
// digests of the reference and of the ID. For example docker.io/library/nginx:1.29 is
// also nginx:1.29 and nginx.
func ImageFacts(c *v1.Container, yield func(string) bool) {
	for _, ref := range []string{c.Image, c.ImageID} {
		if _, after, ok := strings.Cut(ref, "://"); ok { // docker-pullable://nginx@sha256:...
			ref = after
		}
		name, digest, isDigested := strings.Cut(ref, "@")
		if !isDigested && strings.HasPrefix(ref, "sha256:") {
			name, digest = "", ref
		}
		if digest != "" && !yield(digest) {
			return
		}
		for range maxImageParts {
			if name == "" {
				break
			}
			if !yieldName(name, digest, yield) {
				return
			}
			_, name, _ = strings.Cut(name, "/")
		}
	}
}

// yieldName yields a name with and without its tag, and with its digest.
func yieldName(name, digest string, yield func(string) bool) bool {
	if !yield(name) {
		return false
	}
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') && !yield(name[:colon]) {
		return false
	}
	return digest == "" || yield(name+"@"+digest)
}

func (t Term) isImage(c v1.Container) bool {
	is := false
	ImageFacts(&c, func(fact string) bool {
		is = fact == t.Text
		return !is
	})
	return is
}

func (t Term) hasLabel(labels map[string]string) bool {
	key, value, _ := strings.Cut(t.Text, "=")
	got, ok := labels[key]
	return ok && got == value
}

// imageOrLabel returns the reading of s as a label or as an image with a tag or a digest.
func imageOrLabel(s string) []Term {
	if key, _, ok := strings.Cut(s, "="); ok && isLabelKey(key) {
		if t, err := ParseAs(Label, s); err == nil {
			return []Term{t}
		}
	}
	name, _, isDigested := strings.Cut(s, "@sha256:")
	tag := strings.LastIndexByte(name, ':')
	isTagged := tag > strings.LastIndexByte(name, '/') && tag < len(name)-1
	if _, err := netip.ParseAddr(name[:max(tag, 0)]); err == nil {
		return nil // an address with something that is no port
	}
	if isDigested || strings.HasPrefix(s, "sha256:") || tag > 0 && isTagged {
		if t, err := ParseAs(Image, s); err == nil {
			return []Term{t}
		}
	}
	return nil
}

// isLabelKey reports whether s is the key of a label, with or without a prefix.
func isLabelKey(s string) bool {
	prefix, name, ok := strings.Cut(s, "/")
	if !ok {
		prefix, name = "x", s
	}
	const others = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	lower := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	return isName(prefix) && len(name) <= 63 && isName(lower) && strings.Trim(name, others+"abcdefghijklmnopqrstuvwxyz0123456789.-") == ""
}
