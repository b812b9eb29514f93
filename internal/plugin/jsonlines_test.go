package plugin

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache/testcrcachetest"
)

func TestAnnotateLines(t *testing.T) {
	const seven = `{"fact":"10.0.0.7","pod":"shop/cart-5d9f"}`
	tests := []struct{ name, in, want string }{
		{"an IP", `{"ip":"10.0.0.7"}`, `{"ip":"10.0.0.7","podinfo":[` + seven + `]}`},
		{"several facts, one of them twice", `{"a":"10.0.0.7 ` + uid + ` 10.0.0.7","b":["::ffff:10.0.0.7","` + id[:12] + `"]}`,
			`{"a":"10.0.0.7 ` + uid + ` 10.0.0.7","b":["::ffff:10.0.0.7","` + id[:12] + `"],"podinfo":[` + seven +
				`,{"fact":"` + uid + `","pod":"shop/by-uid"},{"fact":"::ffff:10.0.0.7","pod":"shop/cart-5d9f"},{"fact":"` + id[:12] + `","pod":"shop/by-id"}]}`},
		{"spaces, numbers and a line end of Windows", ` { "n" : 1.50e+3 , "ip" : "10.0.0.7" } ` + "\r", ` { "n" : 1.50e+3 , "ip" : "10.0.0.7" ,"podinfo":[` + seven + `]} ` + "\r"},
		{"bytes that are not UTF-8", "{\"a\":\"\xff10.0.0.7\"}", "{\"a\":\"\xff10.0.0.7\",\"podinfo\":[" + seven + "]}"},
		{"behind an escape", `{"a":"\n10.0.0.7"}`, `{"a":"\n10.0.0.7","podinfo":[` + seven + `]}`},
		{"an escaped UID", `{"a":"` + strings.ReplaceAll(uid, "-", `\\x2d`) + `"}`,
			`{"a":"` + strings.ReplaceAll(uid, "-", `\\x2d`) + `","podinfo":[{"fact":"` + strings.ReplaceAll(uid, "-", `\\x2d`) + `","pod":"shop/by-uid"}]}`},
		{"nothing known", `{"ip":"10.0.0.8","id":123456789012}`, `{"ip":"10.0.0.8","id":123456789012}`},
		{"nothing", `{}`, `{}`},
		{"the field is there", `{"podinfo":[],"ip":"10.0.0.7"}`, `{"podinfo":[],"ip":"10.0.0.7"}`},
		{"the field is there, after spaces", `{"a":{"b":["\""]},"podinfo" : null,"ip":"10.0.0.7"}`, `{"a":{"b":["\""]},"podinfo" : null,"ip":"10.0.0.7"}`},
		{"the field is elsewhere", `{"a":{"podinfo":1},"b":"podinfo","ip":"10.0.0.7"}`, `{"a":{"podinfo":1},"b":"podinfo","ip":"10.0.0.7","podinfo":[` + seven + `]}`},
		{"a label is there", `{"ip":"10.0.0.7[shop/x]"}`, `{"ip":"10.0.0.7[shop/x]"}`},
		{"not JSON", `{ip="10.0.0.7"}`, `{ip="10.0.0.7[shop/cart-5d9f]"}`},
		{"two objects", `{"ip":"10.0.0.7"}{"ip":"10.0.0.7"}`, `{"ip":"10.0.0.7[shop/cart-5d9f]"}{"ip":"10.0.0.7[shop/cart-5d9f]"}`},
		{"an array", `["10.0.0.7"]`, `["10.0.0.7[shop/cart-5d9f]"]`},
		{"text", `from 10.0.0.7`, `from 10.0.0.7[shop/cart-5d9f]`},
		{"an object behind text", `stdout F {"ip":"10.0.0.7"}`, `stdout F {"ip":"10.0.0.7[shop/cart-5d9f]"}`},
		{"many lines", "\n{\"ip\":\"10.0.0.7\"}\n10.0.0.7\n{\"ip\":\"10.0.0.7\"}\n", "\n{\"ip\":\"10.0.0.7\",\"podinfo\":[" + seven + "]}\n10.0.0.7[shop/cart-5d9f]\n{\"ip\":\"10.0.0.7\",\"podinfo\":[" + seven + "]}\n"},
	}
	l := knownLabels(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := string(annotateLines(nil, []byte("\n"+test.in), l, true))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if again := string(annotateLines(nil, []byte("\n"+got), l, true)); again != got {
				t.Errorf("annotated twice:\n%s", cmp.Diff(got, again))
			}
		})
	}
}

func TestAnnotateLines_PartsOfALine(t *testing.T) {
	l := knownLabels(t)
	const object, labeled = `{"ip":"10.0.0.7"}`, `{"ip":"10.0.0.7[shop/cart-5d9f]"}`
	if got := string(annotateLines(nil, []byte("\n"+object), l, false)); got != labeled {
		t.Errorf("a line that goes on: %s", got)
	}
	if got := string(annotateLines(nil, []byte(" "+object+"\n"), l, true)); got != labeled+"\n" {
		t.Errorf("a line that began before: %s", got)
	}
}

func TestAnnotateLines_TooManyFacts(t *testing.T) {
	n := newNames()
	n.json = true
	var in, labeled strings.Builder
	for i := range maxFacts + 1 {
		ip := benchIP(i)
		n.labels.ips[netip.MustParseAddr(ip).As16()] = `[shop/a]"pod":"shop/a"}`
		in.WriteString(ip + " ")
		labeled.WriteString(ip + "[shop/a] ")
	}
	got := string(annotateLines(nil, []byte("\n{\"a\":\""+in.String()+"\"}"), &n.labels, true))
	if diff := cmp.Diff(`{"a":"`+labeled.String()+`"}`, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNamesInJSON(t *testing.T) {
	n := newNames()
	n.json = true
	ip := []string{"10.0.0.7"}
	for _, c := range []string{"a", "b"} {
		n.update(nil, testcrcachetest.Entry(testcr(c, ip, onHost, completed)))
	}
	n.update(nil, testcrcachetest.Entry(testcr("c", nil, running(uid, id))))
	var out strings.Builder
	in := fmt.Sprintf(`{"a":"10.0.0.7","b":%q,"c":%q}`, uid, id)
	if err := n.copy(&out, strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	var got struct{ Podinfo []map[string]any }
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatalf("%s: %v", out.String(), err)
	}
	want := []map[string]any{
		{"fact": "10.0.0.7", "pod": "shop/a", "node": "worker-1", "others": 1.0, "completed": true},
		{"fact": uid, "pod": "shop/c"},
		{"fact": id, "pod": "shop/c", "container": "c0"},
	}
	if diff := cmp.Diff(want, got.Podinfo); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
