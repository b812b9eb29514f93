package peers

import (
	"context"
	"maps"
	"reflect"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const sampleWorkers = 2 // as in sample-controller's main

// sample follows the pattern of kubernetes/sample-controller: informers of Pods
// and Testcrs, listers, two workers, and the default rate limits of client-go.
type sample struct {
	pods    corelisters.PodLister
	testcrs cache.GenericLister
	client  dynamic.ResourceInterface
	queue   workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

func runSampleController(ctx context.Context, config *rest.Config) error {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	kubeInformers := informers.NewSharedInformerFactory(kube, 0)
	dynamicInformers := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	pods := kubeInformers.Core().V1().Pods()
	testcrs := dynamicInformers.ForResource(v1.GroupVersionResource)
	s := &sample{
		pods: pods.Lister(), testcrs: testcrs.Lister(), client: client.Resource(v1.GroupVersionResource),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]()),
	}
	if err := s.addHandler(pods.Informer(), s.enqueuePod); err != nil {
		return err
	}
	if err := s.addHandler(testcrs.Informer(), s.enqueueOwner); err != nil {
		return err
	}
	kubeInformers.Start(ctx.Done())
	dynamicInformers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.Informer().HasSynced, testcrs.Informer().HasSynced) {
		return nil
	}
	context.AfterFunc(ctx, s.queue.ShutDown)
	var workers sync.WaitGroup
	for range sampleWorkers {
		workers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	workers.Wait()
	return nil
}

func (s *sample) addHandler(informer cache.SharedIndexInformer, enqueue func(any)) error {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: enqueue, UpdateFunc: func(_, obj any) { enqueue(obj) }, DeleteFunc: enqueue,
	})
	return err
}

func (s *sample) enqueuePod(obj any) {
	if key, err := cache.DeletionHandlingObjectToName(obj); err == nil {
		s.queue.Add(key)
	}
}

func (s *sample) enqueueOwner(obj any) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return
	}
	podKey, _, _ := unstructured.NestedString(u.Object, "spec", "podkey")
	if key, err := cache.ParseObjectName(podKey); err == nil {
		s.queue.Add(key)
	}
}

func (s *sample) next(ctx context.Context) bool {
	key, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(key)
	if err := s.sync(ctx, key); err != nil {
		utilruntime.HandleErrorWithContext(ctx, err, "Sync failed", "pod", key)
		s.queue.AddRateLimited(key)
		return true
	}
	s.queue.Forget(key)
	return true
}

func (s *sample) sync(ctx context.Context, key cache.ObjectName) error {
	name := v1.NameFor(types.NamespacedName(key))
	obj, err := s.testcrs.Get(name)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	have, _ := obj.(*unstructured.Unstructured) // nil if it does not exist
	pod, err := s.pods.Pods(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) {
		if have == nil {
			return nil
		}
		return s.client.Delete(ctx, name, metav1.DeleteOptions{})
	}
	if err != nil {
		return err
	}
	return s.write(ctx, pod, have)
}

func (s *sample) write(ctx context.Context, pod *corev1.Pod, have *unstructured.Unstructured) error {
	want := harness.TestcrOf(pod)
	if have == nil {
		_, err := s.client.Create(ctx, want, metav1.CreateOptions{})
		return err
	}
	if reflect.DeepEqual(have.Object["spec"], want.Object["spec"]) && maps.Equal(have.GetLabels(), want.GetLabels()) {
		return nil
	}
	update := have.DeepCopy()
	update.Object["spec"] = want.Object["spec"]
	update.SetLabels(want.GetLabels())
	_, err := s.client.Update(ctx, update, metav1.UpdateOptions{})
	return err
}
