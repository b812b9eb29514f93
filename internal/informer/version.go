package informer

import "k8s.io/apimachinery/pkg/util/resourceversion"

// IsNewer reports whether a resource version is newer than another. It is false if
// one of them is empty or not a number.
func IsNewer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err == nil && order > 0
}
