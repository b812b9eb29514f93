package plugin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// known contains the facts that the tests of annotate have labels for.
var known = map[string]string{
	"10.0.0.7":    "[shop/cart-5d9f]",
	"10.0.0.9":    "[node/10.0.0.9 shop/a +3]",
	"0.0.0.0":     "[x/zero]",
	"fd00::7":     "[shop/cart-5d9f]",
	"fd00::":      "[x/net]",
	"::7":         "[x/seven]",
	"2001:db8::1": "[shop/web]",
	uid:           "[shop/by-uid]",
	id:            "[shop/by-id app]",
	twin + "0":    "[shop/twin-0 app]",
	twin + "1":    "[shop/twin-1 app]",
	numberID:      "[shop/number app]",
	numberID2:     "[shop/number-2 app]",
}

const (
	uid       = "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5a"
	id        = "4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a69788796a5b4c3d2e1f0"
	twin      = "aa11bb22cc33445566778899aabbccddeeff00112233445566778899aabbccd" // and a digit
	numberID  = "1234567890123456789012345678901234567890123456789012345678901234"
	numberID2 = "98765432e1012345678901234567890123456789012345678901234567890123"
)

func knownLabels(tb testing.TB) *labels {
	tb.Helper()
	l := &newNames().labels
	for fact, text := range known {
		v := label(fmt.Sprintf(`%s"pod":%q}`, text, strings.Fields(text[1 : len(text)-1])[0]))
		switch k, n := parseUID([]byte(fact)); {
		case n == len(fact):
			l.uids[k] = v
		case len(fact) == longID:
			k := idKey(fact)
			if l.ids[k] != "" {
				l.more[k] = append(l.more[k], l.ids[k])
			}
			l.ids[k] = fact + string(v)
		default:
			l.ips[netip.MustParseAddr(fact).As16()] = v
		}
	}
	return l
}

func annotated(l *labels, in string) string {
	return string(annotate(nil, []byte("\n"+in), 1, l))
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
	l := knownLabels(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { checkAnnotated(t, l, test.in, test.want) })
	}
}

// checkAnnotated fails the test if in does not become want, or if want does not stay.
func checkAnnotated(t *testing.T, l *labels, in, want string) {
	t.Helper()
	got := annotated(l, in)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := annotated(l, got); again != got {
		t.Errorf("annotated twice:\n%s", cmp.Diff(got, again))
	}
	if json.Valid([]byte(in)) && !json.Valid([]byte(got)) {
		t.Errorf("JSON has become %q", got)
	}
}

// expand replaces @ behind a fact by its label.
func expand(in string) (plain, want string) {
	parts := strings.Split(in, "@")
	for i, part := range parts {
		plain, want = plain+part, want+part
		if i == len(parts)-1 {
			break
		}
		lower := strings.NewReplacer(`\\x2d`, "-", `\x2d`, "-", "_", "-").Replace(strings.ToLower(plain))
		longest := ""
		for fact := range known {
			if strings.HasSuffix(lower, fact) && len(fact) > len(longest) {
				longest = fact
			}
		}
		if longest == "" {
			for _, id := range []string{id, twin + "0", numberID, numberID2} {
				for n := shortID; n < longID; n++ {
					if strings.HasSuffix(lower, id[:n]) {
						longest = id
					}
				}
			}
		}
		if longest == "" && strings.HasSuffix(lower, strings.ReplaceAll(uid, "-", "")) {
			longest = uid
		}
		want += known[longest]
	}
	return plain, want
}

