package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of Testcrs.
const GroupName = "stable.example.com"

var (
	// GroupVersion is the API group and version of this package.
	GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1"}
	// GroupVersionResource is the resource that dynamic clients use.
	GroupVersionResource = GroupVersion.WithResource("testcrs")
	// GroupVersionKind is the kind of a Testcr.
	GroupVersionKind = GroupVersion.WithKind("Testcr")

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)
	// AddToScheme adds Testcr and TestcrList to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &Testcr{}, &TestcrList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
