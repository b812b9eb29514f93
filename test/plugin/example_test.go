package plugin_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// TestExampleClient builds and runs examples/client against the API server.
func TestExampleClient(t *testing.T) {
	program := filepath.Join(t.TempDir(), "client")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./examples/client")
	build.Dir = testenv.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	manyIPs := []string{"10.98.0.1", "10.98.0.2", "10.98.0.3", "10.98.0.4", "10.98.0.5", "10.98.0.6", "10.98.0.7", "10.98.0.8", "10.98.0.9"}
	for name, ips := range map[string][]string{"dualstack": {"10.97.0.7", "fd00:97::7"}, "many": manyIPs} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "example", Name: name, UID: "u-1"}}
		pod.Spec.NodeName, pod.Status.Phase = "node-1", corev1.PodRunning
		for _, ip := range ips {
			pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: ip})
		}
		pod.Status.PodIP = ips[0]
		u := testenv.Object(desired.FromPod(pod))
		if _, err := testcrs().Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := testcrs().Delete(context.WithoutCancel(t.Context()), u.GetName(), metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	tests := []struct {
		name, ip string
		want     string
		wantErr  string
	}{
		{name: "an IPv4 address", ip: "10.97.0.7", want: "example/dualstack u-1 node-1 Running\n"},
		{name: "an IPv6 address in another form", ip: "FD00:97:0:0::7", want: "example/dualstack u-1 node-1 Running\n"},
		{name: "an address without a label", ip: "10.98.0.9", want: "example/many u-1 node-1 Running\n"},
		{name: "an address of no Pod", ip: "10.97.0.8"},
		{name: "no address", ip: "cart", wantErr: "unable to parse IP"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stderr strings.Builder
			cmd := exec.CommandContext(t.Context(), program, test.ip)
			cmd.Env = append(os.Environ(), "KUBECONFIG="+env.AdminKubeconfig)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if string(out) != test.want {
				t.Errorf("printed %q, want %q", out, test.want)
			}
			if (err != nil) != (test.wantErr != "") || !strings.Contains(stderr.String(), test.wantErr) {
				t.Errorf("error %v, %q; want %q", err, stderr.String(), test.wantErr)
			}
		})
	}
}
