package plugin

import (
	"strings"
	"testing"

	selectors "k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// TestScope_LostLabels has specs that are too large for the labels from "m" on.
func TestScope_LostLabels(t *testing.T) {
	byLabel := func(text string) question {
		return question{text: text, terms: []query.Term{{Kind: query.Label, Text: text}}}
	}
	tests := []struct {
		name      string
		selector  string
		questions []question
		labels    map[string]string
		whole     bool // nothing is cut
		noted     bool
		contains  bool
	}{
		{name: "a label behind the cut", selector: "zone=a", labels: map[string]string{"app": "x", "m": ""}, noted: true},
		{name: "a label that must be missing", selector: "!zone", labels: map[string]string{"m": ""}, noted: true, contains: true},
		{name: "a label before the cut", selector: "app=y", labels: map[string]string{"app": "x", "m": ""}},
		{name: "a missing label before the cut", selector: "app=y", labels: map[string]string{"m": ""}},
		{name: "the last label", selector: "m=x", labels: map[string]string{"m": "x"}, contains: true},
		{name: "one of two", selector: "app=x,zone=a", labels: map[string]string{"app": "x", "m": ""}, noted: true},
		{name: "a spec without labels", selector: "app=x", noted: true},
		{name: "a spec that is whole", selector: "zone=a", labels: map[string]string{"m": ""}, whole: true},
		{name: "a query", questions: []question{byLabel("app=x"), byLabel("zone=a")}, labels: map[string]string{"m": ""}, noted: true, contains: true},
		{name: "a query before the cut", questions: []question{byLabel("app=x")}, labels: map[string]string{"m": ""}, contains: true},
		{name: "no label is asked for", questions: []question{{terms: []query.Term{{Kind: query.Name, Text: "zone"}}}}, contains: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stderr strings.Builder
			o := &options{IOStreams: genericiooptions.IOStreams{ErrOut: &stderr}, asked: askedLabels(test.questions)}
			in := scope{asked: o.asked}
			if test.selector != "" {
				var err error
				if in.selector, err = selectors.Parse(test.selector); err != nil {
					t.Fatal(err)
				}
			}
			spec := &v1.TestcrSpec{PodKey: "shop/big\x1b", Labels: test.labels, Truncated: !test.whole}
			for range 2 { // the note is about the first one
				if got := in.contains(spec); got != test.contains {
					t.Errorf("it is in the scope: %t, want %t", got, test.contains)
				}
				spec = &v1.TestcrSpec{PodKey: "shop/other", Labels: test.labels, Truncated: !test.whole}
			}
			o.noteLostLabels()
			if got := strings.HasPrefix(stderr.String(), `note: shop/big\u001b is too large `) && strings.Count(stderr.String(), "\n") == 1; got != test.noted {
				t.Errorf("%q, want a note: %t", stderr.String(), test.noted)
			}
			if !in.withoutLabels().contains(spec) {
				t.Error("a Pod that the API server has selected is left out")
			}
		})
	}
}
