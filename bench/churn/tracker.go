package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

const (
	podsPath    = "/api/v1/pods"
	testcrsPath = "/apis/stable.example.com/v1/testcrs"
	// absent is what a Pod or Testcr that is not there says.
	absent = uint64(0)
	// ahead is how many events may wait to be decoded; a burst has 20,000.
	ahead = 1 << 17
)

// tracker follows Pods and Testcrs by a plain watch of each, and tells how long
// after a change of a Pod its Testcr says as much, both as they arrived here. A
// change that another one overtakes waits for what the other calls for.
type tracker struct {
	events chan event
	seed   maphash.Seed

	mu    sync.Mutex
	err   error
	lives map[string]*life // by the Testcr's name
	stats
	onTerminating func(namespace, name string)
}

// stats are what is counted between two calls of take.
type stats struct {
	lags     []lag
	needless int // writes of what was there already
	pods     int // there now
	testcrs  int
	waiting  int // changes that no Testcr tells yet
	lastPod  time.Time
	lastTold time.Time
}

type event struct {
	at   time.Time
	line []byte
	pod  bool
}

// life is one Pod and its Testcr, by digests of what they say.
type life struct {
	pod, testcr uint64
	waiting     []change
}

type change struct {
	at   time.Time
	what uint64
	kind string
}

type lag struct {
	kind string
	took time.Duration
}

func newTracker(ctx context.Context, c *harness.Cluster, podVersion, testcrVersion string) (*tracker, error) {
	t := &tracker{events: make(chan event, ahead), seed: maphash.MakeSeed(), lives: map[string]*life{}}
	ended := func(err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.err == nil {
			t.err = err
		}
	}
	for _, w := range []struct {
		path, version string
		pod           bool
	}{{podsPath, podVersion, true}, {testcrsPath, testcrVersion, false}} {
		err := c.Lines(ctx, w.path, w.version, func(at time.Time, line []byte) {
			t.events <- event{at: at, line: slices.Clone(line), pod: w.pod}
		}, ended)
		if err != nil {
			return nil, err
		}
	}
	go func() {
		for {
			select {
			case e := <-t.events:
				if err := t.follow(e); err != nil {
					ended(err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return t, nil
}

func (t *tracker) follow(e event) error {
	var told struct {
		Type   watch.EventType `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if err := json.Unmarshal(e.line, &told); err != nil {
		return err
	}
	if told.Type == watch.Error || told.Type == watch.Bookmark {
		return fmt.Errorf("a watch says %.200s", e.line)
	}
	if !e.pod {
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal(told.Object, &u.Object); err != nil {
			return err
		}
		what, err := t.digest(u)
		if told.Type == watch.Deleted {
			what = absent
		}
		t.testcrTold(e.at, u.GetName(), what)
		return err
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(told.Object, pod); err != nil {
		return err
	}
	u := harness.TestcrOf(pod)
	what, err := t.digest(u)
	if told.Type == watch.Deleted {
		what = absent
	}
	t.podTold(e.at, u.GetName(), what, kindOf(told.Type, pod), pod)
	return err
}

func (t *tracker) digest(u *unstructured.Unstructured) (uint64, error) {
	data, err := json.Marshal([]any{u.Object["spec"], u.GetLabels()})
	return maphash.Bytes(t.seed, data) | 1, err // never absent
}

// The kinds of changes in the life of a Pod.
var kinds = []string{"created", "scheduled", "ready", "terminating", "gone"}

func kindOf(event watch.EventType, pod *corev1.Pod) string {
	switch {
	case event == watch.Deleted:
		return kinds[4]
	case pod.DeletionTimestamp != nil:
		return kinds[3]
	case pod.Status.PodIP != "":
		return kinds[2]
	case pod.Spec.NodeName != "":
		return kinds[1]
	default:
		return kinds[0]
	}
}

func (t *tracker) of(name string) *life {
	l := t.lives[name]
	if l == nil {
		l = &life{}
		t.lives[name] = l
	}
	return l
}

func (t *tracker) podTold(at time.Time, name string, what uint64, kind string, pod *corev1.Pod) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(name)
	if what == l.pod {
		return
	}
	t.pods += present(what) - present(l.pod)
	l.pod, t.lastPod = what, at
	l.waiting = append(l.waiting, change{at, what, kind})
	t.waiting++
	if what == l.testcr { // the other watch was faster
		t.settle(l, len(l.waiting)-1, at)
	}
	t.forget(name, l)
	if kind == kinds[3] && t.onTerminating != nil {
		t.onTerminating(pod.Namespace, pod.Name)
	}
}

func (t *tracker) testcrTold(at time.Time, name string, what uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(name)
	if what == l.testcr && what != absent {
		t.needless++
	}
	t.testcrs += present(what) - present(l.testcr)
	l.testcr, t.lastTold = what, at
	for i, c := range slices.Backward(l.waiting) {
		if c.what == what {
			t.settle(l, i, at)
			break
		}
	}
	t.forget(name, l)
}

func present(what uint64) int {
	if what == absent {
		return 0
	}
	return 1
}

// settle records the changes up to the i-th as told.
func (t *tracker) settle(l *life, i int, at time.Time) {
	for _, c := range l.waiting[:i+1] {
		t.lags = append(t.lags, lag{c.kind, max(0, at.Sub(c.at))})
	}
	t.waiting -= i + 1
	l.waiting = l.waiting[i+1:]
}

func (t *tracker) forget(name string, l *life) {
	if l.pod == absent && l.testcr == absent && len(l.waiting) == 0 {
		delete(t.lives, name)
	}
}

// take returns what was counted since the last call.
func (t *tracker) take() stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.stats
	t.lags, t.needless = nil, 0
	return taken
}

// look returns the counts as they are, and for how long the oldest change waits.
func (t *tracker) look() (now stats, oldest time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := time.Now()
	for _, l := range t.lives {
		if len(l.waiting) > 0 {
			oldest = max(oldest, at.Sub(l.waiting[0].at))
		}
	}
	now = t.stats
	now.lags = nil
	return now, oldest, t.err
}
