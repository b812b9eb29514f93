package lookup_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weiyuanke/PodInfoLookup/internal/lookup"
)

// FuzzQuery asks every path that takes a query, as JSON and as text. Whatever is
// asked, it is answered with 200, 400 or 404, an error has a message, and a page
// that says how it goes on does.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"", "ip=10.0.0.1", "ip=fd00::1%25eth0&limit=1", "q=web&sort=age&desc=1", "q=%ff%00%1b[2J", "q=a/b&by=key", "by=text&q=.", "continue=eyJrIjoiYS9iIn0",
		"limit=1&sort=ip", "key=shop/web-1;x", "%zz", "namespace=shop&node=node-1&phase=RUNNING", "=", "&&", "q=" + strings.Repeat("a", 1025), "container=0000000000000000",
		"q=4f5ca3b2d1e0998877665544332211aa", "workload=deploy/web&q=x", "continue=bnVsbA",
		"q=web*&by=name", "q=10.0.0.0/24", "q=pod%3D%22shop/web-1%22+10.0.0.1,10.0.0.2",
		"ip=10.9.9.9&q=10.9.9.9&at=2024-11-26+02:00", "ip=10.9.9.9&q=x*&since=1732588200&until=now&cluster=&limit=2", "name=a&q=a&at=25:00",
	} {
		for _, path := range []string{"/v1/pods", "/v1/search", "/v1/summary", "/v1/pods/shop/web-1"} {
			f.Add(path, query)
		}
	}
	f.Add("/v1/pods/%2e%2e/x", "")
	f.Add("/v1/pods/a%2Fb/c", "")
	i := &informer{synced: make(chan struct{})}
	i.setAsOf(time.Now())
	l, err := lookup.New(f.Context(), lookup.Config{Pods: i, Version: "v1.2.3", History: newRecord()})
	if err != nil {
		f.Fatal(err)
	}
	i.add(shop()...)
	close(i.synced)
	h := l.Handler()
	f.Fuzz(func(t *testing.T, path, query string) {
		if path == lookup.EventsPath {
			return // it stays open
		}
		fuzzQuery(t, h, path, query)
	})
}

func fuzzQuery(t *testing.T, h http.Handler, path, query string) {
	t.Helper()
	u, err := url.Parse("http://localhost" + path)
	if err != nil || u.Host != "localhost" || u.Path == lookup.EventsPath {
		return // no such request can come
	}
	u.RawQuery = query
	body := map[string]string{}
	for _, accept := range []string{"application/json", "text/plain"} {
		r := &http.Request{Method: http.MethodGet, URL: u, Host: "localhost", Header: http.Header{"Accept": {accept}}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(t.Context()))
		body[accept] = w.Body.String()
		redirected := w.Code >= 300 && w.Code < 400 // a path that is not clean
		if !slices.Contains([]int{http.StatusOK, http.StatusBadRequest, http.StatusNotFound}, w.Code) && !redirected {
			t.Fatalf("%s: status %d: %s", u, w.Code, body[accept])
		}
		if redirected || !strings.HasPrefix(u.Path, "/v1/") {
			return // the page
		}
		if accept == "text/plain" {
			if strings.ContainsFunc(body[accept], func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
				t.Errorf("%s: control characters in %q", u, body[accept])
			}
			continue
		}
		var a answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || (a.Error == "") != (w.Code == http.StatusOK) {
			t.Fatalf("%s: status %d: %v in %s", u, w.Code, err, body[accept])
		}
		if a.Continue != "" && len(a.Items) == 0 {
			t.Errorf("%s: an empty page that goes on: %s", u, body[accept])
		}
	}
}
