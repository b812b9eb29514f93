package auditor

import (
	"fmt"
	"time"
)

// Kind is what is wrong.
type Kind string

// What the auditor finds. The first group is about the order of writes at any
// time, the second about two lists at rest.
const (
	// DeletedLive is the deletion of a Testcr whose Pod was there and had been shown.
	DeletedLive Kind = "deleted while its Pod is live"
	// NeverHadUID is a UID that no Pod of this key ever had.
	NeverHadUID Kind = "a UID that its Pod never had"
	// NeverHadIP is an IP that the Pod of this UID never had.
	NeverHadIP Kind = "an IP that its Pod never had"
	// NeverHadValue is any other value that the Pod never had.
	NeverHadValue Kind = "a value that its Pod never had"
	// TooEarly is a value that the Pod had only later.
	TooEarly Kind = "a value before its Pod had it"
	// WentBack is an older value after a newer one.
	WentBack Kind = "back to an older value"

	// Missing is a Pod without a Testcr.
	Missing Kind = "missing"
	// Orphan is a Testcr without a Pod.
	Orphan Kind = "orphan"
	// Duplicate is a second Testcr that claims a Pod.
	Duplicate Kind = "duplicate"
	// Differs is a Testcr that does not match its Pod.
	Differs Kind = "differs"
	// Restless is a cluster that kept changing, so that nothing could be compared.
	Restless Kind = "not at rest"
)

// Finding is one breach of a promise.
type Finding struct {
	Kind    Kind      `json:"kind"`
	Testcr  string    `json:"testcr"`
	Pod     string    `json:"pod,omitempty"`
	Epoch   int       `json:"epoch,omitempty"`           // restores of etcd before it
	Version uint64    `json:"resourceVersion,omitempty"` // of the write
	At      time.Time `json:"at,omitzero"`               // when the auditor observed it
	Detail  string    `json:"detail,omitempty"`
}

func (f Finding) String() string {
	epoch := ""
	if f.Epoch > 0 {
		epoch = fmt.Sprintf(" after restore %d", f.Epoch)
	}
	return fmt.Sprintf("%s: testcr %s of pod %s at resource version %d%s: %s", f.Kind, f.Testcr, f.Pod, f.Version, epoch, f.Detail)
}

// A Pod may have megabytes: findings have maxText bytes of a text at most, of two
// that differ from leadIn bytes before the difference on.
const (
	maxText = 2 << 10
	leadIn  = 64
)

func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", text[:maxText], len(text))
}

// difference puts two texts behind their prefixes, and leaves out what they have
// in common where they are long.
func difference(prefixA, a, prefixB, b string) string {
	if len(a) > maxText || len(b) > maxText {
		same := 0
		for same < min(len(a), len(b)) && a[same] == b[same] {
			same++
		}
		if from := same - leadIn; from > 0 {
			a, b = fmt.Sprintf("...[%d]%s", from, a[from:]), fmt.Sprintf("...[%d]%s", from, b[from:])
		}
	}
	return prefixA + short(a) + prefixB + short(b)
}
