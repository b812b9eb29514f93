package printable_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/weiyuanke/PodInfoLookup/internal/printable"
)

func TestText(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"ordinary text", `web-1 10.0.0.7 "é日本" \u0041`, `web-1 10.0.0.7 "é日本" \u0041`},
		{"nothing", "", ""},
		{"C0", "a\x1b[2J\a\r\n\tb\x00", `a\u001b[2J\u0007\u000d\u000a\u0009b\u0000`},
		{"DEL and C1", "\x7f\u0080\u009b", `\u007f\u0080\u009b`},
		{"bidirectional and format characters", "\u202e\u2066\u200b\u00ad\ufeff", `\u202e\u2066\u200b\u00ad\ufeff`},
		{"separators and spaces", "\u2028\u2029\u00a0\u3000", `\u2028\u2029\u00a0\u3000`},
		{"beyond 16 bits", "\U0001f600\U000e0041", "\U0001f600" + `\udb40\udc41`},
		{"no UTF-8", "a\x9b\xff", "a\ufffd\ufffd"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := printable.Text(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLines_KeepsLinesAndColumns(t *testing.T) {
	var out bytes.Buffer
	n, err := printable.Lines{Writer: &out}.Write([]byte("a\tb\x1b\r\nc\n"))
	if want := "a\tb" + `\u001b\u000d` + "\nc\n"; err != nil || n != 8 || out.String() != want {
		t.Errorf("%d %v %q, want %q", n, err, out.String(), want)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add("a\x7f\u0085\u202e\U000e0041\x1b\"\\é\xff")
	f.Fuzz(func(t *testing.T, s string) {
		text, err := json.MarshalIndent(map[string]string{"k": s}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		escaped := printable.JSON(text)
		if bytes.ContainsFunc(escaped, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) {
			t.Errorf("%q has what does not print", escaped)
		}
		var got map[string]string
		if err := json.Unmarshal(escaped, &got); err != nil || got["k"] != strings.ToValidUTF8(s, "\ufffd") && got["k"] != string([]rune(s)) {
			t.Errorf("%q became %q, %v", s, got["k"], err)
		}
	})
}

func TestAge(t *testing.T) {
	tests := []struct {
		name    string
		created time.Time
		want    string
	}{
		{name: "the zero time", want: "<unknown>"},
		{name: "hours", created: time.Now().Add(-5*time.Hour - time.Minute), want: "5h1m"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := printable.Age(test.created); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
