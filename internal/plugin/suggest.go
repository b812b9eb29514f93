package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// maxChoices bounds the namespaces of which some are shown.
const maxChoices = 500

// nearest returns the word that text may be a typing error for, or "".
func nearest(text string, words []string) string {
	if near := query.Similar(text, slices.Values(words)); len(near) > 0 {
		return near[0]
	}
	return ""
}

// didYouMeanWord returns the end of an error about a word that is none of words.
func didYouMeanWord(text string, words []string) string {
	if near := nearest(text, words); near != "" {
		return fmt.Sprintf(": did you mean %s?", near)
	}
	return ""
}

// suggest adds the Pods with similar names to the first results without an answer. Each
// takes a comparison with all names, and a list of IPs may have thousands of strangers.
func suggest(results []result, answers answerer) {
	var keys map[string]bool // the same Pods are in a list of Testcrs and in one of Pods
	left := fewQueries
	for i := range results {
		r := &results[i]
		if r.err != nil || r.namespace != "" || len(r.testcrs) > 0 {
			continue
		}
		if left--; left < 0 {
			return
		}
		if keys == nil {
			keys = podKeys(answers.listed())
		}
		r.similar = query.DidYouMean(r.text, maps.Keys(keys))
	}
}

// podKeys returns the keys of the Pods in lists.
func podKeys(lists []*indexFinder) map[string]bool {
	keys := map[string]bool{}
	for _, list := range lists {
		specs, _, _ := list.index.Find(nil, index.Query{})
		for _, spec := range specs {
			keys[spec.PodKey] = true
		}
	}
	return keys
}

// choices returns which names there are, those that are similar to name first.
func choices(name string, names []string) string {
	if len(names) == 0 {
		return "there are none"
	}
	near := query.Similar(name, slices.Values(names))
	all := slices.Clone(near)
	for _, other := range names {
		if !slices.Contains(near, other) {
			all = append(all, other)
		}
	}
	for i := range all {
		all[i] = printable.Text(all[i])
	}
	if len(near) == 0 {
		return "there are " + few(all)
	}
	return fmt.Sprintf("did you mean %s? there are %s", strings.Join(all[:len(near)], " or "), few(all))
}

// hasNamespace reports whether a namespace exists. isKnown is false without the right to
// get namespaces.
func (c *clients) hasNamespace(ctx context.Context, name string) (exists, isKnown bool) {
	_, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).Get(ctx, name, metav1.GetOptions{})
	return err == nil, err == nil || apierrors.IsNotFound(err)
}

// noNamespace returns a sentence about a namespace that does not exist, with others that
// do or without. It returns "" if the namespace exists, or that is not known.
func (c *clients) noNamespace(ctx context.Context, name string, withOthers bool) string {
	if exists, isKnown := c.hasNamespace(ctx, name); exists || !isKnown {
		return ""
	}
	text := fmt.Sprintf("there is no namespace %q", name)
	if !withOthers { // several clusters seldom have the same ones
		return text
	}
	list, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).List(ctx, metav1.ListOptions{Limit: maxChoices})
	if err != nil {
		return text
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return text + ": " + choices(name, names)
}

// explainNamespaces adds to what was not found that --namespace does not exist, or that
// the query is the name of a namespace.
func (c *cluster) explainNamespaces(ctx context.Context) error {
	pods := c.source.book().pods
	checks := fewQueries
	for i := range c.results {
		r := &c.results[i]
		if r.err != nil || isAnswered(r) || r.isAll && c.namespace() == "" {
			continue
		}
		if name := c.namespace(); name != "" {
			c.noNamespace = pods.noNamespace(ctx, name, !c.asksSeveral())
			break
		}
		if checks--; checks < 0 {
			break
		}
		switch t := r.terms[0]; {
		case t.Kind == query.Namespace:
			if text := pods.noNamespace(ctx, t.Text, !c.asksSeveral()); text != "" {
				r.sentences = append(r.sentences, text)
			}
		case t.Kind == query.Name && t.IsExact() && len(validation.IsDNS1123Label(t.Text)) == 0 && c.by == "" && c.joined == nil:
			if exists, _ := pods.hasNamespace(ctx, t.Text); exists {
				r.sentences = append(r.sentences, fmt.Sprintf("%q is a namespace, whose Pods --by=namespace lists", t.Text))
			}
		}
	}
	return ctx.Err()
}
