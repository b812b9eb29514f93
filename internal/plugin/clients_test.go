package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/klog/v2"
)

func TestWarnings(t *testing.T) {
	var out strings.Builder
	ctx, stop := withWarnings(t.Context(), &out)
	defer stop()
	logger := klog.FromContext(ctx)
	fail := func(err error) { logger.Error(err, "Failed to watch") }

	logger.Info("Nothing has failed yet")
	fail(errors.New("refused"))
	fail(errors.New("refused"))
	fail(errors.New("no route\nwarning: forged"))
	logger.V(2).Info("For developers")
	logger.Info("Watching again")
	fail(errors.New("refused"))
	stop()
	fail(fmt.Errorf("failed to list: %w", context.Canceled)) // as a reflector does when it is interrupted

	const want = `warning: Failed to watch: refused
warning: Failed to watch: no route; warning: forged
note: Watching again
warning: Failed to watch: refused
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &out, want)
	}
}
