package peers

import (
	"context"
	"fmt"
	"maps"
	"os"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// article is the algorithm of the article from which podinfolookup started: one
// worker, the default rate limit of client-go (5 requests a second), writes
// without a cache, and a list of all Testcrs after each event. Unlike the
// original it has all fields and observes updates.
type article struct {
	pods    cache.SharedIndexInformer
	testcrs dynamic.ResourceInterface
	queue   workqueue.TypedRateLimitingInterface[string]
}

func runArticle(ctx context.Context, config *rest.Config) error {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(kube, 0)
	a := &article{
		pods:    factory.Core().V1().Pods().Informer(),
		testcrs: client.Resource(v1.GroupVersionResource),
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	enqueue := func(obj any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
			a.queue.Add(key)
		}
	}
	_, err = a.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, obj any) { enqueue(obj) }, DeleteFunc: enqueue,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	context.AfterFunc(ctx, a.queue.ShutDown)
	for a.next(ctx) {
	}
	return nil
}

func (a *article) next(ctx context.Context) bool {
	key, shutdown := a.queue.Get()
	if shutdown {
		return false
	}
	defer a.queue.Done(key)
	if err := a.handle(ctx, key); err != nil {
		fmt.Fprintln(os.Stderr, "article:", err)
		a.queue.AddRateLimited(key)
		return true
	}
	a.queue.Forget(key)
	return true
}

func (a *article) handle(ctx context.Context, key string) error {
	obj, exists, err := a.pods.GetIndexer().GetByKey(key)
	if err != nil {
		return err
	}
	if !exists {
		name, err := cache.ParseObjectName(key)
		if err != nil {
			return err
		}
		fmt.Println("delete: " + key)
		err = a.testcrs.Delete(ctx, v1.NameFor(types.NamespacedName(name)), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return a.printAll(ctx)
	}
	pod, _ := obj.(*corev1.Pod) // nothing else is in this informer
	want := harness.TestcrOf(pod)
	fmt.Println("add: " + key)
	_, err = a.testcrs.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		have, err := a.testcrs.Get(ctx, want.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(have.Object["spec"], want.Object["spec"]) || !maps.Equal(have.GetLabels(), want.GetLabels()) {
			want.SetResourceVersion(have.GetResourceVersion())
			if _, err := a.testcrs.Update(ctx, want, metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
	} else if err != nil {
		return err
	}
	return a.printAll(ctx)
}

func (a *article) printAll(ctx context.Context) error {
	list, err := a.testcrs.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	fmt.Println("\ncurrent list:")
	for i := range list.Items {
		fmt.Println(&list.Items[i])
	}
	return nil
}
