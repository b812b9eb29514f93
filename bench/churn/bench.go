package churn

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	stepTimeout = 10 * time.Minute
	// idleTime is the time without events after which a measurement ends.
	idleTime = 2 * time.Second

	// Values of record.Measure.
	alone          = "alone"
	aloneAtOnce    = "alone, at once" // without a grace period
	evenRate       = "churn"
	massDelete     = "mass delete"
	rollingRestart = "rolling restart"
)

// bench is one run.
type bench struct {
	*harness.Server
	*harness.Records[record]
	o            *options
	track        *tracker
	stopTracking context.CancelFunc
	next         int // number of the next Pod
}

// record is one line of churn.jsonl. Times are in seconds
// unless the name of the field has another unit.
type record struct {
	Measure string `json:"measure"`
	Program string `json:"program"`
	Round   int    `json:"round,omitempty"`
	Pods    int    `json:"pods"` // created or deleted
	Rate    int    `json:"rate,omitempty"`

	Seconds  float64                 `json:"seconds,omitempty"` // from the first step to the last change of a Pod
	Behind   float64                 `json:"behindSeconds"`     // from the last change of a Pod to that of a Testcr
	Lag      map[string]distribution `json:"lagMs,omitempty"`   // by kind of change, and of "all"
	Request  *distribution           `json:"requestMs,omitempty"`
	Late     *distribution           `json:"driverLateMs,omitempty"`
	Writes   map[string]int          `json:"writes,omitempty"` // by verb, from the audit log
	Needless int                     `json:"needlessWrites"`   // without a change
	CPU      harness.CPU             `json:"cpuSeconds,omitempty"`
	Samples  []sample                `json:"samples,omitempty"`
}

// distribution describes durations in milliseconds. Curve has a quantile for
// each half percent.
type distribution struct {
	N     int       `json:"n"`
	P50   float64   `json:"p50"`
	P99   float64   `json:"p99"`
	Max   float64   `json:"max"`
	Curve []float64 `json:"curve,omitempty"`
}

// sample is the state at one moment of a burst.
type sample struct {
	At      float64 `json:"at"`
	Pods    int     `json:"pods"`
	Testcrs int     `json:"testcrs"`
	Waiting int     `json:"waiting"` // changes that no Testcr contains yet
	Oldest  float64 `json:"oldestMs"`
	Depth   float64 `json:"queueDepth"`
}

func distributionOf(took []time.Duration, curve bool) *distribution {
	if len(took) == 0 {
		return nil
	}
	took = slices.Sorted(slices.Values(took))
	d := &distribution{N: len(took), P50: harness.Quantile(took, 0.5), P99: harness.Quantile(took, 0.99), Max: harness.Quantile(took, 1)}
	for permille := 0; curve && permille <= 1000; permille += 5 {
		d.Curve = append(d.Curve, harness.Quantile(took, float64(permille)/1000))
	}
	return d
}

func lagsOf(lags []lag) map[string]distribution {
	out := map[string]distribution{}
	for _, kind := range append([]string{"all"}, kinds...) {
		var took []time.Duration
		for _, l := range lags {
			if kind == "all" || l.kind == kind {
				took = append(took, l.took)
			}
		}
		if d := distributionOf(took, kind == "all"); d != nil {
			out[kind] = *d
		}
	}
	return out
}

func newBench(ctx context.Context, o *options) (b *bench, err error) {
	b = &bench{o: o, stopTracking: func() {}}
	if b.Server, err = harness.StartServer(ctx, o.Root); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.stopTracking()
			_ = b.Stop() // err is the cause
		}
	}()
	podVersion, testcrVersion, err := b.CheckEmpty(ctx)
	if err != nil {
		return nil, err
	}
	if b.Records, err = harness.NewRecords[record](o.Out, "churn"); err != nil {
		return nil, err
	}
	tracking, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stopTracking = stop
	if b.track, err = newTracker(tracking, b.Cluster, podVersion, testcrVersion); err != nil {
		return nil, err
	}
	b.next = o.standing
	if err := b.Fill(ctx, 0, o.standing); err != nil {
		return nil, err
	}
	return b, b.WaitForPods(ctx, o.standing)
}

// numbers reserves n numbers of Pods and returns the first.
func (b *bench) numbers(n int) int {
	first := b.next
	b.next += n
	return first
}

