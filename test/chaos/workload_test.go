package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const (
	// podsPerSecond is how many Pods the workload has made: the half of them by
	// itself, the others by the controllers of Kubernetes.
	podsPerSecond = 20
	// barePods live at a time.
	barePods = 60
	// backlog is how many Pods may be on their way in or out before the workload
	// waits for the cluster: on a slow machine its load is what that can take.
	backlog = podsPerSecond / 2
	// jobTTL is how long a finished Job stays.
	jobTTL = 1
)

// workload makes Pods come and go in every way that Kubernetes has.
type workload struct {
	clients   kubernetes.Interface
	namespace string
	chance    *rand.Rand

	hostile *hostilePods

	mu     sync.Mutex
	bare   []bare // Pods
	number int

	behind atomic.Bool // the cluster does not keep up

	asked, failed atomic.Int64 // requests; that some fail is part of the trial
}

// bare is a Pod without a controller. number orders them by their creation.
type bare struct {
	name   string
	number int
}

func newWorkload(t *testing.T, config *rest.Config, clients kubernetes.Interface, seed uint64) *workload {
	t.Helper()
	w := &workload{clients: clients, namespace: "chaos", chance: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // G404: no secret
	var err error
	w.hostile, err = newHostilePods(config, clients, w.namespace)
	must(t, err)
	_, err = clients.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, metav1.CreateOptions{})
	must(t, err)
	testenv.Eventually(t, func(ctx context.Context) error {
		_, err := clients.CoreV1().ServiceAccounts(w.namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	for i := range 2 {
		_, err := clients.AppsV1().Deployments(w.namespace).Create(t.Context(), &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("web-", i)},
			Spec: appsv1.DeploymentSpec{
				Replicas: new(int32(15)), Selector: selector(fmt.Sprint("web-", i)), Template: template(fmt.Sprint("web-", i)),
			},
		}, metav1.CreateOptions{})
		must(t, err)
	}
	_, err = clients.AppsV1().StatefulSets(w.namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: new(int32(6)), Selector: selector("db"), Template: template("db"), PodManagementPolicy: appsv1.ParallelPodManagement,
		},
	}, metav1.CreateOptions{})
	must(t, err)
	return w
}

func selector(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

func template(app string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "nginx:1.29"}}},
	}
}

// run makes work until ctx ends, each piece beside the others, so that an API
// server that hangs does not end the load. While the API server is away all of it
// fails, which is no failure of the run.
func (w *workload) run(ctx context.Context) {
	const workers = 8
	var running sync.WaitGroup
	todo := make(chan func(context.Context) error, workers)
	for range workers {
		running.Go(func() {
			for piece := range todo {
				limited, cancel := context.WithTimeout(ctx, 5*time.Second)
				w.count(piece(limited))
				cancel()
			}
		})
	}
	running.Go(func() { w.watchBacklog(ctx) })
	running.Go(func() { w.hostile.run(ctx, w.count) })
	tick := time.NewTicker(2 * time.Second / podsPerSecond) // for each Pod that it makes, another is made by a controller
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if w.behind.Load() {
				continue
			}
			for _, piece := range []func(context.Context) error{w.bareOnes(), w.controlled()} {
				select {
				case todo <- piece:
				default: // all workers wait
				}
			}
		}
	}
	close(todo)
	running.Wait()
}

func (w *workload) count(err error) {
	w.asked.Add(1)
	if err != nil {
		w.failed.Add(1)
	}
}

// watchBacklog looks each second whether the cluster keeps up, and which bare
// Pods there are.
func (w *workload) watchBacklog(ctx context.Context) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-look.C:
			w.mu.Lock()
			newest := w.number
			w.mu.Unlock()
			pods, err := w.clients.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app!=" + hostileApp, ResourceVersion: "0"})
			if err != nil {
				continue // as in an outage, which is no reason to wait
			}
			n := 0
			for i := range pods.Items {
				if pods.Items[i].DeletionTimestamp != nil || pods.Items[i].Status.Phase == corev1.PodPending {
					n++
				}
			}
			w.behind.Store(n > backlog)
			w.setBare(pods.Items, newest)
		}
	}
}

// setBare replaces the bare Pods by those of a list, which knows none newer than
// newest. Without it those whose deletion an outage has swallowed would stay, and
// so would those that a restore of etcd brings back.
func (w *workload) setBare(pods []corev1.Pod, newest int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bare = slices.DeleteFunc(w.bare, func(b bare) bool { return b.number <= newest })
	for i := range pods {
		text, ok := strings.CutPrefix(pods[i].Name, "bare-")
		number, err := strconv.Atoi(text)
		if ok && err == nil && number <= newest && pods[i].DeletionTimestamp == nil {
			w.bare = append(w.bare, bare{pods[i].Name, number})
		}
	}
	slices.SortFunc(w.bare, func(a, b bare) int { return a.number - b.number })
}

