package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	// The Pods are spread over this many namespaces, so that keys differ early.
	namespaces = 3
	// benchLabel marks the namespaces, and finds those of a run that was killed.
	benchLabel = harness.UserAgent

	pollEvery   = 100 * time.Millisecond
	fillTimeout = 10 * time.Minute // the scheduler binds 30 to 50 Pods a second
	stepTimeout = 2 * time.Minute
)

// bench is one run.
type bench struct {
	*harness.Cluster
	*harness.Records[record]
	o     *options
	watch *harness.Counter

	pods []*corev1.Pod
	want map[string]*unstructured.Unstructured // by name, what each Pod calls for
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	cluster, err := harness.Connect(ctx, o.kubeconfig)
	if err != nil {
		return nil, err
	}
	b := &bench{Cluster: cluster, o: o}
	if err := b.cleanup(ctx); err != nil { // what a killed run left
		return nil, err
	}
	version, err := b.Alone(ctx)
	if err != nil {
		return nil, err
	}
	if b.Records, err = harness.NewRecords[record](o.out, "coldstart"); err != nil {
		return nil, err
	}
	b.watch, err = b.Count(ctx, version, stepTimeout, b.Note)
	return b, err
}

func (b *bench) close() {
	b.watch.Close()
	b.Close()
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
	b.Note("making %d Pods", b.o.pods)
	err := harness.Parallel(b.o.creates, b.o.pods, func(i int) error {
		_, err := b.Kube.CoreV1().Pods(namespace(i%namespaces)).Create(ctx, newPod(i), metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	b.Note("waiting until they are Running")
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
	if n := b.watch.Events(); n > 0 {
		return fmt.Errorf("%d events of Testcrs before the start: another controller is running on this cluster", n)
	}
	return nil
}

func namespace(i int) string { return fmt.Sprintf("%s-%d", benchLabel, i) }

func (b *bench) makeNamespace(ctx context.Context, name string) error {
	_, err := b.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{benchLabel: "true"}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		_, err := b.Kube.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
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
	for options := (metav1.ListOptions{Limit: harness.PageSize, FieldSelector: "status.phase=Running"}); ; {
		page, err := b.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, options)
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
	list, err := b.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: benchLabel})
	if err != nil {
		return err
	}
	for i := range list.Items {
		name := list.Items[i].Name
		err := errors.Join(
			b.Kube.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}),
			b.Testcrs.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: podinfolookup.LabelNamespace + "=" + name}),
			ignoreNotFound(b.Kube.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})))
		if err != nil {
			return fmt.Errorf("cleanup: %w", err)
		}
	}
	return wait.PollUntilContextTimeout(ctx, pollEvery, stepTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := b.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: benchLabel})
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
	gone := b.watch.Until(0)
	if err := b.Testcrs.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := b.watch.Wait(ctx, gone); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	runtime.GC() // so that none runs for this in the next measurement
	return nil
}
