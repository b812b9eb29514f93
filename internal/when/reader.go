package when

import (
	"bytes"
	"time"
)

const (
	// headLength bounds the bytes at the start of a line in which a timestamp begins.
	headLength = 200
	// maxPrefixWords bounds the words before a timestamp.
	maxPrefixWords = 4
	// tolerance is how far the clock of a log may be ahead of Reader.Now.
	tolerance = 24 * time.Hour
	// oldestHead is the age of the oldest epoch at the start of a line. It makes an
	// epoch of 3 % of all numbers of ten digits.
	oldestHead = 10 * 365 * 24 * time.Hour
)

// Reader reads the timestamps of log lines. It may be used concurrently.
//
// These are timestamps, each with a fraction behind a point or a comma or without, and
// most with a zone behind or without:
//
//   - 2026-11-26T03:12:45Z, 2026-11-26 03:12:45,123, 2026/11/26 03:12:45, 20261126T031245Z
//   - 26/Nov/2026:03:12:45 +0000, 26 Nov 2026 03:12:45, 26-Nov-2026 03:12:45
//   - Nov 26 03:12:45, Nov 26 2026 03:12:45, Thu Nov 26 03:12:45 2026
//   - I1126 03:12:45.123456, as klog has it
//   - an epoch: a number of seconds with 10 digits, or of milli-, micro- or
//     nanoseconds with 13, 16 or 19 digits, with decimals or an exponent or without
//
// A timestamp has seconds and a possible date from 1970 to 2199, and no letter or digit
// follows it. One with a year is not compared with Now. It counts in these places, the
// first of which is used:
//
//   - At the start of the line, or in its first 200 bytes behind a prefix of at most four
//     words. Each is in brackets, a level such as info, without small letters, or has a
//     digit, '-', '/' or '|'. A container may follow the name of a Pod with a '-', as in
//     the lines of stern. Colors are skipped. An epoch has no prefix but an opening
//     bracket, is followed by a space or the like, and is within ten years before Now
//     and a day after it.
//   - In a JSON object or a line in logfmt, at the start or behind such a prefix: the
//     value of the key @timestamp, or else timestamp, ts, time. In JSON the key is one
//     of the outermost object. An epoch is from 2001-09-09 to a day after Now.
//   - As 26/Nov/2026:03:12:45 +0000 in brackets, anywhere in the first 200 bytes.
//
// So an IP, a version, and a number or a date behind the first word of a message are no
// timestamps. A number at the start of a line that could be an epoch is one.
// Names of zones other than UTC and GMT are not read: such a time is in Location.
type Reader struct {
	// Location is the zone of timestamps without one. Nil is UTC.
	Location *time.Location
	// Now bounds an epoch, and sets the year of a timestamp without one: the latest
	// that is at most a day after Now. Without Now both are not read.
	Now time.Time
}

// Time returns the timestamp of line, in Location, and whether it has one. It takes
// time in proportion to the length of line, and does not allocate.
func (r *Reader) Time(line []byte) (time.Time, bool) {
	i := skipColor(line, skipSpaces(line, 0))
	head := line[:min(len(line), headLength)]
	isContainer := false // the next word may be a container, as in the lines of stern
	for word := 0; word <= maxPrefixWords && i < len(head); word++ {
		if t, ok := r.stamp(line[i:]); ok {
			return t, true
		}
		if word == 0 {
			if t, ok := r.epochHead(line[i:]); ok {
				return t, true
			}
		}
		if isObject(line[i:]) {
			return r.jsonTime(line[i:])
		}
		if isLogfmt(head[i:]) {
			return r.logfmtTime(line[i:])
		}
		end := prefixEnd(head, i)
		if end == 0 && isContainer {
			end = nameEnd(head, i)
		}
		if end == 0 {
			break
		}
		isContainer = word == 0 && end == nameEnd(head, i) && bytes.IndexByte(head[i:end], '-') > 0
		if head[i] == '[' { // [2026-11-26 03:12:45,123], and [pod/cart-1/main]
			if t, ok := r.bracketed(line[i+1:], word); ok {
				return t, true
			}
		}
		i = skipColor(line, skipSpaces(line, end))
	}
	return r.accessTime(head, line)
}

// bracketed reads the timestamp behind an opening bracket.
func (r *Reader) bracketed(b []byte, word int) (time.Time, bool) {
	if t, ok := r.stamp(b); ok || word > 0 {
		return t, ok
	}
	return r.epochHead(b)
}

