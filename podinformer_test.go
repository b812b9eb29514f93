package podinfolookup

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
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
}
