package cli

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOneLine(t *testing.T) {
	tests := []struct{ name, err, want string }{
		{name: "one line stays", err: "no such file", want: "no such file"},
		{name: "lines are joined", err: "first\nsecond", want: "first; second"},
		{name: "line ends of Windows and empty lines leave nothing", err: "first\r\n\r\n\nsecond\n", want: "first; second"},
		{name: "control characters are escaped", err: "a\x1b[2Jb", want: `a\u001b[2Jb`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, OneLine(errors.New(test.err))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
