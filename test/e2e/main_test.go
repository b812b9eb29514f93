// Package e2e_test shows the program on a whole cluster: the built binary, kubectl,
// scheduler, controller manager and simulated nodes.
package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// The one cluster of this package, and the program.
var (
	dir         string   // the cluster's folder
	binary      string   // podinfolookup
	environment []string // for the scripts in hack/ and for kubectl
)

// TestMain makes one cluster for all tests: it takes longer than they do.
func TestMain(m *testing.M) {
	code, err := onACluster(context.Background(), m) //nolint:forbidigo // there is no test yet
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func onACluster(ctx context.Context, m *testing.M) (code int, err error) {
	temp, err := os.MkdirTemp("", "podinfolookup-e2e")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	// The path has a space in it, as a user's may.
	dir, binary = filepath.Join(temp, "a cluster"), filepath.Join(temp, "podinfolookup")
	environment = []string{"CLUSTER_DIR=" + dir, "DEMO_BIN=" + temp, "NODES=3", "KUBECONFIG=" + filepath.Join(dir, "kubeconfig")}
	if err := testenv.BuildProgram(binary); err != nil {
		return 1, err
	}
	if out, err := command(ctx, "go", "build", "-o", temp, "./cmd/kubectl-podinfo").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("go build: %w\n%s", err, out)
	}
	defer func() {
		if out, down := command(ctx, "hack/cluster/cluster.sh", "down").CombinedOutput(); down != nil {
			err = errors.Join(err, fmt.Errorf("cluster.sh down: %w\n%s", down, out))
		}
	}()
	if out, err := command(ctx, "hack/cluster/cluster.sh", "up").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("cluster.sh up: %w\n%s", err, out)
	}
	return m.Run(), nil
}

func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = testenv.Root()
	if strings.Contains(name, "/") {
		cmd.Path = filepath.Join(cmd.Dir, name)
	}
	cmd.Env = append(os.Environ(), environment...)
	return cmd
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := command(t.Context(), name, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, ".cluster/bin/kubectl", args...)
}
