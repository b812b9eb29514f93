package ha_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	clientsnapshot "go.etcd.io/etcd/client/v3/snapshot"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// peer is where etcd, as a cluster of one, takes itself to be.
const (
	member = "default"
	peer   = "http://localhost:2380"
)

// server is etcd or the API server: a process that is stopped, and started again
// with the same arguments.
type server struct {
	argv    []string
	process *os.Process   // a handle: another process that gets its number later is not hit
	exited  chan struct{} // nil for one that testenv has started
	stderr  *testenv.Output
}

var (
	servers = map[string]*server{} // by the name of the program
	waiting sync.WaitGroup
)

// find reads the arguments of a running server from /proc. Of the servers on this
// machine it is the one that was given argument.
func find(program, argument string) (*server, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		argv := strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
		if filepath.Base(argv[0]) == program && slices.Contains(argv, argument) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			process, err := os.FindProcess(pid)
			return &server{argv: argv, process: process}, err
		}
	}
	return nil, fmt.Errorf("no %s runs with %s", program, argument)
}

func (s *server) running() bool {
	if s.exited != nil {
		select {
		case <-s.exited:
			return false
		default:
			return true
		}
	}
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.process.Pid)) // a zombie has none
	return err == nil
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	testenv.Eventually(t, func(context.Context) error {
		if s.running() {
			return fmt.Errorf("%s is still running", s.argv[0])
		}
		return nil
	})
}

// start starts the server again. endServers stops it.
func (s *server) start(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), s.argv[0], s.argv[1:]...)
	s.stderr = &testenv.Output{}
	cmd.Stderr = s.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process, s.exited = cmd.Process, make(chan struct{})
	exited := s.exited
	waiting.Go(func() {
		defer close(exited)
		_ = cmd.Wait() // it is killed in the end
	})
}

// endServers stops the servers that were started again.
func endServers() {
	for _, s := range servers {
		if s.exited != nil && s.running() {
			_ = s.process.Kill() // it may have ended
		}
	}
	waiting.Wait()
}

// backup takes a snapshot of etcd as `etcdctl snapshot save` does.
func backup(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.db")
	config := clientv3.Config{Endpoints: []string{env.ControlPlane.Etcd.URL.String()}, Logger: zap.NewNop()}
	if _, err := clientsnapshot.SaveWithVersion(t.Context(), zap.NewNop(), config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// restore stops the API server and etcd, restores a backup as `etcdutl snapshot
// restore` does, and starts both again. bump is its --bump-revision.
func restore(t *testing.T, path string, bump uint64) {
	t.Helper()
	dataDir := env.ControlPlane.Etcd.DataDir
	for program, argument := range map[string]string{"etcd": "--data-dir=" + dataDir, "kube-apiserver": "--cert-dir=" + env.ControlPlane.APIServer.CertDir} {
		if servers[program] != nil {
			continue
		}
		found, err := find(program, argument)
		if err != nil {
			t.Fatal(err)
		}
		servers[program] = found
	}
	servers["kube-apiserver"].stop(t)
	servers["etcd"].stop(t)
	if err := os.RemoveAll(filepath.Join(dataDir, "member")); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: path, Name: member, OutputDataDir: restored,
		PeerURLs: []string{peer}, InitialCluster: member + "=" + peer, InitialClusterToken: "restored",
		RevisionBump: bump, MarkCompacted: bump > 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(restored, "member"), filepath.Join(dataDir, "member")); err != nil {
		t.Fatal(err)
	}
	servers["etcd"].start(t)
	servers["kube-apiserver"].start(t)
	testenv.Eventually(t, func(ctx context.Context) error {
		for _, s := range servers {
			if !s.running() { // an API server that finds its caches too slow exits, and is started again as by a kubelet
				err := fmt.Errorf("%s has ended: %s", s.argv[0], s.stderr)
				s.start(t)
				return err
			}
		}
		return env.Clients.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}
