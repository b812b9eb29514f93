package plugin

import (
	"bytes"
	"encoding/json"
)

// jsonField is the field that annotate --json adds.
const jsonField = "podinfo"

// maxFacts bounds the facts of a field, because each is compared with all others. A line
// with more gets labels.
const maxFacts = 200

// annotateLines is annotate with --json: lines that are JSON objects get a field with
// their facts instead of labels. A line that has this field already stays as it is.
// ended reports whether the last line ends with src, whose first byte is the one before.
func annotateLines(dst, src []byte, known *labels, ended bool) []byte {
	for from := 1; from < len(src); {
		end := from + bytes.IndexByte(src[from:], '\n') + 1
		whole := end > from
		if !whole {
			end, whole = len(src), ended
		}
		line := src[:end]
		if whole && src[from-1] == '\n' && looksLikeObject(line[from:]) {
			dst = annotateObject(dst, line, from, known)
		} else {
			dst = annotate(dst, line, from, known)
		}
		from = end
	}
	return dst
}

func looksLikeObject(line []byte) bool {
	line = bytes.TrimSpace(line)
	return len(line) > 1 && line[0] == '{' && line[len(line)-1] == '}'
}

func annotateObject(dst, src []byte, from int, known *labels) []byte {
	s := scan{dst: dst, src: src, done: from, known: known, facts: known.facts[:0]}
	s.run(from)
	known.facts = s.facts
	line := src[from:]
	if len(s.facts) == 0 || len(s.facts) > maxFacts || !json.Valid(line) {
		return append(s.dst, src[s.done:]...)
	}
	dst = s.dst[:len(dst)]
	if hasField(line) {
		return append(dst, line...)
	}
	brace := bytes.LastIndexByte(line, '}')
	dst = append(append(dst, line[:brace]...), `,"`+jsonField+`":[`...)
	for i, f := range s.facts {
		if i > 0 {
			dst = append(dst, ',')
		}
		// The bytes of the fact are in a string already: they need no other escape.
		dst = append(append(append(dst, `{"fact":"`...), src[f.start:f.end]...), `",`...)
		dst = append(dst, f.label.json()...)
	}
	return append(append(dst, ']'), line[brace:]...)
}

// hasField reports whether object, which is valid, has the field jsonField.
func hasField(object []byte) bool {
	depth := 0
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := i + 1
			for object[end] != '"' {
				if object[end] == '\\' {
					end++
				}
				end++
			}
			isKey := bytes.HasPrefix(bytes.TrimLeft(object[end+1:], " \t\r"), []byte(":"))
			if depth == 1 && isKey && string(object[i+1:end]) == jsonField {
				return true
			}
			i = end
		}
	}
	return false
}
