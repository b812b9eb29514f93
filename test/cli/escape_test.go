package cli_test

import (
	"context"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestFeed_EscapesWhatDoesNotPrint(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	createPod(t, namespace, "nginx")
	pods := env.Clients.CoreV1().Pods(namespace)
	pod, err := pods.Get(t.Context(), "nginx", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodPhase("Running\x1b[2J\a\x7f\u009b\u202e\r\nadd: kube-system/forged")
	if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := start(t, namespace)
	const want = `   Running\u001b[2J\u0007\u007f\u009b\u202e\u000d\u000aadd: kube-system/forged   `
	testenv.Eventually(t, func(context.Context) error { return p.Stdout.Has(want) })
	for line := range strings.Lines(p.Stdout.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.HasPrefix(line, "add: kube-system/") {
			t.Errorf("standard output has the line %q", line)
		}
	}
}
