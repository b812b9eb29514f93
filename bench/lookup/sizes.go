package lookup

import (
	"context"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	noContainer = ", without container IDs"
	noLookup    = ", without container IDs and IPs"
)

var (
	kindsOfPods = []string{"bare", "Deployment"}
	// leftOut are prefixes of labels. Sizes are measured without these labels too.
	leftOut = map[string][]string{
		"": nil, noContainer: {"cid.stable.example.com/"}, noLookup: {"cid.stable.example.com/", "ip.stable.example.com/"},
	}
)

// sizes measures the mean size of the stored Testcrs, and their size without the
// labels of IPs and container IDs.
func (b *bench) sizes(ctx context.Context) error {
	records := map[string]*record{}
	for _, kind := range kindsOfPods {
		records[kind] = &record{Measure: "size, " + kind, Bytes: map[string]float64{}}
	}
	err := harness.EachTestcr(ctx, b.Testcrs, func(u *unstructured.Unstructured) error {
		kind := kindsOfPods[0]
		if _, owned, _ := unstructured.NestedString(u.Object, "spec", "workloadname"); owned {
			kind = kindsOfPods[1]
		}
		records[kind].Pods++
		for suffix, prefixes := range leftOut {
			stored, short, err := harness.SizeOf(without(u.DeepCopy(), prefixes))
			if err != nil {
				return err
			}
			records[kind].Bytes["stored"+suffix] += float64(stored)
			records[kind].Bytes["without managedFields"+suffix] += float64(short)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range kindsOfPods {
		r := records[kind]
		for what := range r.Bytes {
			r.Bytes[what] /= float64(max(1, r.Pods))
		}
		if err := b.Add(*r); err != nil {
			return err
		}
	}
	return nil
}

// without removes labels with these prefixes from u and its managed fields.
func without(u *unstructured.Unstructured, prefixes []string) *unstructured.Unstructured {
	labels := u.GetLabels()
	remove := func(key string) bool {
		return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
	}
	maps.DeleteFunc(labels, func(key, _ string) bool { return remove(key) })
	u.SetLabels(labels)
	managed, _, _ := unstructured.NestedSlice(u.Object, "metadata", "managedFields")
	for i := range managed {
		entry, _ := managed[i].(map[string]any)
		fields, ok, _ := unstructured.NestedMap(entry, "fieldsV1", "f:metadata", "f:labels")
		if !ok {
			continue
		}
		maps.DeleteFunc(fields, func(key string, _ any) bool { return remove(strings.TrimPrefix(key, "f:")) })
		_ = unstructured.SetNestedMap(entry, fields, "fieldsV1", "f:metadata", "f:labels") // cannot fail: it was read from there
	}
	if managed != nil {
		_ = unstructured.SetNestedSlice(u.Object, managed, "metadata", "managedFields") // as above
	}
	return u
}
