package informer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

var pods = schema.GroupResource{Resource: "pods"}

// logged returns a context whose log lines text returns.
func logged(t *testing.T) (ctx context.Context, text func() string) {
	t.Helper()
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	return klog.NewContext(t.Context(), logger), logger.GetSink().(ktesting.Underlier).GetBuffer().String
}

func TestRetryUntilAvailable_NoticesTheEndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const away = time.Hour
		begin, requests := time.Now(), 0
		got, err := RetryUntilAvailable(t.Context(), &Outage{}, "pods", isForReflector, func() (string, error) {
			requests++
			if time.Since(begin) < away {
				return "", errors.New("connection refused")
			}
			return "list", nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("list", got); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
		if late, limit := time.Since(begin)-away, 2*retryMax; late > limit {
			t.Errorf("the end was noticed after %s, want at most %s", late, limit)
		}
		if limit := int(away/retryMax) + 10; requests > limit {
			t.Errorf("%d requests were made, want at most %d", requests, limit)
		}
	})
}

func TestRetryUntilAvailable_IsFinal(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int // requests
	}{
		{name: "the version is too old", err: apierrors.NewResourceExpired("too old"), want: 1},
		{name: "the version is gone", err: apierrors.NewGenericServerResponse(http.StatusGone, "GET", pods, "", "too old", 0, true), want: 1},
		{name: "the version is too new", err: apierrors.NewTimeoutError("Too large resource version", 1), want: 1},
		{name: "lists are not streamed", err: apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "", nil), want: 1},
		{name: "an option is unknown", err: apierrors.NewBadRequest("no"), want: 1},
		{name: "a refused connection", err: errors.New("connection refused"), want: 2},
		{name: "a starting API server", err: apierrors.NewServiceUnavailable("starting"), want: 2},
		{name: "an API server that has not read its roles", err: apierrors.NewForbidden(pods, "", nil), want: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				_, err := RetryUntilAvailable(t.Context(), &Outage{}, "pods", isForReflector, func() (int, error) {
					if requests++; requests > 1 {
						return 0, nil
					}
					return 0, test.err
				})
				if requests != test.want || errors.Is(err, test.err) != (test.want == 1) {
					t.Errorf("%d requests, error %v; want %d", requests, err, test.want)
				}
			})
		})
	}
}

func TestRetryUntilAvailable_EndsWithItsContext(t *testing.T) {
	refused := errors.New("connection refused")
	tests := []struct {
		name     string
		stop     time.Duration
		requests int
	}{
		{name: "before the request", requests: 1},
		{name: "during a wait", stop: retryMin / 2, requests: 1},
		{name: "during a later wait", stop: 2 * retryMin, requests: 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.stop)
				defer cancel()
				requests := 0
				_, err := RetryUntilAvailable(ctx, &Outage{}, "pods", isForReflector, func() (int, error) {
					requests++
					return 0, refused
				})
				if err == nil || requests != test.requests {
					t.Errorf("%d requests, error %v; want %d and an error", requests, err, test.requests)
				}
			})
		})
	}
}

func TestOutage_LogsEachCauseOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, text := logged(t)
		requests := 0
		_, err := RetryUntilAvailable(ctx, &Outage{}, "pods", isForReflector, func() (string, error) {
			requests++
			switch {
			case requests < 100:
				return "", fmt.Errorf("stream error: stream ID %d; INTERNAL_ERROR; received from peer", 2*requests+1)
			case requests < 200:
				return "", errors.New("connection refused")
			default:
				return "list", nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(text(), "Cannot list or watch"); n != 2 {
			t.Errorf("two causes were logged %d times:\n%s", n, text())
		}
	})
}

// A watch that meets an outage, and then a version that is too old, leaves the end of
// the outage to the list behind it.
func TestOutage_EndsWithAnotherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, text := logged(t)
		var o Outage
		for _, answers := range [][]error{{errors.New("connection refused"), apierrors.NewResourceExpired("too old")}, {nil}, {nil}} {
			_, _ = RetryUntilAvailable(ctx, &o, "pods", isForReflector, func() (int, error) {
				err := answers[0]
				answers = answers[1:]
				return 0, err
			})
		}
		if begun, ended := strings.Count(text(), "Cannot list or watch"), strings.Count(text(), "answers again"); begun != 1 || ended != 1 {
			t.Errorf("the outage was logged %d times and its end %d times, want one each:\n%s", begun, ended, text())
		}
	})
}

func TestWithRemedy(t *testing.T) {
	const remedy = ": yaml/rbac.yaml has the rule that is missing"
	const ownersRemedy = ": yaml/rbac-owners.yaml has the rule that is missing"
	const servicesRemedy = ": yaml/rbac-services.yaml has the rule that is missing"
	const nodesRemedy = ": yaml/rbac-nodes.yaml has the rule that is missing"
	services, slices := schema.GroupResource{Resource: "services"}, schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}
	jobs, replicaSets := schema.GroupResource{Group: "batch", Resource: "jobs"}, schema.GroupResource{Group: "apps", Resource: "replicasets"}
	tests := []struct {
		name string
		err  error
		want string
	}{
		{name: "a missing right", err: apierrors.NewForbidden(pods, "x", nil), want: remedy},
		{name: "a wrapped missing right", err: fmt.Errorf("listing: %w", apierrors.NewForbidden(pods, "x", nil)), want: remedy},
		{name: "a missing right to ReplicaSets", err: apierrors.NewForbidden(replicaSets, "", nil), want: ownersRemedy},
		{name: "a wrapped missing right to Jobs", err: fmt.Errorf("listing: %w", apierrors.NewForbidden(jobs, "", nil)), want: ownersRemedy},
		{name: "a missing right to Services", err: apierrors.NewForbidden(services, "", nil), want: servicesRemedy},
		{name: "a missing right to EndpointSlices", err: apierrors.NewForbidden(slices, "", nil), want: servicesRemedy},
		{name: "a missing right to nodes", err: apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", nil), want: nodesRemedy},
		{name: "no error"},
		{name: "an outage", err: errors.New("connection refused")},
		{name: "an admission policy", err: apierrors.NewForbidden(pods, "x", errors.New("ValidatingAdmissionPolicy 'p' denied request"))},
		{
			name: "a terminating CRD",
			err:  apierrors.NewForbidden(pods, "x", errors.New("create not allowed while custom resource definition is terminating")),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := WithRemedy(test.err)
			if !errors.Is(got, test.err) {
				t.Errorf("%v does not wrap %v", got, test.err)
			}
			if test.err == nil {
				return
			}
			if diff := cmp.Diff(test.err.Error()+test.want, got.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
