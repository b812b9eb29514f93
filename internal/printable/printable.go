// Package printable escapes text of a cluster, so that it controls no terminal
// and forges no line.
package printable

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"
)

// None is what kubectl prints for a missing value.
const None = "<none>"

// OrNone returns s, or None if s is empty.
func OrNone(s string) string { return cmp.Or(s, None) }

// Age returns the time since created as kubectl prints it, "<unknown>" for the zero
// time.
func Age(created time.Time) string {
	if created.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(time.Since(created))
}

// Text returns s on one line: each character that is not printable is escaped as
// in JSON, such as \u001b. That covers control, format and bidirectional characters and
// every space but the ordinary one. A byte that is not UTF-8 is U+FFFD.
func Text(s string) string {
	if !strings.ContainsFunc(s, isHidden) && utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, 2*len(s))
	for _, r := range s {
		if isHidden(r) {
			out = appendEscape(out, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}

// JSON returns encoded JSON in which Text would find nothing to escape but the
// line feeds and tabs of its indentation. It decodes to the same value.
func JSON(text []byte) []byte {
	return Quoted(text, appendEscape)
}

// Quoted replaces what is neither ASCII nor printable, and DEL, by what escape
// appends. In text where that can be only in quoted strings, escape is an escape
// sequence of theirs.
func Quoted(text []byte, escape func([]byte, rune) []byte) []byte {
	if !HasHidden(text) {
		return text
	}
	out := make([]byte, 0, len(text)+len(text)/8)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r >= unicode.MaxASCII && isHidden(r) {
			out = escape(out, r)
		} else {
			out = append(out, text[:size]...)
		}
		text = text[size:]
	}
	return out
}

// HasHidden reports whether Quoted would change text.
func HasHidden(text []byte) bool {
	for i, c := range text {
		if c < unicode.MaxASCII { // the common case is cheap
			continue
		}
		for _, r := range string(text[i:]) {
			if r >= unicode.MaxASCII && isHidden(r) {
				return true
			}
		}
		return false
	}
	return false
}

// Lines is a writer that escapes as Text does, but for line feeds and tabs. Each
// Write takes whole characters.
type Lines struct{ io.Writer }

func (l Lines) Write(p []byte) (int, error) {
	lines := strings.Split(string(p), "\n")
	for i, line := range lines {
		fields := strings.Split(line, "\t")
		for j := range fields {
			fields[j] = Text(fields[j])
		}
		lines[i] = strings.Join(fields, "\t")
	}
	if _, err := io.WriteString(l.Writer, strings.Join(lines, "\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

func isHidden(r rune) bool { return !unicode.IsPrint(r) }

func appendEscape(out []byte, r rune) []byte {
	for _, unit := range utf16.AppendRune(nil, r) {
		out = fmt.Appendf(out, `\u%04x`, unit)
	}
	return out
}
