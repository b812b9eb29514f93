package plugin

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// The classes of the bytes of an address. A run of them is parsed only if it contains a
// dot or a colon, so that words cost little more than a scan.
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

// key is the result of netip.Addr.As16: IPv4 is mapped into IPv6.
type key = [16]byte

// annotate appends src[from:] to dst, with the label behind each address that has one in
// labels. src[from-1] is the byte before. It copies every byte, also invalid UTF-8. It
// allocates nothing if dst has the capacity, except for text that has the shape of an
// address but is none.
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

// token annotates src[start:end], a longest run of the bytes of addresses, and returns
// where to continue.
//
// Text that touches a letter, a digit or "_" is no address (v10.0.0.7, 10.0.0.7.log),
// unless a colon separates them (src:10.0.0.7, 10.0.0.7:http). Dots and a colon at the
// end are punctuation.
func (s *scan) token(start, end int) int {
	src, next := s.src, end
	if isWord[src[start-1]] {
		colon := bytes.IndexByte(src[start:end], ':')
		if colon < 0 {
			return next
		}
		start += colon + 1
	}
	// tcpdump separates the port by a dot: 10.0.0.7.8080 > 10.0.0.9.443:
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
		if k, ok := parse(src[start : start+colon]); ok {
			next = max(next, s.found(start+colon, k))
		}
		start += colon + 1
	}
	return next
}

// found appends the label of k behind src[:end]. If a label is there already, it returns
// the end of that, because the names in it may look like addresses.
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

// labelLength returns the length of the label at the beginning of b, or 0. A label is a
// bracket, a name, a slash, and any text up to the closing bracket.
func labelLength(b []byte) int {
	const longest = 700 // a node, a namespace and a Pod, 253 + 63 + 253 bytes, and separators
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

// parse returns the address b, which contains no bytes but those of addresses.
func parse(b []byte) (key, bool) {
	if !isShapedLikeAddress(b) {
		return key{}, false
	}
	// A copy of b would be an allocation for each address. Nothing keeps the string:
	// only the error refers to it.
	addr, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(b), len(b))) //nolint:gosec // G103
	if err != nil {
		return key{}, false
	}
	return addr.As16(), true
}

// isShapedLikeAddress returns false for most of what is no address, such as times and
// versions, because netip.ParseAddr allocates an error for it.
func isShapedLikeAddress(b []byte) bool {
	dots, colons, hasGap := 0, 0, false
	for i, c := range b {
		switch c {
		case '.':
			dots++
		case ':':
			colons++
			hasGap = hasGap || i > 0 && b[i-1] == ':'
		}
	}
	switch {
	case dots != 0 && dots != 3:
		return false
	case colons == 0:
		return dots == 3 && len(b) >= len("1.1.1.1") && len(b) <= len("255.255.255.255")
	case dots == 3:
		return hasGap || colons == 6
	default:
		return hasGap || colons == 7
	}
}
