package plugin_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// uxPods are Pods of the namespaces ux-a, ux-b and ledger, which exist.
func uxPods(t *testing.T) []*corev1.Pod {
	t.Helper()
	for _, name := range []string{"ux-a", "ux-b", "ledger"} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := env.Clients.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	made := func(key, ip, kind, owner string, restarts int32, age time.Duration) *corev1.Pod {
		p := pod(key, ip)
		p.UID += "60"
		p.Spec.NodeName, p.CreationTimestamp = "worker-60", metav1.NewTime(time.Now().Add(-age))
		p.Labels = map[string]string{"app": strings.TrimSuffix(owner, "-5d9f7c6b4"), "tier": "shown"}
		if kind == "ReplicaSet" {
			p.Labels["pod-template-hash"] = "5d9f7c6b4"
		}
		if kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: owner, UID: "u", Controller: new(true)}}
		}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", RestartCount: restarts}}
		return p
	}
	return []*corev1.Pod{
		made("ux-b/uxcart-5d9f7c6b4-aaaaa", "10.60.0.10", "ReplicaSet", "uxcart-5d9f7c6b4", 3, 3*time.Hour),
		made("ux-b/uxcart-5d9f7c6b4-bbbbb", "10.60.0.9", "ReplicaSet", "uxcart-5d9f7c6b4", 10, time.Hour),
		made("ux-a/uxcart-5d9f7c6b4-ccccc", "10.60.0.11", "ReplicaSet", "uxcart-5d9f7c6b4", 0, 2*time.Hour),
		made("ux-b/uxweb-0", "10.60.0.3", "StatefulSet", "uxweb", 0, time.Minute),
		made("ledger/uxweb-1", "10.60.0.4", "StatefulSet", "uxweb", 0, time.Minute),
		made("ux-a/ledger", "10.60.0.5", "", "book", 0, time.Minute),
	}
}

// invocation is a command line and what it must leave. Of the outputs with a part, the
// rest is not compared.
type invocation struct {
	name   string
	args   []string
	in     string
	user   string // a kubeconfig; without it that of an administrator
	isKeys bool   // prints the keys of Pods
	out    string
	outHas string
	err    string
	errHas string
	code   int
}

func (i *invocation) check(t *testing.T, got result) {
	t.Helper()
	if i.outHas == "" && got.Stdout != i.out || !strings.Contains(got.Stdout, i.outHas) {
		t.Errorf("%q: standard output:\n%s\nwant:\n%s", i.args, got.Stdout, i.out+i.outHas)
	}
	if i.errHas == "" && got.Stderr != i.err || !strings.Contains(got.Stderr, i.errHas) {
		t.Errorf("%q: standard error:\n%s\nwant:\n%s", i.args, got.Stderr, i.err+i.errHas)
	}
	if got.Code != i.code {
		t.Errorf("%q: code %d, want %d", i.args, got.Code, i.code)
	}
	if strings.HasPrefix(i.err+i.errHas, "error: ") && i.code == 2 && !strings.HasPrefix(got.Stderr, "Examples:") && strings.Count(got.Stderr, "\n") != 1 {
		t.Errorf("%q: the error has several lines:\n%s", i.args, got.Stderr)
	}
}

const (
	cartA = "ux-b/uxcart-5d9f7c6b4-aaaaa\n"
	cartB = "ux-b/uxcart-5d9f7c6b4-bbbbb\n"
	cartC = "ux-a/uxcart-5d9f7c6b4-ccccc\n"
	web0  = "ux-b/uxweb-0\n"
	web1  = "ledger/uxweb-1\n"
)

// TestInvocations holds the command line to the habits of kubectl's users.
func TestInvocations(t *testing.T) {
	create(t, uxPods(t)...)
	var all []invocation
	all = append(all, habits()...)
	all = append(all, wordsOfArguments()...)
	all = append(all, inputs()...)
	all = append(all, mistakes(t)...)
	all = append(all, annotations(t)...)
	all = append(all, helps(t)...)
	all = append(all, completions()...)
	all = append(all, pastInvocations(t)...)
	for _, i := range all {
		t.Run(i.name, func(t *testing.T) {
			args := i.args
			if i.isKeys {
				args = slices.Concat(args, keys)
			}
			user := i.user
			if user == "" {
				user = env.AdminKubeconfig
			}
			i.check(t, run(t, user, i.in, args...))
		})
	}
	const least = 60
	if len(all) < least {
		t.Errorf("%d invocations, want %d and more", len(all), least)
	}
}

