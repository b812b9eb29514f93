package plugin

import (
	"bytes"
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
			if diff := cmp.Diff(test.want, n.labels[netip.MustParseAddr("10.0.0.7").As16()]); diff != "" {
				t.Errorf("label (-want +got):\n%s", diff)
			}
			for _, c := range test.testcrs {
				n.update(testcrcachetest.Entry(c), nil)
			}
			if len(n.labels) > 0 {
				t.Errorf("left when all are gone: %v", n.labels)
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
		got := map[string]string{}
		for k, label := range n.labels {
			got[netip.AddrFrom16(k).Unmap().String()] = label
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
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
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "standard input: ") {
		t.Errorf("error %v, want that of standard input", err)
	}
	reader, writer := io.Pipe()
	_ = reader.CloseWithError(broken)
	if err := n.copy(writer, strings.NewReader("x\n")); !errors.Is(err, broken) {
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

func benchNames() *names {
	n := newNames()
	for i := range benchPods {
		n.update(nil, testcrcachetest.Entry(testcr(fmt.Sprintf("cart-5d9f7c6b4-%05d", i), []string{benchIP(i)})))
	}
	return n
}

// Run with GOMAXPROCS=1: it takes one core, whatever there is.
func BenchmarkAnnotate(b *testing.B) {
	n := benchNames()
	var in bytes.Buffer
	for i := range benchLines {
		in.WriteString(accessLine(i * 31))
	}
	b.SetBytes(int64(in.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if err := n.copy(io.Discard, bytes.NewReader(in.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchLines)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(in.Len())/benchLines, "B/line")
}
