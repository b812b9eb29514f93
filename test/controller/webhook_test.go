package controller_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// admit serves a webhook that changes each Testcr by patch. It leaves them alone
// once stopped is true.
func admit(t *testing.T, patch func() string, stopped *atomic.Bool) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Request == nil {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		if !stopped.Load() {
			jsonPatch := admissionv1.PatchTypeJSONPatch
			review.Response.PatchType, review.Response.Patch = &jsonPatch, []byte(patch())
		}
		review.Request = nil
		_ = json.NewEncoder(w).Encode(review) // the API server gives up on a broken answer
	}))
	t.Cleanup(server.Close)
	return server
}

// webhook registers the server for the Testcrs of a namespace, and returns once
// the API server asks it.
func (s *scene) webhook(t *testing.T, server *httptest.Server) {
	t.Helper()
	fail, none := admissionregistrationv1.Fail, admissionregistrationv1.SideEffectClassNone
	hooks := env.Clients.AdmissionregistrationV1().MutatingWebhookConfigurations()
	hook, err := hooks.Create(t.Context(), &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "mangle-"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "mangle.example.com", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none, FailurePolicy: &fail,
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1.LabelNamespace: s.namespace}},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      &server.URL,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{v1.GroupVersionResource.Group}, APIVersions: []string{"*"},
					Resources: []string{v1.GroupVersionResource.Resource},
				},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hooks.Delete(context.WithoutCancel(t.Context()), hook.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	testenv.Eventually(t, func(ctx context.Context) error {
		for name := range s.names {
			u, err := testcrs().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			before := u.GetResourceVersion()
			u, err = testcrs().Update(ctx, u, metav1.UpdateOptions{})
			if err == nil && u.GetResourceVersion() == before {
				err = fmt.Errorf("%s is stored as it was written", name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// TestProgram_MutatingWebhook has the API server store something else at each write.
func TestProgram_MutatingWebhook(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64 // each is stored with another value
	tests := []struct {
		name  string
		patch func() string
	}{
		{name: "a field", patch: func() string {
			n := writes.Add(1)
			return fmt.Sprintf(`[{"op":"add","path":"/spec/podip","value":"10.9.%d.%d"}]`, n/256%256, n%256)
		}},
		{name: "a label of ours", patch: func() string {
			return fmt.Sprintf(`[{"op":"add","path":"/metadata/labels/stable.example.com~1workload","value":"w%d"}]`, writes.Add(1))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			var stopped atomic.Bool
			s.webhook(t, admit(t, test.patch, &stopped))
			s.backsOff(t)
			if line := s.warned(t); !strings.Contains(line, "mutating webhook") {
				t.Errorf("the warning does not name the cause: %s", line)
			}
			stopped.Store(true)
			begun := time.Now()
			right := func() error {
				if err := s.right(t.Context()); err != nil {
					return err
				}
				list, err := testcrs().List(t.Context(), metav1.ListOptions{
					LabelSelector: v1.LabelNamespace + "=" + s.namespace + "," + v1.LabelWorkload,
				})
				if err == nil && len(list.Items) > 0 {
					err = fmt.Errorf("%d Testcrs have a workload", len(list.Items))
				}
				return err
			}
			for right() != nil && time.Since(begun) < repairWithin {
				<-time.After(testenv.Poll)
			}
			if err := right(); err != nil {
				t.Errorf("%s after the webhook stopped: %v", repairWithin, err)
			}
			s.warned(t)
		})
	}
}
