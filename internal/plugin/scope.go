package plugin

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	selectors "k8s.io/apimachinery/pkg/labels"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// scope selects the Pods that may be an answer.
type scope struct {
	namespace string             // "" is all
	selector  selectors.Selector // nil selects all
	asked     labelKeys
}

// labelKeys are the keys of labels that queries ask for, and a Pod that may have one of
// these without its spec showing it.
type labelKeys struct {
	keys []string
	lost *atomic.Pointer[string] // the key of the Pod; nil if nobody asks
}

func (o *options) scope() scope {
	return scope{namespace: o.namespace(), selector: o.selector, asked: o.asked}
}

// scopeOf returns the scope of a question, which may have a namespace of its own.
func (o *options) scopeOf(q question) scope {
	in := o.scope()
	if q.namespace != "" {
		in.namespace = q.namespace
	}
	return in
}

// contains reports whether a Pod is in the scope, as far as its spec shows.
func (s scope) contains(spec *v1.TestcrSpec) bool {
	if s.namespace != "" && spec.Namespace != s.namespace {
		return false
	}
	s.remember(spec)
	return s.selector == nil || s.selector.Matches(selectors.Set(spec.Labels))
}

// withoutLabels returns the scope for Pods that the API server has selected by their
// labels. It has all of them, also those that a spec has no room for.
func (s scope) withoutLabels() scope {
	s.selector = nil
	return s
}

// remember records a Pod that may have a label that is asked for, although its spec has
// not. A spec that is too large keeps the first labels in the order of their keys.
func (s scope) remember(spec *v1.TestcrSpec) {
	if !spec.Truncated || s.asked.lost == nil || s.asked.lost.Load() != nil {
		return
	}
	keys := s.asked.keys
	if s.selector != nil {
		requirements, _ := s.selector.Requirements()
		for i := range requirements {
			keys = append(slices.Clip(keys), requirements[i].Key())
		}
	}
	last := ""
	for key := range spec.Labels {
		last = max(last, key)
	}
	for _, key := range keys {
		if key > last {
			s.asked.lost.Store(&spec.PodKey)
			return
		}
	}
}

// askedLabels returns the keys of the labels that questions ask for.
func askedLabels(questions []question) labelKeys {
	asked := labelKeys{lost: &atomic.Pointer[string]{}}
	for _, q := range questions {
		if len(q.terms) > 0 && q.terms[0].Kind == query.Label {
			key, _, _ := strings.Cut(q.terms[0].Text, "=")
			asked.keys = append(asked.keys, key)
		}
	}
	return asked
}

// noteLostLabels prints a note if the answer may lack a Pod, because its spec has not all
// of its labels.
func (o *options) noteLostLabels() {
	if o.asked.lost == nil {
		return
	}
	if key := o.asked.lost.Load(); key != nil {
		fmt.Fprintf(o.ErrOut, "note: %s is too large for all of its labels to be kept: it, and others like it, may be missing in the answer, or be there wrongly: "+
			"kubectl get pods -l compares all labels\n", printable.Text(*key))
	}
}

// podLabels returns the label selector for a list of Pods.
func (s scope) podLabels() string {
	if s.selector == nil {
		return ""
	}
	return s.selector.String()
}
