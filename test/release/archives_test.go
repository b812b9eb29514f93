package release_test

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

var (
	programs  = []string{"kubectl-podinfo", "podinfolookup"}
	platforms = []string{"linux/amd64", "linux/arm64"} // to build all six from nothing takes minutes
)

// archiveName is that of .krew.yaml, without its extension.
func archiveName(program, platform string) string {
	return program + "_" + strings.ReplaceAll(platform, "/", "_")
}

// programOf tells what a program is for, and that it is static, from the file itself.
func programOf(t *testing.T, path string) string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer func() { _ = f.Close() }()
	libraries, err := f.ImportedLibraries()
	if err != nil || len(libraries) > 0 || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("%s: not static: %v %v", path, libraries, err)
	}
	return "linux/" + map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]
}

// checkVersion holds the one line of --version to the release and the commit.
func checkVersion(t *testing.T, out, name string) {
	t.Helper()
	commit, err := exec.CommandContext(t.Context(), "git", "-C", testenv.Root(), "log", "-1", "--format=%H").Output()
	if err != nil {
		t.Fatal(err)
	}
	id := string(commit[:7])
	want := regexp.MustCompile(`^` + name + regexp.QuoteMeta(version) + ` \(commit ` + id + `(-dirty)?, \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, go1\.\S+ linux/` + runtime.GOARCH + `\)\n$`)
	if !want.MatchString(out) {
		t.Errorf("--version prints %q, want %s", out, want)
	}
}

