package election

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// body records whether it was closed.
type body struct {
	io.Reader
	closed atomic.Bool
}

func (b *body) Close() error { b.closed.Store(true); return nil }

func TestFencedTransport_RoundTrip(t *testing.T) {
	fenceRenewedAt := func(renewed time.Time) *leaseFence {
		f := &leaseFence{lasts: 50 * time.Millisecond}
		f.renew(renewed)
		return f
	}
	closed := &leaseFence{lasts: 50 * time.Millisecond}
	open, expired := fenceRenewedAt(time.Now().Add(time.Hour)), fenceRenewedAt(time.Now().Add(-time.Minute))
	tests := []struct {
		name    string
		fence   *leaseFence
		method  string
		wantErr error
	}{
		{name: "a read passes without the lease", fence: closed, method: http.MethodGet},
		{name: "a write passes with the lease", fence: open, method: http.MethodPost},
		{name: "a write before the lease is refused", fence: closed, method: http.MethodPost, wantErr: errNotLeading},
		{name: "a write after the lease is refused", fence: expired, method: http.MethodPut, wantErr: errNotLeading},
		{name: "a delete after the lease is refused", fence: expired, method: http.MethodDelete, wantErr: errNotLeading},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				_, _ = io.WriteString(w, "answer")
			}))
			defer server.Close()
			sent := &body{Reader: strings.NewReader("body")}
			r, err := http.NewRequestWithContext(t.Context(), test.method, server.URL, sent)
			if err != nil {
				t.Fatal(err)
			}
			response, err := fencedTransport{next: http.DefaultTransport, fence: test.fence}.RoundTrip(r)
			if !errors.Is(err, test.wantErr) {
				t.Fatalf("error %v, want %v", err, test.wantErr)
			}
			if test.wantErr != nil {
				if asked.Load() > 0 || !sent.closed.Load() {
					t.Errorf("%d requests were sent; the body was closed: %t", asked.Load(), sent.closed.Load())
				}
				return
			}
			got, err := io.ReadAll(response.Body)
			if err != nil || string(got) != "answer" || response.Body.Close() != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	t.Run("a write under way ends when the lease is lost", func(t *testing.T) {
		fence := &leaseFence{lasts: time.Hour}
		fence.renew(time.Now())
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			fence.close()
			_, _ = io.Copy(io.Discard, r.Body) // only then is the client's end noticed
			<-r.Context().Done()
		}))
		defer server.Close()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := fencedTransport{next: http.DefaultTransport, fence: fence}.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
			t.Error("it went on")
		}
	})
	t.Run("a write under way ends with the lease", func(t *testing.T) {
		release := make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		defer server.Close()
		defer close(release)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := fencedTransport{next: http.DefaultTransport, fence: fenceRenewedAt(time.Now())}.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
			t.Error("it went on")
		}
	})
}
