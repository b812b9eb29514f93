package podinfolookup

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

func TestController_failed_LogLimit(t *testing.T) {
	t.Run("failed syncs are logged a few times a second", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			for second := range 3 {
				for range 100 {
					f.failed(f.ctx, keyOfWeb(1), errors.New("away"))
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
			f.failed(f.ctx, keyOfWeb(2), gone)
			if after := f.logs(); after != before {
				t.Errorf("the missing CRD is logged for each Pod: %s", after[len(before):])
			}
			if !f.states.get(keyOfWeb(2)).isFailing {
				t.Error("a key that failed without the CRD is not retried when others succeed")
			}
		})
	})
}

func TestController_succeeded_EarlyRetries(t *testing.T) {
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
				f.succeeded(keyOfWeb(1000), test.verb)
				if got := len(f.queued()); got != test.want {
					t.Errorf("%d keys are retried, want %d", got, test.want)
				}
				f.succeeded(keyOfWeb(1000), test.verb)
				if got := len(f.queued()); got != 0 {
					t.Errorf("%d keys are retried by the next write", got)
				}
				for i := range test.failing {
					f.succeeded(keyOfWeb(i), Unchanged)
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
			f.succeeded(keyOfWeb(1), Added)
			f.states.update(keyOfWeb(2), func(state *keyState) { state.isFailing = true })
			f.succeeded(keyOfWeb(1), Added)
			if got := len(f.queued()); got != 1 {
				t.Errorf("%d keys are retried, want 1", got)
			}
		})
	})
}

func TestController_succeeded_Backoff(t *testing.T) {
	t.Run("it ends the backoff", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := setup{}.build(t)
			f.queueOnly()
			f.failed(f.ctx, keyOfWeb(1), errors.New("away"))
			f.failed(f.ctx, keyOfWeb(1), apierrors.NewRequestEntityTooLargeError("x"))
			f.succeeded(keyOfWeb(1), Unchanged)
			if n := f.queue.NumRequeues(keyOfWeb(1)) + f.refused.NumRequeues(keyOfWeb(1)); n != 0 {
				t.Errorf("%d failures are remembered", n)
			}
		})
	})
}

func TestController_failed_RefusedContent(t *testing.T) {
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
				f.failed(f.ctx, keyOfWeb(1), errors.New("away"))
				f.waitForKey(t, keyOfWeb(1))
				begin := time.Now()
				f.failed(f.ctx, keyOfWeb(1), test.err)
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
