// Package verify compares the Pods of a cluster with its Testcrs. It reads both
// itself, and has the rules of a Testcr from internal/oracle. It does not import the
// controller, so that it finds the controller's mistakes.
package verify

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

const (
	// lookEvery is the part of Config.Settle between two looks at what differs;
	// a look that takes longer than that is followed by as long a pause.
	lookEvery = 10
	// shortestPause is for a small Config.Settle.
	shortestPause = 50 * time.Millisecond
	// patience is how many times Config.Settle a Pod may take to stand still
	// for that long, and patienceAtLeast what it gets in any case.
	patience        = 6
	patienceAtLeast = 10 * time.Second

	// concurrentReads is how many Pods are looked at at once.
	concurrentReads = 10
	// Up to fewSuspects Pods are read one by one. More are as long as they are
	// few of all: to read an object by itself costs about as much as to list 20.
	fewSuspects = 100
	costOfRead  = 20
)

// Config is what to compare.
type Config struct {
	Pods    typedcorev1.PodsGetter
	Testcrs dynamic.Interface
	// Namespaces whose Pods are compared; none is all.
	Namespaces []string
	// Settle is how long a difference must last while the Pod does not change.
	Settle time.Duration
}

// Result is what was found.
type Result struct {
	Pods    int `json:"pods"`
	Testcrs int `json:"testcrs"` // the controller's, and others on a name that a Pod needs
	Foreign int `json:"foreign"` // others, which are in nobody's way
	// Differences are sorted by Pod. Unclear are the Pods that never stood still.
	Differences []Difference `json:"-"`
	Unclear     []Difference `json:"-"`
}

// Run compares. An error says that nothing can be told: a ReadError, or that of
// ctx.
func Run(ctx context.Context, config Config) (*Result, error) {
	c := newComparison(&apiServer{pods: config.Pods, testcrs: config.Testcrs.Resource(testcrs)}, &config)
	return c.run(ctx)
}

func newComparison(source cluster, config *Config) *comparison {
	return &comparison{cluster: source, scope: config.Namespaces, settle: config.Settle, few: fewSuspects}
}

func (c *comparison) run(ctx context.Context) (*Result, error) {
	err := c.first(ctx)
	if err == nil {
		err = c.untilSettled(ctx)
	}
	if err != nil {
		return nil, err
	}
	sortDifferences(c.result.Differences)
	sortDifferences(c.result.Unclear)
	return &c.result, nil
}

type comparison struct {
	cluster
	scope    scope
	settle   time.Duration
	few      int
	result   Result
	suspects []*suspect
}

// suspect is a Pod, a Testcr or both that were different when last looked at.
// That means little at first: the two LISTs are not of one moment, and the
// controller takes its time.
type suspect struct {
	name string // of the Testcr
	pod  string // namespace/name, "" where it is not known

	seen        bool
	state       state
	since       time.Time     // by then the state had been read
	stood       time.Duration // the state has lasted for at least that long, -1 after one look
	differences []Difference  // of the last look
}

// state is what has to stand still: not the Pod's resource version, which many
// controllers move every few seconds, but what its Testcr must say. Where no Pod
// is, it is the Testcr.
type state struct {
	want   digest
	testcr string // UID
}

// first lists all Pods and all Testcrs and finds the suspects. Of a Pod it keeps
// its key and a digest, some 200 bytes.
func (c *comparison) first(ctx context.Context) error {
	type summary struct {
		pod  string
		want digest
	}
	pods := map[string]summary{} // by the name of the Testcr
	err := c.eachPod(ctx, c.scope, func(pod *corev1.Pod) {
		want := oracle.FactsFor(pod)
		pods[oracle.NameFor(want.PodKey())] = summary{want.PodKey(), digestOf(want)}
	})
	if err != nil {
		return err
	}
	c.result.Pods = len(pods)
	err = c.eachTestcr(ctx, func(u *unstructured.Unstructured) {
		have := read(u)
		pod, needed := pods[have.Name]
		delete(pods, have.Name)
		switch {
		case needed:
			c.result.Testcrs++
			if digestOf(&have.Facts) != pod.want {
				c.suspects = append(c.suspects, &suspect{name: have.Name, pod: pod.pod})
			}
		case !have.Managed:
			c.result.Foreign++
		case c.scope.covers(have):
			c.result.Testcrs++
			s := &suspect{name: have.Name}
			if have.IsNamedForPod() {
				s.pod = have.PodKey()
			}
			c.suspects = append(c.suspects, s)
		}
	})
	for name, pod := range pods {
		c.suspects = append(c.suspects, &suspect{name: name, pod: pod.pod})
	}
	return err
}

