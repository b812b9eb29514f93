package podinfolookup

import (
	"time"

	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
)

// Verb is what a sync does to a Testcr.
type Verb string

// The verbs, in the words of the program's output.
const (
	Added     Verb = "add"
	Updated   Verb = "update"
	Deleted   Verb = "delete"
	Unchanged Verb = "unchanged"
	Foreign   Verb = "foreign" // left alone, and reported
)

// Writes reports whether the verb is a write.
func (v Verb) Writes() bool { return v == Added || v == Updated || v == Deleted }

// Reason is why a Testcr was written.
type Reason string

// The reasons of writes. The last three undo changes by other clients.
const (
	PodChanged     Reason = "pod_changed"    // the Pod was created, changed or deleted
	PodReplaced    Reason = "pod_replaced"   // another Pod of the same name took its place
	CaughtUp       Reason = "caught_up"      // it differed when this controller started
	Adopted        Reason = "adopted"        // it belonged to the Pod, but had no label of this program
	TestcrDeleted  Reason = "testcr_deleted" // it was deleted although its Pod exists
	TestcrEdited   Reason = "testcr_edited"  // it was changed although its Pod was not
	TestcrOrphaned Reason = "orphaned"       // it was created, or is kept by a finalizer, without its Pod
)

// IsRepair reports whether the write undid a change by another client.
func (r Reason) IsRepair() bool {
	return r == TestcrDeleted || r == TestcrEdited || r == TestcrOrphaned
}

// Write is a write of a Testcr that the API server has accepted.
type Write struct {
	Verb   Verb
	Reason Reason
	// Pod is the Pod of the Testcr. Of a Testcr that belongs to no Pod it is the name
	// of the Testcr without a namespace.
	Pod cache.ObjectName
	// FirstEvent is when the cache received the first change of the Pod that the write
	// is the result of. It is zero if there was none.
	FirstEvent time.Time
}

// reasonFor returns why a sync with this trigger writes.
func reasonFor(t trigger, verb Verb, want *v1.Testcr, stored *testcrcache.Entry) Reason {
	switch {
	case verb == Updated && !stored.IsManaged():
		return Adopted
	case verb == Updated && stored.Spec().PodUID != want.Spec.PodUID && t.podChanged && want.Spec.PodUID != "":
		return PodReplaced
	case t.podChanged && t.firstEvent.IsZero():
		return CaughtUp
	case t.podChanged:
		return PodChanged
	case verb == Added:
		return TestcrDeleted
	case verb == Updated && want.Spec.PodUID != "":
		return TestcrEdited
	default:
		return TestcrOrphaned
	}
}
