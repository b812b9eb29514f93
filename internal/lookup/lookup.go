// Package lookup serves an HTTP API that finds the Pod of an IP, a UID, a container ID
// or any other fact. It answers from an index that the Pod informer keeps up to date, so
// every replica can serve it, also while Testcrs cannot be written. Its paths are
// described in docs/openapi.yaml.
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

// Pods is the part of a *podcache.Cache that a Lookup needs.
type Pods interface {
	AddEventHandler(cache.ResourceEventHandler, cache.HandlerOptions) ([]cache.DoneChecker, error)
	OnRollback(func(version string))
	AsOf() time.Time
	Confirm(context.Context) error
}

// Config configures a Lookup.
type Config struct {
	// Pods is the cache that is looked up. The caller runs it.
	Pods Pods
	// Addresses has the Services and nodes. It is nil if they are not looked at.
	Addresses Addresses
	// Version is that of the program.
	Version string
	// ClusterName is shown in the answers and on the page, unless it is "".
	ClusterName string
	// WritesFail returns since when no write of a Testcr has succeeded, and why. It
	// returns the zero time if writes succeed, or if that is not known. It may be nil.
	WritesFail func() (since time.Time, reason string)
	// Links lead from each Pod to other pages.
	Links []Link
	// History has the past. It is nil if that is not recorded.
	History History
}

// Lookup is the HTTP API and the page.
type Lookup struct {
	config  Config
	index   *index.Index
	synced  []cache.DoneChecker
	changes pulse
	confirm confirmer
	past    pastSlots
}

// New returns a Lookup whose handler is registered with the cache. Its requests to the
// API server end with ctx.
func New(ctx context.Context, config Config) (*Lookup, error) {
	if config.WritesFail == nil {
		config.WritesFail = func() (time.Time, string) { return time.Time{}, "" }
	}
	l := &Lookup{config: config, index: index.New(), confirm: confirmer{ctx: ctx, pods: config.Pods}, past: newPastSlots()}
	logger := klog.FromContext(ctx)
	var err error
	l.synced, err = config.Pods.AddEventHandler(l.changes.after(indexer{l.index}.handler()), cache.HandlerOptions{Logger: &logger})
	if err != nil {
		return nil, fmt.Errorf("lookup: %w", err)
	}
	config.Pods.OnRollback(l.index.SetVersion)
	return l, nil
}

// Changed wakes the readers of events. It is called after a change of Addresses.
func (l *Lookup) Changed() { l.changes.beat() }

// Handler returns the handler of all paths of the API and the page.
func (l *Lookup) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/pods", l.whenReady(l.pods))
	mux.HandleFunc("GET /v1/pods/{namespace}/{name}", l.whenReady(l.pod))
	mux.HandleFunc("GET /v1/search", l.whenReady(l.search))
	mux.HandleFunc("GET /v1/summary", l.whenReady(l.summary))
	mux.HandleFunc("GET "+EventsPath, l.events)
	mux.Handle("GET /assets/", assetHandler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Accept")
		if prefers(r, "text/plain", "text/html") == "text/html" {
			l.page(w, r)
			return
		}
		r.Header.Set("Accept", "text/plain")
		l.whenReady(l.front)(w, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if prefers(r, "application/json", "text/plain", "text/html") == "text/html" {
			missing(w, r)
			return
		}
		reply(w, r, http.StatusNotFound, failure{Error: "no such path: there are / /v1/pods /v1/pods/{namespace}/{name} /v1/search /v1/summary " + EventsPath})
	})
	return mux
}

// Synced returns nil once the index contains the Pods of the first lists, and Addresses
// what they have.
func (l *Lookup) Synced() error {
	for _, handler := range l.synced {
		select {
		case <-handler.Done():
		default:
			return errors.New("the caches are not synced yet: try again")
		}
	}
	if l.config.Addresses != nil {
		return l.config.Addresses.Synced()
	}
	return nil
}

func (l *Lookup) whenReady(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := l.Synced(); err != nil {
			w.Header().Set("Retry-After", "1")
			reply(w, r, http.StatusServiceUnavailable, failure{Error: err.Error()})
			return
		}
		l.confirm.ifOld(r.Context())
		handler(w, r)
	}
}

// Pod is one result: the spec of its Testcr, and whether it is likely the intended Pod.
type Pod struct {
	Testcr string `json:"testcr"`         // name of the Testcr
	Live   bool   `json:"live"`           // neither completed nor terminating
	State  string `json:"state"`          // failing, waiting, terminating, ready or completed
	Note   string `json:"note,omitempty"` // why it may not be the intended Pod
	// Links of a single Pod.
	Links []PodLink `json:"links,omitempty"`
	// Omitted contains the fields of the Testcr that this row of a list lacks.
	Omitted []string `json:"omitted,omitempty"`
	v1.TestcrSpec
}

// podOf returns the result for a Pod that matches terms.
func podOf(s *v1.TestcrSpec, terms []query.Term) Pod {
	name := v1.NameFor(types.NamespacedName{Namespace: s.Namespace, Name: s.PodName})
	return Pod{Testcr: name, Live: query.Rank(s) == 0, State: stateOf(s), Note: query.NoteFor(terms, s), TestcrSpec: *s}
}

// shortened returns p without the fields that may be long.
func (p Pod) shortened() Pod {
	if len(p.Labels) > 0 {
		p.Labels, p.Omitted = nil, append(p.Omitted, "labels")
	}
	if len(p.Containers) > 0 {
		p.Containers, p.Omitted = nil, append(p.Omitted, "containers")
	}
	return p
}

// failure is the body of an error.
type failure struct {
	Error string `json:"error"`
	*View        // of a search without results
	// Address is what is known of an IP that no Pod has.
	Address *Address `json:"address,omitempty"`
	formerly
}

func (f failure) text(out *bytes.Buffer) {
	fmt.Fprintln(out, printable.Text(f.Error))
	f.Address.text(out)
	f.formerly.text(out)
	if f.View != nil {
		f.notes(out)
	}
}

// textEncoder is a body that can be encoded as text for people.
type textEncoder interface{ text(out *bytes.Buffer) }

// reply writes a result in the format that the request accepts. Only the rows of a list
// are sent one by one: everything else is encoded before the status is sent.
func reply(w http.ResponseWriter, r *http.Request, status int, result textEncoder) {
	if prefers(r, "application/json", "text/plain") == "text/plain" {
		var out bytes.Buffer
		result.text(&out)
		begin(w, status, "text/plain; charset=utf-8")
		_, _ = w.Write(out.Bytes()) // the caller is gone
		return
	}
	out, err := encode(result)
	if err != nil {
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	if list, ok := result.(rows); ok {
		list.send(w, status, bytes.TrimSuffix(out, []byte("}\n")))
		return
	}
	begin(w, status, "application/json")
	_, _ = w.Write(out)
}

// rows is a body with a list of Pods. send sends head, the beginning of a JSON object, and
// the rest of it.
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
	encoder.SetEscapeHTML(false) // the type is JSON, and the page inserts no markup
	err := encoder.Encode(v)
	return printable.JSON(out.Bytes()), err
}

// prefers returns the offered type that the request prefers, by default the first.
func prefers(r *http.Request, offered ...string) string {
	best, most := offered[0], 0.0
	for _, offer := range offered {
		if q := weight(r.Header.Values("Accept"), offer); q > most {
			best, most = offer, q
		}
	}
	return best
}

// weight returns the weight of a type in Accept, which is that of the most specific range
// that contains it (RFC 9110, 12.5.1).
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
			q, _ = strconv.ParseFloat(s, 64) // 0 if it is no number
		}
	}
	return q
}