// accessTime reads [26/Nov/2026:03:12:45 +0000] whose bracket is in head.
func (r *Reader) accessTime(head, line []byte) (time.Time, bool) {
	for i := 0; ; {
		next := bytes.IndexByte(head[i:], '[')
		if next < 0 {
			return time.Time{}, false
		}
		i += next + 1
		if len(line) > i+2 && line[i+2] == '/' {
			if t, ok := r.stamp(line[i:]); ok {
				return t, true
			}
		}
	}
}

// stamp reads a date and a time of day with seconds at the start of b.
func (r *Reader) stamp(b []byte) (time.Time, bool) {
	c, n := readCivil(b)
	if n == 0 || !c.hasSec {
		return time.Time{}, false
	}
	loc := r.location()
	if c.year == 0 && !c.inLatestYear(r.Now.Add(tolerance), loc) {
		return time.Time{}, false
	}
	return c.at(loc), true
}

// epochHead reads an epoch at the start of a line.
func (r *Reader) epochHead(b []byte) (time.Time, bool) {
	t, ok := r.epoch(b)
	if !ok || t.Before(r.Now.Add(-oldestHead)) {
		return time.Time{}, false
	}
	return t, true
}

// epoch reads an epoch that is the whole of a word.
func (r *Reader) epoch(b []byte) (time.Time, bool) {
	if len(b) < len("1.7e9") || !isDigit(b[0]) {
		return time.Time{}, false
	}
	t, n := readEpoch(b)
	if n == 0 || t.Unix() < 1_000_000_000 || n < len(b) && !isDelimiter(b[n]) {
		return time.Time{}, false
	}
	if t.After(r.Now.Add(tolerance)) {
		return time.Time{}, false
	}
	return t.In(r.location()), true
}

func (r *Reader) location() *time.Location {
	if r.Location == nil {
		return time.UTC
	}
	return r.Location
}

// prefixEnd returns the end of the word at head[i] that may be before a timestamp, 0 if
// it may not be.
func prefixEnd(head []byte, i int) int {
	if closing := closingOf(head[i]); closing != 0 {
		length := bytes.IndexByte(head[i:], closing) + 1
		if length == 0 {
			return 0
		}
		return i + length
	}
	end := i
	isPrefix, isLower := false, false
	for ; end < len(head) && !isSpace(head[end]); end++ {
		switch c := head[end]; {
		case c >= 'a' && c <= 'z':
			isLower = true
		case isDigit(c) || c == '-' || c == '/' || c == '|':
			isPrefix = true
		case c == 0x1b && end > i: // the end of a color
			return end
		}
	}
	if isPrefix || !isLower || isLevel(head[i:end]) {
		return end
	}
	return 0
}

// nameEnd returns the end of the word at head[i] if it is a name of Kubernetes, else 0.
func nameEnd(head []byte, i int) int {
	for ; i < len(head) && !isSpace(head[i]); i++ {
		if c := head[i]; !isDigit(c) && (c < 'a' || c > 'z') && c != '-' && c != '.' {
			return 0
		}
	}
	return i
}

func closingOf(c byte) byte {
	switch c {
	case '[':
		return ']'
	case '(':
		return ')'
	case '<':
		return '>'
	}
	return 0
}

// isLevel reports whether word is a level of logs, in any case.
func isLevel(word []byte) bool {
	word = bytes.TrimRight(word, ":,")
	for _, level := range [...]string{
		"trace", "debug", "info", "notice", "warn", "warning", "error", "err", "crit", "critical", "alert", "emerg", "fatal", "panic",
	} {
		if len(word) == len(level) && bytes.EqualFold(word, []byte(level)) {
			return true
		}
	}
	return false
}

// isDelimiter reports whether c may follow an epoch.
func isDelimiter(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ']', '}', ',', ';', '|', '"', 0x1b:
		return true
	}
	return false
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func skipSpaces(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// skipColor skips the escape sequences of colors at b[i].
func skipColor(b []byte, i int) int {
	for i+1 < len(b) && b[i] == 0x1b && b[i+1] == '[' {
		end := i + 2
		for end < len(b) && (isDigit(b[end]) || b[end] == ';') {
			end++
		}
		if end == len(b) || b[end] != 'm' {
			break
		}
		i = end + 1
	}
	return i
}
