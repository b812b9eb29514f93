package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/internal/desired"
	"github.com/weiyuanke/PodInfoLookup/internal/testcrcache/testcrcachetest"
)

// testcr returns the Testcr of a running Pod "shop/NAME" with these IPs, after
// changes.
func testcr(name string, ips []string, changes ...func(*corev1.Pod)) *v1.Testcr {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)},
		Spec:       corev1.PodSpec{NodeName: "worker-1"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for i, ip := range ips {
		if i == 0 {
			pod.Status.PodIP = ip
		}
		pod.Status.PodIPs = append(pod.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	for _, change := range changes {
		change(pod)
	}
	return desired.FromPod(pod)
}

func onHost(pod *corev1.Pod)      { pod.Spec.HostNetwork = true }
func completed(pod *corev1.Pod)   { pod.Status.Phase = corev1.PodSucceeded }
func terminating(pod *corev1.Pod) { pod.DeletionTimestamp = &metav1.Time{} }

func startedAt(second int64) func(*corev1.Pod) {
	return func(pod *corev1.Pod) { pod.Status.StartTime = new(metav1.Unix(second, 0)) }
}

// running gives the Pod a UID and containers with these IDs: c0, c1 ...
func running(uid types.UID, ids ...string) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.UID = uid
		for i, id := range ids {
			name := fmt.Sprint("c", i)
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name})
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, ContainerID: id})
		}
	}
}

// texts returns the labels of n by their facts.
func texts(n *names) map[string]string {
	all := map[string]string{}
	for k, l := range n.labels.ips {
		all[netip.AddrFrom16(k).Unmap().String()] = string(l)
	}
	for k, l := range n.labels.uids {
		all[fmt.Sprintf("%x-%x-%x-%x-%x", k[:4], k[4:6], k[6:8], k[8:10], k[10:])] = string(l)
	}
	add := func(id string) { all[id[:strings.IndexByte(id, '[')]] = id[strings.IndexByte(id, '['):] }
	for k, id := range n.labels.ids {
		add(id)
		for _, other := range n.labels.more[k] {
			add(other)
		}
	}
	return all
}

func TestLabelsOfSharedIPs(t *testing.T) {
	ip := []string{"10.0.0.7"}
	tests := []struct {
		name    string
		testcrs []*v1.Testcr
		want    string
	}{
		{"nobody", nil, ""},
		{"one Pod", []*v1.Testcr{testcr("a", ip)}, "[shop/a]"},
		{"a live Pod after one that has completed", []*v1.Testcr{testcr("a", ip, completed), testcr("b", ip)}, "[shop/b]"},
		{"a live Pod before one that is being deleted", []*v1.Testcr{testcr("a", ip, terminating), testcr("b", ip)}, "[shop/b +1]"},
		{"the last holder first", []*v1.Testcr{testcr("a", ip, startedAt(1)), testcr("b", ip, startedAt(3)), testcr("c", ip, startedAt(2))}, "[shop/b +2]"},
		{"the last holder of those that have completed", []*v1.Testcr{testcr("a", ip, completed, startedAt(1)), testcr("b", ip, completed, startedAt(2))}, "[shop/b +1 completed]"},
		{"only one that is being deleted", []*v1.Testcr{testcr("a", ip, terminating)}, "[shop/a]"},
		{"only completed ones", []*v1.Testcr{testcr("a", ip, completed), testcr("b", ip, completed)}, "[shop/a +1 completed]"},
		{"a host network", []*v1.Testcr{testcr("a", ip, onHost), testcr("b", ip, onHost), testcr("c", ip, onHost)}, "[node/worker-1 shop/a +2]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := newNames()
			for _, c := range test.testcrs {
				n.update(nil, testcrcachetest.Entry(c))
			}
			if diff := cmp.Diff(test.want, string(n.labels.ips[netip.MustParseAddr("10.0.0.7").As16()])); diff != "" {
				t.Errorf("label (-want +got):\n%s", diff)
			}
			for _, c := range test.testcrs {
				n.update(testcrcachetest.Entry(c), nil)
			}
			if all := texts(n); len(all) > 0 {
				t.Errorf("left when all are gone: %v", all)
			}
		})
	}
}