func TestRelease_Files(t *testing.T) {
	want := []string{"SHA256SUMS", "install.yaml", "podinfolookup-image.tar"}
	for _, program := range programs {
		for _, platform := range platforms {
			want = append(want, archiveName(program, platform)+".tar.gz", archiveName(program, platform)+".cdx.json")
		}
	}
	slices.Sort(want)
	entries, err := os.ReadDir(released(t).folder)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestRelease_Reproducible makes one program for one platform again, from its link
// to the archive, the list of components and the image: the others are made by the
// same commands.
func TestRelease_Reproducible(t *testing.T) {
	t.Parallel() // beside TestImage_InCluster, which mostly waits
	const platform = "linux/arm64"
	one := released(t)
	again, err := build("second", []string{"podinfolookup"}, []string{platform})
	if err != nil {
		t.Fatal(err)
	}
	first, second := sums(t, one.folder), sums(t, again.folder)
	if want := 2*len(programs)*len(platforms) + 2; len(first) != want {
		t.Errorf("%d lines in SHA256SUMS, want %d", len(first), want)
	}
	const image = "podinfolookup-image.tar" // of two platforms in the first
	name := archiveName("podinfolookup", platform)
	want := map[string]string{image: second[image]}
	for _, file := range []string{name + ".tar.gz", name + ".cdx.json", "install.yaml"} {
		want[file] = first[file]
	}
	if diff := cmp.Diff(want, second); diff != "" {
		t.Errorf("SHA256SUMS (-first +second):\n%s", diff)
	}
	if got, want := again.images[platform].digest, one.images[platform].digest; got != want {
		t.Errorf("the digest of the image is %s, was %s", got, want)
	}
}

// sums reads SHA256SUMS, and holds the files to it.
func sums(t *testing.T, folder string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(data)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
		if got := sumOf(t, filepath.Join(folder, name)); got != sum {
			t.Errorf("SHA256SUMS has %s for %s, which has %s", sum, name, got)
		}
	}
	return sums
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestRelease_Archives(t *testing.T) {
	for _, program := range programs {
		for _, platform := range platforms {
			t.Run(program+" for "+platform, func(t *testing.T) {
				folder := t.TempDir()
				if _, err := untar(filepath.Join(released(t).folder, archiveName(program, platform)+".tar.gz"), folder); err != nil {
					t.Fatal(err)
				}
				if got := programOf(t, filepath.Join(folder, program)); got != platform {
					t.Errorf("the program is for %s, want %s", got, platform)
				}
				for _, licence := range []string{"LICENSE", "licenses/go/LICENSE", "licenses/k8s.io/client-go/LICENSE"} {
					if _, err := os.Stat(filepath.Join(folder, licence)); err != nil {
						t.Error(err)
					}
				}
				checkComponents(t, program, platform)
				if platform != "linux/"+runtime.GOARCH {
					return
				}
				out, err := exec.CommandContext(t.Context(), filepath.Join(folder, program), "--version").Output()
				if err != nil {
					t.Fatal(err)
				}
				checkVersion(t, string(out), map[string]string{"podinfolookup": "podinfolookup ", "kubectl-podinfo": "kubectl podinfo version "}[program])
			})
		}
	}
}

// checkComponents holds a list of components (SBOM) to a dependency that must be in it.
func checkComponents(t *testing.T, program, platform string) {
	t.Helper()
	var sbom struct {
		BomFormat  string
		Components []struct{ Name, Version string }
	}
	if err := readJSON(filepath.Join(released(t).folder, archiveName(program, platform)+".cdx.json"), &sbom); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, c := range sbom.Components {
		found[c.Name] = c.Version != ""
	}
	if sbom.BomFormat != "CycloneDX" || !found["k8s.io/client-go"] || !found["std"] {
		t.Errorf("%s of %d components without client-go or Go", sbom.BomFormat, len(sbom.Components))
	}
}

func TestKrew_Manifest(t *testing.T) {
	folder := t.TempDir()
	all := []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"}
	for _, platform := range all {
		if err := os.WriteFile(filepath.Join(folder, archiveName("kubectl-podinfo", platform)+".tar.gz"), []byte(platform), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := exec.CommandContext(t.Context(), filepath.Join(testenv.Root(), "hack", "krew.sh"), folder, version)
	data, err := script.Output()
	if err != nil {
		t.Fatal(err)
	}
	var plugin struct {
		Spec struct {
			Version   string
			Platforms []struct{ URI, SHA256 string }
		}
	}
	if err := yaml.Unmarshal(data, &plugin); err != nil {
		t.Fatal(err)
	}
	if plugin.Spec.Version != version || len(plugin.Spec.Platforms) != len(all) {
		t.Errorf("%d platforms of %s", len(plugin.Spec.Platforms), plugin.Spec.Version)
	}
	for _, p := range plugin.Spec.Platforms {
		if got := sumOf(t, filepath.Join(folder, filepath.Base(p.URI))); got != p.SHA256 || !strings.Contains(p.URI, "/"+version+"/") {
			t.Errorf("%s: sha256 %s, the file has %s", p.URI, p.SHA256, got)
		}
	}
}

func TestRelease_InstallYAML(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(released(t).folder, "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("image: podinfolookup:"+version+"\n")); n != 1 {
		t.Errorf("the image of the release is named %d times", n)
	}
	if !bytes.Contains(data, []byte("kind: CustomResourceDefinition\n")) {
		t.Error("no CRD")
	}
}

func TestRelease_Refused(t *testing.T) {
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, folder, version, want string
	}{
		{name: "no version", folder: t.TempDir(), want: "release: VERSION is '': give a semantic version that begins with v, as in make release VERSION=v1.2.3\n"},
		{name: "a version without v", folder: t.TempDir(), version: "1.2.3", want: "release: VERSION is '1.2.3': give a semantic version"},
		{name: "a version of two numbers", folder: t.TempDir(), version: "v1.2", want: "release: VERSION is 'v1.2': give a semantic version"},
		{name: "a version that is a command", folder: t.TempDir(), version: "v1.2.3-$(id)", want: "release: VERSION is 'v1.2.3-$(id)': give a semantic version"},
		{name: "a folder with something in it", folder: taken, version: version, want: fmt.Sprintf("release: %s is not empty: delete it first", taken)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := releaseScript(t.Context(), test.folder, "VERSION="+test.version, "ALLOW_DIRTY=1").CombinedOutput()
			if err == nil {
				t.Error("exit code 0")
			}
			if !strings.HasPrefix(string(out), test.want) || strings.Count(string(out), "\n") != 1 {
				t.Errorf("got %q, want %q in one line", out, test.want)
			}
		})
	}
}
