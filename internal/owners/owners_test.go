package owners

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/dedup"
	"github.com/weiyuanke/PodInfoLookup/internal/informer"
)

var apiVersions = map[string]string{"ReplicaSet": "apps/v1", "Job": "batch/v1"}

// owner returns a ReplicaSet or Job called web with the controller KIND/NAME, "" for
// none.
func owner(kind, namespace, uid, controller string) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: apiVersions[kind], Kind: kind},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web", UID: types.UID(uid), ResourceVersion: uid + controller},
	}
	m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Other", Name: "no-controller", UID: "o"}}
	if kind, name, ok := strings.Cut(controller, "/"); ok {
		m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{
			APIVersion: "v1", Kind: kind, Name: name, UID: "c", Controller: new(true),
		})
	}
	return m
}

func newClient(t *testing.T, objects ...runtime.Object) *fake.FakeMetadataClient {
	t.Helper()
	scheme := fake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewSimpleMetadataClient(scheme, objects...)
}

// start runs a cache until the test ends, in a bubble of virtual time.
func start(t *testing.T, c *Cache) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.RunWithContext(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	if !c.WaitForSync(ctx) {
		t.Fatal("it is not synced")
	}
	synctest.Wait()
}

func newCache(t *testing.T, client *fake.FakeMetadataClient, namespaces ...string) *Cache {
	t.Helper()
	c, err := New(client, namespaces...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIsCached(t *testing.T) {
	tests := []struct {
		apiVersion, kind string
		want             bool
	}{
		{apiVersion: "apps/v1", kind: "ReplicaSet", want: true},
		{apiVersion: "apps/v2", kind: "ReplicaSet", want: true},
		{apiVersion: "batch/v1", kind: "Job", want: true},
		{apiVersion: "extensions/v1beta1", kind: "ReplicaSet"},
		{apiVersion: "v1", kind: "ReplicaSet"},
		{apiVersion: "batch/v1", kind: "ReplicaSet"},
		{apiVersion: "batch.example.com/v1", kind: "Job"},
		{apiVersion: "apps/v1", kind: "StatefulSet"},
		{},
	}
	for _, test := range tests {
		if got := IsCached(&metav1.OwnerReference{APIVersion: test.apiVersion, Kind: test.kind}); got != test.want {
			t.Errorf("%s %s: %t, want %t", test.apiVersion, test.kind, got, test.want)
		}
	}
}

func TestCache_Workload(t *testing.T) {
	tests := []struct {
		name                 string
		owner                *metav1.PartialObjectMetadata
		namespaces           []string
		namespace, kind, uid string
		want                 Workload
		wantNot              bool
	}{
		{name: "the ReplicaSet of a Deployment", owner: owner("ReplicaSet", "a", "1", "Deployment/shop"), want: Workload{"Deployment", "shop"}},
		{name: "the ReplicaSet of anything else", owner: owner("ReplicaSet", "a", "1", "Any/shop"), want: Workload{"Any", "shop"}},
		{name: "a ReplicaSet without a controller", owner: owner("ReplicaSet", "a", "1", ""), want: Workload{"ReplicaSet", "web"}},
		{name: "the Job of a CronJob", owner: owner("Job", "a", "1", "CronJob/shop"), kind: "Job", want: Workload{"CronJob", "shop"}},
		{name: "a Job without a controller", owner: owner("Job", "a", "1", ""), kind: "Job", want: Workload{"Job", "web"}},
		{name: "another UID", owner: owner("ReplicaSet", "a", "1", "Deployment/shop"), uid: "2", wantNot: true},
		{name: "another kind", owner: owner("Job", "a", "1", "Deployment/shop"), wantNot: true},
		{name: "a kind that is not cached", owner: owner("ReplicaSet", "a", "1", "Deployment/shop"), kind: "StatefulSet", wantNot: true},
		{name: "another namespace", owner: owner("ReplicaSet", "b", "1", "Deployment/shop"), wantNot: true},
		{
			name: "one of the namespaces", owner: owner("ReplicaSet", "a", "1", "Deployment/shop"), namespaces: []string{"b", "a"},
			want: Workload{"Deployment", "shop"},
		},
		{name: "not one of the namespaces", owner: owner("ReplicaSet", "a", "1", "Deployment/shop"), namespaces: []string{"b"}, wantNot: true},
		{
			name: "long names are bounded", owner: owner("ReplicaSet", "a", "1", strings.Repeat("k", 1<<20)+"/"+strings.Repeat("n", 1<<20)),
			want: Workload{strings.Repeat("k", 2049), strings.Repeat("n", 2049)},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, newClient(t, test.owner), test.namespaces...)
				start(t, c)
				kind, uid := "ReplicaSet", types.UID("1")
				if test.kind != "" {
					kind = test.kind
				}
				if test.uid != "" {
					uid = types.UID(test.uid)
				}
				got, ok := c.Workload("a", kind, "web", uid)
				if diff := cmp.Diff(test.want, got); diff != "" || ok == test.wantNot {
					t.Errorf("ok is %t, workload (-want +got):\n%s", ok, diff)
				}
			})
		})
	}
}

