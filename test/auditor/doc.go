// Package auditor watches the Pods and the Testcrs of a cluster by itself and
// tells whether what it saw can be the work of a controller that keeps its
// promises. It imports nothing of the controller. The rules of a Testcr are those of
// internal/oracle, which implements the README a second time.
//
// It rests on one property of Kubernetes: the resource versions of all objects
// in one etcd are the same counter. So the log of a Pod and the log of its Testcr
// can be put into one order, though they came over two connections. In that order
// the Testcr must go through the states of its Pod (absent, as created, bound,
// running, terminating, absent, as created again): it may leave some out and stay
// at others, but never show one that the Pod has not had by then, and never go
// back. Everything that Findings speaks of is a breach of that, or a difference
// between two lists while nothing changes.
//
// A restore of etcd from an older state takes the counter back. It ends an epoch:
// see Restored.
package auditor
