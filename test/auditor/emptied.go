package auditor

import (
	"bytes"
	"encoding/json"
	"strings"
)

// emptied reports whether the Testcr is deleted, has lost its Pod, and is kept by
// somebody's finalizer: its spec has the key of the Pod and terminating, and no
// fact of a Pod. In the order of writes it is as good as absent. Anything else in
// such a Testcr is judged as in any other.
func (t *testcrOf) emptied() bool {
	if t.Metadata.DeletionTimestamp.IsZero() {
		return false
	}
	s := spec{}
	if err := json.NewDecoder(bytes.NewReader(t.Spec)).Decode(&s); err != nil || nameOf(s.PodKey) != t.Metadata.Name {
		return false
	}
	namespace, name, _ := strings.Cut(s.PodKey, "/")
	empty := &spec{PodKey: s.PodKey, PodName: name, Namespace: namespace, Terminating: true}
	return t.state().text == stateOf(empty, ownLabels(empty)).text
}
