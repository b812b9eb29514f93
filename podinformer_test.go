package podinfolookup

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
)

// TestPodIsSureOnceTheCacheHasCaughtUp goes through versions of the cache.
func TestPodIsSureOnceTheCacheHasCaughtUp(t *testing.T) {
	answer := &corev1.PodList{}
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, answer, nil
	})
	testcrs := newTestcrs(t, newDynamic())
	informer, err := NewPodInformer(client, metav1.NamespaceAll, testcrs)
	if err != nil {
		t.Fatal(err)
	}
	pods := podCaches{metav1.NamespaceAll: informer}
	key, other := cache.NewObjectName("shop", "web-1"), cache.NewObjectName("shop", "web-2")
	is := func(when string, key cache.ObjectName, want bool) {
		t.Helper()
		if _, sure := pods.get(key); sure != want {
			t.Errorf("%s is sure %s: %t, want %t", key, when, sure, want)
		}
	}
	reaches := func(version string) { informer.GetStore().Bookmark(version) }
	read := func(version string, pods ...string) {
		t.Helper()
		answer = &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}
		for _, v := range pods {
			pod := web(1)
			pod.ResourceVersion = v
			answer.Items = append(answer.Items, *pod)
		}
	}

	reaches("99")
	is("with nobody else around", key, true)
	read("105")
	if err := pods.distrust(t.Context()); err != nil {
		t.Fatal(err)
	}
	is("behind the version of the takeover", key, false)
	read("120", "110")
	pod, err := pods.live(t.Context(), key)
	if err != nil || pod == nil || pod.resourceVersion != "110" {
		t.Fatalf("the live Pod is %v, %v", pod, err)
	}
	reaches("104")
	is("just behind the version of the takeover", other, false)
	reaches("105")
	is("at the version of the takeover", other, true)
	is("behind the version that it was read at", key, false)
	reaches("1000") // and not by the order of the letters
	is("beyond the version that it was read at", key, true)
	read("1200")
	if pod, err := pods.live(t.Context(), key); err != nil || pod != nil {
		t.Fatalf("the live Pod is %v, %v", pod, err)
	}
	is("as another", other, true)
	is("behind the version at which it was gone", key, false)
	reaches("1200")
	if read("1300", "1250"); informer.ahead[key] == "" {
		t.Fatal("it is forgotten before it is asked for")
	}
	if _, err := pods.live(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if pod, err := pods.live(t.Context(), cache.ObjectName{Name: key.Name}); err != nil || pod != nil {
		t.Errorf("a name without a namespace is that of the Pod %v, %v", pod, err)
	}
	if _, kept := informer.ahead[key]; kept {
		t.Error("what the cache has reached is kept, and would be for ever for a Pod that is gone")
	}

	read("9000", "8000")
	if err := pods.distrust(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := pods.live(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	is("behind the versions of a takeover and of a read", key, false)
	informer.request(&metav1.ListOptions{ResourceVersion: "1200"}, true)
	informer.listed(t.Context(), "pods", "1000")
	is("after a restore of etcd that voids both", key, true)
}

// No failure ends a takeover, and none has it ask again without a pause.
func TestATakeoverAsksUntilItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := []error{errors.New("connection refused"), apierrors.NewTimeoutError("busy", 1), apierrors.NewBadRequest("not now")}
		client := fake.NewClientset()
		requests := 0
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			if requests++; requests <= len(failures) {
				return true, nil, failures[requests-1]
			}
			return true, &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "105"}}, nil
		})
		informer, err := NewPodInformer(client, metav1.NamespaceAll, newTestcrs(t, newDynamic()))
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := informer.distrust(t.Context(), metav1.NamespaceAll); err != nil || informer.least != "105" {
			t.Errorf("it ends with the version %q, %v", informer.least, err)
		}
		if took, least := time.Since(begin), time.Duration(len(failures))*outageRetryMin; took < least {
			t.Errorf("%d requests took %s, want at least %s", requests, took, least)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
		if err := informer.distrust(ctx, metav1.NamespaceAll); err == nil {
			t.Error("a stop does not end it")
		}
	})
}
