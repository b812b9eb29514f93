package lookup_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/history"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromFile(filepath.Join(testenv.Root(), "docs", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// TestEachRouteIsDocumented reads the routes where they are registered: a mux
// does not tell them.
func TestEachRouteIsDocumented(t *testing.T) {
	var want []string
	for file, pattern := range map[string]string{
		"internal/lookup/lookup.go": `mux\.Handle(?:Func)?\("GET "?([^",]*)`,
		"internal/server/server.go": `mux\.Handle(?:Func)?\("([^",]*z)"`,
	} {
		source, err := os.ReadFile(filepath.Join(testenv.Root(), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(source), -1) {
			route, ok := map[string]string{"/assets/": "/assets/{file}", "/{$}": "/", "+EventsPath": "/v1/events"}[found[1]]
			if !ok {
				route = found[1]
			}
			want = append(want, route)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(document(t).Paths.Map()))); diff != "" || len(want) < 9 {
		t.Errorf("paths (-registered +documented):\n%s", diff)
	}
}

func TestEachParameterIsDocumented(t *testing.T) {
	h := start(t)
	paths := document(t).Paths
	for _, path := range []string{"/v1/pods", "/v1/pods/{namespace}/{name}", "/v1/search", "/v1/summary", "/"} {
		_, list, ok := strings.Cut(get(t.Context(), h, path+"?x=1", http.Header{"Accept": {"text/plain"}}).Body.String(), "there are ")
		if !ok {
			t.Fatalf("%s takes any parameter", path)
		}
		want := strings.Split(strings.TrimSpace(list), ", ")
		item, got := paths.Find(path), []string{}
		if item == nil {
			t.Fatalf("%s is not documented", path)
		}
		for _, p := range item.Get.Parameters {
			if p.Value.In == "query" {
				got = append(got, p.Value.Name)
			}
		}
		if len(got) == 0 {
			got = []string{"none"}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("parameters of %s (-taken +documented):\n%s", path, diff)
		}
	}
}

// fields returns the JSON names of a struct's fields, and those that are always
// there.
func fields(of reflect.Type) (all, required []string) {
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		all = append(all, name)
		if !strings.HasPrefix(options, "omit") {
			required = append(required, name)
		}
	}
	return all, required
}

func TestEachFieldIsDocumented(t *testing.T) {
	tests := []struct {
		schema        string
		of            reflect.Type
		more, mustToo []string
	}{
		{"Pod", reflect.TypeFor[v1.TestcrSpec](), []string{"testcr", "live", "state", "note", "links", "omitted"}, []string{"testcr", "live", "state"}},
		{"Container", reflect.TypeFor[v1.Container](), nil, nil},
	}
	for _, test := range tests {
		t.Run(test.schema, func(t *testing.T) {
			all, required := fields(test.of)
			all, required = append(all, test.more...), append(required, test.mustToo...)
			schema := document(t).Components.Schemas[test.schema].Value
			slices.Sort(all)
			slices.Sort(required)
			if diff := cmp.Diff(all, slices.Sorted(maps.Keys(schema.Properties))); diff != "" {
				t.Errorf("fields (-of the struct +documented):\n%s", diff)
			}
			if diff := cmp.Diff(required, slices.Sorted(slices.Values(schema.Required))); diff != "" {
				t.Errorf("fields that are always there (-of the struct +documented):\n%s", diff)
			}
		})
	}
}

// TestEveryObjectIsClosed keeps a new field from passing unnoticed.
func TestEveryObjectIsClosed(t *testing.T) {
	var visit func(path string, ref *openapi3.SchemaRef)
	visit = func(path string, ref *openapi3.SchemaRef) {
		schema := ref.Value
		open := schema.AdditionalProperties.Has == nil || *schema.AdditionalProperties.Has
		if schema.Type.Is("object") && open && schema.AdditionalProperties.Schema == nil {
			t.Errorf("%s takes any field", path)
		}
		if schema.Items != nil {
			visit(path+"[]", schema.Items)
		}
		for name, property := range schema.Properties {
			if property.Ref == "" {
				visit(path+"."+name, property)
			}
			if property.Value.Description == "" {
				t.Errorf("%s.%s is not described", path, name)
			}
		}
	}
	for name, schema := range document(t).Components.Schemas {
		visit(name, schema)
	}
}

