package wire

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/desired/desiredtest"
)

// decoders returns client-go's decoder of protobuf, and the projecting one.
func decoders(t testing.TB) (plain, projecting runtime.Serializer) {
	t.Helper()
	codecs := scheme.Codecs.WithoutConversion()
	before, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	after, okAfter := runtime.SerializerInfoForMediaType(podSerializer{codecs}.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok || !okAfter {
		t.Fatal("client-go speaks no protobuf")
	}
	if _, ok := before.Serializer.(podDecoder); ok {
		t.Fatal("the shared decoder was replaced")
	}
	return before.Serializer, after.Serializer
}

// protobuf returns an object as the API server sends it.
func protobuf(t testing.TB, object runtime.Object) []byte {
	t.Helper()
	plain, _ := decoders(t)
	var b bytes.Buffer
	if err := plain.Encode(object, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func namedPod() *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", ResourceVersion: "3"},
	}
}

// podList returns a list of a full Pod, a small one and an empty one.
func podList() *corev1.PodList {
	return &corev1.PodList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more"},
		Items:    []corev1.Pod{*desiredtest.FullPod(), *namedPod(), {}},
	}
}

func specsOf(list *corev1.PodList) (specs []v1.TestcrSpec) {
	for i := range list.Items {
		specs = append(specs, desired.Spec(&list.Items[i]))
	}
	return specs
}