func habits() []invocation {
	return []invocation{
		{name: "-A is the default", args: []string{"-A", "deploy/uxcart"}, isKeys: true, out: cartC + cartA + cartB},
		{name: "-A overrides -n", args: []string{"deploy/uxcart", "-n", "ux-b", "--all-namespaces"}, isKeys: true, out: cartC + cartA + cartB},
		{name: "-n narrows", args: []string{"deploy/uxcart", "-n", "ux-b"}, isKeys: true, out: cartA + cartB},
		{name: "-l alone lists", args: []string{"-l", "app=uxcart"}, isKeys: true, out: cartC + cartA + cartB},
		{name: "-l in a namespace", args: []string{"-l", "app=uxcart", "-n", "ux-a"}, isKeys: true, out: cartC},
		{name: "-l does not read standard input", args: []string{"-l", "app=uxweb", "-n", "ux-b"}, in: "10.60.0.9\n", isKeys: true, out: web0},
		{name: "a set of values", args: []string{"-l", "app in (uxweb),tier=shown"}, isKeys: true, out: web1 + web0},
		{name: "not equal", args: []string{"--selector=tier=shown,app!=uxcart,app!=uxweb"}, isKeys: true, out: "ux-a/ledger\n"},
		{name: "a key that must be missing", args: []string{"-l", "tier=shown,!pod-template-hash", "-n", "ux-b"}, isKeys: true, out: web0},
		{name: "-l filters answers", args: []string{"worker-60", "-l", "app=uxweb"}, isKeys: true, out: web1 + web0},
		{name: "-l filters the lines of standard input", args: []string{"-", "-l", "app=uxweb"}, in: "10.60.0.3\n10.60.0.9\n", isKeys: true, out: web0,
			errHas: `error: no Pod matches "10.60.0.9": looked for it as ip, hostip, node, name in all namespaces among the Pods with the labels "app=uxweb"`, code: 1},
		{name: "-l selects none", args: []string{"-l", "app=nothing"}, isKeys: true, code: 1,
			err: "error: no Pod has the labels \"app=nothing\": looked in all namespaces\n"},
		{name: "-l selects none in a namespace", args: []string{"-l", "app=nothing", "-n", "ux-b"}, isKeys: true, code: 1,
			err: "error: no Pod has the labels \"app=nothing\": looked in namespace \"ux-b\"\n"},
		{name: "-l is a list", args: []string{"-l", "app=book", "-o", "jsonpath={.kind} {.items[*].spec.podname}"}, out: "List ledger"},
		{name: "--show-labels", args: []string{"10.60.0.9", "--show-labels", "--no-headers"}, outHas: " app=uxcart,pod-template-hash=5d9f7c6b4,tier=shown\n"},
		{name: "its header", args: []string{"10.60.0.9", "--show-labels"}, outHas: "LABELS\n"},
		{name: "sorted by a column", args: []string{"deploy/uxcart", "--sort-by=restarts"}, isKeys: true, out: cartC + cartA + cartB},
		{name: "the youngest first", args: []string{"deploy/uxcart", "--sort-by=age"}, isKeys: true, out: cartB + cartC + cartA},
		{name: "sorted by a field of a Testcr", args: []string{"-l", "tier=shown", "--sort-by=.spec.podname", "-n", "ux-b"}, isKeys: true, out: cartA + cartB + web0},
		{name: "sorted by a field of a Pod", args: []string{"deploy/uxcart", "--sort-by={.metadata.creationTimestamp}"}, isKeys: true, out: cartA + cartC + cartB},
		{name: "sorted by IPs", args: []string{"-l", "tier=shown", "-n", "ux-b", "--sort-by=.status.podIP"}, isKeys: true, out: web0 + cartB + cartA},
		{name: "sorted queries", args: []string{"10.60.0.10", "10.60.0.9", "--sort-by", "ip"}, isKeys: true, out: cartB + cartA},
		{name: "sorted objects", args: []string{"deploy/uxcart", "-n", "ux-b", "--sort-by=.spec.restarts", "-o", "jsonpath={.items[*].spec.restarts}"}, out: "3 10"},
		{name: "a log of requests", args: []string{"10.60.0.9", "-v", "0"}, isKeys: true, out: cartB},
	}
}

