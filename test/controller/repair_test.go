package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

const unmanage = `{"metadata":{"labels":{"app.kubernetes.io/managed-by":null}}}`

func TestController_UndoesManualChanges(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		merge string // "" deletes the Testcr
	}{
		{name: "the Testcr is deleted"},
		{name: "a field is changed", merge: `{"spec":{"podip":"10.9.9.9"}}`},
		{name: "the key is changed", merge: `{"spec":{"podkey":"other/name"}}`},
		{name: "the key is changed to nonsense", merge: `{"spec":{"podkey":"a/b/c"}}`},
		{name: "the key is changed to that of another Pod", merge: `{"spec":{"podkey":"kube-system/web","namespace":"kube-system"}}`},
		{name: "a field that the schema does not have is added", merge: `{"spec":{"unknown":1,"hostip":"x"}}`},
		{name: "fields are taken away", merge: `{"spec":{"labels":null,"containers":null,"phase":null}}`},
		{name: "lists are emptied and filled", merge: `{"spec":{"containers":[],"podips":["::1"],"labels":{"x":"y"}}}`},
		{name: "a container of an unknown kind of ID is added", merge: `{"spec":{"containers":[{"name":"nginx","id":"?"}]}}`},
		{name: "a time is changed", merge: `{"spec":{"createdat":"1999-01-01T00:00:00Z"}}`},
		{name: "a label that lists select by is changed", merge: `{"metadata":{"labels":{"stable.example.com/namespace":"other"}}}`},
		{name: "a label of ours that the Pod does not call for is added", merge: `{"metadata":{"labels":{"stable.example.com/workload":"x"}}}`},
		{name: "the label that makes it ours is taken away", merge: unmanage},
		{name: "the label that makes it ours is changed", merge: `{"metadata":{"labels":{"app.kubernetes.io/managed-by":"helm"}}}`},
	}
	for _, test := range tests {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, controller stopped: %t", test.name, stopped), func(t *testing.T) {
				t.Parallel()
				ns := env.Namespace(t, "")
				c := synced(t, nil, ns)
				pod := create(t, ns, newPod("web"))
				right := waitTrue(t, pod)
				if stopped {
					c.stop()
				}
				if test.merge == "" {
					if err := testcrs().Delete(t.Context(), nameOf(pod), metav1.DeleteOptions{}); err != nil {
						t.Fatal(err)
					}
				} else {
					patch(t, nameOf(pod), test.merge)
				}
				if stopped {
					run(t, nil, ns)
				}
				testenv.Eventually(t, func(context.Context) error {
					if diff := cmp.Diff(right.GetLabels(), waitTrue(t, pod).GetLabels()); diff != "" {
						return fmt.Errorf("labels (-want +got):\n%s", diff)
					}
					return nil
				})
			})
		}
	}
}

func TestController_KeepsFieldsOfOthers(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	synced(t, nil, ns)
	pod := create(t, ns, newPod("web"))
	waitTrue(t, pod)
	patch(t, nameOf(pod), `{"metadata":{"labels":{"team":"shop"},"annotations":{"note":"mine"},"finalizers":["example.com/hold"]}}`)
	life[1].make(t, pod)
	got := waitTrue(t, pod)
	if got.GetLabels()["team"] != "shop" || got.GetAnnotations()["note"] != "mine" ||
		cmp.Diff([]string{"example.com/hold"}, got.GetFinalizers()) != "" {
		t.Errorf("metadata of others is lost: %v", got.Object["metadata"])
	}
	if len(got.GetManagedFields()) < 2 {
		t.Errorf("the managed fields of others are lost: %v", got.GetManagedFields())
	}
	// Held by a finalizer, the Testcr is asked to go once and not again.
	live, err := pods(ns).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	remove(t, live)
	testenv.Eventually(t, func(ctx context.Context) error {
		u, err := read(ctx, nameOf(pod))
		if err == nil && u.GetDeletionTimestamp() == nil {
			err = errors.New("its deletion was not asked for")
		}
		return err
	})
	patch(t, nameOf(pod), `{"metadata":{"finalizers":null}}`)
	waitGone(t, nameOf(pod))
}

func newTestcr(name, podkey string, labels map[string]string) *unstructured.Unstructured {
	namespace, pod, _ := strings.Cut(podkey, "/")
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "stable.example.com/v1", "kind": "Testcr",
		"spec": map[string]any{
			"podkey": podkey, "podname": pod, "namespace": namespace, "poduid": "of another",
			"hostnetwork": false, "ready": false, "terminating": false,
		},
	}}
	u.SetName(name)
	u.SetLabels(labels)
	return u
}

