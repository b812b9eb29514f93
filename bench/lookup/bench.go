package lookup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	namespaces   = 3
	creates      = 20 // concurrent
	pollInterval = 100 * time.Millisecond
	stepTimeout  = 15 * time.Minute // enough on a busy machine

	// Every fourth Pod has no owner and no container ID. The others belong to a
	// Deployment.
	bareInterval = 4

	// Values of record.Measure, besides ways, commands and sizes.
	life         = "life"
	coldStart    = "cold start"
	afterLookups = "after the lookups"
	restart      = "restart"
)

// bench is one run.
type bench struct {
	*harness.Cluster
	*harness.Records[record]
	o    *options
	pods []*corev1.Pod
	took map[way][]time.Duration // latencies of all rounds
}

// record is one line of lookup.jsonl.
type record struct {
	Measure string `json:"measure"`
	Round   int    `json:"round,omitempty"`
	Pods    int    `json:"pods,omitempty"`
	Clients int    `json:"clients,omitempty"`

	Seconds float64     `json:"seconds,omitempty"`
	CPU     harness.CPU `json:"cpuSeconds,omitempty"`
	harness.Load
	harness.Memory

	Writes map[string]int     `json:"writes,omitempty"` // of the program, by verb, from the audit log
	Bytes  map[string]float64 `json:"bytes,omitempty"`
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	// A controller manager would delete the Pods, because their nodes do not exist.
	if _, err := os.Stat(filepath.Join(o.clusterDir, "pids", "kube-controller-manager.pid")); err == nil {
		return nil, fmt.Errorf("the cluster in %s has a controller manager: use hack/bench.sh lookup", o.clusterDir)
	}
	// Fail now, not after ten minutes.
	for _, program := range []string{o.Binary, o.before, o.kubectl, o.plugin, o.timed} {
		if program == "" {
			continue
		}
		if _, err := exec.LookPath(program); err != nil {
			return nil, err
		}
	}
	cluster, err := harness.Connect(ctx, o.kubeconfig)
	if err != nil {
		return nil, err
	}
	if _, _, err := cluster.CheckEmpty(ctx); err != nil {
		return nil, err
	}
	records, err := harness.NewRecords[record](o.Out, "lookup")
	if err != nil {
		return nil, err
	}
	b := &bench{Cluster: cluster, Records: records, o: o, took: map[way][]time.Duration{}}
	for i := range namespaces {
		if err := b.createNamespace(ctx, namespace(i)); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func namespace(i int) string { return fmt.Sprintf("%s-%d", harness.UserAgent, i) }

// createNamespace also creates the ServiceAccount that Pods need, because there
// is no controller to do it.
func (b *bench) createNamespace(ctx context.Context, name string) error {
	_, err := b.Kube.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = b.Kube.CoreV1().ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
	return err
}

// fill creates the Pods, bound and Running. Simulated kubelets for 20,000 Pods
// would use most of the processors.
func (b *bench) fill(ctx context.Context) error {
	b.Note("creating %d Pods", b.o.pods)
	b.pods = make([]*corev1.Pod, b.o.pods)
	err := harness.Parallel(creates, b.o.pods, func(i int) error {
		pods := b.Kube.CoreV1().Pods(namespace(i % namespaces))
		pod, err := pods.Create(ctx, newPod(i), metav1.CreateOptions{})
		if err != nil {
			return err
		}
		pod.Status = runningStatus(i)
		b.pods[i], err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	return nil
}

func newPod(i int) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%05d", i), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			NodeName:   fmt.Sprintf("node-%06d", i/harness.PodsOfNode),
			Containers: []corev1.Container{{Name: "nginx", Image: "nginx:1.29"}},
		},
	}
	if i%bareInterval > 0 {
		const hash = "6bf4d7c9b8"
		pod.Name = fmt.Sprintf("nginx-%s-%05d", hash, i)
		pod.Labels = map[string]string{"app": "nginx", "pod-template-hash": hash}
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "nginx-" + hash,
			UID: types.UID("00000000-0000-4000-8000-000000000000"), Controller: &yes, BlockOwnerDeletion: &yes,
		}}
	}
	return pod
}

func runningStatus(i int) corev1.PodStatus {
	ip := fmt.Sprintf("10.128.%d.%d", i>>8, i&255)
	ip6 := fmt.Sprintf("fd00::1:%x", i)
	status := corev1.PodStatus{
		Phase: corev1.PodRunning, StartTime: new(metav1.Now()),
		PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}, {IP: ip6}}, HostIP: fmt.Sprintf("10.0.0.%d", i/harness.PodsOfNode%254+1),
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if i%bareInterval > 0 {
		status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "nginx", Image: "nginx:1.29", Ready: true, ContainerID: containerID(fmt.Sprint(i)),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		}}
	}
	return status
}

