package plugin

import (
	"bytes"
	"encoding/binary"
)

// The bytes of an address. A run of them is looked at only if it has a dot or a
// colon, so that words cost little more than their length.
const (
	isDigit = 1 << iota
	isHexLetter
	isDot
	isColon
)

var (
	class  [256]uint8
	isWord [256]bool
)

func init() {
	for c := range 256 {
		switch c := byte(c); {
		case '0' <= c && c <= '9':
			class[c] = isDigit
		case 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
			class[c] = isHexLetter
		case c == '.':
			class[c] = isDot
		case c == ':':
			class[c] = isColon
		}
		isWord[c] = class[c]&(isDigit|isHexLetter) != 0 || 'g' <= c && c <= 'z' || 'G' <= c && c <= 'Z' || c == '_'
	}
}

// key is an address as netip.Addr.As16 has it: IPv4 is mapped into IPv6.
type key = [16]byte

// annotate appends src from the byte at from to dst, and behind each address
// that labels know its label. src[from-1] is what came before. It reads bytes,
// not runes, and gives back each of them: what is not UTF-8 stays as it is. It
// allocates nothing where dst has room.
func annotate(dst, src []byte, from int, labels map[key]string) []byte {
	s := scan{dst: dst, src: src, done: from, labels: labels}
	i := from
	for i < len(src) {
		start, seen := i, class[src[i]]
		i++
		if seen == 0 {
			continue
		}
		for i < len(src) && class[src[i]] != 0 {
			seen |= class[src[i]]
			i++
		}
		if seen&(isDot|isColon) != 0 && i-start > 2 {
			i = s.token(start, i)
		}
	}
	return append(s.dst, src[s.done:]...)
}

type scan struct {
	dst, src []byte
	done     int // src[:done] is in dst
	labels   map[key]string
}

// token looks at src[start:end], a longest run of the bytes of addresses, and
// returns where to go on.
//
// What touches a letter, a digit or "_" is no address (v10.0.0.7, 10.0.0.7.log),
// but for what a colon sets apart (src:10.0.0.7, 10.0.0.7:http). Dots and a
// colon at the end are punctuation.
func (s *scan) token(start, end int) int {
	src, next := s.src, end
	if isWord[src[start-1]] {
		colon := bytes.IndexByte(src[start:end], ':')
		if colon < 0 {
			return next
		}
		start += colon + 1
	}
	// tcpdump puts the port behind a dot: 10.0.0.7.8080 > 10.0.0.9.443:
	dumped := bytes.HasPrefix(src[end:], []byte(" >"))
	if end < len(src) && isWord[src[end]] {
		colon := bytes.LastIndexByte(src[start:end], ':')
		if colon < 0 {
			return next
		}
		end = start + colon
	}
	for end > start && src[end-1] == '.' {
		end--
	}
	if end-start > 1 && src[end-1] == ':' && src[end-2] != ':' {
		end, dumped = end-1, true
	}
	if end-start > 1 && src[start] == ':' && src[start+1] != ':' {
		start++
	}
	if k, ok := parse(src[start:end]); ok {
		return max(next, s.found(end, k))
	}
	if dot := start + bytes.LastIndexByte(src[start:end], '.'); dumped && dot > start && isPort(src[dot+1:end]) {
		if k, ok := parse(src[start:dot]); ok {
			return max(next, s.found(dot, k))
		}
	}
	for start < end { // 10.0.0.7:8080, 10.0.0.7:8080:10.0.0.9
		colon := bytes.IndexByte(src[start:end], ':')
		if colon < 0 {
			colon = end - start
		}
		if v4, ok := parse4(src[start : start+colon]); ok {
			next = max(next, s.found(start+colon, mapped(v4)))
		}
		start += colon + 1
	}
	return next
}

// found puts the label of k behind src[:end], unless one is there already. Then
// it returns the end of that: the names in it may look like addresses, too.
func (s *scan) found(end int, k key) (next int) {
	if n := labelLength(s.src[end:]); n > 0 {
		return end + n
	}
	if label, ok := s.labels[k]; ok {
		s.dst = append(append(s.dst, s.src[s.done:end]...), label...)
		s.done = end
	}
	return 0
}

