package app

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/ktesting"
)

func TestEachWarningOfTheAPIServerIsToldOnce(t *testing.T) {
	logger := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	ctx := klog.NewContext(t.Context(), logger)
	w := &warnings{told: map[string]bool{}}
	for range 3 {
		for i := range 2 * warningsMost {
			w.HandleWarningHeaderWithContext(ctx, 299, "-", fmt.Sprintf("unknown field \"spec.f%d\"", i))
		}
	}
	log := logger.GetSink().(ktesting.Underlier).GetBuffer().String()
	if n := strings.Count(log, "The API server warns"); n != warningsMost {
		t.Errorf("%d lines, want %d", n, warningsMost)
	}
}
