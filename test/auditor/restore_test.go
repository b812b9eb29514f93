package auditor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/weiyuanke/PodInfoLookup/test/auditor"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// ownEnv is an API server whose etcd can be put back to an older state. The
// helpers of this package use it until the test ends.
func ownEnv(t *testing.T) *testenv.Env {
	t.Helper()
	dir := t.TempDir()
	own := &testenv.Env{Environment: &envtest.Environment{BinaryAssetsDirectory: filepath.Join(testenv.Root(), ".cluster", "bin")}}
	own.ControlPlane.GetAPIServer().CertDir = filepath.Join(dir, "certs") // one of envtest's own would go with a stop
	own.ControlPlane.Etcd = &envtest.Etcd{DataDir: filepath.Join(dir, "data")}
	for _, folder := range []string{own.ControlPlane.APIServer.CertDir, own.ControlPlane.Etcd.DataDir} {
		must(t, os.Mkdir(folder, 0o700))
	}
	config, err := own.Start()
	t.Cleanup(func() { must(t, own.Stop()) })
	must(t, err)
	own.AdminConfig = config
	own.Clients, own.Dynamic = kubernetes.NewForConfigOrDie(config), dynamic.NewForConfigOrDie(config)
	own.Extensions = apiextensions.NewForConfigOrDie(config)
	must(t, own.ApplyCRD(t.Context()))
	packages := env
	env = own
	t.Cleanup(func() { env = packages })
	return own
}

// restart stops the API server and etcd, runs f, and starts both again.
func restart(t *testing.T, own *testenv.Env, f func()) {
	t.Helper()
	must(t, own.ControlPlane.APIServer.Stop())
	must(t, own.ControlPlane.Etcd.Stop())
	f()
	must(t, own.ControlPlane.Etcd.Start())
	must(t, own.ControlPlane.APIServer.Start())
}

func newestVersion(t *testing.T) uint64 {
	t.Helper()
	list, err := env.Clients.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{Limit: 1})
	must(t, err)
	version, err := strconv.ParseUint(list.ResourceVersion, 10, 64)
	must(t, err)
	return version
}

// TestAuditor_FindsPlantedBugsAfterARestore takes the versions of a real etcd back.
func TestAuditor_FindsPlantedBugsAfterARestore(t *testing.T) {
	own := ownEnv(t)
	data, backup := own.ControlPlane.Etcd.DataDir, filepath.Join(t.TempDir(), "backup")
	namespace := own.Namespace(t, "")
	a := watch(t)
	pod := create(t, namespace, "kept")
	put(t, pod)
	settled(t, a)
	restart(t, own, func() { must(t, os.CopyFS(backup, os.DirFS(data))) })

	put(t, create(t, namespace, "lost"))
	put(t, run(t, pod, "10.0.0.1"))
	must(t, a.AtRest(t.Context(), testenv.Patience))
	lost := newestVersion(t)
	restart(t, own, func() {
		a.Restored()
		must(t, errors.Join(os.RemoveAll(data), os.Rename(backup, data)))
	})
	if restored := newestVersion(t); restored >= lost {
		t.Fatalf("version %d after the restore, %d before: it did not go back", restored, lost)
	}
	testenv.Eventually(t, func(context.Context) error { return a.Synced() })
	settled(t, a)

	running := run(t, pod, "10.0.0.2") // by the book
	put(t, running)
	must(t, a.AtRest(t.Context(), testenv.Patience))
	report := a.Report()
	if report.Found > 0 || len(report.Epochs) != 1 || report.Epochs[0].Pods < lost-1 || report.Epochs[0].Unjudged > 0 {
		t.Fatalf("before the bugs: %s", report.Markdown())
	}

	write(t, forged(pod, "podip", "10.0.0.1")) // which it had in the epoch before
	put(t, running)
	put(t, pod)
	put(t, running)
	drop(t, pod)
	put(t, running)
	must(t, a.AtRest(t.Context(), testenv.Patience))
	report = a.Report()
	for _, kind := range []auditor.Kind{auditor.NeverHadIP, auditor.WentBack, auditor.DeletedLive} {
		if !slices.ContainsFunc(report.Findings, func(f auditor.Finding) bool { return f.Kind == kind && f.Epoch == 1 }) {
			t.Errorf("not found after restore 1: %s", kind)
		}
	}
	if report.Found != 3 {
		t.Error(report.Markdown())
	}
}
