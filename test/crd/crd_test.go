// Package crd_test has each manifest of yaml/ judged by a real API server, reads the
// CRD as a user would, and runs the built program while the CRD comes and goes.
// Its tests run one after another: they share the one CRD there is.
package crd_test

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	env    *testenv.Env
	binary string
)

const (
	missing = "the CRD testcrs.stable.example.com is missing: kubectl apply -f yaml/testcrd.yaml"
	// terminating begins the line of a CRD whose deletion waits for finalizers.
	terminating = "the CRD testcrs.stable.example.com is being deleted and waits for finalizers of its Testcrs: " +
		"kubectl get testcrs -o custom-columns=NAME:.metadata.name,FINALIZERS:.metadata.finalizers lists them; " +
		"once it is gone, kubectl apply -f yaml/testcrd.yaml"

	// goesOnWithin is how soon after the CRD is established the program works on.
	goesOnWithin = 2 * time.Second
	// refilledWithin leaves room for the 2 s that the API server may hold back
	// the first writes, but none for a sweep, which would only repair.
	refilledWithin = 8 * time.Second
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

func start(t *testing.T, namespace string) *testenv.Program {
	t.Helper()
	return testenv.Command(t, binary, "--bind-address=127.0.0.1:0", "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace).Start(t)
}

func createPods(t *testing.T, namespace string, n int) {
	t.Helper()
	for i := range n {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "pod-"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
		}
		if _, err := env.Clients.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatalf("Pod %d: %v", i, err)
		}
	}
}

// hasTestcrs waits until a namespace has n Testcrs.
func hasTestcrs(t *testing.T, namespace string, n int) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		list, err := env.Dynamic.Resource(v1.GroupVersionResource).List(ctx,
			metav1.ListOptions{FieldSelector: "spec.namespace=" + namespace})
		if err == nil && len(list.Items) != n {
			err = fmt.Errorf("%d Testcrs, want %d", len(list.Items), n)
		}
		return err
	})
}

// answers waits until a path has this answer.
func answers(t *testing.T, p *testenv.Program, path string, wantCode int, wantBody string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		code, body, err := p.Get(ctx, t, path)
		if err == nil && (code != wantCode || strings.TrimSpace(body) != wantBody) {
			err = fmt.Errorf("%s: %d %q, want %d %q", path, code, body, wantCode, wantBody)
		}
		return err
	})
}

func deleteCRD(t *testing.T) {
	t.Helper()
	if err := env.DeleteCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func applyCRD(t *testing.T) {
	t.Helper()
	if err := env.ApplyCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func toldOnce(t *testing.T, p *testenv.Program, text string, want int) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has(text) })
	if got := strings.Count(p.Stderr.String(), text); got != want {
		t.Errorf("%q was told %d times, want %d:\n%s", text, got, want, p.Stderr)
	}
}

// hasEvent waits for the Event that asks a person to act.
func hasEvent(t *testing.T, message string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		events, err := env.Clients.CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{
			FieldSelector: "reason=" + podinfolookup.CRDUnusable + ",involvedObject.kind=CustomResourceDefinition," +
				"involvedObject.name=testcrs.stable.example.com",
		})
		if err == nil && !slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return e.Message == message }) {
			err = fmt.Errorf("no Event %q in %v", message, events.Items)
		}
		return err
	})
}

func stop(t *testing.T, p *testenv.Program) {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	if code := p.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for line := range strings.Lines(p.Stderr.String()) {
		// The API server may take its time to delete a CRD.
		if strings.HasPrefix(line, "E") && !strings.Contains(line, missing) && !strings.Contains(line, terminating) {
			t.Errorf("an error that a missing CRD does not explain: %s", line)
		}
	}
}

func TestCRD_Missing(t *testing.T) {
	namespace := env.Namespace(t, "")
	createPods(t, namespace, 3)
	deleteCRD(t)
	p := start(t, namespace)
	answers(t, p, "/readyz", http.StatusServiceUnavailable, missing)
	answers(t, p, "/livez", http.StatusOK, "ok")
	toldOnce(t, p, missing, 1)

	applyCRD(t)
	established := time.Now()
	answers(t, p, "/readyz", http.StatusOK, "ok")
	if took := time.Since(established); took > goesOnWithin {
		t.Errorf("it went on after %s", took)
	}
	hasTestcrs(t, namespace, 3)
	toldOnce(t, p, missing, 1)
	stop(t, p)
}

func TestCRD_DeletedAndRefilled(t *testing.T) {
	namespace := env.Namespace(t, "")
	createPods(t, namespace, 5)
	p := start(t, namespace).Ready(t)
	hasTestcrs(t, namespace, 5)
	for round := range 2 {
		deleteCRD(t)
		answers(t, p, "/readyz", http.StatusServiceUnavailable, missing)
		answers(t, p, "/livez", http.StatusOK, "ok")
		toldOnce(t, p, missing, round+1)
		hasEvent(t, missing)
		createPods(t, namespace, 1)

		applyCRD(t)
		established := time.Now()
		answers(t, p, "/readyz", http.StatusOK, "ok")
		if took := time.Since(established); took > goesOnWithin {
			t.Errorf("it went on after %s", took)
		}
		hasTestcrs(t, namespace, 6+round)
		if took := time.Since(established); took > refilledWithin {
			t.Errorf("all Testcrs were back after %s", took)
		}
	}
	stop(t, p)
}

