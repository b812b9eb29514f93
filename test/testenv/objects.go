package testenv

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// Object returns a Testcr as the dynamic client takes it, for a test to change.
func Object(t *v1.Testcr) *unstructured.Unstructured {
	u, err := wire.ToUnstructured(t)
	utilruntime.Must(err) // each Testcr can be encoded
	return u
}
