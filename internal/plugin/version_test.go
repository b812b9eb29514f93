package plugin

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// TestOptions_printControllers_Frozen asks an API server that does not answer.
func TestOptions_printControllers_Frozen(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	var out, errOut bytes.Buffer
	o := &options{config: genericclioptions.NewConfigFlags(true), IOStreams: genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}}
	o.config.APIServer = &server.URL
	err := o.printControllers(t.Context(), 50*time.Millisecond)
	if err == nil || !strings.HasPrefix(err.Error(), "the cluster has not answered within 50ms") || out.String()+errOut.String() != "" {
		t.Errorf("%v, %q, %q", err, out.String(), errOut.String())
	}
}
