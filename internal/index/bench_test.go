package index_test

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// deployed is the Testcr of Pod i of a cluster: of a Deployment of 20, on a node
// of 110, with an IP of each family and one container.
func deployed(i int) *podinfolookup.Testcr {
	web, node := fmt.Sprint("web-", i/20), i/110
	testcr := podinfolookup.FromPod(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprint("team-", i/200), Name: fmt.Sprintf("%s-5d9f8c7b6-%05d", web, i),
			UID:             types.UID(fmt.Sprintf("0f1e2d3c-4b5a-6978-8796-%012x", i)),
			Labels:          map[string]string{"app": web, "pod-template-hash": "5d9f8c7b6"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: web + "-5d9f8c7b6", Controller: new(true)}},
		},
		Spec: corev1.PodSpec{NodeName: fmt.Sprint("node-", node), Containers: []corev1.Container{{Name: "web", Image: "nginx:1.29"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, HostIP: fmt.Sprintf("192.168.%d.%d", node/256, node%256),
			PodIPs:            []corev1.PodIP{{IP: podIP(i)}, {IP: fmt.Sprintf("fd00::%x:%x", i/65536, i%65536)}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", ContainerID: fmt.Sprintf("containerd://%08x4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a6978%08x", uint32(i)*2654435761, i)}}, //nolint:gosec // G115: it is to wrap
		},
	})
	testcr.ResourceVersion = fmt.Sprint(i + 1)
	return testcr
}

func podIP(i int) string { return fmt.Sprintf("10.%d.%d.%d", i/65536, i/256%256, i%256) }

func cluster(pods int) []*podinfolookup.Testcr {
	testcrs := make([]*podinfolookup.Testcr, pods)
	for i := range testcrs {
		testcrs[i] = deployed(i)
	}
	return testcrs
}

func filled(testcrs []*podinfolookup.Testcr) *index.Index {
	x := index.New()
	for _, t := range testcrs {
		x.Set(nil, t)
	}
	return x
}

// questions are one of each kind, about Pod i.
func questions(t testing.TB, of *podinfolookup.Testcr) []query.Term {
	t.Helper()
	s := &of.Spec
	return []query.Term{
		term(t, query.IP, s.PodIPs[1]), term(t, query.UID, s.PodUID), term(t, query.Container, s.Containers[0].ID),
		term(t, query.Key, s.PodKey), term(t, query.Name, s.PodName), term(t, query.Workload, "deploy/"+s.WorkloadName),
		term(t, query.Node, s.NodeName), term(t, query.HostIP, s.HostIP), term(t, query.Namespace, s.Namespace),
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	testcrs := cluster(1000)
	x, page := filled(testcrs), make([]*podinfolookup.Testcr, 0, 501)
	for _, term := range questions(t, testcrs[500]) {
		for _, limit := range []int{1, 501} {
			t.Run(fmt.Sprint(term.Kind, " with the limit ", limit), func(t *testing.T) {
				q := index.Query{Terms: []query.Term{term}, Limit: limit}
				total := 0
				if got := testing.AllocsPerRun(100, func() { _, total, _ = x.Find(page[:0], q) }); got != 0 {
					t.Errorf("%v allocations, want none", got)
				}
				if total == 0 {
					t.Error("nothing was found")
				}
			})
		}
	}
}

func BenchmarkFind(b *testing.B) {
	testcrs := cluster(20_000)
	x, page := filled(testcrs), make([]*podinfolookup.Testcr, 0, 101)
	for _, term := range questions(b, testcrs[12_345]) {
		b.Run(string(term.Kind), func(b *testing.B) {
			q := index.Query{Terms: []query.Term{term}, Limit: 101}
			b.ReportAllocs()
			total := 0
			for b.Loop() {
				_, total, _ = x.Find(page[:0], q)
			}
			b.ReportMetric(float64(total), "found")
		})
	}
	b.Run("all", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, _ = x.Find(page[:0], index.Query{Limit: 101})
		}
	})
}

// BenchmarkSet is what one event costs: a Pod's readiness, which nothing is
// found by, and a restart on another IP, which is three postings.
func BenchmarkSet(b *testing.B) {
	testcrs := cluster(20_000)
	was := testcrs[12_345]
	ready, moved := *was, *was
	ready.Spec.Ready = true
	moved.Spec.PodIPs = []string{"10.255.255.1", "fd00::ffff:1"}
	moved.Spec.Containers = []podinfolookup.Container{{Name: "web", ID: "containerd://ffff4f5ca3b2d1e0"}}
	for name, now := range map[string]*podinfolookup.Testcr{"what nothing is found by": &ready, "IPs and a container ID": &moved} {
		b.Run(name, func(b *testing.B) {
			x := filled(testcrs)
			b.ReportAllocs()
			for b.Loop() {
				x.Set(was, now)
				x.Set(now, was)
			}
		})
	}
	b.Run("a Pod that comes and goes", func(b *testing.B) {
		x, now := filled(testcrs), deployed(20_000)
		b.ReportAllocs()
		for b.Loop() {
			x.Set(nil, now)
			x.Set(now, nil)
		}
	})
}

// BenchmarkIndexMemory reports what the index takes on the heap besides the
// Testcrs, which the informer holds anyway.
func BenchmarkIndexMemory(b *testing.B) {
	for _, pods := range []int{20_000, 100_000} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			testcrs := cluster(pods)
			var bytes uint64
			for b.Loop() {
				before := heap()
				x := filled(testcrs)
				bytes = heap() - before
				runtime.KeepAlive(x)
			}
			b.ReportMetric(float64(bytes)/float64(pods), "B/Pod")
			runtime.KeepAlive(testcrs)
		})
	}
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one found finalizers for
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