func TestCRD_SignalWhileMissing(t *testing.T) {
	deleteCRD(t)
	t.Cleanup(func() {
		if err := env.ApplyCRD(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	p := start(t, env.Namespace(t, ""))
	answers(t, p, "/readyz", http.StatusServiceUnavailable, missing)
	stop(t, p)
}

func TestCRD_OtherScopeOrVersion(t *testing.T) {
	namespace := env.Namespace(t, "")
	tests := []struct {
		name   string
		change func(*apiextensionsv1.CustomResourceDefinitionSpec)
		want   string
	}{
		{name: "another scope", change: func(spec *apiextensionsv1.CustomResourceDefinitionSpec) {
			spec.Scope = apiextensionsv1.NamespaceScoped
		}, want: "podinfolookup: the CRD testcrs.stable.example.com is of scope Namespaced, this program needs Cluster: " +
			"kubectl delete crd testcrs.stable.example.com, then kubectl apply -f yaml/testcrd.yaml\n"},
		{name: "another version", change: func(spec *apiextensionsv1.CustomResourceDefinitionSpec) {
			spec.Versions[0].Name = "v1beta1"
		}, want: "podinfolookup: the API server serves stable.example.com/v1beta1, this program needs stable.example.com/v1: " +
			"kubectl apply -f yaml/testcrd.yaml\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			deleteCRD(t)
			t.Cleanup(func() {
				ctx := context.WithoutCancel(t.Context())
				if err := env.DeleteCRD(ctx); err != nil {
					t.Error(err)
				}
				if err := env.ApplyCRD(ctx); err != nil {
					t.Error(err)
				}
			})
			crd, err := testenv.CRD()
			if err != nil {
				t.Fatal(err)
			}
			test.change(&crd.Spec)
			crds := env.Extensions.ApiextensionsV1().CustomResourceDefinitions()
			if _, err := crds.Create(t.Context(), crd, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			group, version := crd.Spec.Group, crd.Spec.Versions[0].Name
			testenv.Eventually(t, func(context.Context) error {
				_, err := env.Clients.Discovery().ServerResourcesForGroupVersion(group + "/" + version)
				return err
			})
			p := start(t, namespace)
			code := p.Wait(t, testenv.Patience)
			if got := p.Stderr.String(); code != 1 || got != test.want || p.Stdout.String() != "" {
				t.Errorf("exit code %d, standard error:\n%swant:\n%s", code, got, test.want)
			}
		})
	}
}

var failedSyncs = regexp.MustCompile(`(?m)^podinfolookup_syncs_total\{result="error"\} (\d+)`)

// TestCRD_KeptByAFinalizer: a CRD that is being deleted takes no new Testcrs for as
// long as a finalizer keeps one of them. That is reported, and nothing spins.
func TestCRD_KeptByAFinalizer(t *testing.T) {
	namespace := env.Namespace(t, "")
	createPods(t, namespace, 5)
	p := start(t, namespace).Ready(t)
	hasTestcrs(t, namespace, 5)
	held := hold(t, namespace)

	crds := env.Extensions.ApiextensionsV1().CustomResourceDefinitions()
	if err := crds.Delete(t.Context(), "testcrs.stable.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	answers(t, p, "/readyz", http.StatusServiceUnavailable, terminating)
	answers(t, p, "/livez", http.StatusOK, "ok")
	toldOnce(t, p, terminating, 1)
	hasEvent(t, terminating)
	createPods(t, namespace, 20)
	// All of them are known, and none is tried: a Pod that goes has its Testcr
	// emptied, which is behind them in the queue.
	removePod(t, namespace, held)
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := env.Dynamic.Resource(v1.GroupVersionResource).Get(ctx, held.testcr, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if spec, _ := u.Object["spec"].(map[string]any); spec["poduid"] != "" {
			return fmt.Errorf("it says %v of a Pod that is gone", spec)
		}
		return nil
	})
	_, metrics, err := p.Get(t.Context(), t, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	// Each of 10 workers may meet the refusal once before it is known.
	const most = 10
	if found := failedSyncs.FindStringSubmatch(metrics); found != nil {
		if n, err := strconv.Atoi(found[1]); err != nil || n > most {
			t.Errorf("%s failed syncs, want at most %d", found[1], most)
		}
	}
	toldOnce(t, p, terminating, 1)

	held.release(t)
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := crds.Get(ctx, "testcrs.stable.example.com", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("the CRD is still there: %w", err)
	})
	answers(t, p, "/readyz", http.StatusServiceUnavailable, missing)
	applyCRD(t)
	answers(t, p, "/readyz", http.StatusOK, "ok")
	hasTestcrs(t, namespace, 24)
	toldOnce(t, p, terminating, 1)
	toldOnce(t, p, missing, 1)
	stop(t, p)
}

// heldPod is a Pod whose Testcr has a finalizer.
type heldPod struct{ name, testcr string }

func hold(t *testing.T, namespace string) *heldPod {
	t.Helper()
	pods, err := env.Clients.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil || len(pods.Items) == 0 {
		t.Fatal(pods, err)
	}
	h := &heldPod{name: pods.Items[0].Name, testcr: v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, pods.Items[0].Name)))}
	h.patch(t, `{"metadata":{"finalizers":["example.com/hold"]}}`)
	return h
}

func (h *heldPod) patch(t *testing.T, patch string) {
	t.Helper()
	_, err := env.Dynamic.Resource(v1.GroupVersionResource).
		Patch(t.Context(), h.testcr, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func (h *heldPod) release(t *testing.T) {
	t.Helper()
	h.patch(t, `{"metadata":{"finalizers":null}}`)
}

func removePod(t *testing.T, namespace string, h *heldPod) {
	t.Helper()
	options := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := env.Clients.CoreV1().Pods(namespace).Delete(t.Context(), h.name, options); err != nil {
		t.Fatal(err)
	}
}
