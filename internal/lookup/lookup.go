// Package lookup answers over HTTP which Pod has an IP, a UID, a container ID or
// any other fact, from an index that is kept true by the Testcr informer. Every
// replica can serve it: it never asks the API server. docs/openapi.yaml
// describes it.
package lookup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/index"
	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// Informer is what a Lookup needs of a *testcrcache.Cache.
type Informer interface {
	AddEventHandlerWithOptions(cache.ResourceEventHandler, cache.HandlerOptions) (cache.ResourceEventHandlerRegistration, error)
	Unavailable() error
	AsOf() time.Time
	OnRollback(func(version string))
}

// Lookup is the HTTP API and the page.
type Lookup struct {
	version string // of the program
	testcrs Informer
	index   *index.Index
	synced  <-chan struct{}
	changes pulse
}

// New returns a Lookup whose handler is registered with the informer; version is
// the program's. The informer is run by the caller.
func New(ctx context.Context, testcrs Informer, version string) (*Lookup, error) {
	l := &Lookup{version: version, testcrs: testcrs, index: index.New()}
	logger := klog.FromContext(ctx)
	handle, err := testcrs.AddEventHandlerWithOptions(l.changes.after(indexer{l.index}.handler()), cache.HandlerOptions{Logger: &logger})
	if err != nil {
		return nil, fmt.Errorf("lookup: %w", err)
	}
	testcrs.OnRollback(l.index.SetVersion)
	l.synced = handle.HasSyncedChecker().Done()
	return l, nil
}

// Handler returns the handler of all paths of the API and the page.
func (l *Lookup) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/pods", l.whenReady(l.pods))
	mux.HandleFunc("GET /v1/pods/{namespace}/{name}", l.whenReady(l.pod))
	mux.HandleFunc("GET /v1/search", l.whenReady(l.search))
	mux.HandleFunc("GET /v1/summary", l.whenReady(l.summary))
	mux.HandleFunc("GET "+EventsPath, l.events)
	page := pageHandler(l.version)
	mux.Handle("GET /assets/", page)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if prefers(r, "text/plain", "text/html") == "text/html" {
			page.ServeHTTP(w, r)
			return
		}
		r.Header.Set("Accept", "text/plain")
		l.whenReady(l.front)(w, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, http.StatusNotFound, failure{Error: "no such path: there are / /v1/pods /v1/pods/{namespace}/{name} /v1/search /v1/summary " + EventsPath})
	})
	return mux
}

// ready returns why there is no view of the cluster to answer from, or nil.
func (l *Lookup) ready() error {
	if err := l.testcrs.Unavailable(); err != nil {
		return err
	}
	return l.Synced()
}

// Synced returns nil once the index holds the whole first list of Testcrs.
func (l *Lookup) Synced() error {
	select {
	case <-l.synced:
		return nil
	default:
		return errors.New("the caches are not synced yet: try again")
	}
}

func (l *Lookup) whenReady(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := l.ready(); err != nil {
			w.Header().Set("Retry-After", "1")
			reply(w, r, http.StatusServiceUnavailable, failure{Error: err.Error()})
			return
		}
		handler(w, r)
	}
}

// View says what an answer rests on.
type View struct {
	// ResourceVersion of the newest Testcr that the view holds or has seen go.
	ResourceVersion string `json:"resourceVersion"`
	// AgeSeconds is how long ago all of this was certainly so: at most 15 while
	// the API server can be heard, for it is silent when nothing happens.
	AgeSeconds float64 `json:"ageSeconds"`
	// Testcrs in the view.
	Testcrs int `json:"testcrs"`
}

func (l *Lookup) view(v index.View) View {
	age := max(0, time.Since(l.testcrs.AsOf()).Milliseconds())
	return View{ResourceVersion: v.ResourceVersion, AgeSeconds: float64(age) / 1000, Testcrs: v.Testcrs}
}

// Pod is one answer: what its Testcr says of it, and how far it can be relied on.
type Pod struct {
	Testcr string `json:"testcr"`         // name of the Testcr
	Live   bool   `json:"live"`           // neither completed nor terminating
	Note   string `json:"note,omitempty"` // why it may not be the Pod that is meant
	// Omitted are the fields that the Testcr has and this row of a list lacks.
	Omitted []string `json:"omitted,omitempty"`
	v1.TestcrSpec
}

func podOf(s *v1.TestcrSpec) Pod {
	name := v1.NameFor(types.NamespacedName{Namespace: s.Namespace, Name: s.PodName})
	return Pod{Testcr: name, Live: query.Rank(s) == 0, Note: query.Note(s), TestcrSpec: *s}
}

// shortened returns p without the fields that can be long.
func (p Pod) shortened() Pod {
	if len(p.Labels) > 0 {
		p.Labels, p.Omitted = nil, append(p.Omitted, "labels")
	}
	if len(p.Containers) > 0 {
		p.Containers, p.Omitted = nil, append(p.Omitted, "containers")
	}
	return p
}

// failure is the answer to what cannot be answered.
type failure struct {
	Error string `json:"error"`
	*View        // where the view was searched in vain
}

func (f failure) text(out *bytes.Buffer) { fmt.Fprintln(out, printable.Text(f.Error)) }

// answer is what has a form for people, too.
type answer interface{ text(out *bytes.Buffer) }

// reply writes an answer in the form that the request asks for. Only the rows of
// a list are sent one by one: everything else is encoded before the status.
func reply(w http.ResponseWriter, r *http.Request, status int, a answer) {
	if prefers(r, "application/json", "text/plain") == "text/plain" {
		var out bytes.Buffer
		a.text(&out)
		begin(w, status, "text/plain; charset=utf-8")
		_, _ = w.Write(out.Bytes()) // the caller is gone
		return
	}
	out, err := encode(a)
	if err != nil {
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	if list, ok := a.(rows); ok {
		list.send(w, status, bytes.TrimSuffix(out, []byte("}\n")))
		return
	}
	begin(w, status, "application/json")
	_, _ = w.Write(out)
}

// rows is an answer with a list of Pods. send completes the object that head
// begins, and sends it.
type rows interface {
	send(w http.ResponseWriter, status int, head []byte)
}

func begin(w http.ResponseWriter, status int, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	w.WriteHeader(status)
}

// encode returns the JSON of v and a line feed.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // nosniff, and never put into a page as it is
	err := encoder.Encode(v)
	return printable.JSON(out.Bytes()), err
}

// prefers returns which of the offered types the request asks for, the first
// where it does not say.
func prefers(r *http.Request, offered ...string) string {
	best, most := offered[0], 0.0
	for _, offer := range offered {
		if q := weight(r.Header.Values("Accept"), offer); q > most {
			best, most = offer, q
		}
	}
	return best
}

// weight returns how much Accept asks for a type: what the most specific of the
// ranges says that it is in (RFC 9110, 12.5.1).
func weight(accept []string, contentType string) float64 {
	family, _, _ := strings.Cut(contentType, "/")
	ranges := []string{"*/*", family + "/*", contentType}
	q, best := 0.0, -1
	for clause := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		name, params, err := mime.ParseMediaType(clause)
		specific := slices.Index(ranges, name)
		if err != nil || specific <= best {
			continue
		}
		q, best = 1, specific
		if s, ok := params["q"]; ok {
			q, _ = strconv.ParseFloat(s, 64) // 0 where it is none
		}
	}
	return q
}
