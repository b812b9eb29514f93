package lookup

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/weiyuanke/PodInfoLookup/internal/podcache"
)

// pagePods is a cache that is current for ever.
type pagePods struct{ handler cache.ResourceEventHandler }

func (p *pagePods) AddEventHandler(h cache.ResourceEventHandler, _ cache.HandlerOptions) ([]cache.DoneChecker, error) {
	p.handler = h
	return nil, nil
}
func (*pagePods) OnRollback(func(string))       {}
func (*pagePods) AsOf() time.Time               { return time.Now() }
func (*pagePods) Confirm(context.Context) error { return nil }

// servePage returns the handler of a Lookup with a page and these Pods.
func servePage(t *testing.T, pods ...*corev1.Pod) http.Handler {
	t.Helper()
	link, err := ParseLink("Logs=https://logs.example.com/{{.Namespace}}/{{.Name}}?c={{.Container}}")
	if err != nil {
		t.Fatal(err)
	}
	shown := &pagePods{}
	l, err := New(t.Context(), Config{Pods: shown, Version: "v1.2.3", ClusterName: "prod-eu", Links: []Link{link}})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		shown.handler.OnAdd(podcache.NewPod(pod), true)
	}
	return l.Handler()
}

func getPage(t *testing.T, h http.Handler, target string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, http.NoBody)
	request.Header.Set("Accept", "text/html")
	for name := range header {
		request.Header.Set(name, header.Get(name))
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

func TestPageFilesAreServedAsWhatTheyAre(t *testing.T) {
	h := servePage(t)
	for _, test := range []struct {
		path, wantType string
		want           int
	}{
		{"/", "text/html; charset=utf-8", http.StatusOK},
		{"/assets/style.css", "text/css; charset=utf-8", http.StatusOK},
		{"/assets/app.js", "text/javascript; charset=utf-8", http.StatusOK},
		{"/assets/icon.svg", "image/svg+xml", http.StatusOK},
		{"/assets/", "text/plain; charset=utf-8", http.StatusNotFound},
		{"/assets/index.html", "text/plain; charset=utf-8", http.StatusNotFound},
		{"/none", "text/html; charset=utf-8", http.StatusNotFound},
		{"/assets/../page.go", "text/html; charset=utf-8", http.StatusTemporaryRedirect},
	} {
		t.Run(test.path, func(t *testing.T) {
			got := getPage(t, h, test.path, nil)
			if got.Code != test.want || got.Header().Get("Content-Type") != test.wantType {
				t.Errorf("%d %q, want %d %q", got.Code, got.Header().Get("Content-Type"), test.want, test.wantType)
			}
			if test.want != http.StatusOK {
				return
			}
			tag := got.Header().Get("Etag")
			want := map[string]string{
				"Cache-Control":           "no-cache",
				"Content-Security-Policy": contentPolicy,
				"X-Content-Type-Options":  "nosniff",
				"Referrer-Policy":         "no-referrer",
			}
			if test.path == "/" {
				want["Cache-Control"] = "no-store"
			}
			for name := range want {
				if diff := cmp.Diff(want[name], got.Header().Get(name)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
			}
			if test.path == "/" {
				return // it has the Pods of the moment
			}
			if again := getPage(t, h, test.path, http.Header{"If-None-Match": {tag}}); again.Code != http.StatusNotModified {
				t.Errorf("asked again with %s: %d, want 304", tag, again.Code)
			}
			if other := getPage(t, h, test.path, http.Header{"If-None-Match": {`"other"`}}); other.Code != http.StatusOK {
				t.Errorf("asked again with another tag: %d, want 200", other.Code)
			}
		})
	}
}

func TestPageHasTheQuery(t *testing.T) {
	body := getPage(t, servePage(t), `/?q=%22%3E%3Cscript%3Ehurt()%3C/script%3E&sort=ip`, nil).Body.String()
	for _, want := range []string{
		`value="&#34;&gt;&lt;script&gt;hurt()&lt;/script&gt;"`,
		`curl -G http://example.com/ --data-urlencode`,
		`podinfolookup v1.2.3`,
		`<title>prod-eu · PodInfoLookup</title>`,
		`<span id="cluster">prod-eu</span></h1>`,
		`<input type="hidden" name="sort" value="ip">`,
		`data-sort="ip" aria-sort="ascending"><a href="?desc=true&amp;q=`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, "<script>") {
		t.Errorf("the query became markup:\n%s", body)
	}
}

func TestPageParams(t *testing.T) {
	p := pageParams{url.Values{"q": {"web"}, "sort": {"ip"}, "page": {"3"}, "pod": {"shop/a"}}}
	for _, test := range []struct{ name, got, want string }{
		{name: "another order begins at its first page", got: p.Sort("node"), want: "?q=web&sort=node"},
		{name: "the opposite order, too", got: p.Sort("ip"), want: "?desc=true&q=web&sort=ip"},
		{name: "another page", got: p.With("page", "4"), want: "?page=4&q=web&sort=ip"},
		{name: "a Pod of this page", got: p.With("pod", "shop/b"), want: "?page=3&pod=shop%2Fb&q=web&sort=ip"},
		{name: "no Pod", got: p.With("pod", ""), want: "?page=3&q=web&sort=ip"},
		{name: "another query", got: p.With("q", "cart"), want: "?q=cart&sort=ip"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", test.name, test.got, test.want)
		}
	}
}

func TestPage_BeyondTheLastPage(t *testing.T) {
	h := servePage(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "a"}})
	if body := getPage(t, h, "/?page=7", nil).Body.String(); !strings.Contains(body, `<h2 id="count">1 Pods</h2>`) || !strings.Contains(body, `href="?page=6"`) {
		t.Errorf("no total or way back:\n%s", body)
	}
}

