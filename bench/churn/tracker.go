package churn

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
	// absent is the digest of a Pod or Testcr that does not exist.
	absent = uint64(0)
	// maxEvents is the number of events that can wait for decoding. A burst has
	// 20,000.
	maxEvents = 1 << 17
)

// tracker measures the time from the event of a Pod to the first event of its
// Testcr that contains the change or a newer one. It has a watch of each kind
// and records arrival times before it decodes events.
type tracker struct {
	events chan event
	seed   maphash.Seed

	mu    sync.Mutex
	err   error
	lives map[string]*life // by the Testcr's name
	stats
	onTerminating func(namespace, name string)
}

// stats are the counts since the last call of take, and the present state.
type stats struct {
	lags       []lag
	needless   int // writes without a change
	pods       int // that exist
	testcrs    int
	waiting    int // changes that no Testcr contains yet
	lastPod    time.Time
	lastTestcr time.Time
}

type event struct {
	at   time.Time
	line []byte
	pod  bool
}

// life is the state of a Pod and its Testcr, by digests of the Testcr.
type life struct {
	pod, testcr uint64
	waiting     []change
}

type change struct {
	at     time.Time
	digest uint64
	kind   string
}

type lag struct {
	kind string
	took time.Duration
}

func newTracker(ctx context.Context, c *harness.Cluster, podVersion, testcrVersion string) (*tracker, error) {
	t := &tracker{events: make(chan event, maxEvents), seed: maphash.MakeSeed(), lives: map[string]*life{}}
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
	}{{harness.PodsPath, podVersion, true}, {harness.TestcrsPath, testcrVersion, false}} {
		err := c.Watch(ctx, w.path, w.version, func(at time.Time, line []byte) {
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
				if err := t.observe(e); err != nil {
					ended(err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return t, nil
}

func (t *tracker) observe(e event) error {
	var decoded struct {
		Type   watch.EventType `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if err := json.Unmarshal(e.line, &decoded); err != nil {
		return err
	}
	if decoded.Type == watch.Error || decoded.Type == watch.Bookmark {
		return fmt.Errorf("unexpected event %.200s", e.line)
	}
	if !e.pod {
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal(decoded.Object, &u.Object); err != nil {
			return err
		}
		digest, err := t.digest(u)
		if decoded.Type == watch.Deleted {
			digest = absent
		}
		t.observeTestcr(e.at, u.GetName(), digest)
		return err
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(decoded.Object, pod); err != nil {
		return err
	}
	u := harness.TestcrOf(pod)
	digest, err := t.digest(u)
	if decoded.Type == watch.Deleted {
		digest = absent
	}
	t.observePod(e.at, u.GetName(), digest, kindOf(decoded.Type, pod), pod)
	return err
}

func (t *tracker) digest(u *unstructured.Unstructured) (uint64, error) {
	data, err := json.Marshal([]any{u.Object["spec"], u.GetLabels()})
	return maphash.Bytes(t.seed, data) | 1, err // not absent
}

// kinds are the changes in the life of a Pod.
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

func (t *tracker) observePod(at time.Time, name string, digest uint64, kind string, pod *corev1.Pod) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(name)
	if digest == l.pod {
		return
	}
	t.pods += present(digest) - present(l.pod)
	l.pod, t.lastPod = digest, at
	l.waiting = append(l.waiting, change{at, digest, kind})
	t.waiting++
	if digest == l.testcr { // its event arrived first
		t.settle(l, len(l.waiting)-1, at)
	}
	t.forget(name, l)
	if kind == kinds[3] && t.onTerminating != nil {
		t.onTerminating(pod.Namespace, pod.Name)
	}
}

func (t *tracker) observeTestcr(at time.Time, name string, digest uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.of(name)
	if digest == l.testcr && digest != absent {
		t.needless++
	}
	t.testcrs += present(digest) - present(l.testcr)
	l.testcr, t.lastTestcr = digest, at
	for i, c := range slices.Backward(l.waiting) {
		if c.digest == digest {
			t.settle(l, i, at)
			break
		}
	}
	t.forget(name, l)
}

func present(digest uint64) int {
	if digest == absent {
		return 0
	}
	return 1
}

// settle records the lag of the changes up to the i-th.
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

// take returns the stats and resets the counts.
func (t *tracker) take() stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.stats
	t.lags, t.needless = nil, 0
	return taken
}

// state returns the stats without lags, and the age of the oldest change that no
// Testcr contains.
func (t *tracker) state() (now stats, oldest time.Duration, err error) {
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
