package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/go-logr/logr"
	clientv3 "go.etcd.io/etcd/client/v3"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Namespaces is the number of namespaces of the Pods of Fill.
const Namespaces = 10

// Namespace returns the name of the i-th namespace.
func Namespace(i int) string { return fmt.Sprintf("%s-%d", UserAgent, i%Namespaces) }

// auditPolicy logs writes to Testcrs alone, as that of hack/cluster. More would
// cost more processor time than the writes themselves.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
  resources:
  - group: stable.example.com
    resources: [testcrs]
- level: None
`

// Server is an etcd and a kube-apiserver without controllers and kubelets, which
// would use the processors and change Pods. Dir contains logs/audit.log and
// pids/, like the folder of a local cluster.
type Server struct {
	*Cluster
	Dir        string
	Kubeconfig string // a file

	env  *envtest.Environment
	etcd *clientv3.Client
}

// StartServer starts the binaries in root/.cluster/bin, and creates the CRD and
// the namespaces.
func StartServer(ctx context.Context, root string) (s *Server, err error) {
	ctrllog.SetLogger(logr.Discard()) // of envtest
	s = &Server{}
	if s.Dir, err = os.MkdirTemp("", UserAgent); err != nil {
		return nil, err
	}
	started := s // a return of nil sets s before the function below runs
	defer func() {
		if err != nil {
			err = errors.Join(err, started.Stop())
		}
	}()
	for _, folder := range []string{"logs", "pids"} {
		if err := os.Mkdir(filepath.Join(s.Dir, folder), 0o750); err != nil {
			return nil, err
		}
	}
	if err := s.configure(root); err != nil {
		return nil, err
	}
	if _, err := s.env.Start(); err != nil {
		return nil, fmt.Errorf("cluster: %w: run make cluster-build", err)
	}
	s.Kubeconfig = filepath.Join(s.Dir, "kubeconfig")
	if err := os.WriteFile(s.Kubeconfig, s.env.KubeConfig, 0o600); err != nil {
		return nil, err
	}
	if err := s.writePids(); err != nil {
		return nil, err
	}
	if s.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{s.env.ControlPlane.Etcd.URL.String()}}); err != nil {
		return nil, err
	}
	if s.Cluster, err = Connect(ctx, s.Kubeconfig); err != nil {
		return nil, err
	}
	for i := range Namespaces {
		_, err := s.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace(i)}}, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) configure(root string) error {
	policy := filepath.Join(s.Dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	auditLog := filepath.Join(s.Dir, "logs", "audit.log")
	if err := os.WriteFile(auditLog, nil, 0o600); err != nil {
		return err
	}
	s.env = &envtest.Environment{
		BinaryAssetsDirectory: filepath.Join(root, ".cluster", "bin"),
		CRDInstallOptions: envtest.CRDInstallOptions{
			Paths: []string{filepath.Join(root, "yaml", "testcrd.yaml")}, ErrorIfPathMissing: true,
		},
	}
	server := s.env.ControlPlane.GetAPIServer()
	server.Configure().
		Set("audit-policy-file", policy).
		Set("audit-log-path", auditLog).
		Set("audit-log-mode", "blocking"). // a write is logged before its response is sent
		Set("audit-log-maxsize", "10000"). // MB, so that there is one file
		Set("service-cluster-ip-range", "10.96.0.0/16").
		Set("min-request-timeout", "7200") // so that no watch ends during a measurement
	etcd := &envtest.Etcd{DataDir: filepath.Join(s.Dir, "etcd")}
	s.env.ControlPlane.Etcd = etcd
	etcd.Configure().
		Set("unsafe-no-fsync", "false"). // envtest turns fsync off
		Set("quota-backend-bytes", strconv.Itoa(8<<30))
	return os.Mkdir(etcd.DataDir, 0o700)
}

// components are the processes of a Server.
var components = []string{"etcd", "kube-apiserver"}

// writePids finds the processes by their parent, because envtest does not return
// their IDs.
func (s *Server) writePids() error {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // G304: a file of the kernel
		if err != nil {
			continue // it has ended
		}
		head, tail, _ := strings.Cut(string(data), ") ")
		pid, name, _ := strings.Cut(head, " (")
		fields := strings.Fields(tail) // state ppid ...
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if slices.Contains(components, name) {
			if err := os.WriteFile(s.pidFile(name), []byte(pid), 0o600); err != nil { //nolint:gosec // G703: one of two names
				return err
			}
		}
	}
	for _, name := range components {
		if _, err := os.Stat(s.pidFile(name)); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
	}
	return nil
}

func (s *Server) pidFile(name string) string { return filepath.Join(s.Dir, "pids", name+".pid") }

// Halted runs f while both processes are stopped. f must take less than 30 s,
// after which clients close connections that do not respond.
func (s *Server) Halted(f func() error) error {
	for _, name := range components {
		text, err := os.ReadFile(s.pidFile(name))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(string(text))
		if err != nil {
			return err
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }() // it still exists, because it is stopped
	}
	return f()
}

// Stop ends both processes and deletes Dir.
func (s *Server) Stop() error {
	var errs []error
	if s.etcd != nil {
		errs = append(errs, s.etcd.Close())
	}
	if s.env != nil {
		errs = append(errs, s.env.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(s.Dir))...)
}
