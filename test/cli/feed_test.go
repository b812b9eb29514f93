package cli_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// prints waits until standard output is want, where AGE stands for any age. A
// deleted Pod is Terminating first, which may or may not be seen.
func prints(t *testing.T, p *testenv.Program, want string) {
	t.Helper()
	age := regexp.MustCompile(`(?m)   [0-9]+s$`)
	terminating := regexp.MustCompile(`update: \S+\n(delete: \S+)\n`)
	testenv.Eventually(t, func(context.Context) error {
		got := age.ReplaceAllString(p.Stdout.String(), "   AGE")
		got = terminating.ReplaceAllString(got, "$1\n")
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("standard output (-want +got):\n%s", diff)
		}
		return nil
	})
}

func TestTheFeedIsThatOfTheArticle(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	name := v1.NameFor(types.NamespacedName(cache.NewObjectName(namespace, "nginx")))
	p := start(t, namespace)
	pod := namespace + "/nginx"

	createPod(t, namespace, "nginx")
	want := "add: " + pod + "\n" +
		"\ncurrent list:\n" +
		"NAME                               POD" + strings.Repeat(" ", len(pod)) + "IP       NODE     PHASE     AGE\n" +
		name + "   " + pod + "   <none>   <none>   Pending   AGE\n\n"
	prints(t, p, want)

	startPod(t, namespace, "nginx", "10.0.0.12")
	want += "update: " + pod + "\n" +
		"\ncurrent list:\n" +
		"NAME                               POD" + strings.Repeat(" ", len(pod)) + "IP          NODE     PHASE     AGE\n" +
		name + "   " + pod + "   10.0.0.12   <none>   Running   AGE\n\n"
	prints(t, p, want)

	deletePod(t, namespace, "nginx")
	want += "delete: " + pod + "\n" +
		"\ncurrent list:\n\n"
	prints(t, p, want)
}

func TestTheListHas20RowsAndSaysHowManyMore(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	for i := range 25 {
		createPod(t, namespace, fmt.Sprintf("pod-%02d", 24-i))
	}
	p := start(t, namespace, "--print-changes=false")
	// The last one: before it there may be one of the first few.
	list := regexp.MustCompile(`(?s)^.*\ncurrent list:\nNAME[^\n]+\n(.*?)\.\.\. and 5 more: kubectl get testcrs\n\n$`)
	var rows []string
	testenv.Eventually(t, func(context.Context) error {
		found := list.FindStringSubmatch(p.Stdout.String())
		if found == nil {
			return fmt.Errorf("no such list: %s", p.Stdout)
		}
		for line := range strings.Lines(found[1]) {
			rows = append(rows, strings.Fields(line)[1])
		}
		return nil
	})
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("%s/pod-%02d", namespace, i))
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestTheListComesAtMostOnceASecond(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	begun := time.Now()
	p := start(t, namespace)
	// Each change settles before the next one comes.
	for i := range 8 {
		createPod(t, namespace, fmt.Sprint("pod-", i))
		hasTestcr(t, namespace, fmt.Sprint("pod-", i), true)
		<-time.After(300 * time.Millisecond)
	}
	testenv.Eventually(t, func(context.Context) error {
		text := p.Stdout.String()
		if last := text[strings.LastIndex(text, "current list:")+1:]; strings.Count(last, "\n") != 8+3 {
			return fmt.Errorf("the last list is not whole: %s", last)
		}
		return nil
	})
	lists := strings.Count(p.Stdout.String(), "current list:")
	if most := 1 + int(time.Since(begun)/time.Second); lists < 2 || lists > most {
		t.Errorf("%d lists in %s:\n%s", lists, time.Since(begun), p.Stdout)
	}
}

func TestBothFeedsCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		args        []string
		wantChanges bool
		wantList    bool
	}{
		{"both on", nil, true, true},
		{"changes off", []string{"--print-changes=false"}, false, true},
		{"list off", []string{"--print-list=false"}, true, false},
		{"both off", []string{"--print-changes=false", "--print-list=false"}, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			namespace := env.Namespace(t, "")
			p := start(t, namespace, test.args...)
			createPod(t, namespace, "nginx")
			hasTestcr(t, namespace, "nginx", true)
			if test.wantList {
				testenv.Eventually(t, func(context.Context) error { return p.Stdout.Has("current list:") })
			} else {
				<-time.After(time.Second) // a list would have come by now
			}
			p.Signal(t, syscall.SIGTERM)
			p.Wait(t, testenv.StopWithin)
			changes, list := p.Stdout.Has("add: ") == nil, p.Stdout.Has("current list:") == nil
			if changes != test.wantChanges || list != test.wantList {
				t.Errorf("changes %t, list %t, want %t, %t", changes, list, test.wantChanges, test.wantList)
			}
			if !test.wantChanges && !test.wantList && p.Stdout.String() != "" {
				t.Errorf("standard output: %q", p.Stdout)
			}
		})
	}
}

func TestTheFeedKnowsNothingOfOtherNamespaces(t *testing.T) {
	t.Parallel()
	mine, other := env.Namespace(t, ""), env.Namespace(t, "")
	start(t, other)
	p := start(t, mine)
	createPod(t, other, "nginx")
	hasTestcr(t, other, "nginx", true)
	createPod(t, mine, "nginx")
	testenv.Eventually(t, func(context.Context) error { return p.Stdout.Has("current list:") })
	if p.Stdout.Has(other) == nil {
		t.Errorf("standard output of --namespace=%s:\n%s", mine, p.Stdout)
	}
}

func TestStandardOutputThatTakesNothingHoldsUpNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		stdout  func(*testing.T, *testenv.Program)
		wantLog bool // one line reports the end of the feed
	}{
		{"its reader has gone", closeStdout, true},
		{"its disk is full", fullStdout, true},
		{"its reader does not read", blockStdout, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			namespace := env.Namespace(t, "")
			p := command(t, "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace)
			test.stdout(t, p)
			p.Start(t).Ready(t)
			for i := range 10 {
				createPod(t, namespace, fmt.Sprint("pod-", i))
				hasTestcr(t, namespace, fmt.Sprint("pod-", i), true)
			}
			if test.wantLog {
				testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has("Standard output takes no more, the feed ends") })
			}
			deletePod(t, namespace, "pod-3")
			hasTestcr(t, namespace, "pod-3", false)
			if code, body, err := p.Get(t.Context(), t, "/readyz"); code != http.StatusOK || err != nil {
				t.Errorf("/readyz: %d %s %v", code, body, err)
			}
			p.Signal(t, syscall.SIGTERM)
			if code := p.Wait(t, testenv.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func closeStdout(t *testing.T, p *testenv.Program) {
	t.Helper()
	r, w := pipe(t)
	_ = r.Close()
	p.Cmd().Stdout = w
}

func fullStdout(t *testing.T, p *testenv.Program) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = full.Close() })
	p.Cmd().Stdout = full
}

// blockStdout gives the program a pipe that is full from the start.
func blockStdout(t *testing.T, p *testenv.Program) {
	t.Helper()
	_, w := pipe(t)
	if err := w.SetWriteDeadline(time.Now().Add(testenv.Poll)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) { // more than any pipe holds
		t.Fatal(err)
	}
	p.Cmd().Stdout = w
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}
