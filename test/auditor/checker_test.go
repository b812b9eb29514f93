package auditor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weiyuanke/PodInfoLookup/internal/oracle"
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
	l.testcrEvent(&testcrOf{Metadata: metav1.ObjectMeta{Name: oracle.NameFor("default/" + name), UID: "t-" + types.UID(name)}}, version, true, at(version))
}

// emptied has the Testcr of one Pod, which is being deleted, say its name alone.
func (l logs) emptied(version uint64, name string, of *corev1.Pod) {
	t := testcr(name, of)
	t.Metadata.DeletionTimestamp = &metav1.Time{Time: at(version)}
	t.Metadata.Labels = map[string]string{oracle.LabelManagedBy: oracle.ManagedBy, oracle.LabelNamespace: of.Namespace}
	t.Spec = json.RawMessage(`{"podkey":"default/` + name + `","podname":"` + name + `","namespace":"default","poduid":"",` +
		`"hostnetwork":false,"ready":false,"terminating":true}`)
	l.testcrEvent(t, version, false, at(version))
}

// restored puts etcd back to a state at version 12, and lists it.
func (l logs) restored(pods []corev1.Pod, testcrs ...*testcrOf) {
	const version = 12
	l.newEpoch(at(version))
	var all []testcrOf
	for _, t := range testcrs {
		all = append(all, *t)
	}
	l.testcrList(all, version, at(version))
	l.podList(pods, version, at(version))
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
		Metadata: metav1.ObjectMeta{Name: oracle.NameFor("default/" + name), UID: "t-" + types.UID(name), Labels: content.Labels},
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

func TestChecker_OrderOfWrites(t *testing.T) {
	tests := []struct {
		name string
		feed func(l logs)
		want []Kind
	}{
		// Good ones, from here on.
		{name: "a Pod comes, runs and goes", feed: func(l logs) {
			l.pod(10, pending)
			l.says(11, "web", pending)
			l.pod(12, bound)
			l.says(13, "web", bound)
			l.pod(14, running)
			l.says(15, "web", running)
			l.noPod(16, running)
			l.noTestcr(17, "web")
		}},
		{name: "the Testcrs' events come before the Pods'", feed: func(l logs) {
			l.says(11, "web", pending)
			l.noTestcr(17, "web")
			l.pod(10, pending)
			l.noPod(16, pending)
		}},
		{name: "states in between are left out", feed: func(l logs) {
			l.pod(10, pending)
			l.pod(12, bound)
			l.pod(14, running)
			l.says(15, "web", running)
		}},
		{name: "a write is late, but in order", feed: func(l logs) {
			l.pod(10, pending)
			l.pod(12, bound)
			l.pod(14, running)
			l.says(15, "web", pending)
			l.says(16, "web", running)
		}},
		{name: "a Pod flaps, and its Testcr with it", feed: func(l logs) {
			l.pod(10, bound)
			l.says(11, "web", bound)
			l.pod(12, running)
			l.says(13, "web", running)
			l.pod(14, bound)
			l.says(15, "web", bound)
			l.pod(16, running)
			l.says(17, "web", running)
		}},
		{name: "another Pod of the same name takes its place", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.says(14, "web", next)
			l.pod(15, nextRun)
			l.says(16, "web", nextRun)
		}},
		{name: "the deletion comes when the next Pod of the name is there, but was not shown", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.noTestcr(14, "web")
			l.says(15, "web", next)
		}},
		{name: "a Testcr is created although its Pod has just gone, and deleted", feed: func(l logs) {
			l.pod(10, pending)
			l.noPod(11, pending)
			l.says(12, "web", pending)
			l.noTestcr(13, "web")
		}},
		{name: "others edit, forge and delete, and say so; the controller puts it right", feed: func(l logs) {
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
		}},
		{name: "the CRD goes with all Testcrs, and comes back", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(14, "web")
			l.allowed.windows = append(l.allowed.windows, gap{from: 12, to: 15})
			l.says(16, "web", running)
		}},
		{name: "a Pod changes while its watch has a gap", feed: func(l logs) {
			l.pod(10, pending)
			l.says(11, "web", pending)
			l.says(13, "web", bound)
			l.podList([]corev1.Pod{withVersion(running, 14)}, 15, at(15))
			l.says(16, "web", running)
		}},
		{name: "a Pod comes and goes in a gap, and its Testcr too", feed: func(l logs) {
			l.pod(10, onNode(pod("other", "o", ""), "n"))
			l.podList([]corev1.Pod{withVersion(onNode(pod("other", "o", ""), "n"), 10)}, 15, at(15))
			l.says(12, "web", pending)
			l.noTestcr(14, "web")
		}},
		{name: "the Testcrs' watch has a gap, in which one is replaced", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, nextRun)
			replaced := testcr("web", nextRun)
			replaced.Metadata.UID, replaced.Metadata.ResourceVersion = "t-web-2", "15"
			l.testcrList([]testcrOf{*replaced}, 16, at(16))
		}},
		{name: "a finalizer keeps the Testcr, which is emptied, and filled for the next Pod", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.emptied(13, "web", running)
			l.pod(14, next)
			l.says(15, "web", next)
			l.noPod(16, next)
			l.emptied(17, "web", next)
			l.noTestcr(18, "web")
		}},

		// Planted bugs, from here on.
		{name: "bug: the Testcr of a live Pod is emptied", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.emptied(12, "web", running)
		}, want: []Kind{DeletedLive}},
		{name: "bug: the Testcr of a live Pod is deleted", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(12, "web")
			l.says(13, "web", running)
		}, want: []Kind{DeletedLive}},
		{name: "bug: the Testcr of a live Pod is deleted a moment before its Pod", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(12, "web")
			l.noPod(13, running)
		}, want: []Kind{DeletedLive}},
		{name: "bug: the new Pod's Testcr is deleted, since the old one has gone", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.says(14, "web", next)
			l.noTestcr(15, "web")
		}, want: []Kind{DeletedLive}},
		{name: "bug: a deletion outside of the CRD's", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noTestcr(16, "web")
			l.allowed.windows = append(l.allowed.windows, gap{from: 12, to: 15})
		}, want: []Kind{DeletedLive}},
		{name: "bug: a deletion hidden in a gap of the Testcrs' watch", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			replaced := testcr("web", running)
			replaced.Metadata.UID, replaced.Metadata.ResourceVersion = "t-web-2", "15"
			l.testcrList([]testcrOf{*replaced}, 16, at(16))
		}, want: []Kind{DeletedLive}},
		{name: "bug: a UID of nobody", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", onNode(pod("web", "u9", "10.0.0.1"), "node-1"))
		}, want: []Kind{NeverHadUID}},
		{name: "bug: the UID of another Pod", feed: func(l logs) {
			l.pod(10, running)
			l.pod(11, pod("other", "o", "10.0.0.9"))
			l.says(12, "web", pod("other", "o", "10.0.0.9"))
		}, want: []Kind{NeverHadUID}},
		{name: "bug: a Testcr for a Pod that never was", feed: func(l logs) {
			l.says(11, "web", running)
		}, want: []Kind{NeverHadUID}},
		{name: "bug: an IP of another Pod", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", onNode(pod("web", "u1", "10.0.0.9"), "node-1"))
		}, want: []Kind{NeverHadIP}},
		{name: "bug: the new Pod with the old one's IP", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, nextRun)
			l.says(14, "web", pod("web", "u2", "10.0.0.1"))
		}, want: []Kind{NeverHadIP}},
		{name: "bug: a node that the Pod was never on", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", onNode(running, "node-2"))
		}, want: []Kind{NeverHadValue}},
		{name: "bug: half of one state and half of the next", feed: func(l logs) {
			l.pod(10, pending)
			l.pod(11, running)
			l.says(12, "web", onNode(running, ""))
		}, want: []Kind{NeverHadValue}},
		{name: "bug: a label that finds it by an IP is missing", feed: func(l logs) {
			l.pod(10, running)
			wrong := testcr("web", running)
			delete(wrong.Metadata.Labels, "ip.stable.example.com/10.0.0.1")
			l.testcrEvent(wrong, 11, false, at(11))
		}, want: []Kind{NeverHadValue}},
		{name: "bug: a field that no Testcr has", feed: func(l logs) {
			l.pod(10, running)
			wrong := testcr("web", running)
			wrong.Spec = json.RawMessage(`{"podkey":"default/web","color":"red"}`)
			l.testcrEvent(wrong, 11, false, at(11))
		}, want: []Kind{NeverHadUID}},
		{name: "bug: a gap does not excuse a field that no Testcr has", feed: func(l logs) {
			l.podList(nil, 15, at(15))
			wrong := testcr("web", running)
			wrong.Spec = json.RawMessage(`{"podkey":"default/web","poduid":"u1","color":"red"}`)
			l.testcrEvent(wrong, 16, false, at(16))
		}, want: []Kind{NeverHadUID}},
		{name: "bug: a gap does not excuse a Testcr that is emptied under the key of another Pod", feed: func(l logs) {
			l.podList(nil, 15, at(15))
			wrong := kept(nil)
			wrong.Metadata.Name = oracle.NameFor("default/other")
			l.testcrEvent(wrong, 16, false, at(16))
		}, want: []Kind{NeverHadUID}},
		{name: "bug: back to the state before", feed: func(l logs) {
			l.pod(10, bound)
			l.says(11, "web", bound)
			l.pod(12, running)
			l.says(13, "web", running)
			l.says(14, "web", bound)
			l.says(15, "web", running)
		}, want: []Kind{WentBack}},
		{name: "bug: back to the Pod that was there before", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.pod(13, next)
			l.says(14, "web", next)
			l.says(15, "web", running)
		}, want: []Kind{WentBack}},
		{name: "bug: a Testcr comes back after it went with its Pod", feed: func(l logs) {
			l.pod(10, running)
			l.says(11, "web", running)
			l.noPod(12, running)
			l.noTestcr(13, "web")
			l.says(14, "web", running)
		}, want: []Kind{WentBack}},
		{name: "bug: told before it was so", feed: func(l logs) {
			l.pod(10, bound)
			l.says(11, "web", running)
			l.pod(12, running)
		}, want: []Kind{TooEarly}},
		{name: "bug: a Pod born after the gap with a value that it never had", feed: func(l logs) {
			l.podList(nil, 15, at(15))
			l.pod(16, running)
			l.says(17, "web", onNode(running, "node-2"))
		}, want: []Kind{NeverHadValue}},
		{name: "bug: a write long after the gap that would have excused it", feed: func(l logs) {
			l.podList(nil, 15, at(15))
			l.says(100, "web", running)
		}, want: []Kind{NeverHadUID}},
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

