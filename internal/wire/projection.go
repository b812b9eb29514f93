package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
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

// Most bytes of a Pod are managed fields, environments, probes and volumes, which no
// Testcr has. Decoded they are many small objects, most of the cost of a Pod event.
// So client-go's decoder gets a projection: the bytes of podFields alone.

// podFields are the fields of a Pod that a Testcr is made from, by their names in
// JSON. A field that is a message is kept whole unless its own fields are listed.
var podFields = slices.Concat(
	[]string{
		"metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion",
		"metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.labels", "metadata.ownerReferences",
		"metadata.annotations", // of these only podAnnotations
		"spec.serviceAccountName", "spec.nodeName", "spec.hostNetwork", "spec.hostname", "spec.subdomain",
		"spec.containers.name", "spec.containers.image",
		"spec.initContainers.name", "spec.initContainers.image", "spec.initContainers.restartPolicy",
		"spec.ephemeralContainers.name", "spec.ephemeralContainers.image",
		"status.phase", "status.reason", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", "status.startTime",
		"status.conditions.type", "status.conditions.status", "status.conditions.reason",
	},
	inEach([]string{"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"},
		"name", "containerID", "imageID",
		"lastState.terminated.exitCode", "lastState.terminated.reason", "lastState.terminated.containerID"),
	inEach([]string{"containerStatuses", "initContainerStatuses"},
		"ready", "restartCount", "state.waiting.reason", "state.terminated.exitCode", "state.terminated.signal", "state.terminated.reason"),
	[]string{"status.containerStatuses.state.running.startedAt", "status.initContainerStatuses.started"},
)

// inEach returns fields of lists in the status of a Pod.
func inEach(lists []string, fields ...string) (paths []string) {
	for _, list := range lists {
		for _, field := range fields {
			paths = append(paths, "status."+list+"."+field)
		}
	}
	return paths
}

// podAnnotations are the annotations that a Testcr is made from.
var podAnnotations = []string{
	"kubernetes.io/config.hash", "kubernetes.io/config.mirror",
	"k8s.v1.cni.cncf.io/network-status", "k8s.v1.cni.cncf.io/networks-status", "k8s.ovn.org/pod-networks",
}

// maxAnnotationBytes bounds an annotation that is kept. Those of a Pod have 256 KiB.
const maxAnnotationBytes = 64 << 10

// message contains the fields of a protobuf message that are kept, by number.
type message map[protowire.Number]*field

// field is one that is kept: whole, only some fields of the message in it, or whole
// if it is needed.
type field struct {
	message message
	needed  func(value []byte) bool
}

var (
	whole      = &field{}
	podMessage = messageOf(reflect.TypeFor[corev1.Pod](), podFields)
	// The numbers of items and metadata in generated.proto, which never change.
	podListMessage = message{1: whole, 2: {message: podMessage}}
)

// messageOf returns the fields of a type with these paths. It panics on a path that
// the type does not have.
func messageOf(t reflect.Type, paths []string) message {
	kept := message{}
	for _, path := range paths {
		kept.add(t, strings.Split(path, "."))
	}
	if annotations := kept[1].message[12]; annotations != nil {
		annotations.needed = isNeeded
	}
	return kept
}

// isNeeded reports whether an annotation, an entry of a map with its key as field 1, is
// one that a Testcr is made from, or that of the Pod at the end of a streamed list.
func isNeeded(annotation []byte) bool {
	entry, n := protowire.ConsumeBytes(annotation)
	if n < 0 || len(entry) > maxAnnotationBytes {
		return false
	}
	number, kind, n := protowire.ConsumeTag(entry)
	if number != 1 || kind != protowire.BytesType {
		return false
	}
	key, n := protowire.ConsumeBytes(entry[n:])
	if n < 0 {
		return false
	}
	return string(key) == metav1.InitialEventsAnnotationKey || slices.Contains(podAnnotations, string(key))
}

func (m message) add(t reflect.Type, path []string) {
	numbers, t := numbersOf(t, path[0])
	for _, number := range numbers[:len(numbers)-1] {
		m = m.child(number)
	}
	last := numbers[len(numbers)-1]
	if len(path) == 1 {
		m[last] = &field{}
		return
	}
	m.child(last).add(t, path[1:])
}

// child returns the message in a field.
func (m message) child(number protowire.Number) message {
	if m[number] == nil {
		m[number] = &field{message: message{}}
	}
	return m[number].message
}

