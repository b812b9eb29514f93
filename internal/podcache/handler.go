package podcache

import "k8s.io/client-go/tools/cache"

// Handler returns an event handler that calls update with two states of a Pod; nil
// stands for absent. It unwraps tombstones.
func Handler(update func(old, pod *Pod)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { update(nil, unwrap(obj)) },
		UpdateFunc: func(old, obj any) { update(unwrap(old), unwrap(obj)) },
		DeleteFunc: func(obj any) { update(unwrap(obj), nil) },
	}
}

// unwrap returns the Pod of an event or of its tombstone, or nil.
func unwrap(obj any) *Pod {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	pod, _ := obj.(*Pod)
	return pod
}
