package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	lookupClients = 8
	protobuf      = "application/vnd.kubernetes.protobuf"
	podsPath      = "/api/v1/pods"
	testcrsPath   = "/apis/stable.example.com/v1/testcrs"

	lookupBeside = "lookup"
	lookupAlone  = "lookup, API server stopped"

	// The two lists that a restart needs at least, made at once.
	listsAsBytes = "as bytes"
	listsDecoded = "decoded"
)

// empty measures the program on a cluster without Pods: what a Pod costs is
// what comes on top.
func (b *bench) empty(ctx context.Context) error {
	for round := range b.o.restarts {
		if err := b.restart(ctx, round+1); err != nil {
			return err
		}
	}
	return nil
}

// warm makes every Testcr, then measures restarts and lookups, and wipes them.
func (b *bench) warm(ctx context.Context) error {
	p, err := b.sync(ctx, record{Measure: kept, Program: ours})
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

// audit measures `podinfolookup verify`, which must find nothing.
func (b *bench) audit(ctx context.Context) error {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, b.o.binary, "verify", "--kubeconfig="+b.Kubeconfig) //nolint:gosec // G204: the caller's own
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	r := record{Measure: "verify", Program: ours, Pods: len(b.bodies)}
	// ru_maxrss would tell of this process, which it was forked from.
	for look := time.NewTicker(10 * time.Millisecond); r.Seconds == 0; {
		select {
		case err := <-ended:
			if err != nil {
				return fmt.Errorf("%w: %.500s", err, out.String())
			}
			r.Seconds = time.Since(start).Seconds()
			look.Stop()
		case <-look.C:
			if _, peak, err := harness.MemoryOf(cmd.Process.Pid); err == nil { // else it has ended
				r.PeakRSSKiB = max(r.PeakRSSKiB, peak) // of one that is ending it is 0
			}
		}
	}
	r.CPU = harness.CPU{"podinfolookup": (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}
	return b.Add(r)
}

// restart measures a start with every Testcr right, after the two lists that it
// cannot do without.
func (b *bench) restart(ctx context.Context, round int) (err error) {
	if err := harness.Quiet(ctx, b.Dir, nil, b.o.patience); err != nil {
		return err
	}
	r := record{Measure: "restart", Program: ours, Round: round, Pods: len(b.bodies)}
	if r.Lists, err = b.lists(ctx); err != nil {
		return err
	}
	log, err := harness.AuditFrom(b.Dir)
	if err != nil {
		return err
	}
	p, err := b.start(ours)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := p.Stop(); err == nil {
			err = stopped
		}
	}()
	address, ready, err := p.Ready(ctx)
	if err != nil {
		return err
	}
	r.Seconds = ready.Seconds()
	if err := b.compared(ctx, "http://"+address); err != nil {
		return err
	}
	if r.RSSKiB, r.PeakRSSKiB, err = p.Memory(); err != nil {
		return err
	}
	if err := harness.Pause(ctx, b.o.settle); err != nil {
		return err
	}
	if r.SteadyKiB, _, err = p.Memory(); err != nil {
		return err
	}
	if r.Writes, err = log.Writes(podinfolookup.ManagedBy+"/"); err != nil {
		return err
	}
	if len(r.Writes) > 0 {
		return fmt.Errorf("writes to Testcrs that were right: %v", r.Writes)
	}
	if err := b.Add(r); err != nil || len(b.bodies) == 0 {
		return err
	}
	return b.lookup(ctx, p, round)
}

// compared waits until the program has looked at every Pod.
func (b *bench) compared(ctx context.Context, url string) error {
	const unchanged, depth = `podinfolookup_syncs_total{result="unchanged"}`, `workqueue_depth{name="pods"}`
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, stepTimeout, true, func(ctx context.Context) (bool, error) {
		found, err := harness.Scrape(ctx, url, unchanged, depth)
		return int(found[unchanged]) >= len(b.bodies) && found[depth] == 0, err
	})
}

// lists times the lists of all Pods and of all Testcrs, both at once: as bytes
// that nobody decodes, and as client-go decodes them.
func (b *bench) lists(ctx context.Context) (map[string]float64, error) {
	took := map[string]float64{}
	for what, lists := range map[string][2]func() error{
		listsAsBytes: {
			func() error { _, err := harness.List(ctx, b.Config, podsPath, protobuf); return err },
			func() error { _, err := harness.List(ctx, b.Config, testcrsPath, "application/json"); return err },
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

// lookup measures lookups after the first sync or after the restart of a round:
// beside an API server that has just served all that, and with it stopped.
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

// ask has clients look up random Pods by IP, each again once it has its answer.
func (b *bench) ask(ctx context.Context, url string, r record) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: lookupClients}}
	var (
		took    [lookupClients][]time.Duration
		failed  [lookupClients]error
		clients sync.WaitGroup
	)
	start := time.Now()
	for c := range took {
		clients.Go(func() {
			for time.Since(start) < b.o.lookups && failed[c] == nil {
				ip := harness.IP(rand.IntN(len(b.bodies))) //nolint:gosec // G404: no secret
				asked := time.Now()
				failed[c] = askFor(ctx, client, url, ip)
				took[c] = append(took[c], time.Since(asked))
			}
		})
	}
	clients.Wait()
	elapsed := time.Since(start)
	if err := errors.Join(failed[:]...); err != nil {
		return fmt.Errorf("lookup: %w", err)
	}
	all := slices.Sorted(slices.Values(slices.Concat(took[:]...)))
	r.Program, r.Pods, r.PerSecond = ours, len(b.bodies), float64(len(all))/elapsed.Seconds()
	r.P50Ms, r.P99Ms = harness.Quantile(all, 0.5), harness.Quantile(all, 0.99)
	return b.Add(r)
}

func askFor(ctx context.Context, client *http.Client, url, ip string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/pods?ip="+ip, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read
	body, err := io.ReadAll(response.Body)       // to the end, so that the connection is used again
	if err != nil {
		return err
	}
	var answer struct {
		Items []podinfolookup.TestcrSpec `json:"items"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %.100s: %w", response.Status, body, err)
	}
	if len(answer.Items) != 1 || answer.Items[0].PodIP != ip {
		return fmt.Errorf("%s: got %.200s", ip, body)
	}
	return nil
}
