package auditor

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

const (
	// unseenFor is for how long after a gap a write may still show what the Pod
	// was meanwhile. A write that is later than that is not excused by the gap.
	unseenFor = time.Minute
	// keptFor is for how long the history of what is gone is kept, so that a late
	// write is recognised.
	keptFor = 5 * time.Minute
	// keptVersions is how many versions before the one shown are kept of what
	// changes for ever.
	keptVersions = 100
	// maxFindings bounds a report: the first findings show the cause.
	maxFindings = 100
)

// checker puts two logs into one order and judges it. Its methods are called by
// the two watches, each in the order of its own events.
type checker struct {
	mu        sync.Mutex
	histories map[string]*history // by the name of the Testcr
	unjudged  map[string]struct{} // names with writes that wait for the Pods' log
	podsAt    uint64              // the Pods' log is known up to here
	testcrsAt uint64
	podGaps   []gap
	gaps      []Gap

	epochs []Epoch             // after the first
	before map[string]struct{} // UIDs of Pods that earlier epochs have counted

	allowed  allowances
	findings []Finding
	found    int // more than maxFindings are only counted
	samples  []Sample
	pods     int // UIDs seen
	writes   int
	judged   int
}

// gap is what a watch has not told: versions after from, up to to.
type gap struct {
	from, to uint64
	until    time.Time
}

// Gap is a gap in the report.
type Gap struct {
	Resource string    `json:"resource"`
	From     uint64    `json:"from"`
	To       uint64    `json:"to"`
	At       time.Time `json:"at"`
}

// Epoch is the begin of an epoch in the report: etcd was put back to an older
// state. The logs of the epoch before end at the versions Pods and Testcrs.
type Epoch struct {
	At       time.Time `json:"at"`
	Pods     uint64    `json:"pods"`
	Testcrs  uint64    `json:"testcrs"`
	Unjudged int       `json:"unjudged"` // writes of the epoch before: the log of Pods ends before them
}

// Sample is how long one change of a Pod took to be shown.
type Sample struct {
	Begin time.Time
	Took  time.Duration
}

func newChecker() *checker {
	return &checker{histories: map[string]*history{}, unjudged: map[string]struct{}{}, allowed: newAllowances()}
}

// of returns the history of a name. One that begins now began as absent; what
// was in earlier gaps is not known.
func (c *checker) of(name string) *history {
	h := c.histories[name]
	if h == nil {
		h = &history{testcr: name, versions: []version{{}}, born: map[string]struct{}{}}
		for _, g := range c.podGaps {
			h.versions = append(h.versions, version{at: g.from, unseen: true, until: g.until}, version{at: g.from})
		}
		c.histories[name] = h
	}
	return h
}

// podEvent takes in one event of the watch of Pods.
func (c *checker) podEvent(pod *corev1.Pod, at uint64, deleted bool, heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.podsAt = max(c.podsAt, at)
	h := c.of(oracle.NameFor(oracle.PodKey(pod)))
	h.pod = oracle.PodKey(pod)
	if _, known := h.born[string(pod.UID)]; !known && h.now.uid != string(pod.UID) && !deleted {
		h.born[string(pod.UID)] = struct{}{}
		c.count(pod)
	}
	c.podIs(h, pod, at, deleted, heard)
}

func (c *checker) count(pod *corev1.Pod) {
	if _, counted := c.before[string(pod.UID)]; !counted {
		c.pods++
	}
}

func (c *checker) podIs(h *history, pod *corev1.Pod, at uint64, deleted bool, heard time.Time) {
	before := h.now.text
	h.now, h.podAt = expect(pod), at
	if deleted {
		h.now, h.podAt = state{}, 0
	}
	h.add(version{state: h.now, at: at})
	c.changed(h, before, heard)
}

func (c *checker) changed(h *history, before string, heard time.Time) {
	if h.now.text != before {
		h.waiting = append(h.waiting, change{h.now.text, heard})
	}
	c.sample(h.compare(heard), heard)
}

func (c *checker) sample(waited []change, heard time.Time) {
	for _, w := range waited {
		c.samples = append(c.samples, Sample{Begin: w.heard, Took: heard.Sub(w.heard)})
	}
}

// podList takes in all Pods as they are at a version, after the watch could not
// be continued.
func (c *checker) podList(pods []corev1.Pod, at uint64, heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := gap{from: c.podsAt, to: at, until: heard.Add(unseenFor)}
	c.gaps = append(c.gaps, Gap{"pods", g.from, g.to, heard})
	there := make(map[string]struct{}, len(pods))
	for i := range pods {
		pod := &pods[i]
		name := oracle.NameFor(oracle.PodKey(pod))
		there[name] = struct{}{}
		h, version := c.of(name), versionOf(pod.ResourceVersion)
		h.pod = oracle.PodKey(pod)
		if h.podAt == version {
			continue // nothing has happened to it
		}
		if h.now.uid != string(pod.UID) {
			c.count(pod)
		}
		c.missed(h, g)
		// Its own version may be from before the gap where it is new to us.
		c.podIs(h, pod, max(version, g.from), false, heard)
	}
	for name, h := range c.histories {
		if _, ok := there[name]; ok {
			continue
		}
		before := h.now.text
		c.missed(h, g)
		h.now, h.podAt = state{}, 0
		h.add(version{at: g.from})
		c.changed(h, before, heard)
	}
	c.podGaps = append(c.podGaps, g)
	c.podsAt = max(c.podsAt, at)
}

// missed notes that anything may have been in the gap: the Pod that was there
// may have gone on, others may have come.
func (*checker) missed(h *history, g gap) {
	clear(h.born)
	h.versions = append(h.versions, version{at: g.from, unseen: true, until: g.until})
}

