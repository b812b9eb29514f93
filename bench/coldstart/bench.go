package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

const (
	// The Pods are spread over this many namespaces, so that keys differ early.
	namespaces = 3
	// benchLabel marks the namespaces, and finds those of a run that was killed.
	benchLabel = "podinfolookup-bench"

	pollEvery   = 100 * time.Millisecond
	fillTimeout = 10 * time.Minute // the scheduler binds 30 to 50 Pods a second
	stepTimeout = 2 * time.Minute
	pageSize    = 500
)

// bench is one run.
type bench struct {
	o       *options
	kube    kubernetes.Interface
	testcrs dynamic.ResourceInterface
	rest    rest.Interface
	watch   *counter
	audit   string
	results *os.File
	records []record

	pods []*corev1.Pod
	want map[string]*unstructured.Unstructured // by name, what each Pod calls for
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w: make cluster", err)
	}
	config.QPS, config.UserAgent = -1, benchLabel
	typed := rest.CopyConfig(config)
	typed.ContentType = kruntime.ContentTypeProtobuf
	kube, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	b := &bench{
		o: o, kube: kube, rest: kube.CoreV1().RESTClient(),
		testcrs: client.Resource(podinfolookup.GroupVersionResource),
		audit:   filepath.Join(o.clusterDir, "logs", "audit.log"),
	}
	if err := podinfolookup.CheckCRD(ctx, discovery.ToDiscoveryInterfaceWithContext(kube.Discovery())); err != nil {
		return nil, err
	}
	if err := b.cleanup(ctx); err != nil { // what a killed run left
		return nil, err
	}
	version, err := b.alone(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.out, 0o750); err != nil { //nolint:gosec // G703: the folder is the caller's to choose
		return nil, err
	}
	if b.results, err = os.Create(filepath.Join(o.out, "coldstart.jsonl")); err != nil { //nolint:gosec // G703: as above
		return nil, err
	}
	b.watch, err = watchTestcrs(ctx, config, version)
	return b, err
}

func (b *bench) close() {
	b.watch.close()
	_ = b.results.Close() // each record was checked as it was written
}

// alone makes sure that the program will have this bench's Pods to do and
// nothing else. It returns the version at which there are no Testcrs.
func (b *bench) alone(ctx context.Context) (string, error) {
	pods, err := b.kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	if len(pods.Items) > 0 {
		return "", fmt.Errorf("the cluster has a Pod %s/%s: the bench needs one without Pods", pods.Items[0].Namespace, pods.Items[0].Name)
	}
	testcrs, err := b.testcrs.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	if len(testcrs.Items) > 0 {
		return "", fmt.Errorf("the cluster has a Testcr %s: the bench needs one without Testcrs", testcrs.Items[0].GetName())
	}
	return testcrs.GetResourceVersion(), nil
}

// fill makes the Pods and waits until each is Running with an IP.
func (b *bench) fill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	for i := range namespaces {
		if err := b.makeNamespace(ctx, namespace(i)); err != nil {
			return err
		}
	}
	note("making %d Pods", b.o.pods)
	err := parallel(b.o.creates, b.o.pods, func(i int) error {
		_, err := b.kube.CoreV1().Pods(namespace(i%namespaces)).Create(ctx, newPod(i), metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	note("waiting until they are Running")
	var running int
	err = wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		pods, err := b.listPods(ctx)
		running = len(pods)
		return running == b.o.pods, err
	})
	if err != nil {
		return fmt.Errorf("%d of %d Pods are Running with an IP (a node takes 110): %w", running, b.o.pods, err)
	}
	if b.pods, err = b.listPods(ctx); err != nil {
		return err
	}
	b.want = make(map[string]*unstructured.Unstructured, len(b.pods))
	for _, pod := range b.pods {
		t := podinfolookup.FromPod(pod)
		b.want[t.Name] = t.Encode()
	}
	if n := b.watch.events(); n > 0 {
		return fmt.Errorf("%d events of Testcrs before the start: another controller is running on this cluster", n)
	}
	return nil
}

func namespace(i int) string { return fmt.Sprintf("%s-%d", benchLabel, i) }

func (b *bench) makeNamespace(ctx context.Context, name string) error {
	_, err := b.kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{benchLabel: "true"}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		_, err := b.kube.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

func newPod(i int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%05d", i), Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}}},
	}
}

// listPods returns the Running Pods that have an IP.
func (b *bench) listPods(ctx context.Context) ([]*corev1.Pod, error) {
	var pods []*corev1.Pod
	for options := (metav1.ListOptions{Limit: pageSize, FieldSelector: "status.phase=Running"}); ; {
		page, err := b.kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range page.Items {
			if page.Items[i].Status.PodIP != "" {
				pods = append(pods, page.Items[i].DeepCopy()) // a pointer would hold the whole page
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return pods, nil
		}
	}
}

// cleanup removes all that a run made.
func (b *bench) cleanup(ctx context.Context) error {
	list, err := b.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: benchLabel})
	if err != nil {
		return err
	}
	for i := range list.Items {
		name := list.Items[i].Name
		err := errors.Join(
			b.kube.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}),
			b.testcrs.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: podinfolookup.LabelNamespace + "=" + name}),
			ignoreNotFound(b.kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})))
		if err != nil {
			return fmt.Errorf("cleanup: %w", err)
		}
	}
	return wait.PollUntilContextTimeout(ctx, pollEvery, stepTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := b.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: benchLabel})
		return err == nil && len(list.Items) == 0, err
	})
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// wipe deletes every Testcr and returns once the watch has told so.
func (b *bench) wipe(ctx context.Context) error {
	gone := b.watch.until(0)
	if err := b.testcrs.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := b.watch.wait(ctx, gone); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	runtime.GC() // so that none runs for this in the next measurement
	return nil
}

// parallel calls f for 0 to n-1 from some goroutines at once, until one fails.
func parallel(goroutines, n int, f func(int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		wg     sync.WaitGroup
	)
	for range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// add writes r down and tells of it.
func (b *bench) add(r record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := b.results.Write(append(line, '\n')); err != nil {
		return err
	}
	b.records = append(b.records, r)
	note("%s", line)
	return nil
}

func note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "coldstart: "+format+"\n", args...)
}
