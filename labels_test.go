package podinfolookup

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

func TestLabelIP(t *testing.T) {
	tests := []struct{ name, of, want string }{
		{"IPv4", "10.0.0.7", "10.0.0.7"},
		{"IPv6", "fd00::7", "fd00--7"},
		{"IPv6 in capitals and in full", "FD00:0:0:0:0:0:0:0007", "fd00--7"},
		{"IPv6 that begins with colons", "::1", "0--1"},
		{"IPv6 that ends with colons", "fd00::", "fd00--0"},
		{"IPv6 that is nothing but colons", "::", "0--0"},
		{"IPv6 that begins with a zero of its own", "0:1::", "0-1--0"},
		{"the longest IPv6", "1111:2222:3333:4444:5555:6666:7777:8888", "1111-2222-3333-4444-5555-6666-7777-8888"},
		{"IPv4 mapped into IPv6", "::ffff:10.0.0.7", "10.0.0.7"},
		{"IPv4 mapped into IPv6, with a zone", "::ffff:10.0.0.7%eth0", "10.0.0.7"},
		{"a zone is of the node", "fe80::1%eth0", "fe80--1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff("ip.stable.example.com/"+test.want, LabelIP(netip.MustParseAddr(test.of))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
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
		if problems := validation.IsQualifiedName(LabelIP(a)); len(problems) > 0 || !isOurLabel(LabelIP(a)) {
			t.Errorf("%q of %s is not a label key of ours: %v", LabelIP(a), one, problems)
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
	tests := []struct {
		name, of, want string
		wantOK         bool
	}{
		{"an ID", long, "0123456789ab", true},
		{"an ID of containerd", "containerd://" + long, "0123456789ab", true},
		{"an ID of CRI-O", "cri-o://" + long, "0123456789ab", true},
		{"capitals", "docker://ABCDEF0123456789", "abcdef012345", true},
		{"12 digits", "abcdef012345", "abcdef012345", true},
		{"11 digits are too few", "abcdef01234", "", false},
		{"no digits behind the runtime", "containerd://", "", false},
		{"none", "", "", false},
		{"not hexadecimal in front", "xyz123456789", "", false},
		{"not hexadecimal within", "abcdef-12345", "", false},
		{"a letter whose small form is ASCII", "\u212a\u212a\u212a\u212a", "", false},
		{"not UTF-8", strings.Repeat("\xff", 20), "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, ok := LabelContainer(test.of)
			if ok != test.wantOK || ok && got != "cid.stable.example.com/"+test.want {
				t.Errorf("LabelContainer is %q, %t, want %q, %t", got, ok, test.want, test.wantOK)
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
		if problems := validation.IsQualifiedName(key); len(problems) > 0 || !isOurLabel(key) {
			t.Errorf("%q of %q is not a label key of ours: %v", key, id, problems)
		}
		if again, ok := LabelContainer("other://" + strings.TrimPrefix(key, labelPrefixID)); again != key || !ok {
			t.Errorf("%q of %q is %q when it is read again", key, id, again)
		}
	})
}

func TestLabelValue(t *testing.T) {
	tests := []struct{ name, of, want string }{
		{"one that fits stays", "web-1.example_2", "web-1.example_2"},
		{"63 characters stay", strings.Repeat("a", 63), strings.Repeat("a", 63)},
		{"64 are shortened", strings.Repeat("a", 64), strings.Repeat("a", 52) + "-" + md5Hex(strings.Repeat("a", 64))[:10]},
		{"what no label value can have becomes a hash", "a b", md5Hex("a b")},
		{"so does a wrong end", "a-", md5Hex("a-")},
		{"so does a wrong beginning", ".a", md5Hex(".a")},
		{"so does what is not UTF-8", "a\xffb", md5Hex("a\xffb")},
		{"nothing stays nothing", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := LabelValue(test.of)
			if got != test.want {
				t.Errorf("LabelValue is %s, want %s", got, test.want)
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
		if problems := validation.IsValidLabelValue(LabelValue(name)); len(problems) > 0 {
			t.Errorf("%q of %q: %v", LabelValue(name), name, problems)
		}
	})
}

// labelled is a spec with so many IPs and containers with IDs.
func labelled(ips, ids int) *TestcrSpec {
	spec := &TestcrSpec{Namespace: "default"}
	for i := range ips {
		spec.PodIPs = append(spec.PodIPs, fmt.Sprintf("10.0.0.%d", i))
	}
	for i := range ids {
		spec.Containers = append(spec.Containers, Container{ID: fmt.Sprintf("containerd://%012x", i)})
	}
	return spec
}

func TestObjectLabels(t *testing.T) {
	with := func(change func(*TestcrSpec)) *TestcrSpec {
		spec := labelled(1, 1)
		change(spec)
		return spec
	}
	tests := []struct {
		name             string
		spec             *TestcrSpec
		wantIPs, wantIDs int
		wantMore         bool
	}{
		{"a Pod that has nothing yet", labelled(0, 0), 0, 0, false},
		{"a Pod with one of each", labelled(1, 1), 1, 1, false},
		{"as many as are told", labelled(8, 64), 8, 64, false},
		{"one IP too many", labelled(9, 1), 8, 1, true},
		{"one container ID too many", labelled(1, 65), 1, 64, true},
		{"one IP twice", with(func(s *TestcrSpec) { s.PodIPs = []string{"fd00::1", "FD00::0:1"} }), 1, 1, false},
		{"an IP that is none", with(func(s *TestcrSpec) { s.PodIPs[0] = "10.0.0.256" }), 0, 1, true},
		{"an empty IP", with(func(s *TestcrSpec) { s.PodIPs[0] = "" }), 0, 1, true},
		{"an ID that is not hexadecimal", with(func(s *TestcrSpec) { s.Containers[0].ID = "rkt://my-container-1" }), 1, 0, true},
		{"a short ID", with(func(s *TestcrSpec) { s.Containers[0].ID = "docker://abc" }), 1, 0, true},
		{"a container that has yet to be created", with(func(s *TestcrSpec) { s.Containers[0].ID = "" }), 1, 0, false},
		{"two IDs that begin alike", with(func(s *TestcrSpec) {
			s.Containers = []Container{{ID: "docker://0123456789abcd"}, {ID: "docker://0123456789abef"}}
		}), 1, 1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			type counts struct {
				IPs, IDs int
				More     string
			}
			labels := objectLabels(test.spec)
			got, want := counts{More: labels[LabelMore]}, counts{IPs: test.wantIPs, IDs: test.wantIDs}
			if test.wantMore {
				want.More = "true"
			}
			for key, value := range labels {
				if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
					t.Errorf("%s=%s: %v", key, value, problems)
				}
				if strings.HasPrefix(key, labelPrefixIP) {
					got.IPs++
				} else if strings.HasPrefix(key, labelPrefixID) {
					got.IDs++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if labels[LabelManagedBy] != ManagedBy || labels[LabelNamespace] != "default" {
				t.Errorf("labels are %v", labels)
			}
		})
	}
}

// TestStaleLabels takes each label that somebody or an older state of the Pod
// may have left: ours must go, and only then is the Testcr what it should be.
func TestStaleLabels(t *testing.T) {
	want := &Testcr{Spec: *labelled(1, 1)}
	want.Labels = objectLabels(&want.Spec)
	tests := []struct {
		name, key, value string
		wantKept         bool
	}{
		{"an IP that the Pod had", labelPrefixIP + "10.9.9.9", "", false},
		{"a container ID that the Pod had", labelPrefixID + "ffffffffffff", "", false},
		{"a workload that the Pod had", LabelWorkload, "web", false},
		{"the mark of what is untold", LabelMore, "true", false},
		{"one that no version of ours knows", labelPrefix + "next", "x", false},
		{"somebody's", "team", "shop", true},
		{"somebody's with a prefix", "example.com/team", "shop", true},
		{"one below another domain that ends like ours", "my" + labelPrefix + "a", "x", true},
		{"one below a subdomain that we do not have", "a." + labelPrefix + "a", "x", true},
		{"one that is called like our prefix", "stable.example.com", "x", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			have := &Testcr{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{test.key: test.value}}, Spec: want.Spec}
			maps.Copy(have.Labels, want.Labels)
			if got := have.says(want); got != test.wantKept {
				t.Errorf("says is %t, want %t", got, test.wantKept)
			}
			updated := want.over(have)
			if _, kept := updated.Labels[test.key]; kept != test.wantKept {
				t.Errorf("an update keeps it: %t, want %t", kept, test.wantKept)
			}
			if !updated.says(want) {
				t.Errorf("the update is not what it should be: %v", updated.Labels)
			}
		})
	}
	for key, value := range want.Labels {
		t.Run(key+" is put right", func(t *testing.T) {
			for _, change := range []func(map[string]string){
				func(labels map[string]string) { delete(labels, key) },
				func(labels map[string]string) { labels[key] = value + "x" },
			} {
				have := want.over(&Testcr{})
				change(have.Labels)
				if have.says(want) || !want.over(have).says(want) {
					t.Errorf("with the labels %v", have.Labels)
				}
			}
		})
	}
}
