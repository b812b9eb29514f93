package plugin

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// TestSelectionsFor bounds the watches of one run: a Service may have any number of Pods.
func TestSelectionsFor(t *testing.T) {
	names := func(n int) (terms []query.Term) {
		for i := range n {
			terms = append(terms, query.Term{Kind: query.Name, Text: fmt.Sprintf("web-%d", i)})
		}
		return terms
	}
	tests := []struct {
		name      string
		terms     int
		questions int
		want      int // watches
	}{
		{name: "nothing is waited for", questions: 1},
		{name: "one Pod", terms: 1, questions: 1, want: 1},
		{name: "as many as are watched one by one", terms: 32, questions: 1, want: 32},
		{name: "one more", terms: 33, questions: 1, want: 1},
		{name: "few questions", terms: 2, questions: 8, want: 2},
		{name: "many questions", terms: 2, questions: 9, want: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			src := &podSource{namespaces: []string{metav1.NamespaceAll}}
			got := selectionsFor(src, names(test.terms), test.questions)
			if len(got) != test.want {
				t.Errorf("%d watches, want %d: %v", len(got), test.want, got)
			}
		})
	}
}
