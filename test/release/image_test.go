package release_test

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rootless is the user that yaml/deployment.yaml runs the image as.
const rootless = 65532

// image is one image of an OCI archive, unpacked.
type image struct {
	digest string // of its manifest
	root   string // the folder with its files
	files  []*tar.Header

	Architecture string
	OS           string
	Config       struct {
		User       string
		Entrypoint []string
		Cmd        []string
		Env        []string
		Labels     map[string]string
	}
}

type descriptor struct {
	Digest   string
	Platform struct{ Architecture, OS string }
}

// unpackImage unpacks the images of an OCI archive by what its indexes say.
func unpackImage(archive, folder string) (map[string]*image, error) {
	layout := filepath.Join(folder, "layout")
	if _, err := untar(archive, layout); err != nil {
		return nil, err
	}
	read := func(d descriptor, into any) error {
		return readJSON(filepath.Join(layout, "blobs", strings.ReplaceAll(d.Digest, ":", "/")), into)
	}
	var index, list struct{ Manifests []descriptor }
	if err := readJSON(filepath.Join(layout, "index.json"), &index); err != nil {
		return nil, err
	}
	if len(index.Manifests) != 1 {
		return nil, fmt.Errorf("%d manifests in %s, want one list", len(index.Manifests), archive)
	}
	if err := read(index.Manifests[0], &list); err != nil {
		return nil, err
	}
	images := map[string]*image{}
	for _, d := range list.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		i := &image{digest: d.Digest, root: filepath.Join(folder, d.Platform.Architecture)}
		if err := errors.Join(read(d, &manifest), read(manifest.Config, i)); err != nil {
			return nil, err
		}
		for _, layer := range manifest.Layers {
			files, err := untar(filepath.Join(layout, "blobs", strings.ReplaceAll(layer.Digest, ":", "/")), i.root)
			if err != nil {
				return nil, err
			}
			i.files = append(i.files, files...)
		}
		images[d.Platform.OS+"/"+d.Platform.Architecture] = i
	}
	return images, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// untar unpacks a tar file, compressed or not, and returns what is in it. gzip does
// in a second what takes ten with the race detector.
func untar(archive, folder string) (headers []*tar.Header, err error) {
	unzip := exec.Command("gzip", "-dcf", archive) //nolint:noctx // it ends with the file
	in, err := unzip.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := unzip.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_, rest := io.Copy(io.Discard, in) // a tar file is padded
		err = errors.Join(err, rest, unzip.Wait())
	}()
	for files := tar.NewReader(in); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return headers, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
		headers = append(headers, header)
		if err := extract(files, header, folder); err != nil {
			return nil, err
		}
	}
}

func extract(from io.Reader, header *tar.Header, folder string) error {
	if !filepath.IsLocal(header.Name) {
		return fmt.Errorf("%q leads out of the archive", header.Name)
	}
	path := filepath.Join(folder, header.Name) //nolint:gosec // G305: it is local, see above
	mode := header.FileInfo().Mode().Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(path, mode)
	case tar.TypeReg:
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // G301: the program in it runs as another user
			return err
		}
		to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, from)
		return errors.Join(err, to.Close())
	default:
		return fmt.Errorf("%q is neither a file nor a folder", header.Name)
	}
}

func TestImage_Contents(t *testing.T) {
	images := released(t).images
	got := slices.Sorted(maps.Keys(images))
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, got); diff != "" {
		t.Fatal(diff)
	}
	for platform, i := range images {
		t.Run(platform, func(t *testing.T) {
			if got := i.OS + "/" + i.Architecture; got != platform {
				t.Errorf("the configuration is of %s", got)
			}
			if i.Config.User != "65532:65532" || len(i.Config.Cmd) != 0 || !slices.Equal(i.Config.Entrypoint, []string{"/podinfolookup"}) {
				t.Errorf("configuration %+v", i.Config)
			}
			if got := i.Config.Labels["org.opencontainers.image.version"]; got != version {
				t.Errorf("version %q", got)
			}
			checkTree(t, i)
			if got, want := programOf(t, filepath.Join(i.root, "podinfolookup")), platform; got != want {
				t.Errorf("the program is for %s, want %s", got, want)
			}
		})
	}
}

// checkTree holds what is in an image to: the program, licences, nothing that its
// user may change.
func checkTree(t *testing.T, i *image) {
	t.Helper()
	var licences int
	for _, file := range i.files {
		name := strings.TrimPrefix(filepath.Clean("/"+file.Name), "/")
		mode := file.FileInfo().Mode()
		switch {
		case file.Uid != 0 || file.Gid != 0 || mode.Perm()&0o022 != 0 || mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
			t.Errorf("%s: mode %s, owner %d:%d", file.Name, mode, file.Uid, file.Gid)
		case mode.IsDir() || name == "LICENSE":
		case name == "podinfolookup":
			if mode.Perm() != 0o755 {
				t.Errorf("%s: mode %s", file.Name, mode)
			}
		case strings.HasPrefix(name, "licenses/"):
			licences++
		default:
			t.Errorf("%s is in the image", file.Name)
		}
	}
	if licences < 50 {
		t.Errorf("%d licences", licences)
	}
	if _, err := os.Stat(filepath.Join(i.root, "licenses", "k8s.io", "client-go", "LICENSE")); err != nil {
		t.Error(err)
	}
}

// inside returns a run of the image of this machine, as its user, with its files
// alone. That takes root, or a user namespace.
func inside(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	i := released(t).images["linux/"+runtime.GOARCH]
	if i == nil {
		t.Fatalf("there is no image for %s", runtime.GOARCH)
	}
	// Start of testenv, or the caller, ends it.
	run := exec.Command(i.Config.Entrypoint[0], args...) //nolint:noctx // the caller ends it
	run.Dir, run.Env = "/", []string{}
	run.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root, Credential: &syscall.Credential{Uid: rootless, Gid: rootless}}
	if os.Geteuid() != 0 {
		run.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		run.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: rootless, HostID: os.Getuid(), Size: 1}}
		run.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: rootless, HostID: os.Getgid(), Size: 1}}
	}
	return run
}

func TestImage_Runs(t *testing.T) {
	out, err := inside(t, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	checkVersion(t, string(out), "podinfolookup ")
}
