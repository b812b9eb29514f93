package index_test

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// deployed returns the record of Pod i of a cluster: of a Deployment of 20, on a node
// of 110, with an IP of each family and one container.
func deployed(i int) *record {
	web, node := fmt.Sprint("web-", i/20), i/110
	return newRecord(desired.FromPod(&corev1.Pod{
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
	}), fmt.Sprint(i+1))
}

func podIP(i int) string { return fmt.Sprintf("10.%d.%d.%d", i/65536, i/256%256, i%256) }

func cluster(pods int) []*record {
	records := make([]*record, pods)
	for i := range records {
		records[i] = deployed(i)
	}
	return records
}

func filled(records []*record) *index.Index {
	x := index.New()
	for _, r := range records {
		x.Put(r, r.version)
	}
	return x
}

// termsOf returns a term of each kind that finds r.
func termsOf(t testing.TB, r *record) []query.Term {
	t.Helper()
	s := r.Spec()
	return []query.Term{
		term(t, query.IP, s.PodIPs[1]), term(t, query.UID, s.PodUID), term(t, query.Container, s.Containers[0].ID),
		term(t, query.Key, s.PodKey), term(t, query.Name, s.PodName), term(t, query.Workload, "deploy/"+s.WorkloadName),
		term(t, query.Node, s.NodeName), term(t, query.HostIP, s.HostIP), term(t, query.Namespace, s.Namespace),
	}
}

func TestIndex_Find_AllocatesNothing(t *testing.T) {
	records := cluster(1000)
	x, page := filled(records), make([]*v1.TestcrSpec, 0, 501)
	for _, term := range termsOf(t, records[500]) {
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

func BenchmarkIndex_Find(b *testing.B) {
	records := cluster(20_000)
	x, page := filled(records), make([]*v1.TestcrSpec, 0, 101)
	for _, term := range termsOf(b, records[12_345]) {
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

// BenchmarkIndex_Put measures an event: a change of readiness, which is no fact, and a
// restart on another IP, which changes three postings.
func BenchmarkIndex_Put(b *testing.B) {
	records := cluster(20_000)
	was := records[12_345]
	ready, moved := *was, *was
	ready.spec.Ready = true
	moved.spec.PodIPs = []string{"10.255.255.1", "fd00::ffff:1"}
	moved.spec.Containers = []v1.Container{{Name: "web", ID: "containerd://ffff4f5ca3b2d1e0"}}
	for name, now := range map[string]*record{"what nothing is found by": &ready, "IPs and a container ID": &moved} {
		b.Run(name, func(b *testing.B) {
			x := filled(records)
			b.ReportAllocs()
			for b.Loop() {
				x.Put(now, now.version)
				x.Put(was, was.version)
			}
		})
	}
	b.Run("a Pod that comes and goes", func(b *testing.B) {
		x, now := filled(records), deployed(20_000)
		b.ReportAllocs()
		for b.Loop() {
			x.Put(now, now.version)
			x.Remove(now.spec.PodKey, now.version)
		}
	})
}

// BenchmarkIndex_Memory reports the heap of the index without the Testcrs, which the
// informer holds anyway.
func BenchmarkIndex_Memory(b *testing.B) {
	for _, pods := range []int{20_000, 100_000} {
		b.Run(fmt.Sprint(pods), func(b *testing.B) {
			records := cluster(pods)
			var bytes uint64
			for b.Loop() {
				before := heap()
				x := filled(records)
				bytes = heap() - before
				runtime.KeepAlive(x)
			}
			b.ReportMetric(float64(bytes)/float64(pods), "B/Pod")
			runtime.KeepAlive(records)
		})
	}
}

func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // frees the objects whose finalizers the first one ran
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
