package history

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// BenchmarkStore_Commit records whole lives of Pods: two IPs, one container, one restart.
// HISTORY_POSTGRES is the URL of an empty database, for the same lives in PostgreSQL.
func BenchmarkStore_Commit(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "history.db")
		s, err := openSQLite(b.Context(), path, "test")
		if err != nil {
			b.Fatal(err)
		}
		benchmarkCommit(b, s, func() int64 {
			if _, err := s.writer.ExecContext(b.Context(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
				b.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			return info.Size()
		})
	})
	if location := os.Getenv("HISTORY_POSTGRES"); location != "" {
		b.Run("postgres", func(b *testing.B) { benchmarkPostgres(b, location) })
	}
}

func benchmarkPostgres(b *testing.B, location string) {
	b.Helper()
	config, err := postgresConfig(location)
	if err != nil {
		b.Fatal(err)
	}
	size := func(s *store) (n int64) {
		if err := s.writer.QueryRowContext(b.Context(), "SELECT pg_database_size(current_database())").Scan(&n); err != nil {
			b.Fatal(err)
		}
		return n
	}
	s, err := openPostgres(b.Context(), config, "", rand.Text()) // another cluster each time
	if err != nil {
		b.Fatal(err)
	}
	empty := size(s)
	benchmarkCommit(b, s, func() int64 { return size(s) - empty })
}

func benchmarkCommit(b *testing.B, s *store, size func() int64) {
	b.Helper()
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
	b.ReportMetric(float64(size())/float64(n), "bytes/life")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lives/s")
	holders, times := 0, make([]time.Duration, 2000)
	for i := range times {
		ip := fmt.Sprintf("10.%d.%d.%d", random.IntN(4), random.IntN(256), random.IntN(64))
		term, _ := query.ParseAs(query.IP, ip)
		at := time.UnixMilli(start + random.Int64N(int64(n)*100))
		began := time.Now()
		a, err := s.find(b.Context(), Query{Terms: []query.Term{term}, Since: at, Until: at})
		if err != nil {
			b.Fatal(err)
		}
		times[i] = time.Since(began)
		holders += len(a.Holders)
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "us/lookup-p50")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "us/lookup-p99")
	b.ReportMetric(float64(holders)/float64(len(times)), "holders")
}

func recordLife(b *testing.B, s *store, n int, now int64) *life {
	b.Helper()
	workload := fmt.Sprintf("checkout-service-%d", n%100)
	name := fmt.Sprintf("%s-7dfb7b87b-%05x", workload, n%(1<<20))
	spec := &v1.TestcrSpec{
		PodKey: "production/" + name, Namespace: "production", PodName: name, Phase: "Running", Status: "Running", Ready: true, ReadyContainers: "1/1",
		PodUID:   fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), random.IntN(1<<12), random.Int64N(1<<48)),
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

// random makes the same facts in each run.
var random = mrand.New(mrand.NewPCG(1, 2)) //nolint:gosec // no secret

func containerID() string {
	return fmt.Sprintf("containerd://%016x%016x%016x%016x", random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64())
}
