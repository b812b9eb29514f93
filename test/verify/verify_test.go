package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"k8s.io/client-go/util/workqueue"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// churn creates, changes and deletes Pods as fast as it goes, until it is
// cancelled.
func churn(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	pods := env.Clients.CoreV1().Pods(namespace)
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("pod-%02d", n%20)
		err := createPod(ctx, namespace, name, n)
		if err == nil {
			err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
				pod, err := pods.Get(ctx, name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				setRunning(pod, n+1)
				pod.Status.Conditions[0].Status = "False"
				_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
				return err
			})
		}
		// Every third Pod stays until its name's turn comes again.
		if apierrors.IsAlreadyExists(err) || n%3 > 0 && err == nil {
			err = deletePod(ctx, namespace, name)
		}
		if err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", name, err)
			return
		}
	}
}

func TestAClusterThatChangesAllTheTimeIsClean(t *testing.T) {
	t.Parallel()
	var namespaces, args []string
	for range 2 {
		namespace := env.Namespace(t, "")
		namespaces, args = append(namespaces, namespace), append(args, "--namespace="+namespace)
		startController(t, namespace)
	}
	ctx, stop := context.WithCancel(t.Context())
	var churning sync.WaitGroup
	for _, namespace := range namespaces {
		churning.Go(func() { churn(ctx, t, namespace) })
	}
	defer churning.Wait()
	defer stop()
	// At least one of the comparisons has to meet the controller at work, or this
	// test would show nothing.
	met := false
	for runs := 0; runs < 3 || !met; runs++ {
		if runs > 50 {
			t.Fatal("no comparison found anything to look at again")
		}
		p := verify(t, append(args, "--kubeconfig="+env.Kubeconfig, "-v=2")...)
		code := p.Wait(t, verifyWithin)
		if code != 0 || !strings.HasPrefix(p.Stdout.String(), "clean: ") {
			t.Fatalf("exit code %d, standard output:\n%s\nstandard error:\n%s", code, p.Stdout, p.Stderr)
		}
		met = met || p.Stderr.Has("Looked again") == nil
	}
}

// outcome is what one run ends with.
type outcome struct {
	Code           int
	Stdout, Stderr string
}

func outcomeOf(t *testing.T, p *testenv.Program) outcome {
	t.Helper()
	code := p.Wait(t, verifyWithin) // before the output is read
	return outcome{code, p.Stdout.String(), p.Stderr.String()}
}

// othersToo are the Testcrs that an earlier run of a test has left.
var othersToo = regexp.MustCompile(`, \d+ Testcrs of others left aside`)

func TestPlantedFaultsAreFound(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	names := []string{"everything", "foreign", "good", "label", "missing", "orphan", "spec"}
	for i, name := range names {
		must(t, createPod(t.Context(), namespace, name, i))
	}
	// Its rights are the least: GETs would be refused.
	kubeconfig := user(t, "faults", listPods, listTestcrs)
	compare := func(args ...string) outcome {
		t.Helper()
		got := outcomeOf(t, verify(t, append(args, "--kubeconfig="+kubeconfig, "--namespace="+namespace)...))
		got.Stdout = othersToo.ReplaceAllString(got.Stdout, "")
		return got
	}
	controller := startController(t, namespace)
	for _, name := range names {
		testenv.Eventually(t, func(context.Context) error { return controller.Stdout.Has("add: " + namespace + "/" + name + "\n") })
	}
	want := outcome{Stdout: "clean: 7 Pods, 7 Testcrs, 0 differences\n"}
	if diff := cmp.Diff(want, compare()); diff != "" {
		t.Fatalf("before any fault (-want +got):\n%s", diff)
	}
	controller.Signal(t, syscall.SIGTERM)
	controller.Wait(t, testenv.StopWithin)

	plant(t, namespace)
	lines := plantedLines(t, namespace)
	text := strings.ReplaceAll(strings.Join(lines, "\n"), "NS", namespace) + "\n"
	want = outcome{Code: 1, Stdout: text + fmt.Sprintf("drift: 6 Pods, 7 Testcrs, %d differences\n", len(lines))}
	got := compare("--settle=1s")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("with faults (-want +got):\n%s", diff)
	}
	kinds := map[string]int{}
	asJSON := compare("-o", "json", "--settle=1s")
	for line := range strings.Lines(asJSON.Stdout) {
		var d struct{ Kind, Pod, Testcr string }
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		kinds[d.Kind]++
	}
	wantKinds := map[string]int{"summary": 1}
	for _, line := range lines {
		wantKinds[strings.Fields(line)[0]]++
	}
	if diff := cmp.Diff(wantKinds, kinds); diff != "" || asJSON.Code != 1 || asJSON.Stderr != "" {
		t.Errorf("JSON (-want +got):\n%s\n%v", diff, asJSON)
	}

	// What the controller is there to repair is repaired; the rest takes a person.
	startController(t, namespace)
	var left []string
	for _, line := range lines {
		if strings.HasPrefix(line, "foreign") {
			left = append(left, strings.ReplaceAll(line, "NS", namespace))
		}
	}
	got = compare("--settle=5s")
	for _, line := range left {
		if !strings.Contains(got.Stdout, line+"\n") {
			t.Errorf("no %q in %q", line, got.Stdout)
		}
	}
	if got.Code != 1 || strings.Count(got.Stdout, "\n") != len(left)+1 {
		t.Errorf("after the controller's return: %v", got)
	}
}

