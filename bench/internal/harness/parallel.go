package harness

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Parallel calls f with 0 to n-1 from several goroutines, until one call fails.
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

// Pause waits for d, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Load is the throughput and latency of a closed loop of requests.
type Load struct {
	Requests  int     `json:"requests,omitempty"`
	PerSecond float64 `json:"perSecond,omitempty"`
	P50Ms     float64 `json:"p50Ms,omitempty"`
	P99Ms     float64 `json:"p99Ms,omitempty"`
}

// MeasureLoad runs clients for a while. Each sends its next request when the
// last one is answered. It also returns the sorted latencies and the duration.
func MeasureLoad(ctx context.Context, clients int, duration time.Duration, request func(context.Context) error) (Load, []time.Duration, time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	byClient := make([][]time.Duration, clients)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range byClient {
		wg.Go(func() {
			for time.Since(start) < duration && ctx.Err() == nil {
				sent := time.Now()
				if err := request(ctx); err != nil {
					cancel(err)
					return
				}
				byClient[i] = append(byClient[i], time.Since(sent))
			}
		})
	}
	wg.Wait()
	elapsed, latencies := time.Since(start), slices.Concat(byClient...)
	slices.Sort(latencies)
	load := Load{
		Requests: len(latencies), PerSecond: float64(len(latencies)) / elapsed.Seconds(),
		P50Ms: Quantile(latencies, 0.5), P99Ms: Quantile(latencies, 0.99),
	}
	return load, latencies, elapsed, context.Cause(ctx)
}