func createTestcr(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	if _, err := testcrs().Create(t.Context(), u, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := testcrs().Delete(context.WithoutCancel(t.Context()), u.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Logf("%s is gone already: %v", u.GetName(), err)
		}
	})
}

func TestController_ForeignTestcrInTheWay(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	pod := newPod("web")
	pod.Namespace = ns
	createTestcr(t, newTestcr(nameOf(pod), "somebody/else", map[string]string{"owner": "somebody"}))
	foreign := mustRead(t, nameOf(pod))
	c := synced(t, nil, ns)
	pod = create(t, ns, pod)
	told := func() int { return strings.Count(c.logs.GetBuffer().String(), "A Testcr that is not ours") }
	testenv.Eventually(t, func(context.Context) error {
		if told() == 0 {
			return errors.New("it is not reported")
		}
		return nil
	})
	// More events of the Pod change nothing and report nothing.
	life[1].make(t, pod)
	waitTrue(t, create(t, ns, newPod("next")))
	if got := told(); got != 1 {
		t.Errorf("it was reported %d times, want once", got)
	}
	if got := mustRead(t, nameOf(pod)); got.GetResourceVersion() != foreign.GetResourceVersion() {
		t.Error("it was written to")
	}
	if err := testcrs().Delete(t.Context(), nameOf(pod), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitTrue(t, pod)
}

func TestController_AdoptsTestcr(t *testing.T) {
	t.Parallel()
	ns := env.Namespace(t, "")
	pod := newPod("web")
	pod.Namespace = ns
	createTestcr(t, newTestcr(nameOf(pod), ns+"/web", nil))
	synced(t, nil, ns)
	if got := waitTrue(t, create(t, ns, pod)); got.GetLabels()[v1.LabelManagedBy] != v1.ManagedBy {
		t.Errorf("labels are %v", got.GetLabels())
	}
}

func TestController_Orphans(t *testing.T) {
	t.Parallel()
	ns, other := env.Namespace(t, ""), env.Namespace(t, "")
	ours := map[string]string{v1.LabelManagedBy: v1.ManagedBy}
	name := func(ns, pod string) string {
		return nameOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: pod}})
	}
	tests := []struct {
		name     string
		testcr   *unstructured.Unstructured
		wantGone bool
	}{
		{name: "of the watched namespace", testcr: newTestcr(name(ns, "gone"), ns+"/gone", ours), wantGone: true},
		{name: "of another namespace", testcr: newTestcr(name(other, "gone"), other+"/gone", ours)},
		{name: "without our label", testcr: newTestcr(name(ns, "theirs"), ns+"/theirs", nil)},
		{name: "that claims to be of the watched namespace, and names no Pod", testcr: newTestcr(name(other, "liar"), ns+"/liar", ours), wantGone: true},
		{name: "with a key that is none, of another namespace", testcr: newTestcr(name(other, "none"), "none", ours)},
	}
	for _, test := range tests {
		createTestcr(t, test.testcr)
	}
	c := synced(t, nil, ns)
	waitTrue(t, create(t, ns, newPod("last"))) // behind all of them in the queue
	for _, test := range tests {
		if test.wantGone {
			waitGone(t, test.testcr.GetName())
		}
	}
	c.stop()
	for _, test := range tests {
		if !test.wantGone {
			mustRead(t, test.testcr.GetName())
		}
	}
	if diff := cmp.Diff([]string{"create 201", "delete 200", "delete 200"}, sorted(c.verbs(t))); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestController_SeveralNamespaces(t *testing.T) {
	t.Parallel()
	a, b, other := env.Namespace(t, ""), env.Namespace(t, ""), env.Namespace(t, "")
	c := synced(t, nil, a, b)
	ignored := create(t, other, newPod("web"))
	waitTrue(t, create(t, a, newPod("web")))
	waitTrue(t, create(t, b, newPod("web")))
	c.stop()
	if u, err := read(t.Context(), nameOf(ignored)); err != nil || u != nil {
		t.Errorf("a Pod of another namespace has the Testcr %v, %v", u, err)
	}
}

