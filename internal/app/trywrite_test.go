package app

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func TestClients_tryWrite(t *testing.T) {
	resource := v1.GroupVersionResource.GroupResource()
	answer := func(code int32, reason metav1.StatusReason, message string) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason, Message: message}}
	}
	tests := []struct {
		name string
		err  error
		want bool // the program ends
	}{
		{name: "accepted"},
		{name: "a Testcr of this name", err: apierrors.NewAlreadyExists(resource, "x")},
		{name: "a missing right, or a policy", err: apierrors.NewForbidden(resource, "x", errors.New("denied request")), want: true},
		{name: "a policy that answers Invalid", err: answer(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "no"), want: true},
		{name: "a webhook with a code of its own", err: answer(http.StatusBadRequest, "", `admission webhook "x" denied the request: no`), want: true},
		{name: "a webhook that takes no dryRun",
			err: answer(http.StatusBadRequest, metav1.StatusReasonBadRequest, `admission webhook "x" does not support dry run`)},
		{name: "a webhook with another answer", err: answer(http.StatusTeapot, "", "not now")},
		{name: "a webhook that is away", err: answer(http.StatusInternalServerError, metav1.StatusReasonInternalError, "failed calling webhook")},
		{name: "a CRD that is being deleted",
			err: apierrors.NewForbidden(resource, "x", errors.New("custom resource definition is terminating"))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			client := fake.NewSimpleDynamicClient(runtime.NewScheme())
			client.PrependReactor("create", "testcrs", func(a clienttesting.Action) (bool, runtime.Object, error) {
				if dry := a.(clienttesting.CreateActionImpl).CreateOptions.DryRun; len(dry) != 1 || dry[0] != metav1.DryRunAll {
					t.Errorf("a create that is no trial: %v", dry)
				}
				return true, nil, test.err
			})
			err := (&clients{dryRuns: client, lease: leaseKey{namespace: "ns"}}).tryWrite(t.Context(), nil)
			if (err != nil) != test.want {
				t.Errorf("%v, want an error: %t", err, test.want)
			}
			if test.want && !errors.Is(err, test.err) {
				t.Errorf("%v does not wrap its cause", err)
			}
		})
	}
}

// TestClients_tryWrite_Slow: a webhook that needs longer than the trial ends nothing.
func TestClients_tryWrite_Slow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleDynamicClient(runtime.NewScheme())
		client.PrependReactor("create", "testcrs", func(clienttesting.Action) (bool, runtime.Object, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*tryTimeout)
			defer cancel()
			<-ctx.Done()
			return true, nil, ctx.Err()
		})
		if err := (&clients{dryRuns: client}).tryWrite(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}
