package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

func TestHelpGroupsTheFlags(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--help", "-h"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			p := command(t, "--workers=0", flag).Start(t)
			if code := p.Wait(t, testenv.Patience); code != 0 || p.Stderr.String() != "" {
				t.Errorf("exit code %d, standard error %q", code, p.Stderr)
			}
			got := map[string][]string{}
			group := ""
			for line := range strings.Lines(p.Stdout.String()) {
				if found := regexp.MustCompile(`^(\w[\w ]*):\n$`).FindStringSubmatch(line); found != nil {
					group = found[1]
				} else if found := regexp.MustCompile(`^ +(?:-\w, )?--([a-z-]+)`).FindStringSubmatch(line); found != nil {
					got[group] = append(got[group], found[1])
				}
			}
			want := map[string][]string{
				"Cluster":    {"context", "kube-api-burst", "kube-api-qps", "kubeconfig", "namespace"},
				"Controller": {"owners", "workers"},
				"Leader election": {"leader-elect", "leader-elect-lease-duration", "leader-elect-renew-deadline",
					"leader-elect-resource-name", "leader-elect-resource-namespace", "leader-elect-retry-period"},
				"Serving": {"bind-address", "cluster-name", "link", "local-bind-address", "nodes", "services", "tls-cert-file", "tls-private-key-file"},
				"History": {"history", "history-max-size", "history-password-file", "history-retention"},
				"Output":  {"print-changes", "print-list"},
				"Logging": {"log-flush-frequency", "logging-format", "v", "vmodule"},
				"Other":   {"help", "version"},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("flags by group (-want +got):\n%s\n%s", diff, p.Stdout)
			}
		})
	}
}

func TestVersionIsOneLine(t *testing.T) {
	t.Parallel()
	p := command(t, "--version").Start(t)
	if code := p.Wait(t, testenv.Patience); code != 0 || p.Stderr.String() != "" {
		t.Errorf("exit code %d, standard error %q", code, p.Stderr)
	}
	if !regexp.MustCompile(`^podinfolookup \S+ \((commit [0-9a-f]{7}(-dirty)?, \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, )?go1\.\S+ \w+/\w+\)\n$`).MatchString(p.Stdout.String()) {
		t.Errorf("standard output %q", p.Stdout)
	}
}

func TestLogsAreJSONWhereAsked(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	p := start(t, namespace, "--logging-format=json", "-v=4")
	createPod(t, namespace, "nginx")
	testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has(`"Wrote"`) })
	p.Signal(t, os.Interrupt)
	if code := p.Wait(t, testenv.StopWithin); code != 0 {
		t.Errorf("exit code %d", code)
	}
	messages := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(p.Stderr.String()))
	for lines.Scan() {
		var line struct {
			TS   *float64 `json:"ts"`
			Msg  string   `json:"msg"`
			Verb string   `json:"verb"`
			Pod  struct{ Name, Namespace string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.TS == nil {
			t.Errorf("no log line in JSON: %s: %v", lines.Text(), err)
			continue
		}
		if line.Msg == "Wrote" && (line.Verb != "add" || line.Pod.Name != "nginx" || line.Pod.Namespace != namespace) {
			t.Errorf("not structured: %s", lines.Text())
		}
		messages[line.Msg] = true
	}
	for _, want := range []string{"Starting", "Serving /livez and /readyz", "Caches synced", "Wrote", "Stopped"} {
		if !messages[want] {
			t.Errorf("no line %q in %v", want, messages)
		}
	}
}

func TestWritesAreLoggedAtVerbosity4Alone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want bool
	}{
		{"by default", nil, false},
		{"with -v=3", []string{"-v=3"}, false},
		{"with -v=4", []string{"-v=4"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			namespace := env.Namespace(t, "")
			p := start(t, namespace, test.args...)
			createPod(t, namespace, "nginx")
			testenv.Eventually(t, func(context.Context) error { return p.Stdout.Has("add: " + namespace + "/nginx\n") })
			p.Signal(t, os.Interrupt)
			p.Wait(t, testenv.StopWithin)
			line := regexp.MustCompile(`"Wrote" verb="add" reason="pod_changed" pod="` + namespace + `/nginx" testcr="[0-9a-f]{32}"`)
			if got := line.MatchString(p.Stderr.String()); got != test.want {
				t.Errorf("a line for the write: %t, want %t:\n%s", got, test.want, p.Stderr)
			}
		})
	}
}

