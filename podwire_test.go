package podinfolookup

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// decoders are client-go's decoder of protobuf, and the one that cuts.
func decoders(t testing.TB) (plain, cutting runtime.Serializer) {
	t.Helper()
	codecs := scheme.Codecs.WithoutConversion()
	before, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	after, okAfter := runtime.SerializerInfoForMediaType(podSerializer{codecs}.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok || !okAfter {
		t.Fatal("client-go speaks no protobuf")
	}
	if _, ok := before.Serializer.(podDecoder); ok {
		t.Fatal("everybody's decoder cuts")
	}
	return before.Serializer, after.Serializer
}

// wire is an object as the API server sends it.
func wire(t testing.TB, object runtime.Object) []byte {
	t.Helper()
	plain, _ := decoders(t)
	var b bytes.Buffer
	if err := plain.Encode(object, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func typed(pod *corev1.Pod) *corev1.Pod {
	pod.APIVersion, pod.Kind = "v1", "Pod"
	return pod
}

func TestAPodLosesWhatNoTestcrTells(t *testing.T) {
	pod := typed(fullPod())
	data := wire(t, pod)
	short, ok := cutPods(nil, data)
	if !ok || len(short) > len(data)/5 {
		t.Errorf("of %d bytes %d are left", len(data), len(short))
	}
	_, cutting := decoders(t)
	got, kind, err := cutting.Decode(data, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if *kind != corev1.SchemeGroupVersion.WithKind("Pod") {
		t.Errorf("decoded a %s", kind)
	}
	left := got.(*corev1.Pod)
	if diff := cmp.Diff(specOf(pod), specOf(left)); diff != "" {
		t.Errorf("what the Testcr tells (-want +got):\n%s", diff)
	}
	if left.ManagedFields != nil || left.Annotations != nil || left.Spec.Volumes != nil || left.Spec.Containers[0].Env != nil || left.Status.HostIPs != nil {
		t.Errorf("more is left than is needed: %v", left)
	}
	if left.ResourceVersion != pod.ResourceVersion || left.UID != pod.UID {
		t.Errorf("version %q of %q, want %q of %q", left.ResourceVersion, left.UID, pod.ResourceVersion, pod.UID)
	}
}

func TestAListOfPodsLosesItToo(t *testing.T) {
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more"}, Items: []corev1.Pod{*fullPod(), *web(1), {}}}
	list.APIVersion, list.Kind = "v1", "PodList"
	_, cutting := decoders(t)
	got := &corev1.PodList{}
	if _, _, err := cutting.Decode(wire(t, list), nil, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list.ListMeta, got.ListMeta); diff != "" {
		t.Errorf("the list's own (-want +got):\n%s", diff)
	}
	specs := func(l *corev1.PodList) (all []TestcrSpec) {
		for i := range l.Items {
			all = append(all, specOf(&l.Items[i]))
		}
		return all
	}
	if diff := cmp.Diff(specs(list), specs(got)); diff != "" {
		t.Errorf("the Pods (-want +got):\n%s", diff)
	}
	if got.Items[0].Spec.Volumes != nil {
		t.Error("more is left than is needed")
	}
}

func TestTheEndOfAStreamedListIsKept(t *testing.T) {
	bookmark := typed(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: "7", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true", "other": "x"},
	}})
	_, cutting := decoders(t)
	got, _, err := cutting.Decode(wire(t, bookmark), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	if diff := cmp.Diff(want, got.(*corev1.Pod).Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoPodIsNotCut(t *testing.T) {
	status := &metav1.Status{Status: metav1.StatusFailure, Message: "too old", Code: 410}
	status.APIVersion, status.Kind = "v1", "Status"
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: map[string]string{"a": "b"}}}
	node.APIVersion, node.Kind = "v1", "Node"
	other := typed(fullPod())
	other.APIVersion = "v2"
	for name, data := range map[string][]byte{
		"a Status": wire(t, status), "a Node": wire(t, node), "a Pod of another version": wire(t, other),
		"JSON": []byte(`{"kind":"Pod","apiVersion":"v1"}`), "nothing": nil, "an envelope": envelope,
	} {
		if _, ok := cutPods(nil, data); ok {
			t.Errorf("%s was cut", name)
		}
	}
	_, cutting := decoders(t)
	got, _, err := cutting.Decode(wire(t, status), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status.Message, got.(*metav1.Status).Message); diff != "" {
		t.Error(diff)
	}
}

// TestWhatIsBrokenOffFailsAsBefore cuts a Pod off at each byte.
func TestWhatIsBrokenOffFailsAsBefore(t *testing.T) {
	data := wire(t, typed(fullPod()))
	plain, cutting := decoders(t)
	for n := range data {
		_, _, want := plain.Decode(slices.Clone(data[:n]), nil, nil)
		_, _, got := cutting.Decode(slices.Clone(data[:n]), nil, nil)
		if (want == nil) != (got == nil) {
			t.Fatalf("%d bytes of %d: %v, want %v", n, len(data), got, want)
		}
	}
}

// Whatever client-go can decode must give the same Testcr after the cut.
func FuzzCutPods(f *testing.F) {
	for _, pod := range []*corev1.Pod{{}, fullPod(), web(1)} {
		data, err := pod.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(append(data, data...)) // each field twice: the later one counts, or both are merged
	}
	plain, cutting := decoders(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		message, err := (&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}, Raw: data}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		message = append(slices.Clone(envelope), message...)
		before := slices.Clone(message)
		whole, _, err := plain.Decode(message, nil, nil)
		if err != nil {
			return
		}
		got, _, err := cutting.Decode(message, nil, nil)
		if err != nil {
			t.Fatalf("only client-go's own decoder takes it: %v", err)
		}
		if !bytes.Equal(before, message) {
			t.Error("the bytes that were read have changed")
		}
		pod, left := whole.(*corev1.Pod), got.(*corev1.Pod)
		if diff := cmp.Diff(specOf(pod), specOf(left)); diff != "" {
			t.Errorf("another Testcr (-want +got):\n%s", diff)
		}
		if pod.ResourceVersion != left.ResourceVersion {
			t.Errorf("version %q, want %q", left.ResourceVersion, pod.ResourceVersion)
		}
	})
}

func BenchmarkDecodePod(b *testing.B) {
	data := wire(b, typed(fullPod()))
	plain, cutting := decoders(b)
	for name, decoder := range map[string]runtime.Serializer{"whole": plain, "cut": cutting} {
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
