package desired

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const (
	prefix   = v1.GroupName + "/"
	prefixIP = "ip." + prefix
	prefixID = "cid." + prefix
)

// specWith returns a spec with so many IPs and containers with IDs.
func specWith(ips, ids int) *v1.TestcrSpec {
	spec := &v1.TestcrSpec{Namespace: "default"}
	for i := range ips {
		spec.PodIPs = append(spec.PodIPs, fmt.Sprintf("10.0.0.%d", i))
	}
	for i := range ids {
		spec.Containers = append(spec.Containers, v1.Container{ID: fmt.Sprintf("containerd://%012x", i)})
	}
	return spec
}

func TestLabels(t *testing.T) {
	with := func(change func(*v1.TestcrSpec)) *v1.TestcrSpec {
		spec := specWith(1, 1)
		change(spec)
		return spec
	}
	tests := []struct {
		name             string
		spec             *v1.TestcrSpec
		wantIPs, wantIDs int
		wantMore         bool
		wantWorkload     string
	}{
		{name: "a Pod without IPs and containers", spec: specWith(0, 0)},
		{name: "a Pod with one of each", spec: specWith(1, 1), wantIPs: 1, wantIDs: 1},
		{name: "as many as get a label", spec: specWith(8, 64), wantIPs: 8, wantIDs: 64},
		{name: "one IP too many", spec: specWith(9, 1), wantIPs: 8, wantIDs: 1, wantMore: true},
		{name: "one container ID too many", spec: specWith(1, 65), wantIPs: 1, wantIDs: 64, wantMore: true},
		{
			name: "one IP twice", spec: with(func(s *v1.TestcrSpec) { s.PodIPs = []string{"fd00::1", "FD00::0:1"} }),
			wantIPs: 1, wantIDs: 1,
		},
		{name: "an invalid IP", spec: with(func(s *v1.TestcrSpec) { s.PodIPs[0] = "10.0.0.256" }), wantIDs: 1, wantMore: true},
		{name: "an empty IP", spec: with(func(s *v1.TestcrSpec) { s.PodIPs[0] = "" }), wantIDs: 1, wantMore: true},
		{
			name: "an ID that is not hexadecimal", spec: with(func(s *v1.TestcrSpec) { s.Containers[0].ID = "rkt://my-container-1" }),
			wantIPs: 1, wantMore: true,
		},
		{name: "a short ID", spec: with(func(s *v1.TestcrSpec) { s.Containers[0].ID = "docker://abc" }), wantIPs: 1, wantMore: true},
		{name: "a container that is not created yet", spec: with(func(s *v1.TestcrSpec) { s.Containers[0].ID = "" }), wantIPs: 1},
		{
			name: "two IDs that begin alike",
			spec: with(func(s *v1.TestcrSpec) {
				s.Containers = []v1.Container{{ID: "docker://0123456789abcd"}, {ID: "docker://0123456789abef"}}
			}),
			wantIPs: 1, wantIDs: 1,
		},
		{name: "a truncated spec", spec: with(func(s *v1.TestcrSpec) { s.Truncated = true }), wantIPs: 1, wantIDs: 1, wantMore: true},
		{
			name: "a workload", spec: with(func(s *v1.TestcrSpec) { s.WorkloadName = "web" }),
			wantIPs: 1, wantIDs: 1, wantWorkload: "web",
		},
		{
			name: "a workload with a long name", spec: with(func(s *v1.TestcrSpec) { s.WorkloadName = strings.Repeat("w", 253) }),
			wantIPs: 1, wantIDs: 1, wantWorkload: v1.LabelValue(strings.Repeat("w", 253)),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ips, ids, others := 0, 0, map[string]string{}
			for key, value := range Labels(test.spec) {
				if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
					t.Errorf("%s=%s: %v", key, value, problems)
				}
				switch {
				case strings.HasPrefix(key, prefixIP) && value == "":
					ips++
				case strings.HasPrefix(key, prefixID) && value == "":
					ids++
				default:
					others[key] = value
				}
			}
			want := map[string]string{v1.LabelManagedBy: v1.ManagedBy, v1.LabelNamespace: "default"}
			if test.wantMore {
				want[v1.LabelMore] = "true"
			}
			if test.wantWorkload != "" {
				want[v1.LabelWorkload] = test.wantWorkload
			}
			if diff := cmp.Diff(want, others); diff != "" || ips != test.wantIPs || ids != test.wantIDs {
				t.Errorf("%d IPs, want %d; %d IDs, want %d; other labels (-want +got):\n%s", ips, test.wantIPs, ids, test.wantIDs, diff)
			}
		})
	}
}

// TestMatches_StaleLabels adds each label that a user or an older state of the Pod may
// have left. Those of this program must be removed.
func TestMatches_StaleLabels(t *testing.T) {
	want := &v1.Testcr{Spec: *specWith(1, 1)}
	want.Labels = Labels(&want.Spec)
	tests := []struct {
		name, key, value string
		wantKept         bool
	}{
		{name: "an IP that the Pod had", key: prefixIP + "10.9.9.9"},
		{name: "a container ID that the Pod had", key: prefixID + "ffffffffffff"},
		{name: "a workload that the Pod had", key: v1.LabelWorkload, value: "web"},
		{name: "the mark of facts without a label", key: v1.LabelMore, value: "true"},
		{name: "one that no version of this program has", key: prefix + "next", value: "x"},
		{name: "one of another program", key: "team", value: "shop", wantKept: true},
		{name: "one of another program with a prefix", key: "example.com/team", value: "shop", wantKept: true},
		{name: "one below a domain that ends alike", key: "my" + prefix + "a", value: "x", wantKept: true},
		{name: "one below another subdomain", key: "a." + prefix + "a", value: "x", wantKept: true},
		{name: "one that is called like the prefix", key: "stable.example.com", value: "x", wantKept: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stored := &v1.Testcr{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{test.key: test.value}}, Spec: want.Spec}
			maps.Copy(stored.Labels, want.Labels)
			if got := Matches(stored, want); got != test.wantKept {
				t.Errorf("Matches is %t, want %t", got, test.wantKept)
			}
			updated := Update(stored, want)
			if _, kept := updated.Labels[test.key]; kept != test.wantKept {
				t.Errorf("an update keeps it: %t, want %t", kept, test.wantKept)
			}
			if !Matches(updated, want) {
				t.Errorf("the update does not match: %v", updated.Labels)
			}
		})
	}
	for key, value := range want.Labels {
		for name, change := range map[string]func(map[string]string){
			"is missing":        func(labels map[string]string) { delete(labels, key) },
			"has another value": func(labels map[string]string) { labels[key] = value + "x" },
		} {
			t.Run(key+" "+name, func(t *testing.T) {
				stored := Update(&v1.Testcr{}, want)
				change(stored.Labels)
				if Matches(stored, want) || !Matches(Update(stored, want), want) {
					t.Errorf("with the labels %v", stored.Labels)
				}
			})
		}
	}
}
