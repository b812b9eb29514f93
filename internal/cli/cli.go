// Package cli holds what both commands need to report an error: usage errors,
// which have an exit code of their own, and messages of one line.
package cli

import (
	"fmt"
	"strings"

	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

// UsageError is a mistake on the command line, as opposed to a failure at run
// time.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

func (e UsageError) Unwrap() error { return e.Err }

// Usagef returns a UsageError.
func Usagef(format string, args ...any) error {
	return UsageError{fmt.Errorf(format, args...)}
}

// OneLine returns the message of err on one line, without characters that a
// terminal interprets: messages quote the cluster and the API server.
func OneLine(err error) string { return printable.Text(JoinLines(err.Error())) }

// JoinLines joins the lines of s by semicolons and leaves out empty ones.
func JoinLines(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
