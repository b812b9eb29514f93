package auditor

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// logs feeds a checker with two logs by hand. Resource versions count from 10 on;
// the clock is at a minute and as many seconds.
type logs struct{ *checker }

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newLogs() logs {
	l := logs{newChecker()}
	l.podList(nil, 1, start)
	l.testcrList(nil, 1, start)
	return l
}

func at(version uint64) time.Time {
	return start.Add(unseenFor + time.Duration(version)*time.Second) //nolint:gosec // G115: a few
}

func (l logs) pod(version uint64, pod *corev1.Pod) { l.podEvent(pod, version, false, at(version)) }

func (l logs) noPod(version uint64, pod *corev1.Pod) { l.podEvent(pod, version, true, at(version)) }

// says has the Testcr of one Pod say what it must say of another.
func (l logs) says(version uint64, name string, of *corev1.Pod) {
	l.testcrEvent(testcr(name, of), version, false, at(version))
}

func (l logs) noTestcr(version uint64, name string) {
	l.testcrEvent(&testcrOf{Metadata: metav1.ObjectMeta{Name: nameOf("default/" + name), UID: "t-" + types.UID(name)}}, version, true, at(version))
}

// emptied has the Testcr of one Pod, which is being deleted, say its name alone.
func (l logs) emptied(version uint64, name string, of *corev1.Pod) {
	t := testcr(name, of)
	t.Metadata.DeletionTimestamp = &metav1.Time{Time: at(version)}
	t.Metadata.Labels = map[string]string{managedByLabel: managedBy, ownDomain + "namespace": of.Namespace}
	t.Spec = json.RawMessage(`{"podkey":"default/` + name + `","podname":"` + name + `","namespace":"default","poduid":"",` +
		`"hostnetwork":false,"ready":false,"terminating":true}`)
	l.testcrEvent(t, version, false, at(version))
}

func (l logs) kinds() (kinds []Kind) {
	l.podsKnown(1000)
	l.judge(at(1000))
	for _, f := range l.findings {
		kinds = append(kinds, f.Kind)
	}
	return kinds
}

// pod is a Pod of the namespace default in one of its states.
func pod(name, uid, ip string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uid)}}
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: "nginx:1.29"}}
	p.Status.Phase = corev1.PodPending
	if ip != "" {
		p.Status.Phase, p.Status.PodIP, p.Status.PodIPs = corev1.PodRunning, ip, []corev1.PodIP{{IP: ip}}
	}
	return p
}

func onNode(p *corev1.Pod, node string) *corev1.Pod {
	p = p.DeepCopy()
	p.Spec.NodeName = node
	return p
}

// testcr is the Testcr named for the Pod default/name, with what is to be said of
// another one.
func testcr(name string, of *corev1.Pod) *testcrOf {
	var content struct {
		Spec   json.RawMessage   `json:"spec"`
		Labels map[string]string `json:"labels"`
	}
	if err := json.Unmarshal([]byte(expect(of).text), &content); err != nil {
		panic(err)
	}
	return &testcrOf{
		Metadata: metav1.ObjectMeta{Name: nameOf("default/" + name), UID: "t-" + types.UID(name), Labels: content.Labels},
		Spec:     content.Spec,
	}
}

var (
	pending = pod("web", "u1", "")
	bound   = onNode(pending, "node-1")
	running = onNode(pod("web", "u1", "10.0.0.1"), "node-1")
	next    = pod("web", "u2", "")
	nextRun = pod("web", "u2", "10.0.0.2")
)

