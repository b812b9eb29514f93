package when

import (
	"bytes"
	"time"
)

// rankOf returns the preference of a key whose value may be the timestamp of a line, 0
// the first, and noRank for another key.
func rankOf(key []byte) int {
	switch string(key) { // does not allocate
	case "@timestamp":
		return 0
	case "timestamp":
		return 1
	case "ts":
		return 2
	case "time":
		return 3
	}
	return noRank
}

const noRank = 4

// isObject reports whether b begins as a JSON object does.
func isObject(b []byte) bool {
	if len(b) == 0 || b[0] != '{' {
		return false
	}
	i := skipBlank(b, 1)
	return i < len(b) && (b[i] == '"' || b[i] == '}')
}

// jsonTime reads the timestamp of the JSON object at the start of b. It reads what is
// there of an object that is cut off.
func (r *Reader) jsonTime(b []byte) (t time.Time, ok bool) {
	best := noRank
	for i := 1; best > 0; {
		i = skipBlank(b, i)
		if i >= len(b) || b[i] != '"' {
			break
		}
		end := stringEnd(b, i)
		key := b[i+1 : max(i+1, end-1)]
		i = skipBlank(b, end)
		if i >= len(b) || b[i] != ':' {
			break
		}
		i = skipBlank(b, i+1)
		if rank := rankOf(key); rank < best {
			if value, isTime := r.value(b[i:]); isTime {
				t, ok, best = value, true, rank
			}
		}
		i = skipBlank(b, valueEnd(b, i))
		if i >= len(b) || b[i] != ',' {
			break
		}
		i++
	}
	return t, ok
}

// value reads a timestamp or an epoch at the start of b, in quotes or not.
func (r *Reader) value(b []byte) (time.Time, bool) {
	if len(b) > 0 && b[0] == '"' {
		b = b[1:]
	}
	if t, ok := r.stamp(b); ok {
		return t, true
	}
	return r.epoch(b)
}

// stringEnd returns the end of the string in quotes at b[i].
func stringEnd(b []byte, i int) int {
	for start := i + 1; ; {
		quote := bytes.IndexByte(b[start:], '"')
		if quote < 0 {
			return len(b)
		}
		end := start + quote
		backslashes := 0
		for b[end-1-backslashes] == '\\' {
			backslashes++ // ends at the opening quote
		}
		if start = end + 1; backslashes%2 == 0 {
			return start
		}
	}
}

// valueEnd returns the end of the JSON value at b[i]: the comma or bracket behind it.
func valueEnd(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

func skipBlank(b []byte, i int) int {
	for i < len(b) && (isSpace(b[i]) || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// isLogfmt reports whether b begins with a key and an equals sign.
func isLogfmt(b []byte) bool {
	end := keyEnd(b, 0)
	return end > 0 && end < len(b) && b[end] == '='
}

// keyEnd returns the end of the key at b[i].
func keyEnd(b []byte, i int) int {
	for ; i < len(b); i++ {
		if c := b[i]; !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'z') && c != '_' && c != '.' && c != '-' && c != '@' {
			break
		}
	}
	return i
}

// logfmtTime reads the timestamp of the line in logfmt at the start of b. Text between
// its pairs is skipped.
func (r *Reader) logfmtTime(b []byte) (t time.Time, ok bool) {
	best := noRank
	for i := 0; best > 0; {
		if i = skipSpaces(b, i); i >= len(b) {
			break
		}
		end := keyEnd(b, i)
		if end < len(b) && b[end] == '=' {
			if rank := rankOf(b[i:end]); rank < best {
				if value, isTime := r.value(b[end+1:]); isTime {
					t, ok, best = value, true, rank
				}
			}
			end++
		}
		if i = end; i < len(b) && b[i] == '"' {
			i = stringEnd(b, i)
		}
		for i < len(b) && !isSpace(b[i]) {
			i++
		}
	}
	return t, ok
}
