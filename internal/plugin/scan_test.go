package plugin

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// known are the addresses that the tests of annotate have labels for.
var known = map[string]string{
	"10.0.0.7":    "[shop/cart-5d9f]",
	"10.0.0.9":    "[node/10.0.0.9 shop/a +3]",
	"0.0.0.0":     "[x/zero]",
	"fd00::7":     "[shop/cart-5d9f]",
	"fd00::":      "[x/net]",
	"2001:db8::1": "[shop/web]",
}

func labels(tb testing.TB) map[key]string {
	tb.Helper()
	labels := map[key]string{}
	for addr, label := range known {
		labels[netip.MustParseAddr(addr).As16()] = label
	}
	return labels
}

func annotated(labels map[key]string, in string) string {
	return string(annotate(nil, []byte("\n"+in), 1, labels))
}

func TestAnnotate(t *testing.T) {
	const cart, a = "[shop/cart-5d9f]", "[node/10.0.0.9 shop/a +3]"
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"an address alone", "10.0.0.7", "10.0.0.7" + cart},
		{"several in a line", "10.0.0.7 -> 10.0.0.9\n", "10.0.0.7" + cart + " -> 10.0.0.9" + a + "\n"},
		{"with a port", "10.0.0.7:8080", "10.0.0.7" + cart + ":8080"},
		{"with the name of a port", "10.0.0.7:http", "10.0.0.7" + cart + ":http"},
		{"two with a colon between", "10.0.0.7:10.0.0.9", "10.0.0.7" + cart + ":10.0.0.9" + a},
		{"behind a word and a colon", "src:10.0.0.7 face:10.0.0.7 e:10.0.0.7", "src:10.0.0.7" + cart + " face:10.0.0.7" + cart + " e:10.0.0.7" + cart},
		{"in quotes, brackets and behind =", `ip="10.0.0.7",(10.0.0.7) x=10.0.0.7;`, `ip="10.0.0.7` + cart + `",(10.0.0.7` + cart + `) x=10.0.0.7` + cart + `;`},
		{"at the end of a sentence", "from 10.0.0.7. To 10.0.0.7... or 10.0.0.7: no", "from 10.0.0.7" + cart + ". To 10.0.0.7" + cart + "... or 10.0.0.7" + cart + ": no"},
		{"with a prefix length or a path", "10.0.0.7/32 http://10.0.0.7/x", "10.0.0.7" + cart + "/32 http://10.0.0.7" + cart + "/x"},
		{"between dashes", "10.0.0.7-10.0.0.9", "10.0.0.7" + cart + "-10.0.0.9" + a},
		{"beside letters beyond ASCII", "来自10.0.0.7的请求", "来自10.0.0.7" + cart + "的请求"},
		{"with the end of a line of Windows", "10.0.0.7\r\n", "10.0.0.7" + cart + "\r\n"},
		{"as tcpdump writes it", "IP 10.0.0.7.52344 > 10.0.0.9.443: Flags", "IP 10.0.0.7" + cart + ".52344 > 10.0.0.9" + a + ".443: Flags"},
		{"IPv6 as tcpdump writes it", "IP6 fd00::7.52344 > fd00::7.443: Flags", "IP6 fd00::7" + cart + ".52344 > fd00::7" + cart + ".443: Flags"},

		{"IPv6", "fd00::7", "fd00::7" + cart},
		{"IPv6 in brackets", "[fd00::7]:80", "[fd00::7" + cart + "]:80"},
		{"IPv6 in other spellings", "FD00:0:0:0:0:0:0:7 fd00:0000::0007", "FD00:0:0:0:0:0:0:7" + cart + " fd00:0000::0007" + cart},
		{"IPv4 in IPv6", "::ffff:10.0.0.7 ::FFFF:a00:7", "::ffff:10.0.0.7" + cart + " ::FFFF:a00:7" + cart},
		{"IPv6 with a zone", "fd00::7%eth0", "fd00::7" + cart + "%eth0"},
		{"IPv6 at the end of a sentence", "fd00::7. fd00::7: fd00::", "fd00::7" + cart + ". fd00::7" + cart + ": fd00::[x/net]"},
		{"IPv6 behind a word and a colon", "src:fd00::7 fd00::7:http", "src:fd00::7" + cart + " fd00::7" + cart + ":http"},

		{"a longer number", "10.0.0.70 110.0.0.7 10.0.0.07 10.0.0.7777", "10.0.0.70 110.0.0.7 10.0.0.07 10.0.0.7777"},
		{"more numbers", "1.10.0.0.7 10.0.0.7.1 10.0.0.7.1.2: .10.0.0.7", "1.10.0.0.7 10.0.0.7.1 10.0.0.7.1.2: .10.0.0.7"},
		{"a version, a name", "v10.0.0.7 10.0.0.7.log 10.0.0.7.nip.io x_10.0.0.7 10.0.0.7_1 10.0.0.7rc1", "v10.0.0.7 10.0.0.7.log 10.0.0.7.nip.io x_10.0.0.7 10.0.0.7_1 10.0.0.7rc1"},
		{"IPv6 with more groups", "fd00::7:8080 1:fd00::7 fd00:::7 fd00::7::", "fd00::7:8080 1:fd00::7 fd00:::7 fd00::7::"},
		{"times and hardware addresses", "12:30:45 2026-11-23T12:30:45.123Z 00:1a:2b:3c:4d:5e", "12:30:45 2026-11-23T12:30:45.123Z 00:1a:2b:3c:4d:5e"},
		{"addresses of nobody", "10.0.0.8 fd00::8 255.255.255.255", "10.0.0.8 fd00::8 255.255.255.255"},
		{"dots and colons", ". .. ... : :: ::: .:.: 1.2.3. ....", ". .. ... : :: ::: .:.: 1.2.3. ...."},
		{"bytes that are not UTF-8", "\xff\xfe10.0.0.7\x80\x00fd00::7\xc3", "\xff\xfe10.0.0.7" + cart + "\x80\x00fd00::7" + cart + "\xc3"},
		{"what is annotated", "10.0.0.7" + cart + " 10.0.0.9" + a, "10.0.0.7" + cart + " 10.0.0.9" + a},
		{"what is annotated otherwise", "10.0.0.7[shop/old completed]", "10.0.0.7[shop/old completed]"},
		{"another bracket", "10.0.0.7[8080] 10.0.0.7[] 10.0.0.7[a/b", "10.0.0.7" + cart + "[8080] 10.0.0.7" + cart + "[] 10.0.0.7" + cart + "[a/b"},
	}
	labels := labels(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := annotated(labels, test.in)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again := annotated(labels, got); again != got {
				t.Errorf("annotated twice:\n%s", cmp.Diff(got, again))
			}
		})
	}
}