func TestOrderOfWritesIsJudged(t *testing.T) {
	tests := []struct {
		name string
		feed func(l logs)
		want []Kind
	}{
		// Good ones, from here on.
		{"a Pod comes, runs and goes", func(l logs) {
			l.pod(10, pending)
			l.says(11, "web", pending)
			l.pod(12, bound)
			l.says(13, "web", bound)
			l.pod(14, running)
			l.says(15, "web", running)
			l.noPod(16, running)
			l.noTestcr(17, "web")
		}, nil},
		{"the Testcrs' events come before the Pods'", func(l logs) {
			l.says(11, "web", pending)
			l.noTestcr(17, "web")
			l.pod(10, pending)
			l.noPod(16, pending)
		}, nil},
		{"states in between are left out", func(l logs) {
			l.pod(10, pending)
			l.pod(12, bound)
			l.pod(14, running)
			l.says(15, "web", running)
		}, nil},
		{"a write is late, but in order", func(l logs) {
			l.pod(10, pending)
			l.pod(12, bound)
			l.pod(14, running)
			l.says(15, "web", pending)
			l.says(16, "web", running)
		}, nil},
		{"a Pod flaps, and its Testcr with it", func(l logs) {
			l.pod(10, bound)
			l.says(11, "web", bound)
			l.pod(12, running)
			l.says(13, "web", running)
			l.pod(14, bound)
			l.says(15, "web", bound)
			l.pod(16, running)
			l.says(17, "web", running)
		}, nil},
		{"another Pod of the same name takes its place", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.says(14, "web", next)
			l.pod(15, nextRun)
			l.says(16, "web", nextRun)
		}, nil},
		{"the deletion comes when the next Pod of the name is there, but was not shown", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.noTestcr(14, "web")
			l.says(15, "web", next)
		}, nil},
		{"a Testcr is created although its Pod has just gone, and deleted", func(l logs) {
			l.pod(10, pending)
			l.noPod(11, pending)
			l.says(12, "web", pending)
			l.noTestcr(13, "web")
		}, nil},
		{"others edit, forge and delete, and say so; the controller puts it right", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.says(12, "web", nextRun)
			l.allowed.versions[12] = struct{}{}
			l.says(13, "web", running)
			l.noTestcr(14, "web")
			l.allowed.deleted["t-web"] = struct{}{}
			l.says(15, "web", running)
			l.says(16, "forged", nextRun)
			l.allowed.versions[16] = struct{}{}
			l.noTestcr(17, "forged")
		}, nil},
		{"the CRD goes with all Testcrs, and comes back", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(14, "web")
			l.allowed.windows = append(l.allowed.windows, gap{from: 12, to: 15})
			l.says(16, "web", running)
		}, nil},
		{"a Pod changes while its watch has a gap", func(l logs) {
			l.pod(10, pending)
			l.says(11, "web", pending)
			l.says(13, "web", bound)
			l.podList([]corev1.Pod{withVersion(running, 14)}, 15, at(15))
			l.says(16, "web", running)
		}, nil},
		{"a Pod comes and goes in a gap, and its Testcr too", func(l logs) {
			l.pod(10, onNode(pod("other", "o", ""), "n"))
			l.podList([]corev1.Pod{withVersion(onNode(pod("other", "o", ""), "n"), 10)}, 15, at(15))
			l.says(12, "web", pending)
			l.noTestcr(14, "web")
		}, nil},
		{"the Testcrs' watch has a gap, in which one is replaced", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, nextRun)
			replaced := testcr("web", nextRun)
			replaced.Metadata.UID, replaced.Metadata.ResourceVersion = "t-web-2", "15"
			l.testcrList([]testcrOf{*replaced}, 16, at(16))
		}, nil},
		{"a finalizer keeps the Testcr, which is emptied, and filled for the next Pod", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.emptied(13, "web", running)
			l.pod(14, next)
			l.says(15, "web", next)
			l.noPod(16, next)
			l.emptied(17, "web", next)
			l.noTestcr(18, "web")
		}, nil},

		// Planted bugs, from here on.
		{"bug: the Testcr of a live Pod is emptied", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.emptied(12, "web", running)
		}, []Kind{DeletedLive}},
		{"bug: the Testcr of a live Pod is deleted", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(12, "web")
			l.says(13, "web", running)
		}, []Kind{DeletedLive}},
		{"bug: the Testcr of a live Pod is deleted a moment before its Pod", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(12, "web")
			l.noPod(13, running)
		}, []Kind{DeletedLive}},
		{"bug: the new Pod's Testcr is deleted, since the old one has gone", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.says(14, "web", next)
			l.noTestcr(15, "web")
		}, []Kind{DeletedLive}},
		{"bug: a deletion outside of the CRD's", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(16, "web")
			l.allowed.windows = append(l.allowed.windows, gap{from: 12, to: 15})
		}, []Kind{DeletedLive}},
		{"bug: a deletion hidden in a gap of the Testcrs' watch", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			replaced := testcr("web", running)
			replaced.Metadata.UID, replaced.Metadata.ResourceVersion = "t-web-2", "15"
			l.testcrList([]testcrOf{*replaced}, 16, at(16))
		}, []Kind{DeletedLive}},
		{"bug: a UID of nobody", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", onNode(pod("web", "u9", "10.0.0.1"), "node-1"))
		}, []Kind{NeverHadUID}},
		{"bug: the UID of another Pod", func(l logs) {
			l.pod(10, running)
			l.pod(11, pod("other", "o", "10.0.0.9"))
			l.says(12, "web", pod("other", "o", "10.0.0.9"))
		}, []Kind{NeverHadUID}},
		{"bug: a Testcr for a Pod that never was", func(l logs) {
			l.says(11, "web", running)
		}, []Kind{NeverHadUID}},
		{"bug: an IP of another Pod", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", onNode(pod("web", "u1", "10.0.0.9"), "node-1"))
		}, []Kind{NeverHadIP}},
		{"bug: the new Pod with the old one's IP", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, nextRun)
			l.says(14, "web", pod("web", "u2", "10.0.0.1"))
		}, []Kind{NeverHadIP}},
		{"bug: a node that the Pod was never on", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", onNode(running, "node-2"))
		}, []Kind{NeverHadValue}},
		{"bug: half of one state and half of the next", func(l logs) {
			l.pod(10, pending)
			l.pod(11, running)
			l.says(12, "web", onNode(running, ""))
		}, []Kind{NeverHadValue}},
		{"bug: a label that finds it by an IP is missing", func(l logs) {
			l.pod(10, running)
			wrong := testcr("web", running)
			delete(wrong.Metadata.Labels, "ip.stable.example.com/10.0.0.1")
			l.testcrEvent(wrong, 11, false, at(11))
		}, []Kind{NeverHadValue}},
		{"bug: a field that no Testcr has", func(l logs) {
			l.pod(10, running)
			wrong := testcr("web", running)
			wrong.Spec = json.RawMessage(`{"podkey":"default/web","color":"red"}`)
			l.testcrEvent(wrong, 11, false, at(11))
		}, []Kind{NeverHadUID}},
		{"bug: back to the state before", func(l logs) {
			l.pod(10, bound)
			l.says(11, "web", bound)
			l.pod(12, running)
			l.says(13, "web", running)
			l.says(14, "web", bound)
			l.says(15, "web", running)
		}, []Kind{WentBack}},
		{"bug: back to the Pod that was there before", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.says(14, "web", next)
			l.says(15, "web", running)
		}, []Kind{WentBack}},
		{"bug: a Testcr comes back after it went with its Pod", func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.noTestcr(13, "web")
			l.says(14, "web", running)
		}, []Kind{WentBack}},
		{"bug: told before it was so", func(l logs) {
			l.pod(10, bound)
			l.says(11, "web", running)
			l.pod(12, running)
		}, []Kind{TooEarly}},
		{"bug: a Pod born after the gap with a value that it never had", func(l logs) {
			l.podList(nil, 15, at(15))
			l.pod(16, running)
			l.says(17, "web", onNode(running, "node-2"))
		}, []Kind{NeverHadValue}},
		{"bug: a write long after the gap that would have excused it", func(l logs) {
			l.podList(nil, 15, at(15))
			l.says(100, "web", running)
		}, []Kind{NeverHadUID}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLogs()
			test.feed(l)
			if diff := cmp.Diff(test.want, l.kinds()); diff != "" {
				t.Errorf("findings (-want +got):\n%s\n%v", diff, l.findings)
			}
			if l.judged != l.writes {
				t.Errorf("judged %d of %d writes", l.judged, l.writes)
			}
		})
	}
}

