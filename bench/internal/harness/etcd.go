package harness

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes/scheme"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// etcdWrites is the number of concurrent writes. They are no transaction: its
	// writes share a revision, and a watch resumed from there misses some.
	etcdWrites = 64
	// etcdDeletes is lower, because the API server ends watches that fall behind.
	etcdDeletes = 16

	// cachedTimeout is enough for 100,000 Pods on a busy machine.
	cachedTimeout = 5 * time.Minute

	podPrefix    = "/registry/pods/"
	testcrPrefix = "/registry/stable.example.com/testcrs/"
)

// Fill writes the running Pods from number first to end-1 to etcd, in the form
// in which the API server stores them. This saves two requests a Pod. The API
// server observes them by its own watch.
func (s *Server) Fill(ctx context.Context, first, end int) error {
	return s.FillIn(ctx, "", first, end)
}

// FillIn does the same in one namespace.
func (s *Server) FillIn(ctx context.Context, namespace string, first, end int) error {
	pods := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	err := Parallel(etcdWrites, end-first, func(i int) error {
		pod := RunningPod(first + i)
		if namespace != "" {
			pod.Namespace = namespace
		}
		pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		stored := &buffer{}
		if err := pods.Encode(pod, stored); err != nil {
			return err
		}
		return retry(ctx, func() error {
			_, err := s.etcd.Put(ctx, podPrefix+pod.Namespace+"/"+pod.Name, string(*stored))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// retry repeats a failed write to etcd. On a busy machine a write can exceed
// etcd's own timeout of 5 s.
func retry(ctx context.Context, write func() error) error {
	const tries = 10
	for try := 1; ; try++ {
		err := write()
		if err == nil || try == tries || ctx.Err() != nil {
			return err
		}
		if err := Pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}

// Wipe deletes every Testcr from etcd. 20,000 take a second, and half a minute
// through the API.
func (s *Server) Wipe(ctx context.Context) error {
	keys, err := s.etcd.Get(ctx, testcrPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	err = Parallel(etcdDeletes, len(keys.Kvs), func(i int) error {
		return retry(ctx, func() error {
			_, err := s.etcd.Delete(ctx, string(keys.Kvs[i].Key))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// Compact deletes old revisions from etcd, so that none is compacted during a
// measurement and the database has the same size in each round.
func (s *Server) Compact(ctx context.Context) error {
	head, err := s.etcd.Get(ctx, podPrefix, clientv3.WithCountOnly())
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	if _, err := s.etcd.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// EtcdWritten returns counters of etcd: bytes written to its log, bytes received
// from the API server, and puts.
func (s *Server) EtcdWritten(ctx context.Context) (map[string]float64, error) {
	return Scrape(ctx, s.env.ControlPlane.Etcd.URL.String(),
		"etcd_disk_wal_write_bytes_total", "etcd_network_client_grpc_received_bytes_total", "etcd_mvcc_put_total")
}

// WaitForPods waits until the API server's watch cache contains n Pods.
func (s *Server) WaitForPods(ctx context.Context, n int) error {
	found := int64(0)
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, cachedTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := s.Kube.CoreV1().Pods(corev1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return false, err
		}
		found = int64(len(list.Items))
		if list.RemainingItemCount != nil {
			found += *list.RemainingItemCount
		}
		return found == int64(n), nil
	})
	if err != nil {
		return fmt.Errorf("the API server has %d Pods, want %d: %w", found, n, err)
	}
	return nil
}
