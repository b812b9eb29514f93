package v1

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestLabelIP(t *testing.T) {
	tests := []struct{ name, of, want string }{
		{name: "IPv4", of: "10.0.0.7", want: "10.0.0.7"},
		{name: "IPv6", of: "fd00::7", want: "fd00--7"},
		{name: "IPv6 in capitals and in full", of: "FD00:0:0:0:0:0:0:0007", want: "fd00--7"},
		{name: "IPv6 that begins with colons", of: "::1", want: "0--1"},
		{name: "IPv6 that ends with colons", of: "fd00::", want: "fd00--0"},
		{name: "IPv6 that is nothing but colons", of: "::", want: "0--0"},
		{name: "IPv6 that begins with a zero of its own", of: "0:1::", want: "0-1--0"},
		{name: "the longest IPv6", of: "1111:2222:3333:4444:5555:6666:7777:8888", want: "1111-2222-3333-4444-5555-6666-7777-8888"},
		{name: "IPv4 mapped into IPv6", of: "::ffff:10.0.0.7", want: "10.0.0.7"},
		{name: "IPv4 mapped into IPv6, with a zone", of: "::ffff:10.0.0.7%eth0", want: "10.0.0.7"},
		{name: "IPv6 with a zone", of: "fe80::1%eth0", want: "fe80--1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff("ip.stable.example.com/"+test.want, LabelIP(netip.MustParseAddr(test.of))); diff != "" {
				t.Errorf("label (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzLabelIP(f *testing.F) {
	for _, s := range []string{"10.0.0.7", "::", "::1", "1::", "0:1::", "::ffff:10.0.0.7", "fe80::1%a/b", "fd00::1:0:0:1", "FD00:0:0:0:0:0:0:7"} {
		f.Add(s, "10.0.0.8")
		f.Add("::ffff:0:1", s)
		f.Add(s, strings.ToUpper(s))
	}
	canonical := func(addr netip.Addr) netip.Addr { return addr.WithZone("").Unmap() }
	f.Fuzz(func(t *testing.T, one, other string) {
		a, err := netip.ParseAddr(one)
		if err != nil {
			return
		}
		if problems := validation.IsQualifiedName(LabelIP(a)); len(problems) > 0 || !IsLabel(LabelIP(a)) {
			t.Errorf("%q of %s is not a label key of this program: %v", LabelIP(a), one, problems)
		}
		for _, spelling := range []string{a.String(), strings.ToUpper(a.WithZone("").String()), a.WithZone("").StringExpanded()} {
			if got := LabelIP(netip.MustParseAddr(spelling)); got != LabelIP(a) {
				t.Errorf("%s is %q, %s is %q", one, LabelIP(a), spelling, got)
			}
		}
		if b, err := netip.ParseAddr(other); err == nil && (LabelIP(a) == LabelIP(b)) != (canonical(a) == canonical(b)) {
			t.Errorf("%s is %q, %s is %q", one, LabelIP(a), other, LabelIP(b))
		}
	})
}

func TestLabelContainer(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 4)
	tests := []struct{ name, of, want string }{ // want is "" if there is no label
		{name: "an ID", of: long, want: "0123456789ab"},
		{name: "an ID of containerd", of: "containerd://" + long, want: "0123456789ab"},
		{name: "an ID of CRI-O", of: "cri-o://" + long, want: "0123456789ab"},
		{name: "capitals", of: "docker://ABCDEF0123456789", want: "abcdef012345"},
		{name: "12 digits", of: "abcdef012345", want: "abcdef012345"},
		{name: "11 digits are too few", of: "abcdef01234"},
		{name: "no digits behind the runtime", of: "containerd://"},
		{name: "an empty ID"},
		{name: "not hexadecimal in front", of: "xyz123456789"},
		{name: "not hexadecimal within", of: "abcdef-12345"},
		{name: "a letter whose small form is ASCII", of: "\u212a\u212a\u212a\u212a"},
		{name: "not UTF-8", of: strings.Repeat("\xff", 20)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := LabelContainer(test.of)
			if ok != (test.want != "") || ok && got != "cid.stable.example.com/"+test.want {
				t.Errorf("LabelContainer is %q, %t, want %q", got, ok, test.want)
			}
		})
	}
}

func FuzzLabelContainer(f *testing.F) {
	f.Add("containerd://0123456789abcdef")
	f.Add("DOCKER://ABCDEF0123456789")
	f.Add("a://b://\u212a")
	f.Fuzz(func(t *testing.T, id string) {
		key, ok := LabelContainer(id)
		if !ok {
			return
		}
		if problems := validation.IsQualifiedName(key); len(problems) > 0 || !IsLabel(key) {
			t.Errorf("%q of %q is not a label key of this program: %v", key, id, problems)
		}
		if again, ok := LabelContainer("other://" + strings.TrimPrefix(key, labelPrefixID)); again != key || !ok {
			t.Errorf("%q of %q is %q when it is read again", key, id, again)
		}
	})
}

func TestLabelValue(t *testing.T) {
	tests := []struct{ name, of, want string }{
		{name: "a valid value stays", of: "web-1.example_2", want: "web-1.example_2"},
		{name: "63 characters stay", of: strings.Repeat("a", 63), want: strings.Repeat("a", 63)},
		{name: "64 are shortened", of: strings.Repeat("a", 64), want: strings.Repeat("a", 52) + "-" + md5Hex(strings.Repeat("a", 64))[:10]},
		{name: "an invalid character makes it a hash", of: "a b", want: md5Hex("a b")},
		{name: "an invalid end makes it a hash", of: "a-", want: md5Hex("a-")},
		{name: "an invalid beginning makes it a hash", of: ".a", want: md5Hex(".a")},
		{name: "bytes that are not UTF-8 make it a hash", of: "a\xffb", want: md5Hex("a\xffb")},
		{name: "an empty name stays"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := LabelValue(test.of)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
			if problems := validation.IsValidLabelValue(got); len(problems) > 0 {
				t.Errorf("%q: %v", got, problems)
			}
		})
	}
}

