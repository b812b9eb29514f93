package wire

import (
	"net/http"

	"k8s.io/client-go/rest"
)

// metadataOnly is the Accept header for the metadata of a written object alone. Its
// spec is known here, and encoding and decoding it again costs time on both sides.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// ShortAnswers returns config with answers to writes that contain the metadata alone,
// as *metav1.PartialObjectMetadata. An API server that cannot do so answers in full.
func ShortAnswers(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return shortAnswers{next} })
	return config
}

type shortAnswers struct{ next http.RoundTripper }

func (s shortAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		r = r.Clone(r.Context()) // a RoundTripper must not change its argument
		r.Header.Set("Accept", metadataOnly)
	}
	return s.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport below.
func (s shortAnswers) WrappedRoundTripper() http.RoundTripper { return s.next }
