package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	stepTimeout = 10 * time.Minute
	// idleAfter is how long nothing must happen for everything to have happened.
	idleAfter = 2 * time.Second

	raw   = "raw loop"
	ours  = "podinfolookup"
	tuned = "controller-runtime, tuned"

	agentPeers = "peer-"
)

// bench is one run.
type bench struct {
	*harness.Server
	*harness.Records[record]
	o            *options
	track        *tracker
	stopTracking context.CancelFunc
	next         int // the number of the next Pod
}

// record is one line of churn.jsonl. Times are in seconds unless they say otherwise.
type record struct {
	Measure string `json:"measure"`
	Program string `json:"program"`
	Round   int    `json:"round,omitempty"`
	Pods    int    `json:"pods"` // that lived, or went
	Rate    int    `json:"rate,omitempty"`

	Seconds  float64                 `json:"seconds,omitempty"` // from the first step to the last change of a Pod
	Behind   float64                 `json:"behindSeconds"`     // from the last change of a Pod to that of its Testcr
	Lag      map[string]distribution `json:"lagMs,omitempty"`   // by kind of change, and of "all"
	Request  *distribution           `json:"requestMs,omitempty"`
	Late     *distribution           `json:"driverLateMs,omitempty"`
	Writes   map[string]int          `json:"writes,omitempty"` // by verb, from the audit log
	Needless int                     `json:"needlessWrites"`   // that changed nothing
	CPU      harness.CPU             `json:"cpuSeconds,omitempty"`
	Samples  []sample                `json:"samples,omitempty"`
}

// distribution is of some times in milliseconds; the curve has one a percent.
type distribution struct {
	N     int       `json:"n"`
	P50   float64   `json:"p50"`
	P99   float64   `json:"p99"`
	Max   float64   `json:"max"`
	Curve []float64 `json:"curve,omitempty"`
}

// sample is one look at a burst.
type sample struct {
	At      float64 `json:"at"`
	Pods    int     `json:"pods"`
	Testcrs int     `json:"testcrs"`
	Waiting int     `json:"waiting"` // changes that no Testcr tells yet
	Oldest  float64 `json:"oldestMs"`
	Depth   float64 `json:"queueDepth"`
}

func distributionOf(took []time.Duration, curve bool) *distribution {
	if len(took) == 0 {
		return nil
	}
	took = slices.Sorted(slices.Values(took))
	d := &distribution{N: len(took), P50: harness.Quantile(took, 0.5), P99: harness.Quantile(took, 0.99), Max: harness.Quantile(took, 1)}
	for percent := 0; curve && percent <= 1000; percent += 5 { // 99.5 and 100 are where it matters
		d.Curve = append(d.Curve, harness.Quantile(took, float64(percent)/1000))
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
	if b.Server, err = harness.StartServer(ctx, o.root); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.stopTracking()
			_ = b.Stop() // err is the cause
		}
	}()
	version, err := b.Alone(ctx)
	if err != nil {
		return nil, err
	}
	pods, err := b.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, err
	}
	if b.Records, err = harness.NewRecords[record](o.out, "churn"); err != nil {
		return nil, err
	}
	tracking, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stopTracking = stop
	if b.track, err = newTracker(tracking, b.Cluster, pods.ResourceVersion, version); err != nil {
		return nil, err
	}
	b.next = o.standing
	if err := b.Fill(ctx, 0, o.standing); err != nil {
		return nil, err
	}
	return b, b.Seen(ctx, o.standing)
}

// numbers returns the first of n Pods that were not there before.
func (b *bench) numbers(n int) int {
	first := b.next
	b.next += n
	return first
}

