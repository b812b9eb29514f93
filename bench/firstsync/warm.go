package firstsync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	lookupClients = 8
	protobuf      = "application/vnd.kubernetes.protobuf"

	// The two lists that every restart needs, requested at the same time.
	listsAsBytes = "as bytes"
	listsDecoded = "decoded"
)

// empty measures memory without Pods, from which the memory a Pod is computed.
func (b *bench) empty(ctx context.Context) error {
	for round := range b.o.restarts {
		if err := b.restart(ctx, round+1); err != nil {
			return err
		}
	}
	return nil
}

// warm measures restarts and lookups while all Testcrs exist.
func (b *bench) warm(ctx context.Context) error {
	p, err := b.sync(ctx, record{Measure: firstSyncKept, Program: harness.PodInfoLookup})
	if err != nil {
		return err
	}
	if err := b.lookup(ctx, p, 0); err != nil {
		return errors.Join(err, p.Stop())
	}
	if err := p.Stop(); err != nil {
		return err
	}
	for round := range b.o.restarts {
		if err := b.restart(ctx, round+1); err != nil {
			return fmt.Errorf("restart: %w", err)
		}
	}
	if err := b.audit(ctx); err != nil {
		return fmt.Errorf("podinfolookup verify: %w", err)
	}
	return b.clear(ctx)
}

// audit measures `podinfolookup verify`, which must find no difference.
func (b *bench) audit(ctx context.Context) error {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, b.o.Binary, "verify", "--kubeconfig="+b.Kubeconfig) //nolint:gosec // G204: the caller's own
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r := record{Measure: verify, Program: harness.PodInfoLookup, Pods: len(b.bodies)}
	// ru_maxrss would include the memory of this process, from which it is forked.
	for look := time.NewTicker(10 * time.Millisecond); r.Seconds == 0; {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("%w: %.500s", err, out.String())
			}
			r.Seconds = time.Since(start).Seconds()
			look.Stop()
		case <-look.C:
			if memory, err := harness.MemoryOf(cmd.Process.Pid); err == nil { // else it has ended
				r.PeakRSSKiB = max(r.PeakRSSKiB, memory.PeakRSSKiB) // 0 while it ends
			}
		}
	}
	r.CPU = harness.CPU{harness.PodInfoLookup: (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	return b.Add(r)
}

// restart measures a start with every Testcr up to date, after the two lists.
func (b *bench) restart(ctx context.Context, round int) (err error) {
	if err := harness.Quiet(ctx, b.Dir, nil, b.o.Patience); err != nil {
		return err
	}
	r := record{Measure: restart, Program: harness.PodInfoLookup, Round: round, Pods: len(b.bodies)}
	if r.Lists, err = b.lists(ctx); err != nil {
		return err
	}
	log, err := harness.AuditFrom(b.Dir)
	if err != nil {
		return err
	}
	p, err := b.o.Start(b.o.Binary, b.Kubeconfig)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := p.Stop(); err == nil {
			err = stopped
		}
	}()
	url, ready, err := p.Ready(ctx)
	if err != nil {
		return err
	}
	r.Seconds = ready.Seconds()
	if err := b.compared(ctx, url); err != nil {
		return err
	}
	if r.Memory, err = p.Memory(); err != nil {
		return err
	}
	if err := b.settled(ctx, p, &r); err != nil {
		return err
	}
	if r.Writes, err = log.Writes(harness.AgentOf(r.Program)); err != nil {
		return err
	}
	if len(r.Writes) > 0 {
		return fmt.Errorf("writes to Testcrs that were up to date: %v", r.Writes)
	}
	if err := b.Add(r); err != nil || len(b.bodies) == 0 {
		return err
	}
	return b.lookup(ctx, p, round)
}

// compared waits until the program has synced every Pod.
func (b *bench) compared(ctx context.Context, url string) error {
	const unchanged, depth = `podinfolookup_syncs_total{result="unchanged"}`, `workqueue_depth{name="pods"}`
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, stepTimeout, true, func(ctx context.Context) (bool, error) {
		found, err := harness.Scrape(ctx, url, unchanged, depth)
		return int(found[unchanged]) >= len(b.bodies) && found[depth] == 0, err
	})
}

// lists measures the lists of all Pods and all Testcrs, requested at the same
// time, without decoding and decoded by client-go.
func (b *bench) lists(ctx context.Context) (map[string]float64, error) {
	took := map[string]float64{}
	for what, lists := range map[string][2]func() error{
		listsAsBytes: {
			func() error { _, err := harness.List(ctx, b.Config, harness.PodsPath, protobuf); return err },
			func() error {
				_, err := harness.List(ctx, b.Config, harness.TestcrsPath, "application/json")
				return err
			},
		},
		listsDecoded: {
			func() error {
				_, err := b.Kube.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
				return err
			},
			func() error { _, err := b.Testcrs.List(ctx, metav1.ListOptions{ResourceVersion: "0"}); return err },
		},
	} {
		start := time.Now()
		if err := harness.Parallel(2, 2, func(i int) error { return lists[i]() }); err != nil {
			return nil, err
		}
		took[what] = time.Since(start).Seconds()
	}
	return took, nil
}

// lookup measures lookups while the API server runs, and while it is stopped.
// Round 0 follows the first sync, the others follow restarts.
func (b *bench) lookup(ctx context.Context, p *harness.Process, round int) error {
	url, err := p.URL(ctx)
	if err != nil {
		return err
	}
	if err := b.ask(ctx, url, record{Measure: lookupBeside, Round: round}); err != nil {
		return err
	}
	return b.Halted(func() error { return b.ask(ctx, url, record{Measure: lookupAlone, Round: round}) })
}

// ask measures lookups of random Pods by IP.
func (b *bench) ask(ctx context.Context, url string, r record) (err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: lookupClients}}
	r.Program, r.Pods = harness.PodInfoLookup, len(b.bodies)
	r.Load, _, _, err = harness.MeasureLoad(ctx, lookupClients, b.o.lookups, func(ctx context.Context) error {
		return askFor(ctx, client, url, harness.IP(rand.IntN(r.Pods))) //nolint:gosec // G404: no secret
	})
	if err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	return b.Add(r)
}

func askFor(ctx context.Context, client *http.Client, url, ip string) error {
	var found struct {
		Items []v1.TestcrSpec `json:"items"`
	}
	if err := harness.GetJSON(ctx, client, url+"/v1/pods?ip="+ip, &found); err != nil {
		return err
	}
	if len(found.Items) != 1 || found.Items[0].PodIP != ip {
		return fmt.Errorf("%s: got %v", ip, found.Items)
	}
	return nil
}
