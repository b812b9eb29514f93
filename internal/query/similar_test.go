package query_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

func TestDidYouMean(t *testing.T) {
	keys := []string{"shop/cart-5d9f-abcde", "team/cart-5d9f-abcdf", "shop/web-0", "shop/web-1", "shop/web-2", "shop/web-3", "shop/db", "a/nginx"}
	tests := []struct{ name, of, want string }{
		{"a letter that is replaced, or two", "cart-5d9f-abxde", "shop/cart-5d9f-abcde team/cart-5d9f-abcdf"},
		{"a letter that is missing", "cart-5d9f-abce", "shop/cart-5d9f-abcde team/cart-5d9f-abcdf"},
		{"a letter too many", "cartt-5d9f-abcde", "shop/cart-5d9f-abcde team/cart-5d9f-abcdf"},
		{"two letters that changed places", "ngixn", "a/nginx"},
		{"two errors at both ends", "bart-5d9f-abcdx", "shop/cart-5d9f-abcde team/cart-5d9f-abcdf"},
		{"a letter at the beginning, and one at the end", "acart-5d9f-abcd", "shop/cart-5d9f-abcde team/cart-5d9f-abcdf"},
		{"two letters at the beginning", "xxweb-0", "shop/web-0"},
		{"two letters at the end are missing", "cart-5d9f-abc", "shop/cart-5d9f-abcde team/cart-5d9f-abcdf"},
		{"three errors", "barr-5d9f-abcxx", ""},
		{"capitals and another namespace", "other/NGINZ", "a/nginx"},
		{"behind a type", "pod/nginz", "a/nginx"},
		{"at most three", "web-9", "shop/web-0 shop/web-1 shop/web-2"},
		{"a name that is there", "nginx", ""},
		{"two letters are like everything", "dx", ""},
		{"an IP", "10.0.0.7", ""},
		{"a sentence", "where is nginz", ""},
		{"nothing", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(query.DidYouMean(test.of, slices.Values(keys)), " ")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSimilar(t *testing.T) {
	words := []string{"annotate", "namespace", "no-headers", "wide", "ux-a", "ux-b", "UX-D"}
	tests := []struct{ name, of, want string }{
		{name: "a letter that is missing", of: "anotate", want: "annotate"},
		{name: "two letters that changed places", of: "wied", want: "wide"},
		{name: "capitals", of: "NAMSPACE", want: "namespace"},
		{name: "several", of: "ux-c", want: "UX-D ux-a ux-b"},
		{name: "a word that is there", of: "wide"},
		{name: "two letters", of: "ux"},
		{name: "nothing"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(query.Similar(test.of, slices.Values(words)), " ")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// BenchmarkDidYouMean compares a name with 10,000 of the greatest length that are as
// much alike as names can be.
func BenchmarkDidYouMean(b *testing.B) {
	var keys []string
	for i := range 10_000 {
		keys = append(keys, fmt.Sprintf("shop/a%s%04d", strings.Repeat("ab", 124), i))
	}
	text := "b" + strings.Repeat("ab", 124) + "xxxx"
	for b.Loop() {
		query.DidYouMean(text, slices.Values(keys))
	}
}

// BenchmarkParse reads lines of logs as people paste them.
func BenchmarkParse(b *testing.B) {
	lines := []string{
		`I1127 09:00:00.000000    1234 kuberuntime_container.go:808] "Killing container with a grace period" pod="shop/cart-5d9f" podUID="` + uid +
			`" containerName="cart" containerID="containerd://` + id + `" gracePeriod=30`,
		"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-" + id + ".scope,mems_allowed=0,oom_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" +
			underscored + ".slice,task_memcg=/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice/cri-containerd-" + id + ".scope,task=java,pid=4711,uid=1000",
		`10.0.0.7 - - [27/Nov/2026:09:00:00 +0000] "GET /api/v1/items?id=4711 HTTP/1.1" 200 612 "-" "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"`,
		`{"ts":"2026-11-27T09:00:00Z","level":"error","msg":"dial tcp 10.0.1.2:8080: connect: connection refused","pod":"cart-5d9f","namespace":"shop"}`,
		"/var/log/pods/shop_cart-5d9f_" + uid + "/cart/0.log",
		"cart-5d9f-abcde", "10.0.0.7", "shop/cart-5d9f",
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, err := query.Parse(lines[n%len(lines)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkParse_Worst reads the longest texts with as many words of each form as fit.
func BenchmarkParse_Worst(b *testing.B) {
	for _, part := range []string{"10.0.0.7 ", "a_b_c ", "a/b-1 ", "pod=a-1 ", "4f5ca3b2d1e0 ", uid + " ", "a.svc.b.pod ", `\u0041`, "/", "::", "a:", "-1,", "namespace=a "} {
		b.Run(part, func(b *testing.B) {
			text := strings.Repeat(part, 16<<10/len(part)-1)
			for b.Loop() {
				_, _ = query.Parse(text)
			}
		})
	}
}
