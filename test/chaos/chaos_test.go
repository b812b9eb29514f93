// Package chaos_test runs two replicas on a cluster whose Pods come and go, does
// to them and to the cluster what can happen, and has the auditor watch.
package chaos_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/test/auditor"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	// defaultMinutes is the length of the faults where CHAOS_MINUTES is not set. It is
	// shorter than one round, so each kind comes once.
	defaultMinutes = 3

	// A Testcr that is wrong for less than inFlight is on its way; where the machine
	// is too slow for that, for less than three times the p99 that is measured before the
	// first fault, once what came all at once at the start has settled. All is well from
	// the moment on that none is wrong for longer; it takes that and quietFor to see.
	inFlight = time.Second
	quietFor = 500 * time.Millisecond
	settle   = 10 * time.Second
	measure  = 10 * time.Second

	// heals is what every fault has to heal within, but for those in slowToHeal.
	heals = 5 * time.Second

	// comesBack is the time in which the load comes back after most faults.
	comesBack = 5 * time.Second
	// giveUp is when a fault that does not heal ends the run.
	giveUp = 2 * time.Minute
)

// slowToHeal are the faults that take longer for a reason.
var slowToHeal = map[string]func(leaseTimes) time.Duration{
	// Another one may lead only when the lease has run out.
	"leader killed": leaseTimes.handover,
	// It is the leader no more if it has slept for too long, and then the lease of
	// the next one is young.
	"leader stopped": leaseTimes.handover,
	// The leader loses its lease when these last for longer than the renew deadline.
	// It becomes a standby, and the lease has to run out.
	"API server killed":         leaseTimes.handover,
	"API server away 30 s":      leaseTimes.handover,
	"API server away 2 minutes": leaseTimes.handover,
	"etcd killed":               leaseTimes.handover,
	"etcd full":                 leaseTimes.handover,
	"etcd restored":             leaseTimes.handover,
	"connections cut":           leaseTimes.handover,
	"connections half-closed":   leaseTimes.handover,
	// The controller backs off from a key that another client rewrites again and
	// again, so the last rewrite stays for as long as the backoff has grown.
	"second writer": func(leaseTimes) time.Duration { return 60 * time.Second },
	// client-go pings a connection after 10 s of silence, and closes it if no answer
	// comes within 5 s. The changes since are then written beside the load.
	"connections dead": func(leaseTimes) time.Duration { return 20 * time.Second },
	// All Testcrs are written again, beside the load.
	"CRD deleted": func(leaseTimes) time.Duration { return 5 * time.Second },
}

// world is all that there is in a run.
type world struct {
	cluster  *cluster
	way      *way
	auditor  *auditor.Auditor
	replicas []*replica
	workload *workload
	report   *report
	lease    leaseTimes
}

// testedElsewhere are the kinds that `make test` leaves to packages of their own:
// test/ha and test/restore. `make chaos` plays them.
var testedElsewhere = []string{"API server away 2 minutes", "etcd restored"}

func TestChaos(t *testing.T) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // what the clients of this test meet with
	minutes := number(t, "CHAOS_MINUTES", defaultMinutes)
	seed := uint64(number(t, "CHAOS_SEED", float64(time.Now().UnixNano()%1e6)))
	kinds := slices.Collect(maps.Keys(faults))
	if some := os.Getenv("CHAOS_KINDS"); some != "" { // to look into them
		kinds = strings.Split(some, ",")
	} else if os.Getenv("CHAOS_MINUTES") == "" {
		kinds = slices.DeleteFunc(kinds, func(kind string) bool { return slices.Contains(testedElsewhere, kind) })
	}
	plan := newPlan(seed, kinds, time.Duration(minutes*float64(time.Minute)))
	fmt.Printf("seed %d\n", seed) // not t.Log, so that it is seen from the beginning
	for _, f := range plan {
		fmt.Println(f)
	}
	w := newWorld(t, &report{Seed: seed, Minutes: minutes, Plan: plan}, "-race")
	defer w.report.write(t, w.cluster.dir)

	stop := w.load(t)
	w.warmUp(t)
	begun := time.Now()
	for i, f := range plan {
		if err := pause(t.Context(), time.Until(begun.Add(f.At))); err != nil {
			t.Fatal(err)
		}
		late := false // a run that is cut by the time limit of go test leaves its processes behind
		if deadline, ok := t.Deadline(); ok {
			late = time.Until(deadline) < f.For+2*giveUp
		}
		if late {
			t.Logf("cut short after %d of %d faults: the machine is too slow", i, len(plan))
			break
		}
		if !w.suffer(t, f) {
			t.Errorf("given up after %d of %d faults", i+1, len(plan))
			break
		}
	}
	stop()
	w.judge(t)
}