func wordsOfArguments() []invocation {
	const asNamespace = "note: \"ux-b uxcart\" was read as \"uxcart\" in namespace \"ux-b\"\n"
	return []invocation{
		{name: "TYPE NAME", args: []string{"deploy", "uxcart"}, isKeys: true, out: cartC + cartA + cartB},
		{name: "TYPE NAME in a namespace", args: []string{"deployments.apps", "uxcart", "-n", "ux-a"}, isKeys: true, out: cartC},
		{name: "TYPE NAME of a Pod", args: []string{"pod", "uxweb-0"}, isKeys: true, out: web0},
		{name: "TYPE and a part of a name", args: []string{"pod", "uxweb"}, isKeys: true, out: web1 + web0,
			err: "note: \"pod uxweb\" was read as a part of the name of 2 Pods\n"},
		{name: "TYPE NAME of a node", args: []string{"no", "worker-60", "-l", "app=uxweb"}, isKeys: true, out: web1 + web0},
		{name: "TYPE NAME NAME", args: []string{"sts", "uxweb", "nobody"}, isKeys: true, out: web1 + web0, code: 1,
			err: "error: no Pod matches \"sts nobody\": looked for it as workload in all namespaces\n"},
		{name: "TYPE NAME is one object", args: []string{"pod", "uxweb-0", "-o", "jsonpath={.kind} {.spec.podkey}"}, out: "Testcr ux-b/uxweb-0"},
		{name: "TYPE NAME is not found", args: []string{"deploy", "uxcrt"}, isKeys: true, code: 1,
			errHas: "error: no Pod matches \"deploy uxcrt\": looked for it as workload in all namespaces"},
		{name: "NAMESPACE NAME", args: []string{"ux-b", "uxcart"}, isKeys: true, out: cartA + cartB, err: asNamespace},
		{name: "NAMESPACE NAME of a Pod", args: []string{"ux-b", "uxweb-0"}, isKeys: true, out: web0,
			err: "note: \"ux-b uxweb-0\" was read as \"uxweb-0\" in namespace \"ux-b\"\n"},
		{name: "NAMESPACE and a part of a name", args: []string{"ux-b", "cart-5d9f7c6b4"}, isKeys: true, out: cartA + cartB,
			errHas: "note: \"ux-b cart-5d9f7c6b4\" was read as \"cart-5d9f7c6b4\" in namespace \"ux-b\"\n"},
		{name: "NAMESPACE IP", args: []string{"ux-b", "10.60.0.3"}, isKeys: true, out: web0,
			err: "note: \"ux-b 10.60.0.3\" was read as \"10.60.0.3\" in namespace \"ux-b\"\n"},
		{name: "NAMESPACE and a name that is elsewhere", args: []string{"ux-a", "uxweb-0"}, isKeys: true, out: web0, code: 1,
			errHas: "; \"ux-a\" is a namespace, in which no Pod matches \"uxweb-0\"\n"},
		{name: "two queries, of which the first is a namespace, too", args: []string{"ledger", "uxweb"}, isKeys: true, out: "ux-a/ledger\n" + web1 + web0,
			err: "note: \"ledger\" was read as a query of its own; in namespace \"ledger\": ledger/uxweb\n"},
		{name: "two queries", args: []string{"10.60.0.9", "uxweb-0"}, isKeys: true, out: cartB + web0},
		{name: "two words of which one is found", args: []string{"nobody", "uxweb-0"}, isKeys: true, out: web0, code: 1,
			errHas: "error: no Pod matches \"nobody\": looked for it as name, node, workload in all namespaces"},
		{name: "--by reads each word", args: []string{"--by=name", "deploy", "uxweb-0"}, isKeys: true, out: web0, code: 1,
			errHas: "error: no Pod matches \"deploy\": looked for it as name in all namespaces"},
	}
}