func TestParts(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{name: "checkout-service-7dfb7b87b-5vxwk", want: "checkout-|service-|7dfb7b87b-|5vxwk"},
		{name: "shop/cart-0", want: "shop/|cart-|0"},
		{name: "Init:CrashLoopBackOff", want: "Init:|Crash|Loop|Back|Off"},
		{name: "ends-", want: "ends-|"},
		{name: "", want: ""},
	} {
		if got := strings.Join(parts(test.name), "|"); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// The policy allows the page's own files and requests, and nothing else.
func TestContentPolicy(t *testing.T) {
	want := map[string]string{
		"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self'", "connect-src": "'self'",
		"base-uri": "'none'", "form-action": "'self'", "frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
	}
	h := servePage(t)
	for _, path := range []string{"/", "/none", "/assets/app.js", "/?q=%3Cscript%3E&pod=a/b"} {
		got := map[string]string{}
		for directive := range strings.SplitSeq(getPage(t, h, path, nil).Header().Get("Content-Security-Policy"), ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
			got[name] = value
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}

// The content policy forbids all of these, so that they would not work, or not
// everywhere.
func TestPageNeedsNothingThatIsForbidden(t *testing.T) {
	forbidden := regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+="|javascript:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|@import|url\(`)
	elsewhere := regexp.MustCompile(`(?i)(https?:)?//[a-z0-9.-]+\.[a-z]+`)
	const limit = 60 << 10
	total := 0
	err := fs.WalkDir(pageFiles, "page", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := pageFiles.ReadFile(path)
		total += len(content)
		if found := forbidden.Find(content); found != nil {
			t.Errorf("%s has %q", path, found)
		}
		text := strings.ReplaceAll(string(content), "http://www.w3.org/2000/svg", "")
		if found := elsewhere.FindString(text); found != "" {
			t.Errorf("%s speaks of %q", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if total > limit {
		t.Errorf("the page has %d bytes, at most %d are small", total, limit)
	}
}