func number(t *testing.T, name string, fallback float64) float64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 {
		t.Fatalf("%s=%s is not a number", name, text)
	}
	return value
}

func podName(namespace, name string) cache.ObjectName { return cache.NewObjectName(namespace, name) }

func certificate(w *way) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw})
}

func newWorld(t *testing.T, report *report, flags ...string) *world {
	t.Helper()
	w := &world{report: report, lease: leaseFor(report.byName())}
	binary := buildProgram(t, t.TempDir(), flags...)
	w.cluster = startCluster(t)
	for _, file := range []string{"testcrd.yaml", "rbac.yaml", "rbac-leader.yaml", "rbac-lookup.yaml", "admission.yaml"} {
		must(t, w.cluster.kubectl(t.Context(), "apply", "--server-side", "-f", "yaml/"+file))
	}
	must(t, w.cluster.kubectl(t.Context(), "wait", "--for=condition=Established", "crd/testcrs.stable.example.com", "--timeout=30s"))
	w.audit(t)
	w.way = newWay(t, w.cluster.config)
	dir := report.dir(t, w.cluster.dir)
	kubeconfig := kubeconfigFor(t, w.cluster, w.way, dir)
	for i := range 2 {
		w.replicas = append(w.replicas, startReplica(t, fmt.Sprint("replica-", i), binary, kubeconfig, dir, w.lease))
	}
	_, _, err := roles(t.Context(), w.replicas)
	must(t, err)
	w.workload = newWorkload(t, w.cluster.config, w.cluster.clients, report.Seed)
	return w
}

// audit starts the auditor, which speaks to the API server by itself.
func (w *world) audit(t *testing.T) {
	t.Helper()
	var err error
	w.auditor, err = auditor.New(w.cluster.config, func(string, ...any) {})
	must(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { w.auditor.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	testenv.Eventually(t, func(context.Context) error { return w.auditor.Synced() })
}

// load starts the workload, and returns what ends it.
func (w *world) load(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.workload.run(ctx) })
	end := func() { cancel(); running.Wait() }
	t.Cleanup(end)
	return end
}

// warmUp waits until the load is what it will be, and takes note of what the
// replicas need for it.
func (w *world) warmUp(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		if pods := w.auditor.Pods(); pods < 3*podsPerSecond {
			return fmt.Errorf("%d Pods so far", pods)
		}
		return nil
	})
	must(t, pause(t.Context(), settle))
	begun := time.Now()
	must(t, pause(t.Context(), measure))
	stale := w.auditor.Staleness(func(s auditor.Sample) bool { return s.Begin.After(begun) })
	w.report.InFlight = max(inFlight, 3*stale.P99)
	fmt.Printf("before the first fault: %s\n", stale)
	w.report.Before = w.usageOfAll(t.Context())
	w.report.Start = time.Now()
	w.report.podsAtStart = w.auditor.Pods()
}

// suffer does one fault, waits until all is well, and returns false if it never is.
func (w *world) suffer(t *testing.T, f fault) bool {
	t.Helper()
	o := outcome{Kind: f.Kind, Began: time.Now()}
	err := faults[f.Kind](t.Context(), w, f)
	o.Healed = time.Now()
	if err != nil {
		t.Errorf("%s: during the fault: %v", f.Kind, err)
	}
	restarted, err := w.cluster.heal(t.Context())
	if err != nil {
		t.Errorf("%s: the cluster does not heal: %v", f.Kind, err)
		return false
	}
	if len(restarted) > 0 { // the controller cannot be well before those are
		o.Healed, o.Restarted = time.Now(), restarted
	}
	well, last, err := w.recovered(t.Context(), o.Healed)
	if err != nil {
		t.Errorf("%s: %v, %v", f.Kind, err, last)
		return false
	}
	o.Took = well.Sub(o.Healed)
	limit := heals + w.report.InFlight - inFlight + relistWait(f.Kind, o.Began, w.report.Outcomes)
	if slow, ok := slowToHeal[f.Kind]; ok {
		limit += slow(w.lease)
	}
	if !w.report.byName() {
		limit = giveUp
	}
	if o.Took > limit {
		t.Errorf("%s: all was well after %s, want %s at most; then %v", f.Kind, o.Took, limit, last)
	}
	w.auditor.Judge()
	o.Found = w.auditor.Report().Found
	o.Usage = w.usage(t.Context())
	w.report.Outcomes = append(w.report.Outcomes, o)
	waited := time.Now()
	if err := w.loaded(t.Context()); err != nil {
		t.Errorf("%s: the load does not come back: %v", f.Kind, err)
		return false
	}
	fmt.Printf("%8s  %s, lasted %s, all well %s after, the load %s later\n", o.Began.Sub(w.report.Start).Round(100*time.Millisecond), f.Kind,
		o.Healed.Sub(o.Began).Round(10*time.Millisecond), o.Took.Round(10*time.Millisecond), time.Since(waited).Round(10*time.Millisecond))
	return true
}

