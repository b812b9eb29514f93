// Package upgrade_test rolls from the program of the commit before this one to
// the built one and back, and puts CRDs older and newer than it in front of it,
// on a real API server.
package upgrade_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// verifyWithin is how long one comparison may take on a loaded machine.
const verifyWithin = time.Minute

var (
	env    *testenv.Env
	binary string
	// previous is the program of the commit before.
	previous = sync.OnceValues(buildPrevious)
)

func TestMain(m *testing.M) {
	testenv.MainWithProgram(m, func(e *testenv.Env, path string) { env, binary = e, path })
}

// buildPrevious takes the sources from an archive: a worktree would leave a trace
// in the repository when the test is killed. They are put into the same folder each
// time, because Go's cache distinguishes packages by their path.
func buildPrevious() (binary string, err error) {
	dir := filepath.Join(testenv.Root(), ".cluster", "test", "previous")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary = filepath.Join(env.Dir, "previous")
	run := func(program string, args ...string) error {
		command := exec.Command(program, args...) //nolint:noctx // built once for all tests
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %v: %w\n%s", program, args, err, out)
		}
		return nil
	}
	before := "HEAD~1"
	if err := run("git", "-C", testenv.Root(), "rev-parse", "--verify", before+"^{commit}"); err != nil {
		before = "HEAD" // still two programs that take over from one another
		fmt.Fprintln(os.Stderr, "the commit before this one is not here (a shallow clone?): git fetch --deepen=1. This one's own program is rolled from.")
	}
	const version = "github.com/weiyuanke/PodInfoLookup/internal/version.version"
	for _, command := range [][]string{
		{"git", "-C", testenv.Root(), "archive", "--output=" + filepath.Join(dir, "sources.tar"), before},
		{"tar", "-xf", "sources.tar"},
		// Its own version distinguishes its requests from those of the other.
		{"go", "build", "-race", "-buildvcs=false", "-ldflags=-X " + version + "=previous", "-o", binary, "./cmd/podinfolookup"},
	} {
		if err := run(command[0], command[1:]...); err != nil {
			return "", err
		}
	}
	return binary, nil
}

func verified(t *testing.T, namespace string) {
	t.Helper()
	p := testenv.Command(t, binary, "verify", "--kubeconfig="+env.Kubeconfig, "--settle=1s", "--namespace="+namespace).Start(t)
	if code := p.Wait(t, verifyWithin); code != 0 {
		t.Errorf("verify: exit code %d, standard output:\n%s\nstandard error:\n%s", code, p.Stdout, p.Stderr)
	}
}

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "main:1"}}},
	}
}

func testcrs() dynamic.ResourceInterface {
	return env.Dynamic.Resource(v1.GroupVersionResource)
}

func nameFor(namespace, pod string) string {
	return v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, pod)))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
