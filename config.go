package podinfolookup

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Config is what a Controller works with. The informers are started by the
// caller, after New and before or while Run waits for them. The functions may be
// nil; they are called from the workers and must be quick.
type Config struct {
	// Pods are the Pod informers by watched namespace, or one under
	// metav1.NamespaceAll.
	Pods map[string]*PodInformer
	// Testcrs is the informer of the Testcrs of all namespaces.
	Testcrs *TestcrInformer
	// Replicas says that other replicas write the same Testcrs until Run is called:
	// what this one's caches hold by then may be older than what they wrote.
	Replicas bool
	// Workers is how many keys are synced at once, at least 1.
	Workers int
	// Wrote is called after each successful write.
	Wrote func(Write)
	// Synced is called after each sync with what it came to and how long it took.
	Synced func(Verb, time.Duration, error)
	// Warn is called when a person must act: about is what stands in the way, a
	// Testcr or the CRD; reason is in CamelCase, as that of an Event.
	Warn func(about *corev1.ObjectReference, reason, message string)
}

func (c *Config) setDefaults() {
	if c.Wrote == nil {
		c.Wrote = func(Write) {}
	}
	if c.Synced == nil {
		c.Synced = func(Verb, time.Duration, error) {}
	}
	if c.Warn == nil {
		c.Warn = func(*corev1.ObjectReference, string, string) {}
	}
}