// loaded waits until Pods come again: a fault that meets a cluster at rest proves
// little. kwok gives up on a Pod for which the API server refused its write, until
// it is restarted.
func (w *world) loaded(ctx context.Context) error {
	enough := w.auditor.Pods() + 2*backlog // backlog Pods come even while none is scheduled
	come := func(context.Context) (bool, error) { return w.auditor.Pods() >= enough, nil }
	if wait.PollUntilContextTimeout(ctx, testenv.Poll, comesBack, true, come) == nil {
		return nil
	}
	if err := w.cluster.restartFollowers(ctx); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, testenv.Poll, giveUp, true, come)
}

// recovered waits until no Testcr is wrong for longer than it may be on its way
// and a replica leads: where nothing happens a Testcr is right without one. It
// returns since when it was so, and what was wrong last.
func (w *world) recovered(ctx context.Context, healed time.Time) (since time.Time, last, err error) {
	since = healed
	err = wait.PollUntilContextTimeout(ctx, testenv.Poll, giveUp, true, func(context.Context) (bool, error) {
		now := time.Now()
		n, oldest, some := w.auditor.Drift()
		heard := w.auditor.Heard()
		switch {
		case heard.Before(since): // as after the API server was away, or etcd restored
		case n > 0 && now.Sub(oldest) > w.report.InFlight:
			last = fmt.Errorf("at %s %d Testcrs are wrong, the oldest for %s: %s", now.Format(time.StampMilli), n, now.Sub(oldest), some)
			since = now
		case now.Sub(since) < w.report.InFlight+quietFor:
		case !slices.ContainsFunc(w.usage(ctx), func(u usage) bool { return u.Leads }):
			last = fmt.Errorf("at %s no replica leads", now.Format(time.StampMilli))
			since = now
		default:
			return true, nil
		}
		return false, nil
	})
	return since, last, err
}

// usage reads off the replicas what they take.
func (w *world) usage(ctx context.Context) (all []usage) {
	for _, r := range w.replicas {
		if m, err := r.metrics(ctx); err == nil {
			all = append(all, usage{Replica: r.name, Goroutines: int(m["go_goroutines"]), Bytes: int(m["process_resident_memory_bytes"]), Leads: m[leads] == 1,
				Started: time.UnixMilli(int64(m["process_start_time_seconds"] * 1000))})
		}
	}
	return all
}

// usageOfAll asks again while a replica does not answer within a second, as on a
// machine that others use.
func (w *world) usageOfAll(ctx context.Context) (all []usage) {
	_ = wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(ctx context.Context) (bool, error) {
		all = w.usage(ctx)
		return len(all) == len(w.replicas), nil
	}) // problems reports which is missing
	return all
}

// judge brings all to rest and says what is wrong.
func (w *world) judge(t *testing.T) {
	t.Helper()
	w.report.end(w)
	if err := w.auditor.AtRest(t.Context(), giveUp); err != nil {
		t.Error(err)
	}
	w.report.After = w.usageOfAll(t.Context())
	for _, r := range w.replicas {
		r.stop()
		w.report.takeLog(r)
	}
	w.report.Audit = w.auditor.Report()
	w.report.Bad = append(w.report.Bad, w.workload.hostile.missing()...)
	for _, problem := range w.report.problems() {
		t.Errorf("%.500s", problem) // the report has all of it
	}
	if t.Failed() {
		for _, r := range w.replicas {
			t.Logf("the last lines of %s:\n%s", r.name, r.tail(5))
		}
	}
}
