package testcrcache

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/wire"
)

const path = "/apis/stable.example.com/v1/testcrs"

// serving returns a cache whose requests all get one answer, and which is at version 7.
func serving(t *testing.T, answer any) (*Cache, *apiServer) {
	t.Helper()
	server := &apiServer{answer: func(request) any { return answer }}
	c := newCache(t, Config{Client: server.client(t)})
	c.GetStore().Bookmark("7")
	return c, server
}

// answerTo returns the stored form of want.
func answerTo(t *testing.T, version string, edits ...func(map[string]any)) map[string]any {
	t.Helper()
	want := wanted()
	want.UID, want.ResourceVersion = "t1", version
	u, err := wire.ToUnstructured(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(u.Object)
	}
	return u.Object
}

func setSpec(name string, value any) func(map[string]any) {
	return func(object map[string]any) { object["spec"].(map[string]any)[name] = value }
}

func setLabel(name string, value any) func(map[string]any) {
	return func(object map[string]any) {
		labels := object["metadata"].(map[string]any)["labels"].(map[string]any)
		if value == nil {
			delete(labels, name)
		} else {
			labels[name] = value
		}
	}
}

func withoutSpec(object map[string]any) { delete(object, "spec") }

func metadataAlone(object map[string]any) {
	withoutSpec(object)
	object["apiVersion"], object["kind"] = "meta.k8s.io/v1", "PartialObjectMetadata"
}

func TestCache_Create_Answer(t *testing.T) {
	tests := []struct {
		name  string
		edits []func(map[string]any)
		want  error
	}{
		{name: "the metadata, as requested", edits: []func(map[string]any){metadataAlone}},
		{name: "the whole Testcr, of an API server that cannot leave out the spec"},
		{name: "a label that an admission webhook has added", edits: []func(map[string]any){metadataAlone, setLabel("theirs", "yes")}},
		{name: "metadata without a label of ours", edits: []func(map[string]any){metadataAlone, setLabel(v1.LabelNamespace, nil)}, want: ErrPruned},
		{name: "metadata with a label of ours that was not sent", edits: []func(map[string]any){metadataAlone, setLabel(v1.LabelMore, "true")}, want: ErrPruned},
		{name: "the whole Testcr with another spec", edits: []func(map[string]any){setSpec("podip", "10.9.9.9")}, want: ErrPruned},
		{name: "the whole Testcr with an unknown field", edits: []func(map[string]any){setSpec("podipv4", "10.0.0.7")}, want: ErrPruned},
		{name: "the whole Testcr without a label of ours", edits: []func(map[string]any){setLabel(v1.LabelManagedBy, nil)}, want: ErrPruned},
		{name: "a Testcr without a spec", edits: []func(map[string]any){withoutSpec}, want: ErrPruned},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := serving(t, answerTo(t, "8", test.edits...))
			version, err := c.Create(t.Context(), wanted())
			if !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
			if diff := cmp.Diff("8", version); diff != "" {
				t.Errorf("version (-want +got):\n%s", diff)
			}
			if c.IsCurrent(wanted().Name) {
				t.Error("the cache is current before the event")
			}
			c.GetStore().Bookmark("8")
			if !c.IsCurrent(wanted().Name) {
				t.Error("the cache is not current after the event")
			}
		})
	}
}

