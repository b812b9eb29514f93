package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// injection does a fault and heals it: when it returns, the world is well again,
// and the time begins in which the controller has to be, too.
type injection func(ctx context.Context, w *world, f fault) error

// faults are all kinds there are.
var faults = map[string]injection{
	"leader killed":  func(ctx context.Context, w *world, _ fault) error { return w.kill(ctx, true) },
	"standby killed": func(ctx context.Context, w *world, _ fault) error { return w.kill(ctx, false) },
	// Longer than the lease: it wakes up when another one leads.
	"leader stopped":  func(ctx context.Context, w *world, f fault) error { return w.halt(ctx, true, w.lease.duration+f.For) },
	"leader dozed":    func(ctx context.Context, w *world, f fault) error { return w.halt(ctx, true, f.For/2) },
	"standby stopped": func(ctx context.Context, w *world, f fault) error { return w.halt(ctx, false, w.lease.duration+f.For) },

	"API server killed": func(ctx context.Context, w *world, f fault) error { return w.crash(ctx, f, "kube-apiserver") },
	"etcd killed":       func(ctx context.Context, w *world, f fault) error { return w.crash(ctx, f, "etcd") },

	"API server away 30 s":      func(ctx context.Context, w *world, f fault) error { return w.away(ctx, f) },
	"API server away 2 minutes": func(ctx context.Context, w *world, f fault) error { return w.away(ctx, f) },

	"connections cut":         cutConnections,
	"connections delayed":     delayConnections,
	"connections half-closed": halfCloseConnections,
	"connections dead":        deadenConnections,

	"answers 409": func(ctx context.Context, w *world, f fault) error {
		return w.rule(ctx, f, answer(http.StatusConflict, "Conflict", "", 0.5, func(r *http.Request) bool { return isTestcr(r) && isWrite(r) }))
	},
	"answers 429": func(ctx context.Context, w *world, f fault) error {
		return w.rule(ctx, f, answer(http.StatusTooManyRequests, "TooManyRequests", "1", 0.3, func(*http.Request) bool { return true }))
	},
	"answers 500": func(ctx context.Context, w *world, f fault) error {
		return w.rule(ctx, f, answer(http.StatusInternalServerError, "InternalError", "", 0.5, func(*http.Request) bool { return true }))
	},
	"answers 503": func(ctx context.Context, w *world, f fault) error {
		return w.rule(ctx, f, answer(http.StatusServiceUnavailable, "ServiceUnavailable", "", 0.5, func(*http.Request) bool { return true }))
	},
	"answers lost after the write": func(ctx context.Context, w *world, f fault) error {
		hang := f.For / 2
		if err := w.rule(ctx, f, swallow(0.3, hang)); err != nil {
			return err
		}
		return pause(ctx, hang) // for those that the rule has met last
	},

	"watches closed": func(ctx context.Context, w *world, f fault) error {
		for range 5 {
			w.way.requests.cut()
			if err := pause(ctx, f.For/5); err != nil {
				return err
			}
		}
		return nil
	},
	"watches answered with 410": func(ctx context.Context, w *world, f fault) error {
		gone := answer(http.StatusGone, "Expired", "", 1, func(r *http.Request) bool {
			return isWatch(r) && r.URL.Query().Get("sendInitialEvents") == ""
		})
		time.AfterFunc(f.For/4, w.way.requests.cut) // or they would go on
		time.AfterFunc(f.For/2, w.way.requests.cut)
		return w.rule(ctx, f, gone)
	},
	"bookmarks lost": func(ctx context.Context, w *world, f fault) error {
		w.way.requests.rule.Store(&rule{deaf: true})
		w.way.requests.cut()
		if err := pause(ctx, f.For); err != nil {
			return err
		}
		w.way.requests.cut() // they resume from an older version than they could
		w.way.requests.rule.Store(nil)
		return nil
	},

	"etcd compacted": compact,
	"etcd full":      fillEtcd,
	"etcd restored":  restoreEtcd,
	"CRD deleted":    deleteCRD,

	"Testcrs deleted": func(ctx context.Context, w *world, f fault) error { return w.intrude(ctx, f, w.deleteTestcr) },
	"Testcrs edited":  func(ctx context.Context, w *world, f fault) error { return w.intrude(ctx, f, w.editTestcr) },
	"Testcrs forged":  func(ctx context.Context, w *world, f fault) error { return w.intrude(ctx, f, w.forgeTestcr) },

	"Testcrs kept by finalizer": keepTestcrs,
	"second writer":             secondWriter,

	"clock of the lease jumps": jumpLease,
	"names reused":             reuseNames,
	"rights taken away":        takeRights,
}