// running runs a program until f returns, once it has told of all Pods and
// followed one through its life: where nothing is to be written at its start,
// only that shows that it has its caches. Nothing runs as the raw loop.
func (b *bench) running(ctx context.Context, program string, f func(p *harness.Process) error) (err error) {
	if program == raw {
		return f(nil)
	}
	var p *harness.Process
	if program == ours {
		p, err = harness.Start(b.o.binary, filepath.Join(b.o.out, "podinfolookup.log"),
			"--kubeconfig="+b.Kubeconfig, "--print-list=false", "--print-changes=false")
	} else {
		p, err = harness.Start(b.o.peers, filepath.Join(b.o.out, "peers.log"), "--kubeconfig="+b.Kubeconfig, "--peer="+program)
	}
	if err != nil {
		return err
	}
	defer func() {
		if stopped := p.Stop(); err == nil {
			err = stopped
		}
	}()
	d := &driver{Cluster: b.Cluster, o: b.o, wrote: wroteNothing}
	if err := d.life(ctx, b.numbers(1), time.Now()); err != nil {
		return err
	}
	if err := b.idle(ctx); err != nil {
		return err
	}
	b.track.take()
	return f(p)
}

// idle waits until every change is told and nothing happens any more.
func (b *bench) idle(ctx context.Context) error {
	var now stats
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, stepTimeout, true, func(context.Context) (bool, error) {
		var err error
		now, _, err = b.track.look()
		last := now.lastPod
		if now.lastTold.After(last) {
			last = now.lastTold
		}
		return now.waiting == 0 && time.Since(last) > idleAfter, err
	})
	if err != nil {
		return fmt.Errorf("%d changes of Pods are in no Testcr: %w", now.waiting, err)
	}
	return nil
}

// alone counts the writes for Pods that live one after the other.
func (b *bench) alone(ctx context.Context) error {
	return b.running(ctx, ours, func(p *harness.Process) error {
		for _, graceful := range []bool{true, false} {
			r := record{Measure: "alone, at once", Program: ours, Pods: b.o.alone}
			o := *b.o
			if graceful {
				r.Measure = "alone"
			} else {
				o.graceful = 0
			}
			d := &driver{Cluster: b.Cluster, o: &o, wrote: wroteNothing}
			first := b.numbers(b.o.alone)
			err := b.measure(ctx, p, &r, nil, func() error {
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

// rounds measures churn at an even rate, with the program and the raw loop in
// turns, and once with the peer.
func (b *bench) rounds(ctx context.Context) error {
	programs := []string{ours, raw}
	for round := range b.o.rounds {
		for i := range programs {
			if err := b.churnOnce(ctx, programs[(round+i)%len(programs)], round+1); err != nil {
				return err
			}
		}
	}
	if b.o.peers == "" {
		return nil
	}
	return b.churnOnce(ctx, tuned, 1)
}

func (b *bench) churnOnce(ctx context.Context, program string, round int) error {
	err := b.running(ctx, program, func(p *harness.Process) error {
		number := int(b.o.duration.Seconds() * float64(b.o.rate))
		r := record{Measure: "churn", Program: program, Round: round, Pods: number, Rate: b.o.rate}
		d := &driver{Cluster: b.Cluster, o: b.o, wrote: wroteNothing}
		var w *rawWriter
		if program == raw {
			client, err := harness.NewRaw(b.Config)
			if err != nil {
				return err
			}
			w = &rawWriter{raw: client, versions: map[int]string{}}
			d.wrote = w.wrote
		}
		if err := b.measure(ctx, p, &r, nil, func() error { return d.churn(ctx, b.numbers(number), number) }); err != nil {
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

// measure takes what happens while f runs and until all of it is told.
func (b *bench) measure(ctx context.Context, p *harness.Process, r *record, samples *sampler, f func() error) error {
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
	stop := samples.begin(ctx, b.track, p, start)
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
	r.Seconds, r.Behind = taken.lastPod.Sub(start).Seconds(), max(0, taken.lastTold.Sub(taken.lastPod).Seconds())
	agent := agentPeers
	switch r.Program {
	case ours:
		agent = podinfolookup.ManagedBy + "/"
	case raw:
		agent = harness.UserAgent
	}
	r.Writes, err = log.Writes(agent)
	return err
}
