package auditor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// watchSeconds is the timeout of one watch. The API server sends a bookmark 2 s
	// before it ends, so this bounds how long writes wait to be judged when nothing
	// happens.
	watchSeconds = 3
	// retryAfter is the pause after a request that failed.
	retryAfter = 100 * time.Millisecond
	// requestTimeout bounds a request against a server that has gone silent.
	requestTimeout = 20 * time.Second
)

// errExpired says that the API server no longer knows what came after a version.
var errExpired = errors.New("the version is too old to be watched from")

// errRestored ends a request of an earlier epoch: its versions count no longer.
var errRestored = errors.New("etcd was restored")

// epochs counts the restores of etcd. Resource versions of one epoch have one
// order; those of two epochs have none.
type epochs struct {
	mu sync.RWMutex
	n  int
}

func (e *epochs) current() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.n
}

// during runs f, unless the epoch has ended. It does not end before f returns.
func (e *epochs) during(epoch int, f func() error) error {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.n != epoch {
		return errRestored
	}
	return f()
}

// next runs f between two epochs.
func (e *epochs) next(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	f()
}

// list is a LIST of any resource.
type list struct {
	Metadata metav1.ListMeta `json:"metadata"`
	Items    json.RawMessage `json:"items"`
}

// event is one line of a watch.
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// stream is one resource, watched with plain requests.
type stream struct {
	client *http.Client
	url    string       // of the resource
	heard  atomic.Int64 // when the API server last answered, in Unix nanoseconds
	at     string       // resource version up to which all was received, "" when it has to be listed
	epochs *epochs
	epoch  int // of at
	// What becomes of that.
	listed func(items json.RawMessage, at uint64, heard time.Time) error
	told   func(kind string, object json.RawMessage, heard time.Time) (version string, err error)
	known  func(at uint64)
	failed func(error)
}

// run lists and watches until ctx ends.
func (s *stream) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.once(ctx)
		switch {
		case err == nil:
			continue
		case errors.Is(err, errExpired), errors.Is(err, errRestored):
			s.at = ""
			continue
		case ctx.Err() == nil:
			s.failed(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}

func (s *stream) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if epoch := s.epochs.current(); epoch != s.epoch {
		s.epoch, s.at = epoch, ""
	}
	if s.at != "" {
		return s.watch(ctx)
	}
	all, heard, err := s.list(ctx)
	if err != nil {
		return err
	}
	err = s.epochs.during(s.epoch, func() error { return s.listed(all.Items, versionOf(all.Metadata.ResourceVersion), heard) })
	if err != nil {
		return err
	}
	s.at = all.Metadata.ResourceVersion
	return nil
}

// list reads all objects as they are at this moment.
func (s *stream) list(ctx context.Context) (all list, heard time.Time, err error) {
	body, err := s.get(ctx, nil)
	if err != nil {
		return all, heard, err
	}
	defer func() { _ = body.Close() }()
	err = json.NewDecoder(body).Decode(&all)
	return all, time.Now(), err
}

func (s *stream) watch(ctx context.Context) error {
	body, err := s.get(ctx, url.Values{
		"watch": {"1"}, "resourceVersion": {s.at}, "allowWatchBookmarks": {"1"}, "timeoutSeconds": {strconv.Itoa(watchSeconds)},
	})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	for lines := json.NewDecoder(body); ; {
		var e event
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.epochs.during(s.epoch, func() error { return s.take(&e) }); err != nil {
			return err
		}
	}
}

func (s *stream) take(e *event) error {
	s.heard.Store(time.Now().UnixNano())
	switch e.Type {
	case "ERROR":
		status := metav1.Status{}
		if err := json.Unmarshal(e.Object, &status); err != nil {
			return err
		}
		if status.Code == http.StatusGone {
			return errExpired
		}
		return fmt.Errorf("watch: %s", status.Message)
	case "BOOKMARK":
		bookmark := metav1.PartialObjectMetadata{}
		if err := json.Unmarshal(e.Object, &bookmark); err != nil {
			return err
		}
		s.at = bookmark.ResourceVersion
		s.known(versionOf(s.at))
		return nil
	default:
		at, err := s.told(e.Type, e.Object, time.Now())
		if err == nil {
			s.at = at
		}
		return err
	}
}

func (s *stream) get(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "auditor")
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		s.heard.Store(time.Now().UnixNano())
		return response.Body, nil
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // only for the message
	if response.StatusCode == http.StatusGone {
		return nil, errExpired
	}
	return nil, fmt.Errorf("GET %s: %s: %s", s.url, response.Status, strings.TrimSpace(string(text)))
}

// versionOf reads a resource version. All API servers write decimal numbers.
func versionOf(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
