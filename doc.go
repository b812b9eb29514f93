// Package podinfolookup is a client-go controller that keeps one cluster-scoped Testcr
// per Pod, so that the details of a Pod can be queried through the Kubernetes API.
//
// The pipeline is that of every client-go controller. Its stages and their files:
//
//	ListWatch                internal/informer/informer.go: list, watch, retry, resume
//	  decoding               internal/wire: projection.go for Pods, reader.go for Testcrs
//	Reflector, DeltaFIFO     client-go, made by informer.New
//	  transform              internal/podcache/pod.go, internal/testcrcache/entry.go
//	Informer, Indexer        internal/podcache (desired), internal/testcrcache (stored)
//	Event handlers           handlers.go: podChanged, podDeleted, testcrEvent
//	Workqueue                queue.go: rate limited, keys are cache.ObjectName of Pods
//	Controller               controller.go: Run, worker, processNext, sync, plan, apply
//	Dynamic client           internal/testcrcache/write.go: Create, Update, Delete
//
// Read controller.go from top to bottom, then keystate.go. The other files have one
// type each, which Controller composes. The rules of a Testcr are in internal/desired,
// and its Go types in api/v1.
//
// Invariants:
//   - A key is the namespace and name of a Pod. One worker at a time syncs it.
//   - A sync compares the two caches. It makes at most one write, and none that is
//     based on a cache which may be older than what another replica has seen.
//   - Only Testcrs with the label app.kubernetes.io/managed-by=podinfolookup, of the
//     watched namespaces, are changed or deleted.
//   - Nothing is queued unless Run drains the queue.
package podinfolookup
