package plugin

import (
	selectors "k8s.io/apimachinery/pkg/labels"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// scope selects the Pods that may be an answer.
type scope struct {
	namespace string             // "" is all
	selector  selectors.Selector // nil selects all
}

func (o *options) scope() scope { return scope{namespace: o.namespace(), selector: o.selector} }

// scopeOf returns the scope of a question, which may have a namespace of its own.
func (o *options) scopeOf(q question) scope {
	in := o.scope()
	if q.namespace != "" {
		in.namespace = q.namespace
	}
	return in
}

func (s scope) contains(spec *v1.TestcrSpec) bool {
	return (s.namespace == "" || spec.Namespace == s.namespace) && (s.selector == nil || s.selector.Matches(selectors.Set(spec.Labels)))
}

// podLabels returns the label selector for a list of Pods.
func (s scope) podLabels() string {
	if s.selector == nil {
		return ""
	}
	return s.selector.String()
}
