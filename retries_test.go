package podinfolookup

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

func TestRetries_failed_LogLimit(t *testing.T) {
	t.Run("failed syncs are logged a few times a second", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			for second := range 3 {
				for range 100 {
					f.retries.failed(f.ctx, keyOfWeb(1), errors.New("away"))
				}
				if got, want := strings.Count(f.logs(), "Sync failed"), (second+1)*maxFailureLines; got != want {
					t.Errorf("%d errors in %d s, want %d", got, second+1, want)
				}
				<-time.After(time.Second) // virtual time
			}
			if text := f.logs(); !strings.Contains(text, "notLogged=97") || !strings.Contains(text, "failures=101") {
				t.Errorf("the numbers of failures are not logged: %s", text)
			}
			gone := apierrors.NewGenericServerResponse(http.StatusNotFound, "POST", schema.GroupResource{}, "", "", 0, true)
			before := f.logs()
			f.retries.failed(f.ctx, keyOfWeb(2), gone)
			if after := f.logs(); after != before {
				t.Errorf("the missing CRD is logged for each Pod: %s", after[len(before):])
			}
			if !f.states.get(keyOfWeb(2)).isFailing {
				t.Error("a key that failed without the CRD is not retried when others succeed")
			}
		})
	})
}

func TestRetries_succeeded_EarlyRetries(t *testing.T) {
	tests := []struct {
		name    string
		failing int
		verb    Verb
		after   time.Duration // since the last early retries
		want    int
	}{
		{name: "after a write", failing: 5, verb: Added, after: earlyRetryInterval, want: 5},
		{name: "not all at once", failing: maxEarlyRetries + 5, verb: Added, after: earlyRetryInterval, want: maxEarlyRetries},
		{name: "not after a sync without a write", failing: 5, verb: Unchanged, after: earlyRetryInterval},
		{name: "not with each write", failing: 5, verb: Added, after: earlyRetryInterval / 2},
		{name: "nothing failed", verb: Added, after: earlyRetryInterval},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := setup{}.build(t)
				f.queueOnly()
				for i := range test.failing {
					f.states.update(keyOfWeb(i), func(state *keyState) { state.isFailing = true })
				}
				<-time.After(test.after) // virtual time
				f.retries.succeeded(keyOfWeb(1000), test.verb)
				if got := len(f.queued()); got != test.want {
					t.Errorf("%d keys are retried, want %d", got, test.want)
				}
				f.retries.succeeded(keyOfWeb(1000), test.verb)
				if got := len(f.queued()); got != 0 {
					t.Errorf("%d keys are retried by the next write", got)
				}
				for i := range test.failing {
					f.retries.succeeded(keyOfWeb(i), Unchanged)
				}
				if n := len(f.states.keys); n != 0 || f.states.anyFailing() {
					t.Errorf("%d keys are remembered", n)
				}
			})
		})
	}
	t.Run("early retries without a failing key do not count", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			<-time.After(earlyRetryInterval) // virtual time
			f.retries.succeeded(keyOfWeb(1), Added)
			f.states.update(keyOfWeb(2), func(state *keyState) { state.isFailing = true })
			f.retries.succeeded(keyOfWeb(1), Added)
			if got := len(f.queued()); got != 1 {
				t.Errorf("%d keys are retried, want 1", got)
			}
		})
	})
}

func TestRetries_succeeded_Backoff(t *testing.T) {
	t.Run("it ends the backoff", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			f.retries.failed(f.ctx, keyOfWeb(1), errors.New("away"))
			f.retries.failed(f.ctx, keyOfWeb(1), apierrors.NewRequestEntityTooLargeError("x"))
			f.retries.succeeded(keyOfWeb(1), Unchanged)
			if n := f.queue.NumRequeues(keyOfWeb(1)) + f.retries.refused.NumRequeues(keyOfWeb(1)); n != 0 {
				t.Errorf("%d failures are remembered", n)
			}
		})
	})
}

func TestRetries_failed_RefusedContent(t *testing.T) {
	tests := []struct {
		name          string
		err           error
		wantFailing   bool
		wantRetryTime time.Duration
	}{
		{name: "an outage", err: errors.New("connection refused"), wantFailing: true, wantRetryTime: 2 * retryMin},
		{name: "too large for etcd", err: apierrors.NewInternalError(errors.New("etcdserver: request is too large")), wantRetryTime: refusedRetryMin},
		{
			name: "too large for a message", err: errors.New("rpc error: code = ResourceExhausted desc = trying to send message larger than max"),
			wantRetryTime: refusedRetryMin,
		},
		{name: "too large for the API server", err: apierrors.NewRequestEntityTooLargeError("limit is 3145728"), wantRetryTime: refusedRetryMin},
		{name: "invalid", err: apierrors.NewInvalid(v1.GroupVersionKind.GroupKind(), "x", nil), wantRetryTime: refusedRetryMin},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := setup{}.build(t)
				f.queueOnly()
				f.retries.failed(f.ctx, keyOfWeb(1), errors.New("away"))
				f.waitForKey(t, keyOfWeb(1))
				begin := time.Now()
				f.retries.failed(f.ctx, keyOfWeb(1), test.err)
				if got := f.states.get(keyOfWeb(1)).isFailing; got != test.wantFailing {
					t.Errorf("it is retried when others succeed: %t, want %t", got, test.wantFailing)
				}
				if got := f.waitForKey(t, keyOfWeb(1)).Sub(begin); got != test.wantRetryTime {
					t.Errorf("it is retried after %s, want %s", got, test.wantRetryTime)
				}
			})
		})
	}
	t.Run("no error is not a refusal", func(t *testing.T) {
		if isTooLargeOrInvalid(nil) {
			t.Error("nil is a refusal")
		}
	})
}