// labelLength returns the length of the label that b begins with, 0 for none: a
// bracket, a name, a slash, and so on to the bracket that closes it.
func labelLength(b []byte) int {
	const longest = 700 // a node, a namespace and a Pod, 253 + 63 + 253 bytes, and what is between them
	if len(b) == 0 || b[0] != '[' {
		return 0
	}
	b = b[:min(len(b), longest)]
	i := 1
	for i < len(b) && (isWord[b[i]] || b[i] == '-' || b[i] == '.') {
		i++
	}
	if i == 1 || i == len(b) || b[i] != '/' {
		return 0
	}
	for ; i < len(b) && b[i] != '\n'; i++ {
		if b[i] == ']' {
			return i + 1
		}
	}
	return 0
}

func isPort(b []byte) bool {
	port := 0
	for _, c := range b {
		if class[c] != isDigit || port > 65535 {
			return false
		}
		port = port*10 + int(c-'0')
	}
	return len(b) > 0 && port <= 65535
}

// parse reads an address as netip.ParseAddr does, which would allocate for the
// error that each time of day in a log costs. A zone cannot be in b.
func parse(b []byte) (key, bool) {
	if bytes.IndexByte(b, ':') >= 0 {
		return parse6(b)
	}
	v4, ok := parse4(b)
	return mapped(v4), ok
}

func mapped(v4 [4]byte) key {
	return key{10: 0xff, 11: 0xff, 12: v4[0], 13: v4[1], 14: v4[2], 15: v4[3]}
}

func parse4(b []byte) (addr [4]byte, ok bool) {
	if len(b) < len("1.1.1.1") || len(b) > len("255.255.255.255") {
		return addr, false
	}
	field, value, digits := 0, 0, 0
	for _, c := range b {
		switch {
		case class[c] == isDigit:
			value = value*10 + int(c-'0')
			if digits++; value > 255 || digits > 1 && value < 10 { // 010 may be 8 or 10
				return addr, false
			}
		case c != '.' || digits == 0 || field == 3:
			return addr, false
		default:
			addr[field] = byte(value) //nolint:gosec // G115: at most 255
			field, value, digits = field+1, 0, 0
		}
	}
	addr[3] = byte(value)
	return addr, field == 3 && digits > 0
}

func parse6(b []byte) (addr key, ok bool) {
	n, gap := 0, -1 // bytes of addr that are filled, and where among them "::" was
	if len(b) > 1 && b[0] == ':' && b[1] == ':' {
		b, gap = b[2:], 0
	}
	for len(b) > 0 {
		if n > 14 {
			return addr, false
		}
		group, digits := parseHex(b)
		if digits < len(b) && b[digits] == '.' {
			v4, ok := parse4(b)
			if !ok || n > 12 {
				return addr, false
			}
			n += copy(addr[n:], v4[:])
			break
		}
		if digits == 0 || digits > 4 {
			return addr, false
		}
		binary.BigEndian.PutUint16(addr[n:], group)
		n, b = n+2, b[digits:]
		switch {
		case len(b) == 0:
		case b[0] != ':' || len(b) == 1:
			return addr, false
		case b[1] != ':':
			b = b[1:]
		case gap >= 0:
			return addr, false
		default:
			b, gap = b[2:], n
		}
	}
	if n == 16 || gap < 0 {
		return addr, n == 16 && gap < 0
	}
	copy(addr[16-n+gap:], addr[gap:n])
	clear(addr[gap : 16-n+gap])
	return addr, true
}

// parseHex returns the number that b begins with, and its length: 5 for more
// than 4 digits.
func parseHex(b []byte) (value uint16, digits int) {
	for digits < len(b) && digits < 5 {
		switch c := b[digits]; class[c] {
		case isDigit:
			value = value<<4 | uint16(c-'0')
		case isHexLetter:
			value = value<<4 | uint16(c|0x20-'a'+10)
		default:
			return value, digits
		}
		digits++
	}
	return value, digits
}
