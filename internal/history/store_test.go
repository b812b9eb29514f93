package history

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// BenchmarkStore_Commit records whole lives of Pods: two IPs, one container, one restart.
func BenchmarkStore_Commit(b *testing.B) {
	path := filepath.Join(b.TempDir(), "history.db")
	s, err := openSQLite(b.Context(), path, "test")
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	if _, err := s.takeOver(b.Context(), 1); err != nil {
		b.Fatal(err)
	}
	start := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC).UnixMilli()
	var batch []*life
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		now := start + int64(n)*100
		batch = append(batch, recordLife(b, s, n, now))
		n++
		if len(batch) == 500 {
			if err := s.commit(b.Context(), batch, progress{from: start, to: now}); err != nil {
				b.Fatal(err)
			}
			batch = nil
		}
	}
	b.StopTimer()
	if err := s.commit(b.Context(), batch, progress{from: start, to: start + int64(n)*100}); err != nil {
		b.Fatal(err)
	}
	if _, err := s.writer.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/float64(n), "bytes/life")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lives/s")
	times := 0
	began := time.Now()
	for range 1000 {
		ip := fmt.Sprintf("10.%d.%d.%d", rand.IntN(4), rand.IntN(256), rand.IntN(64))
		term, _ := query.ParseAs(query.IP, ip)
		at := time.UnixMilli(start + rand.Int64N(int64(n)*100))
		a, err := s.find(b.Context(), Query{Terms: []query.Term{term}, Since: at, Until: at})
		if err != nil {
			b.Fatal(err)
		}
		times += len(a.Holders)
	}
	b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "us/lookup")
	b.ReportMetric(float64(times)/1000, "holders")
}

func recordLife(b *testing.B, s *store, n int, now int64) *life {
	b.Helper()
	workload := fmt.Sprintf("checkout-service-%d", n%100)
	name := fmt.Sprintf("%s-7dfb7b87b-%05x", workload, n%(1<<20))
	spec := &v1.TestcrSpec{
		PodKey: "production/" + name, Namespace: "production", PodName: name, Phase: "Running", Status: "Running", Ready: true, ReadyContainers: "1/1",
		PodUID:   fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", rand.Uint32(), rand.IntN(1<<16), rand.IntN(1<<12), rand.IntN(1<<12), rand.Int64N(1<<48)),
		NodeName: fmt.Sprintf("ip-10-0-12-%d.eu-central-1.compute.internal", n%200), HostIP: fmt.Sprintf("192.168.1.%d", n%200),
		PodIPs:       []string{fmt.Sprintf("10.%d.%d.%d", n/16384%4, n/64%256, n%64), fmt.Sprintf("fd00::%x:%x", n/65536%16, n%65536)},
		WorkloadKind: "Deployment", WorkloadName: workload, OwnerKind: "ReplicaSet", OwnerName: workload + "-7dfb7b87b",
		CreatedAt: metav1.Time{Time: time.UnixMilli(now)}, StartedAt: metav1.Time{Time: time.UnixMilli(now)},
		Labels:     map[string]string{"app": workload, "pod-template-hash": "7dfb7b87b"},
		Containers: []v1.Container{{Name: "app", Image: "registry.example.com/shop/" + workload + ":1.2.3", ID: containerID()}},
	}
	l := &life{id: s.nextID("pods"), uid: spec.PodUID, name: name, Interval: moment{at: now}.begin(0)}
	for i := range 3 {
		if i == 1 {
			restarted := *spec
			restarted.Containers = []v1.Container{spec.Containers[0]}
			restarted.Containers[0].ID, restarted.Restarts = containerID(), 1
			spec = &restarted
		}
		r, err := s.refsOf(b.Context(), spec, l)
		if err != nil {
			b.Fatal(err)
		}
		if i == 2 {
			l.end(moment{at: now + 3_600_000})
			continue
		}
		l.update(spec, r, moment{at: now + int64(i)*60_000})
	}
	return l
}

func containerID() string {
	return fmt.Sprintf("containerd://%016x%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64())
}
