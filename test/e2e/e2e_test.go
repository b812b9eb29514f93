// Package e2e_test shows the main job on a whole cluster: the built binary, kubectl,
// scheduler, controller manager and simulated nodes.
package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// wantSession is what `make demo` shows, in this order.
var wantSession = []string{
	`\$ kubectl apply -f yaml/testcrd\.yaml`,
	`\$ kubectl apply -f yaml/pod\.yaml`,
	`pod/nginx created`,
	`(?m)^add: default/nginx$`,
	`(?m)^update: default/nginx$`,
	`(?m)^current list:$`,
	`(?m)^NAME +POD +IP +NODE +PHASE +AGE$`,
	`(?m)^29b36e2c6835dded8a115aee874d1ddc +default/nginx +[0-9.]+ +node-\d+ +Running +`,
	`\$ kubectl get testcrs --field-selector spec\.podname=nginx`,
	`(?m)^29b36e2c6835dded8a115aee874d1ddc +default/nginx +[0-9.]+ +node-\d+ +Running +`,
	`kind: Testcr`,
	`(?m)^  podip: [0-9.]+$`,
	`\$ kubectl delete -f yaml/pod\.yaml`,
	`(?m)^delete: default/nginx$`,
	`(?m)^current list:$\n\n`,
	`It works\.`,
}

func TestDemo(t *testing.T) {
	// The path has a space in it, as a user's may.
	dir := filepath.Join(t.TempDir(), "a cluster")
	binary := filepath.Join(t.TempDir(), "podinfolookup")
	run(t, nil, "go", "build", "-race", "-o", binary, "./cmd/podinfolookup")
	environment := []string{"CLUSTER_DIR=" + dir, "PODINFOLOOKUP=" + binary, "NODES=3"}
	t.Cleanup(func() {
		cmd := command(context.WithoutCancel(t.Context()), environment, "hack/cluster/cluster.sh", "down")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("cluster.sh down: %v\n%s", err, out)
		}
	})
	run(t, environment, "hack/cluster/cluster.sh", "up")
	// A second time nothing of the first is in its way.
	for range 2 {
		session := run(t, environment, "hack/demo.sh")
		rest := session
		for _, want := range wantSession {
			at := regexp.MustCompile(want).FindStringIndex(rest)
			if at == nil {
				t.Fatalf("the session lacks %q, or has it too early:\n%s", want, session)
			}
			rest = rest[at[1]:]
		}
	}
	usePage(t, binary, dir)
	run(t, environment, "hack/cluster/cluster.sh", "status")
}

func command(ctx context.Context, environment []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = testenv.Root()
	if name != "go" {
		cmd.Path = filepath.Join(cmd.Dir, name)
	}
	cmd.Env = append(os.Environ(), environment...)
	return cmd
}

func run(t *testing.T, environment []string, name string, args ...string) string {
	t.Helper()
	cmd := command(t.Context(), environment, name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}