// recorded is a past with one Pod, and one gap.
type recorded struct{ holder history.Holder }

func (r *recorded) Find(_ context.Context, q history.Query) (history.Answer, error) {
	day := time.Date(2024, 11, 26, 0, 0, 0, 0, time.UTC)
	a := history.Answer{More: true, Records: []history.Record{{
		Cluster: "east", Begins: day, Ends: time.Now(), Namespaces: []string{"openapi"},
		Gaps: []history.Gap{{From: day.Add(4 * time.Hour), To: day.Add(5 * time.Hour), Reason: history.ReasonLost}},
	}}}
	ms := func(hours int) int64 { return day.Add(time.Duration(hours) * time.Hour).UnixMilli() }
	r.holder.Cluster, r.holder.Interval = "east", history.Interval{Earliest: ms(1), From: ms(2), To: ms(4), Latest: ms(5)}
	isHis := q.Last && q.Terms[0].Text == "none"
	for _, t := range q.Terms {
		isHis = isHis || t.Matches(&r.holder.Spec)
	}
	if isHis {
		a.Holders = []history.Holder{r.holder}
	}
	return a, nil
}

func TestAnswersAreAsDocumented(t *testing.T) {
	for _, contentType := range []string{"text/html", "text/css", "text/javascript", "image/svg+xml"} {
		openapi3filter.RegisterBodyDecoder(contentType, openapi3filter.FileBodyDecoder)
		t.Cleanup(func() { openapi3filter.UnregisterBodyDecoder(contentType) })
	}
	doc := document(t)
	doc.Servers = nil // the requests of the test have a host
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	past := &recorded{}
	ready, cached := prepareWith(t, nil, past)
	run(t, ready, cached)
	env.Namespace(t, "openapi")
	full := newPod("openapi", "full", 1)
	full.Spec.HostNetwork = true
	completed := newPod("openapi", "completed", 1)
	completed.Status.Phase, completed.Finalizers = corev1.PodFailed, []string{"example.com/stay"}
	empty := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "openapi", Name: "empty"}, Spec: corev1.PodSpec{Containers: full.Spec.Containers}}
	for _, pod := range []*corev1.Pod{full, completed, empty} {
		create(t, pod)
	}
	pods := env.Clients.CoreV1().Pods("openapi")
	full.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Image: "busybox", ImagePullPolicy: corev1.PullAlways, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	}}}
	if _, err := pods.UpdateEphemeralContainers(t.Context(), full.Name, full, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(t.Context(), completed.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, ready, "/v1/pods?namespace=openapi", "openapi/empty", "openapi/full", "openapi/completed")
	past.holder.Spec = *desired.FromPod(full).Spec.DeepCopy()
	syncing, _ := prepare(t, nil)

	met := map[string]bool{} // "PATH STATUS TYPE"
	check := func(h http.Handler, path string, header http.Header, want int) *httptest.ResponseRecorder {
		t.Helper()
		w := get(t.Context(), h, path, header)
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
			return w
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		route, params, err := router.FindRoute(r)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return w
		}
		contentType, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		met[fmt.Sprint(route.Path, " ", w.Code, " ", contentType)] = true
		request := &openapi3filter.RequestValidationInput{
			Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
		}
		if want < http.StatusBadRequest {
			if err := openapi3filter.ValidateRequest(t.Context(), request); err != nil {
				t.Errorf("%s is not documented, and answered: %v", path, err)
			}
		}
		response := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: request, Status: w.Code, Header: w.Header(), Body: io.NopCloser(strings.NewReader(w.Body.String())),
			Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
		}
		if err := openapi3filter.ValidateResponse(t.Context(), response); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return w
	}
	asJSON, asText, asHTML := http.Header{}, http.Header{"Accept": {"text/plain"}}, http.Header{"Accept": {"text/html"}}
	ok := []string{
		"/v1/pods", "/v1/pods?namespace=openapi&limit=1", "/v1/pods?ip=10.7.0.1&ip=fd00:7::1", "/v1/pods?phase=Nothing", "/v1/pods/openapi/full",
		"/v1/pods/openapi/empty", "/v1/pods/openapi/completed", "/v1/pods?uid=" + string(full.UID) + "&container=" + idOf(1) + "&key=openapi/full" +
			"&name=full&node=node-1&hostip=192.168.7.1&workload=sts/web&namespace=openapi&phase=running&limit=500",
		"/v1/search", "/v1/search?q=10.7.0.1&sort=age&desc=true&limit=1", "/v1/search?q=nothing-at-all", "/v1/search?q=ful&namespace=openapi&node=node-1&phase=Running",
		"/v1/search?q=full&by=name", "/v1/search?q=full&by=text&desc=false", "/v1/summary", "/v1/summary?namespace=openapi&node=node-1", "/v1/summary?node=none",
		"/v1/summary?match=NOD", "/v1/search?state=unwell&sort=attention&page=1", "/v1/search?state=ready&page=7&limit=1", "/v1/search?q=full&by=name&sort=attention&limit=1",
		"/v1/pods?ip=10.7.0.1&at=2024-11-26T03:12:00Z&limit=7", "/v1/search?q=10.7.0.1&by=ip&since=-30d&until=now&cluster=",
	}
	for _, path := range ok {
		w := check(ready, path, asJSON, http.StatusOK)
		check(ready, path, asText, http.StatusOK)
		if next, _ := decode(t, w.Body.String()).(map[string]any)["continue"].(string); next != "" {
			check(ready, path+"&continue="+next, asJSON, http.StatusOK)
		}
	}
	for path, want := range map[string]int{
		"/v1/pods?ip=10.7.9.9": 404, "/v1/pods/openapi/none": 404, "/v1/pods?ip=x": 400, "/v1/pods?x=y": 400, "/v1/pods/openapi/full?x=y": 400,
		"/v1/search?by=x": 400, "/v1/pods?name=none&at=-1h": 404, "/v1/search?q=none&since=-1h": 404, "/v1/pods?name=full&at=x": 400, "/v1/search?q=none": 200, "/v1/search?limit=0": 400, "/v1/summary?x=y": 400,
	} {
		check(ready, path, asJSON, want)
		check(ready, path, asText, want)
	}
	for _, path := range []string{"/v1/pods", "/v1/pods/openapi/full", "/v1/search", "/v1/summary"} {
		check(syncing, path, asJSON, http.StatusServiceUnavailable)
		check(syncing, path, asText, http.StatusServiceUnavailable)
	}
	check(ready, "/", asText, http.StatusOK)
	check(ready, "/?q=full", asText, http.StatusOK)
	check(ready, "/?q=none&at=-1h", asText, http.StatusNotFound)
	check(ready, "/?x=y", asText, http.StatusBadRequest)
	check(syncing, "/", asText, http.StatusServiceUnavailable)
	for path, header := range map[string]http.Header{"/": asHTML, "/assets/app.js": {}, "/assets/style.css": {}, "/assets/icon.svg": {}} {
		have := check(ready, path, header, http.StatusOK).Header().Get("Etag")
		if path == "/" {
			continue // it has the Pods of the moment
		}
		header = header.Clone()
		header.Set("If-None-Match", have)
		check(ready, path, header, http.StatusNotModified)
	}
	check(ready, "/assets/none", http.Header{}, http.StatusNotFound)

	// Each status and type is met; those of the server around, elsewhere.
	for path, item := range doc.Paths.Map() {
		for status, response := range item.Get.Responses.Map() {
			if slices.Contains([]string{"401", "403", "429"}, status) || slices.Contains([]string{"/livez", "/readyz", "/v1/events"}, path) {
				continue
			}
			types := slices.Collect(maps.Keys(response.Value.Content))
			if path == "/" {
				types = slices.DeleteFunc(types, func(s string) bool { return s == "application/json" }) // the shared description has it
			}
			for _, contentType := range types {
				if !met[path+" "+status+" "+contentType] {
					t.Errorf("%s is never answered with %s as %s", path, status, contentType)
				}
			}
		}
	}
}
