package auditor

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

// state is the content of a Testcr, or the content that a Pod calls for. The zero
// value is the absence of either.
type state struct {
	// text is the JSON of oracle.Facts: two states are the same if their texts are.
	text string
	uid  string   // of the Pod
	ips  []string // of the Pod, podip among them
}

func (s state) absent() bool { return s.text == "" }

// testcrOf is a stored Testcr.
type testcrOf struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
}

func (t *testcrOf) managed() bool {
	return t.Metadata.Labels[oracle.LabelManagedBy] == oracle.ManagedBy
}

// state returns the content of the Testcr. A spec that the CRD does not allow is
// kept as text, without the UID and the IPs. An emptied Testcr counts as absent.
func (t *testcrOf) state() state {
	malformed := state{text: "malformed: " + string(t.Spec)} // no JSON, so it equals no state of a Pod
	spec := map[string]any{}
	if err := utiljson.Unmarshal(t.Spec, &spec); err != nil {
		return malformed
	}
	stored := oracle.Read(&t.Metadata, spec)
	switch {
	case stored.Validate() != nil:
		return malformed
	case stored.IsEmptied():
		return state{}
	default:
		return stateOf(&stored.Facts)
	}
}

func stateOf(facts *oracle.Facts) state {
	s := state{text: string(facts.JSON()), uid: facts.Text("poduid")}
	if ip := facts.Text("podip"); ip != "" {
		s.ips = append(s.ips, ip)
	}
	ips, _ := facts.Spec["podips"].([]any)
	for _, ip := range ips {
		s.ips = append(s.ips, ip.(string)) // FactsFor and Validate allow nothing else
	}
	return s
}

// expect returns the content of the Testcr that a Pod calls for.
func expect(pod *corev1.Pod) state { return stateOf(oracle.FactsFor(pod)) }