func inputs() []invocation {
	return []invocation{
		{name: "a pipe without a QUERY", in: "10.60.0.9\nuxweb-0\n", isKeys: true, out: cartB + web0},
		{name: "a pipe with a QUERY is not read", args: []string{"10.60.0.9"}, in: "uxweb-0\n", isKeys: true, out: cartB},
		{name: "an empty pipe", errHas: "Examples:\n  kubectl podinfo 10.0.0.7\n", code: 2},
		{name: "an empty pipe is an error", errHas: "\nerror: nothing to look for: ", code: 2},
		{name: "a pipe of comments", in: "# nothing\n", errHas: "error: nothing to look for: ", code: 2},
		{name: "- of nothing", args: []string{"-"}, isKeys: true},
		{name: "- twice", args: []string{"-", "-"}, err: "error: standard input can be read only once: - is there twice\n", code: 2},
		{name: "a line that is no fact", in: "?\nuxweb-0\n", isKeys: true, out: web0, errHas: "error: line 1: \"?\" is neither", code: 1},
	}
}

func mistakes(t *testing.T) []invocation {
	t.Helper()
	nobody := env.User(t, "plugin-nobody-else").Write(t)
	dead := env.Login()
	dead.Cluster = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	const asked = ": an administrator grants it by: kubectl create "
	return []invocation{
		{name: "an unknown flag", args: []string{"x", "--namspace=y"}, err: "error: unknown flag: --namspace: did you mean --namespace?\n", code: 2},
		{name: "an unknown flag like no other", args: []string{"x", "--zzzzzz"}, err: "error: unknown flag: --zzzzzz: see kubectl podinfo --help\n", code: 2},
		{name: "an unknown short flag", args: []string{"x", "-z"}, errHas: "error: unknown shorthand flag: 'z' in -z", code: 2},
		{name: "a flag without its value", args: []string{"x", "-o"}, errHas: "error: flag needs an argument: 'o' in -o", code: 2},
		{name: "an unknown kind", args: []string{"x", "--by=nodes"}, errHas: "hostip, workload, image, label, namespace: did you mean node?\n", code: 2},
		{name: "an unknown format", args: []string{"x", "-o", "jsn"}, errHas: "error: -o \"jsn\" is none of card, table, wide, pod, json, ", code: 2},
		{name: "the format that was meant", args: []string{"x", "-o", "wied"}, errHas: ": did you mean wide?\n", code: 2},
		{name: "a command with a typing error", args: []string{"anotate"}, errHas: "; did you mean kubectl podinfo annotate?\n", code: 1},
		{name: "a selector with a mistake", args: []string{"-l", "app in"}, errHas: "error: --selector: ", code: 2},
		{name: "an unknown column", args: []string{"x", "--sort-by=restart"}, errHas: "error: --sort-by=restart: there is no such column: did you mean restarts?", code: 2},
		{name: "a broken path", args: []string{"x", "--sort-by=.spec["}, errHas: "error: --sort-by=.spec[: ", code: 2},
		{name: "a field that no Pod has", args: []string{"10.60.0.9", "--sort-by=.spec.nonsense"}, errHas: "error: --sort-by=.spec.nonsense: no Pod in the answer has such a field", code: 2},
		{name: "a namespace that is none", args: []string{"x", "-n", "Ux"}, errHas: "error: --namespace=\"Ux\": ", code: 2},
		{name: "a missing namespace", args: []string{"uxweb-0", "-n", "ux-c"}, errHas: "; there is no namespace \"ux-c\": did you mean ux-a or ux-b? there are ux-a, ux-b, ", code: 1},
		{name: "a missing namespace and labels", args: []string{"-l", "app=uxweb", "-n", "no-such"}, errHas: "; there is no namespace \"no-such\": there are ", code: 1},
		{name: "the name of a namespace", args: []string{"ux-b"}, code: 1, errHas: "; \"ux-b\" is a namespace, whose Pods --by=namespace lists\n"},
		{name: "a missing namespace as a query", args: []string{"--by=namespace", "ux-c"}, code: 1,
			errHas: "looked for it as namespace in all namespaces; there is no namespace \"ux-c\": did you mean ux-a or ux-b? there are "},
		{name: "a namespace that exists", args: []string{"uxweb-9", "-n", "ux-b"}, code: 1,
			errHas: "error: no Pod matches \"uxweb-9\": looked for it as name, node, workload in namespace \"ux-b\"; did you mean ux-b/uxweb-0?\n"},
		{name: "a namespace that may not be read", args: []string{"uxweb-0", "-n", "ux-c"}, user: env.Kubeconfig, code: 1,
			err: "error: no Pod matches \"uxweb-0\": looked for it as name, node, workload in namespace \"ux-c\"\n"},
		{name: "a missing context", args: []string{"x", "--context=tset"}, err: "error: --context: there is no context \"tset\": did you mean test? there are test\n", code: 2},
		{name: "a missing context of annotate", args: []string{"annotate", "--context=other"}, err: "error: --context: there is no context \"other\": there are test\n", code: 2},
		{name: "a missing context of several", args: []string{"x", "--contexts=tset"}, err: "error: --contexts: there is no context \"tset\": did you mean test? there are test\n", code: 2},
		{name: "no right", args: []string{"10.60.0.9"}, user: nobody, code: 1,
			errHas: asked + "clusterrolebinding podinfo-view --clusterrole=podinfolookup-view --user=plugin-nobody-else\n"},
		{name: "no right in a namespace", args: []string{"10.60.0.9", "-n", "ux-b"}, user: nobody, code: 1,
			errHas: asked + "rolebinding podinfo-view -n ux-b --clusterrole=view --user=plugin-nobody-else\n"},
		{name: "no right of a service account", args: []string{"10.60.0.9", "--as=system:serviceaccount:ux-a:reader"}, code: 1,
			errHas: asked + "clusterrolebinding podinfo-view --clusterrole=podinfolookup-view --serviceaccount=ux-a:reader\n"},
		{name: "no server", args: []string{"10.60.0.9"}, user: dead.Write(t), code: 1,
			err: "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n"},
		{name: "an IP of nobody", args: []string{"10.60.9.9"}, code: 1, errHas: "error: no Pod matches \"10.60.9.9\": looked for it as ip, hostip, node, name in all namespaces; 10.60.9.9 is in no Service range"},
		{name: "a name of nobody", args: []string{"uxwbe-0"}, code: 1, errHas: "; did you mean ux-b/uxweb-0, ledger/uxweb-1?\n"},
	}
}