func FuzzLabelValue(f *testing.F) {
	for _, s := range []string{"web", strings.Repeat("a.", 100), "a\x00b", "-", strings.Repeat("a", 51) + "-" + strings.Repeat("b", 51)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := LabelValue(name)
		problems := validation.IsValidLabelValue(got)
		if len(problems) > 0 {
			t.Errorf("%q of %q: %v", got, name, problems)
		}
		if len(validation.IsValidLabelValue(name)) == 0 && got != name {
			t.Errorf("%q is a valid value but becomes %q", name, got)
		}
	})
}

func TestIsLabel(t *testing.T) {
	tests := []struct {
		name, key string
		want      bool
	}{
		{name: "an IP", key: "ip.stable.example.com/10.9.9.9", want: true},
		{name: "a container ID", key: "cid.stable.example.com/ffffffffffff", want: true},
		{name: "the namespace", key: LabelNamespace, want: true},
		{name: "the workload", key: LabelWorkload, want: true},
		{name: "the mark of facts without a label", key: LabelMore, want: true},
		{name: "one that no version of this program has", key: "stable.example.com/next", want: true},
		{name: "one of another program", key: "team"},
		{name: "one of another program with a prefix", key: "example.com/team"},
		{name: "one below a domain that ends alike", key: "mystable.example.com/a"},
		{name: "one below another subdomain", key: "a.stable.example.com/a"},
		{name: "one that is called like the prefix", key: "stable.example.com"},
		{name: "one that many programs share", key: LabelManagedBy},
		{name: "an empty key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := IsLabel(test.key); got != test.want {
				t.Errorf("IsLabel(%q) is %t, want %t", test.key, got, test.want)
			}
		})
	}
}
