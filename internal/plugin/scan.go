package plugin

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// The classes of the bytes of facts. Runs of them are looked at only if they have a dot
// or a colon, or the length of a UID's first group, so that words cost little more than
// a scan.
const (
	isDigit = 1 << iota
	isHexLetter
	isDot
	isColon
)

const (
	firstGroup  = 8  // digits of a UID in front of its first dash
	shortID     = 12 // digits of a container ID that docker ps shows; crictl ps shows one more
	longID      = 64
	longAddress = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")
	longPort    = len(".65535")
	notHex      = 0xff
)

var (
	class    [256]uint8
	hexValue [256]uint8
	isWord   [256]bool
	// inLabel contains the bytes of labels between their brackets: see clean.
	inLabel [256]bool
)

func init() {
	for c := range 256 {
		hexValue[c] = notHex
		switch c := byte(c); {
		case '0' <= c && c <= '9':
			class[c], hexValue[c] = isDigit, c-'0'
		case 'a' <= c && c <= 'f':
			class[c], hexValue[c] = isHexLetter, c-'a'+10
		case 'A' <= c && c <= 'F':
			class[c], hexValue[c] = isHexLetter, c-'A'+10
		case c == '.':
			class[c] = isDot
		case c == ':':
			class[c] = isColon
		}
		isWord[c] = class[c]&(isDigit|isHexLetter) != 0 || 'g' <= c && c <= 'z' || 'G' <= c && c <= 'Z' || c == '_'
		inLabel[c] = isWord[c] || bytes.IndexByte([]byte("-.?/+ "), byte(c)) >= 0
	}
}

// key is a UID, or the result of netip.Addr.As16: IPv4 is mapped into IPv6.
type key = [16]byte

// annotate appends src[from:] to dst, with the label behind each fact that has one in
// known. src[from-1] is the byte before. It copies every byte, also invalid UTF-8. It
// allocates nothing if dst has the capacity, except for text that has the shape of an
// address but is none.
func annotate(dst, src []byte, from int, known *labels) []byte {
	s := scan{dst: dst, src: src, done: from, known: known}
	s.run(from)
	return append(s.dst, src[s.done:]...)
}

// scan finds facts. Behind a fact it goes on as it does behind the label of a fact, so
// that it finds the same in a text with labels.
type scan struct {
	dst, src []byte
	done     int // src[:done] is in dst
	edge     int // a fact or its label ends here, so that the next byte does not touch a word
	known    *labels
	facts    []fact // up to maxFacts+1 facts with labels, if it is not nil
}

// fact is src[start:end].
type fact struct {
	start, end int
	label      label
}

// run looks for facts in src[i:].
func (s *scan) run(i int) {
	src := s.src
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
		switch n := i - start; {
		case seen&(isDot|isColon) != 0 && n > 2:
			i = s.token(start, i)
		case n >= firstGroup:
			i = s.digits(start, i)
		}
	}
}

// digits annotates src[start:end], a longest run of hexadecimal digits, and returns where
// to continue.
func (s *scan) digits(start, end int) int {
	if next := s.id(start, end); next != 0 {
		return next
	}
	if next := s.uid(start, end); next != 0 {
		return next
	}
	return end
}

// token annotates src[start:end], a longest run of the bytes of addresses, and returns
// where to continue.
//
// Text that touches a letter, a digit or "_" is no address (v10.0.0.7, 10.0.0.7.log),
// unless a colon separates them (src:10.0.0.7, 10.0.0.7:http). Dots and a colon at the
// end are punctuation.
func (s *scan) token(start, end int) int {
	last, dumped := s.addressEnd(start, end)
	for at := start; end-at > 2; {
		next, isAddress := s.address(at, last, dumped)
		if next == 0 && !isAddress {
			next = s.pieces(at, end, last)
		}
		if next > end {
			return next
		}
		if next == 0 {
			break
		}
		at = next
	}
	if next := s.uid(start, end); next != 0 {
		return next
	}
	return end
}

// addressEnd returns where the last address in src[start:end] may end, and whether a port
// may follow a dot, as tcpdump writes it: 10.0.0.7.8080 > 10.0.0.9.443:
func (s *scan) addressEnd(start, end int) (last int, dumped bool) {
	src := s.src
	dumped = bytes.HasPrefix(src[end:], []byte(" >"))
	if end < len(src) && isWord[src[end]] {
		colon := bytes.LastIndexByte(src[start:end], ':')
		end = start + max(colon, 0)
	}
	for end > start && src[end-1] == '.' {
		end--
	}
	if end-start > 1 && src[end-1] == ':' && src[end-2] != ':' {
		end, dumped = end-1, true
	}
	return end, dumped
}

