package lookup

import (
	"context"
	"fmt"
	"maps"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	v1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// lives counts the writes that the life of one Pod causes.
func (b *bench) lives(ctx context.Context) error {
	for _, v := range b.versions() {
		if err := b.life(ctx, v); err != nil {
			return fmt.Errorf("life of a Pod%s: %w", v.suffix, err)
		}
	}
	return nil
}

func (b *bench) life(ctx context.Context, v version) (err error) {
	log, err := harness.AuditFrom(b.o.clusterDir)
	if err != nil {
		return err
	}
	p, err := b.o.Start(v.binary, b.o.kubeconfig)
	if err != nil {
		return err
	}
	stop := p.Stop
	defer func() { _ = stop() }() // err is the cause
	if _, _, err := p.Ready(ctx); err != nil {
		return err
	}
	pods := b.Kube.CoreV1().Pods(namespace(0))
	for _, step := range lifeSteps {
		pod, err := step(ctx, pods)
		if err != nil {
			return err
		}
		if err := b.waitForTestcr(ctx, pod); err != nil {
			return err
		}
	}
	r := record{Measure: life + v.suffix}
	if r.Memory, err = p.Memory(); err != nil {
		return err
	}
	stop = func() error { return nil }
	if err := p.Stop(); err != nil {
		return err
	}
	if r.Writes, err = log.Writes(harness.AgentOf(harness.PodInfoLookup)); err != nil {
		return err
	}
	if want := map[string]int{"create": 1, "update": 4, "delete": 1}; v.suffix == "" && !maps.Equal(r.Writes, want) {
		return fmt.Errorf("writes %v, want %v: one for each change of the Pod", r.Writes, want)
	}
	return b.Add(r)
}

const lifeName = "life"

// lifeSteps are the changes in the life of a Pod, from its creation to its end.
// Each returns the changed Pod, or nil once it is gone.
var lifeSteps = []func(context.Context, v1.PodInterface) (*corev1.Pod, error){
	func(ctx context.Context, pods v1.PodInterface) (*corev1.Pod, error) {
		pod := newPod(1)
		pod.Name, pod.Spec.NodeName = lifeName, ""
		return pods.Create(ctx, pod, metav1.CreateOptions{})
	},
	func(ctx context.Context, pods v1.PodInterface) (*corev1.Pod, error) {
		err := pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: lifeName}, Target: corev1.ObjectReference{Kind: "Node", Name: "node"},
		}, metav1.CreateOptions{})
		if err != nil {
			return nil, err
		}
		return pods.Get(ctx, lifeName, metav1.GetOptions{})
	},
	func(ctx context.Context, pods v1.PodInterface) (*corev1.Pod, error) {
		return setContainer(ctx, pods, "first")
	},
	func(ctx context.Context, pods v1.PodInterface) (*corev1.Pod, error) {
		return setContainer(ctx, pods, "restarted")
	},
	func(ctx context.Context, pods v1.PodInterface) (*corev1.Pod, error) {
		if err := pods.Delete(ctx, lifeName, metav1.DeleteOptions{}); err != nil {
			return nil, err
		}
		return pods.Get(ctx, lifeName, metav1.GetOptions{}) // it terminates for 30 s
	},
	func(ctx context.Context, pods v1.PodInterface) (*corev1.Pod, error) {
		return nil, pods.Delete(ctx, lifeName, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	},
}

func setContainer(ctx context.Context, pods v1.PodInterface, id string) (*corev1.Pod, error) {
	pod, err := pods.Get(ctx, lifeName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	pod.Status = runningStatus(1)
	pod.Status.ContainerStatuses[0].ContainerID = containerID(id)
	return pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
}

// waitForTestcr waits until the Testcr of pod is up to date, or, if pod is nil,
// until it is deleted.
func (b *bench) waitForTestcr(ctx context.Context, pod *corev1.Pod) error {
	want := harness.TestcrOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace(0), Name: lifeName}})
	if pod != nil {
		want = harness.TestcrOf(pod)
	}
	err := wait.PollUntilContextTimeout(ctx, pollInterval, stepTimeout, true, func(ctx context.Context) (bool, error) {
		t, err := b.Testcrs.Get(ctx, want.GetName(), metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return pod == nil, nil
		case err != nil:
			return false, err
		default:
			return pod != nil && reflect.DeepEqual(t.Object["spec"], want.Object["spec"]), nil
		}
	})
	if err != nil {
		return fmt.Errorf("the Testcr %s: %w", want.GetName(), err)
	}
	return nil
}
