package dedup

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired/desiredtest"
)

func address(s string) *byte { return unsafe.StringData(s) } //nolint:gosec // G103: only compared

func mapAddress(m map[string]string) uintptr { return reflect.ValueOf(m).Pointer() }

// newSpec returns a full spec as of another Pod, which shares no memory with others.
func newSpec(name string) *v1.TestcrSpec {
	s := desiredtest.FullSpec()
	s.Namespace, s.PodName, s.PodKey = strings.Clone("shop"), strings.Clone(name), "shop/"+name
	s.Labels = map[string]string{strings.Clone("app"): strings.Clone("web"), "tier": strings.Clone("front")}
	s.PodIPs = []string{strings.Clone(s.PodIP), "fd00::1"}
	for _, text := range []*string{
		&s.PodIP, &s.HostIP, &s.NodeName, &s.Phase, &s.OwnerKind, &s.OwnerName, &s.WorkloadKind, &s.WorkloadName, &s.ServiceAccount,
		&s.Containers[0].Name, &s.Containers[0].Image, &s.Containers[0].ID, &s.Containers[0].Kind,
	} {
		*text = strings.Clone(*text)
	}
	return s
}

func TestPool_Spec(t *testing.T) {
	p := &Pool{}
	one, other, want := newSpec("web-1"), newSpec("web-2"), newSpec("web-2")
	p.Spec(one)
	p.Spec(other)

	t.Run("no value changes", func(t *testing.T) {
		if diff := cmp.Diff(want, other); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	shared := map[string]func(*v1.TestcrSpec) string{
		"the namespace":            func(s *v1.TestcrSpec) string { return s.Namespace },
		"the IP of the node":       func(s *v1.TestcrSpec) string { return s.HostIP },
		"the node":                 func(s *v1.TestcrSpec) string { return s.NodeName },
		"the phase":                func(s *v1.TestcrSpec) string { return s.Phase },
		"the kind of the owner":    func(s *v1.TestcrSpec) string { return s.OwnerKind },
		"the owner":                func(s *v1.TestcrSpec) string { return s.OwnerName },
		"the kind of the workload": func(s *v1.TestcrSpec) string { return s.WorkloadKind },
		"the workload":             func(s *v1.TestcrSpec) string { return s.WorkloadName },
		"the service account":      func(s *v1.TestcrSpec) string { return s.ServiceAccount },
		"the name of a container":  func(s *v1.TestcrSpec) string { return s.Containers[0].Name },
		"the image of a container": func(s *v1.TestcrSpec) string { return s.Containers[0].Image },
	}
	for name, of := range shared {
		t.Run("two Pods share "+name, func(t *testing.T) {
			if address(of(one)) != address(of(other)) {
				t.Error("each has its own copy")
			}
		})
	}
	t.Run("two Pods share their labels", func(t *testing.T) {
		if mapAddress(one.Labels) != mapAddress(other.Labels) {
			t.Error("each has its own copy")
		}
	})
	t.Run("the name of a Pod is a part of its key", func(t *testing.T) {
		if address(other.PodName) != address(other.PodKey[len("shop/"):]) {
			t.Error("it has its own copy")
		}
	})
	t.Run("the first IP is shared with the list", func(t *testing.T) {
		if address(other.PodIP) != address(other.PodIPs[0]) {
			t.Error("it has its own copy")
		}
	})
}

func TestPool_Spec_Labels(t *testing.T) {
	long := strings.Repeat("v", maxLabelsBytes)
	tests := []struct {
		name       string
		one, other map[string]string
		wantShared bool
	}{
		{name: "equal labels", one: map[string]string{"a": "1", "b": "2"}, other: map[string]string{"b": "2", "a": "1"}, wantShared: true},
		{name: "another value", one: map[string]string{"a": "1"}, other: map[string]string{"a": "2"}},
		{name: "another key", one: map[string]string{"a": "1"}, other: map[string]string{"b": "1"}},
		{name: "one label more", one: map[string]string{"a": "1"}, other: map[string]string{"a": "1", "b": "2"}},
		{name: "the same bytes, split otherwise", one: map[string]string{"ab": "c"}, other: map[string]string{"a": "bc"}},
		{name: "values moved", one: map[string]string{"a": "", "b": "1"}, other: map[string]string{"a": "1", "b": ""}},
		{name: "labels too large to share", one: map[string]string{"a": long}, other: map[string]string{"a": long}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := &Pool{}
			one, other := newSpec("web-1"), newSpec("web-2")
			one.Labels, other.Labels = maps.Clone(test.one), maps.Clone(test.other)
			p.Spec(one)
			p.Spec(other)
			if diff := cmp.Diff(test.one, one.Labels) + cmp.Diff(test.other, other.Labels); diff != "" {
				t.Errorf("labels (-want +got):\n%s", diff)
			}
			if got := mapAddress(one.Labels) == mapAddress(other.Labels); got != test.wantShared {
				t.Errorf("shared: %t, want %t", got, test.wantShared)
			}
		})
	}
	t.Run("empty labels become none", func(t *testing.T) {
		spec := newSpec("web-1")
		spec.Labels = map[string]string{}
		(&Pool{}).Spec(spec)
		if spec.Labels != nil {
			t.Errorf("labels are %v", spec.Labels)
		}
	})
	t.Run("the labels of the Pod are not changed", func(t *testing.T) {
		p, spec := &Pool{}, newSpec("web-1")
		own := spec.Labels
		p.Spec(spec)
		if spec.Labels["app"] = "x"; own["app"] != "web" {
			t.Error("the map of the Pod is the shared one")
		}
	})
}

func TestPool_Spec_Long(t *testing.T) {
	t.Run("a string that is rarely repeated is not remembered", func(t *testing.T) {
		p := &Pool{}
		for i := range 2 {
			spec := newSpec(fmt.Sprint("web-", i))
			spec.NodeName = strings.Repeat("n", maxStringBytes+i)
			p.Spec(spec)
		}
		if _, ok := p.strings.get([]byte(strings.Repeat("n", maxStringBytes))); !ok {
			t.Error("the longest string that is shared is not remembered")
		}
		if _, ok := p.strings.get([]byte(strings.Repeat("n", maxStringBytes+1))); ok {
			t.Error("a longer one is")
		}
	})
	t.Run("a part of a long string does not keep it", func(t *testing.T) {
		p, spec := &Pool{}, newSpec("web-1")
		answer := strings.Repeat("x", 1<<10) + "node-1"
		spec.NodeName = answer[1<<10:]
		p.Spec(spec)
		if address(spec.NodeName) == address(answer[1<<10:]) {
			t.Error("the node is a part of the answer")
		}
	})
}

// size returns the entries and the bytes of keys in both generations.
func size[V any](g *generational[V]) (entries, bytes int) {
	for _, m := range []map[string]V{g.current, g.previous} {
		entries += len(m)
		for key := range m {
			bytes += len(key)
		}
	}
	return entries, bytes
}

func checkBounds[V any](t *testing.T, g *generational[V]) {
	t.Helper()
	if entries, bytes := size(g); entries > 2*maxEntries || bytes > 2*maxBytes {
		t.Errorf("%d entries of %d bytes, want at most %d of %d", entries, bytes, 2*maxEntries, 2*maxBytes)
	}
}

// TestPool_Jobs is about a cluster in which Jobs come and go, each with a name and
// labels of its own.
func TestPool_Jobs(t *testing.T) {
	p := &Pool{}
	spec := func(name, job string) *v1.TestcrSpec {
		s := &v1.TestcrSpec{PodKey: "batch/" + name, PodName: name, Namespace: "batch", OwnerName: job}
		s.Labels = map[string]string{"job-name": job, "app": "batch"}
		p.Spec(s)
		return s
	}
	stays := spec("stays", "stays")
	unused := spec("unused", "unused")
	for i := range 3 * maxEntries {
		name := fmt.Sprint("job-", i)
		spec(name, name)
		if i%100 == 0 {
			again := spec(fmt.Sprint("again-", i), "stays") // another Pod of the same Job
			if address(again.OwnerName) != address(stays.OwnerName) || mapAddress(again.Labels) != mapAddress(stays.Labels) {
				t.Fatalf("a Job that is in use is forgotten after %d others", i)
			}
		}
	}
	t.Run("the memory is bounded by entries", func(t *testing.T) {
		checkBounds(t, &p.strings)
		checkBounds(t, &p.labels)
	})
	t.Run("what was not used is forgotten", func(t *testing.T) {
		if again := spec("again", "unused"); address(again.OwnerName) == address(unused.OwnerName) || again.OwnerName != "unused" {
			t.Errorf("the owner is %q, remembered", again.OwnerName)
		}
	})
}

func TestPool_LongStrings(t *testing.T) {
	t.Run("the memory is bounded by bytes", func(t *testing.T) {
		p := &Pool{}
		for i := range 8_000 {
			s := &v1.TestcrSpec{PodKey: "shop/web", PodName: "web", NodeName: fmt.Sprint(i, strings.Repeat("n", maxStringBytes-10)), Labels: map[string]string{}}
			for j := range 10 {
				s.Labels[fmt.Sprint(strings.Repeat("k", 40), i, j)] = strings.Repeat("v", 60)
			}
			s.Containers = []v1.Container{{Name: "main", Image: fmt.Sprint(i, strings.Repeat("i", 2000))}}
			p.Spec(s)
		}
		checkBounds(t, &p.strings)
		checkBounds(t, &p.labels)
		if _, bytes := size(&p.strings); bytes < maxBytes {
			t.Errorf("%d bytes: the test does not reach the bound", bytes)
		}
	})
}

// TestPool_Workloads is about the first list of many Pods, whose workloads alternate.
func TestPool_Workloads(t *testing.T) {
	t.Run("the Pods of 20,000 workloads share their labels", func(t *testing.T) {
		const pods, workloads = 60_000, 20_000
		p := &Pool{}
		first := map[int]uintptr{}
		for i := range pods {
			s := &v1.TestcrSpec{PodKey: "shop/web", PodName: "web", Labels: map[string]string{"app": fmt.Sprint("app-", i%workloads)}}
			p.Spec(s)
			if i < workloads {
				first[i] = mapAddress(s.Labels)
			} else if mapAddress(s.Labels) != first[i%workloads] {
				t.Fatalf("Pod %d has its own copy of %v", i, s.Labels)
			}
		}
	})
}

func TestPool_Concurrent(t *testing.T) {
	t.Run("several goroutines may use a pool", func(t *testing.T) {
		p := &Pool{}
		var running sync.WaitGroup
		for i := range 4 {
			running.Go(func() {
				for j := range 200 {
					spec := newSpec(fmt.Sprint("web-", i))
					spec.NodeName = fmt.Sprint("node-", j)
					p.Spec(spec)
					if spec.NodeName != fmt.Sprint("node-", j) || spec.Labels["app"] != "web" {
						t.Errorf("node %s, labels %v", spec.NodeName, spec.Labels)
					}
				}
			})
		}
		running.Wait()
	})
}
