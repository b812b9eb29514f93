package peers

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// Testcr is the type that a kubebuilder project has for the custom resource.
type Testcr struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec podinfolookup.TestcrSpec `json:"spec"`
}

// TestcrList is a list of Testcrs.
type TestcrList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []Testcr `json:"items"`
}

// DeepCopyInto is the code that controller-gen generates.
func (t *Testcr) DeepCopyInto(out *Testcr) {
	*out = *t
	t.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec.PodIPs = slices.Clone(t.Spec.PodIPs)
	out.Spec.Labels = maps.Clone(t.Spec.Labels)
	out.Spec.Containers = slices.Clone(t.Spec.Containers)
}

// DeepCopyObject implements runtime.Object.
func (t *Testcr) DeepCopyObject() runtime.Object {
	out := &Testcr{}
	t.DeepCopyInto(out)
	return out
}

// DeepCopyObject implements runtime.Object.
func (l *TestcrList) DeepCopyObject() runtime.Object {
	out := &TestcrList{TypeMeta: l.TypeMeta}
	out.Continue, out.ResourceVersion, out.RemainingItemCount = l.Continue, l.ResourceVersion, l.RemainingItemCount
	out.Items = make([]Testcr, len(l.Items))
	for i := range l.Items {
		l.Items[i].DeepCopyInto(&out.Items[i])
	}
	return out
}
