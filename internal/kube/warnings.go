package kube

import (
	"context"
	"sync"

	"k8s.io/klog/v2"
)

// maxWarnings bounds how many different warnings are logged.
const maxWarnings = 100

// warningLogger logs each warning of the API server once, because the response to
// every write contains the same warning about a field that the CRD lacks.
type warningLogger struct {
	mu     sync.Mutex
	logged map[string]bool
}

func (w *warningLogger) HandleWarningHeaderWithContext(ctx context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text != "" && !w.logged[text] && len(w.logged) < maxWarnings {
		w.logged[text] = true
		klog.FromContext(ctx).Info("Warning of the API server, logged once", "warning", text)
	}
}
