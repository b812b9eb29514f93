package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestVerify_ControlsNoTerminal(t *testing.T) {
	t.Parallel()
	const hostile = "x\x1b[2J\x7f\u0085\u009b31m\u202e\r\nclean: forged"
	namespace := env.Namespace(t, "")
	must(t, createPod(t.Context(), namespace, "pod", 1))
	controller := startController(t, namespace)
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := testcrs().Get(ctx, nameFor(namespace, "pod"), metav1.GetOptions{})
		if err == nil && u.Object["spec"].(map[string]any)["phase"] != "Running" {
			err = fmt.Errorf("it is %v", u.Object["spec"])
		}
		return err
	})
	controller.Signal(t, syscall.SIGTERM)
	controller.Wait(t, testenv.StopWithin)
	change(t, namespace, "pod", func(_ *unstructured.Unstructured, spec map[string]any) {
		spec["phase"] = hostile
		spec["labels"] = map[string]any{"app": "pod", hostile: "more"}
	})
	for _, output := range []string{"text", "json"} {
		t.Run(output, func(t *testing.T) {
			got := outcomeOf(t, verify(t, "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace, "--settle=0s", "-o", output))
			if got.Code != 1 || strings.Count(got.Stdout, "\n") != 3 {
				t.Errorf("code %d, want 1 and two differences:\n%s\n%s", got.Code, got.Stdout, got.Stderr)
			}
			found := false
			for line := range strings.Lines(got.Stdout) {
				line = strings.TrimSuffix(line, "\n")
				if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.HasPrefix(line, "clean") {
					t.Errorf("standard output has the line %q", line)
				}
				var difference struct{ Have any }
				found = found || output == "text" || json.Unmarshal([]byte(line), &difference) == nil && difference.Have == hostile
			}
			if !found {
				t.Errorf("no line has the phase as it is:\n%s", got.Stdout)
			}
		})
	}
}