// plant makes a fault of every kind; Pod "good" has none.
func plant(t *testing.T, namespace string) {
	t.Helper()
	ctx := t.Context()
	must(t, testcrs().Delete(ctx, nameFor(namespace, "missing"), metav1.DeleteOptions{}))
	must(t, deletePod(ctx, namespace, "orphan"))
	change(t, namespace, "spec", func(_ *unstructured.Unstructured, spec map[string]any) { spec["podip"] = "10.9.9.9" })
	change(t, namespace, "label", func(u *unstructured.Unstructured, _ map[string]any) {
		labels := u.GetLabels()
		labels["ip.stable.example.com/10.9.9.9"] = ""
		delete(labels, "stable.example.com/namespace")
		u.SetLabels(labels)
	})
	change(t, namespace, "foreign", func(u *unstructured.Unstructured, spec map[string]any) {
		labels := u.GetLabels()
		delete(labels, "app.kubernetes.io/managed-by")
		u.SetLabels(labels)
		spec["podkey"] = "somebody/else"
	})
	change(t, namespace, "everything", func(_ *unstructured.Unstructured, spec map[string]any) {
		for field := range spec {
			switch v := spec[field].(type) {
			case bool:
				spec[field] = !v
			case string:
				if field == "createdat" {
					spec[field] = "2000-01-01T00:00:00Z"
				} else {
					spec[field] = "changed"
				}
			case []any:
				spec[field] = v[1:]
			case map[string]any:
				delete(spec, field)
			}
		}
		spec["ownerkind"] = "added"
	})
	copied, err := testcrs().Get(ctx, nameFor(namespace, "good"), metav1.GetOptions{})
	must(t, err)
	copied.SetName("copy-" + namespace)
	copied.SetResourceVersion("")
	copied.SetUID("")
	_, err = testcrs().Create(ctx, copied, metav1.CreateOptions{})
	must(t, err)
}

// plantedLines are what verify prints of plant, with NS for the namespace. Of
// Pod "everything" there is a line for each field.
func plantedLines(t *testing.T, namespace string) []string {
	t.Helper()
	pod, err := env.Clients.CoreV1().Pods(namespace).Get(t.Context(), "everything", metav1.GetOptions{})
	must(t, err)
	everything := "differs   NS/everything: spec."
	return []string{
		"misnamed  Testcr copy-NS: podkey \"NS/good\" is that of Testcr " + nameFor(namespace, "good"),
		everything + `containers[0].id: have none, want "containerd://` + fmt.Sprintf("%064x", 1) + `"`,
		everything + `containers[0].image: have "first:1", want "main:1"`,
		everything + `containers[0].kind: have "init", want none`,
		everything + `containers[0].name: have "first", want "main"`,
		everything + `containers[1]: have none, want {"image":"first:1","kind":"init","name":"first"}`,
		everything + `createdat: have "2000-01-01T00:00:00Z", want "` + pod.CreationTimestamp.UTC().Format(time.RFC3339) + `"`,
		everything + `hostip: have "changed", want "192.0.2.1"`,
		everything + `hostnetwork: have true, want false`,
		everything + `labels: have none, want {"app":"everything"}`,
		everything + `namespace: have "changed", want "NS"`,
		everything + `nodename: have "changed", want "node-1"`,
		everything + `ownerkind: have "added", want none`,
		everything + `phase: have "changed", want "Running"`,
		everything + `podip: have "changed", want "10.0.0.0"`,
		everything + `podips[0]: have "fd00::1", want "10.0.0.0"`,
		everything + `podips[1]: have none, want "fd00::1"`,
		everything + `podkey: have "changed", want "NS/everything"`,
		everything + `podname: have "changed", want "everything"`,
		everything + `poduid: have "changed", want "` + string(pod.UID) + `"`,
		everything + `ready: have false, want true`,
		everything + `readycontainers: have "changed", want "0/1"`,
		everything + `serviceaccount: have "changed", want "default"`,
		everything + `status: have "changed", want "Running"`,
		everything + `terminating: have true, want false`,
		"foreign   NS/foreign: Testcr " + nameFor(namespace, "foreign") + ` is not the controller's and has podkey "somebody/else": whoever made it must take it away`,
		`label     NS/label: ip.stable.example.com/10.9.9.9: have "", want none`,
		`label     NS/label: stable.example.com/namespace: have none, want "NS"`,
		"missing   NS/missing: no Testcr " + nameFor(namespace, "missing"),
		"orphan    NS/orphan: no such Pod, but Testcr " + nameFor(namespace, "orphan"),
		`differs   NS/spec: spec.podip: have "10.9.9.9", want "10.0.0.6"`,
	}
}

