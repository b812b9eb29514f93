package podinfolookup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// TestcrReader lists and watches Testcrs. Its watches tell of *Testcr; the items
// of its lists are whatever DecodeTestcr takes.
type TestcrReader interface {
	List(ctx context.Context, options metav1.ListOptions) (runtime.Object, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// dynamicReader reads through a dynamic client, which makes maps of what it
// reads: that takes several times as long as directReader.
type dynamicReader struct{ client dynamic.ResourceInterface }

// List lists.
func (r dynamicReader) List(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	return r.client.List(ctx, options)
}

// Watch watches, and decodes what the client has read.
func (r dynamicReader) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	events, err := r.client.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return filter(events, func(event watch.Event) (watch.Event, bool) {
		if u, ok := event.Object.(*unstructured.Unstructured); ok && event.Type != watch.Error {
			event.Object = decodeTestcr(u)
		}
		return event, true
	}), nil
}

// directReader decodes Testcrs from the bytes of a watch.
type directReader struct{ client rest.Interface }

// NewTestcrReader returns a TestcrReader that is faster than one through a
// dynamic client. Requests with an equal config share its connection.
func NewTestcrReader(config *rest.Config) (TestcrReader, error) {
	config = rest.CopyConfig(config)
	version := GroupVersionResource.GroupVersion()
	config.GroupVersion, config.APIPath = &version, "/apis"
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	config.NegotiatedSerializer = testcrSerializer{&interner{}}
	client, err := rest.RESTClientFor(config)
	return directReader{client}, err
}

func (r directReader) request(options *metav1.ListOptions) *rest.Request {
	return r.client.Get().Resource(GroupVersionResource.Resource).
		SpecificallyVersionedParams(options, scheme.ParameterCodec, schema.GroupVersion{Version: "v1"})
}

// List lists: the items are unstructured.
func (r directReader) List(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	return r.request(&options).Do(ctx).Get()
}

// Watch watches.
func (r directReader) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	return r.request(&options).Watch(ctx)
}

// testcrSerializer is for reading alone.
type testcrSerializer struct{ strings *interner }

// SupportedMediaTypes is JSON, which custom resources have everywhere.
func (s testcrSerializer) SupportedMediaTypes() []runtime.SerializerInfo {
	return []runtime.SerializerInfo{{
		MediaType: runtime.ContentTypeJSON, MediaTypeType: "application", MediaTypeSubType: "json", EncodesAsText: true,
		Serializer: objectDecoder{unstructured.UnstructuredJSONScheme, s.strings},
		StreamSerializer: &runtime.StreamSerializerInfo{
			EncodesAsText: true, Serializer: eventDecoder{unstructured.UnstructuredJSONScheme}, Framer: jsonserializer.Framer,
		},
	}}
}

// EncoderForVersion is for nothing: nothing is written.
func (testcrSerializer) EncoderForVersion(encoder runtime.Encoder, _ runtime.GroupVersioner) runtime.Encoder {
	return encoder
}

// DecoderToVersion converts nothing: there is one version.
func (testcrSerializer) DecoderToVersion(decoder runtime.Decoder, _ runtime.GroupVersioner) runtime.Decoder {
	return decoder
}

// objectDecoder decodes a *Testcr, a *metav1.Status, or unstructured lists.
type objectDecoder struct {
	runtime.Codec

	strings *interner
}

// Decode takes the fast way, or else the long one.
func (d objectDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, _ runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	if t, ok := parseTestcr(data, d.strings); ok {
		kind := GroupVersionKind
		return t, &kind, nil
	}
	var kind metav1.TypeMeta
	if err := json.Unmarshal(data, &kind); err == nil && kind.APIVersion == "v1" && kind.Kind == "Status" {
		status, gvk := &metav1.Status{}, kind.GroupVersionKind()
		return status, &gvk, json.Unmarshal(data, status)
	}
	obj, gvk, err := d.Codec.Decode(data, defaults, nil)
	if u, ok := obj.(*unstructured.Unstructured); ok && err == nil && *gvk == GroupVersionKind {
		obj = decodeTestcr(u)
	}
	return obj, gvk, err
}

// eventDecoder splits an event of a watch, which is one JSON value already, for
// the framer has seen to that.
type eventDecoder struct{ runtime.Codec }

// Decode reads a *metav1.WatchEvent.
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

// splitEvent reads an event as the API server writes it, false for any other
// form. The object shares data, and is decoded before the next event is read. It
// may end too late, with another field behind it: then it does not decode.
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

// answersOf asks for no more than the metadata of what was written: the rest is
// known here, and would have to be encoded there and decoded again.
const answersOf = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// ShortAnswers returns config with answers to writes that lack the spec. An API
// server that does not know how to leave it out answers in full.
func ShortAnswers(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return shortAnswers{next} })
	return config
}

type shortAnswers struct{ next http.RoundTripper }

// RoundTrip sends r, and names in it what may be answered.
func (s shortAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		r = r.Clone(r.Context()) // a RoundTripper must not change what it is given
		r.Header.Set("Accept", answersOf)
	}
	return s.next.RoundTrip(r)
}

// WrappedRoundTripper is for client-go, which looks for the transport below.
func (s shortAnswers) WrappedRoundTripper() http.RoundTripper { return s.next }

// decodeAnswer decodes the answer to a write of want.
func decodeAnswer(answer *unstructured.Unstructured, want *Testcr) *Testcr {
	t := decodeTestcr(answer)
	if answer.GetKind() == "PartialObjectMetadata" {
		t.TypeMeta, t.Spec, t.malformed = want.TypeMeta, want.Spec, false
	}
	return t
}
