package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// TestcrReader lists and watches Testcrs. The objects are *Testcr.
type TestcrReader interface {
	List(ctx context.Context, options metav1.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

type testcrReader struct{ client rest.Interface }

// NewTestcrReader returns a TestcrReader that decodes into structs, at a third of the
// processor time of a dynamic client. Requests with an equal config share its
// connection.
func NewTestcrReader(config *rest.Config) (TestcrReader, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &v1.GroupVersion, "/apis"
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	config.NegotiatedSerializer = testcrSerializer{}
	client, err := rest.RESTClientFor(config)
	return testcrReader{client}, err
}

func (r testcrReader) request(options *metav1.ListOptions) *rest.Request {
	return r.client.Get().Resource(v1.GroupVersionResource.Resource).
		SpecificallyVersionedParams(options, scheme.ParameterCodec, schema.GroupVersion{Version: "v1"})
}

func (r testcrReader) List(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	return r.request(&options).Do(ctx).Get()
}

func (r testcrReader) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return r.request(&options).Watch(ctx)
}

// testcrSerializer is only for reading.
type testcrSerializer struct{}

func (testcrSerializer) SupportedMediaTypes() []runtime.SerializerInfo {
	return []runtime.SerializerInfo{{
		MediaType: runtime.ContentTypeJSON, MediaTypeType: "application", MediaTypeSubType: "json", EncodesAsText: true,
		Serializer:       objectDecoder{},
		StreamSerializer: &runtime.StreamSerializerInfo{EncodesAsText: true, Serializer: eventDecoder{}, Framer: jsonserializer.Framer},
	}}
}

func (testcrSerializer) EncoderForVersion(encoder runtime.Encoder, _ runtime.GroupVersioner) runtime.Encoder {
	return encoder
}

// DecoderToVersion converts nothing, because there is one version.
func (testcrSerializer) DecoderToVersion(decoder runtime.Decoder, _ runtime.GroupVersioner) runtime.Decoder {
	return decoder
}

// objectDecoder decodes a *Testcr, a list of them, or a *metav1.Status.
type objectDecoder struct{ runtime.Encoder }

func (objectDecoder) Decode(data []byte, _ *schema.GroupVersionKind, _ runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if t, ok := decodeExact(data); ok {
		kind := v1.GroupVersionKind
		return t, &kind, nil
	}
	gvk, err := jsonserializer.DefaultMetaFactory.Interpret(data)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case gvk.Kind == "Status":
		status := &metav1.Status{}
		return status, gvk, json.Unmarshal(data, status)
	case *gvk == v1.GroupVersionKind:
		t, err := decodeTestcr(data)
		return t, gvk, err
	case gvk.Kind == v1.GroupVersionKind.Kind+"List":
		list, err := decodeList(data)
		return list, gvk, err
	}
	return nil, gvk, runtime.NewNotRegisteredErrForKind("Testcrs", *gvk)
}

func decodeList(data []byte) (*metav1.List, error) {
	var list struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`

		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	out := &metav1.List{TypeMeta: list.TypeMeta, ListMeta: list.ListMeta, Items: make([]runtime.RawExtension, len(list.Items))}
	for i := range list.Items {
		t, err := decodeTestcr(list.Items[i])
		if err != nil {
			return nil, err
		}
		out.Items[i].Object = t
	}
	return out, nil
}

// eventDecoder decodes a *metav1.WatchEvent. The framer has already cut the stream into
// JSON values.
type eventDecoder struct{ runtime.Encoder }

func (d eventDecoder) Decode(data []byte, _ *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	event, ok := into.(*metav1.WatchEvent)
	if !ok {
		return nil, nil, errors.New("not an event of a watch")
	}
	if splitEvent(data, event) {
		return event, nil, nil
	}
	return event, nil, json.Unmarshal(data, event)
}

var eventTypes = []watch.EventType{watch.Added, watch.Modified, watch.Deleted, watch.Bookmark, watch.Error}

// splitEvent splits an event in the form of the API server, and returns false for any
// other. The object shares data, and is decoded before the next event is read. If
// another field follows the object, the object is cut too late and does not decode.
func splitEvent(data []byte, event *metav1.WatchEvent) bool {
	rest, ok := bytes.CutPrefix(data, []byte(`{"type":"`))
	if !ok {
		return false
	}
	for _, known := range eventTypes {
		object, ok := bytes.CutPrefix(rest, []byte(known+`","object":`))
		if !ok {
			continue
		}
		object, ok = bytes.CutSuffix(bytes.TrimRight(object, " \r\n\t"), []byte("}"))
		event.Type, event.Object.Raw = string(known), object
		return ok
	}
	return false
}