func annotations(t *testing.T) []invocation {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second, missing := file("first.log", "a 10.60.0.3\n"), file("second.log", "b 10.60.0.9 c"), filepath.Join(dir, "missing.log")
	const one, two = "a 10.60.0.3[ux-b/uxweb-0]\n", "b 10.60.0.9[ux-b/uxcart-5d9f7c6b4-bbbbb] c"
	return []invocation{
		{name: "annotate a stream", args: []string{"annotate"}, in: "a 10.60.0.3\n", out: one},
		{name: "annotate a file", args: []string{"annotate", first}, in: "10.60.0.9\n", out: one},
		{name: "annotate files in order", args: []string{"annotate", first, second}, out: one + two},
		{name: "annotate files and standard input", args: []string{"annotate", first, "-"}, in: "10.60.0.3\n", out: one + "10.60.0.3[ux-b/uxweb-0]\n"},
		{name: "annotate goes on behind a missing file", args: []string{"annotate", missing, first}, out: one, code: 1,
			err: fmt.Sprintf("error: open %s: no such file or directory\n", missing)},
		{name: "annotate a folder", args: []string{"annotate", dir, first}, out: one, code: 1, err: fmt.Sprintf("error: read %s: is a directory\n", dir)},
		{name: "annotate JSON of a file", args: []string{"annotate", "--json", file("json.log", `{"ip":"10.60.0.3"}`)},
			out: `{"ip":"10.60.0.3","podinfo":[{"fact":"10.60.0.3","pod":"ux-b/uxweb-0"}]}`},
		{name: "annotate in a namespace", args: []string{"annotate", "-n", "ux-a", first}, out: "a 10.60.0.3\n"},
		{name: "annotate in a missing namespace", args: []string{"annotate", "-n", "ux-c", first}, out: "a 10.60.0.3\n",
			errHas: "warning: there is no namespace \"ux-c\": did you mean ux-a or ux-b? there are ux-a, ux-b, "},
	}
}