// untilSettled looks at the suspects again and again, until each is right or has
// been wrong, while it stood still, for long enough.
func (c *comparison) untilSettled(ctx context.Context) error {
	giveUp := time.Now().Add(max(patience*c.settle, patienceAtLeast))
	for len(c.suspects) > 0 {
		began := time.Now()
		if err := c.look(ctx); err != nil {
			return err
		}
		var open []*suspect
		for _, s := range c.suspects {
			switch {
			case len(s.differences) == 0:
			case s.stood >= c.settle:
				c.result.Differences = append(c.result.Differences, s.differences...)
			default:
				open = append(open, s)
			}
		}
		c.suspects = open
		klog.FromContext(ctx).V(2).Info("Looked again", "took", time.Since(began), "undecided", len(open), "differences", len(c.result.Differences))
		if time.Now().After(giveUp) {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(c.settle/lookEvery, time.Since(began), shortestPause)):
		}
	}
	for _, s := range c.suspects {
		unclear := s.differences[0] // one stands for all
		unclear.Kind = Unclear
		c.result.Unclear = append(c.result.Unclear, unclear)
	}
	return nil
}

// look reads all suspects again, in the cheaper of two ways.
func (c *comparison) look(ctx context.Context) error {
	if len(c.suspects) <= max(c.few, (c.result.Pods+c.result.Testcrs)/costOfRead/2) {
		return c.lookAtEach(ctx)
	}
	return c.lookAtAll(ctx)
}

func (c *comparison) lookAtEach(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workqueue.ParallelizeUntil(ctx, concurrentReads, len(c.suspects), func(i int) {
		if err := c.lookAt(ctx, c.suspects[i]); err != nil {
			cancel(err)
		}
	})
	return context.Cause(ctx)
}

func (c *comparison) lookAt(ctx context.Context, s *suspect) error {
	asked := time.Now()
	var want *oracle.Facts
	if s.pod != "" {
		pod, err := c.pod(ctx, s.pod)
		if err != nil {
			return err
		}
		if pod != nil {
			want = oracle.FactsFor(pod)
		}
	}
	u, err := c.testcr(ctx, s.name)
	if err != nil {
		return err
	}
	var have *oracle.Stored
	if u != nil {
		have = read(u)
	}
	s.judge(c.scope, want, have, asked, time.Now())
	return nil
}

// lookAtAll lists everything again, for the suspects' sake: of their Pods it
// keeps all that their Testcrs must say, as JSON, which takes the least memory.
func (c *comparison) lookAtAll(ctx context.Context) error {
	asked := time.Now()
	suspects := make(map[string]*suspect, len(c.suspects))
	for _, s := range c.suspects {
		suspects[s.name] = s
	}
	wants := map[string][]byte{}
	err := c.eachPod(ctx, c.scope, func(pod *corev1.Pod) {
		want := oracle.FactsFor(pod)
		if s := suspects[oracle.NameFor(want.PodKey())]; s != nil {
			s.pod = want.PodKey()
			wants[s.name] = want.JSON()
		}
	})
	if err != nil {
		return err
	}
	judge := func(s *suspect, have *oracle.Stored) error {
		var want *oracle.Facts
		if text, ok := wants[s.name]; ok {
			want = &oracle.Facts{}
			if err := json.Unmarshal(text, want); err != nil { // integers become int64, as in have
				return err
			}
		}
		s.judge(c.scope, want, have, asked, time.Now())
		delete(suspects, s.name)
		return nil
	}
	var failed error
	err = c.eachTestcr(ctx, func(u *unstructured.Unstructured) {
		if s := suspects[u.GetName()]; s != nil && failed == nil {
			failed = judge(s, read(u))
		}
	})
	if err != nil {
		return err
	}
	for _, s := range suspects {
		if failed == nil {
			failed = judge(s, nil)
		}
	}
	return failed
}

// judge takes note of what a look found that began at asked and ended at answered.
func (s *suspect) judge(scope scope, want *oracle.Facts, have *oracle.Stored, asked, answered time.Time) {
	s.differences = scope.compare(want, have)
	var now state
	if want != nil {
		now.want = digestOf(want)
	} else if have != nil {
		now.testcr = have.UID
	}
	if !s.seen || now != s.state {
		s.seen, s.state, s.since, s.stood = true, now, answered, -1
		return
	}
	s.stood = asked.Sub(s.since)
}