func TestPodDecoder_Pod(t *testing.T) {
	pod := desiredtest.FullPod()
	data := protobuf(t, pod)
	_, projecting := decoders(t)
	object, kind, err := projecting.Decode(data, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := object.(*corev1.Pod)

	t.Run("the Testcr is that of the whole Pod", func(t *testing.T) {
		if diff := cmp.Diff(desired.Spec(pod), desired.Spec(got)); diff != "" {
			t.Errorf("spec; podFields lacks a field (-whole +projected):\n%s", diff)
		}
		if *kind != corev1.SchemeGroupVersion.WithKind("Pod") {
			t.Errorf("decoded a %s", kind)
		}
		if got.ResourceVersion != pod.ResourceVersion || got.UID != pod.UID {
			t.Errorf("version %q of %q, want %q of %q", got.ResourceVersion, got.UID, pod.ResourceVersion, pod.UID)
		}
	})
	t.Run("everything else is gone", func(t *testing.T) {
		projected, ok := projectPods(nil, data)
		if !ok || len(projected) > len(data)/5 {
			t.Errorf("%d bytes of %d are left", len(projected), len(data))
		}
		if got.ManagedFields != nil || got.Annotations != nil || got.Spec.Volumes != nil || got.Spec.Containers[0].Env != nil ||
			got.Status.HostIPs != nil || got.Status.ContainerStatuses[0].Image != "" || got.Status.Conditions[0].Message != "" {
			t.Errorf("more than is needed is left: %v", got)
		}
	})
}

func TestPodDecoder_List(t *testing.T) {
	list := podList()
	_, projecting := decoders(t)
	got := &corev1.PodList{}
	if _, _, err := projecting.Decode(protobuf(t, list), nil, got); err != nil {
		t.Fatal(err)
	}
	t.Run("the metadata of the list is kept", func(t *testing.T) {
		if diff := cmp.Diff(list.ListMeta, got.ListMeta); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("the Testcrs are those of the whole Pods", func(t *testing.T) {
		if diff := cmp.Diff(specsOf(list), specsOf(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("everything else is gone", func(t *testing.T) {
		if got.Items[0].Spec.Volumes != nil {
			t.Error("there are volumes")
		}
	})
}

func TestPodDecoder_Annotations(t *testing.T) {
	end := metav1.InitialEventsAnnotationKey
	tests := []struct {
		name     string
		of, want map[string]string
	}{
		{
			name: "the end of a streamed list is kept, and no other annotation",
			of:   map[string]string{"a": "x", end: "true", "z": "y"}, want: map[string]string{end: "true"},
		},
		{name: "other annotations are dropped", of: map[string]string{"a": "x", "k8s.io/initial-events": "true"}},
		{name: "no annotations"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := namedPod()
			pod.Annotations = test.of
			_, projecting := decoders(t)
			got, _, err := projecting.Decode(protobuf(t, pod), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got.(*corev1.Pod).Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProjectPods_Others(t *testing.T) {
	status := &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Message: "too old", Code: 410,
	}
	node := &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: map[string]string{"a": "b"}},
	}
	other := desiredtest.FullPod()
	other.APIVersion = "v2"
	for name, data := range map[string][]byte{
		"a Status": protobuf(t, status), "a Node": protobuf(t, node), "a Pod of another version": protobuf(t, other),
		"JSON": []byte(`{"kind":"Pod","apiVersion":"v1"}`), "nothing": nil, "an envelope alone": envelope,
	} {
		t.Run(name+" is not projected", func(t *testing.T) {
			if _, ok := projectPods(nil, data); ok {
				t.Error("it was")
			}
		})
	}
	t.Run("a Status is decoded whole", func(t *testing.T) {
		_, projecting := decoders(t)
		got, _, err := projecting.Decode(protobuf(t, status), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(status.Message, got.(*metav1.Status).Message); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
	})
}

func TestPodDecoder_BrokenOff(t *testing.T) {
	t.Run("a Pod that ends at any byte fails as without projection", func(t *testing.T) {
		data := protobuf(t, desiredtest.FullPod())
		plain, projecting := decoders(t)
		for n := range data {
			_, _, want := plain.Decode(slices.Clone(data[:n]), nil, nil)
			_, _, got := projecting.Decode(slices.Clone(data[:n]), nil, nil)
			if (want == nil) != (got == nil) {
				t.Fatalf("%d bytes of %d: %v, want %v", n, len(data), got, want)
			}
		}
	})
}

// TestPodFields projects a Pod without one field after the other.
func TestPodFields(t *testing.T) {
	pod := desiredtest.FullPod()
	want := desired.Spec(pod)
	data, err := pod.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	notOfSpec := []string{"metadata.resourceVersion", "metadata.annotations"} // the informer needs them
	for _, field := range podFields {
		t.Run(field, func(t *testing.T) {
			others := slices.DeleteFunc(slices.Clone(podFields), func(f string) bool { return f == field })
			short, ok := project(nil, data, messageOf(reflect.TypeFor[corev1.Pod](), others))
			got := &corev1.Pod{}
			if err := got.Unmarshal(short); err != nil || !ok {
				t.Fatalf("projected: %t; %v", ok, err)
			}
			spec := desired.Spec(got)
			if isNeeded := !desired.Equal(&want, &spec); isNeeded == slices.Contains(notOfSpec, field) {
				t.Errorf("a Testcr is made from it: %t", isNeeded)
			}
		})
	}
	t.Run("a path that a Pod does not have panics", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("it did not")
			}
		}()
		message{}.add(reflect.TypeFor[corev1.Pod](), strings.Split("spec.containers.nick", "."))
	})
}

// TestPodMessage compares the table with the numbers of generated.proto in
// k8s.io/api/core/v1 and k8s.io/apimachinery/pkg/apis/meta/v1.
func TestPodMessage(t *testing.T) {
	type numbers map[protowire.Number]any // nil for a field that is kept whole
	var of func(message) numbers
	of = func(m message) numbers {
		out := numbers{}
		for number, f := range m {
			if out[number] = nil; f.message != nil {
				out[number] = of(f.message)
			}
		}
		return out
	}
	container, status := numbers{1: nil, 2: nil}, numbers{1: nil, 8: nil}
	want := numbers{
		1: numbers{1: nil, 3: nil, 5: nil, 6: nil, 8: nil, 9: nil, 11: nil, 12: nil, 13: nil},
		2: numbers{8: nil, 10: nil, 11: nil, 2: container, 20: container, 34: numbers{1: container}},
		3: numbers{1: nil, 5: nil, 6: nil, 7: nil, 12: nil, 2: numbers{1: nil, 2: nil}, 8: status, 10: status, 13: status},
	}
	t.Run("the numbers are those of generated.proto", func(t *testing.T) {
		if diff := cmp.Diff(want, of(podMessage)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestNewPodClient(t *testing.T) {
	var accepted atomic.Value
	answer := podList()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted.Store(r.Header.Get("Accept"))
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		if r.URL.Path != "/api/v1/namespaces/shop/pods" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(protobuf(t, answer))
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL}
	client, err := NewPodClient(config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().Pods("shop").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a list contains projected Pods", func(t *testing.T) {
		if diff := cmp.Diff(specsOf(answer), specsOf(got)); diff != "" {
			t.Errorf("specs (-want +got):\n%s", diff)
		}
		if got.ResourceVersion != "7" || got.Items[0].Spec.Volumes != nil {
			t.Errorf("version %q, volumes %v", got.ResourceVersion, got.Items[0].Spec.Volumes)
		}
	})
	t.Run("protobuf is preferred to JSON", func(t *testing.T) {
		got := accepted.Load().(string)
		if !strings.HasPrefix(got, runtime.ContentTypeProtobuf+",") || !strings.Contains(got, runtime.ContentTypeJSON) {
			t.Errorf("accepted %q", got)
		}
	})
	t.Run("the config is not changed", func(t *testing.T) {
		if diff := cmp.Diff(rest.Config{Host: server.URL}.ContentConfig, config.ContentConfig); diff != "" || config.APIPath != "" {
			t.Errorf("path %q, content (-want +got):\n%s", config.APIPath, diff)
		}
	})
}

// FuzzProjectPods takes the protobuf of Pods. What client-go can decode must give the
// same Testcr after the projection.
func FuzzProjectPods(f *testing.F) {
	for _, pod := range []*corev1.Pod{{}, desiredtest.FullPod(), namedPod()} {
		data, err := pod.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(append(data, data...)) // each field twice: the later one counts, or both are merged
	}
	plain, projecting := decoders(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		body, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}, Raw: data}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		body = append(slices.Clone(envelope), body...)
		before := slices.Clone(body)
		object, _, err := plain.Decode(body, nil, nil)
		if err != nil {
			return
		}
		projected, _, err := projecting.Decode(body, nil, nil)
		if err != nil {
			t.Fatalf("only client-go's decoder accepts it: %v", err)
		}
		if !bytes.Equal(before, body) {
			t.Error("the bytes were changed")
		}
		want, got := object.(*corev1.Pod), projected.(*corev1.Pod)
		if diff := cmp.Diff(desired.Spec(want), desired.Spec(got)); diff != "" {
			t.Errorf("another Testcr (-want +got):\n%s", diff)
		}
		if want.ResourceVersion != got.ResourceVersion {
			t.Errorf("version %q, want %q", got.ResourceVersion, want.ResourceVersion)
		}
		if end := metav1.InitialEventsAnnotationKey; want.Annotations[end] != got.Annotations[end] {
			t.Errorf("end of list %q, want %q", got.Annotations[end], want.Annotations[end])
		}
	})
}

func BenchmarkPodDecoder(b *testing.B) {
	data := protobuf(b, desiredtest.FullPod())
	plain, projecting := decoders(b)
	for name, decoder := range map[string]runtime.Serializer{"whole": plain, "projected": projecting} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := decoder.Decode(data, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