func helps(t *testing.T) []invocation {
	t.Helper()
	dead := env.Login()
	dead.Cluster = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	return []invocation{
		{name: "--help begins with examples", args: []string{"--help"}, outHas: "Examples:\n  kubectl podinfo 10.0.0.7\n"},
		{name: "help", args: []string{"help"}, outHas: "\nUsage:\n  kubectl podinfo QUERY... [flags]\n"},
		{name: "help of a command", args: []string{"help", "annotate"}, outHas: "\nUsage:\n  kubectl podinfo annotate [FILE...] [--json] [--history] [-n NAMESPACE]\n"},
		{name: "help of no command", args: []string{"help", "anotate"}, err: "error: there is no command \"anotate\": did you mean annotate?\n", code: 2},
		{name: "help of two commands", args: []string{"help", "annotate", "wbe"}, err: "error: there is no command \"wbe\": did you mean web?\n", code: 2},
		{name: "version without a controller", args: []string{"version"}, outHas: "Client Version: ",
			err: "note: there is no heartbeat of a controller that you may read, and so no version of one\n"},
		{name: "version of the plugin alone", args: []string{"version", "--client"}, outHas: "Client Version: "},
		{name: "version without a server", args: []string{"version"}, user: dead.Write(t), outHas: "Client Version: ", code: 1,
			err: "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?\n"},
		{name: "version of a missing context", args: []string{"version", "--context=tset"}, outHas: "Client Version: ", code: 2,
			err: "error: --context: there is no context \"tset\": did you mean test? there are test\n"},
		{name: "version of several clusters", args: []string{"version", "--all-contexts"}, outHas: "Client Version: ", code: 2,
			err: "error: version asks one cluster: choose it by --context\n"},
		{name: "version of something", args: []string{"version", "x"}, err: "error: unexpected argument \"x\"\n", code: 2},
		{name: "--version", args: []string{"--version"}, outHas: "kubectl podinfo version "},
	}
}

func completions() []invocation {
	of := func(name, want string, args ...string) invocation {
		return invocation{name: "completes " + name, args: append([]string{"__complete"}, args...), out: want, errHas: "Completion ended"}
	}
	const end, noSpace = ":4\n", ":6\n"
	return []invocation{
		of("namespaces and what begins alike", "ux-a/\nux-b/\n"+noSpace, "ux-"),
		of("Pods of a namespace", "ux-b/uxcart-5d9f7c6b4-aaaaa\nux-b/uxcart-5d9f7c6b4-bbbbb\n"+end, "ux-b/uxc"),
		of("names of workloads, Pods", "uxweb\nuxweb-0\nuxweb-1\n"+end, "uxw"),
		of("nodes", "worker-60\n"+end, "worker-6"),
		of("a type", "deploy/uxcart\n"+end, "deploy/ux"),
		of("a ReplicaSet", "rs/uxcart-5d9f7c6b4\n"+end, "rs/ux"),
		of("a node behind its type", "node/worker-60\n"+end, "node/worker-6"),
		of("the name behind a type", "uxweb\n"+end, "sts", "ux"),
		of("the name behind a namespace", "uxweb\nuxweb-0\n"+end, "ux-b", "uxw"),
		of("a Pod of -n behind its type", "pod/uxweb-1\n"+end, "-n", "ledger", "pod/uxw"),
	}
}