// address annotates src[at:end] if it is an address, perhaps with a port that tcpdump
// wrote. It returns where to continue, and otherwise 0 and whether it is the address of
// nobody.
func (s *scan) address(at, end int, dumped bool) (next int, isAddress bool) {
	free, escape := s.begins(at)
	if !free && escape == 0 {
		colon := bytes.IndexByte(s.src[at:max(at, end)], ':')
		if colon < 0 {
			return 0, false
		}
		at, free = at+colon+1, true
	}
	if free {
		next, isAddress = s.addressAt(at, end, dumped)
	}
	if escape > 0 && !isAddress {
		next, isAddress = s.addressAt(at+escape, end, dumped)
	}
	return next, isAddress
}

func (s *scan) addressAt(at, end int, dumped bool) (next int, isAddress bool) {
	src := s.src
	if end-at > 1 && src[at] == ':' && src[at+1] != ':' {
		at++
	}
	if at >= end || end-at > longAddress+longPort {
		return 0, false
	}
	if k, ok := parse(src[at:end]); ok {
		return s.found(at, end, s.known.ip(k)), true
	}
	if dot := at + bytes.LastIndexByte(src[at:end], '.'); dumped && dot > at && isPort(src[dot+1:end]) {
		if k, ok := parse(src[at:dot]); ok {
			return s.found(at, dot, s.known.ip(k)), true
		}
	}
	return 0, false
}

// pieces annotates the first fact between colons in src[at:end], as in
// 10.0.0.7:8080:10.0.0.9, and returns where to continue, or 0. An address ends at last.
func (s *scan) pieces(at, end, last int) int {
	for at < end {
		stop := at + bytes.IndexByte(s.src[at:end], ':')
		if stop < at {
			stop = end
		}
		if n := min(stop, last) - at; n >= len("1.1.1.1") && n <= len("003e255.255.255.255") {
			if next, _ := s.address(at, min(stop, last), false); next != 0 {
				return next
			}
		}
		for stop-at >= shortID {
			dot := at + bytes.IndexByte(s.src[at:stop], '.')
			if dot < at {
				dot = stop
			}
			if next := s.id(at, dot); next != 0 {
				return next
			}
			at = dot + 1
		}
		at = stop + 1
	}
	return 0
}

// found appends label, unless it is "", behind the fact src[start:end], and returns where
// to continue, or 0. If a label is there already, whatever it says, it is skipped, because
// the names in it may look like facts.
func (s *scan) found(start, end int, label label) (next int) {
	if n := labelLength(s.src[end:]); n > 0 {
		s.edge = end + n
		return s.edge
	}
	if label == "" {
		return 0
	}
	s.dst = append(append(s.dst, s.src[s.done:end]...), label.text()...)
	s.done, s.edge = end, end
	if s.facts != nil && len(s.facts) <= maxFacts {
		s.keep(start, end, label)
	}
	return end
}

// keep appends a fact to s.facts, unless the same text is there.
func (s *scan) keep(start, end int, label label) {
	for _, f := range s.facts {
		if f.end-f.start == end-start && bytes.Equal(s.src[f.start:f.end], s.src[start:end]) {
			return
		}
	}
	s.facts = append(s.facts, fact{start, end, label})
}

// id annotates src[at:end], a longest run of hexadecimal digits, if it is a container ID
// or at least its first 12 digits, or a UID without dashes, and returns where to
// continue, or 0. A whole ID may touch a word in front of it (\u003e4f5c...). Less must
// be a word of its own, and between dashes it is a part of a name or of another UUID.
func (s *scan) id(at, end int) (next int) {
	src := s.src
	if end-at < shortID || end < len(src) && isWord[src[end]] && src[end] != '_' {
		return 0
	}
	if end-at >= longID {
		if next := s.idAt(end-longID, end); next != 0 || end-at == longID {
			return next
		}
	}
	if end < len(src) && (src[end] == '_' || src[end] == '-') || at > s.edge && src[at-1] == '-' {
		return 0
	}
	free, escape := s.begins(at)
	if free {
		next = s.idAt(at, end)
	}
	if next == 0 && escape > 0 {
		next = s.idAt(at+escape, end)
	}
	return next
}

func (s *scan) idAt(at, end int) int {
	b := s.src[at:end]
	if len(b) < shortID || len(b) > longID {
		return 0
	}
	// A number in JSON must stay one. In a string it may be an ID: "123456789012",
	// containerd://123456789012.
	if before := s.src[at-1]; before != '"' && before != '/' && isNumber(b) {
		return 0
	}
	label := s.known.container(b)
	if label == "" && len(b) == undashed && s.known.past == nil { // the ID of a trace, which would be asked for
		uid, _ := parseUID(b)
		label = s.known.uid(uid)
	}
	return s.found(at, end, label)
}

// isNumber reports whether b, of hexadecimal digits, is a number of JSON: 12, 12e3.
func isNumber(b []byte) bool {
	letters := 0
	for _, c := range b {
		if class[c] == isHexLetter {
			if letters++; letters > 1 || c != 'e' && c != 'E' {
				return false
			}
		}
	}
	return true
}