func TestAnnotate_UIDsAndContainerIDs(t *testing.T) {
	upper, systemd, mount := strings.ToUpper(uid), strings.ReplaceAll(uid, "-", "_"), strings.ReplaceAll(uid, "-", `\x2d`)
	undashed := strings.ReplaceAll(uid, "-", "")
	tests := []struct{ name, in string }{
		{"a UID", uid + "@"},
		{"in capitals", upper + "@"},
		{"without dashes", undashed + "@ "},
		{"a UID of nobody", "8b5c43ef-6b0e-4d0a-9a1c-0f1e2d3c4b5b and " + uid + "@"},
		{"a cgroup of cgroupfs", "/kubepods/burstable/pod" + uid + "@/" + id + "@"},
		{"a cgroup of systemd", "/kubepods.slice/kubepods-pod" + systemd + "@.slice/cri-containerd-" + id + "@.scope"},
		{"a cgroup of version 1", "12:pids:/kubepods-pod" + systemd + "@.slice:cri-containerd:" + id + "@"},
		{"a mount unit of systemd", `var-lib-kubelet-pods-` + mount + `@-volumes-kubernetes.io\x7esecret-a.mount`},
		{"the same in JSON", `{"unit":"pods-` + strings.ReplaceAll(mount, `\`, `\\`) + `@-volumes"}`},
		{"folders of logs", "/var/log/pods/shop_cart_" + uid + "@/app/0.log /var/log/containers/cart_shop_app-" + id + "@.log"},
		{"a name of docker", "k8s_app_cart_shop_" + uid + "@_0"},
		{"of the kubelet", `I1123 18:04:05.123456    1234 kubelet.go:2500] "SyncLoop (PLEG)" pod="shop/cart" podUID="` + uid + `@" containerID="containerd://` + id + `@" ip="[fd00::7@]:80"`},
		{"of an older kubelet", `cart_shop(` + uid + `@): 10.0.0.7@`},
		{"a UID in a longer one", uid + "0 " + uid + "x " + uid + "@_x " + uid + "@-x " + "0" + uid + "@"},
		{"a UID cut short", uid[:35] + " " + uid[:18] + " " + uid[:9]},
		{"groups of other lengths", uid[:8] + "_" + uid[9:13] + uid[14:]},
		{"whatever follows", uid + "@:10.0.0.7@ " + uid + "@::7@ " + uid + "@." + id + "@"},

		{"a container ID", id + "@"},
		{"in capitals with its runtime", "docker://" + strings.ToUpper(id) + "@"},
		{"the beginning, as docker ps prints it", id[:12] + "@   nginx"},
		{"the beginning, as crictl ps prints it", id[:13] + "@       4f5ca3b2d1e00       app"},
		{"less than the beginning", id[:11]},
		{"of several IDs", twin[:20] + " " + twin + "0@"},
		{"another ID with the same beginning", id[:63] + "1 " + id[:12] + "1"},
		{"a digest", "sha256:" + id + "@ sha256:" + twin + "2"},
		{"in punctuation", "(" + id[:12] + "@) id=" + id[:12] + "@, id:" + id[:12] + "@. " + id[:12] + "@: x"},
		{"a part of a name", "cart-" + id[:12] + " " + id[:12] + "-x x" + id[:12] + " " + id[:12] + "x " + id[:12] + "_1 a_" + id[:12]},
		{"a whole one in a name", "x_" + id + "@_1 x-" + id + "@-1 x" + id + "@ 0" + id + "@ " + id + "x"},
		{"beside addresses", id[:12] + "@:10.0.0.7@:" + id[:12] + "@ 10.0.0.7@:fd00::7@ fd00::7:" + id[:12] + "@"},
		{"the end of another UUID", "00000000-0000-0000-0000-" + id[:12]},
		{"a number", "123456789012 " + numberID + " 98765432e101"},
		{"the digits of an ID that are in a string", `"123456789012@" containerd://` + numberID + `@ "98765432e101@"`},
	}
	l := knownLabels(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in, want := expand(test.in)
			checkAnnotated(t, l, in, want)
		})
	}
}

