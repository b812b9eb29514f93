package kube

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

func TestWarningLogger_LogsEachWarningOnce(t *testing.T) {
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx := klog.NewContext(t.Context(), logger)
	w := &warningLogger{logged: map[string]bool{}}
	for range 3 {
		for i := range 2 * maxWarnings {
			w.HandleWarningHeaderWithContext(ctx, 299, "-", fmt.Sprintf("unknown field \"spec.f%d\"", i))
		}
	}
	log := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
	if n := strings.Count(log, "Warning of the API server"); n != maxWarnings {
		t.Errorf("%d lines, want %d", n, maxWarnings)
	}
}
