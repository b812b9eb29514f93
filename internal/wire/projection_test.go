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
	pod.Annotations["note"] = "x"
	pod.Annotations["k8s.v1.cni.cncf.io/networks-status"] = strings.Repeat("x", 64<<10)
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
		if got.ManagedFields != nil || got.Annotations["note"] != "" || got.Spec.Volumes != nil || got.Spec.Containers[0].Env != nil ||
			got.Status.QOSClass != "" || got.Status.ContainerStatuses[0].Image != "" || got.Status.Conditions[0].Message != "" {
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

// podsOfEachField returns Pods of which at least one has another spec without each of
// podFields.
func podsOfEachField() []*corev1.Pod {
	terminated := func(reason string, signal, exitCode int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, Signal: signal, ExitCode: exitCode}}
	}
	waiting := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}}
	done := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Unix(1, 0)}}
	pods := []*corev1.Pod{desiredtest.FullPod()}
	add := func(init, main corev1.ContainerState, change func(*corev1.Pod)) {
		pod := desiredtest.FullPod()
		pod.DeletionTimestamp, pod.Status.Reason, pod.Status.Phase, pod.Status.Conditions = nil, "", corev1.PodRunning, nil
		pod.Status.InitContainerStatuses[0].State, pod.Status.ContainerStatuses[0].State = init, main
		change(pod)
		pods = append(pods, pod)
	}
	asItIs := func(*corev1.Pod) {}
	for _, state := range []corev1.ContainerState{waiting, terminated("OOMKilled", 9, 137), terminated("", 9, 137), terminated("", 0, 3)} {
		add(state, running, asItIs)
		add(done, state, asItIs)
	}
	add(running, running, func(p *corev1.Pod) {
		p.Spec.InitContainers[0].RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	})
	add(done, running, asItIs)
	withoutStatuses := func(p *corev1.Pod) { p.Status.InitContainerStatuses, p.Status.ContainerStatuses = nil, nil }
	add(done, done, func(p *corev1.Pod) { withoutStatuses(p); p.Status.Reason = "Evicted" })
	add(done, done, func(p *corev1.Pod) {
		withoutStatuses(p)
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Reason: corev1.PodReasonSchedulingGated}}
	})
	return pods
}

// TestPodFields projects Pods without one field after the other.
func TestPodFields(t *testing.T) {
	notOfSpec := []string{"metadata.resourceVersion"} // the informer needs it
	projected := func(t *testing.T, pod *corev1.Pod, fields []string) v1.TestcrSpec {
		t.Helper()
		data, err := pod.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		short, ok := project(nil, data, messageOf(reflect.TypeFor[corev1.Pod](), fields))
		got := &corev1.Pod{}
		if err := got.Unmarshal(short); err != nil || !ok {
			t.Fatalf("projected: %t; %v", ok, err)
		}
		return desired.Spec(got)
	}
	for i, pod := range podsOfEachField() {
		if diff := cmp.Diff(desired.Spec(pod), projected(t, pod, podFields)); diff != "" {
			t.Errorf("Pod %d (-whole +projected):\n%s", i, diff)
		}
	}
	for _, field := range podFields {
		t.Run(field, func(t *testing.T) {
			others := slices.DeleteFunc(slices.Clone(podFields), func(f string) bool { return f == field })
			isNeeded := slices.ContainsFunc(podsOfEachField(), func(pod *corev1.Pod) bool {
				want, got := desired.Spec(pod), projected(t, pod, others)
				return !desired.Equal(&want, &got)
			})
			if isNeeded == slices.Contains(notOfSpec, field) {
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
	container := numbers{1: nil, 2: nil}
	last := numbers{3: numbers{1: nil, 3: nil, 7: nil}}
	waiting, terminated := numbers{1: nil}, numbers{1: nil, 2: nil, 3: nil}
	main := numbers{1: nil, 2: numbers{1: waiting, 2: numbers{1: nil}, 3: terminated}, 3: last, 4: nil, 5: nil, 7: nil, 8: nil}
	init := numbers{1: nil, 2: numbers{1: waiting, 3: terminated}, 3: last, 4: nil, 5: nil, 7: nil, 8: nil, 9: nil}
	ephemeral := numbers{1: nil, 3: last, 7: nil, 8: nil}
	want := numbers{
		1: numbers{1: nil, 3: nil, 5: nil, 6: nil, 8: nil, 9: nil, 11: nil, 12: nil, 13: nil},
		2: numbers{8: nil, 10: nil, 11: nil, 16: nil, 17: nil, 2: container, 20: numbers{1: nil, 2: nil, 24: nil}, 34: numbers{1: container}},
		3: numbers{1: nil, 4: nil, 5: nil, 6: nil, 7: nil, 12: nil, 16: nil, 2: numbers{1: nil, 2: nil, 5: nil}, 8: main, 10: init, 13: ephemeral},
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
