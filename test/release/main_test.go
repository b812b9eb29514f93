// Package release_test makes a release, and a part of it a second time, and looks at
// what came out: the archives, the image, and the program of the image in a cluster.
package release_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// version is that of the release under test.
const version = "v0.0.0-test.1"

var env *testenv.Env

func TestMain(m *testing.M) {
	testenv.Main(m, func(e *testenv.Env) { env = e })
}

// release is what one run of hack/release.sh has made.
type release struct {
	folder string
	images map[string]*image // by architecture
}

// first is made when it is first asked for.
var first = sync.OnceValues(func() (*release, error) { return build("first", programs, platforms) })

func build(name string, programs, platforms []string) (*release, error) {
	r := &release{folder: filepath.Join(env.Dir, name)}
	script := releaseScript(context.Background(), r.folder, "VERSION="+version, "ALLOW_DIRTY=1", //nolint:forbidigo // a release outlives the test that asks first
		"PROGRAMS="+strings.Join(programs, " "), "PLATFORMS="+strings.Join(platforms, " "))
	if out, err := script.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("hack/release.sh: %w\n%s", err, out)
	}
	var err error
	r.images, err = unpackImage(filepath.Join(r.folder, "podinfolookup-image.tar"), filepath.Join(env.Dir, name+"-images"))
	return r, err
}

// released returns a release.
func released(t *testing.T) *release {
	t.Helper()
	r, err := first()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func releaseScript(ctx context.Context, folder string, settings ...string) *exec.Cmd {
	script := exec.CommandContext(ctx, filepath.Join(testenv.Root(), "hack", "release.sh"), folder)
	script.Env = append(os.Environ(), settings...)
	return script
}
