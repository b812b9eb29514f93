package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

// Body is an encoded Testcr.
type Body struct {
	Name string
	JSON []byte
}

// BodyOf encodes the desired Testcr of pod.
func BodyOf(pod *corev1.Pod) (Body, error) {
	u := TestcrOf(pod)
	data, err := json.Marshal(u.Object)
	return Body{Name: u.GetName(), JSON: data}, err
}

// Raw writes encoded Testcrs and does not decode the responses. Its throughput
// is the upper bound for one client on one connection.
type Raw struct{ client *rest.RESTClient }

// NewRaw returns a client without a rate limit.
func NewRaw(config *rest.Config) (*Raw, error) {
	config = rest.CopyConfig(config)
	gv := v1.GroupVersionResource.GroupVersion()
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &gv, "/apis", scheme.Codecs.WithoutConversion()
	config.ContentType = "application/json"
	client, err := rest.RESTClientFor(config)
	return &Raw{client: client}, err
}

// fieldManager is that of podinfolookup, because it is stored too.
const fieldManager = v1.ManagedBy

func (r *Raw) request(verb, name string) *rest.Request {
	request := r.client.Verb(verb).Resource(v1.GroupVersionResource.Resource)
	if name != "" {
		request = request.Name(name)
	}
	return request
}

// Create creates a Testcr and returns its resourceVersion.
func (r *Raw) Create(ctx context.Context, b Body) (version string, err error) {
	response, err := r.request(http.MethodPost, "").Param("fieldManager", fieldManager).SetHeader("Content-Type", "application/json").Body(b.JSON).Do(ctx).Raw()
	return versionIn(response), err
}

// Update replaces a Testcr of this resourceVersion and returns the new one.
func (r *Raw) Update(ctx context.Context, b Body, version string) (string, error) {
	body, ok := bytes.CutPrefix(b.JSON, []byte(`{"apiVersion":"`+v1.GroupVersionResource.GroupVersion().String()+`","kind":"Testcr","metadata":{`))
	if !ok {
		return "", fmt.Errorf("unexpected body of a Testcr: %.80s", b.JSON)
	}
	// One empty entry removes the managed fields, as podinfolookup does.
	head := b.JSON[:len(b.JSON)-len(body)]
	body = bytes.Join([][]byte{head, []byte(`"resourceVersion":"` + version + `","managedFields":[{}],`), body}, nil)
	response, err := r.request(http.MethodPut, b.Name).Param("fieldManager", fieldManager).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Raw()
	return versionIn(response), err
}

// Delete deletes a Testcr.
func (r *Raw) Delete(ctx context.Context, name string) error {
	_, err := r.request(http.MethodDelete, name).Do(ctx).Raw()
	return err
}

func versionIn(response []byte) string {
	_, after, _ := strings.Cut(string(response), `"resourceVersion":"`)
	version, _, _ := strings.Cut(after, `"`)
	return version
}

// List requests a complete list without decoding it, and returns its size in
// bytes.
func List(ctx context.Context, config *rest.Config, path, accept string) (int, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.NegotiatedSerializer = &schema.GroupVersion{}, scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return 0, err
	}
	body, err := client.Get().AbsPath(path).Param("resourceVersion", "0").SetHeader("Accept", accept).Do(ctx).Raw()
	if err == nil && len(body) == 0 {
		err = errors.New("the response is empty")
	}
	return len(body), err
}
