package podcache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
)

func podIn(namespace, name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{NodeName: "node-1"}}
}

func newCache(t *testing.T, client kubernetes.Interface, namespaces ...string) *Cache {
	t.Helper()
	c, err := New(client, namespaces...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a cache until the test ends, in a bubble of virtual time.
func start(t *testing.T, c *Cache) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.RunWithContext(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	synctest.Wait()
}

func sortedKeys(seq func(func(*Pod) bool)) []string {
	var keys []string
	for pod := range seq {
		keys = append(keys, pod.Key().String())
	}
	slices.Sort(keys)
	return keys
}

func TestCache_Namespaces(t *testing.T) {
	inA, inB, inC := cache.NewObjectName("a", "web"), cache.NewObjectName("b", "web"), cache.NewObjectName("c", "web")
	tests := []struct {
		name       string
		namespaces []string
		want       []cache.ObjectName
		wantNot    []cache.ObjectName
	}{
		{name: "all", want: []cache.ObjectName{inA, inB, inC}},
		{name: "one", namespaces: []string{"b"}, want: []cache.ObjectName{inB}, wantNot: []cache.ObjectName{inA, inC}},
		{name: "several", namespaces: []string{"a", "b"}, want: []cache.ObjectName{inA, inB}, wantNot: []cache.ObjectName{inC}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, fake.NewClientset(podIn("a", "web"), podIn("b", "web"), podIn("c", "web")), test.namespaces...)
				start(t, c)
				var keys []string
				for _, key := range test.want {
					keys = append(keys, key.String())
					expectTestcr(t, c, key, desired.FromPod(podIn(key.Namespace, key.Name)))
				}
				for _, key := range test.wantNot {
					expectTestcr(t, c, key, nil)
				}
				for _, key := range append(test.want, test.wantNot...) {
					if got, want := c.Watches(key.Namespace), slices.Contains(test.want, key); got != want {
						t.Errorf("Watches(%s) = %t, want %t", key.Namespace, got, want)
					}
				}
				expectTestcr(t, c, cache.NewObjectName("a", "none"), nil)
				if diff := cmp.Diff(keys, sortedKeys(c.Pods)); diff != "" {
					t.Errorf("Pods (-want +got):\n%s", diff)
				}
				for range c.Pods { // ends with its context
					break
				}
			})
		})
	}
}

// expectTestcr compares all reads of one Pod with want.
func expectTestcr(t *testing.T, c *Cache, key cache.ObjectName, want *v1.Testcr) {
	t.Helper()
	got, isFresh := c.Get(key)
	if !isFresh {
		t.Errorf("%s is not fresh", key)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Get(%s) (-want +got):\n%s", key, diff)
	}
	if pod := c.Pod(key); (pod == nil) != (want == nil) || pod != nil && pod.Key() != key {
		t.Errorf("Pod(%s) = %v", key, pod)
	}
	live, err := c.Live(t.Context(), key)
	if err != nil {
		t.Errorf("Live(%s): %v", key, err)
	}
	if diff := cmp.Diff(want, live); diff != "" {
		t.Errorf("Live(%s) (-want +got):\n%s", key, diff)
	}
}

func TestCache_Live(t *testing.T) {
	var lists []string
	client := fake.NewClientset(podIn("shop", "web"))
	client.PrependReactor("list", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		list := action.(clienttesting.ListActionImpl)
		lists = append(lists, fmt.Sprint(list.GetNamespace(), " ", list.GetListRestrictions().Fields))
		return false, nil, nil
	})
	t.Run("requests one Pod", func(t *testing.T) {
		c := newCache(t, client)
		if got, err := c.Live(t.Context(), cache.NewObjectName("shop", "web")); err != nil || got == nil {
			t.Errorf("got %v, error %v", got, err)
		}
		if diff := cmp.Diff([]string{"shop metadata.name=web"}, lists); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
	lists = nil
	t.Run("requests nothing without a watched namespace", func(t *testing.T) {
		for _, key := range []cache.ObjectName{{Namespace: "other", Name: "web"}, {Name: "web"}} {
			if got, err := newCache(t, client, "shop").Live(t.Context(), key); err != nil || got != nil {
				t.Errorf("%v is %v, error %v", key, got, err)
			}
		}
		if got, err := newCache(t, client).Live(t.Context(), cache.ObjectName{Name: "web"}); err != nil || got != nil {
			t.Errorf("a name without a namespace is that of %v, error %v", got, err)
		}
		if len(lists) != 0 {
			t.Errorf("requests: %v", lists)
		}
	})
	t.Run("names the manifest with a missing right", func(t *testing.T) {
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil)
		})
		const want = `pods is forbidden: <nil>: yaml/rbac.yaml has the rule that is missing`
		_, err := newCache(t, client).Live(t.Context(), cache.NewObjectName("shop", "web"))
		if err == nil || !apierrors.IsForbidden(err) {
			t.Fatalf("error is %v, want %s", err, want)
		}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	})
}