func TestManyPodsWithoutTestcrsTakeFewRequests(t *testing.T) {
	t.Parallel()
	const pods = 520 // more than a page
	namespace := env.Namespace(t, "")
	errs := make([]error, pods)
	workqueue.ParallelizeUntil(t.Context(), 10, pods, func(i int) {
		_, errs[i] = env.Clients.CoreV1().Pods(namespace).Create(t.Context(), newPod(fmt.Sprintf("pod-%03d", i)), metav1.CreateOptions{})
	})
	for _, err := range errs {
		must(t, err)
	}
	var requests atomic.Int32
	proxy := env.Proxy(t, func(r *http.Request) bool {
		if r.Method == http.MethodGet {
			requests.Add(1)
		}
		return false
	})
	got := outcomeOf(t, verify(t, "--kubeconfig="+proxy, "--namespace="+namespace, "--settle=1s"))
	if got.Code != 1 || strings.Count(got.Stdout, "missing ") != pods || !strings.Contains(got.Stdout, "drift: 520 Pods, 0 Testcrs, 520 differences") {
		t.Errorf("%v", got)
	}
	// A version, a discovery, and with each look two pages of Pods and one or a
	// few of Testcrs.
	if n := requests.Load(); n > 100 {
		t.Errorf("%d requests", n)
	}
}

func TestHelpIsOnStandardOutput(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--help", "-h"} {
		got := outcomeOf(t, verify(t, flag))
		for _, want := range []string{"podinfolookup verify [flags]", "--settle", "--timeout", "--output", "Exit code: 0"} {
			if !strings.Contains(got.Stdout, want) {
				t.Errorf("no %q in %s", want, got.Stdout)
			}
		}
		if got.Code != 0 || got.Stderr != "" {
			t.Errorf("%v", got)
		}
	}
}

func TestWhatCannotBeToldIsOneLine(t *testing.T) {
	t.Parallel()
	closed, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	must(t, closed.Close())
	nowhere := env.Login()
	nowhere.Cluster.Server = "https://" + closed.Addr().String()
	admin := "--kubeconfig=" + env.Kubeconfig
	tests := []struct {
		name string
		args []string
		want string // in the line
	}{
		{"an unknown flag", []string{"--nonsense"}, "unknown flag: --nonsense: see --help"},
		{"a flag of the controller", []string{"--workers=3"}, "unknown flag: --workers: see --help"},
		{"an argument", []string{"everything"}, `unexpected argument "everything": only flags are taken`},
		{"an unknown output", []string{"-o", "yaml"}, `--output="yaml": one of text, json is needed`},
		{"a negative time", []string{"--settle=-1s"}, "--settle=-1s: must not be negative"},
		{"too little time", []string{"--timeout=10s"}, "--timeout=10s: must be longer than --settle=10s, or 0 for no limit"},
		{"an empty namespace", []string{"--namespace="}, "--namespace is empty"},
		{"an impossible namespace", []string{"--namespace=A"}, `--namespace="A"`},
		{"a log format that is none", []string{"--logging-format=xml", admin}, "Unsupported log format: see --help"},
		{"no kubeconfig", nil, "no cluster is configured in"},
		{"a kubeconfig that is not there", []string{"--kubeconfig=" + filepath.Join(t.TempDir(), "none")}, "no such file or directory: correct the path"},
		{"no API server", []string{"--kubeconfig=" + nowhere.Write(t)}, "connection refused: check the kubeconfig's server address"},
		{"no rights", []string{"--kubeconfig=" + user(t, "nobody")},
			"forbidden: this user may not list pods, list testcrs.stable.example.com: kubectl apply -f yaml/rbac.yaml"},
		{"no right to list Testcrs", []string{"--kubeconfig=" + user(t, "half", listPods)}, "this user may not list testcrs.stable.example.com: "},
		{"no right to list the Pods of a namespace", []string{"--kubeconfig=" + user(t, "other-half", listTestcrs), "--namespace=x"},
			"this user may not list pods in namespace x: "},
		{"an API server that is silent", []string{"--timeout=2s", "--settle=1s", "--kubeconfig=" + env.Proxy(t, lists("pods"))},
			"not done within --timeout=2s: give it more, or compare one --namespace"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := outcomeOf(t, verify(t, test.args...))
			if got.Code != 2 || got.Stdout != "" {
				t.Errorf("exit code %d, standard output %q", got.Code, got.Stdout)
			}
			if !strings.HasPrefix(got.Stderr, "podinfolookup verify: ") || !strings.Contains(got.Stderr, test.want) || strings.Count(got.Stderr, "\n") != 1 {
				t.Errorf("standard error %q, want one line with %q", got.Stderr, test.want)
			}
		})
	}
}

