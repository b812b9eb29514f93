package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// The ways to find a Pod by its IP. "any" is resourceVersion=0, an answer from
// the API server's cache; without it the server first makes sure that its cache
// is as new as etcd, as for kubectl.
const (
	overHTTP     = "HTTP lookup"
	podField     = "Pods, status.podIP"
	podFieldAny  = "Pods, status.podIP, resourceVersion=0"
	testcrField  = "Testcrs, spec.podip"
	testcrAny    = "Testcrs, spec.podip, resourceVersion=0"
	testcrLabel  = "Testcrs, IP label"
	testcrLblAny = "Testcrs, IP label, resourceVersion=0"
)

var ways = []string{overHTTP, podField, podFieldAny, testcrField, testcrAny, testcrLabel, testcrLblAny}

// way is a way to find a Pod, and how many ask at once.
type way struct {
	name    string
	clients int
}

// asker finds pod by its IP, and fails on any other answer than that Pod.
type asker func(ctx context.Context, pod *corev1.Pod) error

func (b *bench) askers(address string) map[string]asker {
	return map[string]asker{
		overHTTP: askHTTP(address),
		podField: b.askPods(""), podFieldAny: b.askPods("0"),
		testcrField: b.askTestcrs("", byField), testcrAny: b.askTestcrs("0", byField),
		testcrLabel: b.askTestcrs("", byLabel), testcrLblAny: b.askTestcrs("0", byLabel),
	}
}

func askHTTP(address string) asker {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}} // else only two are kept
	return func(ctx context.Context, pod *corev1.Pod) error {
		var answer struct {
			Total int                        `json:"total"`
			Items []podinfolookup.TestcrSpec `json:"items"`
		}
		ip := pod.Status.PodIP
		if err := getJSON(ctx, client, "http://"+address+"/v1/pods?ip="+ip, &answer); err != nil {
			return err
		}
		if answer.Total != 1 || len(answer.Items) != 1 {
			return fmt.Errorf("%s: %d Pods", ip, answer.Total)
		}
		return checkSpec(pod, &answer.Items[0])
	}
}

func checkSpec(pod *corev1.Pod, spec *podinfolookup.TestcrSpec) error {
	return check(pod, spec.PodKey, spec.PodUID, spec.PodIP)
}

func check(pod *corev1.Pod, key, uid, ip string) error {
	if key != keyOf(pod) || uid != string(pod.UID) || ip != pod.Status.PodIP {
		return fmt.Errorf("asked for %s, the IP of Pod %s (%s): got %s, the IP of Pod %s (%s)", pod.Status.PodIP, keyOf(pod), pod.UID, ip, key, uid)
	}
	return nil
}

func keyOf(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

func (b *bench) askPods(resourceVersion string) asker {
	return func(ctx context.Context, pod *corev1.Pod) error {
		list, err := b.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
			FieldSelector: "status.podIP=" + pod.Status.PodIP, ResourceVersion: resourceVersion,
		})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("%s: %d Pods", pod.Status.PodIP, len(list.Items))
		}
		got := &list.Items[0]
		return check(pod, keyOf(got), string(got.UID), got.Status.PodIP)
	}
}

func byField(ip string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "spec.podip=" + ip}
}

func byLabel(ip string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: podinfolookup.LabelIP(netip.MustParseAddr(ip))}
}

func (b *bench) askTestcrs(resourceVersion string, by func(ip string) metav1.ListOptions) asker {
	return func(ctx context.Context, pod *corev1.Pod) error {
		options := by(pod.Status.PodIP)
		options.ResourceVersion = resourceVersion
		list, err := b.Testcrs.List(ctx, options)
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("%s: %d Testcrs", pod.Status.PodIP, len(list.Items))
		}
		obj, err := podinfolookup.DecodeTestcr(&list.Items[0])
		if err != nil {
			return err
		}
		t, ok := obj.(*podinfolookup.Testcr)
		if !ok {
			return fmt.Errorf("%s: %T", pod.Status.PodIP, obj)
		}
		return checkSpec(pod, &t.Spec)
	}
}

// rounds measures every way in turns; each round begins with another one.
func (b *bench) rounds(ctx context.Context, p *harness.Process, address string) error {
	askers := b.askers(address)
	var all []way
	for _, clients := range b.o.clients {
		for _, name := range ways {
			all = append(all, way{name, clients})
		}
	}
	for _, w := range all { // opens connections, and warms what is kept behind them
		if _, _, err := b.load(ctx, askers[w.name], w.clients, b.o.duration/10); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	for round := range b.o.rounds {
		for i := range all {
			w := all[(i+round*len(all)/b.o.rounds)%len(all)]
			if err := b.round(ctx, p, w, askers[w.name], round+1); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	r := record{Measure: "after the lookups", Pods: len(b.pods)}
	var err error
	if r.RSSKiB, r.PeakRSSKiB, err = p.Memory(); err != nil {
		return err
	}
	return b.Add(r)
}

func (b *bench) round(ctx context.Context, p *harness.Process, w way, ask asker, round int) error {
	if err := harness.Quiet(ctx, b.o.clusterDir, p, b.o.patience); err != nil {
		return err
	}
	before, err := harness.CPUNow(b.o.clusterDir, p)
	if err != nil {
		return err
	}
	took, elapsed, err := b.load(ctx, ask, w.clients, b.o.duration)
	if err != nil {
		return err
	}
	after, err := harness.CPUNow(b.o.clusterDir, p)
	if err != nil {
		return err
	}
	b.took[w] = append(b.took[w], took...)
	slices.Sort(took)
	return b.Add(record{
		Measure: w.name, Round: round, Pods: len(b.pods), Clients: w.clients, Requests: len(took), Seconds: elapsed.Seconds(),
		PerSecond: float64(len(took)) / elapsed.Seconds(), P50Ms: harness.Quantile(took, 0.5), P99Ms: harness.Quantile(took, 0.99), CPU: after.Since(before),
	})
}

// load has clients ask for random Pods, each again once it has its answer, and
// returns how long each answer took and all of them together.
func (b *bench) load(ctx context.Context, ask asker, clients int, duration time.Duration) ([]time.Duration, time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([][]time.Duration, clients)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range took {
		wg.Go(func() {
			for time.Since(start) < duration && ctx.Err() == nil {
				pod := b.pods[rand.IntN(len(b.pods))] //nolint:gosec // G404: no secret
				asked := time.Now()
				if err := ask(ctx, pod); err != nil {
					cancel(err)
					return
				}
				took[i] = append(took[i], time.Since(asked))
			}
		})
	}
	wg.Wait()
	return slices.Concat(took...), time.Since(start), context.Cause(ctx)
}
