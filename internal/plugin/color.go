package plugin

import (
	"cmp"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/printers"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Styles of a terminal, of its own 16 colors.
const (
	bold    = "1"
	dim     = "2"
	red     = "31"
	yellow  = "33"
	magenta = "35"
	cyan    = "36"
)

// allowsColor reports whether out is a terminal with color, and NO_COLOR is not set.
func allowsColor(out io.Writer) bool {
	if wrapped, ok := out.(output); ok {
		out = wrapped.Writer
	}
	return printers.AllowsColorOutput(out)
}

// styled returns text in a style, or as it is without color.
func styled(color bool, style, text string) string {
	if !color || style == "" || text == "" {
		return text
	}
	return begin(style) + text + "\x1b[0m"
}

// begin returns what a terminal takes as the begin of a style.
func begin(style string) string {
	if style == "" {
		return ""
	}
	return "\x1b[" + style + "m"
}

// statusOf returns what the column STATUS shows. A Testcr of before a change of the CRD
// has no status.
func statusOf(s *v1.TestcrSpec) string { return cmp.Or(s.Status, s.Phase) }

// statusStyle returns the style of STATUS, by the same groups as k9s: a Pod that runs but
// is not ready is an error, and so is each status that is not known.
func statusStyle(s *v1.TestcrSpec) string {
	status := statusOf(s)
	waits, isInit := strings.CutPrefix(status, "Init:")
	switch {
	case s.Terminating:
		return magenta
	case s.Phase == string(corev1.PodSucceeded):
		return dim
	case s.Phase == string(corev1.PodFailed):
		return red
	case isInit && waits != "" && waits[0] >= '0' && waits[0] <= '9': // Init:1/2
		return yellow
	}
	switch status {
	case "Running":
		if s.Ready {
			return cyan
		}
		return red
	case "Pending", "ContainerCreating", "PodInitializing", "SchedulingGated":
		return yellow
	case "Completed":
		return dim
	}
	return red
}