// lists picks out the requests for a page of a resource.
func lists(resource string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/"+resource)
	}
}

func TestASignalEndsItUndone(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Bool
			pods := lists("pods")
			p := verify(t, "--kubeconfig="+env.Proxy(t, func(r *http.Request) bool {
				if !pods(r) {
					return false
				}
				asked.Store(true)
				return true
			}))
			testenv.Eventually(t, func(context.Context) error {
				if !asked.Load() {
					return fmt.Errorf("nothing was asked: %s", p.Stderr)
				}
				return nil
			})
			p.Signal(t, signal)
			code := p.Wait(t, testenv.StopWithin)
			want := fmt.Sprintf("podinfolookup verify: %s signal received\n", signal)
			if diff := cmp.Diff(outcome{2, "", want}, outcome{code, p.Stdout.String(), p.Stderr.String()}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestStandardOutputThatIsClosedIsAnError(t *testing.T) {
	t.Parallel()
	reader, writer, err := os.Pipe()
	must(t, err)
	must(t, reader.Close())
	p := testenv.Command(t, binary, "verify", "--kubeconfig="+env.Kubeconfig, "--namespace="+env.Namespace(t, ""))
	p.Cmd().Stdout = writer
	p.Start(t)
	code := p.Wait(t, verifyWithin)
	must(t, writer.Close())
	if code != 2 || p.Stderr.Has("podinfolookup verify: standard output: ") != nil {
		t.Errorf("exit code %d, standard error %q", code, p.Stderr)
	}
}

// These are not parallel: they change the one CRD there is, while the parallel
// ones wait.
func TestACRDThatIsNotOursCannotBeCompared(t *testing.T) {
	tests := []struct {
		name   string
		change func(*apiextensionsv1.CustomResourceDefinitionSpec) // nil: there is none
		want   string
	}{
		{"none", nil, "podinfolookup verify: the CRD testcrs.stable.example.com is missing: kubectl apply -f yaml/testcrd.yaml\n"},
		{"another scope", func(spec *apiextensionsv1.CustomResourceDefinitionSpec) { spec.Scope = apiextensionsv1.NamespaceScoped },
			"podinfolookup verify: the CRD testcrs.stable.example.com is of scope Namespaced, this program needs Cluster: " +
				"kubectl delete crd testcrs.stable.example.com, then kubectl apply -f yaml/testcrd.yaml\n"},
		{"another version", func(spec *apiextensionsv1.CustomResourceDefinitionSpec) { spec.Versions[0].Name = "v1beta1" },
			"podinfolookup verify: the API server serves stable.example.com/v1beta1, this program needs stable.example.com/v1: " +
				"kubectl apply -f yaml/testcrd.yaml\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			must(t, env.DeleteCRD(t.Context()))
			t.Cleanup(func() { must(t, env.ApplyCRD(context.WithoutCancel(t.Context()))) })
			if test.change != nil {
				crd, err := testenv.CRD()
				must(t, err)
				test.change(&crd.Spec)
				_, err = env.Extensions.ApiextensionsV1().CustomResourceDefinitions().Create(t.Context(), crd, metav1.CreateOptions{})
				must(t, err)
				t.Cleanup(func() { must(t, env.DeleteCRD(context.WithoutCancel(t.Context()))) })
				served := crd.Spec.Group + "/" + crd.Spec.Versions[0].Name
				testenv.Eventually(t, func(context.Context) error {
					_, err := env.Clients.Discovery().ServerResourcesForGroupVersion(served)
					return err
				})
			}
			if diff := cmp.Diff(outcome{2, "", test.want}, outcomeOf(t, verify(t, "--kubeconfig="+env.Kubeconfig))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
