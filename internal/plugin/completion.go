package plugin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/pager"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

const (
	// completionTimeout bounds a completion: the shell waits for it. Names found so far
	// are offered.
	completionTimeout = 2 * time.Second
	// maxCompletions bounds the names that are offered.
	maxCompletions = 200
	// completionPage bounds the objects of one answer of the API server, and
	// maxCompletionObjects those of one completion. In a larger cluster names may be missing.
	completionPage, maxCompletionObjects = 500, 5000
)

// completions collects the names that begin with a text.
type completions struct {
	prefix string // of the argument, up to and with its slash
	name   string // the rest
	found  map[string]bool
}

// add adds a name. It adds nothing that a shell would interpret: bash expands what it is
// offered, and the owner reference of a Pod may have any text.
func (c *completions) add(name string) {
	if len(validation.IsDNS1123Subdomain(strings.TrimSuffix(name, "/"))) == 0 && strings.HasPrefix(name, c.name) && len(c.found) < maxCompletions {
		c.found[c.prefix+name] = true
	}
}

func (c *completions) isFull() bool { return len(c.found) >= maxCompletions }

// completeQuery completes a QUERY: names of namespaces, Pods, nodes and workloads, also
// behind NAMESPACE/, behind TYPE/ and behind a type or a namespace as the first argument.
func (o *options) completeQuery(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	c := &completions{name: text, found: map[string]bool{}}
	first, rest, isSlashed := strings.Cut(text, "/")
	if isSlashed {
		c.prefix, c.name = first+"/", rest
	} else if first = ""; len(args) == 1 {
		first = args[0]
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	if !isSlashed && first == "" && o.namespace() == "" {
		for _, namespace := range o.namespaces(ctx) {
			c.add(namespace + "/")
		}
		if len(c.found) > 0 {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
	}
	if isSlashed || text != "" || first != "" {
		o.completeNames(ctx, c, first)
	}
	return slices.Sorted(maps.Keys(c.found)), directive
}

// completeNames adds the names of Pods and what is around them. first is a type, whose
// names alone are added, or a namespace, or "".
func (o *options) completeNames(ctx context.Context, c *completions, first string) {
	typed := query.Typed(first, "x")
	namespace := o.namespace()
	if first != "" && typed == nil {
		namespace = first
	}
	_ = o.eachSpec(ctx, namespace, c, func(s *v1.TestcrSpec) {
		switch {
		case typed == nil:
			c.add(s.PodName)
			if first == "" || c.prefix == "" {
				c.add(s.NodeName)
				c.add(s.WorkloadName)
			}
		case typed[0].Kind == query.Name:
			c.add(s.PodName)
		case typed[0].Kind == query.Node:
			c.add(s.NodeName)
		case strings.EqualFold(s.WorkloadKind, typed[0].OwnerKind):
			c.add(s.WorkloadName)
		case strings.EqualFold(s.OwnerKind, typed[0].OwnerKind):
			c.add(s.OwnerName)
		}
	}) // what was found until then is offered
}

// eachSpec calls do for each Pod of a namespace, "" for all, until c is full. It reads the
// Testcrs, or the Pods of the namespace if those cannot be read.
func (o *options) eachSpec(ctx context.Context, namespace string, c *completions, do func(*v1.TestcrSpec)) error {
	clients, err := o.newClients()
	if err != nil {
		return err
	}
	full, stop := context.WithCancel(ctx)
	defer stop()
	seen := 0
	each := func(list pager.ListPageFunc, options metav1.ListOptions, specOf func(runtime.Object) *v1.TestcrSpec) error {
		pages := pager.New(list)
		pages.PageSize, pages.PageBufferSize, pages.FullListIfExpired = completionPage, 0, false
		return pages.EachListItem(full, options, func(obj runtime.Object) error {
			if s := specOf(obj); s != nil && (namespace == "" || s.Namespace == namespace) {
				do(s)
			}
			if seen++; c.isFull() || seen >= maxCompletionObjects {
				stop()
			}
			return nil
		})
	}
	err = each(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return clients.testcrs().List(ctx, options)
	}, metav1.ListOptions{LabelSelector: inNamespace(namespace)}, func(obj runtime.Object) *v1.TestcrSpec {
		if t := decode(obj); t != nil && t.DescribesPod() {
			return &t.Spec
		}
		return nil
	})
	if err == nil || full.Err() != nil {
		return err
	}
	strings := &dedup.Pool{}
	return each(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return clients.kube.CoreV1().Pods(namespace).List(ctx, options)
	}, metav1.ListOptions{}, func(obj runtime.Object) *v1.TestcrSpec {
		if pod, ok := obj.(*corev1.Pod); ok {
			return &newPodRecord(pod, strings).spec
		}
		return nil
	})
}
