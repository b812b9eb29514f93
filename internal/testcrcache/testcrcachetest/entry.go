// Package testcrcachetest makes cached Testcrs for tests.
package testcrcachetest

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

// client is a dynamic client whose cluster contains one object.
type client struct {
	dynamic.NamespaceableResourceInterface

	object *unstructured.Unstructured
}

func (c client) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return c
}

func (c client) Get(context.Context, string, metav1.GetOptions, ...string) (*unstructured.Unstructured, error) {
	return c.object, nil
}

// Entry returns the entry that a cache makes of testcr. It panics if testcr cannot be
// encoded.
func Entry(testcr *v1.Testcr) *testcrcache.Entry {
	object, err := wire.Encode(testcr)
	if err != nil {
		panic(err)
	}
	if testcr.DeletionTimestamp != nil {
		object.SetDeletionTimestamp(testcr.DeletionTimestamp)
	}
	testcrs, err := testcrcache.New(testcrcache.Config{Client: client{object: object}})
	if err != nil {
		panic(err)
	}
	entry, err := testcrs.Live(context.Background(), testcr.Name)
	if err != nil {
		panic(err)
	}
	return entry
}
