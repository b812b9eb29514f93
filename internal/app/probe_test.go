package app

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProbe(t *testing.T) {
	well := func() error { return nil }
	bad := func() error { return errors.New("it is bad: mend it") }
	worse := func() error { return errors.New("it is worse") }
	tests := []struct {
		name     string
		probe    probe
		path     string
		wantCode int
		want     string
	}{
		{"all is well", probe{{"a", well}, {"b", well}}, "/readyz", http.StatusOK, "ok\n"},
		{"all is well, in words", probe{{"a", well}, {"b", well}}, "/readyz?verbose", http.StatusOK, "[+]a ok\n[+]b ok\nreadyz check passed\n"},
		{"one thing is not", probe{{"a", well}, {"b", bad}}, "/livez", http.StatusServiceUnavailable, "it is bad: mend it\n"},
		{"two things are not", probe{{"a", worse}, {"b", bad}}, "/livez", http.StatusServiceUnavailable, "it is worse\n"},
		{"one thing is not, in words", probe{{"a", well}, {"b", bad}}, "/livez?verbose", http.StatusServiceUnavailable,
			"[+]a ok\n[-]b failed: it is bad: mend it\nlivez check failed\n"},
		{"there is nothing to check", probe{}, "/livez", http.StatusOK, "ok\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := httptest.NewRecorder()
			test.probe.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), http.MethodGet, test.path, http.NoBody))
			if diff := cmp.Diff(test.want, got.Body.String()); diff != "" || got.Code != test.wantCode {
				t.Errorf("code %d, want %d (-want +got):\n%s", got.Code, test.wantCode, diff)
			}
		})
	}
}
