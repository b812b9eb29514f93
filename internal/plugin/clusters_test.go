package plugin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weiyuanke/PodInfoLookup/internal/cli"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// kubeconfig writes a file with these contexts, all of the same server.
func kubeconfig(t *testing.T, server string, contexts ...string) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: server}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{}
	for _, name := range contexts {
		config.Contexts[name] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// parsed returns the options of a command line.
func parsed(t *testing.T, stderr *bytes.Buffer, args ...string) *options {
	t.Helper()
	o := &options{IOStreams: genericiooptions.IOStreams{ErrOut: stderr}, config: genericclioptions.NewConfigFlags(true)}
	cmd := &cobra.Command{}
	o.addFlags(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOptions_clusters(t *testing.T) {
	file := kubeconfig(t, "https://127.0.0.1:1", "west", "east", "north,west", "e", "d", "c", "b")
	empty := kubeconfig(t, "https://127.0.0.1:1")
	tests := []struct {
		name  string
		file  string
		args  []string
		want  []string // contexts
		error string
		isOK  bool // the command line is right
	}{
		{name: "one", want: []string{""}},
		{name: "in the order given", args: []string{"--contexts=west,east"}, want: []string{"west", "east"}},
		{name: "twice is once", args: []string{"--contexts=west,east,west", "--contexts=east"}, want: []string{"west", "east"}},
		{name: "one of several", args: []string{"--contexts=west"}, want: []string{"west"}},
		{name: "with a comma", args: []string{`--contexts="north,west",east`}, want: []string{"north,west", "east"}},
		{name: "all", args: []string{"--all-contexts"}, want: []string{"b", "c", "d", "e", "east", "north,west", "west"}},
		{name: "other flags of all clusters", args: []string{"--all-contexts=false", "--contexts=west", "-n=shop", "--as=me"}, want: []string{"west"}},
		{name: "an unknown one", args: []string{"--contexts=east,south"},
			error: `--contexts: there is no context "south": there are b, c, d, e, east and 2 others`},
		{name: "an empty one", args: []string{"--contexts=east,"}, error: `--contexts: there is no context "": there are b, c, d, e, east and 2 others`},
		{name: "none", args: []string{"--contexts="}, error: "--contexts is empty: name some, or take --all-contexts"},
		{name: "both", args: []string{"--contexts=east", "--all-contexts"}, error: "--contexts and --all-contexts: give one of them"},
		{name: "one and several", args: []string{"--contexts=east", "--context=west"}, error: "--context is for one cluster, --contexts for several: give one of them"},
		{name: "the token of one", args: []string{"--all-contexts", "--token=x"}, error: "--token is for one cluster, --all-contexts for several: give one of them"},
		{name: "the server of one", args: []string{"--all-contexts", "--server=x"}, error: "--server is for one cluster, --all-contexts for several: give one of them"},
		{name: "no contexts", file: empty, args: []string{"--all-contexts"},
			error: "--all-contexts: the kubeconfig has no contexts: kubectl config get-contexts lists them", isOK: true},
		{name: "no contexts to choose from", file: empty, args: []string{"--contexts=a"},
			error: "--contexts: the kubeconfig has no contexts: kubectl config get-contexts lists them", isOK: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := file
			if test.file != "" {
				path = test.file
			}
			clusters, err := parsed(t, &bytes.Buffer{}, append(test.args, "--kubeconfig="+path)...).clusters()
			if test.error != "" {
				if usage := (cli.UsageError{}); err == nil || err.Error() != test.error || errors.As(err, &usage) == test.isOK {
					t.Errorf("error %v, want %q", err, test.error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range clusters {
				got = append(got, *c.config.Context)
				if *c.config.KubeConfig != path || *c.config.Namespace != *clusters[0].config.Namespace {
					t.Errorf("%s has other flags", c.context)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOneClusterFlags_Exist: a flag that is not there would not be refused.
func TestOneClusterFlags_Exist(t *testing.T) {
	o := parsed(t, &bytes.Buffer{})
	for _, name := range oneClusterFlags {
		if o.flags.Lookup(name) == nil {
			t.Errorf("there is no --%s", name)
		}
	}
}

func TestOptions_clusterLimit(t *testing.T) {
	tests := []struct {
		args []string
		want string // duration or error
	}{
		{want: "0s"},
		{args: []string{"--request-timeout=7"}, want: "0s"},
		{args: []string{"--contexts=a"}, want: "3s"},
		{args: []string{"--all-contexts", "--request-timeout=7"}, want: "7s"},
		{args: []string{"--all-contexts", "--request-timeout=100ms"}, want: "100ms"},
		{args: []string{"--all-contexts", "--request-timeout=0"}, want: "0s"},
		{args: []string{"--all-contexts", "--request-timeout=-1s"}, want: `--request-timeout="-1s": give a duration, such as 5s, or 0 for no limit`},
		{args: []string{"--all-contexts", "--request-timeout=x"}, want: `--request-timeout="x": give a duration, such as 5s, or 0 for no limit`},
	}
	for _, test := range tests {
		limit, err := parsed(t, &bytes.Buffer{}, test.args...).clusterLimit()
		got := limit.String()
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%v: %s, want %s", test.args, got, test.want)
		}
	}
}

func TestOptions_completeContexts(t *testing.T) {
	file := kubeconfig(t, "https://127.0.0.1:1", "west", "east", "north")
	tests := []struct {
		text string
		want []string
	}{
		{text: "", want: []string{"east", "north", "west"}},
		{text: "w", want: []string{"east", "north", "west"}}, // the shell takes those that begin with it
		{text: "west,", want: []string{"west,east", "west,north"}},
		{text: "west,east,n", want: []string{"west,east,north"}},
		{text: "west,east,north,"},
	}
	o := parsed(t, &bytes.Buffer{}, "--kubeconfig="+file)
	for _, test := range tests {
		got, directive := o.completeContexts(nil, nil, test.text)
		if diff := cmp.Diff(test.want, got); diff != "" || directive&cobra.ShellCompDirectiveNoSpace == 0 {
			t.Errorf("%q: directive %d (-want +got):\n%s", test.text, directive, diff)
		}
	}
}

func TestSetNames(t *testing.T) {
	named := func(name string) source { return &podSource{clients: &clients{name: name}} }
	tests := []struct {
		name     string
		clusters []*cluster
		want     []string
	}{
		{name: "the only one", clusters: []*cluster{{source: named("prod")}}, want: []string{"prod"}},
		{name: "the only one, without a name", clusters: []*cluster{{source: named("")}}, want: []string{""}},
		{name: "one of two", clusters: []*cluster{{context: "a", source: named("prod")}, {context: "b", source: named("")}}, want: []string{"prod", "b"}},
		{name: "two", clusters: []*cluster{{context: "a", source: named("prod")}, {context: "b", source: named("dev")}}, want: []string{"prod", "dev"}},
		{name: "the name of its context", clusters: []*cluster{{context: "prod", source: named("prod")}}, want: []string{"prod"}},
		{name: "the same name", want: []string{"a", "b", "dev"},
			clusters: []*cluster{{context: "a", source: named("prod")}, {context: "b", source: named("prod")}, {context: "c", source: named("dev")}}},
		{name: "the context of another", clusters: []*cluster{{context: "a", source: named("b")}, {context: "b", source: named("")}}, want: []string{"a", "b"}},
		{name: "the context of one that failed", clusters: []*cluster{{context: "a", source: named("b")}, {context: "b", err: errMissing}}, want: []string{"a", "b"}},
	}
	for _, test := range tests {
		for _, c := range test.clusters {
			c.name = c.context
		}
		setNames(test.clusters)
		var got []string
		for _, c := range test.clusters {
			got = append(got, c.name)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestLabeledLines(t *testing.T) {
	var out bytes.Buffer
	l := &labeledLines{mu: &sync.Mutex{}, out: &out}
	write := func(text string) {
		if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	write("note: there are: none\n")
	write("Warning: deprecated\nwarning: old\n")
	if out.Len() > 0 {
		t.Errorf("printed without a name: %s", &out)
	}
	l.release("a\n\x1b[2J")
	write("note: \"a: b\" is a name\n")
	const name = `cluster a\u000a\u001b[2J: `
	const want = "note: " + name + "there are: none\nnote: " + name + "Warning: deprecated\nwarning: " + name + "old\nnote: " + name + "\"a: b\" is a name\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLabeledLines_Bound(t *testing.T) {
	var out bytes.Buffer
	l := &labeledLines{mu: &sync.Mutex{}, out: &out}
	line := "note: " + strings.Repeat("x", 999) + "\n"
	for range 100 {
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	l.release("a")
	text := out.String()
	if n := strings.Count(text, "\n"); n != maxHeld/len(line)+1 || !strings.HasSuffix(text, "\nwarning: cluster a: it had more notes than are shown\n") {
		t.Errorf("%d lines, the end %q", n, text[len(text)-100:])
	}
}

// TestOptions_askAll_Bound has 20 clusters. Each request waits until there are as many as
// may be asked at once.
func TestOptions_askAll_Bound(t *testing.T) {
	var mu sync.Mutex
	asking, most := 0, 0
	all, isAll := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/testcrs") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		mu.Lock()
		asking++
		most = max(most, asking)
		if asking == clustersAtOnce {
			isAll()
		}
		mu.Unlock()
		<-all.Done()
		mu.Lock()
		asking--
		mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	var contexts []string
	for i := range clustersAtOnce + 4 {
		contexts = append(contexts, strconv.Itoa(100+i))
	}
	var stderr bytes.Buffer
	o := parsed(t, &stderr, "--all-contexts", "--request-timeout=0", "--kubeconfig="+kubeconfig(t, server.URL, contexts...))
	clusters, err := o.clusters()
	if err != nil {
		t.Fatal(err)
	}
	terms, err := query.Parse("10.0.0.7")
	if err != nil {
		t.Fatal(err)
	}
	err = o.askAll(t.Context(), clusters, []question{{text: "10.0.0.7", terms: terms}})
	if err == nil || err.Error() != "no cluster has answered: nothing was searched" || most != clustersAtOnce {
		t.Errorf("%d at once, error %v", most, err)
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	if len(lines) != len(contexts) || !strings.HasPrefix(lines[0], "warning: cluster 100: You must be logged in to the server (") {
		t.Errorf("%d lines, the first %q", len(lines), lines[0])
	}
}

func TestOptions_askAll_Interrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	var stderr bytes.Buffer
	o := parsed(t, &stderr, "--all-contexts", "--request-timeout=0", "--kubeconfig="+kubeconfig(t, server.URL, "a", "b"))
	clusters, err := o.clusters()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.askAll(ctx, clusters, nil); !errors.Is(err, context.Canceled) || stderr.Len() > 0 {
		t.Errorf("error %v, standard error %q", err, &stderr)
	}
}
