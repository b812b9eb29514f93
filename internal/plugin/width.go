package plugin

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// ellipsis ends a value that is cut. A query may end in it, too.
const ellipsis = "…"

// terminalOf returns the terminal that out writes to, or nil.
func terminalOf(out io.Writer) *os.File {
	if wrapped, ok := out.(output); ok {
		out = wrapped.Writer
	}
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return file
}

// columnsOf returns the width of a terminal at this moment, 0 without a bound.
func columnsOf(terminal *os.File) int {
	if terminal == nil {
		return 0
	}
	width, _, err := term.GetSize(int(terminal.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// widthOf returns how many columns of a terminal printable text takes, or more: each
// character from Hangul on counts as a wide one.
func widthOf(text string) int {
	width := 0
	for _, r := range text {
		width += runeWidth(r)
	}
	return width
}

func runeWidth(r rune) int {
	const firstWide = 0x1100
	if r >= firstWide && r != []rune(ellipsis)[0] {
		return 2
	}
	return 1
}

// cut returns text in at most width columns. Text that is cut ends in an ellipsis.
func cut(text string, width int) string {
	if len(text) <= width || widthOf(text) <= width {
		return text
	}
	used := 1 // the ellipsis
	for i, r := range text {
		if used += runeWidth(r); used > width {
			return text[:i] + ellipsis
		}
	}
	return text
}

// pad returns text with spaces up to width.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-widthOf(text)))
}

// wrap breaks text at spaces into lines of at most width columns; 0 sets no bound. A word
// that is longer has a line of its own, so that it can be copied.
func wrap(text string, width int) []string {
	if width <= 0 || widthOf(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		if line != "" && widthOf(line)+1+widthOf(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// firstLabel returns the first label of a DNS name, followed by an ellipsis if there are
// more. A name without letters in it, such as an IP, stays whole.
func firstLabel(name string) string {
	label, _, found := strings.Cut(name, ".")
	if !found || !strings.ContainsFunc(label, func(r rune) bool { return r >= 'a' && r <= 'z' }) {
		return name
	}
	return label + ellipsis
}

// firstDigits returns the beginning of a UID, which identifies it among few.
func firstDigits(uid string) string {
	const digits = 8
	if utf8.RuneCountInString(uid) <= digits+1 {
		return uid
	}
	return cut(uid, digits+1)
}