// numbersOf returns the protobuf number of a field, after that of the inlined struct
// around it, and the type of the field or of its elements. The numbers are in the tags
// of the API types.
func numbersOf(t reflect.Type, name string) ([]protowire.Number, reflect.Type) {
	for f := range t.Fields() {
		jsonName, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		parts := strings.Split(f.Tag.Get("protobuf"), ",")
		if len(parts) < 2 {
			continue
		}
		n, err := strconv.ParseInt(parts[1], 10, 32)
		if err != nil {
			continue
		}
		switch number := protowire.Number(n); {
		case jsonName == name:
			elem := f.Type
			for elem.Kind() == reflect.Slice || elem.Kind() == reflect.Pointer {
				elem = elem.Elem()
			}
			return []protowire.Number{number}, elem
		case jsonName == "" && f.Anonymous:
			inner, elem := numbersOf(f.Type, name)
			return append([]protowire.Number{number}, inner...), elem
		}
	}
	panic(fmt.Sprintf("%s has no field %q", t, name))
}

// NewPodClient returns a client that speaks protobuf and returns Pods with only the
// fields of podFields.
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

func (c podClient) CoreV1() typedcorev1.CoreV1Interface { return c.core }

type podSerializer struct{ runtime.NegotiatedSerializer }

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

// buffers holds projected bytes. Decoded objects share nothing with them.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Decode decodes the projection of a Pod or a list of Pods, and any other object
// whole.
func (d podDecoder) Decode(data []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	if projected, ok := projectPods((*buffer)[:0], data); ok {
		*buffer = projected
		data = projected
	}
	return d.Serializer.Decode(data, defaults, into)
}

// envelope precedes each object that Kubernetes encodes as protobuf: a message with
// the type (field 1, apiVersion and kind) and the object (field 2).
var envelope = []byte("k8s\x00")

// projectPods appends the projection of a Pod, or of a list of Pods, to dst. It
// returns false for any other object and for malformed bytes.
func projectPods(dst, data []byte) ([]byte, bool) {
	body, ok := bytes.CutPrefix(data, envelope)
	if !ok {
		return dst, false
	}
	var kept message
	switch kindIn(body) {
	case "Pod":
		kept = podMessage
	case "PodList":
		kept = podListMessage
	default:
		return dst, false
	}
	return project(append(dst, envelope...), body, message{1: whole, 2: {message: kept}, 3: whole, 4: whole})
}

// kindIn returns the kind in an envelope, or "" if its version is not v1.
func kindIn(body []byte) string {
	number, kind, n := protowire.ConsumeTag(body)
	if number != 1 || kind != protowire.BytesType {
		return ""
	}
	body, n = protowire.ConsumeBytes(body[n:])
	version, name := "", ""
	for n > 0 && len(body) > 0 {
		if number, kind, n = protowire.ConsumeTag(body); n < 0 || kind != protowire.BytesType {
			return ""
		}
		body = body[n:]
		var value []byte
		if value, n = protowire.ConsumeBytes(body); n < 0 {
			return ""
		}
		body = body[n:]
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

// project appends body to dst with only the fields in kept.
func project(dst, body []byte, kept message) ([]byte, bool) {
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return dst, false
		}
		size := protowire.ConsumeFieldValue(number, kind, body[n:])
		if size < 0 {
			return dst, false
		}
		field, value := body[:n+size], body[n:n+size]
		body = body[n+size:]
		f, ok := kept[number]
		switch {
		case !ok:
		case kind == protowire.BytesType && f.message != nil:
			value, _ = protowire.ConsumeBytes(value)
			if dst, ok = projectField(append(dst, field[:n]...), value, f.message); !ok {
				return dst, false
			}
		case f.needed == nil || f.needed(value):
			dst = append(dst, field...)
		}
	}
	return dst, true
}

// projectField appends the length of a projected message and the message. The length
// is known only afterwards, so it takes as many bytes as before: a varint may be
// longer than necessary.
func projectField(dst, body []byte, kept message) ([]byte, bool) {
	at, room := len(dst), protowire.SizeVarint(uint64(len(body)))
	dst = append(dst, make([]byte, room)...)
	dst, ok := project(dst, body, kept)
	length := len(dst) - at - room
	for i := range room {
		dst[at+i] = byte(length>>(7*i)) | 0x80 //nolint:gosec // G115: seven bits at a time
	}
	dst[at+room-1] &= 0x7f
	return dst, ok
}
