package serving_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// local returns the address of --local-bind-address.
func (s *server) local(t *testing.T) (address string) {
	t.Helper()
	announced := regexp.MustCompile(`Serving port-forwards, without a login" address="([^"]+)"`)
	testenv.Eventually(t, func(context.Context) error {
		found := announced.FindStringSubmatch(s.Stderr.String())
		if found == nil {
			return errors.New("the log lacks the local address")
		}
		address = found[1]
		return nil
	})
	return address
}

// A port-forward ends on the loopback of a Pod, whose other address takes a login.
func TestLocalBindAddress(t *testing.T) {
	t.Parallel()
	s := start(t, env.Kubeconfig, anywhere, "--local-bind-address=localhost:0")
	address := s.local(t)
	if !strings.HasPrefix(address, "127.0.0.1:") && !strings.HasPrefix(address, "[::1]:") {
		t.Fatalf("localhost is %s", address)
	}
	if err := s.answers(t.Context(), "/v1/pods", nil, http.StatusUnauthorized); err != nil {
		t.Error(err)
	}
	tests := []struct {
		name, path, host, site string
		wantCode               int
		want                   string // a part of the answer
	}{
		{name: "the Pods", path: "/v1/pods", wantCode: 200, want: `"items":`},
		{name: "through a port-forward", path: "/v1/pods", host: "127.0.0.1:9091", wantCode: 200, want: `"items":`},
		{name: "through one by its name", path: "/v1/pods", host: "localhost:40000", wantCode: 200, want: `"items":`},
		{name: "the page", path: "/", wantCode: 200, want: "<html"},
		{name: "the metrics", path: "/metrics", wantCode: 200, want: "podinfolookup_"},
		{name: "the probe of the plugin", path: "/livez", wantCode: 200, want: "ok"},
		{name: "a DNS name", path: "/v1/pods", host: "podinfolookup.podinfolookup.svc", wantCode: 403, want: "only \"localhost\""},
		{name: "the IP of the Pod", path: "/v1/pods", host: "10.0.0.7:9091", wantCode: 403, want: "only \"localhost\""},
		{name: "another site", path: "/v1/pods", site: "cross-site", wantCode: 403, want: "for another site"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+test.path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Host = test.host
			if test.path == "/" {
				request.Header.Set("Accept", "text/html")
			}
			if test.site != "" {
				request.Header.Set("Sec-Fetch-Site", test.site)
			}
			response, err := s.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != test.wantCode || !strings.Contains(string(body), test.want) {
				t.Errorf("%d %.200q, want %d %q; %v", response.StatusCode, body, test.wantCode, test.want, err)
			}
		})
	}
	s.client.CloseIdleConnections()
	s.Signal(t, syscall.SIGTERM)
	if code := s.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestLocalBindAddress_InUse(t *testing.T) {
	t.Parallel()
	address := start(t, env.Kubeconfig, loopback, "--local-bind-address=127.0.0.1:0").local(t)
	second := testenv.Command(t, binary, "--kubeconfig="+env.Kubeconfig, loopback, "--local-bind-address="+address).Start(t)
	if code := second.Wait(t, testenv.Patience); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	if err := second.Stderr.Has("--local-bind-address=" + address + ": "); err != nil {
		t.Error(err)
	}
}
