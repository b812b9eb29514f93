// Package harness is what the benchmarks share: the run of the program that is
// measured, what it used, and what it wrote.
package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// UserAgent is how the benchmarks' own requests are told from the program's.
const UserAgent = "podinfolookup-bench"

// Benchmark is a command line and what it asks for.
type Benchmark interface {
	Flags(fs *pflag.FlagSet)
	Validate() error
	Run(ctx context.Context) error
}

// Main runs a benchmark until it is done or interrupted, and ends the process
// with one line where it fails.
func Main(name string, b Benchmark) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	b.Flags(fs)
	fs.Usage = func() { fmt.Printf("usage: %s [flags]\n%s", name, fs.FlagUsages()) }
	err := fs.Parse(os.Args[1:])
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err == nil {
		err = b.Validate()
	}
	if err != nil {
		err = fmt.Errorf("%w: see --help", err)
	} else {
		err = b.Run(ctx)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1) //nolint:gocritic // exitAfterDefer: stop only gives the signals back
	}
}

// Cluster is how a benchmark speaks to the API server.
type Cluster struct {
	Config  *rest.Config
	Kube    kubernetes.Interface // in protobuf
	Testcrs dynamic.ResourceInterface
}

// Connect returns the clients for a cluster that serves Testcrs; they know no
// limit of requests.
func Connect(ctx context.Context, kubeconfig string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w: make cluster", err)
	}
	config.QPS, config.UserAgent = -1, UserAgent
	typed := rest.CopyConfig(config)
	typed.ContentType = kruntime.ContentTypeProtobuf
	kube, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if err := podinfolookup.CheckCRD(ctx, discovery.ToDiscoveryInterfaceWithContext(kube.Discovery())); err != nil {
		return nil, err
	}
	return &Cluster{Config: config, Kube: kube, Testcrs: client.Resource(podinfolookup.GroupVersionResource)}, nil
}

// Alone makes sure that the program will have the benchmark's Pods to do and
// nothing else. It returns the version at which there are no Testcrs.
func (c *Cluster) Alone(ctx context.Context) (string, error) {
	pods, err := c.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	if len(pods.Items) > 0 {
		return "", fmt.Errorf("the cluster has a Pod %s/%s: the bench needs one without Pods", pods.Items[0].Namespace, pods.Items[0].Name)
	}
	testcrs, err := c.Testcrs.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	if len(testcrs.Items) > 0 {
		return "", fmt.Errorf("the cluster has a Testcr %s: the bench needs one without Testcrs", testcrs.Items[0].GetName())
	}
	return testcrs.GetResourceVersion(), nil
}

// Records are the single measurements, a line of JSON each.
type Records[T any] struct {
	All  []T
	file *os.File
	name string
}

// NewRecords makes folder/name.jsonl.
func NewRecords[T any](folder, name string) (*Records[T], error) {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, err
	}
	file, err := os.Create(filepath.Join(folder, name+".jsonl")) //nolint:gosec // G304: the folder is the caller's to choose
	return &Records[T]{file: file, name: name}, err
}

// Add writes r down and tells of it.
func (rs *Records[T]) Add(r T) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := rs.file.Write(append(line, '\n')); err != nil {
		return err
	}
	rs.All = append(rs.All, r)
	rs.Note("%s", line)
	return nil
}

// Note tells of progress.
func (rs *Records[T]) Note(format string, args ...any) {
	fmt.Fprintf(os.Stderr, rs.name+": "+format+"\n", args...)
}

// Close closes the file.
func (rs *Records[T]) Close() {
	_ = rs.file.Close() // each record was checked as it was written
}

// Parallel calls f for 0 to n-1 from some goroutines at once, until one fails.
func Parallel(goroutines, n int, f func(int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		wg     sync.WaitGroup
	)
	for range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Quiet waits until other programs leave the processors alone, or patience ends.
func Quiet(ctx context.Context, clusterDir string, p *Process, patience time.Duration) error {
	const look = 500 * time.Millisecond
	for end := time.Now().Add(patience); time.Now().Before(end); {
		before, err := CPUNow(clusterDir, p)
		if err != nil {
			return err
		}
		if err := Pause(ctx, look); err != nil {
			return err
		}
		after, err := CPUNow(clusterDir, p)
		if err != nil || after.Since(before)["others"] < 0.2*look.Seconds() {
			return err
		}
	}
	return nil
}

// Pause waits.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Quantile returns that of sorted times, in milliseconds.
func Quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
}

// Median returns the middle one of x, or the mean of the middle two.
func Median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
