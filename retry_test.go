package podinfolookup

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

func TestFailedSyncsAreToldOfAFewTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
		ctx := klog.NewContext(t.Context(), logger)
		logs := logger.GetSink().(ktesting.Underlier).GetBuffer()
		var f failures
		for second := range 3 {
			for range 100 {
				f.add(ctx, errors.New("away"), cache.NewObjectName("shop", "web"), 1)
			}
			if got, want := strings.Count(logs.String(), "Sync failed"), (second+1)*failuresTold; got != want {
				t.Errorf("%d errors in %d s, want %d", got, second+1, want)
			}
			<-time.After(time.Second)
		}
		gone := apierrors.NewGenericServerResponse(http.StatusNotFound, "POST", schema.GroupResource{}, "", "", 0, true)
		told := logs.String()
		f.add(ctx, gone, cache.NewObjectName("shop", "cart"), 1)
		if logs.String() != told {
			t.Errorf("the missing CRD is told of for each Pod: %s", logs.String()[len(told):])
		}
		if len(f.keys) != 2 {
			t.Error("what failed for want of the CRD is not tried again when others succeed")
		}
		if text := logs.String(); !strings.Contains(text, "notLogged=97") {
			t.Errorf("nobody learns how many there were: %s", text)
		}
	})
}

func TestWhatFailedIsTriedAgainWhenOthersSucceed(t *testing.T) {
	key := func(i int) cache.ObjectName { return cache.NewObjectName("shop", fmt.Sprint("web-", i)) }
	tests := []struct {
		name  string
		fails int
		wrote bool
		after time.Duration // since keys were last tried again
		want  int
	}{
		{"after a write", 5, true, hurryEvery, 5},
		{"not all at once", hurryMost + 5, true, hurryEvery, hurryMost},
		{"not after a look that found nothing to write", 5, false, hurryEvery, 0},
		{"not with every write", 5, true, hurryEvery / 2, 0},
		{"nothing failed", 0, true, hurryEvery, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
				ctx := klog.NewContext(t.Context(), logger)
				f := failures{hurried: time.Now()}
				for i := range test.fails {
					f.add(ctx, errors.New("away"), key(i), 1)
				}
				<-time.After(test.after) // virtual time
				if got := len(f.over(key(-1), test.wrote)); got != test.want {
					t.Errorf("%d keys are tried again, want %d", got, test.want)
				}
				for i := range test.fails {
					f.over(key(i), false)
				}
				if n := len(f.keys); n != 0 {
					t.Errorf("%d keys are remembered for ever", n)
				}
			})
		})
	}
}

func TestFailures_KeysRefusedByContentAreNotHurried(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{name: "an outage", err: errors.New("connection refused"), want: 1},
		{name: "too large for etcd", err: apierrors.NewInternalError(errors.New("etcdserver: request is too large"))},
		{name: "too large for a message", err: errors.New("rpc error: code = ResourceExhausted desc = trying to send message larger than max")},
		{name: "too large for the API server", err: apierrors.NewRequestEntityTooLargeError("limit is 3145728")},
		{name: "invalid", err: apierrors.NewInvalid(GroupVersionKind.GroupKind(), "x", nil)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := klog.NewContext(t.Context(), ktesting.NewLogger(t, ktesting.NewConfig()))
			f := failures{hurried: time.Now().Add(-hurryEvery)}
			f.add(ctx, errors.New("away"), cache.NewObjectName("shop", "web"), 1)
			f.add(ctx, test.err, cache.NewObjectName("shop", "web"), 2)
			if got := len(f.over(cache.NewObjectName("shop", "cart"), true)); got != test.want {
				t.Errorf("%d keys are tried again, want %d", got, test.want)
			}
		})
	}
}