// TestCache_OnChange changes one object after the other.
func TestCache_OnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t)
		c := newCache(t, client)
		var changed []types.UID
		c.OnChange(func(uid types.UID) { changed = append(changed, uid) })
		start(t, c)
		resource := resources["ReplicaSet"]
		steps := []struct {
			name        string
			do          func() error
			wantChanged []types.UID
			want        map[types.UID]Workload // after the step
		}{
			{
				name: "it appears",
				do: func() error {
					return client.Tracker().Create(resource, owner("ReplicaSet", "a", "1", "Deployment/shop"), "a")
				},
				wantChanged: []types.UID{"1"}, want: map[types.UID]Workload{"1": {"Deployment", "shop"}},
			},
			{
				name: "something else of it changes",
				do: func() error {
					same := owner("ReplicaSet", "a", "1", "Deployment/shop")
					same.ResourceVersion, same.Labels = "7", map[string]string{"a": "b"}
					return client.Tracker().Update(resource, same, "a")
				},
				want: map[types.UID]Workload{"1": {"Deployment", "shop"}},
			},
			{
				name:        "it loses its controller",
				do:          func() error { return client.Tracker().Update(resource, owner("ReplicaSet", "a", "1", ""), "a") },
				wantChanged: []types.UID{"1"}, want: map[types.UID]Workload{"1": {"ReplicaSet", "web"}},
			},
			{
				name: "another one adopts it",
				do: func() error {
					return client.Tracker().Update(resource, owner("ReplicaSet", "a", "1", "Rollout/new"), "a")
				},
				wantChanged: []types.UID{"1"}, want: map[types.UID]Workload{"1": {"Rollout", "new"}},
			},
			{
				name: "another one of its name replaces it",
				do: func() error {
					return client.Tracker().Update(resource, owner("ReplicaSet", "a", "2", "Deployment/shop"), "a")
				},
				wantChanged: []types.UID{"1", "2"}, want: map[types.UID]Workload{"1": {"Rollout", "new"}, "2": {"Deployment", "shop"}},
			},
			{
				name:        "that one disappears, and the last controller is kept",
				do:          func() error { return client.Tracker().Delete(resource, "a", "web") },
				wantChanged: []types.UID{"2"}, want: map[types.UID]Workload{"1": {"Rollout", "new"}, "2": {"Deployment", "shop"}},
			},
			{
				name: "nothing refers to it any more",
				do:   func() error { c.Forget("2"); return nil },
				want: map[types.UID]Workload{"1": {"Rollout", "new"}},
			},
			{
				name: "the first is restored",
				do: func() error {
					return client.Tracker().Create(resource, owner("ReplicaSet", "a", "1", "Deployment/shop"), "a")
				},
				wantChanged: []types.UID{"1"}, want: map[types.UID]Workload{"1": {"Deployment", "shop"}},
			},
		}
		for _, step := range steps {
			changed = nil
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if diff := cmp.Diff(step.wantChanged, changed); diff != "" {
				t.Errorf("%s: changed (-want +got):\n%s", step.name, diff)
			}
			got := map[types.UID]Workload{}
			for _, uid := range []types.UID{"1", "2"} {
				if w, ok := c.Workload("a", "ReplicaSet", "web", uid); ok {
					got[uid] = w
				}
			}
			if diff := cmp.Diff(step.want, got); diff != "" {
				t.Errorf("%s: workloads (-want +got):\n%s", step.name, diff)
			}
		}
		if len(c.gone) != 0 {
			t.Errorf("%d owners are kept that exist or that nothing refers to", len(c.gone))
		}
	})
}

func TestCache_WaitForSync(t *testing.T) {
	c := newCache(t, newClient(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c.WaitForSync(ctx) {
		t.Error("it is synced before it runs")
	}
}

func TestCache_AsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := func(version string) (runtime.Object, error) {
			return &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: version}}, nil
		}
		client := newClient(t)
		client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, &metav1.List{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}, nil
		})
		c := newCache(t, client, "a", "b")
		if got := c.AsOf(); !got.IsZero() {
			t.Errorf("as of %s before the first list", got)
		}
		start(t, c)
		<-time.After(time.Hour) // virtual time
		if c.AsOf().IsZero() || c.AsOf().Equal(time.Now()) {
			t.Errorf("as of %s at %s", c.AsOf(), time.Now())
		}
		for version, want := range map[string]bool{"7": true, "9": false} { // fakes have no connection that the watch could share
			proof, err := informer.Probe(t.Context(), func(context.Context, metav1.ListOptions) (runtime.Object, error) { return list(version) })
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Confirm(proof); got != want {
				t.Errorf("version %q confirms: %t, want %t", version, got, want)
			}
		}
		if !c.AsOf().Equal(time.Now()) {
			t.Errorf("as of %s, want now", c.AsOf())
		}
	})
}

func TestTransform(t *testing.T) {
	apply := transform(&dedup.Pool{})
	once, err := apply(owner("Job", "a", "1", "CronJob/report"))
	if err != nil {
		t.Fatal(err)
	}
	want := &object{namespace: "a", name: "web", uid: "1", resourceVersion: "1CronJob/report", controller: Workload{"CronJob", "report"}}
	if diff := cmp.Diff(want, once, cmp.AllowUnexported(object{})); diff != "" {
		t.Errorf("object (-want +got):\n%s", diff)
	}
	if again, err := apply(once); again != once || err != nil {
		t.Errorf("applied again: %v, %v", again, err)
	}
	wantMeta := &metav1.ObjectMeta{Namespace: "a", Name: "web", UID: "1", ResourceVersion: "1CronJob/report"}
	if diff := cmp.Diff(metav1.Object(wantMeta), once.(*object).GetObjectMeta()); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "a/web", Obj: once}
	if got, err := apply(tombstone); got != any(tombstone) || err != nil {
		t.Errorf("a tombstone becomes %v, %v", got, err)
	}
	if got := []*object{unwrap(tombstone), unwrap(once), unwrap(nil)}; !slices.Equal(got, []*object{once.(*object), once.(*object), nil}) {
		t.Errorf("unwrapped: %v", got)
	}
}
