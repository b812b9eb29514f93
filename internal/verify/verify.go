// Package verify compares the Pods of a cluster with its Testcrs. It uses the rules of
// internal/oracle and does not import the controller, so that it finds its bugs.
package verify

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
)

const (
	// Differences are read again every Config.Settle/lookEvery. If a read takes longer,
	// the pause is as long as the read.
	lookEvery = 10
	// shortestPause bounds the load if Config.Settle is small.
	shortestPause = 50 * time.Millisecond
	// A Pod that keeps changing for patience times Config.Settle, and for at least
	// patienceAtLeast, is reported as unclear.
	patience        = 6
	patienceAtLeast = 10 * time.Second

	// concurrentReads bounds the load on the API server.
	concurrentReads = 10
	// Up to fewSuspects Pods are read one by one. More are listed if that is cheaper:
	// a read of one object costs about as much as a list of costOfRead.
	fewSuspects = 100
	costOfRead  = 20
)

// Config configures a comparison.
type Config struct {
	Pods    typedcorev1.PodsGetter
	Testcrs dynamic.Interface
	// Owners reads ReplicaSets and Jobs, as a controller with --owners does. It may be
	// nil.
	Owners metadata.Interface
	// Namespaces whose Pods are compared. Without any, all Pods are.
	Namespaces []string
	// Settle is the minimum time that a difference must last, while the Pod does not
	// change, to be reported.
	Settle time.Duration
}

// Result is the result of a comparison.
type Result struct {
	Pods    int `json:"pods"`
	Testcrs int `json:"testcrs"` // managed ones, and others with a name that a Pod needs
	Foreign int `json:"foreign"` // other Testcrs that are not managed
	// Differences are sorted by Pod. Unclear contains the Pods that kept changing.
	Differences []Difference `json:"-"`
	Unclear     []Difference `json:"-"`
}

// Run compares the Pods with the Testcrs. It returns a ReadError or the error of ctx if
// it could not.
func Run(ctx context.Context, config Config) (*Result, error) {
	source := &apiServer{pods: config.Pods, testcrs: config.Testcrs.Resource(testcrs), metadata: config.Owners}
	c := newComparison(source, &config)
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

// suspect is a Pod, a Testcr or both that differed when they were last read. The first
// reads prove nothing: the two lists have different resource versions, and the
// controller may be about to write.
type suspect struct {
	name string // of the Testcr
	pod  string // namespace/name, "" if unknown

	seen        bool
	state       state
	since       time.Time     // when the state had first been read
	stood       time.Duration // minimum time that the state has lasted, -1 after one read
	differences []Difference  // at the last read
}

// state is what must not change for Config.Settle: the desired Testcr, or the Testcr if
// there is no Pod. The Pod's resource version does not count, because other controllers
// may change it every few seconds.
type state struct {
	want   digest
	testcr string // UID
}

// first lists all Pods and all Testcrs and finds the suspects. It keeps the key and a
// digest of each Pod, about 200 bytes.
func (c *comparison) first(ctx context.Context) error {
	type summary struct {
		pod  string
		want digest
	}
	owners, err := c.owners(ctx, c.scope)
	if err != nil {
		return err
	}
	pods := map[string]summary{} // by the name of the Testcr
	err = c.eachPod(ctx, c.scope, func(pod *corev1.Pod) {
		want := oracle.FactsWith(owners, pod)
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

// untilSettled reads the suspects repeatedly, until each is equal or has differed without
// a change for Config.Settle.
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
		unclear := s.differences[0] // the first represents all
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
	var isGone bool // the owner
	if s.pod != "" {
		pod, err := c.pod(ctx, s.pod)
		if err != nil {
			return err
		}
		if pod != nil {
			owners, err := c.ownerOf(ctx, pod)
			if err != nil {
				return err
			}
			want, isGone = oracle.FactsWith(owners, pod), owners.Lack(pod)
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
	if isGone {
		want = want.KeepProof(have)
	}
	s.judge(c.scope, want, have, asked, time.Now())
	return nil
}

// lookAtAll lists all Pods and Testcrs again. It keeps the desired Testcrs of the
// suspects as JSON, which takes the least memory.
func (c *comparison) lookAtAll(ctx context.Context) error {
	asked := time.Now()
	suspects := make(map[string]*suspect, len(c.suspects))
	for _, s := range c.suspects {
		suspects[s.name] = s
	}
	owners, err := c.owners(ctx, c.scope)
	if err != nil {
		return err
	}
	wants, isGone := map[string][]byte{}, map[string]bool{}
	err = c.eachPod(ctx, c.scope, func(pod *corev1.Pod) {
		want := oracle.FactsWith(owners, pod)
		if s := suspects[oracle.NameFor(want.PodKey())]; s != nil {
			s.pod = want.PodKey()
			wants[s.name] = want.JSON()
			isGone[s.name] = owners.Lack(pod)
		}
	})
	if err != nil {
		return err
	}
	judge := func(s *suspect, have *oracle.Stored) error {
		var want *oracle.Facts
		if text, ok := wants[s.name]; ok {
			want = &oracle.Facts{}
			if err := json.Unmarshal(text, want); err != nil { // integers are decoded to int64, as in have
				return err
			}
		}
		if isGone[s.name] {
			want = want.KeepProof(have)
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

// judge records the states that were read between asked and answered.
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
