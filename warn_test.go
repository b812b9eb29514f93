package podinfolookup

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
				f.tell(ctx, errors.New("away"), cache.NewObjectName("shop", "web"), 1)
			}
			if got, want := strings.Count(logs.String(), "Sync failed"), (second+1)*failuresTold; got != want {
				t.Errorf("%d errors in %d s, want %d", got, second+1, want)
			}
			<-time.After(time.Second)
		}
		if text := logs.String(); !strings.Contains(text, "notLogged=97") {
			t.Errorf("nobody learns how many there were: %s", text)
		}
	})
}
