package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

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

const (
	// backupAge is how old the backup is when it is restored, and backupVersions how
	// many versions are lost with it at least. The API server makes some 100 while it
	// starts; no client can detect a restore that takes back fewer.
	backupAge      = 6 * time.Second
	backupVersions = 500

	// secondWriterFor is how long another client rewrites what the controller writes,
	// long enough for the backoff of a key to grow.
	secondWriterFor = 10 * time.Second
	contestedPods   = 4
	// contestedWrites is what the controller may write of one Testcr meanwhile. Without
	// a backoff it writes one hundred and more a second.
	contestedWrites = 100

	// keptFor is how long a finalizer keeps a Testcr whose Pod has gone.
	keptFor  = 3 * time.Second
	keptPods = 3
	keeper   = "chaos.example.com/keep"
)

// away has the API server gone and its address refuse connections, for longer
// than the renew deadline. Both processes must survive it and answer meanwhile.
func (w *world) away(ctx context.Context, f fault) error {
	before := make([]int, len(w.replicas))
	for i, r := range w.replicas {
		before[i], _ = r.running()
	}
	w.way.connections.Stop()
	if err := w.cluster.kill(ctx, "kube-apiserver"); err != nil {
		return err
	}
	if err := pause(ctx, f.For); err != nil {
		return err
	}
	var survived error
	for i, r := range w.replicas {
		survived = errors.Join(survived, r.survived(ctx, before[i]))
	}
	if err := w.cluster.start(ctx, "kube-apiserver"); err != nil {
		return err
	}
	// They would wait for up to a minute before they list again.
	return errors.Join(survived, w.cluster.ready(ctx), w.way.connections.Start(), w.cluster.restartFollowers(ctx))
}

// survived returns an error unless the process of before still runs, lives, and
// answers lookups from its caches.
func (r *replica) survived(ctx context.Context, before int) error {
	if starts, now := r.running(); starts != before || !now {
		return fmt.Errorf("%s did not survive the outage: it runs: %t, and was started %d times meanwhile", r.name, now, starts-before)
	}
	for _, path := range []string{"/livez", "/v1/summary"} {
		if _, err := r.get(ctx, path); err != nil {
			return fmt.Errorf("during the outage: %w", err)
		}
	}
	return nil
}

// followers are the parts of the cluster that make Pods come and go. Kubernetes'
// documentation has one restart them after a restore, because they do not notice
// it. After a long outage a real cluster restarts them, since they have lost their
// leases; these have none.
var followers = []string{"kube-controller-manager", "kube-scheduler", "kwok-controller"}

func (c *cluster) restartFollowers(ctx context.Context) (err error) {
	for _, part := range followers {
		err = errors.Join(err, c.kill(ctx, part), c.start(ctx, part))
	}
	return err
}

// restoreEtcd puts etcd back to a backup that is some seconds old, as Kubernetes'
// documentation has it, but for the replicas, which have to notice it themselves.
func restoreEtcd(ctx context.Context, w *world, f fault) error {
	if err := w.cluster.backUp(ctx); err != nil {
		return err
	}
	saved, err := w.versionNow(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, f.For); err != nil {
		return err
	}
	var lost uint64
	err = wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(ctx context.Context) (bool, error) {
		lost, err = w.versionNow(ctx)
		return lost >= saved+backupVersions, err
	})
	if err != nil {
		return fmt.Errorf("version %d at the backup, and only %d later: %w", saved, lost, err)
	}
	for _, part := range slices.Concat([]string{"kube-apiserver"}, followers, []string{"etcd"}) {
		if err := w.cluster.kill(ctx, part); err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	w.auditor.Restored()
	if err := w.cluster.restore(); err != nil {
		return err
	}
	for _, part := range []string{"etcd", "kube-apiserver"} {
		if err := w.cluster.start(ctx, part); err != nil {
			return err
		}
	}
	if err := w.cluster.ready(ctx); err != nil {
		return err
	}
	restored, err := w.versionNow(ctx)
	if err == nil && restored >= lost {
		err = fmt.Errorf("versions did not go back: %d before the restore, %d after it", lost, restored)
	}
	for _, part := range followers {
		err = errors.Join(err, w.cluster.start(ctx, part))
	}
	return err
}

func (w *world) versionNow(ctx context.Context) (uint64, error) {
	text, err := w.cluster.version(ctx)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(text, 10, 64)
}

