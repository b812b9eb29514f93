package serving_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestServe_SlowClients(t *testing.T) {
	t.Parallel()
	const crowd = 600 // more than there is room for
	tests := []struct{ name, address, begin string }{
		{name: "in the header", address: loopback, begin: "GET /livez HTTP/1.1\r\nHost: localhost\r\nA: "},
		{name: "in the handshake", address: anywhere, begin: "\x16\x03\x01"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, env.Kubeconfig, test.address)
			s.client.CloseIdleConnections()
			_, address, _ := strings.Cut(s.url, "//")
			closed := make(chan error, crowd)
			for range crowd {
				conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
				if err := conn.SetReadDeadline(time.Now().Add(testenv.Patience)); err != nil {
					t.Fatal(err)
				}
				go func() {
					_, _ = conn.Write([]byte(test.begin)) // it may be closed already
					_, err := conn.Read(make([]byte, 1))  // the answer that never comes, or the end
					closed <- err
				}()
			}
			if err := s.answers(t.Context(), "/livez", nil, http.StatusOK); err != nil {
				t.Error(err)
			}
			for range crowd {
				if err := <-closed; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("a slow client got %v", err)
				}
			}
		})
	}
}

// It takes as long as the program gives ordinary answers, 10 s, and a little more.
func TestServe_StreamOutlivesTimeouts(t *testing.T) {
	t.Parallel()
	const longer = 11 * time.Second
	token := account(t, env.Namespace(t, ""), "lister", "list")
	tests := []struct{ name, address, proto string }{
		{name: "plain HTTP", address: loopback, proto: "HTTP/1.1"},
		{name: "HTTP/2", address: anywhere, proto: "HTTP/2.0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, env.Kubeconfig, test.address)
			var protocols http.Protocols
			protocols.SetHTTP1(test.proto == "HTTP/1.1")
			protocols.SetHTTP2(test.proto == "HTTP/2.0")
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: &protocols} //nolint:gosec // G402: of no matter here
			t.Cleanup(transport.CloseIdleConnections)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/events", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", login("Bearer", token))
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			if diff := cmp.Diff([]any{200, test.proto}, []any{response.StatusCode, response.Proto}); diff != "" {
				t.Fatalf("status, protocol (-want +got):\n%s", diff)
			}
			begun, lines := time.Now(), bufio.NewScanner(response.Body)
			for time.Since(begun) < longer {
				if !lines.Scan() {
					t.Fatalf("cut after %s: %v", time.Since(begun), lines.Err())
				}
			}
			s.Signal(t, syscall.SIGTERM)
			if code := s.Wait(t, testenv.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}