// pause waits, as a fault that lasts does.
func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}

// rule has the proxy keep a rule as long as the fault lasts. A rule that has met
// no request was no fault.
func (w *world) rule(ctx context.Context, f fault, r *rule) error {
	p := w.way.requests
	before := p.hits.Load()
	p.rule.Store(r)
	defer p.rule.Store(nil)
	if err := pause(ctx, f.For); err != nil {
		return err
	}
	// After other faults it may take a while until Pods come and go again.
	err := wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(context.Context) (bool, error) {
		return p.hits.Load() > before, nil
	})
	if err != nil {
		return errors.New("no request came that the fault could have met")
	}
	return nil
}

func (w *world) kill(ctx context.Context, leader bool) error {
	victim, standby, err := roles(ctx, w.replicas)
	if err != nil {
		return fmt.Errorf("who leads: %w", err)
	}
	if !leader {
		victim = standby
	}
	if !victim.signal(syscall.SIGKILL) {
		return errors.New("it was not running")
	}
	return nil
}

func (w *world) halt(ctx context.Context, leader bool, length time.Duration) error {
	victim, standby, err := roles(ctx, w.replicas)
	if err != nil {
		return fmt.Errorf("who leads: %w", err)
	}
	if !leader {
		victim = standby
	}
	if !victim.signal(syscall.SIGSTOP) {
		return errors.New("it was not running")
	}
	defer victim.signal(syscall.SIGCONT)
	return pause(ctx, length)
}

func (w *world) crash(ctx context.Context, f fault, part string) error {
	if err := w.cluster.kill(ctx, part); err != nil {
		return err
	}
	if err := pause(ctx, f.For); err != nil {
		return err
	}
	if err := w.cluster.start(ctx, part); err != nil {
		return err
	}
	return w.cluster.ready(ctx)
}

func cutConnections(ctx context.Context, w *world, f fault) error {
	w.way.connections.Stop()
	if err := pause(ctx, f.For); err != nil {
		return err
	}
	return w.way.connections.Start()
}

func delayConnections(ctx context.Context, w *world, f fault) error {
	return w.poisoned(ctx, f, "latency", "downstream", `{"latency":300,"jitter":200}`)
}

// halfCloseConnections lets one direction through only.
func halfCloseConnections(ctx context.Context, w *world, f fault) error {
	stream := []string{"upstream", "downstream"}[f.Pick%2]
	return w.poisoned(ctx, f, "timeout", stream, `{"timeout":0}`)
}

func (w *world) poisoned(ctx context.Context, f fault, kind, stream, attributes string) error {
	remedy, err := w.way.poison(kind, stream, attributes)
	if err != nil {
		return err
	}
	return errors.Join(pause(ctx, f.For), remedy(ctx))
}

// deadenConnections has the connections of now go silent for ever; new ones are
// well at once.
func deadenConnections(_ context.Context, w *world, _ fault) error {
	if w.way.listener.freeze() == 0 {
		return errors.New("there are no connections")
	}
	return nil
}

// compact makes etcd forget while the replicas do not watch.
func compact(ctx context.Context, w *world, f fault) error {
	w.way.connections.Stop()
	if err := pause(ctx, f.For/2); err != nil {
		return err
	}
	err := w.cluster.compact(ctx)
	return errors.Join(err, w.way.connections.Start())
}

