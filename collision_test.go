package podinfolookup

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"
)

// colliding is a controller that is not run, for which all keys have one hash.
func colliding(t *testing.T, hash, namespace string, warn func(string), pods ...*corev1.Pod) *Controller {
	t.Helper()
	testcrs := newTestcrs(t, newDynamic())
	informer, err := NewPodInformer(fake.NewClientset(), namespace, testcrs)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(t.Context(), Config{
		Pods: map[string]*PodInformer{namespace: informer}, Testcrs: testcrs, Workers: 1,
		Warn: func(_ *corev1.ObjectReference, reason, _ string) { warn(reason) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.queue.ShutDown)
	c.hash = func(string) string { return hash }
	c.queue.open()
	c.working.Store(true)
	for _, pod := range pods {
		if err := informer.GetStore().Add(&podState{spec: specOf(pod)}); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestDecide_Collision(t *testing.T) {
	one, two := web(1), web(2)
	key := cache.MetaObjectToName(one)
	want := FromPod(one)
	other := func(change func(*Testcr)) *Testcr {
		t := FromPod(two)
		t.Name, t.UID = want.Name, "2"
		change(t)
		return t
	}
	as := other(func(*Testcr) {})
	tests := []struct {
		name       string
		hash       string
		namespace  string // watched
		pods       []*corev1.Pod
		want, have *Testcr
		verb       Verb
	}{
		{name: "both Pods exist", hash: want.Name, pods: []*corev1.Pod{one, two}, want: want, have: as, verb: foreign},
		{name: "the other Pod alone exists", hash: want.Name, pods: []*corev1.Pod{two}, have: as, verb: nothing},
		{name: "the other Pod has gone", hash: want.Name, pods: []*corev1.Pod{one}, want: want, have: as, verb: Updated},
		{name: "both Pods have gone", hash: want.Name, have: as, verb: Deleted},
		{name: "the other Pod is not watched", hash: want.Name, namespace: "other", pods: []*corev1.Pod{one}, want: want, have: as, verb: foreign},
		{name: "the podkey of another Pod was put in by hand", hash: "another", pods: []*corev1.Pod{one, two}, want: want, have: as, verb: Updated},
		{
			name: "nonsense was put in by hand", hash: want.Name, pods: []*corev1.Pod{one, two}, want: want,
			have: other(func(t *Testcr) { t.Spec.PodKey = "a/b/c" }), verb: Updated,
		},
		{
			name: "it is not ours", hash: want.Name, pods: []*corev1.Pod{one, two}, want: want,
			have: other(func(t *Testcr) { t.Labels = nil }), verb: foreign,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := colliding(t, test.hash, test.namespace, func(string) {}, test.pods...)
			if got := c.decide(key, test.want, test.have); got != test.verb {
				t.Errorf("verb is %q, want %q", got, test.verb)
			}
		})
	}
}

// TestController_CollisionEnds has the Testcr of one of two Pods go: the other one
// must be looked at then.
func TestController_CollisionEnds(t *testing.T) {
	one, two := web(1), web(2)
	want, have := FromPod(one), FromPod(two)
	have.Name, have.UID = want.Name, "2"
	warned := map[string]int{}
	c := colliding(t, want.Name, metav1.NamespaceAll, func(reason string) { warned[reason]++ }, one, two)
	for range 2 {
		if err := c.write(t.Context(), foreign, want, have); err != nil {
			t.Fatal(err)
		}
	}
	if len(warned) != 1 || warned[NameCollision] != 1 {
		t.Errorf("warned %v, want once", warned)
	}
	c.observe(have, true)
	var keys []cache.ObjectName
	for c.queue.Len() > 0 {
		key, _ := c.queue.Get()
		keys = append(keys, key)
		c.queue.Done(key)
	}
	if len(keys) != 2 || keys[0] != cache.MetaObjectToName(one) {
		t.Errorf("queued are %v, want both Pods", keys)
	}
	if len(c.collisions) != 0 {
		t.Error("the collision is remembered")
	}

	if err := c.write(t.Context(), foreign, want, have); err != nil {
		t.Fatal(err)
	}
	c.podHandler(t.Context()).OnDelete(&podState{spec: specOf(one)})
	if len(c.collisions) != 0 {
		t.Error("the collision of a Pod that has gone is remembered")
	}
}