// TestController_LateWrites lets somebody else be faster by a hair: another
// client writes between the controller's decision and the API server.
func TestController_LateWrites(t *testing.T) {
	t.Parallel()
	type somebody func(ctx context.Context, name string) error
	deleteIt := func(ctx context.Context, name string) error {
		return testcrs().Delete(ctx, name, metav1.DeleteOptions{})
	}
	changeIt := func(ctx context.Context, name string) error {
		u, err := testcrs().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		u.SetAnnotations(map[string]string{"by": "somebody"})
		_, err = testcrs().Update(ctx, u, metav1.UpdateOptions{})
		return err
	}
	meetsNone := "update 404"
	if env.Minor < 34 {
		meetsNone = "update 409"
	}
	tests := []struct {
		name   string
		method string // the controller's request that somebody is ahead of
		what   somebody
		want   []string
	}{
		{
			name: "a create meets one that exists", method: http.MethodPost,
			what: func(ctx context.Context, name string) error {
				_, err := testcrs().Create(ctx, newTestcr(name, "x/y", map[string]string{v1.LabelManagedBy: v1.ManagedBy}), metav1.CreateOptions{})
				return err
			},
			want: []string{"create 409", "update 200", "update 200", "update 200", "delete 200"},
		},
		{name: "an update meets a newer one", method: http.MethodPut, what: changeIt, want: []string{"create 201", "update 409", "update 200", "update 200", "delete 200"}},
		{name: "an update meets none", method: http.MethodPut, what: deleteIt, want: []string{"create 201", meetsNone, "create 201", "update 200", "delete 200"}},
		{name: "a delete meets a newer one", method: http.MethodDelete, what: changeIt, want: []string{"create 201", "update 200", "update 200", "delete 409", "delete 200"}},
		{name: "a delete meets none", method: http.MethodDelete, what: deleteIt, want: []string{"create 201", "update 200", "update 200", "delete 404"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ns := env.Namespace(t, "")
			pod := newPod("web")
			// Held, it is seen terminating for certain before it is gone.
			pod.Namespace, pod.Finalizers = ns, []string{"example.com/hold"}
			name, done := nameOf(pod), atomic.Bool{}
			c := synced(t, func(rt http.RoundTripper) http.RoundTripper {
				return between{RoundTripper: rt, before: func(req *http.Request) error {
					if req.Method != test.method || !strings.Contains(req.URL.Path, "/testcrs") || done.Swap(true) {
						return nil
					}
					if got := path.Base(req.URL.Path); req.Method != http.MethodPost && got != name {
						return fmt.Errorf("a write of %s", got)
					}
					return test.what(req.Context(), name)
				}}
			}, ns)
			pod = create(t, ns, pod)
			waitTrue(t, pod)
			life[1].make(t, pod)
			waitTrue(t, pod)
			remove(t, pod)
			waitTrue(t, pod)
			release(t, pod)
			waitGone(t, nameOf(pod))
			waitTrue(t, create(t, ns, newPod("last")))
			c.stop()
			if !done.Load() {
				t.Error("nobody was ahead")
			}
			if diff := cmp.Diff(append(test.want, "create 201"), c.verbs(t)); diff != "" {
				t.Errorf("writes (-want +got):\n%s", diff)
			}
			if logs := c.logs.GetBuffer().String(); strings.Contains(logs, "Sync failed") {
				t.Errorf("an ordinary race is logged as a failure:\n%s", logs)
			}
		})
	}
}

// TestController_InterruptedWatch takes the watches away, changes the world meanwhile, and gives
// them back.
func TestController_InterruptedWatch(t *testing.T) {
	t.Parallel()
	for _, how := range []ending{ended, tooOld, broken} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			ns := env.Namespace(t, "")
			cut := newCutter()
			synced(t, cut.wrap, ns)
			goes, comesBack, tampered := create(t, ns, newPod("goes")), create(t, ns, newPod("comes-back")), create(t, ns, newPod("tampered"))
			for _, pod := range []*corev1.Pod{goes, comesBack, tampered} {
				waitTrue(t, pod)
			}
			release := cut.cut(how)
			remove(t, goes)
			remove(t, comesBack)
			comesBack = create(t, ns, newPod("comes-back"))
			comes := create(t, ns, newPod("comes"))
			patch(t, nameOf(tampered), `{"spec":{"podkey":"x/y","podip":"10.9.9.9"}}`)
			release()
			waitGone(t, nameOf(goes))
			for _, pod := range []*corev1.Pod{comesBack, tampered, comes} {
				waitTrue(t, pod)
			}
			if how == tooOld && cut.answered410() == 0 {
				t.Error("the API server never answered 410")
			}
		})
	}
}
