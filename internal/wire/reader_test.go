package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
)

const (
	malformed = `{"apiVersion":"stable.example.com/v1","kind":"Testcr","metadata":{"name":"b"},"spec":{"podipv4":"10.0.0.1"}}`
	bookmark  = `{"apiVersion":"stable.example.com/v1","kind":"Testcr","metadata":{"resourceVersion":"9",` +
		`"annotations":{"k8s.io/initial-events-end":"true"}}}`
	expired = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}`
)

func storedTestcr(t *testing.T) *Testcr {
	t.Helper()
	got, ok := decodeExact([]byte(stored))
	if !ok {
		t.Fatal("the Testcr of these tests does not decode")
	}
	return got
}

func TestObjectDecoder(t *testing.T) {
	typeMeta := metav1.TypeMeta{APIVersion: "stable.example.com/v1", Kind: "Testcr"}
	wantMalformed := &Testcr{Testcr: v1.Testcr{TypeMeta: typeMeta, ObjectMeta: metav1.ObjectMeta{Name: "b"}}, Malformed: true}
	tests := []struct {
		name, data string
		want       runtime.Object
		wantErr    bool
	}{
		{name: "a Testcr", data: stored, want: storedTestcr(t)},
		{name: "a malformed Testcr", data: malformed, want: wantMalformed},
		{
			name: "the end of a streamed list", data: bookmark,
			want: &Testcr{
				Testcr: v1.Testcr{TypeMeta: typeMeta, ObjectMeta: metav1.ObjectMeta{
					ResourceVersion: "9", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
				}},
				Malformed: true, // it has no spec
			},
		},
		{
			name: "a list",
			data: `{"apiVersion":"stable.example.com/v1","kind":"TestcrList","metadata":{"resourceVersion":"7","continue":"more","remainingItemCount":3},` +
				`"items":[` + stored + `,` + malformed + `]}`,
			want: &metav1.List{
				TypeMeta: metav1.TypeMeta{APIVersion: "stable.example.com/v1", Kind: "TestcrList"},
				ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: "more", RemainingItemCount: new(int64(3))},
				Items:    []runtime.RawExtension{{Object: storedTestcr(t)}, {Object: wantMalformed}},
			},
		},
		{
			name: "an empty list", data: `{"apiVersion":"stable.example.com/v1","kind":"TestcrList","metadata":{"resourceVersion":"7"},"items":[]}`,
			want: &metav1.List{
				TypeMeta: metav1.TypeMeta{APIVersion: "stable.example.com/v1", Kind: "TestcrList"},
				ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: []runtime.RawExtension{},
			},
		},
		{
			name: "a Status", data: expired,
			want: &metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
				Status:   metav1.StatusFailure, Message: "too old", Reason: metav1.StatusReasonExpired, Code: 410,
			},
		},
		{name: "another kind", data: `{"apiVersion":"v1","kind":"Pod"}`, wantErr: true},
		{name: "a Testcr of another version", data: strings.Replace(stored, `example.com/v1"`, `example.com/v2"`, 1), wantErr: true},
		{name: "a list with broken metadata in it", data: `{"apiVersion":"stable.example.com/v1","kind":"TestcrList","items":[{"metadata":7}]}`, wantErr: true},
		{name: "a list without a list", data: `{"apiVersion":"stable.example.com/v1","kind":"TestcrList","items":{}}`, wantErr: true},
		{name: "no JSON", data: `<html>`, wantErr: true},
		{name: "nothing", wantErr: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, gvk, err := objectDecoder{}.Decode([]byte(test.data), nil, nil)
			if test.wantErr {
				if err == nil {
					t.Errorf("decoded %v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if want := test.want.GetObjectKind().GroupVersionKind(); *gvk != want {
				t.Errorf("kind %s, want %s", gvk, want)
			}
		})
	}
}

func TestSplitEvent(t *testing.T) {
	tests := []struct {
		name, data string
		want       bool
	}{
		{name: "as the API server sends it", data: `{"type":"ADDED","object":{"a":{"b":1}}}` + "\n", want: true},
		{name: "a change", data: `{"type":"MODIFIED","object":{}}`, want: true},
		{name: "a deletion", data: `{"type":"DELETED","object":{}}`, want: true},
		{name: "a bookmark", data: `{"type":"BOOKMARK","object":{}}`, want: true},
		{name: "an error", data: `{"type":"ERROR","object":{"kind":"Status"}}`, want: true},
		{name: "the other order", data: `{"object":{},"type":"ADDED"}`},
		{name: "spaces", data: `{"type": "ADDED", "object": {}}`},
		{name: "an unknown type", data: `{"type":"RENAMED","object":{}}`},
		{name: "no object", data: `{"type":"ADDED"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got, want metav1.WatchEvent
			if ok := splitEvent([]byte(test.data), &got); ok != test.want {
				t.Fatalf("split: %t, want %t", ok, test.want)
			}
			got = metav1.WatchEvent{}
			if _, _, err := (eventDecoder{}).Decode([]byte(test.data), nil, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(test.data), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("event (-encoding/json +got):\n%s", diff)
			}
		})
	}
	t.Run("a field behind the object does not decode", func(t *testing.T) {
		var event metav1.WatchEvent
		if _, _, err := (eventDecoder{}).Decode([]byte(`{"type":"ADDED","object":`+stored+`,"x":{}}`), nil, &event); err != nil {
			t.Fatal(err)
		}
		if got, _, err := (objectDecoder{}).Decode(event.Object.Raw, nil, nil); err == nil {
			t.Errorf("decoded %v", got)
		}
	})
	t.Run("another object than an event is an error", func(t *testing.T) {
		if _, _, err := (eventDecoder{}).Decode([]byte(`{"type":"ADDED","object":{}}`), nil, &metav1.Status{}); err == nil {
			t.Error("there is none")
		}
	})
}

