package lookup

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
)

// EventsPath is the path of the server-sent events. A request for it stays open.
const EventsPath = "/v1/events"

const (
	// eventsMin is the minimum time between two events, because the page requests its
	// rows again after each.
	eventsMin = 500 * time.Millisecond
	// eventsMax is the maximum time between two events. A client that receives none for
	// much longer has lost the connection.
	eventsMax = 5 * time.Second
	// eventsSilent is that time while a request to the API server is not answered.
	eventsSilent = 2 * time.Second
	// eventsWrite is the timeout for sending one event.
	eventsWrite = 10 * time.Second
	// eventsLife is the maximum age of a stream. Browsers then open another one, at
	// whose beginning the rights are checked again.
	eventsLife = 10 * time.Minute
)

// viewEvent is the data of the event "view".
type viewEvent struct {
	View
	Time time.Time `json:"time"` // of the server
	// Changes of Pods since the stream began. For a caller who may see only some
	// namespaces it counts the events of the stream instead.
	Changes int64 `json:"changes"`
}

// events sends "view" when the view has changed, and "unready" while there is none.
func (l *Lookup) events(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	seen, next := scopeOf(r), l.changes.next
	if seen.isRestricted() {
		next = eachEvent()
		// Until the Pods are listed there are no namespaces to review.
		if l.Synced() == nil && !l.within(w, r, func(*scope) {}) {
			return
		}
	}
	if r.Method == http.MethodHead {
		return // a stream has no end
	}
	end := time.After(eventsLife)
	began, changed := next()
	stream := http.NewResponseController(w)
	for last := began; ; {
		if l.Synced() == nil {
			l.confirm.ifOld(r.Context())
		}
		// The deadline of the server is for a whole response. Here each event has one.
		if err := stream.SetWriteDeadline(time.Now().Add(eventsWrite)); err != nil {
			return
		}
		if err := l.event(w, seen, last-began); err != nil || stream.Flush() != nil {
			return
		}
		pause := time.After(eventsMin)
		select {
		case <-r.Context().Done():
			return
		case <-pause:
		}
		silence := time.After(l.maxPause() - eventsMin) // a request is answered by now
		select {
		case <-r.Context().Done():
			return
		case <-end:
			return
		case <-changed:
		case <-silence:
		}
		last, changed = next()
	}
}

func (l *Lookup) maxPause() time.Duration {
	if l.confirm.isAsking() {
		return eventsSilent
	}
	return eventsMax
}

func (l *Lookup) event(w http.ResponseWriter, seen *scope, changes int64) error {
	var name string
	var data any
	if err := l.Synced(); err != nil {
		name, data = "unready", failure{Error: err.Error()}
	} else {
		name, data = "view", viewEvent{View: l.view(l.index.View(), seen), Time: time.Now().UTC(), Changes: changes}
	}
	text, err := json.Marshal(data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, text)
	return err
}

// eachEvent returns a substitute for pulse.next that counts the events of a stream. The
// time of an event must not depend on Pods that its reader may not see.
func eachEvent() func() (count int64, changed <-chan struct{}) {
	var events int64
	return func() (int64, <-chan struct{}) {
		events++
		return events, nil
	}
}

// pulse counts events, and wakes the goroutines that wait for the next one.
type pulse struct {
	mu    sync.Mutex
	count int64
	wake  chan struct{} // nil if no goroutine waits
}

// next returns the count, and a channel that is closed when it changes.
func (p *pulse) next() (count int64, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wake == nil {
		p.wake = make(chan struct{})
	}
	return p.count, p.wake
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}

// after returns a handler that calls beat after h.
func (p *pulse) after(h cache.ResourceEventHandler) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(obj any, first bool) { h.OnAdd(obj, first); p.beat() },
		UpdateFunc: func(was, now any) { h.OnUpdate(was, now); p.beat() },
		DeleteFunc: func(obj any) { h.OnDelete(obj); p.beat() },
	}
}
