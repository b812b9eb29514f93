package query_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// odd returns a Pod with each fact that is not where one expects it.
func odd() *v1.TestcrSpec {
	return &v1.TestcrSpec{
		PodKey: "shop/a", PodUID: "u", NodeUID: "0123456789ABCDEF0123456789abcdef", PodIPs: []string{"10.0.0.7"},
		NetworkIPs: []v1.NetworkIP{{IP: "192.0.2.7", Network: "shop/storage"}, {IP: "192.0.2.8"}},
		HostIP:     "198.51.100.1", HostIPs: []string{"198.51.100.1", "2001:db8::1"}, Labels: map[string]string{"app": "cart", "example.com/tier": ""},
		Containers: []v1.Container{
			{Name: "main", ID: "containerd://aaaaaaaaaaaa1", PreviousID: "containerd://bbbbbbbbbbbb1", PreviousReason: "OOMKilled", PreviousExitCode: 137},
			{Name: "side", ID: "containerd://cccccccccccc1", PreviousID: "containerd://dddddddddddd1"},
		},
	}
}

func TestTerm_Matches_WithNote(t *testing.T) {
	tests := []struct {
		kind     query.Kind
		text     string
		wantNote string
		isAlias  bool
	}{
		{kind: query.IP, text: "10.0.0.7"},
		{kind: query.IP, text: "::ffff:192.0.2.7", wantNote: "its IP in the network shop/storage, by an annotation", isAlias: true},
		{kind: query.IP, text: "192.0.2.8", wantNote: "its IP in the network, by an annotation", isAlias: true},
		{kind: query.HostIP, text: "198.51.100.1"},
		{kind: query.HostIP, text: "2001:DB8::1"},
		{kind: query.UID, text: "u"},
		{kind: query.UID, text: "0123456789abcdef0123456789abcdef", wantNote: "its UID on the node, by an annotation", isAlias: true},
		{kind: query.UID, text: "01234567-89ab-cdef-0123-456789abcdef", wantNote: "its UID on the node, by an annotation", isAlias: true},
		{kind: query.Container, text: "aaaaaaaaaaaa"},
		{kind: query.Container, text: "bbbbbbbbbbbb1", wantNote: "previous container of main, OOMKilled (137)"},
		{kind: query.Container, text: "containerd://dddddddddddd1", wantNote: "previous container of side, ended (0)"},
		{kind: query.Label, text: "app=cart"},
		{kind: query.Label, text: "app==cart"},
		{kind: query.Label, text: "example.com/tier="},
	}
	for _, test := range tests {
		t.Run(string(test.kind)+" "+test.text, func(t *testing.T) {
			term, err := query.ParseAs(test.kind, test.text)
			if err != nil || !term.Matches(odd()) {
				t.Fatalf("%v matches: %t; %v", term, term.Matches(odd()), err)
			}
			if note := query.NoteFor([]query.Term{term}, odd()); note != test.wantNote || term.IsAlias(odd()) != test.isAlias {
				t.Errorf("note %q, alias %t; want %q, %t", note, term.IsAlias(odd()), test.wantNote, test.isAlias)
			}
		})
	}
	if note := query.NoteFor(nil, &v1.TestcrSpec{Terminating: true}); note != "terminating" {
		t.Errorf("note %q", note)
	}
	term, _ := query.ParseAs(query.Container, "bbbbbbbbbbbb1")
	s := odd()
	s.Terminating = true
	if note := query.NoteFor([]query.Term{term}, s); note != "previous container of main, OOMKilled (137); terminating" {
		t.Errorf("note %q", note)
	}
}

// A forged annotation does not come before the Pod that has the IP.
func TestCompareFor(t *testing.T) {
	term, _ := query.ParseAs(query.IP, "10.0.0.7")
	forged := &v1.TestcrSpec{PodKey: "a/forged", NetworkIPs: []v1.NetworkIP{{IP: "10.0.0.7"}}}
	completed := &v1.TestcrSpec{PodKey: "b/done", PodIPs: []string{"10.0.0.7"}, Phase: "Succeeded"}
	live := &v1.TestcrSpec{PodKey: "c/live", PodIPs: []string{"10.0.0.7"}}
	specs := []*v1.TestcrSpec{forged, completed, live}
	slices.SortFunc(specs, func(a, b *v1.TestcrSpec) int { return query.CompareFor([]query.Term{term}, a, b) })
	if specs[0] != live || specs[1] != completed || specs[2] != forged {
		t.Errorf("order %s, %s, %s", specs[0].PodKey, specs[1].PodKey, specs[2].PodKey)
	}
}

func TestImageFacts(t *testing.T) {
	tests := []struct {
		image, id string
		want      []string
	}{
		{},
		{image: "nginx", want: []string{"nginx"}},
		{image: "nginx:1.29", want: []string{"nginx:1.29", "nginx"}},
		{image: "docker.io/library/nginx:1.29", want: []string{
			"docker.io/library/nginx:1.29", "docker.io/library/nginx", "library/nginx:1.29", "library/nginx", "nginx:1.29", "nginx",
		}},
		{image: "registry:5000/a", want: []string{"registry:5000/a", "a"}},
		{id: "sha256:00", want: []string{"sha256:00"}},
		{id: "docker-pullable://a/b@sha256:00", want: []string{"sha256:00", "a/b", "a/b@sha256:00", "b", "b@sha256:00"}},
		{image: "a/b/c/d/e/f/g/h/i/j", want: []string{
			"a/b/c/d/e/f/g/h/i/j", "b/c/d/e/f/g/h/i/j", "c/d/e/f/g/h/i/j", "d/e/f/g/h/i/j", "e/f/g/h/i/j", "f/g/h/i/j", "g/h/i/j", "h/i/j",
		}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.image, test.id), func(t *testing.T) {
			var got []string
			query.ImageFacts(&v1.Container{Image: test.image, ImageID: test.id}, func(s string) bool {
				got = append(got, s)
				return true
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for i := range got {
				n := 0
				query.ImageFacts(&v1.Container{Image: test.image, ImageID: test.id}, func(string) bool { n++; return n <= i })
				if n != i+1 {
					t.Errorf("it went on to %d after %d", n, i+1)
				}
			}
		})
	}
}
