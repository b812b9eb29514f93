package plugin_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// wire is a connection to the API server that can be cut.
type wire struct {
	mu       sync.Mutex
	down     bool
	open     []net.Conn
	upstream string
}

// newWire returns a kubeconfig whose requests pass the wire.
func newWire(t *testing.T) (*wire, string) {
	t.Helper()
	server, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(server.Host, "https://")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{upstream: address}
	go w.serve(t.Context(), listener)
	t.Cleanup(func() {
		_ = listener.Close()
		w.set(true)
	})
	login := env.Login()
	login.Cluster.Server = "https://" + listener.Addr().String()
	return w, login.Write(t)
}

func (w *wire) serve(ctx context.Context, listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		server, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.upstream)
		if w.down || err != nil {
			_ = client.Close()
			w.mu.Unlock()
			continue
		}
		w.open = append(w.open, client, server)
		w.mu.Unlock()
		go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
	}
}

// set cuts the wire, all that runs over it too, or mends it.
func (w *wire) set(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
	if !down {
		return
	}
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

// events makes the plugin print what becomes of which Pod.
var events = []string{"-w", "--output-watch-events", "--no-headers"}

// lines returns the first words of each line: EVENT NAMESPACE NAME STATUS.
func lines(o *testenv.Output) (all []string) {
	for line := range strings.Lines(o.String()) {
		all = append(all, strings.Join(strings.Fields(line)[:4], " "))
	}
	return all
}

func (r *running) shows(t *testing.T, want ...string) {
	t.Helper()
	testenv.Eventually(t, func(context.Context) error {
		if diff := cmp.Diff(want, lines(r.Stdout)); diff != "" {
			return fmt.Errorf("lines (-want +got):\n%s", diff)
		}
		return nil
	})
}

func TestWatchShowsEachChange(t *testing.T) {
	first, second, other := pod("shop/first", "10.4.0.7"), pod("shop/second", "10.4.0.7"), pod("shop/other", "10.4.0.8")
	create(t, first, other)
	r := start(t, env.Kubeconfig, append([]string{"10.4.0.7"}, events...)...)
	want := []string{"ADDED shop first Running"}
	step := func(line string) {
		t.Helper()
		want = append(want, line)
		r.shows(t, want...)
	}
	r.shows(t, want...)
	create(t, second)
	step("ADDED shop second Running")
	first.Status.Phase = corev1.PodSucceeded
	change(t, first)
	step("MODIFIED shop first Succeeded")
	other.Status.PodIPs = []corev1.PodIP{{IP: "10.4.0.8"}, {IP: "10.4.0.7"}}
	change(t, other)
	step("ADDED shop other Running")
	other.Status.PodIPs = other.Status.PodIPs[:1]
	change(t, other)
	step("DELETED shop other Running")
	remove(t, second)
	step("DELETED shop second Running")
	if code := r.end(); code != 0 || r.Stderr.String() != "" {
		t.Errorf("code %d, standard error %q", code, r.Stderr)
	}
}

func TestWatchWaitsForWhatIsNotThere(t *testing.T) {
	r := start(t, env.Kubeconfig, "late", "-w", "-o", "jsonpath={.spec.podkey},")
	testenv.Eventually(t, func(context.Context) error { return r.Stderr.Has(`no Pod matches "late"`) })
	create(t, pod("shop/late", "10.4.1.7"))
	r.has(t, "shop/late,")
	if code := r.end(); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestWatchesManyQueriesAtOnce(t *testing.T) {
	var pods []*corev1.Pod
	for i := range 10 {
		pods = append(pods, pod(fmt.Sprintf("shop/many-%d", i), fmt.Sprintf("10.4.2.%d", i)))
	}
	create(t, pods...)
	r := start(t, env.Kubeconfig, "10.4.2.0", "10.4.2.1", "10.4.2.2", "10.4.2.3", "10.4.2.4", "10.4.2.5",
		"10.4.2.6", "10.4.2.7", "10.4.2.8", "many-9", "-w", "-n", "shop")
	r.has(t, "\nmany-9     shop        many-9")
	change(t, pods[0]) // an event without a difference
	remove(t, pods[9])
	r.has(t, "no longer found")
	if n := strings.Count(r.Stdout.String(), "\n"); n != 12 {
		t.Errorf("%d lines, want the headers, 10 Pods and one that went", n)
	}
	r.end()
}

func TestWatchSeesAnOutageThrough(t *testing.T) {
	before, meanwhile := pod("shop/before", "10.4.3.7"), pod("shop/meanwhile", "10.4.3.7")
	create(t, before)
	w, kubeconfig := newWire(t)
	r := start(t, kubeconfig, append([]string{"10.4.3.7"}, events...)...)
	r.shows(t, "ADDED shop before Running")
	create(t, pod("shop/once", "10.4.3.7")) // from here on the watch runs
	r.shows(t, "ADDED shop before Running", "ADDED shop once Running")
	w.set(true)
	create(t, meanwhile)
	remove(t, before)
	testenv.Eventually(t, func(context.Context) error { return r.Stderr.Has("warning: ") })
	w.set(false)
	testenv.Eventually(t, func(context.Context) error {
		got := map[string]bool{}
		for _, line := range lines(r.Stdout) {
			got[line] = true
		}
		for _, line := range []string{"ADDED shop meanwhile Running", "DELETED shop before Running"} {
			if !got[line] {
				return fmt.Errorf("no %q in %v", line, got)
			}
		}
		return nil
	})
	if code := r.end(); code != 0 || len(lines(r.Stdout)) != 4 {
		t.Errorf("code %d, lines %v", code, lines(r.Stdout))
	}
}

// ask writes line to annotate until it comes back as want.
func (r *running) ask(t *testing.T, line, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	err := wait.PollUntilContextCancel(ctx, testenv.Poll, true, func(context.Context) (bool, error) {
		seen := len(r.Stdout.String())
		if _, err := io.WriteString(r.Stdin, line+"\n"); err != nil {
			return false, err
		}
		testenv.Eventually(t, func(context.Context) error { return hasLine(r.Stdout.String()[seen:]) })
		return r.Stdout.String()[seen:] == want+"\n", nil
	})
	if err != nil {
		t.Fatalf("%q: %v; standard output ends in %q", line, err, lastLine(r.Stdout.String()))
	}
}

func hasLine(s string) error {
	if !strings.HasSuffix(s, "\n") {
		return fmt.Errorf("no line in %q", s)
	}
	return nil
}

func lastLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func TestAnnotateFollowsChanges(t *testing.T) {
	known := pod("shop/known", "10.5.0.7", "fd05::7")
	create(t, known, pod("other/elsewhere", "10.5.0.9"))
	r := start(t, env.Kubeconfig, "annotate", "-n", "shop")
	// All that was there is known from the first line on.
	if _, err := io.WriteString(r.Stdin, "10.5.0.7 [fd05::7]:80 10.5.0.9\n"); err != nil {
		t.Fatal(err)
	}
	r.has(t, "10.5.0.7[shop/known] [fd05::7[shop/known]]:80 10.5.0.9\n")
	second := pod("shop/second", "10.5.0.8")
	create(t, second)
	r.ask(t, "x 10.5.0.8", "x 10.5.0.8[shop/second]")
	second.Status.Phase = corev1.PodSucceeded
	change(t, second)
	r.ask(t, "x 10.5.0.8", "x 10.5.0.8[shop/second completed]")
	remove(t, second)
	r.ask(t, "x 10.5.0.8", "x 10.5.0.8")
	if _, err := io.WriteString(r.Stdin, "10.5.0.7 without an end"); err != nil {
		t.Fatal(err)
	}
	_ = r.Stdin.Close()
	if code := <-r.ended; code != 0 || !strings.HasSuffix(r.Stdout.String(), "\n10.5.0.7[shop/known] without an end") || r.Stderr.String() != "" {
		t.Errorf("code %d, standard error %q", code, r.Stderr)
	}
}

func TestAnnotateGoesOnWithoutTheAPIServer(t *testing.T) {
	create(t, pod("shop/known", "10.5.1.7"))
	w, kubeconfig := newWire(t)
	r := start(t, kubeconfig, "annotate")
	r.ask(t, "10.5.1.7", "10.5.1.7[shop/known]")
	w.set(true)
	testenv.Eventually(t, func(context.Context) error { return r.Stderr.Has("warning: ") })
	r.ask(t, "10.5.1.7", "10.5.1.7[shop/known]")
	create(t, pod("shop/new", "10.5.1.8"))
	if n := strings.Count(r.Stderr.String(), "warning: "); n != 1 {
		t.Errorf("%d warnings: %s", n, r.Stderr)
	}
	w.set(false)
	r.ask(t, "10.5.1.8", "10.5.1.8[shop/new]")
	testenv.Eventually(t, func(context.Context) error { return r.Stderr.Has("note: The API server answers again\n") })
	if code := r.end(); code != 0 {
		t.Errorf("code %d", code)
	}
}

func TestAnnotateFindsEachKindOfFact(t *testing.T) {
	const uid, id = "5d5a1c9e-6b0e-4d0a-9f57-17a17a17a17a", "17a17a17a17bb9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4"
	last, earlier := pod("facts/z-last", "10.5.2.7"), pod("facts/a-earlier", "10.5.2.7")
	last.UID, last.Status.StartTime, earlier.Status.StartTime = uid, new(metav1.Unix(1_700_000_009, 0)), new(metav1.Unix(1_700_000_000, 0))
	last.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://" + id}}
	create(t, last, earlier)
	tests := []struct {
		name, in, want string
		args           []string
	}{
		{name: "klog", in: `podUID="` + uid + `" containerID="containerd://` + id + `"`, want: `podUID="` + uid + `[facts/z-last]" containerID="containerd://` + id + `[facts/z-last main]"`},
		{name: "crictl", in: id[:13] + " \x1b[32m10.5.2.7\x1b[0m", want: id[:13] + "[facts/z-last main] \x1b[32m10.5.2.7[facts/z-last +1]\x1b[0m"},
		{name: "JSON", in: `{"msg":"\n10.5.2.7"}`, want: `{"msg":"\n10.5.2.7[facts/z-last +1]"}`},
		{name: "a field", in: `{"msg":"\n10.5.2.7"}`, want: `{"msg":"\n10.5.2.7","podinfo":[{"fact":"10.5.2.7","pod":"facts/z-last","others":1}]}`, args: []string{"--json"}},
		{name: "text with --json", in: "10.5.2.7", want: "10.5.2.7[facts/z-last +1]", args: []string{"--json"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := run(t, env.Kubeconfig, test.in+"\n", append([]string{"annotate"}, test.args...)...)
			if diff := cmp.Diff(result{Stdout: test.want + "\n"}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	got := run(t, env.Kubeconfig, "", append([]string{"10.5.2.7"}, keys...)...)
	if diff := cmp.Diff("facts/z-last\nfacts/a-earlier\n", got.Stdout); diff != "" {
		t.Errorf("the last holder first (-want +got):\n%s", diff)
	}
}

// TestWatch_SortBy follows a Pod that lacks the value by which the answer is sorted.
func TestWatch_SortBy(t *testing.T) {
	owned, plain := pod("sorts/owned", "10.62.0.1"), pod("sorts/plain", "10.62.0.2")
	owned.Labels, plain.Labels = map[string]string{"tier": "sorts"}, map[string]string{"tier": "sorts"}
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "owner", UID: "u", Controller: new(true)}}
	create(t, owned, plain)
	r := start(t, env.AdminKubeconfig, append([]string{"-l", "tier=sorts", `--sort-by={.metadata.labels['stable\.example\.com/workload']}`}, events...)...)
	r.shows(t, "ADDED sorts plain Running", "ADDED sorts owned Running")
	plain.Status.Phase = corev1.PodSucceeded
	change(t, plain)
	r.shows(t, "ADDED sorts plain Running", "ADDED sorts owned Running", "MODIFIED sorts plain Succeeded")
	if code := r.end(); code != 0 {
		t.Errorf("code %d", code)
	}
}
