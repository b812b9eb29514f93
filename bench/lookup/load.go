package lookup

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// The ways to find a Pod by its IP. "Any" is resourceVersion=0, which the API
// server answers from its cache. Otherwise it first checks that the cache is as
// new as etcd, as for kubectl.
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

// way is a way to find a Pod, with a number of concurrent clients.
type way struct {
	name    string
	clients int
}

// asker finds pod by its IP, and fails if it finds anything else.
type asker func(ctx context.Context, pod *corev1.Pod) error

func (b *bench) askers(url string) map[string]asker {
	return map[string]asker{
		overHTTP: askHTTP(url),
		podField: b.askPods(""), podFieldAny: b.askPods("0"),
		testcrField: b.askTestcrs("", byField), testcrAny: b.askTestcrs("0", byField),
		testcrLabel: b.askTestcrs("", byLabel), testcrLblAny: b.askTestcrs("0", byLabel),
	}
}

func askHTTP(url string) asker {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}} // by default only two connections are kept
	return func(ctx context.Context, pod *corev1.Pod) error {
		var found struct {
			Total int             `json:"total"`
			Items []v1.TestcrSpec `json:"items"`
		}
		ip := pod.Status.PodIP
		if err := harness.GetJSON(ctx, client, url+"/v1/pods?ip="+ip, &found); err != nil {
			return err
		}
		if found.Total != 1 || len(found.Items) != 1 {
			return fmt.Errorf("%s: %d Pods", ip, found.Total)
		}
		return checkSpec(pod, &found.Items[0])
	}
}

func checkSpec(pod *corev1.Pod, spec *v1.TestcrSpec) error {
	return check(pod, spec.PodKey, spec.PodUID, spec.PodIP)
}

func check(pod *corev1.Pod, key, uid, ip string) error {
	if key != keyOf(pod) || uid != string(pod.UID) || ip != pod.Status.PodIP {
		return fmt.Errorf("lookup of %s, the IP of Pod %s (%s): got %s, the IP of Pod %s (%s)", pod.Status.PodIP, keyOf(pod), pod.UID, ip, key, uid)
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
	return metav1.ListOptions{LabelSelector: v1.LabelIP(netip.MustParseAddr(ip))}
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
		t, err := wire.Decode(&list.Items[0])
		if err != nil {
			return err
		}
		return checkSpec(pod, &t.Spec)
	}
}

// rounds measures the ways in turns. Each round starts with another one.
func (b *bench) rounds(ctx context.Context, p *harness.Process, url string) error {
	askers := b.askers(url)
	var all []way
	for _, clients := range b.o.clients {
		for _, name := range ways {
			all = append(all, way{name, clients})
		}
	}
	for _, w := range all { // opens connections and fills caches
		if _, _, _, err := b.load(ctx, askers[w.name], w.clients, b.o.duration/10); err != nil {
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
	r := record{Measure: afterLookups, Pods: len(b.pods)}
	var err error
	if r.Memory, err = p.Memory(); err != nil {
		return err
	}
	return b.Add(r)
}

func (b *bench) round(ctx context.Context, p *harness.Process, w way, ask asker, round int) error {
	if err := harness.Quiet(ctx, b.o.clusterDir, p, b.o.Patience); err != nil {
		return err
	}
	before, err := harness.CPUNow(b.o.clusterDir, p)
	if err != nil {
		return err
	}
	load, took, elapsed, err := b.load(ctx, ask, w.clients, b.o.duration)
	if err != nil {
		return err
	}
	after, err := harness.CPUNow(b.o.clusterDir, p)
	if err != nil {
		return err
	}
	b.took[w] = append(b.took[w], took...)
	return b.Add(record{
		Measure: w.name, Round: round, Pods: len(b.pods), Clients: w.clients, Load: load, Seconds: elapsed.Seconds(), CPU: after.Since(before),
	})
}

// load looks up random Pods.
func (b *bench) load(ctx context.Context, ask asker, clients int, duration time.Duration) (harness.Load, []time.Duration, time.Duration, error) {
	return harness.MeasureLoad(ctx, clients, duration, func(ctx context.Context) error {
		return ask(ctx, b.pods[rand.IntN(len(b.pods))]) //nolint:gosec // G404: no secret
	})
}