func withVersion(p *corev1.Pod, version uint64) corev1.Pod {
	p = p.DeepCopy()
	p.ResourceVersion = fmt.Sprint(version)
	return *p
}

func TestWritesWaitForTheLogOfPods(t *testing.T) {
	l := newLogs()
	l.pod(10, pending)
	l.says(20, "web", running) // the Pod's next event is on its way
	l.judge(at(20))
	if l.judged != 0 || l.found != 0 {
		t.Errorf("judged %d, found %v", l.judged, l.findings)
	}
	l.pod(19, running)
	if kinds := l.kinds(); kinds != nil || l.judged != 1 {
		t.Errorf("judged %d, found %v", l.judged, l.findings)
	}
}

func TestListsAtRestAreCompared(t *testing.T) {
	stale := onNode(pod("web", "u1", "10.0.0.1"), "node-2")
	wrongLabel := testcr("web", running)
	wrongLabel.Metadata.Labels["ip.stable.example.com/10.9.9.9"] = ""
	foreign := testcr("theirs", pod("theirs", "u9", ""))
	delete(foreign.Metadata.Labels, managedByLabel)
	tests := []struct {
		name    string
		testcrs []testcrOf
		want    []Kind
	}{
		{"all is well", []testcrOf{*testcr("web", running)}, nil},
		{"somebody else's is in nobody's way", []testcrOf{*testcr("web", running), *foreign}, nil},
		{"bug: one is missing", nil, []Kind{Missing}},
		{"bug: an orphan", []testcrOf{*testcr("web", running), *testcr("gone", pod("gone", "u7", ""))}, []Kind{Orphan}},
		{"bug: one Pod has two", []testcrOf{*testcr("web", running), *testcr("again", running)}, []Kind{Duplicate}},
		{"bug: an old value", []testcrOf{*testcr("web", stale)}, []Kind{Differs}},
		{"bug: a label of an IP that is not the Pod's", []testcrOf{*wrongLabel}, []Kind{Differs}},
		{"bug: under another name", []testcrOf{*testcr("other", running)}, []Kind{Duplicate, Missing}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []Kind
			for _, f := range compare(map[string]state{"default/web": expect(running)}, test.testcrs, start) {
				got = append(got, f.Kind)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStalenessIsThatOfEachChange(t *testing.T) {
	l := newLogs()
	l.pod(10, pending)
	l.pod(11, bound)
	l.says(13, "web", pending) // stale for 3 s
	l.pod(14, running)
	l.says(20, "web", running) // bound was not shown for 9 s, running for 6 s
	l.says(22, "web", pending) // somebody's edit is no change of the Pod
	l.noPod(30, running)
	l.noTestcr(31, "web")
	l.noTestcr(31, "web")
	var got []time.Duration
	for _, s := range l.samples {
		got = append(got, s.Took)
	}
	want := []time.Duration{3 * time.Second, 9 * time.Second, 6 * time.Second, time.Second}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("staleness (-want +got):\n%s", diff)
	}
	if n, _, some := l.drift(); n != 0 {
		t.Errorf("drift: %v", some)
	}
}

func TestForeignTestcrsAreNoDrift(t *testing.T) {
	l := newLogs()
	foreign := testcr("theirs", pending)
	foreign.Metadata.Labels = nil
	l.testcrEvent(foreign, 10, false, at(10))
	if n, _, some := l.drift(); n != 0 {
		t.Errorf("drift: %v", some)
	}
	l.says(11, "theirs", pending) // now it claims to be ours, and is an orphan
	if n, _, _ := l.drift(); n != 1 {
		t.Error("an orphan is no drift")
	}
}

func TestDriftHasAnAge(t *testing.T) {
	l := newLogs()
	l.pod(10, pending)
	l.pod(12, bound)
	l.says(13, "web", pending)
	n, since, _ := l.drift()
	if n != 1 || !since.Equal(at(10)) {
		t.Errorf("%d differ, the oldest since %s, want 1 since %s", n, since, at(10))
	}
}

func TestWhatIsLongGoneIsForgotten(t *testing.T) {
	l := newLogs()
	l.pod(10, pending)
	l.says(11, "web", pending)
	l.noPod(12, pending)
	l.noTestcr(13, "web")
	for i := range uint64(5000) { // another one changes for ever
		l.pod(14+2*i, onNode(pod("busy", "u2", ""), fmt.Sprint("node-", i)))
		l.says(15+2*i, "busy", onNode(pod("busy", "u2", ""), fmt.Sprint("node-", i)))
		if i%100 == 0 {
			l.judge(at(14 + 2*i))
		}
	}
	l.podsKnown(1 << 20)
	l.judge(at(100_000))
	if _, kept := l.histories[nameOf("default/web")]; kept {
		t.Error("what is long gone is kept")
	}
	if n := len(l.histories[nameOf("default/busy")].versions); n > 3*keptVersions {
		t.Errorf("%d versions are kept", n)
	}
	if l.found != 0 {
		t.Error(l.findings)
	}
}