// uid annotates the UID whose first group ends src[start:end], and returns where to
// continue, or 0 if there is none. It may touch a word in front of it (pod8b5c43ef-...),
// because no other text has 128 bits in common with a UID. A UID that is not known is
// skipped, so that no part of it is taken for something else.
func (s *scan) uid(start, end int) int {
	at := end - firstGroup
	if at < max(start, s.edge) || end == len(s.src) || dashLength(s.src[end:]) == 0 {
		return 0
	}
	uid, n := parseUID(s.src[at:])
	if n == 0 {
		return 0
	}
	if next := s.found(at, at+n, s.known.uid(uid)); next != 0 {
		return next
	}
	return at + n
}

// undashed is the length of a UID without dashes.
const undashed = 32

// parseUID returns the UID at the beginning of b and its length, or 0. It has dashes, as
// systemd writes them in names of slices ("_") or of mounts ("\x2d"), or none.
func parseUID(b []byte) (uid key, n int) {
	digits := 0
	for _, group := range [...]int{firstGroup, 4, 4, 4, 12} {
		if digits > 0 {
			dash := dashLength(b[n:])
			if dash == 0 && n != digits {
				return uid, 0
			}
			n += dash
		}
		if len(b)-n < group {
			return uid, 0
		}
		for range group / 2 {
			high, low := hexValue[b[n]], hexValue[b[n+1]]
			if high == notHex || low == notHex {
				return uid, 0
			}
			uid[digits/2] = high<<4 | low
			digits, n = digits+2, n+2
		}
	}
	if n < len(b) && isWord[b[n]] && b[n] != '_' {
		return uid, 0
	}
	return uid, n
}

// dashLength returns the length of the dash at the beginning of b, or 0.
func dashLength(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == '-' || b[0] == '_':
		return 1
	case bytes.HasPrefix(b, []byte(`\x2d`)):
		return len(`\x2d`)
	case bytes.HasPrefix(b, []byte(`\\x2d`)): // in JSON
		return len(`\\x2d`)
	}
	return 0
}

// begins reports whether a fact may begin at src[at], because no word is in front of it,
// and how many of the bytes there belong to an escape sequence, behind which one may
// begin as well: \b10.0.0.7 has an "e" in front of it, or the letter b in JSON.
func (s *scan) begins(at int) (free bool, escape int) {
	if at == s.edge {
		return true, 0
	}
	before := s.src[s.edge:at]
	switch c := before[len(before)-1]; {
	case c == '\\':
		if first := s.src[at]; first == 'a' || first == 'b' || first == 'e' || first == 'f' {
			escape = 1
		}
		return true, escape
	case c == '%': // in URLs
		return true, s.escaped(at, 2)
	case !isWord[c]:
		return true, 0
	case len(before) > 1 && before[len(before)-2] == '\\':
		switch c {
		case 'n', 'r', 't', 'v':
			return true, 0
		case 'u':
			return false, s.escaped(at, 4)
		case 'x':
			return false, s.escaped(at, 2)
		}
	}
	return endsWithColor(before), 0
}

// escaped returns digits if the hexadecimal digits at src[at:] escape a character that
// belongs to no word, and 0 otherwise.
func (s *scan) escaped(at, digits int) int {
	if len(s.src)-at < digits {
		return 0
	}
	char := 0
	for _, c := range s.src[at : at+digits] {
		if hexValue[c] == notHex {
			return 0
		}
		char = char<<4 | int(hexValue[c])
	}
	if char < len(isWord) && isWord[char] {
		return 0
	}
	return digits
}

// endsWithColor reports whether b ends with a control sequence of terminals, such as
// ESC [ 32 m. ESC may be escaped, as in JSON, in Go and in shells.
func endsWithColor(b []byte) bool {
	const longest = 32 // parameters
	end := len(b) - 1  // of the parameters: a letter follows
	if b[end] == '_' || class[b[end]] != 0 {
		return false
	}
	at := end
	for at > 0 && end-at < longest && (class[b[at-1]] == isDigit || b[at-1] == ';' || b[at-1] == ':') {
		at--
	}
	if at == 0 || b[at-1] != '[' {
		return false
	}
	for _, esc := range []string{"\x1b", `\u001b`, `\u001B`, `\x1b`, `\x1B`, `\033`, `\e`, `^[`, `#033`} {
		if n := at - 1 - len(esc); n >= 0 && string(b[n:at-1]) == esc {
			return true
		}
	}
	return false
}

// longestLabel is more than the length of any label: see holder.
const longestLabel = 700

// labelLength returns the length of the label at the beginning of b, 0 if there is none,
// or -1 if b ends within what may be one. A label is a bracket, a name, a slash, and
// names up to the closing bracket.
func labelLength(b []byte) int {
	if len(b) == 0 || b[0] != '[' {
		return 0
	}
	slash := 0
	for i := 1; i < len(b) && i < longestLabel; i++ {
		switch c := b[i]; {
		case c == ']' && slash > 0:
			return i + 1
		case !inLabel[c] || slash == 0 && (c == ' ' || c == '+') || c == '/' && i == 1:
			return 0
		case c == '/':
			slash = i
		}
	}
	if len(b) < longestLabel {
		return -1
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