func containerID(of string) string {
	sum := sha256.Sum256([]byte(of))
	return "containerd://" + hex.EncodeToString(sum[:])
}

// measure runs the program until every Pod has its Testcr, and then lookups.
func (b *bench) measure(ctx context.Context) (err error) {
	log, err := harness.AuditFrom(b.o.clusterDir)
	if err != nil {
		return err
	}
	p, err := b.o.Start(b.o.Binary, b.o.kubeconfig)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := p.Stop(); err == nil {
			err = stopped
		}
	}()
	url, _, err := p.Ready(ctx)
	if err != nil {
		return err
	}
	if err := b.complete(ctx, url); err != nil {
		return err
	}
	if err := b.written(ctx); err != nil {
		return err
	}
	r := record{Measure: coldStart, Pods: len(b.pods), Seconds: time.Since(p.Started).Seconds()}
	if r.Memory, err = p.Memory(); err != nil {
		return err
	}
	want := make(map[string]*unstructured.Unstructured, len(b.pods))
	for _, pod := range b.pods {
		u := harness.TestcrOf(pod)
		want[u.GetName()] = u
	}
	if err := harness.Verify(ctx, b.Testcrs, want); err != nil {
		return err
	}
	if r.Writes, err = log.Writes(harness.AgentOf(harness.PodInfoLookup)); err != nil {
		return err
	}
	if len(r.Writes) != 1 || r.Writes["create"] != len(b.pods) {
		return fmt.Errorf("writes of a cold start: %v, want %d creates", r.Writes, len(b.pods))
	}
	if err := b.Add(r); err != nil {
		return err
	}
	return b.rounds(ctx, p, url)
}

// complete waits until the index of the program contains every Pod.
func (b *bench) complete(ctx context.Context, url string) error {
	var view struct {
		Pods    int `json:"pods"`
		Testcrs int `json:"testcrs"` // of versions before pods
	}
	err := wait.PollUntilContextTimeout(ctx, pollInterval, stepTimeout, true, func(ctx context.Context) (bool, error) {
		err := harness.GetJSON(ctx, http.DefaultClient, url+"/v1/pods?limit=1", &view)
		return max(view.Pods, view.Testcrs) == len(b.pods), err
	})
	if err != nil {
		return fmt.Errorf("the index has %d Pods, want %d: %w", max(view.Pods, view.Testcrs), len(b.pods), err)
	}
	return nil
}

// written waits until every Pod has its Testcr.
func (b *bench) written(ctx context.Context) error {
	var stored int64
	err := wait.PollUntilContextTimeout(ctx, pollInterval, stepTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := b.Testcrs.List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return false, err
		}
		stored = int64(len(list.Items))
		if rest := list.GetRemainingItemCount(); rest != nil {
			stored += *rest
		}
		return stored == int64(len(b.pods)), nil
	})
	if err != nil {
		return fmt.Errorf("there are %d Testcrs, want %d: %w", stored, len(b.pods), err)
	}
	return nil
}

// memory measures restarts with every Testcr up to date, of the versions in turns.
func (b *bench) memory(ctx context.Context) error {
	for round := range b.o.restarts {
		for _, version := range b.versions() {
			if err := b.restart(ctx, version, round+1); err != nil {
				return fmt.Errorf("restart: %w", err)
			}
		}
	}
	return nil
}

// version is a podinfolookup, with a suffix for record.Measure.
type version struct{ suffix, binary string }

func (b *bench) versions() []version {
	versions := []version{{"", b.o.Binary}}
	if b.o.before != "" {
		versions = append(versions, version{", before", b.o.before})
	}
	return versions
}

func (b *bench) restart(ctx context.Context, v version, round int) (err error) {
	p, err := b.o.Start(v.binary, b.o.kubeconfig)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := p.Stop(); err == nil {
			err = stopped
		}
	}()
	_, ready, err := p.Ready(ctx)
	if err != nil {
		return err
	}
	r := record{Measure: restart + v.suffix, Round: round, Pods: len(b.pods), Seconds: ready.Seconds()}
	if r.Memory, err = p.Memory(); err != nil {
		return err
	}
	return b.Add(r)
}