// TestChecker_Restored plays a restore of etcd: versions up to 30 were seen, and
// the state at version 12 is put back. The bugs are those of the other epochs.
func TestChecker_Restored(t *testing.T) {
	other := pod("other", "o", "10.0.0.9")
	otherNext := onNode(other, "node-7")
	// before is the epoch that ends: web runs at 12, and is replaced at 25.
	before := func(l logs) {
		l.pod(10, running)
		l.says(11, "web", running)
		l.noPod(24, running)
		l.pod(25, nextRun)
		l.says(26, "web", nextRun)
		l.podsKnown(30)
	}
	list := []corev1.Pod{withVersion(running, 10)}
	tests := []struct {
		name string
		feed func(l logs)
		want []Kind
	}{
		{name: "the older state is there again", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.pod(13, onNode(running, "node-2"))
			l.says(14, "web", onNode(running, "node-2"))
		}},
		{name: "a Testcr follows a Pod of a lost version for a moment", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.says(13, "web", nextRun)
			l.says(14, "web", running)
		}},
		{name: "a Testcr of a lost Pod is there for a moment", feed: func(l logs) {
			l.restored(nil)
			l.says(13, "web", nextRun)
			l.noTestcr(14, "web")
		}},
		{name: "a Pod is born after the restore, lives and goes", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.pod(13, other)
			l.says(14, "other", other)
			l.noPod(15, other)
			l.noTestcr(16, "other")
		}},
		{name: "versions of the epoch before come again", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.noPod(24, running)
			l.noTestcr(25, "web")
			l.pod(26, next)
			l.says(27, "web", next)
		}},
		{name: "what was found before the restore is kept", feed: func(l logs) {
			l.says(29, "web", running)
			l.restored(list, testcr("web", running))
		}, want: []Kind{WentBack}},

		{name: "bug: the Testcr of a live Pod is deleted", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.pod(13, other)
			l.says(14, "other", other)
			l.noTestcr(15, "other")
			l.says(16, "other", other)
		}, want: []Kind{DeletedLive}},
		{name: "bug: a UID of nobody", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.says(100, "web", pod("web", "u9", "10.0.0.1"))
		}, want: []Kind{NeverHadUID}},
		{name: "bug: an IP that a Pod born since never had", feed: func(l logs) {
			l.restored(nil)
			l.pod(13, other)
			l.says(14, "other", pod("other", "o", "10.0.0.8"))
		}, want: []Kind{NeverHadIP}},
		{name: "bug: a node that a Pod born since was never on", feed: func(l logs) {
			l.restored(nil)
			l.pod(13, other)
			l.says(14, "other", otherNext)
		}, want: []Kind{NeverHadValue}},
		{name: "bug: told before it was so", feed: func(l logs) {
			l.restored(nil)
			l.pod(13, other)
			l.says(14, "other", otherNext)
			l.pod(15, otherNext)
		}, want: []Kind{TooEarly}},
		{name: "bug: back to the state before", feed: func(l logs) {
			l.restored(nil)
			l.pod(13, other)
			l.says(14, "other", other)
			l.pod(15, otherNext)
			l.says(16, "other", otherNext)
			l.says(17, "other", other)
		}, want: []Kind{WentBack}},
		{name: "bug: a value of the lost versions long after the restore", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.says(100, "web", nextRun)
		}, want: []Kind{NeverHadUID}},
		{name: "bug: a write with the version of one that was allowed before", feed: func(l logs) {
			l.allowed.versions[14] = struct{}{}
			l.restored(nil)
			l.pod(13, other)
			l.says(14, "other", otherNext)
		}, want: []Kind{NeverHadValue}},
		{name: "bug: a deletion between the versions of one that was allowed before", feed: func(l logs) {
			l.allowed.windows = append(l.allowed.windows, gap{from: 10, to: 20})
			l.restored(nil)
			l.pod(13, other)
			l.says(14, "other", other)
			l.noTestcr(15, "other")
		}, want: []Kind{DeletedLive}},
		{name: "bug: after a second restore", feed: func(l logs) {
			l.restored(list, testcr("web", running))
			l.pod(13, other)
			l.says(14, "other", other)
			l.podsKnown(20)
			l.restored(list, testcr("web", running))
			l.pod(13, other)
			l.says(14, "other", otherNext)
		}, want: []Kind{NeverHadValue}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLogs()
			before(l)
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

func TestChecker_RestoreIsReported(t *testing.T) {
	l := newLogs()
	l.pod(10, pending)
	l.says(11, "web", pending)
	l.pod(14, running)
	l.says(20, "web", running) // the log of Pods does not reach this version any more
	l.testcrsKnown(22)
	l.restored([]corev1.Pod{withVersion(pending, 10)}, testcr("web", pending))
	l.pod(15, pod("other", "o", ""))
	want := []Epoch{{At: at(12), Pods: 14, Testcrs: 22, Unjudged: 1}}
	if diff := cmp.Diff(want, l.epochs); diff != "" {
		t.Errorf("epochs (-want +got):\n%s", diff)
	}
	if l.pods != 2 {
		t.Errorf("%d Pods were counted, want 2: one of them is in both epochs", l.pods)
	}
	l.says(16, "other", onNode(pod("other", "o", ""), "moon"))
	if kinds := l.kinds(); len(kinds) != 1 || l.findings[0].Epoch != 1 {
		t.Errorf("findings %v, want one after restore 1", l.findings)
	}
	if l.judged+l.epochs[0].Unjudged != l.writes {
		t.Errorf("judged %d of %d writes, and %d are reported as not judged", l.judged, l.writes, l.epochs[0].Unjudged)
	}
}

func TestFinding_LongTextsAreCut(t *testing.T) {
	long := strings.Repeat("<", 1<<20)
	got := difference("it says ", long+"one", ", after ", long+"two")
	if len(got) > 2*maxText || !strings.Contains(got, "<<one, after ...[") || !strings.HasSuffix(got, "<<two") {
		t.Errorf("%d bytes: %.200s", len(got), got)
	}
	if got := difference("it says ", "one", ", after ", "two"); got != "it says one, after two" {
		t.Error(got)
	}
	if got := short(long); len(got) > maxText+100 {
		t.Errorf("%d bytes", len(got))
	}
}

// kept is the Testcr of default/web while a finalizer keeps it, deleted and emptied.
func kept(change func(*testcrOf)) *testcrOf {
	deleted := metav1.NewTime(start)
	t := &testcrOf{
		Metadata: metav1.ObjectMeta{
			Name: oracle.NameFor("default/web"), UID: "t-web", DeletionTimestamp: &deleted,
			Labels: map[string]string{oracle.LabelManagedBy: oracle.ManagedBy, oracle.LabelNamespace: "default"},
		},
		Spec: json.RawMessage(`{"podkey":"default/web","podname":"web","poduid":"","namespace":"default","hostnetwork":false,"ready":false,"terminating":true}`),
	}
	if change != nil {
		change(t)
	}
	return t
}

func TestChecker_TestcrsKeptByAFinalizer(t *testing.T) {
	// lives has the Testcr deleted, and kept, while its Pod lives.
	lives := func(l logs) {
		l.pod(10, running)
		l.says(11, "web", running)
		l.allowed.deleted["t-web"] = struct{}{}
		deleted := testcr("web", running)
		deleted.Metadata.DeletionTimestamp = kept(nil).Metadata.DeletionTimestamp
		l.testcrEvent(deleted, 12, false, at(12))
	}
	empty := func(l logs, version uint64, change func(*testcrOf)) {
		l.testcrEvent(kept(change), version, false, at(version))
	}
	tests := []struct {
		name string
		feed func(l logs)
		want []Kind
	}{
		{name: "it goes while its Pod lives, and is created again", feed: func(l logs) {
			l.noTestcr(13, "web")
			l.says(14, "web", running)
		}},
		{name: "it is emptied when its Pod goes, and goes later", feed: func(l logs) {
			l.noPod(13, running)
			empty(l, 14, nil)
			l.noTestcr(20, "web")
		}},
		{name: "it is emptied, and shows the next Pod", feed: func(l logs) {
			l.noPod(13, running)
			empty(l, 14, nil)
			l.pod(15, next)
			l.says(16, "web", next)
		}},
		{name: "bug: it is emptied while its Pod lives", feed: func(l logs) { empty(l, 13, nil) }, want: []Kind{DeletedLive}},
		{name: "bug: it is emptied while the next Pod is shown", feed: func(l logs) {
			l.noPod(13, running)
			l.pod(14, next)
			l.says(15, "web", next)
			empty(l, 16, nil)
		}, want: []Kind{DeletedLive}},
		{name: "bug: one that is not deleted is emptied", feed: func(l logs) {
			l.noPod(13, running)
			empty(l, 14, func(t *testcrOf) { t.Metadata.DeletionTimestamp = nil })
		}, want: []Kind{NeverHadUID}},
		{name: "bug: an IP is left in it", feed: func(l logs) {
			l.noPod(13, running)
			empty(l, 14, func(t *testcrOf) {
				t.Spec = json.RawMessage(`{"podkey":"default/web","podname":"web","poduid":"","namespace":"default","podip":"10.0.0.1","terminating":true}`)
			})
		}, want: []Kind{NeverHadUID}},
		{name: "bug: a label that finds it by its IP is left", feed: func(l logs) {
			l.noPod(13, running)
			empty(l, 14, func(t *testcrOf) { t.Metadata.Labels["ip.stable.example.com/10.0.0.1"] = "" })
		}, want: []Kind{NeverHadUID}},
		{name: "bug: it has the key of another Pod", feed: func(l logs) {
			l.noPod(13, running)
			empty(l, 14, func(t *testcrOf) {
				t.Spec = json.RawMessage(`{"podkey":"default/other","podname":"other","poduid":"","namespace":"default","terminating":true}`)
			})
		}, want: []Kind{NeverHadUID}},
		{name: "bug: it shows its Pod again after it was emptied", feed: func(l logs) {
			l.noPod(13, running)
			empty(l, 14, nil)
			l.says(15, "web", running)
		}, want: []Kind{WentBack}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLogs()
			lives(l)
			test.feed(l)
			if diff := cmp.Diff(test.want, l.kinds()); diff != "" {
				t.Errorf("findings (-want +got):\n%s\n%v", diff, l.findings)
			}
		})
	}

	l := newLogs()
	lives(l)
	l.noPod(13, running)
	if n, _, _ := l.drift(); n != 1 {
		t.Errorf("%d Testcrs are wrong before it is emptied, want 1", n)
	}
	empty(l, 14, nil)
	if n, _, some := l.drift(); n != 0 {
		t.Errorf("%d Testcrs are wrong after it is emptied: %s", n, some)
	}
	l.testcrList(nil, 20, at(20)) // it went in a gap
	if l.histories[oracle.NameFor("default/web")].uid != "" {
		t.Error("it is still there after a list without it")
	}
	if found := compare(nil, []testcrOf{*kept(nil)}, start); len(found) != 0 {
		t.Errorf("at rest: %v", found)
	}
	if found := compare(map[string]state{"default/web": expect(running)}, []testcrOf{*kept(nil)}, start); len(found) != 1 {
		t.Errorf("at rest with its Pod: %v", found)
	}
}

