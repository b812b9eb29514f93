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
	// etcdWrites are made at once. Each is of its own: those of one transaction
	// share a revision, and a watch that goes on after it would miss the rest.
	etcdWrites = 64
	// etcdDeletes are fewer, so that the API server does not end the watches of those who count.
	etcdDeletes = 16

	// seenTimeout is for a watch cache that reads 100,000 Pods on a busy machine.
	seenTimeout = 5 * time.Minute

	podPrefix    = "/registry/pods/"
	testcrPrefix = "/registry/stable.example.com/testcrs/"
)

// Fill puts the running Pods from number first up to number end straight into
// etcd, in the form in which the API server stores them: through the API each
// would cost two requests, minutes for all of them. The API server hears of
// them as of any others, by its watch.
func (s *Server) Fill(ctx context.Context, first, end int) error {
	return s.FillIn(ctx, "", first, end)
}

// FillIn puts them all into one namespace.
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
		return insist(ctx, func() error {
			_, err := s.etcd.Put(ctx, podPrefix+pod.Namespace+"/"+pod.Name, string(*stored))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// insist makes a write to etcd again where it fails: on a machine that is busy
// with something else etcd takes longer than it allows itself, 5 s.
func insist(ctx context.Context, write func() error) error {
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

// Wipe deletes every Testcr from etcd, which takes a second where deleting
// 20,000 through the API takes half a minute.
func (s *Server) Wipe(ctx context.Context) error { return s.wipe(ctx, testcrPrefix) }

// WipePods does the same with the Pods.
func (s *Server) WipePods(ctx context.Context) error { return s.wipe(ctx, podPrefix) }

func (s *Server) wipe(ctx context.Context, prefix string) error {
	keys, err := s.etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	err = Parallel(etcdDeletes, len(keys.Kvs), func(i int) error {
		return insist(ctx, func() error {
			_, err := s.etcd.Delete(ctx, string(keys.Kvs[i].Key))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	return nil
}

// Compact lets etcd forget old revisions now, so that it does not do so in the
// middle of a measurement and every round meets a database of the same size.
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

// EtcdWritten returns the bytes that etcd has written to its log and received
// from the API server, and the writes that it has made, since its start.
func (s *Server) EtcdWritten(ctx context.Context) (map[string]float64, error) {
	return Scrape(ctx, s.env.ControlPlane.Etcd.URL.String(),
		"etcd_disk_wal_write_bytes_total", "etcd_network_client_grpc_received_bytes_total", "etcd_mvcc_put_total")
}

// Seen waits until the API server's watch cache has n Pods.
func (s *Server) Seen(ctx context.Context, n int) error {
	found := int64(0)
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, seenTimeout, true, func(ctx context.Context) (bool, error) {
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
