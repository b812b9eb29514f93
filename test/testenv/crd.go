package testenv

import (
	"context"
	"errors"
	"maps"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// ChangeCRD makes the CRD that of yaml/ as change leaves it, nil for as it is. The
// test ends with that of yaml/. The API server may go by the old one for a moment:
// see Stores.
func (e *Env) ChangeCRD(t *testing.T, change func(*apiextensionsv1.CustomResourceDefinitionVersion)) {
	t.Helper()
	if err := e.changeCRD(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.changeCRD(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	})
}

func (e *Env) changeCRD(ctx context.Context, change func(*apiextensionsv1.CustomResourceDefinitionVersion)) error {
	crds := e.Extensions.ApiextensionsV1().CustomResourceDefinitions()
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := crds.Get(ctx, v1.GroupVersionResource.GroupResource().String(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		crd, err := CRD()
		if err != nil {
			return err
		}
		if change != nil {
			change(&crd.Spec.Versions[0])
		}
		live.Spec.Versions = crd.Spec.Versions
		_, err = crds.Update(ctx, live, metav1.UpdateOptions{})
		return err
	})
}

// WhileAnyShape calls write while the CRD takes everything, as the article's did,
// and returns when the API server goes by that of yaml/ again.
func (e *Env) WhileAnyShape(t *testing.T, write func()) {
	t.Helper()
	e.ChangeCRD(t, func(v *apiextensionsv1.CustomResourceDefinitionVersion) {
		yes := true
		v.SelectableFields, v.AdditionalPrinterColumns = nil, nil
		v.Schema.OpenAPIV3Schema = &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &yes}
	})
	e.Stores(t, "text", func(stored any) bool { return stored == "text" })
	write()
	e.ChangeCRD(t, nil)
	e.Stores(t, Whole(map[string]any{"unknown": "x"}), func(stored any) bool {
		spec, ok := stored.(map[string]any)
		return ok && spec["unknown"] == nil
	})
}

// Stores waits until the API server goes by a new schema: until it takes a Testcr
// with this spec, and accepted is true of what it stores of it.
func (e *Env) Stores(t *testing.T, spec any, accepted func(stored any) bool) {
	t.Helper()
	testcrs := e.Dynamic.Resource(v1.GroupVersionResource)
	probe := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "stable.example.com/v1", "kind": "Testcr", "spec": spec}}
	probe.SetName("probe")
	Eventually(t, func(ctx context.Context) error {
		stored, err := testcrs.Create(ctx, probe, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if err := testcrs.Delete(ctx, "probe", metav1.DeleteOptions{}); err != nil {
			return err
		}
		if !accepted(stored.Object["spec"]) {
			return errors.New("the API server goes by another schema")
		}
		return nil
	})
}

// Whole is a spec that a Testcr must have by yaml/testcrd.yaml, and fields besides.
func Whole(fields map[string]any) map[string]any {
	spec := map[string]any{
		"podkey": "probe/probe", "podname": "probe", "poduid": "u", "namespace": "probe", "hostnetwork": false, "ready": false, "terminating": false,
	}
	maps.Copy(spec, fields)
	return spec
}