func fillEtcd(ctx context.Context, w *world, f fault) error {
	if err := w.cluster.full(ctx, true); err != nil {
		return err
	}
	err := pause(ctx, f.For)
	return errors.Join(err, w.cluster.full(ctx, false))
}

// deleteCRD deletes the CRD and applies it again. All deletions in between are
// its own.
func deleteCRD(ctx context.Context, w *world, _ fault) error {
	crds := w.cluster.extensions.ApiextensionsV1().CustomResourceDefinitions()
	const name = "testcrs.stable.example.com"
	before, err := w.cluster.version(ctx)
	if err != nil {
		return err
	}
	if err := crds.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	for try := 0; ; try++ {
		_, err := crds.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			break
		}
		if err := pause(ctx, testenv.Poll); err != nil {
			return err
		}
		if try%100 == 99 { // a change has the API server look at it again, which it may take minutes to do by itself
			change := fmt.Appendf(nil, `{"metadata":{"annotations":{"try":"%d"}}}`, try)
			_, _ = crds.Patch(ctx, name, types.MergePatchType, change, metav1.PatchOptions{}) // it may be gone by now
		}
	}
	after, err := w.cluster.version(ctx)
	if err != nil {
		return err
	}
	w.auditor.AllowDeletions(before, after)
	if err := w.cluster.kubectl(ctx, "apply", "--server-side", "-f", "yaml/testcrd.yaml"); err != nil {
		return err
	}
	return w.cluster.kubectl(ctx, "wait", "--for=condition=Established", "crd/"+name, "--timeout=30s")
}

// version returns the newest resource version.
func (c *cluster) version(ctx context.Context) (string, error) {
	list, err := c.clients.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return "", err
	}
	return list.ResourceVersion, nil
}

// intrude has another client write Testcrs as long as the fault lasts, and owns
// up to each write. What it does not hear back of would be a finding.
func (w *world) intrude(ctx context.Context, f fault, one func(context.Context, *rand.Rand, dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	testcrs := w.cluster.dynamic.Resource(v1.GroupVersionResource)
	list, err := testcrs.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	chance := rand.New(rand.NewPCG(f.Pick, 0)) //nolint:gosec // G404: no secret
	end, done := time.Now().Add(f.For), 0
	for time.Now().Before(end) && len(list.Items) > 0 {
		victim := &list.Items[chance.IntN(len(list.Items))]
		switch err := one(ctx, chance, testcrs, victim); {
		case err == nil:
			done++
		case !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err):
			return err
		}
		if err := pause(ctx, testenv.Poll); err != nil {
			return err
		}
	}
	if done == 0 {
		return errors.New("nothing was written")
	}
	return nil
}