func TestRetries_reducedIfRefused(t *testing.T) {
	pod := web(1)
	pod.Labels = map[string]string{"app": "web"}
	full := testcrOf(pod)
	tests := []struct {
		name     string
		until    time.Duration // from now; 0 if it is not reduced
		pod      *v1.Testcr
		want     *v1.Testcr
		wantKept bool
		wantAt   time.Duration // when the key is queued
	}{
		{name: "it was never refused", pod: full, want: full},
		{name: "it was refused", until: reducedFor, pod: full, want: desired.Reduced(full), wantKept: true, wantAt: reducedFor},
		{name: "it was refused long ago", until: -time.Second, pod: full, want: full, wantKept: true},
		{name: "its Pod is gone", until: reducedFor},
		{name: "it was never refused and its Pod is gone"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := setup{}.build(t)
				f.queueOnly()
				if test.until != 0 {
					f.states.update(keyOfWeb(1), func(state *keyState) { state.reducedUntil = time.Now().Add(test.until) })
				}
				if diff := cmp.Diff(test.want, f.retries.reducedIfRefused(keyOfWeb(1), test.pod)); diff != "" {
					t.Errorf("Testcr (-want +got):\n%s", diff)
				}
				if got := !f.states.get(keyOfWeb(1)).reducedUntil.IsZero(); got != test.wantKept {
					t.Errorf("the refusal is remembered: %t, want %t", got, test.wantKept)
				}
				if test.wantAt == 0 {
					test.wantAt = reducedFor * 2
				}
				<-time.After(test.wantAt - time.Second) // virtual time
				synctest.Wait()
				before := f.queue.Len()
				<-time.After(time.Second)
				synctest.Wait()
				if after := f.queue.Len(); before != 0 || (after == 1) != (test.wantAt == reducedFor) {
					t.Errorf("%d keys are queued before, %d after", before, after)
				}
			})
		})
	}
}

func TestRetries_reduce(t *testing.T) {
	pod := web(1)
	pod.Labels = map[string]string{"app": "web"}
	refusal := func(verb string, times int) (func(string, string) error, *int) {
		n := 0
		return func(got, _ string) error {
			if n++; n > times || got != verb {
				return nil
			}
			return apierrors.NewRequestEntityTooLargeError("limit is 3145728 " + strings.Repeat("x", 2*maxErrorBytes))
		}, &n
	}
	t.Run("a Testcr that is refused again and again is reported once, and retried in full each reducedFor", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{pod}}.build(t)
			refuse, _ := refusal("create", 1)
			f.api.before = func(verb, name string) error {
				if verb == "update" {
					return apierrors.NewInvalid(v1.GroupVersionKind.GroupKind(), "x", nil)
				}
				return refuse(verb, name)
			}
			f.runCaches(t)
			f.runFor(t, 3*reducedFor+time.Minute)
			name := nameFor(keyOfWeb(1))
			want := []string{"create " + name, "create " + name, "update " + name, "update " + name, "update " + name}
			if diff := cmp.Diff(want, f.api.takeRequests()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{TestcrReduced}, f.takeEvents()); diff != "" {
				t.Errorf("Events (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(desired.Reduced(testcrOf(pod)).Spec, f.api.stored(t, name).Spec); diff != "" {
				t.Errorf("stored spec (-want +got):\n%s", diff)
			}
			if text := f.logs(); strings.Contains(text, strings.Repeat("x", maxErrorBytes+1)) || strings.Contains(text, "Sync failed") {
				t.Errorf("the refusal is logged in full, or as a failed sync: %s", text)
			}
		})
	})
	t.Run("a Testcr without labels and containers fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{pods: []*corev1.Pod{web(1)}}.build(t)
			f.api.before, _ = refusal("create", 1)
			f.runCaches(t)
			f.runFor(t, refusedRetryMin/2)
			if got := len(f.api.takeRequests()); got != 1 || !strings.Contains(f.logs(), "Sync failed") {
				t.Errorf("%d requests, want 1 that is reported", got)
			}
		})
	})
}
