package plugin_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// program is a run of name, the plugin or kubectl, that has yet to be started.
// Both are in its PATH.
func program(t *testing.T, name string, args ...string) *testenv.Program {
	t.Helper()
	kubectl := filepath.Join(testenv.Root(), ".cluster", "bin")
	binary := map[string]string{"kubectl": kubectl + "/kubectl", "kubectl-podinfo": programs + "/kubectl-podinfo"}[name]
	p := testenv.Command(t, binary, args...)
	p.Cmd().Env = append(p.Cmd().Env, "KUBECONFIG="+env.AdminKubeconfig, "PATH="+strings.Join([]string{programs, kubectl, "/usr/bin", "/bin"}, ":"))
	return p
}

func TestIsAPluginOfKubectl(t *testing.T) {
	create(t, shop()...)
	tests := []struct {
		name string
		args []string
		want string // in standard output
	}{
		{"it is listed", []string{"plugin", "list"}, programs + "/kubectl-podinfo\n"},
		{"it is run", []string{"podinfo", "10.1.0.7", "-o", "name"}, "pod/cart-5d9f7c6b4-abcde\n"},
		{"its help is of kubectl podinfo", []string{"podinfo", "--help"}, "kubectl podinfo QUERY... [flags]"},
		{"its version", []string{"podinfo", "--version"}, "kubectl podinfo version "},
		{"kinds are completed", []string{"__complete", "podinfo", "--by", ""}, "ip\nuid\ncontainer\n"},
		{"formats are completed", []string{"__complete", "podinfo", "-o", ""}, "\ncustom-columns\n"},
		{"namespaces are completed", []string{"__complete", "podinfo", "annotate", "-n", "kube-s"}, "kube-system\n"},
		{"contexts are completed", []string{"__complete", "podinfo", "--context", ""}, "test\n"},
		{"commands are completed", []string{"__complete", "podinfo", "ann"}, "annotate\t"},
		{"the shell's script", []string{"podinfo", "completion", "bash"}, "__start_kubectl-podinfo"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := program(t, "kubectl", test.args...).Start(t)
			if code := p.Wait(t, testenv.Patience); code != 0 || p.Stdout.Has(test.want) != nil {
				t.Errorf("code %d, standard output %q, want %q in it; standard error %q", code, p.Stdout, test.want, p.Stderr)
			}
		})
	}
}

func TestExitCodeOfTheProgram(t *testing.T) {
	create(t, shop()...)
	tests := []struct {
		args []string
		want int
	}{
		{[]string{"shop/web"}, 0},
		{[]string{"shop/web", "nobody"}, 1},
		{[]string{"--nonsense"}, 2},
	}
	for _, test := range tests {
		if code := program(t, "kubectl-podinfo", test.args...).Start(t).Wait(t, testenv.Patience); code != test.want {
			t.Errorf("%v: code %d, want %d", test.args, code, test.want)
		}
	}
}

// As head(1) leaves a filter.
func TestClosedStandardOutputIsNoError(t *testing.T) {
	create(t, shop()...)
	for _, args := range [][]string{{"shop/web"}, {"annotate"}} {
		reader, writer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_ = reader.Close()
		p := program(t, "kubectl-podinfo", args...)
		p.Cmd().Stdin, p.Cmd().Stdout = strings.NewReader("10.1.0.7\n"), writer
		p.Start(t)
		_ = writer.Close()
		if code := p.Wait(t, testenv.Patience); code != 0 || p.Stderr.String() != "" {
			t.Errorf("%v: code %d, standard error %q", args, code, p.Stderr)
		}
	}
}

func TestInterruptEndsWhatWaits(t *testing.T) {
	create(t, shop()...)
	tests := []struct {
		args     []string
		begins   string // in standard output when it is interrupted
		wantCode int
	}{
		{[]string{"shop/web", "-w"}, "web", 0},
		{[]string{"annotate"}, "web", 0},
		{[]string{"-"}, "", 130},
	}
	for _, test := range tests {
		stdin, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = stdin.Close(), feed.Close() }()
		if _, err := feed.WriteString("10.1.0.70 shop web\n"); err != nil {
			t.Fatal(err)
		}
		p := program(t, "kubectl-podinfo", test.args...)
		p.Cmd().Stdin = stdin
		p.Start(t)
		testenv.Eventually(t, func(context.Context) error {
			if test.begins == "" {
				return read(feed)
			}
			return p.Stdout.Has(test.begins)
		})
		p.Signal(t, syscall.SIGINT)
		if code := p.Wait(t, testenv.StopWithin); code != test.wantCode || p.Stderr.String() != "" {
			t.Errorf("%v: code %d, standard error %q", test.args, code, p.Stderr)
		}
	}
}

// read returns an error until what was fed to a pipe has been read.
func read(feed *os.File) error {
	waiting, err := unix.IoctlGetInt(int(feed.Fd()), unix.TIOCINQ)
	if err == nil && waiting > 0 {
		err = fmt.Errorf("%d bytes wait", waiting)
	}
	return err
}

// terminal returns both ends of a new one.
func terminal(t *testing.T) (screen, end *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	end, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return screen, end
}

func TestColorIsForTerminals(t *testing.T) {
	create(t, shop()...)
	const bold = "\x1b[1m"
	tests := []struct {
		name, env string
		args      []string
		want      bool
	}{
		{"a terminal", "TERM=xterm", nil, true},
		{"a table", "TERM=xterm", []string{"-o", "table"}, true},
		{"a terminal of somebody who wants none", "NO_COLOR=1", nil, false},
		{"a terminal that has none", "TERM=dumb", nil, false},
		{"a program's format", "TERM=xterm", []string{"-o", "json"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			screen, end := terminal(t)
			p := program(t, "kubectl-podinfo", append([]string{"shop/web"}, test.args...)...)
			p.Cmd().Stdout, p.Cmd().Env = end, append(p.Cmd().Env, test.env)
			p.Start(t)
			_ = end.Close()
			text, _ := io.ReadAll(screen) // it ends in an error once the other end is closed
			if code := p.Wait(t, testenv.Patience); code != 0 || strings.Contains(string(text), bold) != test.want {
				t.Errorf("code %d, %q, color wanted: %t", code, text, test.want)
			}
		})
	}
	p := program(t, "kubectl-podinfo", "shop/web").Start(t)
	if p.Wait(t, testenv.Patience); p.Stdout.Has("\x1b") == nil {
		t.Errorf("a pipe gets color: %q", p.Stdout)
	}
}
