package v1

import (
	"crypto/md5" //nolint:gosec // G501: a name, not a secret; 128 bits in hexadecimal make a valid object name of any Pod's.
	"encoding/hex"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// NameFor returns the name of the Testcr of a Pod: the lowercase hexadecimal md5 of
// "namespace/name", 32 characters.
func NameFor(pod types.NamespacedName) string { return md5Hex(pod.String()) }

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // G401: see the import.
	return hex.EncodeToString(sum[:])
}

// PodKey returns the namespace and name of the Pod that t belongs to. It returns
// false if spec.podkey does not produce the name of t, as after an edit by hand.
func (t *Testcr) PodKey() (types.NamespacedName, bool) {
	namespace, name, ok := strings.Cut(t.Spec.PodKey, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") || md5Hex(t.Spec.PodKey) != t.Name {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, true
}

// IsManaged reports whether PodInfoLookup keeps t.
func (t *Testcr) IsManaged() bool { return t.Labels[LabelManagedBy] == ManagedBy }

// IsEmptied reports whether the Pod of t is gone and a finalizer alone keeps t.
// Such a Testcr contains no fact of the Pod but its name.
func (t *Testcr) IsEmptied() bool { return t.DeletionTimestamp != nil && t.Spec.PodUID == "" }

// DescribesPod reports whether t states facts of the Pod that it is named after. Others
// were created or edited by hand, or belong to a Pod that is gone: a client must ignore
// them, whatever it selected by.
func (t *Testcr) DescribesPod() bool {
	_, ok := t.PodKey()
	return ok && t.IsManaged() && !t.IsEmptied()
}
