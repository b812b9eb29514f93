package plugin

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// lister is an answerer that counts how often its lists are read.
type lister struct {
	list  *indexFinder
	reads int
}

func (l *lister) answer(context.Context, question) ([]answer, error) { return nil, nil }

func (l *lister) listed() []*indexFinder {
	l.reads++
	return []*indexFinder{l.list}
}

func TestSuggest_Bound(t *testing.T) {
	list := &indexFinder{index: index.New()}
	list.index.Put(record{testcr("checkout", nil)}, "1")
	results := []result{
		{question: question{err: fmt.Errorf("no fact")}},
		{question: question{text: "checkout"}, testcrs: []*v1.Testcr{testcr("checkout", nil)}},
		{question: question{text: "chekout", namespace: "shop"}},
	}
	const others = 3
	for range 100 {
		results = append(results, result{question: question{text: "chekout"}})
	}
	l := &lister{list: list}
	suggest(results, l)
	for i := range results {
		var want []string
		if i >= others && i < others+fewQueries {
			want = []string{"shop/checkout"}
		}
		if diff := cmp.Diff(want, results[i].similar); diff != "" {
			t.Errorf("result %d (-want +got):\n%s", i, diff)
		}
	}
	if l.reads != 1 {
		t.Errorf("all names are collected %d times", l.reads)
	}
}

// TestOptions_Notes_ForgeNoLine has names that are in Testcrs which somebody edited.
func TestOptions_Notes_ForgeNoLine(t *testing.T) {
	const hostile = "x\nerror: forged\x1b[2J"
	pod := testcr("web", []string{"10.0.0.7"})
	pod.Spec.PodKey, pod.Spec.NodeName = hostile, hostile
	namespace := "shop"
	var stderr strings.Builder
	o := &options{IOStreams: genericiooptions.IOStreams{ErrOut: &stderr}, config: &genericclioptions.ConfigFlags{Namespace: &namespace}}
	tests := []struct {
		name  string
		print func()
	}{
		{name: "a node", print: func() {
			o.printNote(result{question: question{text: "192.0.2.1"}, term: query.Term{Kind: query.HostIP}, testcrs: []*v1.Testcr{pod}}, nil)
		}},
		{name: "a suggestion", print: func() {
			o.printMissing([]*cluster{{options: o, results: []result{{similar: []string{hostile}}}}}, 0, question{text: "web"})
		}},
		{name: "an outdated Testcr", print: func() {
			a := &checkedAnswerer{source: &testcrSource{errOut: &stderr}}
			a.replace(nil, nil, pod, nil)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			stderr.Reset()
			test.print()
			if got := stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `x\u000aerror: forged\u001b[2J`) {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestCompletions_add has names that bash would expand, or that are several.
func TestCompletions_add(t *testing.T) {
	c := &completions{prefix: "deploy/", found: map[string]bool{}}
	for _, name := range []string{"web", "web-0.a", "shop/", "$(reboot)", "`reboot`", "a b", "a\tb", "a\nb", "-w", "a;b", "a/b/", "\x1b[2J", "", "/"} {
		c.add(name)
	}
	want := map[string]bool{"deploy/web": true, "deploy/web-0.a": true, "deploy/shop/": true}
	if diff := cmp.Diff(want, c.found); diff != "" {
		t.Errorf("offered (-want +got):\n%s", diff)
	}
}
