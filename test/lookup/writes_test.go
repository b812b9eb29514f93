package lookup_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// program is a run of the program for one namespace.
type program struct{ url string }

func startProgram(t *testing.T, namespace string) program {
	t.Helper()
	p := testenv.Command(t, binary, "--bind-address=127.0.0.1:0", "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace)
	return program{"http://" + p.Start(t).Ready(t).Address(t)}
}

// get returns the status and the body of an answer, as text if it can be.
func (p program) get(ctx context.Context, path, accept string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// until waits for an answer that is as isSo wants it.
func (p program) until(t *testing.T, path string, isSo func(code int, a answer) bool) answer {
	t.Helper()
	var last answer
	testenv.Eventually(t, func(ctx context.Context) error {
		code, body, err := p.get(ctx, path, "application/json")
		if err != nil {
			return err
		}
		last = answer{}
		if err := json.Unmarshal([]byte(body), &last); err != nil {
			return fmt.Errorf("%s: %w", body, err)
		}
		if !isSo(code, last) {
			return fmt.Errorf("%s: %d %s", path, code, body)
		}
		return nil
	})
	return last
}

// untilReady waits for the code of /readyz?verbose with this line.
func (p program) untilReady(t *testing.T, want int, line string) {
	t.Helper()
	testenv.Eventually(t, func(ctx context.Context) error {
		code, body, err := p.get(ctx, "/readyz?verbose", "")
		if err == nil && (code != want || !strings.Contains(body, line)) {
			err = fmt.Errorf("%d %s, want %d with %q", code, body, want, line)
		}
		return err
	})
}

func isFound(code int, a answer) bool { return code == http.StatusOK && len(a.Items) == 1 }

func TestPodsAreFoundWithoutTheCRD(t *testing.T) {
	ns := env.Namespace(t, "")
	old := newPod(ns, "old", 3)
	create(t, old)
	p := startProgram(t, ns)
	if a := p.until(t, "/v1/pods?ip=10.7.0.3", isFound); !a.WritesFailSince.IsZero() || a.WriteError != "" || *a.Pods != 1 {
		t.Errorf("it rests on %+v", a.View)
	}
	p.untilReady(t, http.StatusOK, "[+]writes ok\n")
	if err := env.DeleteCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	isBack := false
	t.Cleanup(func() {
		if !isBack {
			if err := env.ApplyCRD(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	})
	p.untilReady(t, http.StatusServiceUnavailable, "[!]writes: fail since 2")
	// Pods that come and go are found, and not found, as if nothing had happened.
	create(t, newPod(ns, "new", 4))
	p.until(t, "/v1/pods?ip=10.7.0.4", isFound)
	remove(t, old)
	a := p.until(t, "/v1/pods?ip=10.7.0.3", func(code int, _ answer) bool { return code == http.StatusNotFound })
	if a.WritesFailSince.IsZero() || a.WriteError != testcrcache.ErrCRDMissing.Error() || *a.Pods != 1 || a.AgeSeconds > 20 {
		t.Errorf("it rests on %+v", a.View)
	}
	_, text, err := p.get(t.Context(), "/v1/pods/"+ns+"/new", "text/plain")
	if err != nil || !strings.Contains(text, "\nwarning: writes fail since ") || !strings.Contains(text, testcrcache.ErrCRDMissing.Error()) {
		t.Errorf("%v\n%s", err, text)
	}
	if err := env.ApplyCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	isBack = true
	p.until(t, "/v1/summary", func(_ int, a answer) bool { return a.WritesFailSince.IsZero() && a.WriteError == "" })
	p.untilReady(t, http.StatusOK, "[+]writes ok\n")
}

// refuseTestcrs makes the API server refuse all writes of Testcrs. It returns when that
// is in force, with the function that ends it.
func refuseTestcrs(t *testing.T) (end func()) {
	t.Helper()
	const name = "test-refuse-testcrs"
	policies, bindings := env.Clients.AdmissionregistrationV1().ValidatingAdmissionPolicies(), env.Clients.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{v1.GroupName}, APIVersions: []string{"*"}, Resources: []string{"testcrs"}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: "frozen for the night"}},
		},
	}
	if _, err := policies.Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	end = func() {
		for _, err := range []error{bindings.Delete(ctx, name, metav1.DeleteOptions{}), policies.Delete(ctx, name, metav1.DeleteOptions{})} {
			if err != nil && !apierrors.IsNotFound(err) {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	if _, err := bindings.Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	client := dynamic.NewForConfigOrDie(env.Config).Resource(v1.GroupVersionResource)
	probe := testenv.Object(desired.FromPod(newPod("none", "refused", 9)))
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := client.Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || !strings.Contains(err.Error(), "frozen for the night") {
			return fmt.Errorf("the policy is not in force: %w", errors.Join(err))
		}
		return nil
	})
	return end
}

func TestWritesFailIsReported(t *testing.T) {
	ns := env.Namespace(t, "")
	p := startProgram(t, ns)
	end := refuseTestcrs(t)
	pod := newPod(ns, "web-0", 5)
	create(t, pod)
	failing := p.until(t, "/v1/pods?ip=10.7.0.5", func(code int, a answer) bool { return isFound(code, a) && !a.WritesFailSince.IsZero() })
	if !strings.Contains(failing.WriteError, "frozen for the night") || failing.Items[0].Testcr != desired.FromPod(pod).Name {
		t.Errorf("%+v", failing)
	}
	p.untilReady(t, http.StatusOK, "[!]writes: fail since 2")
	end()
	p.until(t, "/v1/summary", func(_ int, a answer) bool { return a.WritesFailSince.IsZero() && a.WriteError == "" })
	p.untilReady(t, http.StatusOK, "[+]writes ok\n")
	if _, err := testcrs().Get(t.Context(), desired.FromPod(pod).Name, metav1.GetOptions{}); err != nil {
		t.Errorf("writes succeed, and there is no Testcr: %v", err)
	}
}