func TestAnnotateAllocatesNothing(t *testing.T) {
	labels, line := labels(t), []byte("\n"+accessLine(7)+"fd00::7 12:30:45 1:2:3\n")
	dst := make([]byte, 0, 4*len(line))
	if n := testing.AllocsPerRun(100, func() { dst = annotate(dst[:0], line, 1, labels) }); n > 0 {
		t.Errorf("%v allocations a line, want none", n)
	}
}

// FuzzAnnotate: whatever comes, it comes out again, but for the labels.
func FuzzAnnotate(f *testing.F) {
	for _, seed := range []string{"10.0.0.7:80 fd00::7", "[fd00::7]:80 \xff 10.0.0.9.443: x", "::ffff:10.0.0.7 > 1.10.0.0.7"} {
		f.Add([]byte(seed))
	}
	labels := labels(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.IndexByte(in, '[') >= 0 {
			return // a label looks the same
		}
		out := annotated(labels, string(in))
		for _, label := range known {
			out = strings.ReplaceAll(out, label, "")
		}
		if out != string(in) {
			t.Errorf("%q became %q without its labels", in, out)
		}
	})
}

// FuzzParse holds parse to netip.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"10.0.0.7", "fd00::7", "::", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1:2:3:4:5:6:7::", "1::2::3", "01.2.3.4", "12345::", "::1.2.3.4:5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, c := range []byte(in) {
			if class[c] == 0 {
				return // parse is given nothing but these bytes
			}
		}
		got, ok := parse([]byte(in))
		addr, err := netip.ParseAddr(in)
		if ok != (err == nil) {
			t.Fatalf("%q: %t, netip says %v", in, ok, err)
		}
		if ok && got != query.Canonical(addr).As16() {
			t.Errorf("%q: %x, netip has %x", in, got, addr.As16())
		}
	})
}