// testcrEvent takes in one event of the watch of Testcrs.
func (c *checker) testcrEvent(t *testcrOf, at uint64, deleted bool, heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.testcrsAt = max(c.testcrsAt, at)
	h := c.of(t.Metadata.Name)
	w := writeOf(t, at, heard)
	if deleted {
		w.state, w.emptied = state{}, false
	}
	h.foreign = !deleted && !t.managed()
	c.wrote(h, w)
}

func (c *checker) wrote(h *history, w write) {
	h.says, h.uid, h.saysAt = w.state, w.uid, w.at
	if w.absent() && !w.emptied {
		h.uid, h.saysAt = "", 0
	}
	h.writes = append(h.writes, w)
	c.unjudged[h.testcr] = struct{}{}
	c.writes++
	c.sample(h.compare(w.heard), w.heard)
}

// testcrList takes in all Testcrs as they are at a version. What was written and
// undone in between stays unknown.
func (c *checker) testcrList(testcrs []testcrOf, at uint64, heard time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.testcrsAt
	c.gaps = append(c.gaps, Gap{"testcrs", from, at, heard})
	there := make(map[string]struct{}, len(testcrs))
	gone := func(h *history) {
		h.foreign = false
		c.wrote(h, write{at: at, uid: h.uid, heard: heard, gap: max(from, 1)})
	}
	for i := range testcrs {
		t := &testcrs[i]
		there[t.Metadata.Name] = struct{}{}
		h, version := c.of(t.Metadata.Name), versionOf(t.Metadata.ResourceVersion)
		if h.saysAt == version {
			continue
		}
		if h.uid != "" && h.uid != string(t.Metadata.UID) {
			gone(h) // and created again
		}
		w := writeOf(t, version, heard)
		h.foreign = !t.managed()
		if from == 0 { // who wrote it before the auditor began is not known
			w.gap = 1
		}
		c.wrote(h, w)
	}
	for name, h := range c.histories {
		if _, ok := there[name]; !ok && h.uid != "" {
			gone(h)
		}
	}
	c.testcrsAt = max(c.testcrsAt, at)
}

// podsKnown says that the Pods' log is complete up to at.
func (c *checker) podsKnown(at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.podsAt = max(c.podsAt, at)
}

func (c *checker) testcrsKnown(at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.testcrsAt = max(c.testcrsAt, at)
}

// newEpoch judges what can be judged and forgets all histories: the versions that
// come next are smaller, and the objects may be older. The first lists of the
// epoch are gaps, as the very first ones are, so for unseenFor a write may show
// what a Pod had before the restore. Pods born after the lists have no excuse.
func (c *checker) newEpoch(now time.Time) {
	c.judge(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	e := Epoch{At: now, Pods: c.podsAt, Testcrs: c.testcrsAt}
	before := map[string]struct{}{}
	for _, h := range c.histories {
		e.Unjudged += len(h.writes)
		for i := range h.versions {
			before[h.versions[i].uid] = struct{}{}
		}
	}
	c.epochs, c.before = append(c.epochs, e), before
	c.histories, c.unjudged, c.podGaps = map[string]*history{}, map[string]struct{}{}, nil
	c.podsAt, c.testcrsAt = 0, 0
	c.allowed = newAllowances() // a version of the epoch before is another write in this one
}

// judge decides about all writes for which the Pods' log is complete, and
// forgets what is long gone. Whoever else writes Testcrs must have said so.
func (c *checker) judge(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.unjudged {
		h := c.histories[name]
		n := 0
		for ; n < len(h.writes) && h.writes[n].at <= c.podsAt; n++ {
			c.judgeOne(h, &h.writes[n])
		}
		if h.writes = h.writes[n:]; len(h.writes) == 0 {
			delete(c.unjudged, name)
		}
	}
	for name, h := range c.histories {
		switch {
		case h.now.absent() && h.says.absent() && len(h.writes) == 0 && now.Sub(h.heard) > keptFor:
			delete(c.histories, name)
		case h.shown > 2*keptVersions:
			h.versions = slices.Delete(h.versions, 0, h.shown-keptVersions)
			h.shown = keptVersions
		}
	}
	c.podGaps = slices.DeleteFunc(c.podGaps, func(g gap) bool { return now.After(g.until) })
}

// rested notes that all was well at rest: what was missed before is no excuse any
// more, since nothing was under way.
func (c *checker) rested() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.podGaps = nil
	for _, h := range c.histories {
		for i := range h.versions {
			h.versions[i].until = time.Time{}
		}
	}
}

func (c *checker) judgeOne(h *history, w *write) {
	c.judged++
	if c.allowed.permits(w) {
		return
	}
	if kind, detail := h.judge(w); kind != "" {
		c.report(Finding{Kind: kind, Testcr: h.testcr, Pod: h.pod, Version: w.at, At: w.heard, Detail: detail})
	}
}

func (c *checker) report(f Finding) {
	f.Epoch = len(c.epochs)
	if c.found++; len(c.findings) < maxFindings {
		c.findings = append(c.findings, f)
	}
}

// drift returns how many Testcrs are not what their Pods call for, and since
// when the oldest of them.
func (c *checker) drift() (n int, oldest time.Time, names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.histories {
		if h.differs.IsZero() {
			continue
		}
		if n++; oldest.IsZero() || h.differs.Before(oldest) {
			oldest = h.differs
		}
		if len(names) < 2 {
			names = append(names, fmt.Sprintf("%s (%s) since %s: ", h.pod, h.testcr, h.differs.Format("15:04:05.000"))+
				difference("pod ", cmp.Or(h.now.text, "absent"), ", testcr ", cmp.Or(h.says.text, "absent")))
		}
	}
	return n, oldest, names
}
