package history

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weiyuanke/PodInfoLookup/internal/query"
)

// truth is a fact that a Pod really had.
type truth struct {
	kind     query.Kind
	fact     string
	pod      string
	from, to time.Time // to is zero while it lasts
}

func (f *truth) holdsAt(t time.Time) bool {
	return !t.Before(f.from) && (f.to.IsZero() || t.Before(f.to))
}

// churn changes Pods at random, and notes what was true when.
type churn struct {
	random *rand.Rand
	pods   []*corev1.Pod
	truths []*truth
}

func (c *churn) begin(p *corev1.Pod, kind query.Kind, fact string) {
	c.truths = append(c.truths, &truth{kind: kind, fact: fact, pod: string(p.UID), from: time.Now()})
}

func (c *churn) end(p *corev1.Pod, kinds ...query.Kind) {
	for _, f := range c.truths {
		if f.pod == string(p.UID) && f.to.IsZero() && slices.Contains(kinds, f.kind) {
			f.to = time.Now()
		}
	}
}

func containerOf(p *corev1.Pod) string {
	return p.Status.ContainerStatuses[0].ContainerID[len("containerd://"):]
}

// step changes one Pod. to gets the event, unless nothing listens.
func (c *churn) step(to *fakePods) {
	if len(c.pods) < 5 || len(c.pods) < 20 && c.random.IntN(3) == 0 {
		// Names and IPs are used again, as those of a StatefulSet and of a small range.
		name, ip := fmt.Sprintf("cart-%d", c.random.IntN(25)), fmt.Sprintf("10.0.0.%d", c.random.IntN(25))
		if slices.ContainsFunc(c.pods, func(p *corev1.Pod) bool {
			return p.Name == name || p.Status.PodIP == ip && p.Status.Phase == corev1.PodRunning
		}) {
			return
		}
		p := newPod(name, ip)
		c.pods = append(c.pods, p)
		c.begin(p, query.IP, ip)
		c.begin(p, query.Name, name)
		c.begin(p, query.Container, containerOf(p))
		c.begin(p, query.Image, p.Spec.Containers[0].Image)
		to.add(p)
		return
	}
	i := c.random.IntN(len(c.pods))
	old := c.pods[i]
	p := old.DeepCopy()
	switch c.random.IntN(6) {
	case 0:
		c.pods = slices.Delete(c.pods, i, i+1)
		c.end(p, query.IP, query.Name, query.Container, query.Image)
		to.remove(p)
		return
	case 1: // a restart
		c.end(p, query.Container)
		p.Status.ContainerStatuses[0].ContainerID = fmt.Sprintf("containerd://%064x", c.random.Uint64())
		c.begin(p, query.Container, containerOf(p))
	case 2: // another image
		c.end(p, query.Image)
		p.Spec.Containers[0].Image = fmt.Sprintf("cart:%d", c.random.IntN(5))
		c.begin(p, query.Image, p.Spec.Containers[0].Image)
	case 5: // another Pod of this name in one event, as after a list
		c.end(p, query.IP, query.Name, query.Container, query.Image)
		p = newPod(p.Name, p.Status.PodIP)
		c.begin(p, query.IP, p.Status.PodIP)
		c.begin(p, query.Name, p.Name)
		c.begin(p, query.Container, containerOf(p))
		c.begin(p, query.Image, p.Spec.Containers[0].Image)
	case 3:
		p.Status.Phase = corev1.PodSucceeded
		c.end(p, query.IP)
	case 4:
		p.Labels = map[string]string{"app": "cart", "step": fmt.Sprint(c.random.IntN(3))}
	}
	c.pods[i] = p
	to.update(old, p)
}

// judge asks for random facts at random times, and compares with what was true.
func (c *churn) judge(t *testing.T, r *recording, start time.Time, questions int) (uncertain int) {
	t.Helper()
	length := time.Since(start)
	for range questions {
		f := c.truths[c.random.IntN(len(c.truths))]
		at := start.Add(time.Duration(c.random.Int64N(int64(length)))).Truncate(time.Millisecond)
		var want []string
		for _, other := range c.truths {
			if other.kind == f.kind && other.fact == f.fact && other.holdsAt(at) {
				want = append(want, other.pod)
			}
		}
		_, a := r.at(f.kind, f.fact, at)
		inGap := slices.ContainsFunc(a.Records[0].Gaps, func(g Gap) bool { return !at.Before(g.From) && !at.After(g.To) })
		var certain, possible []string
		for _, h := range a.Holders {
			if h.Interval.Covers(at.UnixMilli()) {
				certain = append(certain, h.Spec.PodUID)
			} else {
				possible = append(possible, h.Spec.PodUID)
			}
		}
		for _, pod := range certain {
			if !slices.Contains(want, pod) {
				t.Errorf("%s %s at %s: %s is said to be certain, true is %v", f.kind, f.fact, at.Format(time.StampMilli), pod, want)
			}
		}
		for _, pod := range want {
			if !slices.Contains(certain, pod) && !slices.Contains(possible, pod) && !inGap {
				t.Errorf("%s %s at %s: %s is missing, found %v and perhaps %v", f.kind, f.fact, at.Format(time.StampMilli), pod, certain, possible)
			}
		}
		if !inGap && len(possible) > 0 || len(certain) < len(want) {
			uncertain++
		}
	}
	return uncertain
}

// TestRecorder_NeverMisleads changes Pods at random across clean stops, crashes and full
// restarts. What is certain in an answer must be true, and what was true may be missing
// only in a gap.
func TestRecorder_NeverMisleads(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &churn{random: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // repeatable
				dir, start := t.TempDir(), time.Now()
				path := filepath.Join(dir, "history.db")
				for round := range 6 {
					pods := &fakePods{initial: slices.Clone(c.pods)}
					r := record(t, path, pods)
					for range 150 {
						c.step(pods)
						pass(time.Duration(c.random.IntN(3000)) * time.Millisecond)
					}
					uncertain := c.judge(t, r, start, 300)
					t.Logf("round %d: %d of 300 answers were uncertain", round, uncertain)
					if c.random.IntN(2) == 0 { // as after kill -9: what is in memory is lost
						path = crash(t, path, filepath.Join(dir, fmt.Sprintf("crash-%d.db", round)))
					}
					r.stop()
					for range c.random.IntN(20) { // nothing is recorded
						c.step(&fakePods{})
						pass(time.Duration(c.random.IntN(3000)) * time.Millisecond)
					}
				}
			})
		})
	}
}

// crash copies the files of a store as they are, and returns the name of the copy.
func crash(t *testing.T, path, aside string) string {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(aside+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return aside
}