func TestGoRunMainGoWorksAsWritten(t *testing.T) {
	t.Parallel()
	namespace := env.Namespace(t, "")
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	// From empty caches this takes minutes, for which the start is not to blame.
	build := exec.CommandContext(t.Context(), goTool, "build", "-o", os.DevNull, "main.go")
	build.Dir = testenv.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := testenv.Command(t, goTool, "run", "main.go", "--kubeconfig="+env.Kubeconfig, "--namespace="+namespace, "--bind-address=127.0.0.1:0")
	p.Cmd().Dir = testenv.Root()
	p.Cmd().Env = os.Environ() // for the build cache
	// As in a terminal, the signal goes to `go run` and to what it runs.
	p.Cmd().SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.Start(t)
	t.Cleanup(func() { _ = syscall.Kill(-p.Cmd().Process.Pid, syscall.SIGTERM) })
	address := regexp.MustCompile(`address="127\.0\.0\.1:\d+"`)
	for start := time.Now(); !address.MatchString(p.Stderr.String()) && time.Since(start) < 3*time.Minute; { // it links
		if err := p.Running(); err != nil {
			t.Fatal(err)
		}
		<-time.After(testenv.Poll)
	}
	p.Ready(t)
	createPod(t, namespace, "nginx")
	testenv.Eventually(t, func(context.Context) error { return p.Stdout.Has("add: " + namespace + "/nginx\n") })
	if err := syscall.Kill(-p.Cmd().Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	// `go run` itself has an exit code of 1 after a signal. It prints the exit
	// status of the program if that is not 0.
	p.Wait(t, testenv.StopWithin)
	if p.Stderr.Has(`"Stopped"`) != nil || p.Stderr.Has("exit status") == nil {
		t.Error("no clean stop")
	}
}

func TestTheClusterIsFoundAsKubectlFindsIt(t *testing.T) {
	t.Parallel()
	full, err := clientcmd.LoadFromFile(env.Login().Write(t))
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, path string, keep func(*kubeconfigParts)) string {
		t.Helper()
		parts := kubeconfigParts{*full.DeepCopy()}
		keep(&parts)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := clientcmd.WriteToFile(parts.Config, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	all := func(*kubeconfigParts) {}
	tests := []struct {
		name  string
		setup func(t *testing.T, home string) (args, environment []string)
	}{
		{"the flag goes before KUBECONFIG", func(t *testing.T, home string) ([]string, []string) {
			t.Helper()
			return []string{"--kubeconfig=" + write(t, filepath.Join(home, "a"), all)}, []string{"KUBECONFIG=" + filepath.Join(home, "missing")}
		}},
		{"KUBECONFIG goes before the home folder", func(t *testing.T, home string) ([]string, []string) {
			t.Helper()
			write(t, filepath.Join(home, ".kube", "config"), (*kubeconfigParts).nowhere)
			return nil, []string{"KUBECONFIG=" + write(t, filepath.Join(home, "a"), all)}
		}},
		{"KUBECONFIG is a list whose files are merged", func(t *testing.T, home string) ([]string, []string) {
			t.Helper()
			a := write(t, filepath.Join(home, "a"), (*kubeconfigParts).onlyCluster)
			b := write(t, filepath.Join(home, "b"), (*kubeconfigParts).allButCluster)
			missing := filepath.Join(home, "missing")
			return nil, []string{"KUBECONFIG=" + strings.Join([]string{a, missing, b}, string(filepath.ListSeparator))}
		}},
		{"the home folder", func(t *testing.T, home string) ([]string, []string) {
			t.Helper()
			write(t, filepath.Join(home, ".kube", "config"), all)
			return nil, nil
		}},
		{"another context than the current one", func(t *testing.T, home string) ([]string, []string) {
			t.Helper()
			write(t, filepath.Join(home, ".kube", "config"), (*kubeconfigParts).notCurrent)
			return []string{"--context=test"}, nil
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			args, environment := test.setup(t, home)
			p := command(t, append(args, "--namespace="+env.Namespace(t, ""))...)
			p.Cmd().Env = append(append(p.Cmd().Env, "HOME="+home), environment...)
			p.Start(t).Ready(t)
			if err := p.Stderr.Has(`server="` + strings.TrimSuffix(env.Config.Host, "/") + `"`); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestALowRateDoesNotKeepTheProgramFromStarting(t *testing.T) {
	t.Parallel()
	start(t, env.Namespace(t, ""), "--kube-api-qps=0.5")
}
