// Package testenv runs a real etcd and kube-apiserver for one test package, from
// the binaries that `make cluster-build` leaves in .cluster/bin.
package testenv

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Poll is how often a condition is looked at, and Patience how long it may take
// on a loaded machine: a test that waits longer has failed.
const (
	Poll     = 50 * time.Millisecond
	Patience = 30 * time.Second

	// crdTries is how often DeleteCRD reminds the API server, within Patience.
	crdTries = 10
)

// Account is the user name of the service account in yaml/.
const Account = "system:serviceaccount:" + namespace + ":" + account

const (
	namespace, account = "podinfolookup", "podinfolookup"

	// editors is the group that yaml/admission.yaml lets write Testcrs.
	editors = "podinfolookup:editors"
)

// manifests are the rights of the program under test, and who may write Testcrs.
// They are applied as they are, so that every test is one of them, too.
var manifests = []string{"rbac.yaml", "rbac-lookup.yaml", "rbac-leader.yaml", "admission.yaml"}

// Env is one API server with its etcd, and two who talk to it: the program under
// test, with the service account of yaml/ and nothing but its rights, and the
// test itself, which may do everything, write Testcrs included.
type Env struct {
	*envtest.Environment
	Config     *rest.Config // the program's
	Kubeconfig string       // a file, the program's

	AdminConfig     *rest.Config // the test's
	AdminKubeconfig string       // a file, the test's
	Clients         kubernetes.Interface
	Dynamic         dynamic.Interface
	Extensions      apiextensions.Interface
	Minor           uint // the minor version of the API server

	Dir string // a temporary folder, gone with the Env

	// AtEnd, if set, is called after the last test and before the servers are stopped.
	AtEnd func()

	users sync.Mutex // envtest adds one user at a time
}

// Root is the checkout.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Main runs a package's tests between the start and the stop of its Env, which
// set hands to them. Afterwards nothing of what they have started may run.
func Main(m *testing.M, set func(*Env)) {
	env, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		os.Exit(1)
	}
	set(env)
	envtests := goleak.IgnoreCurrent() // it leaves some behind where a start was too slow
	code := m.Run()
	if env.AtEnd != nil {
		env.AtEnd()
	}
	if err := errors.Join(env.Stop(), os.RemoveAll(env.Dir)); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		code = max(code, 1)
	}
	if code == 0 { // a test that fails may leave something behind
		if err := leaks(envtests); err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Parallel sets how many parallel tests of a package run at a time. Those that wait
// most of the time, for a backoff or for the end of a token, need no core each.
func Parallel(n int) {
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err) // not in a test
	}
}

// leaks returns the goroutines that do not end, as an error.
func leaks(ignored goleak.Option) (err error) {
	for begun := time.Now(); time.Since(begun) < Patience; {
		if err = goleak.Find(ignored); err == nil { // waits for a second
			return nil
		}
	}
	return err
}

func start() (*Env, error) {
	dir, err := os.MkdirTemp("", "podinfolookup-test")
	if err != nil {
		return nil, err
	}
	e := &Env{Dir: dir, Environment: &envtest.Environment{BinaryAssetsDirectory: filepath.Join(Root(), ".cluster", "bin")}}
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	stderr := &Output{} // a start that is too slow is tried again beside the first
	server := e.ControlPlane.GetAPIServer()
	server.Err = stderr
	server.Configure().
		Set("audit-policy-file", policy).
		Set("audit-log-path", e.auditLog()).
		Set("audit-log-mode", "blocking"). // a line is there when the request is answered
		Set("service-cluster-ip-range", "10.96.0.0/16,fd00:96::/108").
		// Of the pooled watches only those that tests cut end early.
		Set("min-request-timeout", "600")
	if _, err = e.Start(); err == nil {
		err = e.equip(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, errors.New(stderr.String()), e.Stop(), os.RemoveAll(dir))
	}
	return e, nil
}

// CRD reads yaml/testcrd.yaml.
func CRD() (*apiextensionsv1.CustomResourceDefinition, error) {
	data, err := os.ReadFile(filepath.Join(Root(), "yaml", "testcrd.yaml"))
	if err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	return crd, yaml.UnmarshalStrict(data, crd)
}

// ApplyCRD creates the CRD and returns once it is established.
func (e *Env) ApplyCRD(ctx context.Context) error {
	crd, err := CRD()
	if err != nil {
		return err
	}
	crds := e.Extensions.ApiextensionsV1().CustomResourceDefinitions()
	if _, err := crds.Create(ctx, crd, metav1.CreateOptions{}); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, Poll, Patience, true, func(ctx context.Context) (bool, error) {
		crd, err := crds.Get(ctx, crd.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensionsv1.Established {
				return c.Status == apiextensionsv1.ConditionTrue, nil
			}
		}
		return false, nil
	})
}

// DeleteCRD deletes the CRD with all Testcrs and returns once it is gone. It is
// served first: the API server cannot remove what it has not begun to keep
// ("storage is (re)initializing"), and then looks again more and more seldom, at
// last after minutes, unless the CRD changes.
func (e *Env) DeleteCRD(ctx context.Context) error {
	crds := e.Extensions.ApiextensionsV1().CustomResourceDefinitions()
	name := v1.GroupVersionResource.GroupResource().String()
	crd, err := crds.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	served := v1.GroupVersionResource.GroupResource().WithVersion(crd.Spec.Versions[0].Name)
	err = wait.PollUntilContextTimeout(ctx, Poll, Patience, true, func(ctx context.Context) (bool, error) {
		_, err := e.Dynamic.Resource(served).List(ctx, metav1.ListOptions{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s is not served: %w", served, err)
	}
	if err := crds.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := wait.PollUntilContextTimeout(ctx, Poll, Patience/crdTries, true, func(ctx context.Context) (bool, error) {
			crd, err = crds.Get(ctx, name, metav1.GetOptions{})
			return apierrors.IsNotFound(err), nil
		})
		if err == nil {
			return nil
		}
		if try == crdTries {
			return fmt.Errorf("the CRD is still there: %w: %+v", err, crd.Status.Conditions)
		}
		change := fmt.Appendf(nil, `{"metadata":{"annotations":{"try":"%d"}}}`, try)
		if _, err := crds.Patch(ctx, name, types.MergePatchType, change, metav1.PatchOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
}

// Namespace creates a namespace of the test's own, with the service account
// that Pods ask for.
func (e *Env) Namespace(t testing.TB, name string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if name == "" {
		ns.GenerateName = "test-"
	}
	ns, err := e.Clients.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := e.Clients.CoreV1().ServiceAccounts(ns.Name).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// Eventually waits until condition returns nil.
func Eventually(t testing.TB, condition func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), Poll, Patience, true, func(ctx context.Context) (bool, error) {
		last = condition(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("not within %s: %v", Patience, last)
	}
}