// TestCache_Get_IsFresh goes through versions of the cache.
func TestCache_Get_IsFresh(t *testing.T) {
	answer := &corev1.PodList{}
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, answer, nil
	})
	c := newCache(t, client)
	i := c.informers[metav1.NamespaceAll]
	web1, web2 := cache.NewObjectName("shop", "web-1"), cache.NewObjectName("shop", "web-2")
	expect := func(when string, key cache.ObjectName, want bool) {
		t.Helper()
		if _, isFresh := c.Get(key); isFresh != want {
			t.Errorf("%s is fresh %s: %t, want %t", key, when, isFresh, want)
		}
	}
	reach := func(version string) { i.GetStore().Bookmark(version) }
	serve := func(version string, podVersions ...string) {
		answer = &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}
		for _, v := range podVersions {
			pod := podIn(web1.Namespace, web1.Name)
			pod.ResourceVersion = v
			answer.Items = append(answer.Items, *pod)
		}
	}
	live := func(key cache.ObjectName, want bool) {
		t.Helper()
		if got, err := c.Live(t.Context(), key); err != nil || (got != nil) != want {
			t.Fatalf("Live(%s) = %v, %v", key, got, err)
		}
	}
	requireCurrent := func() {
		t.Helper()
		if err := c.RequireCurrent(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	reach("99")
	expect("without other replicas", web1, true)
	serve("105")
	requireCurrent()
	expect("behind the version of the takeover", web1, false)
	serve("120", "110")
	live(web1, true)
	reach("104")
	expect("just behind the version of the takeover", web2, false)
	reach("105")
	expect("at the version of the takeover", web2, true)
	expect("behind the version of the live read", web1, false)
	reach("1000") // compared as a number
	expect("after the version of the live read", web1, true)
	serve("1200")
	live(web1, false)
	expect("while another Pod is not", web2, true)
	expect("behind the version at which it did not exist", web1, false)
	reach("1200")
	serve("1300", "1250")
	if i.minVersions[web1] == "" {
		t.Fatal("the version is dropped before it is needed")
	}
	live(web2, false)
	if _, ok := i.minVersions[web1]; ok {
		t.Error("a version that the cache has reached is kept, for ever if the Pod is gone")
	}

	serve("9000", "8000")
	requireCurrent()
	live(web1, true)
	expect("behind the versions of a takeover and of a live read", web1, false)
	i.rolledBack("1000")
	expect("after a restore of etcd", web1, true)
}

func TestCache_OnRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := "20"
		var mu sync.Mutex
		var open []*watch.FakeWatcher
		client := fake.NewClientset()
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			return true, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}, nil
		})
		client.PrependWatchReactor("pods", func(clienttesting.Action) (bool, watch.Interface, error) {
			mu.Lock()
			defer mu.Unlock()
			w := watch.NewFake()
			open = append(open, w)
			return true, w, nil
		})
		c := newCache(t, client, "a", "b")
		key := cache.NewObjectName("a", "web")
		var got []string
		c.OnRollback(func(version string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, version)
		})
		start(t, c)
		c.informers["a"].minVersions[key] = "50"
		if _, isFresh := c.Get(key); isFresh {
			t.Fatal("it is fresh before the restore")
		}
		<-time.After(time.Minute) // virtual time; a very short watch counts as a failure
		mu.Lock()
		version = "10"
		for _, w := range open {
			w.Stop()
		}
		mu.Unlock()
		<-time.After(time.Minute) // virtual time
		synctest.Wait()
		if diff := cmp.Diff([]string{"10", "10", "10", "10"}, got); diff != "" { // of two informers, before and after the list
			t.Errorf("versions that were reported (-want +got):\n%s", diff)
		}
		if _, isFresh := c.Get(key); !isFresh {
			t.Error("it waits for a version that the restore has undone")
		}
	})
}

