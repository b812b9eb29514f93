package podinfolookup

import (
	"bytes"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// A Pod on the wire is mostly what no Testcr tells: managed fields, environments,
// probes, volumes. Decoded, it is many small objects, and that was the most of
// what the first list and each later event of a Pod cost. So it is cut out of the
// bytes before client-go's own decoder sees them.

// fields are those of a message that are kept, by number.
type fields map[protowire.Number]*part

// part is what is kept of a field: all of it, some fields of the message that it
// is, or all of it if it is needed.
type part struct {
	fields fields
	needed func(value []byte) bool
}

// The numbers are those of generated.proto in k8s.io/api/core/v1 and
// k8s.io/apimachinery/pkg/apis/meta/v1, which Kubernetes never changes.
var (
	whole     = &part{}
	podFields = fields{
		1: {fields: fields{ // metadata
			1: whole, 3: whole, 5: whole, 6: whole, // name, namespace, uid, resourceVersion
			8: whole, 9: whole, 11: whole, 13: whole, // creationTimestamp, deletionTimestamp, labels, ownerReferences
			12: {needed: func(annotation []byte) bool { // it is at the end of a streamed list
				return bytes.Contains(annotation, []byte(metav1.InitialEventsAnnotationKey))
			}},
		}},
		2: {fields: fields{ // spec
			8: whole, 10: whole, 11: whole, // serviceAccountName, nodeName, hostNetwork
			2: container, 20: container, 34: {fields: fields{1: container}}, // containers, initContainers, ephemeralContainers
		}},
		3: {fields: fields{ // status
			1: whole, 5: whole, 6: whole, 7: whole, 12: whole, // phase, hostIP, podIP, startTime, podIPs
			2: {fields: fields{1: whole, 2: whole}},                      // conditions: type, status
			8: containerStatus, 10: containerStatus, 13: containerStatus, // of containers, init and ephemeral ones
		}},
	}
	container       = &part{fields: fields{1: whole, 2: whole}} // name, image
	containerStatus = &part{fields: fields{1: whole, 8: whole}} // name, containerID
	podListFields   = fields{1: whole, 2: {fields: podFields}}
)

// NewPodClient returns a client that speaks protobuf, whose Pods have only what a
// Testcr tells of them.
func NewPodClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	version := corev1.SchemeGroupVersion
	config.GroupVersion, config.APIPath = &version, "/api"
	config.NegotiatedSerializer = podSerializer{scheme.Codecs.WithoutConversion()}
	core, err := rest.RESTClientFor(config)
	return podClient{client, typedcorev1.New(core)}, err
}

type podClient struct {
	kubernetes.Interface

	core typedcorev1.CoreV1Interface
}

// CoreV1 has the Pods.
func (c podClient) CoreV1() typedcorev1.CoreV1Interface { return c.core }

type podSerializer struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes are client-go's.
func (s podSerializer) SupportedMediaTypes() []runtime.SerializerInfo {
	infos := slices.Clone(s.NegotiatedSerializer.SupportedMediaTypes()) // they are shared
	for i := range infos {
		if infos[i].MediaType == runtime.ContentTypeProtobuf {
			infos[i].Serializer = podDecoder{infos[i].Serializer}
		}
	}
	return infos
}

type podDecoder struct{ runtime.Serializer }

// scratch has the bytes of Pods without what is cut out; what is decoded shares
// nothing with them.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Decode decodes what is left of a Pod, or of a list of Pods, and anything else
// as it is.
func (d podDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	buffer := scratch.Get().(*[]byte)
	defer scratch.Put(buffer)
	if short, ok := cutPods((*buffer)[:0], data); ok {
		*buffer = short
		data = short
	}
	return d.Serializer.Decode(data, defaults, into)
}

// envelope is before each object that Kubernetes encodes as protobuf: a message
// with the type (field 1, apiVersion and kind) and the object (field 2).
var envelope = []byte("k8s\x00")

// cutPods appends a Pod, or a list of Pods, to dst, without what no Testcr tells.
// It is false for anything else, and for what is not well-formed.
func cutPods(dst, data []byte) ([]byte, bool) {
	message, ok := bytes.CutPrefix(data, envelope)
	if !ok {
		return dst, false
	}
	var kept fields
	switch kindIn(message) {
	case "Pod":
		kept = podFields
	case "PodList":
		kept = podListFields
	default:
		return dst, false
	}
	return cut(append(dst, envelope...), message, fields{1: whole, 2: {fields: kept}, 3: whole, 4: whole})
}

// kindIn returns the kind in an envelope, "" if that is not of version v1.
func kindIn(message []byte) string {
	number, kind, n := protowire.ConsumeTag(message)
	if number != 1 || kind != protowire.BytesType {
		return ""
	}
	message, n = protowire.ConsumeBytes(message[n:])
	version, name := "", ""
	for n > 0 && len(message) > 0 {
		if number, kind, n = protowire.ConsumeTag(message); n < 0 || kind != protowire.BytesType {
			return ""
		}
		message = message[n:]
		var value []byte
		if value, n = protowire.ConsumeBytes(message); n < 0 {
			return ""
		}
		message = message[n:]
		switch number {
		case 1:
			version = string(value)
		case 2:
			name = string(value)
		}
	}
	if version != "v1" {
		return ""
	}
	return name
}

// cut appends message to dst with only the fields in kept.
func cut(dst, message []byte, kept fields) ([]byte, bool) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return dst, false
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return dst, false
		}
		field, value := message[:n+size], message[n:n+size]
		message = message[n+size:]
		p, ok := kept[number]
		switch {
		case !ok:
		case kind == protowire.BytesType && p.fields != nil:
			value, _ = protowire.ConsumeBytes(value)
			if dst, ok = cutField(append(dst, field[:n]...), value, p.fields); !ok {
				return dst, false
			}
		case p.needed == nil || p.needed(value):
			dst = append(dst, field...)
		}
	}
	return dst, true
}

// cutField appends a message and its length. The length is known only after the
// message, so it gets as many bytes as it took before: a varint may be longer
// than it needs to be.
func cutField(dst, message []byte, kept fields) ([]byte, bool) {
	at, room := len(dst), protowire.SizeVarint(uint64(len(message)))
	dst = append(dst, make([]byte, room)...)
	dst, ok := cut(dst, message, kept)
	length := len(dst) - at - room
	for i := range room {
		dst[at+i] = byte(length>>(7*i)) | 0x80 //nolint:gosec // G115: seven bits at a time
	}
	dst[at+room-1] &= 0x7f
	return dst, ok
}
