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

	podinfolookup "github.com/weiyuanke/PodInfoLookup"
)

// Body is a Testcr ready to be sent.
type Body struct {
	Name string
	JSON []byte
}

// BodyOf encodes the Testcr that pod calls for.
func BodyOf(pod *corev1.Pod) (Body, error) {
	u := TestcrOf(pod)
	data, err := json.Marshal(u.Object)
	return Body{Name: u.GetName(), JSON: data}, err
}

// Raw writes Testcrs that were encoded before and does not decode the answers:
// the limit of what a client can do on one connection, as one dynamic client
// has it.
type Raw struct{ client *rest.RESTClient }

// NewRaw returns a client without a limit of requests.
func NewRaw(config *rest.Config) (*Raw, error) {
	config = rest.CopyConfig(config)
	gv := podinfolookup.GroupVersionResource.GroupVersion()
	config.GroupVersion, config.APIPath, config.NegotiatedSerializer = &gv, "/apis", scheme.Codecs.WithoutConversion()
	config.ContentType = "application/json"
	client, err := rest.RESTClientFor(config)
	return &Raw{client: client}, err
}

// fieldManager is the program's: it is part of what is stored.
const fieldManager = podinfolookup.ManagedBy

func (r *Raw) request(verb, name string) *rest.Request {
	request := r.client.Verb(verb).Resource(podinfolookup.GroupVersionResource.Resource)
	if name != "" {
		request = request.Name(name)
	}
	return request
}

// Create makes a Testcr and returns its version.
func (r *Raw) Create(ctx context.Context, b Body) (version string, err error) {
	answer, err := r.request(http.MethodPost, "").Param("fieldManager", fieldManager).SetHeader("Content-Type", "application/json").Body(b.JSON).Do(ctx).Raw()
	return versionIn(answer), err
}

// Update replaces the Testcr of this version, and returns the new version.
func (r *Raw) Update(ctx context.Context, b Body, version string) (string, error) {
	body, ok := bytes.CutPrefix(b.JSON, []byte(`{"apiVersion":"`+podinfolookup.GroupVersionResource.GroupVersion().String()+`","kind":"Testcr","metadata":{`))
	if !ok {
		return "", fmt.Errorf("the body of a Testcr begins with %.80s", b.JSON)
	}
	// As the program does it: one empty entry forgets the managed fields.
	head := b.JSON[:len(b.JSON)-len(body)]
	body = bytes.Join([][]byte{head, []byte(`"resourceVersion":"` + version + `","managedFields":[{}],`), body}, nil)
	answer, err := r.request(http.MethodPut, b.Name).Param("fieldManager", fieldManager).SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Raw()
	return versionIn(answer), err
}

// Delete deletes a Testcr.
func (r *Raw) Delete(ctx context.Context, name string) error {
	_, err := r.request(http.MethodDelete, name).Do(ctx).Raw()
	return err
}

func versionIn(answer []byte) string {
	_, after, _ := strings.Cut(string(answer), `"resourceVersion":"`)
	version, _, _ := strings.Cut(after, `"`)
	return version
}

// List reads a whole list in one answer, as bytes that nobody decodes, and
// returns how many.
func List(ctx context.Context, config *rest.Config, path, accept string) (int, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.NegotiatedSerializer = &schema.GroupVersion{}, scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return 0, err
	}
	body, err := client.Get().AbsPath(path).Param("resourceVersion", "0").SetHeader("Accept", accept).Do(ctx).Raw()
	if err == nil && len(body) == 0 {
		err = errors.New("an empty list")
	}
	return len(body), err
}