func TestCache_RequireCurrent(t *testing.T) {
	refused := errors.New("connection refused")
	tests := []struct {
		name     string
		failures []error
		timeout  time.Duration
		wantErr  bool
	}{
		{name: "the first answer counts", timeout: time.Hour},
		{
			name:     "it asks until it is answered, with a pause",
			failures: []error{refused, apierrors.NewTimeoutError("busy", 1), apierrors.NewBadRequest("not now")}, timeout: time.Hour,
		},
		{name: "it ends with its context", failures: slices.Repeat([]error{refused}, 1000), timeout: time.Minute, wantErr: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				requests := 0
				client := fake.NewClientset()
				client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
					if requests++; requests <= len(test.failures) {
						return true, nil, test.failures[requests-1]
					}
					return true, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "105"}}, nil
				})
				c := newCache(t, client, "shop")
				ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
				defer cancel()
				begin := time.Now()
				if err := c.RequireCurrent(ctx); (err != nil) != test.wantErr {
					t.Errorf("error is %v, want one: %t", err, test.wantErr)
				}
				if test.wantErr {
					return
				}
				if diff := cmp.Diff("105", c.informers["shop"].minVersion); diff != "" {
					t.Errorf("version to reach (-want +got):\n%s", diff)
				}
				if took, least := time.Since(begin), time.Duration(len(test.failures))*90*time.Millisecond; took < least {
					t.Errorf("%d failures took %s, want at least %s", len(test.failures), took, least)
				}
			})
		})
	}
}

func TestCache_RequireCurrent_EachNamespace(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		version := map[string]string{"a": "10", "b": "20"}[action.GetNamespace()]
		return true, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}, nil
	})
	c := newCache(t, client, "a", "b")
	if err := c.RequireCurrent(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, i := range c.informers {
		i.GetStore().Bookmark("15")
	}
	got := map[string]bool{}
	for _, namespace := range []string{"a", "b", "c"} {
		_, got[namespace] = c.Get(cache.NewObjectName(namespace, "web"))
	}
	if diff := cmp.Diff(map[string]bool{"a": true, "b": false, "c": true}, got); diff != "" {
		t.Errorf("fresh (-want +got):\n%s", diff)
	}
}

func TestCache_AsOf(t *testing.T) {
	t.Run("is the zero time before the first list", func(t *testing.T) {
		if got := newCache(t, fake.NewClientset(), "a", "b").AsOf(); !got.IsZero() {
			t.Errorf("AsOf = %s", got)
		}
	})
	t.Run("is that of the oldest namespace", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client := fake.NewClientset()
			client.PrependWatchReactor("pods", func(action clienttesting.Action) (bool, watch.Interface, error) {
				return action.GetNamespace() == "b", nil, errors.New("no watch")
			})
			c := newCache(t, client, "a", "b")
			begin := time.Now()
			start(t, c)
			<-time.After(time.Hour) // virtual time
			if diff := cmp.Diff(begin, c.AsOf()); diff != "" {
				t.Errorf("AsOf (-want +got):\n%s", diff)
			}
			if a := c.informers["a"].AsOf(); !a.After(begin) {
				t.Errorf("the other namespace is as of %s, too", a)
			}
		})
	})
}

func TestCache_AddEventHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(podIn("a", "web"), podIn("b", "web"), podIn("c", "web"))
		c := newCache(t, client, "a", "b")
		var mu sync.Mutex
		var added []string
		synced, err := c.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(obj any) {
			mu.Lock()
			defer mu.Unlock()
			added = append(added, obj.(*Pod).Key().String())
		}}, cache.HandlerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(synced) != 2 {
			t.Errorf("%d checkers, want one for each namespace", len(synced))
		}
		for _, s := range synced {
			if cache.IsDone(s) {
				t.Errorf("%s is synced before it runs", s.Name())
			}
		}
		start(t, c)
		for _, s := range synced {
			if !cache.IsDone(s) {
				t.Errorf("%s is not synced", s.Name())
			}
		}
		slices.Sort(added)
		if diff := cmp.Diff([]string{"a/web", "b/web"}, added); diff != "" {
			t.Errorf("Pods (-want +got):\n%s", diff)
		}
	})
}

func TestCache_Confirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		version, away := "7", error(nil)
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}, away
		})
		c := newCache(t, client, "a", "b")
		start(t, c)
		<-time.After(time.Hour) // virtual time
		if age := time.Since(c.AsOf()); age == 0 {
			t.Fatal("the cache is current without an answer")
		}
		lists := len(client.Actions())
		if err := c.Confirm(t.Context()); err != nil || !c.AsOf().Equal(time.Now()) {
			t.Errorf("as of %s, want now; %v", c.AsOf(), err)
		}
		if got := len(client.Actions()) - lists; got != 1 {
			t.Errorf("%d requests for two namespaces, want 1", got)
		}
		<-time.After(time.Hour)
		version = "8" // fakes have no connection that the watch could share
		if err := c.Confirm(t.Context()); !errors.Is(err, ErrUnproven) || c.AsOf().Equal(time.Now()) {
			t.Errorf("another version: as of %s, %v", c.AsOf(), err)
		}
		away = errors.New("away")
		if err := c.Confirm(t.Context()); !errors.Is(err, away) {
			t.Errorf("an outage: %v", err)
		}
	})
}
