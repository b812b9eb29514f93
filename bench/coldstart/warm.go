package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

func keyOf(pod *corev1.Pod) cache.ObjectName {
	return cache.NewObjectName(pod.Namespace, pod.Name)
}

// warm keeps the Testcrs of one more cold start, to measure their size and the
// restarts.
func (b *bench) warm(ctx context.Context) error {
	if err := b.cold(ctx, record{Measure: "cold start, kept"}, silent...); err != nil {
		return err
	}
	if err := b.sizes(ctx); err != nil {
		return err
	}
	for round := range b.o.restarts {
		if err := b.restart(ctx, round+1); err != nil {
			return fmt.Errorf("restart: %w", err)
		}
	}
	return b.wipe(ctx)
}

// sizes takes the mean size of the Testcrs as they are stored.
func (b *bench) sizes(ctx context.Context) error {
	all := record{Measure: "size", Pods: len(b.want), Bytes: map[string]float64{}}
	err := harness.EachTestcr(ctx, b.Testcrs, func(u *unstructured.Unstructured) error {
		bytes, err := harness.SizeOf(u)
		for what, n := range bytes {
			all.Bytes[what] += n / float64(len(b.want))
		}
		return err
	})
	if err != nil {
		return err
	}
	return b.Add(all)
}

// restart measures a start with every Testcr right. The queue is first in,
// first out: when the Testcr of a Pod that came after /readyz is there, all
// others were compared.
func (b *bench) restart(ctx context.Context, round int) (err error) {
	log, err := harness.AuditFrom(b.o.clusterDir)
	if err != nil {
		return err
	}
	p, err := b.start(silent...)
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			_ = p.Stop() // err is the earlier cause
		}
	}()
	_, ready, err := p.Ready(ctx)
	if err != nil {
		return err
	}
	last, err := b.deployment(ctx)
	if err != nil {
		return err
	}
	r := record{Measure: "restart", Round: round, Pods: len(b.want), ReadySeconds: ready.Seconds()}
	if r.RSSKiB, r.PeakRSSKiB, err = p.Memory(); err != nil {
		return err
	}
	stopped = true
	if err := p.Stop(); err != nil {
		return err
	}
	own, err := log.Writes(harness.Any)
	if err != nil {
		return err
	}
	if r.Writes, err = log.Writes(func(name string) bool { return name != last }); err != nil {
		return err
	}
	if own["create"] == 0 {
		return fmt.Errorf("the audit log has no write of podinfolookup, not even of the Pod that came last")
	}
	if len(r.Writes) > 0 {
		return fmt.Errorf("writes to Testcrs that were right: %v", r.Writes)
	}
	r.Writes = map[string]int{"all": 0}
	return b.Add(r)
}

// deployment makes a Deployment of one Pod with a container ID, measures its
// Testcr, deletes both, and returns the Testcr's name.
func (b *bench) deployment(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	labels := map[string]string{"app": "nginx"}
	pods, deployments := b.Kube.CoreV1().Pods(namespace(0)), b.Kube.AppsV1().Deployments(namespace(0))
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: newPod(0).Spec}
	_, err := deployments.Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "nginx"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	var pod *corev1.Pod
	err = poll(ctx, func(ctx context.Context) (bool, error) {
		list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "app=nginx", FieldSelector: "status.phase=Running"})
		if err != nil || len(list.Items) == 0 || len(list.Items[0].Status.ContainerStatuses) == 0 {
			return false, err
		}
		pod = &list.Items[0]
		return true, nil
	})
	if err != nil {
		return "", fmt.Errorf("deployment: %w", err)
	}
	patch := `[{"op":"add","path":"/status/containerStatuses/0/containerID","value":"containerd://` + strings.Repeat("4f5c", 16) + `"}]`
	if _, err := pods.Patch(ctx, pod.Name, types.JSONPatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		return "", err
	}
	name := podinfolookup.NameFor(keyOf(pod))
	err = poll(ctx, func(ctx context.Context) (bool, error) {
		t, err := b.Testcrs.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, ignoreNotFound(err)
		}
		data, err := json.Marshal(t.Object["spec"])
		if err != nil || !strings.Contains(string(data), "containerd://") {
			return false, err
		}
		bytes, err := harness.SizeOf(t)
		if err != nil {
			return false, err
		}
		return true, b.Add(record{Measure: "size, Deployment", Pods: 1, Bytes: bytes})
	})
	if err != nil {
		return "", fmt.Errorf("deployment: %w", err)
	}
	foreground := metav1.DeletePropagationForeground
	if err := deployments.Delete(ctx, "nginx", metav1.DeleteOptions{PropagationPolicy: &foreground}); err != nil {
		return "", err
	}
	return name, poll(ctx, func(ctx context.Context) (bool, error) {
		_, err := b.Testcrs.Get(ctx, name, metav1.GetOptions{})
		return err != nil, ignoreNotFound(err)
	})
}

func poll(ctx context.Context, condition wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, pollEvery, time.Minute, true, condition)
}