// newReader returns a reader of a server that answers with body.
func newReader(t *testing.T, code int, body string) (reader TestcrReader, requested func() *url.URL) {
	t.Helper()
	var last atomic.Pointer[url.URL]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r.URL)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	reader, err := NewTestcrReader(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return reader, last.Load
}

func TestTestcrReader_List(t *testing.T) {
	t.Run("a list has Testcrs", func(t *testing.T) {
		reader, requested := newReader(t, http.StatusOK,
			`{"apiVersion":"stable.example.com/v1","kind":"TestcrList","metadata":{"resourceVersion":"7"},"items":[`+stored+`]}`)
		got, err := reader.List(t.Context(), metav1.ListOptions{LabelSelector: "a=b", Limit: 500, ResourceVersion: "0"})
		if err != nil {
			t.Fatal(err)
		}
		list, ok := got.(*metav1.List)
		if !ok || list.ResourceVersion != "7" || len(list.Items) != 1 {
			t.Fatalf("list is %v", got)
		}
		if diff := cmp.Diff(runtime.Object(storedTestcr(t)), list.Items[0].Object); diff != "" {
			t.Errorf("item (-want +got):\n%s", diff)
		}
		want := "/apis/stable.example.com/v1/testcrs?labelSelector=a%3Db&limit=500&resourceVersion=0"
		if diff := cmp.Diff(want, requested().String()); diff != "" {
			t.Errorf("request (-want +got):\n%s", diff)
		}
	})
	t.Run("a refusal is the error that the API server sends", func(t *testing.T) {
		reader, _ := newReader(t, http.StatusGone, expired)
		if got, err := reader.List(t.Context(), metav1.ListOptions{}); !apierrors.IsResourceExpired(err) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestTestcrReader_Watch(t *testing.T) {
	type event struct {
		Type   watch.EventType
		Object string
	}
	var body strings.Builder
	for _, e := range []event{
		{watch.Added, stored}, {watch.Modified, malformed}, {watch.Deleted, stored}, {watch.Bookmark, bookmark}, {watch.Error, expired},
	} {
		fmt.Fprintf(&body, `{"type":%q,"object":%s}`+"\n", e.Type, e.Object)
	}
	reader, requested := newReader(t, http.StatusOK, body.String())
	w, err := reader.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "7", AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var got []event
	for e := range w.ResultChan() {
		of := ""
		switch object := e.Object.(type) {
		case *Testcr:
			of = fmt.Sprintf("%s %s %t", object.Name, object.ResourceVersion, object.Malformed)
		case *metav1.Status:
			of = object.Message
		}
		got = append(got, event{e.Type, of})
	}
	t.Run("each event has its object", func(t *testing.T) {
		want := []event{
			{watch.Added, "29b36e2c6835dded8a115aee874d1ddc 154030 false"},
			{watch.Modified, "b  true"},
			{watch.Deleted, "29b36e2c6835dded8a115aee874d1ddc 154030 false"},
			{watch.Bookmark, " 9 true"},
			{watch.Error, "too old"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	})
	t.Run("a watch is requested", func(t *testing.T) {
		want := url.Values{"watch": {"true"}, "resourceVersion": {"7"}, "allowWatchBookmarks": {"true"}}
		if diff := cmp.Diff(want, requested().Query()); diff != "" {
			t.Errorf("query (-want +got):\n%s", diff)
		}
	})
	t.Run("a refusal is the error that the API server sends", func(t *testing.T) {
		reader, _ := newReader(t, http.StatusGone, expired)
		if _, err := reader.Watch(t.Context(), metav1.ListOptions{}); !apierrors.IsResourceExpired(err) {
			t.Errorf("%v", err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestShortAnswers(t *testing.T) {
	const before = "application/json"
	tests := []struct{ name, method, want string }{
		{name: "a create is answered with the metadata", method: http.MethodPost, want: metadataOnly},
		{name: "an update is answered with the metadata", method: http.MethodPut, want: metadataOnly},
		{name: "a read is answered in full", method: http.MethodGet, want: before},
		{name: "a deletion is answered in full", method: http.MethodDelete, want: before},
		{name: "a patch is answered in full", method: http.MethodPatch, want: before},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var sent string
			done := errors.New("done")
			config := &rest.Config{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				sent = r.Header.Get("Accept")
				return nil, done
			})}
			short := ShortAnswers(config)
			if config.WrapTransport != nil {
				t.Error("the config was changed")
			}
			transport, err := rest.TransportFor(short)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequestWithContext(t.Context(), test.method, "http://localhost/", http.NoBody)
			r.Header.Set("Accept", before)
			if _, err := transport.RoundTrip(r); !errors.Is(err, done) { //nolint:bodyclose // there is no answer
				t.Fatal(err)
			}
			if sent != test.want || r.Header.Get("Accept") != before {
				t.Errorf("sent %q, want %q; the request has %q", sent, test.want, r.Header.Get("Accept"))
			}
		})
	}
	t.Run("client-go finds the transport below", func(t *testing.T) {
		below := http.DefaultTransport
		if got := (shortAnswers{below}).WrappedRoundTripper(); got != below {
			t.Errorf("it finds %v", got)
		}
	})
}
