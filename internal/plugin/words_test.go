package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
)

func TestOptions_joined(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		flags []string
		want  string // kind/text of each reading, "namespace:" before
	}{
		{name: "one word", args: []string{"cart"}},
		{name: "a type and a name", args: []string{"deploy", "cart"}, want: "workload=deployment/cart"},
		{name: "a type with its group", args: []string{"Deployments.apps", "cart"}, want: "workload=deployment/cart"},
		{name: "a type and names", args: []string{"sts", "a", "b"}, want: "workload=statefulset/a | workload=statefulset/b"},
		{name: "a type and a Pod with its namespace", args: []string{"pod", "shop/a"}, want: "key=shop/a"},
		{name: "a type and no name", args: []string{"deploy", "10.0.0.7,10.0.0.8"}},
		{name: "a namespace and a name", args: []string{"shop", "cart"}, want: "shop: key=shop/cart node=cart workload=cart key=shop/*cart*"},
		{name: "a namespace and an IP", args: []string{"shop", "fd00::7"}, want: "shop: ip=fd00::7 hostip=fd00::7"},
		{name: "a namespace and a workload", args: []string{"shop", "sts/web"}, want: "shop: workload=statefulset/web key=sts/web"},
		{name: "three words", args: []string{"shop", "cart", "web"}},
		{name: "an IP first", args: []string{"10.0.0.7", "cart"}},
		{name: "capitals first", args: []string{"Shop", "cart"}},
		{name: "standard input", args: []string{"deploy", "-"}},
		{name: "a kind", args: []string{"deploy", "cart"}, flags: []string{"--by=name"}},
		{name: "a namespace by a flag", args: []string{"shop", "cart"}, flags: []string{"-n=mall"}},
		{name: "a type with a namespace by a flag", args: []string{"deploy", "cart"}, flags: []string{"-n=mall"}, want: "workload=deployment/cart"},
		{name: "no fact", args: []string{"shop", "?"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, q := range parsed(t, &bytes.Buffer{}, test.flags...).joined(test.args) {
				var terms []string
				if q.namespace != "" {
					terms = append(terms, q.namespace+":")
				}
				for _, term := range q.terms {
					terms = append(terms, fmt.Sprintf("%s=%s", term.Kind, term))
				}
				got = append(got, strings.Join(terms, " "))
			}
			if diff := cmp.Diff(test.want, strings.Join(got, " | ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOptions_pipedQueries uses virtual time.
func TestOptions_pipedQueries(t *testing.T) {
	const waits = "note: there is no QUERY: waiting for standard input, one query a line\n"
	tests := []struct {
		name   string
		after  time.Duration // of the first byte, 0 for never
		want   string
		stderr string
	}{
		{name: "at once", after: time.Second, want: "10.0.0.7"},
		{name: "late", after: 50 * time.Second, want: "10.0.0.7", stderr: waits},
		{name: "never", stderr: waits},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, feed := io.Pipe()
				defer func() { _ = feed.Close() }()
				var stderr bytes.Buffer
				o := &options{IOStreams: genericiooptions.IOStreams{In: in, ErrOut: &stderr}}
				if test.after > 0 {
					time.AfterFunc(test.after, func() {
						_, _ = io.WriteString(feed, "10.0.0.7\n")
						time.AfterFunc(10*time.Minute, func() { _ = feed.Close() }) // the rest may take any time
					})
				}
				begun := time.Now()
				questions, err := o.pipedQueries(t.Context())
				var texts []string
				for _, q := range questions {
					texts = append(texts, q.text)
				}
				if diff := cmp.Diff([]string{test.want, test.stderr}, []string{strings.Join(texts, " "), stderr.String()}); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if usage := (cli.UsageError{}); (test.want == "") != errors.As(err, &usage) {
					t.Errorf("error %v", err)
				}
				if waited := time.Since(begun); test.want == "" && waited != inputPatience {
					t.Errorf("gave up after %s", waited)
				}
			})
		})
	}
}

func TestOptions_pipedQueries_IsInterrupted(t *testing.T) {
	in, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := &options{IOStreams: genericiooptions.IOStreams{In: in, ErrOut: io.Discard}}
	if _, err := o.pipedQueries(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestOptions_withRemedy(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	refused := func(user string) error {
		return apierrors.NewForbidden(pods, "", fmt.Errorf("User %q cannot list resource \"pods\"", user))
	}
	tests := []struct {
		name       string
		err        error
		flags      []string
		hasTestcrs bool
		want       string // the end, "" for no remedy
	}{
		{name: "another error", err: apierrors.NewNotFound(pods, "x")},
		{name: "no error"},
		{name: "Testcrs", err: refused("jane"), hasTestcrs: true, want: "clusterrolebinding podinfo-view --clusterrole=podinfolookup-view --user=jane"},
		{name: "no Testcrs", err: refused("jane@example.com"), want: "clusterrolebinding podinfo-view --clusterrole=view --user=jane@example.com"},
		{name: "a namespace", err: refused("jane"), flags: []string{"-n=shop"}, hasTestcrs: true, want: "rolebinding podinfo-view -n shop --clusterrole=view --user=jane"},
		{name: "a service account", err: refused("system:serviceaccount:shop:reader"), want: "clusterrolebinding podinfo-view --clusterrole=view --serviceaccount=shop:reader"},
		{name: "what a shell interprets", err: refused("$(reboot)"), want: "clusterrolebinding podinfo-view --clusterrole=view --user=NAME"},
		{name: "an option", err: refused("--as=x"), want: "clusterrolebinding podinfo-view --clusterrole=view --user=NAME"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := parsed(t, &bytes.Buffer{}, test.flags...).withRemedy(test.err, test.hasTestcrs)
			switch {
			case !errors.Is(err, test.err):
				t.Errorf("error %v, want %v in it", err, test.err)
			case test.want == "" && fmt.Sprint(err) != fmt.Sprint(test.err):
				t.Errorf("error %v", err)
			case test.want != "" && (!apierrors.IsForbidden(err) || !strings.HasSuffix(err.Error(), ": kubectl create "+test.want)):
				t.Errorf("error %v, want %q at its end", err, test.want)
			}
		})
	}
}
