package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/pager"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

// pageSize bounds the memory of a list, here and in the API server. Two pages of large
// Pods take about 40 MiB here.
const pageSize = 500

var testcrs = schema.GroupVersionResource{Group: "stable.example.com", Version: "v1", Resource: "testcrs"}

// ReadError is a failed read of one resource.
type ReadError struct {
	Resource string // pods, testcrs, replicasets or jobs
	Err      error
}

func (e ReadError) Error() string { return fmt.Sprintf("listing %s: %v", e.Resource, e.Err) }

// Unwrap returns the error of the request.
func (e ReadError) Unwrap() error { return e.Err }

// cluster reads Pods, Testcrs and owners of Pods. Each read returns all that was written before it.
type cluster interface {
	// eachPod and eachTestcr call visit for each object.
	eachPod(ctx context.Context, namespaces []string, visit func(*corev1.Pod)) error
	eachTestcr(ctx context.Context, visit func(*unstructured.Unstructured)) error
	// owners returns all ReplicaSets and Jobs, and ownerOf at most the one of a Pod.
	// Both return nil if owners are not read.
	owners(ctx context.Context, namespaces []string) (oracle.Owners, error)
	ownerOf(ctx context.Context, pod *corev1.Pod) (oracle.Owners, error)
	// pod and testcr return nil if there is none.
	pod(ctx context.Context, podkey string) (*corev1.Pod, error)
	testcr(ctx context.Context, name string) (*unstructured.Unstructured, error)
}

// apiServer reads with lists only, so that one right on each resource is enough. The API
// server answers a list by name as it does a get.
type apiServer struct {
	pods     typedcorev1.PodsGetter
	testcrs  dynamic.ResourceInterface
	metadata metadata.Interface // nil if owners are not read
}

// ownerResources contains the owners that have owners of their own, by kind.
var ownerResources = map[string]schema.GroupVersionResource{
	"ReplicaSet": {Group: "apps", Version: "v1", Resource: "replicasets"},
	"Job":        {Group: "batch", Version: "v1", Resource: "jobs"},
}

func (a *apiServer) owners(ctx context.Context, namespaces []string) (oracle.Owners, error) {
	if a.metadata == nil {
		return nil, nil
	}
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	owners := oracle.Owners{}
	for kind, resource := range ownerResources {
		for _, namespace := range namespaces {
			objects := a.metadata.Resource(resource).Namespace(namespace)
			list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				return objects.List(ctx, options)
			}
			err := each(ctx, list, func(obj runtime.Object) { owners.Add(kind, obj.(*metav1.PartialObjectMetadata)) })
			if err != nil {
				return nil, ReadError{resource.Resource, err}
			}
		}
	}
	return owners, nil
}

func (a *apiServer) ownerOf(ctx context.Context, pod *corev1.Pod) (oracle.Owners, error) {
	owner, ok := oracle.ReadableOwner(pod)
	if a.metadata == nil || !ok {
		return nil, nil
	}
	resource := ownerResources[owner.Kind]
	list, err := a.metadata.Resource(resource).Namespace(pod.Namespace).List(ctx, called(owner.Name))
	if err != nil {
		return nil, ReadError{resource.Resource, err}
	}
	owners := oracle.Owners{}
	for i := range list.Items {
		owners.Add(owner.Kind, &list.Items[i])
	}
	return owners, nil
}

func (a *apiServer) eachPod(ctx context.Context, namespaces []string, visit func(*corev1.Pod)) error {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	for _, namespace := range namespaces {
		list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return a.pods.Pods(namespace).List(ctx, options)
		}
		if err := each(ctx, list, func(obj runtime.Object) { visit(obj.(*corev1.Pod)) }); err != nil {
			return ReadError{"pods", err}
		}
	}
	return nil
}

func (a *apiServer) eachTestcr(ctx context.Context, visit func(*unstructured.Unstructured)) error {
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return a.testcrs.List(ctx, options)
	}
	if err := each(ctx, list, func(obj runtime.Object) { visit(obj.(*unstructured.Unstructured)) }); err != nil {
		return ReadError{"testcrs", err}
	}
	return nil
}

// each lists page by page. If the version of the first page has been compacted, the API
// server offers further pages of a newer version. That is enough here, because whatever
// differs is read again.
func each(ctx context.Context, list pager.ListPageFunc, visit func(runtime.Object)) error {
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		page, err := list(ctx, options)
		var status apierrors.APIStatus
		if apierrors.IsResourceExpired(err) && errors.As(err, &status) && status.Status().Continue != "" {
			options.Continue = status.Status().Continue
			return list(ctx, options)
		}
		return page, err
	})
	pages.PageSize = pageSize
	pages.PageBufferSize = 0 // one page is fetched while another is read
	return pages.EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		visit(obj)
		return nil
	})
}

func (a *apiServer) pod(ctx context.Context, podkey string) (*corev1.Pod, error) {
	namespace, name, _ := strings.Cut(podkey, "/")
	list, err := a.pods.Pods(namespace).List(ctx, called(name))
	if err != nil || len(list.Items) == 0 {
		return nil, asReadError("pods", err)
	}
	return &list.Items[0], nil
}

func (a *apiServer) testcr(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	list, err := a.testcrs.List(ctx, called(name))
	if err != nil || len(list.Items) == 0 {
		return nil, asReadError("testcrs", err)
	}
	return &list.Items[0], nil
}

func called(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()}
}

func asReadError(resource string, err error) error {
	if err == nil {
		return nil
	}
	return ReadError{resource, err}
}
