package podcache

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/owners"
)

var (
	podResource        = corev1.SchemeGroupVersion.WithResource("pods")
	replicaSetResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
)

// replicaSet returns the metadata of shop/web-5d9f, which a Deployment with this name
// controls, "" for none.
func replicaSet(deployment string) *metav1.PartialObjectMetadata {
	rs := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-5d9f", UID: "o", ResourceVersion: "of " + deployment},
	}
	if deployment != "" {
		rs.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: deployment, UID: "d", Controller: new(true)}}
	}
	return rs
}

// podOf returns fullPod with a version, and the ReplicaSet with this UID as its owner.
func podOf(uid types.UID, version string) *corev1.Pod {
	pod := fullPod()
	pod.OwnerReferences[0].UID, pod.ResourceVersion = uid, version
	return pod
}

// ownedCache is a running cache whose owners are ReplicaSets.
type ownedCache struct {
	*Cache
	t        *testing.T
	pods     *fake.Clientset
	metadata *metadatafake.FakeMetadataClient

	mu     sync.Mutex
	events []string // of the handler: the workload of each Pod
}

func newOwnedCache(t *testing.T, replicaSets ...*metav1.PartialObjectMetadata) *ownedCache {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &ownedCache{t: t, pods: fake.NewClientset(), metadata: metadatafake.NewSimpleMetadataClient(scheme)}
	for _, rs := range replicaSets {
		c.must(c.metadata.Tracker().Create(replicaSetResource, rs, "shop"))
	}
	of, err := owners.New(c.metadata)
	c.must(err)
	c.Cache, err = NewWithOwners(c.pods, of)
	c.must(err)
	return c
}

func (c *ownedCache) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *ownedCache) handle(handler cache.ResourceEventHandler) {
	c.t.Helper()
	_, err := c.AddEventHandler(handler, cache.HandlerOptions{})
	c.must(err)
}

// record records the events of a handler.
func (c *ownedCache) record() {
	c.t.Helper()
	add := func(text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events = append(c.events, text)
	}
	c.handle(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { add("add " + workloadOf(obj.(*Pod))) },
		UpdateFunc: func(_, obj any) { add("update " + workloadOf(obj.(*Pod))) },
		DeleteFunc: func(any) { add("delete") },
	})
}

// newEvents returns the events since the last call.
func (c *ownedCache) newEvents() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := c.events
	c.events = nil
	return events
}

func workloadOf(p *Pod) string {
	s := p.Spec()
	return fmt.Sprintf("%s/%s %s", s.WorkloadKind, s.WorkloadName, s.WorkloadProof)
}

const (
	byLabel      = "Deployment/web label"
	byShop       = "Deployment/shop owner"
	byOther      = "Deployment/other owner"
	byReplicaSet = "ReplicaSet/web-5d9f owner"
)