func TestLabelsFollowChanges(t *testing.T) {
	n := newNames()
	handler := n.handler()
	first := testcrcachetest.Entry(testcr("a", []string{"10.0.0.7", "FD00::7"}))
	moved := testcrcachetest.Entry(testcr("a", []string{"10.0.0.8"}))
	unmanaged := testcr("b", []string{"10.0.0.9"})
	unmanaged.Labels = nil
	foreign := testcrcachetest.Entry(unmanaged)
	steps := []struct {
		name string
		do   func()
		want map[string]string
	}{
		{"added with two IPs", func() { handler.OnAdd(first, true) }, map[string]string{"10.0.0.7": "[shop/a]", "fd00::7": "[shop/a]"}},
		{"one that is not ours", func() { handler.OnAdd(foreign, true) }, map[string]string{"10.0.0.7": "[shop/a]", "fd00::7": "[shop/a]"}},
		{"another IP", func() { handler.OnUpdate(first, moved) }, map[string]string{"10.0.0.8": "[shop/a]"}},
		{"a tombstone without an object", func() { handler.OnDelete(cache.DeletedFinalStateUnknown{}) }, map[string]string{"10.0.0.8": "[shop/a]"}},
		{"deleted between two watches", func() { handler.OnDelete(cache.DeletedFinalStateUnknown{Obj: moved}) }, map[string]string{}},
	}
	for _, step := range steps {
		step.do()
		if diff := cmp.Diff(step.want, texts(n)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestLabelsOfUIDsAndContainerIDs(t *testing.T) {
	first, second, short := id, id[:63]+"1", id[:13]
	n := newNames()
	before := testcrcachetest.Entry(testcr("a", nil, running(uid, "containerd://"+first, "docker://"+strings.ToUpper(second))))
	after := testcrcachetest.Entry(testcr("a", nil, running(uid, "containerd://"+first, "docker://"+short), completed))
	same := testcrcachetest.Entry(testcr("b", nil, running(types.UID(strings.ToUpper(uid)), first, "", "short", "x-no-id-x-no-id"), startedAt(5)))
	steps := []struct {
		name string
		do   func()
		want map[string]string
	}{
		{"two containers", func() { n.update(nil, before) }, map[string]string{uid: "[shop/a]", first: "[shop/a c0]", second: "[shop/a c1]"}},
		{"a restart, and completed", func() { n.update(before, after) }, map[string]string{uid: "[shop/a]", first: "[shop/a c0]", short: "[shop/a c1]"}},
		{"another Pod with the same ID", func() { n.update(nil, same) }, map[string]string{uid: "[shop/b]", first: "[shop/b c0 +1]", short: "[shop/a c1]"}},
		{"that one is gone", func() { n.update(same, nil) }, map[string]string{first: "[shop/a c0]", short: "[shop/a c1]"}},
		{"both are gone", func() { n.update(after, nil) }, map[string]string{}},
	}
	for _, step := range steps {
		step.do()
		if diff := cmp.Diff(step.want, texts(n)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	if len(n.labels.more) > 0 {
		t.Error("an empty list is left")
	}
}

// What the API server would never store, and what is as long as it would.
func TestLabelsOfHostileNames(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name string
		h    holder
	}{
		{"quotes and controls", holder{Pod: clean("sh\"op/\\a\x1b[2J\n] \u202e\xff", longestPod), Node: clean("[a/b] +\x00", longestName), Container: clean("é+", longestContainer), Others: 3}},
		{"too long", holder{Pod: clean("a/"+long(2000), longestPod), Node: clean(long(2000), longestName), Container: clean(long(2000), longestContainer), Others: 1 << 40, Completed: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := test.h.text()
			if n := labelLength([]byte(text + "]")); n != len(text) {
				t.Errorf("%q: labelLength is %d, want %d", text, n, len(text))
			}
			if !json.Valid([]byte(`"`+text+`"`)) || !json.Valid([]byte(`{`+test.h.json())) {
				t.Errorf("%q, %q: not JSON", text, test.h.json())
			}
		})
	}
}

// writes keeps each write apart.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestCopyWritesWhatEachReadCompletes(t *testing.T) {
	n := newNames()
	n.update(nil, testcrcachetest.Entry(testcr("a", []string{"10.0.0.7"})))
	reads := []string{"10.0.0.7 1\n", "10.0.", "0.7 2\n10.0.0.7 3\n10", ".0.0.7 4"}
	want := writes{"10.0.0.7[shop/a] 1\n", "10.0.0.7[shop/a] 2\n10.0.0.7[shop/a] 3\n", "10.0.0.7[shop/a] 4"}
	var readers []io.Reader
	for _, r := range reads {
		readers = append(readers, strings.NewReader(r))
	}
	var got writes
	if err := n.copy(&got, io.MultiReader(readers...)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestCopyKeepsEveryByteOfLongLines(t *testing.T) {
	n := newNames()
	n.update(nil, testcrcachetest.Entry(testcr("a", []string{"10.0.0.7"})))
	tests := []struct {
		name, line string
		times      int
		annotated  bool
	}{
		{"with spaces", "10.0.0.7 ", blockSize / 3, true},
		{"without any", "x", 3 * blockSize, false},
		{"with labels", "10.0.0.7[shop/b +1] ", blockSize / 6, false},
		{"with a bracket before the end", "x[a/b 10.0.0.7 ", blockSize / 6, true},
		{"of an address without end", "1.", 3 * blockSize, false},
		{"of bytes that are not text", "\xff\x00", 2 * blockSize, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := strings.Repeat(test.line, test.times)
			for _, reader := range []io.Reader{strings.NewReader(in), iotest.HalfReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
				var out bytes.Buffer
				if err := n.copy(&out, reader); err != nil {
					t.Fatal(err)
				}
				labels := strings.Count(out.String(), "[shop/a]")
				if test.annotated && labels != test.times || !test.annotated && labels > 0 {
					t.Errorf("%d labels, the address is there %d times", labels, test.times)
				}
				if strings.ReplaceAll(out.String(), "[shop/a]", "") != in {
					t.Error("not the bytes that came in")
				}
			}
		})
	}
}

func TestCopyEndsWithItsOutputOrInput(t *testing.T) {
	broken := errors.New("broken")
	n := newNames()
	err := n.copy(io.Discard, iotest.ErrReader(broken))
	if failed := (readError{}); !errors.Is(err, broken) || !errors.As(err, &failed) {
		t.Errorf("error %v, want that of the read", err)
	}
	reader, writer := io.Pipe()
	_ = reader.CloseWithError(broken)
	err = n.copy(writer, strings.NewReader("x\n"))
	if failed := (readError{}); !errors.Is(err, broken) || errors.As(err, &failed) {
		t.Errorf("error %v, want that of the write", err)
	}
}

const (
	benchPods  = 20_000
	benchLines = 10_000
)

// benchIP is the IP of Pod i in three nodes' worth of subnets.
func benchIP(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }

// accessLine is a line of an access log, about 120 bytes, as ingress controllers
// write them: the client is a Pod, and half of them name the upstream, too.
func accessLine(i int) string {
	line := fmt.Sprintf(`%s - - [23/Nov/2026:18:04:%02d +0000] "GET /api/v1/carts/%d HTTP/1.1" 200 %d "-" "Go-http-client/2.0"`,
		benchIP(i%benchPods), i%60, i, i%5000)
	if i%2 == 0 {
		line += " upstream=" + benchIP(i*7%benchPods) + ":8080"
	}
	return line + "\n"
}

// klogLine is a line of a kubelet with a UID, a container ID and an IP.
func klogLine(i int) string {
	return fmt.Sprintf(`I1123 18:04:%02d.123456    1234 kubelet.go:2500] "SyncLoop (PLEG): event for pod" pod="shop/cart-5d9f7c6b4-%05d" podUID="%s" containerID="containerd://%s" ip="%s"`,
		i%60, i%benchPods, benchUID(i%benchPods), benchID(i%benchPods), benchIP(i%benchPods)) + "\n"
}

// jsonLine is a line of a log in JSON, with an IP behind an escape and a UID.
func jsonLine(i int) string {
	return fmt.Sprintf(`{"level":"info","ts":%d.123,"logger":"proxy","msg":"request done\n%s -\u003e 200","traceID":"4bf92f3577b34da6a3ce929d0e0e4736","podUID":"%s","duration":%d}`,
		1_700_000_000+i, benchIP(i%benchPods), benchUID(i*7%benchPods), i) + "\n"
}

func benchUID(i int) string { return fmt.Sprintf("%08x-6b0e-4d0a-9a1c-%012x", uint32(i)*2654435761, i) } //nolint:gosec // G115: it is to wrap

func benchID(i int) string {
	return fmt.Sprintf("%08x4f5ca3b2d1e0998877665544332211000f1e2d3c4b5a6978%08x", uint32(i)*2654435761, i) //nolint:gosec // G115: it is to wrap
}

func benchNames(asJSON bool) *names {
	n := newNames()
	n.json = asJSON
	for i := range benchPods {
		n.update(nil, testcrcachetest.Entry(testcr(fmt.Sprintf("cart-5d9f7c6b4-%05d", i), []string{benchIP(i)}, running(types.UID(benchUID(i)), "containerd://"+benchID(i)))))
	}
	return n
}

// Run with GOMAXPROCS=1: it takes one core, whatever there is.
func BenchmarkAnnotate(b *testing.B) {
	logs := []struct {
		name   string
		line   func(int) string
		asJSON bool
	}{
		{"access log", accessLine, false},
		{"klog", klogLine, false},
		{"JSON", jsonLine, false},
		{"JSON with --json", jsonLine, true},
	}
	for _, log := range logs {
		b.Run(log.name, func(b *testing.B) {
			n := benchNames(log.asJSON)
			var in bytes.Buffer
			for i := range benchLines {
				in.WriteString(log.line(i * 31))
			}
			b.SetBytes(int64(in.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if err := n.copy(io.Discard, bytes.NewReader(in.Bytes())); err != nil {
					b.Fatal(err)
				}
			}
			lines := float64(benchLines) * float64(b.N)
			b.ReportMetric(lines/b.Elapsed().Seconds(), "lines/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/lines, "ns/line")
			b.ReportMetric(float64(in.Len())/benchLines, "B/line")
		})
	}
}