// dataDir is where etcd keeps its data, and backupDir where a copy of it is.
func (c *cluster) dataDir() (data, backup string, err error) {
	for i, arg := range c.parts["etcd"].argv {
		value, ok := strings.CutPrefix(arg, "--data-dir=")
		if arg == "--data-dir" && i+1 < len(c.parts["etcd"].argv) {
			value, ok = c.parts["etcd"].argv[i+1], true
		}
		if ok {
			return value, filepath.Join(c.work(), "backup"), nil
		}
	}
	return "", "", errors.New("etcd was started without --data-dir")
}

// backUp copies etcd's data while etcd is stopped, so the copy is what a crash at
// this moment would leave.
func (c *cluster) backUp(ctx context.Context) error {
	data, backup, err := c.dataDir()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(backup); err != nil {
		return err
	}
	etcd := c.parts["etcd"]
	if err := syscall.Kill(etcd.pid, syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(etcd.pid, syscall.SIGCONT) }()
	err = wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(context.Context) (bool, error) { return etcd.stopped() })
	if err != nil {
		return fmt.Errorf("etcd does not stop: %w", err)
	}
	return os.CopyFS(backup, os.DirFS(data))
}

// restore replaces etcd's data by the backup. etcd must not run.
func (c *cluster) restore() error {
	data, backup, err := c.dataDir()
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(data), os.Rename(backup, data))
}

// stopped reports whether all threads of a part are stopped by a signal.
func (p *part) stopped() (bool, error) {
	states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid))
	if err != nil || len(states) == 0 {
		return false, errors.Join(err, errors.New("it does not run"))
	}
	for _, file := range states {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // a thread that has ended
		}
		if err != nil {
			return false, err
		}
		if _, state, _ := strings.Cut(string(text), ") "); !strings.HasPrefix(state, "T") {
			return false, nil
		}
	}
	return true, nil
}

// secondWriter has another client rewrite a field of a few Testcrs each time they
// change, as a second controller does that differs. Their Pods do not change, so
// each write in between is the controller's.
func secondWriter(ctx context.Context, w *world, f fault) error {
	victims, err := w.ownPods(ctx, "contested", contestedPods)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, f.For)
	defer cancel()
	var busy sync.WaitGroup
	writes, errs := make([]int, len(victims)), make([]error, len(victims))
	for i, victim := range victims {
		busy.Go(func() { writes[i], errs[i] = w.contest(limited, ctx, victim.GetName()) })
	}
	busy.Wait()
	var wrong error
	for i, n := range writes {
		switch {
		case n == 0:
			wrong = errors.Join(wrong, fmt.Errorf("contested-%d: the controller left the other's value, and wrote nothing", i))
		case n > contestedWrites:
			wrong = errors.Join(wrong, fmt.Errorf("contested-%d: the controller wrote %d times in %s, want %d at most", i, n, f.For, contestedWrites))
		}
	}
	return errors.Join(wrong, errors.Join(errs...))
}