// TestCache_Owners takes one step after the other, and compares all reads of the Pod
// after each.
func TestCache_Owners(t *testing.T) {
	createPod := func(c *ownedCache) error { return c.pods.Tracker().Create(podResource, podOf("o", "1"), "shop") }
	updatePod := func(uid types.UID, version string) func(*ownedCache) error {
		return func(c *ownedCache) error { return c.pods.Tracker().Update(podResource, podOf(uid, version), "shop") }
	}
	deletePod := func(c *ownedCache) error { return c.pods.Tracker().Delete(podResource, "shop", fullPod().Name) }
	createOwner := func(deployment string) func(*ownedCache) error {
		return func(c *ownedCache) error {
			return c.metadata.Tracker().Create(replicaSetResource, replicaSet(deployment), "shop")
		}
	}
	updateOwner := func(deployment string) func(*ownedCache) error {
		return func(c *ownedCache) error {
			return c.metadata.Tracker().Update(replicaSetResource, replicaSet(deployment), "shop")
		}
	}
	deleteOwner := func(c *ownedCache) error {
		return c.metadata.Tracker().Delete(replicaSetResource, "shop", "web-5d9f")
	}
	type step struct {
		do         func(*ownedCache) error
		want       string // the workload, "" without the Pod
		wantEvents []string
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{name: "the owner is before the Pod", steps: []step{
			{do: createOwner("shop")},
			{do: createPod, want: byShop, wantEvents: []string{"add " + byShop}},
		}},
		{name: "the owner is behind the Pod", steps: []step{
			{do: createPod, want: byLabel, wantEvents: []string{"add " + byLabel}},
			{do: createOwner("shop"), want: byShop, wantEvents: []string{"update " + byShop}},
			{do: updatePod("o", "2"), want: byShop, wantEvents: []string{"update " + byShop}},
		}},
		{name: "the owner is orphaned and adopted", steps: []step{
			{do: createOwner("shop")},
			{do: createPod, want: byShop, wantEvents: []string{"add " + byShop}},
			{do: updateOwner(""), want: byReplicaSet, wantEvents: []string{"update " + byReplicaSet}},
			{do: updateOwner("other"), want: byOther, wantEvents: []string{"update " + byOther}},
		}},
		{name: "the owner is deleted before the Pod", steps: []step{
			{do: createPod, want: byLabel, wantEvents: []string{"add " + byLabel}},
			{do: createOwner("shop"), want: byShop, wantEvents: []string{"update " + byShop}},
			{do: deleteOwner, want: byShop, wantEvents: []string{"update " + byShop}},
			{do: updatePod("o", "2"), want: byShop, wantEvents: []string{"update " + byShop}},
			{do: deletePod, wantEvents: []string{"delete"}},
			{do: createPod, want: byLabel, wantEvents: []string{"add " + byLabel}}, // nothing is kept of what no Pod refers to
		}},
		{name: "the owner is deleted after the Pod", steps: []step{
			{do: createOwner("shop")},
			{do: createPod, want: byShop, wantEvents: []string{"add " + byShop}},
			{do: deletePod, wantEvents: []string{"delete"}},
			{do: deleteOwner},
			{do: createPod, want: byLabel, wantEvents: []string{"add " + byLabel}},
		}},
		{name: "the owner has another UID than the one of its name", steps: []step{
			{do: createPod, want: byLabel, wantEvents: []string{"add " + byLabel}},
			{do: updatePod("another", "2"), want: byLabel, wantEvents: []string{"update " + byLabel}},
			{do: createOwner("shop"), want: byLabel},
			{do: updatePod("o", "3"), want: byShop, wantEvents: []string{"update " + byShop}},
			{do: deleteOwner, want: byShop, wantEvents: []string{"update " + byShop}},
			{do: updatePod("another", "4"), want: byLabel, wantEvents: []string{"update " + byLabel}},
			{do: updatePod("o", "5"), want: byLabel, wantEvents: []string{"update " + byLabel}},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newOwnedCache(t)
				c.record()
				start(t, c.Cache)
				for i, step := range test.steps {
					c.must(step.do(c))
					synctest.Wait()
					if diff := cmp.Diff(step.wantEvents, c.newEvents()); diff != "" {
						t.Errorf("step %d: events (-want +got):\n%s", i, diff)
					}
					c.expectWorkload(fmt.Sprint("step ", i), step.want)
				}
			})
		})
	}
}

// expectWorkload compares all reads of the Pod.
func (c *ownedCache) expectWorkload(when, want string) {
	c.t.Helper()
	key := cache.NewObjectName("shop", fullPod().Name)
	ofTestcr := func(testcr *v1.Testcr) string {
		if testcr == nil {
			return ""
		}
		return fmt.Sprintf("%s/%s %s", testcr.Spec.WorkloadKind, testcr.Spec.WorkloadName, testcr.Spec.WorkloadProof)
	}
	cached, _ := c.Get(key)
	live, err := c.Live(c.t.Context(), key)
	c.must(err)
	got := map[string]string{"Get": ofTestcr(cached), "Live": ofTestcr(live), "Pod": "", "Pods": ""}
	if pod := c.Pod(key); pod != nil {
		got["Pod"] = workloadOf(pod)
	}
	for pod := range c.Pods {
		got["Pods"] = workloadOf(pod)
	}
	if diff := cmp.Diff(map[string]string{"Get": want, "Live": want, "Pod": want, "Pods": want}, got); diff != "" {
		c.t.Errorf("%s: workloads (-want +got):\n%s", when, diff)
	}
}

func TestCache_Owners_AreListedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newOwnedCache(t, replicaSet("shop"))
		c.must(c.pods.Tracker().Create(podResource, podOf("o", "1"), "shop"))
		c.record()
		start(t, c.Cache)
		if diff := cmp.Diff([]string{"add " + byShop}, c.newEvents()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if pod := c.Pod(cache.NewObjectName("shop", fullPod().Name)); pod != c.Pod(pod.Key()) {
			t.Error("each read of a Pod whose owner was there before copies it")
		}
		if got := c.AsOf(); got.IsZero() {
			t.Error("it is as of the zero time")
		}
	})
	t.Run("a stop while they are listed is the end", func(t *testing.T) {
		c := newOwnedCache(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c.RunWithContext(ctx)
		if lists := len(c.pods.Actions()); lists > 0 {
			t.Errorf("%d requests for Pods", lists)
		}
	})
}