func TestCache_Create_Request(t *testing.T) {
	c, server := serving(t, answerTo(t, "8", metadataAlone))
	if _, err := c.Create(t.Context(), wanted()); err != nil {
		t.Fatal(err)
	}
	body := map[string]any{"apiVersion": "stable.example.com/v1", "kind": "Testcr"}
	body["metadata"] = map[string]any{"name": wanted().Name, "labels": labelsOf(t)}
	body["spec"] = answerTo(t, "")["spec"]
	want := []request{{Verb: "POST", URL: path + "?fieldManager=podinfolookup", Body: body}}
	if diff := cmp.Diff(want, server.requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func labelsOf(t *testing.T) map[string]any {
	t.Helper()
	return answerTo(t, "")["metadata"].(map[string]any)["labels"].(map[string]any)
}

func TestCache_Update(t *testing.T) {
	ours := []metav1.ManagedFieldsEntry{{Manager: v1.ManagedBy}}
	tests := []struct {
		name        string
		edits       []func(*wire.Testcr)
		version     string // of the answer
		want        error
		wantVersion string
		wantMeta    map[string]any // beside name, uid, version and labels
		wantLabels  map[string]any // beside those of wanted
	}{
		{name: "a change", version: "8", wantVersion: "8"},
		{name: "nothing is changed, because the API server drops fields", version: "7", want: ErrPruned},
		{
			name:    "metadata of other clients stays",
			version: "8", wantVersion: "8",
			edits: []func(*wire.Testcr){func(t *wire.Testcr) {
				t.Labels["theirs"], t.Finalizers, t.Annotations = "yes", []string{"example.com/hold"}, map[string]string{"note": "theirs"}
			}},
			wantMeta:   map[string]any{"finalizers": []any{"example.com/hold"}, "annotations": map[string]any{"note": "theirs"}},
			wantLabels: map[string]any{"theirs": "yes"},
		},
		{
			name:    "managed fields of this program alone are dropped",
			version: "8", wantVersion: "8",
			edits:    []func(*wire.Testcr){func(t *wire.Testcr) { t.ManagedFields = ours }},
			wantMeta: map[string]any{"managedFields": []any{map[string]any{}}},
		},
		{
			name:    "managed fields of other clients stay",
			version: "8", wantVersion: "8",
			edits: []func(*wire.Testcr){func(t *wire.Testcr) {
				t.ManagedFields = append([]metav1.ManagedFieldsEntry{{Manager: "kubectl-label"}}, ours...)
			}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, server := serving(t, answerTo(t, test.version, metadataAlone))
			edits := append([]func(*wire.Testcr){func(t *wire.Testcr) { t.Spec.PodIP = "10.9.9.9" }}, test.edits...)
			version, err := c.Update(t.Context(), storedAs(edits...), wanted())
			if !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
			if diff := cmp.Diff(test.wantVersion, version); diff != "" {
				t.Errorf("version (-want +got):\n%s", diff)
			}
			if got, want := c.IsCurrent(wanted().Name), test.wantVersion == ""; got != want {
				t.Errorf("IsCurrent = %t, want %t", got, want)
			}
			metadata := map[string]any{"name": wanted().Name, "uid": "t1", "resourceVersion": "7", "labels": labelsOf(t)}
			maps.Copy(metadata, test.wantMeta)
			maps.Copy(metadata["labels"].(map[string]any), test.wantLabels)
			want := []request{{Verb: "PUT", URL: path + "/" + wanted().Name + "?fieldManager=podinfolookup", Body: map[string]any{
				"apiVersion": "stable.example.com/v1", "kind": "Testcr", "metadata": metadata, "spec": answerTo(t, "")["spec"],
			}}}
			if diff := cmp.Diff(want, server.requests); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCache_Delete(t *testing.T) {
	hold := func(t *wire.Testcr) { t.Finalizers = []string{"example.com/hold"} }
	tests := []struct {
		name        string
		edits       []func(*wire.Testcr)
		answer      any
		want        func(error) bool
		wantCurrent bool
	}{
		{name: "it is gone", answer: metav1.Status{Status: metav1.StatusSuccess}},
		{name: "a finalizer keeps it", edits: []func(*wire.Testcr){hold}, answer: metav1.Status{Status: metav1.StatusSuccess}, wantCurrent: true},
		{
			name: "it has changed", answer: apierrors.NewConflict(groupResource, "x", errors.New("old")),
			want: IsStale, wantCurrent: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, server := serving(t, test.answer)
			stored := storedAs(test.edits...)
			put(t, c, stored)
			err := c.Delete(t.Context(), stored)
			if test.want == nil && err != nil || test.want != nil && !test.want(err) {
				t.Errorf("error is %v", err)
			}
			if got := c.IsCurrent(stored.Name); got != test.wantCurrent {
				t.Errorf("IsCurrent = %t, want %t", got, test.wantCurrent)
			}
			want := []request{{Verb: "DELETE", URL: path + "/" + stored.Name, Body: map[string]any{
				"kind": "DeleteOptions", "apiVersion": "v1",
				"preconditions": map[string]any{"uid": "t1", "resourceVersion": "7"},
			}}}
			if diff := cmp.Diff(want, server.requests); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCache_Live(t *testing.T) {
	t.Run("a Testcr that is newer than the cache", func(t *testing.T) {
		c, server := serving(t, answerTo(t, "8"))
		got, err := c.Live(t.Context(), wanted().Name)
		if err != nil {
			t.Fatal(err)
		}
		if got.ResourceVersion != "8" || !got.Matches(wanted()) {
			t.Errorf("it is %v", got)
		}
		if c.IsCurrent(wanted().Name) {
			t.Error("the cache is current before the event")
		}
		if diff := cmp.Diff([]request{{Verb: "GET", URL: path + "/" + wanted().Name}}, server.requests); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
	t.Run("a malformed Testcr", func(t *testing.T) {
		c, _ := serving(t, answerTo(t, "8", withoutSpec))
		got, err := c.Live(t.Context(), wanted().Name)
		if err != nil {
			t.Fatal(err)
		}
		if !got.malformed || got.Matches(wanted()) {
			t.Errorf("it is %v", got)
		}
	})
	t.Run("none, and one in the cache", func(t *testing.T) {
		c, _ := serving(t, apierrors.NewNotFound(groupResource, "x"))
		put(t, c, storedAs())
		if got, err := c.Live(t.Context(), wanted().Name); got != nil || err != nil {
			t.Errorf("it is %v, %v", got, err)
		}
		if c.IsCurrent(wanted().Name) {
			t.Error("the cache is current while it contains the deleted one")
		}
		if !c.AcceptsNew() {
			t.Error("it counts as a missing CRD")
		}
	})
	t.Run("none, and none in the cache", func(t *testing.T) {
		c, _ := serving(t, apierrors.NewNotFound(groupResource, "x"))
		if got, err := c.Live(t.Context(), wanted().Name); got != nil || err != nil {
			t.Errorf("it is %v, %v", got, err)
		}
		if !c.IsCurrent(wanted().Name) || len(c.pending) != 0 {
			t.Errorf("pending is %v", c.pending)
		}
	})
}

// TestCache_Failures is about the errors that all requests of a Testcr have in common.
func TestCache_Failures(t *testing.T) {
	const noCRD = "404 page not found\n"
	requests := map[string]func(*testing.T, *Cache) error{
		"create": func(t *testing.T, c *Cache) error {
			t.Helper()
			_, err := c.Create(t.Context(), wanted())
			return err
		},
		"update": func(t *testing.T, c *Cache) error {
			t.Helper()
			_, err := c.Update(t.Context(), storedAs(), wanted())
			return err
		},
		"delete": func(t *testing.T, c *Cache) error { t.Helper(); return c.Delete(t.Context(), storedAs()) },
		"live": func(t *testing.T, c *Cache) error {
			t.Helper()
			_, err := c.Live(t.Context(), wanted().Name)
			return err
		},
	}
	tests := []struct {
		name       string
		answer     any
		wantCRD    bool
		wantStale  bool
		wantRemedy bool
	}{
		{name: "the CRD is missing", answer: noCRD, wantCRD: true},
		{name: "the CRD is terminating, before 1.34", answer: terminatingBefore134(), wantCRD: true},
		{name: "a missing right", answer: apierrors.NewForbidden(groupResource, "x", nil), wantRemedy: true},
		{name: "a conflict", answer: apierrors.NewConflict(groupResource, "x", errors.New("old")), wantStale: true},
		{name: "an outage", answer: errOutage},
	}
	for verb, send := range requests {
		for _, test := range tests {
			t.Run(verb+": "+test.name, func(t *testing.T) {
				c, _ := serving(t, test.answer)
				err := send(t, c)
				if err == nil {
					t.Fatal("no error")
				}
				if IsCRDGone(err) != test.wantCRD || IsStale(err) != test.wantStale || strings.Contains(err.Error(), "yaml/rbac.yaml") != test.wantRemedy {
					t.Errorf("error is %v", err)
				}
				if c.AcceptsNew() == test.wantCRD || len(c.checks) == 1 != test.wantCRD {
					t.Errorf("AcceptsNew = %t, %d checks are requested", c.AcceptsNew(), len(c.checks))
				}
				if len(c.pending) != 0 {
					t.Errorf("pending is %v", c.pending)
				}
			})
		}
	}
}

func TestCache_ManagedFields(t *testing.T) {
	t.Run("those of the API server", func(t *testing.T) {
		c, _ := serving(t, answerTo(t, "8", func(object map[string]any) {
			object["metadata"].(map[string]any)["managedFields"] = []any{map[string]any{"manager": "kubectl-label", "operation": "Update"}}
		}))
		got, err := c.ManagedFields(t.Context(), wanted().Name)
		if err != nil {
			t.Fatal(err)
		}
		want := []metav1.ManagedFieldsEntry{{Manager: "kubectl-label", Operation: metav1.ManagedFieldsOperationUpdate}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("managed fields (-want +got):\n%s", diff)
		}
	})
	t.Run("a missing right", func(t *testing.T) {
		c, _ := serving(t, apierrors.NewForbidden(groupResource, "x", nil))
		if _, err := c.ManagedFields(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "yaml/rbac.yaml") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestCache_Traceable(t *testing.T) {
	ours := func(t *wire.Testcr) { t.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: v1.ManagedBy}} }
	theirs := func(t *wire.Testcr) { t.Labels["theirs"] = "yes" }
	traced := []any{map[string]any{
		"manager": "podinfolookup", "operation": "Update", "apiVersion": "stable.example.com/v1",
		"fieldsType": "FieldsV1", "fieldsV1": map[string]any{"f:spec": map[string]any{}},
	}}
	withFields := func(object map[string]any) {
		object["metadata"].(map[string]any)["managedFields"] = []any{map[string]any{"manager": "podinfolookup", "operation": "Update"}}
	}
	tests := []struct {
		name   string
		edits  []func(*wire.Testcr)
		answer any
		want   any // the managed fields of an update
	}{
		{name: "the API server records nobody", answer: answerTo(t, "7"), want: traced},
		{name: "the API server records nobody, and labels are kept", edits: []func(*wire.Testcr){theirs}, answer: answerTo(t, "7"), want: traced},
		{name: "the API server records managers already", edits: []func(*wire.Testcr){ours}, answer: answerTo(t, "7", withFields)},
		{name: "no answer", edits: []func(*wire.Testcr){ours}, answer: errOutage, want: []any{map[string]any{}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := serving(t, test.answer)
			stored := storedAs(test.edits...)
			got := c.Traceable(t.Context(), stored)
			if diff := cmp.Diff(stored.Testcr().Labels, got.Testcr().Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if got.Spec() != stored.Spec() || got.malformed != stored.malformed || stored.ManagedFields != nil {
				t.Errorf("it is %v, of %v", got, stored)
			}
			c, server := serving(t, answerTo(t, "8", metadataAlone))
			if _, err := c.Update(t.Context(), got, wanted()); err != nil {
				t.Fatal(err)
			}
			metadata := server.requests[0].Body["metadata"].(map[string]any)
			if diff := cmp.Diff(test.want, metadata["managedFields"]); diff != "" {
				t.Errorf("managed fields of an update (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIsContentRefused(t *testing.T) {
	kind := v1.GroupVersionKind.GroupKind()
	policy := apierrors.NewInvalid(kind, "a", nil)
	policy.ErrStatus.Message = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{name: "none"},
		{name: "invalid", err: apierrors.NewInvalid(kind, "a", nil), want: true},
		{name: "wrapped", err: fmt.Errorf("creating: %w", apierrors.NewInvalid(kind, "a", nil)), want: true},
		{name: "too large", err: apierrors.NewRequestEntityTooLargeError("limit"), want: true},
		{name: "too large for etcd", err: apierrors.NewInternalError(errors.New("etcdserver: request is too large")), want: true},
		{name: "too large for gRPC", err: apierrors.NewInternalError(errors.New("trying to send message larger than max (1 vs. 0)")), want: true},
		{name: "a policy that refuses all", err: policy},
		{name: "no right", err: apierrors.NewForbidden(v1.GroupVersionResource.GroupResource(), "a", nil)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := IsContentRefused(test.err); got != test.want {
				t.Errorf("IsContentRefused = %v, want %v", got, test.want)
			}
		})
	}
}
