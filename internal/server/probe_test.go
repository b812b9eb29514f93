package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProbe_ServeHTTP(t *testing.T) {
	check := func(name string, err error) Check { return Check{Name: name, Func: func() error { return err }} }
	a, b := check("a", nil), check("b", nil)
	bad, worse := check("b", errors.New("it is bad: mend it")), check("a", errors.New("it is worse"))
	warning, over := check("w", errors.New("it is bad: mend it")), check("w", nil)
	warning.IsWarning, over.IsWarning = true, true
	tests := []struct {
		name     string
		probe    Probe
		path     string
		wantCode int
		want     string
	}{
		{name: "all is well", probe: Probe{a, b}, path: "/readyz", wantCode: http.StatusOK, want: "ok\n"},
		{name: "all is well, in words", probe: Probe{a, b}, path: "/readyz?verbose", wantCode: http.StatusOK, want: "[+]a ok\n[+]b ok\nreadyz check passed\n"},
		{name: "one thing is not", probe: Probe{a, bad}, path: "/livez", wantCode: http.StatusServiceUnavailable, want: "it is bad: mend it\n"},
		{name: "two things are not", probe: Probe{worse, bad}, path: "/livez", wantCode: http.StatusServiceUnavailable, want: "it is worse\n"},
		{name: "one thing is not, in words", probe: Probe{a, bad}, path: "/livez?verbose", wantCode: http.StatusServiceUnavailable, want: "[+]a ok\n[-]b failed: it is bad: mend it\nlivez check failed\n"},
		{name: "a warning", probe: Probe{a, warning}, path: "/readyz", wantCode: http.StatusOK, want: "ok\n"},
		{name: "a warning, in words", probe: Probe{warning, a}, path: "/readyz?verbose", wantCode: http.StatusOK, want: "[!]w: it is bad: mend it\n[+]a ok\nreadyz check passed\n"},
		{name: "a warning that is over", probe: Probe{over}, path: "/readyz?verbose", wantCode: http.StatusOK, want: "[+]w ok\nreadyz check passed\n"},
		{name: "there is nothing to check", probe: Probe{}, path: "/livez", wantCode: http.StatusOK, want: "ok\n"},
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
