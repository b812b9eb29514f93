// Package v1 contains the API types of PodInfoLookup: the Testcr, which holds the
// details of one Pod, and the labels and names that clients select Testcrs by.
//
// A client that knows a Pod's namespace and name gets its Testcr by NameFor. One
// that has an IP lists by the label LabelIP, one that has a container ID by
// LabelContainer, and reads the Testcrs with LabelMore as well. The fields of the
// spec that are called selectable can be used in field selectors.
//
// +kubebuilder:object:generate=true
// +groupName=stable.example.com
// +versionName=v1
package v1