// TestStandardInput runs the program, whose standard input is a file.
func TestStandardInput(t *testing.T) {
	create(t, uxPods(t)...)
	list := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(list, []byte("10.60.0.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, screen := terminal(t)
	tests := []struct {
		name  string
		stdin func() *os.File
		want  string // in standard output, else nothing was read
	}{
		{name: "a terminal", stdin: func() *os.File { return screen }},
		{name: "no input", stdin: func() *os.File { return open(t, os.DevNull) }},
		{name: "a file", stdin: func() *os.File { return open(t, list) }, want: cartB},
		{name: "a pipe", stdin: func() *os.File { return piped(t, "10.60.0.9\n") }, want: cartB},
		{name: "an empty pipe", stdin: func() *os.File { return piped(t, "") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := program(t, "kubectl-podinfo", keys...)
			p.Cmd().Stdin = test.stdin()
			p.Start(t)
			code := p.Wait(t, testenv.Patience)
			if test.want != "" {
				if code != 0 || p.Stdout.String() != test.want {
					t.Errorf("code %d, standard output %q, standard error %q", code, p.Stdout, p.Stderr)
				}
				return
			}
			const examples = 5
			if code != 2 || p.Stdout.String() != "" || strings.Count(p.Stderr.String(), "\n  ") != examples || p.Stderr.Has("\nerror: nothing to look for: ") != nil {
				t.Errorf("code %d, standard output %q, standard error %q", code, p.Stdout, p.Stderr)
			}
		})
	}
}

func open(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// piped returns a pipe with text, whose writer is closed.
func piped(t *testing.T, text string) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	if _, err := writer.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return reader
}

// TestVerbosity shows that requests are logged, and never their bodies or tokens.
func TestVerbosity(t *testing.T) {
	create(t, uxPods(t)...)
	login := env.Login()
	const url = "/apis/stable.example.com/v1/testcrs?"
	tests := []struct {
		level      string
		has, hasNo []string
	}{
		{level: "0", hasNo: []string{"GET", "podkey"}},
		{level: "6", has: []string{url}, hasNo: []string{"Accept", "podkey"}},
		{level: "7", has: []string{url, "Accept"}, hasNo: []string{"podkey"}},
		{level: "9", has: []string{url, "Accept", "note: -v 9 logs what -v 7 does, because bodies contain secrets\n"}, hasNo: []string{"podkey", "curl"}},
	}
	for _, test := range tests {
		t.Run(test.level, func(t *testing.T) {
			p := program(t, "kubectl-podinfo", append([]string{"ux-b/uxweb-0", "--kubeconfig=" + login.Write(t), "-v", test.level}, keys...)...).Start(t)
			code := p.Wait(t, testenv.Patience)
			if code != 0 || p.Stdout.String() != web0 {
				t.Errorf("code %d, standard output %q, standard error %q", code, p.Stdout, p.Stderr)
			}
			for _, text := range test.has {
				if err := p.Stderr.Has(text); err != nil {
					t.Error(err)
				}
			}
			hasNo := test.hasNo
			if login.User.Token != "" {
				hasNo = append(hasNo, login.User.Token)
			}
			for _, text := range hasNo {
				if p.Stderr.Has(text) == nil {
					t.Errorf("%q is in standard error:\n%s", text, p.Stderr)
				}
			}
		})
	}
}

// TestVerbosity_Followed shows that the requests of what goes on are logged, too: the
// first watches come from the informers.
func TestVerbosity_Followed(t *testing.T) {
	create(t, uxPods(t)...)
	const watch = "allowWatchBookmarks=true"
	tests := []struct {
		name  string
		args  []string
		level string
		logs  bool
	}{
		{name: "watch", args: []string{"ux-b/uxweb-0", "-w"}, level: "6", logs: true},
		{name: "annotate", args: []string{"annotate"}, level: "6", logs: true},
		{name: "annotate without a log", args: []string{"annotate"}, level: "0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := program(t, "kubectl-podinfo", append(test.args, "--kubeconfig="+env.AdminKubeconfig, "-v", test.level)...)
			input, stdin, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = errors.Join(input.Close(), stdin.Close()) })
			p.Cmd().Stdin = input
			p.Start(t)
			if _, err := stdin.WriteString("10.60.0.3\n"); err != nil {
				t.Fatal(err)
			}
			testenv.Eventually(t, func(context.Context) error { return p.Stdout.Has("uxweb-0") })
			if test.logs {
				testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has(watch) })
			}
			p.Signal(t, os.Interrupt)
			if code := p.Wait(t, testenv.Patience); code != 0 {
				t.Errorf("code %d", code)
			}
			if got := p.Stderr.Has(watch) == nil; got != test.logs {
				t.Errorf("a watch is logged: %t, want %t:\n%s", got, test.logs, p.Stderr)
			}
		})
	}
}