func TestAnnotate_EscapeSequences(t *testing.T) {
	tests := []struct{ name, in string }{
		{"escapes of JSON", `{"msg":"a\n10.0.0.7@\t10.0.0.9@\r10.0.0.7@\b10.0.0.7@\f10.0.0.7@\"10.0.0.7@\/10.0.0.7@\\10.0.0.7@"}`},
		{"escaped characters", `{"msg":"\u003e10.0.0.7@\u003C10.0.0.7@ a\u0026fd00::7@\u0022fd00::7@ \u00e9::7@"}`},
		{"IPv6", `{"msg":"\nfd00::7@\bfd00::7@\tfd00::7:80\n[fd00::7@]:80"}`},
		{"IDs", `{"msg":"\n` + uid + `@\t` + id + `@\f` + id[:12] + `@\u003e` + id[:12] + `@\u003e` + id + `@\b` + uid + `@\u003e` + uid + `@"}`},
		{"JSON in JSON", `{"log":"{\"ip\":\"10.0.0.7@\",\"msg\":\"a\\n10.0.0.7@\\u003e10.0.0.7@\"}\n"}`},
		{"escapes of Go", `"a\v10.0.0.7@\x0010.0.0.7@\x1b10.0.0.7@\a10.0.0.7@"`},
		{"escapes of URLs", "/x?ip=%2010.0.0.7@&from%3D10.0.0.7@&at=%5Bfd00::7@%5D&id=%22" + id[:12] + "@%22"},
		{"a letter that is escaped", `{"msg":"\u007610.0.0.7 \u003110.0.0.7"} %3110.0.0.7 \x3110.0.0.7`},
		{"a letter that is not", `d10.0.0.7 u003e10.0.0.7 \d10.0.0.7 \u03e10.0.0.7 \x110.0.0.7`},
		{"colors", "\x1b[32m10.0.0.7@\x1b[0m \x1b[1;38;5;10mfd00::7@\x1b[m\x1b[K \x1b[38:5:10m" + uid + "@\x1b[m" + id[:12] + "@\x1b[0m"},
		{"colors in JSON", `{"msg":"\u001b[32m10.0.0.7@\u001b[0m \u001B[1m` + id + `@\u001b[0m\u001b[2m` + id[:12] + `@"}`},
		{"colors in text", `\x1b[32m10.0.0.7@ \033[32m10.0.0.7@ \e[32m10.0.0.7@ ^[[32m10.0.0.7@ #033[32m10.0.0.7@`},
		{"what looks like colors", "[32m10.0.0.7 x[m10.0.0.7 \x1b[_10.0.0.7 m10.0.0.7 \x1b[" + strings.Repeat("1", 99) + "m10.0.0.7"},
		{"numbers in JSON", `{"a":123456789012,"b":[123456789012,98765432e101,-123456789012,1.5e3],"c":` + numberID + `}`},
		{"keys in JSON", `{"10.0.0.7@":1,"` + uid + `@":{"fd00::7@":true}}`},
		{"at the beginning and end", `\`},
		{"nothing behind", `\u \u1 \u00 \x % %1 \ `},
	}
	l := knownLabels(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in, want := expand(test.in)
			checkAnnotated(t, l, in, want)
		})
	}
}

func TestAnnotateAllocatesNothing(t *testing.T) {
	l := knownLabels(t)
	lines := map[string]string{
		"an access log": accessLine(7) + "fd00::7 12:30:45 1:2:3\n",
		"of a kubelet":  klogLine(7) + "10.0.0.7 " + uid + " " + id + " " + id[:13] + "\n",
		"JSON":          `{"a":"10.0.0.7","b":"` + uid + `","c":{"d":["fd00::7"]}}` + "\n",
	}
	for name, line := range lines {
		for _, f := range []func(dst, src []byte) []byte{
			func(dst, src []byte) []byte { return annotate(dst, src, 1, l) },
			func(dst, src []byte) []byte { return annotateLines(dst, src, l, true) },
		} {
			src, dst := []byte("\n"+line), make([]byte, 0, 4*len(line)+1000)
			// json.Valid keeps its scanner in a sync.Pool, which the race detector empties at random.
			if n := testing.AllocsPerRun(100, func() { dst = f(dst[:0], src) }); n > 0 && (name != "JSON" || n > 1) {
				t.Errorf("%s: %v allocations a line, want none", name, n)
			}
		}
	}
}

// A log may have long lines without spaces.
func TestAnnotate_LongRuns(t *testing.T) {
	l := knownLabels(t)
	for _, part := range []string{"10.0.0.7:", "10.0.0.7.", "1.", "a", "::", "fd00::7:", "8b5c43ef-", uid + "-", uid + "_", id, id[:12] + ":", id[:12] + ".", `\u003e`, "\x1b[1;"} {
		for _, end := range []string{"", "z", " >", strings.Repeat("d", blockSize/2) + "z"} {
			in := strings.Repeat(part, blockSize/2/len(part)) + end
			began := time.Now()
			out := annotated(l, in)
			if took := time.Since(began); took > 20*time.Second { // a quadratic search takes minutes
				t.Errorf("%q..., %.5q: took %s", part, end, took)
			}
			if withoutLabels(out) != in {
				t.Errorf("%q..., %.5q: not the bytes that came in", part, end)
			}
		}
	}
}

func withoutLabels(s string) string {
	for _, text := range known {
		s = strings.ReplaceAll(s, text, "")
	}
	return s
}

// FuzzAnnotate checks that without the labels the output is the input, that JSON stays
// valid, and that twice is once.
func FuzzAnnotate(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.7:80 fd00::7", "[fd00::7]:80 \xff 10.0.0.9.443: x", "::ffff:10.0.0.7 > 1.10.0.0.7", "10.0.0.7::7 10.0.0.7:fd00::7",
		uid + ":10.0.0.7_" + uid, "pod" + strings.ReplaceAll(uid, "-", `\x2d`), id + "." + id[:12] + ":" + id[:12],
		`{"a":"\u003e10.0.0.7\n` + id[:12] + `","b":[123456789012,98765432e101],"10.0.0.7":"\u001b[32m` + uid + `"}`,
		`{"a":"10.0.0.7[shop/x","podinfo":1}` + "\n" + `{"a":{"podinfo":"` + uid + `"} }`,
	} {
		f.Add([]byte(seed))
	}
	l := knownLabels(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		if withoutLabels(string(in)) == string(in) {
			checkText(t, l, in)
		}
	})
}

// TestAnnotate_Combinations makes the checks of FuzzAnnotate with texts that consist of
// facts and of what may be beside them.
func TestAnnotate_Combinations(t *testing.T) {
	parts := []string{
		"10.0.0.7", "10.0.0.9", "0.0.0.0", "fd00::7", "fd00::", "::7", "::", ":", "::ffff:", "10.0.0.8", uid, strings.ReplaceAll(uid, "-", "_"),
		strings.ReplaceAll(uid, "-", `\\x2d`), strings.ReplaceAll(uid, "-", ""), uid[:8], id, id[:12], id[12:], twin, "0", "1", "123456789012", numberID2[:12],
		".", "..", "-", "_", "pod", "x", "e", "m", "/", `\\`, `\n`, `\b`, `\f`, `\u003e`, `\u001b[32m`, `\"`, "%3A", "%", " ", " > ", ".443", ":80", "[", "]", "[x/y]", "[x/", "+", "\x7f", "\xff", "é",
	}
	l := knownLabels(t)
	random := rand.New(rand.NewPCG(17, 0)) //nolint:gosec // G404: the same each time
	for range 30_000 {
		var text []byte
		for range 1 + random.IntN(7) {
			text = append(text, parts[random.IntN(len(parts))]...)
		}
		checkText(t, l, text)
		checkText(t, l, []byte(`{"a":"`+string(text)+`","`+string(text)+`":[1,123456789012,98765432e101]}`))
		if t.Failed() {
			return
		}
	}
}

// checkText checks what both forms of annotate do with in, in which there are no labels.
func checkText(t *testing.T, l *labels, in []byte) {
	t.Helper()
	out := annotated(l, string(in))
	if withoutLabels(out) != string(in) {
		t.Errorf("%q became %q", in, out)
	}
	if again := annotated(l, out); again != out {
		t.Errorf("%q became %q, and then %q", in, out, again)
	}
	if json.Valid(in) && !json.Valid([]byte(out)) {
		t.Errorf("%q became %q, which is not JSON", in, out)
	}
	checkLines(t, l, in)
}

// checkLines checks what annotateLines does with in.
func checkLines(t *testing.T, l *labels, in []byte) {
	t.Helper()
	out := annotateLines(nil, append([]byte("\n"), in...), l, true)
	if again := annotateLines(nil, append([]byte("\n"), out...), l, true); !bytes.Equal(again, out) {
		t.Errorf("%q became %q with --json, and then %q", in, out, again)
	}
	was, is := bytes.Split(in, []byte("\n")), bytes.Split(out, []byte("\n"))
	if len(was) != len(is) {
		t.Fatalf("%q became %q: not as many lines", in, out)
	}
	for i, line := range was {
		switch isObject := json.Valid(line) && bytes.HasPrefix(bytes.TrimSpace(line), []byte("{")); {
		case !isObject && withoutLabels(string(is[i])) != string(line):
			t.Errorf("%q became %q", line, is[i])
		case isObject && !bytes.Equal(is[i], line):
			brace := bytes.LastIndexByte(line, '}')
			field, ok := bytes.CutPrefix(is[i], append(bytes.Clone(line[:brace]), `,"podinfo":[`...))
			if !ok || !bytes.HasSuffix(field, append([]byte("]"), line[brace:]...)) || !json.Valid(is[i]) {
				t.Errorf("%q became %q", line, is[i])
			}
		}
	}
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