// contest puts its own value in a Testcr whenever that has another, until limited
// ends, and returns how often the controller has put its own back. Requests get ctx,
// so that none is cut off and each write is allowed.
func (w *world) contest(limited, ctx context.Context, name string) (theirs int, err error) {
	testcrs := w.cluster.dynamic.Resource(v1.GroupVersionResource)
	rewritten := false
	for limited.Err() == nil {
		events, err := testcrs.Watch(limited, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		switch {
		case limited.Err() != nil:
			return theirs, nil //nolint:nilerr // the fault is over
		case err != nil:
			return theirs, err
		}
		for event := range events.ResultChan() {
			u, ok := event.Object.(*unstructured.Unstructured)
			if !ok || limited.Err() != nil {
				break
			}
			if node, _, _ := unstructured.NestedString(u.Object, "spec", "nodename"); node == "contested" {
				continue
			}
			if rewritten {
				theirs++
			}
			u, err := testcrs.Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"nodename":"contested"}}`), metav1.PatchOptions{})
			if err != nil {
				events.Stop()
				return theirs, err
			}
			rewritten = true
			w.auditor.AllowWrite(u.GetResourceVersion())
		}
		events.Stop()
	}
	return theirs, nil
}

// ownPods returns the Testcrs of n Pods that belong to a fault and that the load
// leaves alone, once they run.
func (w *world) ownPods(ctx context.Context, app string, n int) (testcrs []*unstructured.Unstructured, err error) {
	for i := range n {
		spec := template(app)
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", app, i), Labels: spec.Labels}, Spec: spec.Spec}
		_, err := w.cluster.clients.CoreV1().Pods(w.workload.namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
	for i := range n {
		name := v1.NameFor(types.NamespacedName(podName(w.workload.namespace, fmt.Sprintf("%s-%d", app, i))))
		u, err := w.eventually(ctx, name, func(u *unstructured.Unstructured) bool {
			phase, _, _ := unstructured.NestedString(u.Object, "spec", "phase")
			return phase == string(corev1.PodRunning) && u.GetDeletionTimestamp() == nil
		})
		if err != nil {
			return nil, fmt.Errorf("the Testcr of %s-%d does not say that it runs: %w", app, i, err)
		}
		testcrs = append(testcrs, u)
	}
	return testcrs, nil
}

// eventually returns the Testcr once it is as it should be.
func (w *world) eventually(ctx context.Context, name string, right func(*unstructured.Unstructured) bool) (found *unstructured.Unstructured, err error) {
	testcrs := w.cluster.dynamic.Resource(v1.GroupVersionResource)
	err = wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(ctx context.Context) (bool, error) {
		u, err := testcrs.Get(ctx, name, metav1.GetOptions{})
		if err != nil || !right(u) {
			return false, nil //nolint:nilerr // it may come
		}
		found = u
		return true, nil
	})
	return found, err
}

// keepTestcrs deletes Testcrs in the foreground while a finalizer keeps them, and
// the Pod of the first one. That one must be emptied: until its finalizer goes it
// would show a Pod that has gone.
func keepTestcrs(ctx context.Context, w *world, f fault) error {
	victims, err := w.ownPods(ctx, "kept", keptPods)
	if err != nil {
		return err
	}
	testcrs := w.cluster.dynamic.Resource(v1.GroupVersionResource)
	for _, victim := range victims {
		if err := w.deleteKept(ctx, testcrs, victim); err != nil {
			return err
		}
	}
	pods := w.cluster.clients.CoreV1().Pods(w.workload.namespace)
	if err := pods.Delete(ctx, "kept-0", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		return err
	}
	_, err = w.eventually(ctx, victims[0].GetName(), func(u *unstructured.Unstructured) bool {
		uid, found, _ := unstructured.NestedString(u.Object, "spec", "poduid")
		return found && uid == "" && u.GetDeletionTimestamp() != nil
	})
	if err != nil {
		err = fmt.Errorf("the Testcr of kept-0 shows a Pod that has gone: %w", err)
	}
	err = errors.Join(err, pause(ctx, f.For))
	for _, victim := range victims {
		err = errors.Join(err, w.releaseKept(ctx, testcrs, victim))
	}
	return err
}

// deleteKept deletes a Testcr once it has a finalizer.
func (w *world) deleteKept(ctx context.Context, testcrs dynamic.ResourceInterface, victim *unstructured.Unstructured) error {
	keep := fmt.Appendf(nil, `{"metadata":{"finalizers":[%q]}}`, keeper)
	if _, err := testcrs.Patch(ctx, victim.GetName(), types.MergePatchType, keep, metav1.PatchOptions{}); err != nil {
		return err
	}
	uid := victim.GetUID()
	w.auditor.AllowDelete(string(uid))
	return testcrs.Delete(ctx, victim.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: new(metav1.DeletePropagationForeground),
	})
}

// releaseKept takes the finalizer away, and waits until the Testcr has gone: the
// other finalizer is the garbage collector's to take away.
func (*world) releaseKept(ctx context.Context, testcrs dynamic.ResourceInterface, victim *unstructured.Unstructured) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(ctx context.Context) (bool, error) {
		u, err := testcrs.Get(ctx, victim.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && u.GetUID() != victim.GetUID() {
			return true, nil
		}
		if err != nil {
			return false, nil //nolint:nilerr // it may be a moment's
		}
		last = fmt.Errorf("it has the finalizers %v", u.GetFinalizers())
		if left := slices.DeleteFunc(u.GetFinalizers(), func(s string) bool { return s == keeper }); len(left) < len(u.GetFinalizers()) {
			u.SetFinalizers(left)
			_, _ = testcrs.Update(ctx, u, metav1.UpdateOptions{}) // the next round sees, a conflict too
		}
		return false, nil
	})
	if err == nil {
		return nil
	}
	_, _ = testcrs.Patch(ctx, victim.GetName(), types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}) // for the faults that come next
	return fmt.Errorf("testcr %s does not go: %w: %w", victim.GetName(), err, last)
}