// TestCache_Owners_NeverGoBack changes a Pod and its owner at the same time. What the
// handler sees must never be older than before, and at the end be the newest of both.
func TestCache_Owners_NeverGoBack(t *testing.T) {
	const changes = 80 // the watches of the fakes hold 100 events
	synctest.Test(t, func(t *testing.T) {
		c := newOwnedCache(t, replicaSet("shop"))
		c.must(c.pods.Tracker().Create(podResource, podOf("o", "1"), "shop"))
		var version int
		var last string
		c.handle(Handler(func(_, pod *Pod) {
			now, err := strconv.Atoi(pod.ResourceVersion())
			if err != nil || now < version {
				t.Errorf("version %d is followed by %s; %v", version, pod.ResourceVersion(), err)
			}
			version, last = now, workloadOf(pod)
		}))
		start(t, c.Cache)
		var changing sync.WaitGroup
		changing.Go(func() {
			for n := range changes {
				c.must(c.pods.Tracker().Update(podResource, podOf("o", fmt.Sprint(n+2)), "shop"))
			}
		})
		changing.Go(func() {
			for n := range changes {
				c.must(c.metadata.Tracker().Update(replicaSetResource, replicaSet(fmt.Sprint("d", n)), "shop"))
			}
		})
		changing.Wait()
		synctest.Wait()
		if want := fmt.Sprintf("Deployment/d%d owner", changes-1); version != changes+1 || last != want {
			t.Errorf("version %d of %s, want %d of %s", version, last, changes+1, want)
		}
	})
}

func TestOwnedHandler(t *testing.T) {
	c := newOwnedCache(t)
	store := c.informers[metav1.NamespaceAll].GetStore()
	older, newer := c.owned.newPod(podOf("o", "1")), c.owned.newPod(podOf("o", "2"))
	var got []string
	h := c.owned.handler(Handler(func(_, pod *Pod) {
		if pod == nil {
			got = append(got, "delete")
			return
		}
		got = append(got, pod.ResourceVersion())
	})).(*ownedHandler)
	tests := []struct {
		name    string
		isEmpty bool // the store; otherwise it has the newer Pod
		do      func()
		want    []string
	}{
		{name: "the event of an older Pod, first", do: func() { h.OnAdd(older, false) }, want: []string{"2"}},
		{name: "the event of an older Pod", do: func() { h.OnUpdate(older, older) }, want: []string{"2"}},
		{name: "a change of the owner", do: func() { h.ownerChanged(older.Key()) }, want: []string{"2"}},
		{name: "a deletion", do: func() { h.OnDelete(older) }, want: []string{"delete"}},
		{name: "an event of a Pod that is gone", isEmpty: true, do: func() { h.OnUpdate(older, older) }, want: []string{"1"}},
		{name: "a change of the owner of a Pod that is gone", isEmpty: true, do: func() { h.ownerChanged(older.Key()) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got = nil
			stored := []any{newer}
			if test.isEmpty {
				stored = nil
			}
			c.must(store.Replace(stored, "2"))
			test.do()
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOwned_newPod_UID has references with UIDs that somebody made up.
func TestOwned_newPod_UID(t *testing.T) {
	for length, want := range map[int]int{1: 1, 36: 36, 64: 64, 65: 0, 1 << 20: 0} {
		pod := newOwnedCache(t).owned.newPod(podOf(types.UID(strings.Repeat("u", length)), "1"))
		if got := len(pod.owner); got != want {
			t.Errorf("of a UID of %d bytes %d are kept, want %d", length, got, want)
		}
	}
}

// TestPod_Size holds that owners cost nothing without --owners: the allocator rounds
// 496 bytes, the size without the field, up to 512.
func TestPod_Size(t *testing.T) {
	if size := unsafe.Sizeof(Pod{}); size > 512 {
		t.Errorf("a Pod takes %d bytes, and the allocator 576", size)
	}
	for _, test := range []struct {
		name string
		pod  *Pod
		want bool
	}{
		{name: "without owners", pod: NewPod(podOf("o", "1"))},
		{name: "with an owner that is not cached yet", pod: newOwnedCache(t).owned.newPod(podOf("o", "1")), want: true},
	} {
		if got := test.pod.IsTransient(); got != test.want {
			t.Errorf("%s: IsTransient = %t, want %t", test.name, got, test.want)
		}
	}
}

// listAt answers lists of Pods with an empty one of this version.
func listAt(version string) clienttesting.ReactionFunc {
	return func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}, nil
	}
}

func TestCache_Owners_Confirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newOwnedCache(t)
		start(t, c.Cache)
		<-time.After(time.Hour) // virtual time
		before := c.AsOf()
		for _, i := range c.informers {
			c.must(i.GetStore().Replace(nil, "7")) // the fakes have no versions
		}
		c.pods.PrependReactor("list", "pods", listAt("7"))
		if err := c.Confirm(t.Context()); err == nil || !c.AsOf().Equal(before) {
			t.Errorf("owners that are not proven to be current count as current: as of %s, %v", c.AsOf(), err)
		}
	})
}