// nextBare returns the name of the next bare Pod, and those of up to two that are
// to go: more than one if there are too many.
func (w *workload) nextBare() (name string, old []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	name = fmt.Sprint("bare-", w.number)
	w.bare = append(w.bare, bare{name, w.number})
	for len(w.bare) > barePods && len(old) < 2 {
		i := w.chance.IntN(len(w.bare) / 2)
		old = append(old, w.bare[i].name)
		w.bare = slices.Delete(w.bare, i, i+1)
	}
	return name, old
}

// bareOnes creates a bare Pod, and deletes one when there are enough.
func (w *workload) bareOnes() func(context.Context) error {
	name, old := w.nextBare()
	var grace *int64 // the default
	if w.chance.IntN(2) == 0 {
		grace = new(int64)
	}
	pods := w.clients.CoreV1().Pods(w.namespace)
	return func(ctx context.Context) error {
		t := template("bare")
		_, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: t.Labels}, Spec: t.Spec}, metav1.CreateOptions{})
		for _, name := range old {
			err = errors.Join(err, pods.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: grace}))
		}
		return err
	}
}

// controlled has a controller make Pods: of a Job, or for those that are deleted
// or rolled out anew.
func (w *workload) controlled() func(context.Context) error {
	switch dice := w.chance.IntN(100); {
	case dice < 20:
		name := fmt.Sprint("job-", w.nextNumber())
		return func(ctx context.Context) error {
			t := template(name)
			t.Spec.RestartPolicy = corev1.RestartPolicyNever
			_, err := w.clients.BatchV1().Jobs(w.namespace).Create(ctx, &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec:       batchv1.JobSpec{Template: t, TTLSecondsAfterFinished: new(int32(jobTTL))},
			}, metav1.CreateOptions{})
			return err
		}
	case dice < 60:
		name := fmt.Sprint("db-", w.chance.IntN(6))
		return func(ctx context.Context) error {
			return w.clients.CoreV1().Pods(w.namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		}
	case dice < 98:
		app, which := fmt.Sprint("web-", w.chance.IntN(2)), w.chance.IntN(15)
		return func(ctx context.Context) error { return w.deleteOne(ctx, app, which) }
	default:
		app, number := fmt.Sprint("web-", w.chance.IntN(2)), w.nextNumber()
		return func(ctx context.Context) error {
			change := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"rollout":"%d"}}}}}`, number)
			_, err := w.clients.AppsV1().Deployments(w.namespace).Patch(ctx, app, types.StrategicMergePatchType, change, metav1.PatchOptions{})
			return err
		}
	}
}

func (w *workload) nextNumber() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	return w.number
}

func (w *workload) deleteOne(ctx context.Context, app string, which int) error {
	pods, err := w.clients.CoreV1().Pods(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app, ResourceVersion: "0"})
	if err != nil || len(pods.Items) == 0 {
		return err
	}
	name := pods.Items[which%len(pods.Items)].Name
	return w.clients.CoreV1().Pods(w.namespace).Delete(ctx, name, metav1.DeleteOptions{})
}

func TestWorkload_SetBare(t *testing.T) {
	w := &workload{chance: rand.New(rand.NewPCG(1, 1))} //nolint:gosec // G404: no secret
	for range barePods + 5 {
		w.nextBare()
	}
	if len(w.bare) != barePods {
		t.Fatalf("%d bare Pods are kept, want %d", len(w.bare), barePods)
	}
	newest := w.number
	after, _ := w.nextBare() // while the list is under way
	listed := make([]corev1.Pod, 0, 2*barePods)
	for i := range 2 * barePods { // as after a restore; none of those that an outage has swallowed
		listed = append(listed, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("bare-", i-barePods)}})
	}
	listed[barePods+1].DeletionTimestamp = &metav1.Time{}
	listed = append(listed, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}})
	w.setBare(listed, newest)
	if len(w.bare) != 2*barePods || w.bare[len(w.bare)-1].name != after {
		t.Errorf("%d bare Pods after a list of %d, the last is %v, want %s", len(w.bare), len(listed), w.bare[len(w.bare)-1], after)
	}
	for range barePods + 1 {
		_, old := w.nextBare()
		if len(old) == 0 {
			t.Fatal("nothing is deleted, though there are too many")
		}
	}
	if len(w.bare) != barePods {
		t.Errorf("%d bare Pods are left, want %d", len(w.bare), barePods)
	}
}
