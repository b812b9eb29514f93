package query

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

const (
	maxSuggestions = 3
	// maxEdits is the distance of a suggestion: each edit is a character that is
	// replaced, inserted, deleted, or exchanged with its neighbor.
	maxEdits = 2
)

// DidYouMean returns up to three of keys, NAMESPACE/NAME each, whose name is one or two
// typing errors away from the name that text is, the nearest first.
func DidYouMean(text string, keys iter.Seq[string]) []string {
	text = strings.ToLower(strings.TrimSpace(text))
	if before, _, ok := strings.Cut(text, "/"); ok && !isLabel(before) {
		return nil
	}
	text = afterLast(text, "/")
	if len(text) < minPart || !isName(text) {
		return nil
	}
	return nearest(text, keys, func(key string) string { return afterLast(key, "/") })
}

// Similar returns up to three of words that are one or two typing errors away from text,
// the nearest first.
func Similar(text string, words iter.Seq[string]) []string {
	text = strings.ToLower(text)
	if len(text) < minPart {
		return nil
	}
	return nearest(text, words, strings.ToLower)
}

// nearest returns those of keys whose names are near text, but not equal to it.
func nearest(text string, keys iter.Seq[string], name func(string) string) []string {
	type suggestion struct {
		edits int
		key   string
	}
	var near []suggestion
	for key := range keys {
		edits := distance(text, name(key))
		// Two edits make any word of four letters.
		if edits == 0 || edits > maxEdits || edits*3 > len(text) {
			continue
		}
		s := suggestion{edits, key}
		at, _ := slices.BinarySearchFunc(near, s, func(a, b suggestion) int {
			return cmp.Or(cmp.Compare(a.edits, b.edits), strings.Compare(a.key, b.key))
		})
		near = slices.Insert(near, at, s)
		near = near[:min(len(near), maxSuggestions)]
	}
	var found []string
	for _, s := range near {
		found = append(found, s.key)
	}
	return found
}

// distance returns the edits between a and b, or more than maxEdits. For each number of
// edits it follows how far a can be made equal to b, when b is ahead by -2 to 2
// characters. So it compares each character at most 15 times.
func distance(a, b string) int {
	const far, middle = maxEdits + 1, maxEdits + 1
	if len(a)-len(b) > maxEdits || len(b)-len(a) > maxEdits {
		return far
	}
	// The characters of a that are reached, by how far b is ahead; -2 for not at all.
	var reached, before [2*maxEdits + 3]int
	for edits := range far {
		reached, before = [2*maxEdits + 3]int{}, reached
		for d := range reached {
			reached[d] = -maxEdits - 1
		}
		for ahead := -edits; ahead <= edits; ahead++ {
			d := middle + ahead
			i := 0
			if edits > 0 {
				same := before[d]
				i = max(same+1, before[d-1], before[d+1]+1)
				if j := same + ahead; same >= 0 && j >= 0 && same+1 < len(a) && j+1 < len(b) && a[same] == b[j+1] && a[same+1] == b[j] {
					i = max(i, same+2)
				}
				i = min(i, len(a), len(b)-ahead)
			}
			if i < 0 || i+ahead < 0 {
				continue
			}
			for i < len(a) && i+ahead < len(b) && a[i] == b[i+ahead] {
				i++
			}
			if i == len(a) && i+ahead == len(b) {
				return edits
			}
			reached[d] = i
		}
	}
	return far
}