func (w *world) deleteTestcr(ctx context.Context, _ *rand.Rand, testcrs dynamic.ResourceInterface, victim *unstructured.Unstructured) error {
	uid := victim.GetUID()
	err := testcrs.Delete(ctx, victim.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err == nil {
		w.auditor.AllowDelete(string(uid))
	}
	return err
}

// editTestcr changes a Testcr in one of the ways that make trouble: its values,
// its podkey, or its managed-by label.
func (w *world) editTestcr(ctx context.Context, chance *rand.Rand, testcrs dynamic.ResourceInterface, victim *unstructured.Unstructured) error {
	edits := []string{
		`{"spec":{"podip":"203.0.113.9","podips":["203.0.113.9"]}}`,
		`{"spec":{"poduid":"00000000-0000-0000-0000-000000000000"}}`,
		`{"spec":{"podkey":"chaos/nobody"}}`,
		`{"spec":{"labels":null,"containers":null}}`,
		`{"metadata":{"labels":{"ip.stable.example.com/203.0.113.9":""}}}`,
		`{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}`,
		`{"metadata":{"labels":null}}`,
	}
	edit := edits[chance.IntN(len(edits))]
	u, err := testcrs.Patch(ctx, victim.GetName(), types.MergePatchType, []byte(edit), metav1.PatchOptions{})
	if err == nil {
		w.auditor.AllowWrite(u.GetResourceVersion())
	}
	return err
}

// forgeTestcr creates one for a Pod that is not, under its name or under any.
func (w *world) forgeTestcr(ctx context.Context, chance *rand.Rand, testcrs dynamic.ResourceInterface, victim *unstructured.Unstructured) error {
	u := victim.DeepCopy()
	u.SetResourceVersion("")
	u.SetUID("")
	u.SetManagedFields(nil)
	pod := fmt.Sprint("forged-", chance.Uint64())
	spec := u.Object["spec"].(map[string]any)
	spec["podkey"], spec["podname"] = "chaos/"+pod, pod
	u.SetName(v1.NameFor(types.NamespacedName(podName("chaos", pod))))
	if chance.IntN(2) == 0 {
		u.SetName(pod)
	}
	u, err := testcrs.Create(ctx, u, metav1.CreateOptions{})
	if err == nil {
		w.auditor.AllowWrite(u.GetResourceVersion())
	}
	return err
}

// jumpLease writes the lease as a leader would whose clock is an hour off. The
// clock of one process cannot be set without rights that no test should need.
func jumpLease(ctx context.Context, w *world, f fault) error {
	leases := w.cluster.clients.CoordinationV1().Leases("podinfolookup")
	for try := range 4 {
		jump := time.Hour
		if (f.Pick+uint64(try))%2 == 0 {
			jump = -jump
		}
		lease, err := leases.Get(ctx, "podinfolookup", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, at := range []*metav1.MicroTime{lease.Spec.RenewTime, lease.Spec.AcquireTime} {
			if at != nil {
				at.Time = at.Add(jump)
			}
		}
		if err := update(ctx, leases.Update, lease); err != nil {
			return err
		}
		if err := pause(ctx, f.For/4); err != nil {
			return err
		}
	}
	return nil
}

func update(ctx context.Context, write func(context.Context, *coordinationv1.Lease, metav1.UpdateOptions) (*coordinationv1.Lease, error), lease *coordinationv1.Lease) error {
	_, err := write(ctx, lease, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) { // the leader was quicker
		return nil
	}
	return err
}

// reuseNames creates and deletes Pods under the same few names, as fast as it goes.
func reuseNames(ctx context.Context, w *world, f fault) error {
	const names, least = 3, 2 // a slow API server gets longer than f.For for these
	limited, cancel := context.WithTimeout(ctx, max(f.For, testenv.Patience))
	defer cancel()
	begun := time.Now()
	pods := w.cluster.clients.CoreV1().Pods(w.workload.namespace)
	var busy sync.WaitGroup
	made := make([]int, names)
	for i := range names {
		busy.Go(func() {
			spec := template("reused")
			name := fmt.Sprint("reused-", i)
			for limited.Err() == nil && (time.Since(begun) < f.For || made[i] < least) {
				_, err := pods.Create(limited, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: spec.Labels}, Spec: spec.Spec}, metav1.CreateOptions{})
				if err == nil {
					made[i]++
				}
				_ = pods.Delete(limited, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}) // the next round sees
			}
		})
	}
	busy.Wait()
	for i := range names {
		err := pods.Delete(ctx, fmt.Sprint("reused-", i), metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if made[i] < least {
			return fmt.Errorf("reused-%d was created %d times", i, made[i])
		}
	}
	return nil
}

// takeRights takes the rights on Testcrs and Pods away, those on the lease stay.
func takeRights(ctx context.Context, w *world, f fault) error {
	if err := w.cluster.kubectl(ctx, "delete", "clusterrolebinding", "podinfolookup"); err != nil {
		return err
	}
	w.way.requests.cut() // what is open goes on without rights
	err := pause(ctx, f.For)
	return errors.Join(err, w.cluster.kubectl(context.WithoutCancel(ctx), "apply", "--server-side", "-f", "yaml/rbac.yaml"))
}