// withProgram calls f while a program runs; RawLoop has no process. First it waits
// until the program has followed one Pod through its life, which shows that its
// caches are synced even if its start needs no write.
func (b *bench) withProgram(ctx context.Context, program string, f func(p *harness.Process) error) (err error) {
	if program == harness.RawLoop {
		return f(nil)
	}
	p, err := b.o.StartProgram(program, b.Kubeconfig)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := p.Stop(); err == nil {
			err = stopped
		}
	}()
	d := &driver{Cluster: b.Cluster, o: b.o, changed: noWrite}
	if err := d.life(ctx, b.numbers(1), time.Now()); err != nil {
		return err
	}
	if err := b.idle(ctx); err != nil {
		return err
	}
	b.track.take()
	return f(p)
}

// idle waits until each change of a Pod is in its Testcr, and then for idleTime.
func (b *bench) idle(ctx context.Context) error {
	var now stats
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, stepTimeout, true, func(context.Context) (bool, error) {
		var err error
		now, _, err = b.track.state()
		last := now.lastPod
		if now.lastTestcr.After(last) {
			last = now.lastTestcr
		}
		return now.waiting == 0 && time.Since(last) > idleTime, err
	})
	if err != nil {
		return fmt.Errorf("%d changes of Pods are missing in Testcrs: %w", now.waiting, err)
	}
	return nil
}

// alone counts the writes for Pods that live one after another.
func (b *bench) alone(ctx context.Context) error {
	return b.withProgram(ctx, harness.PodInfoLookup, func(p *harness.Process) error {
		for _, graceful := range []bool{true, false} {
			r := record{Measure: aloneAtOnce, Program: harness.PodInfoLookup, Pods: b.o.alone}
			o := *b.o
			if graceful {
				r.Measure = alone
			} else {
				o.graceful = 0
			}
			d := &driver{Cluster: b.Cluster, o: &o, changed: noWrite}
			first := b.numbers(b.o.alone)
			err := b.measure(ctx, p, &r, false, func() error {
				for n := range b.o.alone {
					if err := d.life(ctx, first+n, time.Now()); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if err := b.Add(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// rounds measures churn at an even rate: the program and the raw loop in turns,
// and one round of the peer.
func (b *bench) rounds(ctx context.Context) error {
	programs := []string{harness.PodInfoLookup, harness.RawLoop}
	if b.o.History {
		programs = append(programs, harness.WithHistory)
	}
	for round := range b.o.rounds {
		for i := range programs {
			if err := b.churnOnce(ctx, programs[(round+i)%len(programs)], round+1); err != nil {
				return err
			}
		}
	}
	if !b.o.Peers {
		return nil
	}
	return b.churnOnce(ctx, harness.TunedControllerRuntime, 1)
}

func (b *bench) churnOnce(ctx context.Context, program string, round int) error {
	err := b.withProgram(ctx, program, func(p *harness.Process) error {
		number := int(b.o.duration.Seconds() * float64(b.o.rate))
		r := record{Measure: evenRate, Program: program, Round: round, Pods: number, Rate: b.o.rate}
		d := &driver{Cluster: b.Cluster, o: b.o, changed: noWrite}
		var w *rawWriter
		if program == harness.RawLoop {
			client, err := harness.NewRaw(b.Config)
			if err != nil {
				return err
			}
			w = &rawWriter{raw: client, versions: map[int]string{}}
			d.changed = w.write
		}
		if err := b.measure(ctx, p, &r, false, func() error { return d.churn(ctx, b.numbers(number), number) }); err != nil {
			return err
		}
		r.Late = distributionOf(d.late, false)
		if w != nil {
			r.Request = distributionOf(w.took, true)
		}
		return b.Add(r)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	return nil
}

// measure completes r with the events from the start of f until b is idle.
func (b *bench) measure(ctx context.Context, p *harness.Process, r *record, sampled bool, f func() error) error {
	if err := harness.Quiet(ctx, b.Dir, p, b.o.Patience); err != nil {
		return err
	}
	log, err := harness.AuditFrom(b.Dir)
	if err != nil {
		return err
	}
	b.track.take()
	before, err := harness.CPUNow(b.Dir, p)
	if err != nil {
		return err
	}
	start := time.Now()
	stop := func() []sample { return nil }
	if sampled {
		stop = b.track.sample(ctx, p, start)
	}
	err = f()
	if err == nil {
		err = b.idle(ctx)
	}
	r.Samples = stop()
	if err != nil {
		return err
	}
	after, err := harness.CPUNow(b.Dir, p)
	if err != nil {
		return err
	}
	taken := b.track.take()
	r.CPU, r.Lag, r.Needless = after.Since(before), lagsOf(taken.lags), taken.needless
	r.Seconds, r.Behind = taken.lastPod.Sub(start).Seconds(), max(0, taken.lastTestcr.Sub(taken.lastPod).Seconds())
	r.Writes, err = log.Writes(harness.AgentOf(r.Program))
	return err
}