func withVersion(p *corev1.Pod, version uint64) corev1.Pod {
	p = p.DeepCopy()
	p.ResourceVersion = fmt.Sprint(version)
	return *p
}

func TestChecker_WritesWaitForPods(t *testing.T) {
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

func TestCompare(t *testing.T) {
	stale := onNode(pod("web", "u1", "10.0.0.1"), "node-2")
	wrongLabel := testcr("web", running)
	wrongLabel.Metadata.Labels["ip.stable.example.com/10.9.9.9"] = ""
	foreign := testcr("theirs", pod("theirs", "u9", ""))
	delete(foreign.Metadata.Labels, oracle.LabelManagedBy)
	tests := []struct {
		name    string
		testcrs []testcrOf
		want    []Kind
	}{
		{name: "all is well", testcrs: []testcrOf{*testcr("web", running)}},
		{name: "somebody else's is in nobody's way", testcrs: []testcrOf{*testcr("web", running), *foreign}},
		{name: "bug: one is missing", want: []Kind{Missing}},
		{name: "bug: an orphan", testcrs: []testcrOf{*testcr("web", running), *testcr("gone", pod("gone", "u7", ""))}, want: []Kind{Orphan}},
		{name: "bug: one Pod has two", testcrs: []testcrOf{*testcr("web", running), *testcr("again", running)}, want: []Kind{Duplicate}},
		{name: "bug: an old value", testcrs: []testcrOf{*testcr("web", stale)}, want: []Kind{Differs}},
		{name: "bug: a label of an IP that is not the Pod's", testcrs: []testcrOf{*wrongLabel}, want: []Kind{Differs}},
		{name: "bug: under another name", testcrs: []testcrOf{*testcr("other", running)}, want: []Kind{Duplicate, Missing}},
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

func TestChecker_Staleness(t *testing.T) {
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

func TestChecker_ForeignIsNoDrift(t *testing.T) {
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

func TestChecker_DriftAge(t *testing.T) {
	l := newLogs()
	l.pod(10, pending)
	l.pod(12, bound)
	l.says(13, "web", pending)
	n, since, _ := l.drift()
	if n != 1 || !since.Equal(at(10)) {
		t.Errorf("%d differ, the oldest since %s, want 1 since %s", n, since, at(10))
	}
}

func TestChecker_Forgets(t *testing.T) {
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
	if _, kept := l.histories[oracle.NameFor("default/web")]; kept {
		t.Error("what is long gone is kept")
	}
	if n := len(l.histories[oracle.NameFor("default/busy")].versions); n > 3*keptVersions {
		t.Errorf("%d versions are kept", n)
	}
	if l.found != 0 {
		t.Error(l.findings)
	}
}
