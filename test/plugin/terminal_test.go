package plugin_test

import (
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// checkout is a Pod with names as clouds and Deployments have them.
func checkout(name, ip string) *corev1.Pod {
	p := pod("production-checkout/"+name, ip)
	p.Spec.NodeName, p.Status.HostIP, p.Spec.ServiceAccountName = "ip-10-0-12-34.eu-central-1.compute.internal", "10.0.12.34", "checkout-service"
	p.Labels = map[string]string{"app": "checkout", "pod-template-hash": "7dfb7b87b"}
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "checkout-service-7dfb7b87b", Controller: new(true)}}
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: "registry.example.com/checkout:2"}, {Name: "istio-proxy", Image: "istio/proxyv2:1.30"}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "main", ContainerID: "containerd://" + strings.Repeat("7", 64), RestartCount: 7, ImageID: "registry.example.com/checkout@" + formDigest,
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ContainerID: "containerd://" + strings.Repeat("8", 64), Reason: "OOMKilled", ExitCode: 137,
		}},
	}}
	return p
}

// screenOf returns what a terminal of this width shows of a run of the plugin.
func screenOf(t *testing.T, width uint16, args ...string) string {
	t.Helper()
	screen, end := terminal(t)
	if err := unix.IoctlSetWinsize(int(end.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: width}); err != nil {
		t.Fatal(err)
	}
	p := program(t, "kubectl-podinfo", args...)
	p.Cmd().Stdout, p.Cmd().Env = end, append(p.Cmd().Env, "TERM=xterm")
	p.Start(t)
	_ = end.Close()
	text, _ := io.ReadAll(screen) // it ends in an error once the other end is closed
	if code := p.Wait(t, testenv.Patience); code != 0 {
		t.Errorf("code %d, standard error %q", code, p.Stderr)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

var colors = regexp.MustCompile("\x1b\\[[0-9]+m")

func TestTerminal(t *testing.T) {
	create(t, checkout("checkout-service-7dfb7b87b-5vxwk", "10.35.0.7"), checkout("checkout-service-7dfb7b87b-x9q2p", "10.35.0.8"))
	tests := []struct {
		name     string
		args     []string
		width    uint16
		want     []string // what the screen has, without colors
		unwanted []string
		color    string // of STATUS
	}{
		{
			name: "a card in 80 columns", args: []string{"10.35.0.7"}, width: 80, color: "\x1b[31mRunning\x1b[0m",
			want: []string{
				"Pod        production-checkout/checkout-service-7dfb7b87b-5vxwk\n", "Workload   Deployment/checkout-service, by the owner's name and a label\n",
				"\n  containerd://" + strings.Repeat("7", 64) + "\n", "  before the restart: OOMKilled (137)\n",
			},
			unwanted: []string{"NAMESPACE"},
		},
		{
			name: "a table in 80 columns", args: []string{"deploy/checkout-service"}, width: 80, color: "\x1b[31mRunning\x1b[0m",
			want:     []string{"NAMESPACE", "production-checkout  checkout-service-7dfb7b87b-x9q2p  Running  0/2"},
			unwanted: []string{"WORKLOAD"},
		},
		{
			name: "a wide table in 160 columns", args: []string{"deploy/checkout-service", "-o", "wide"}, width: 160, color: "\x1b[31mRunning\x1b[0m",
			want: []string{"ip-10-0-12-34…  ", "10.35.0.8", "10.0.12.34"},
		},
		{
			name: "one Pod as a table", args: []string{"10.35.0.7", "-o", "table"}, width: 80, color: "\x1b[31mRunning\x1b[0m",
			want: []string{"NAMESPACE"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := screenOf(t, test.width, test.args...)
			plain := colors.ReplaceAllString(text, "")
			for line := range strings.Lines(plain) {
				line = strings.TrimSuffix(line, "\n")
				isCommand := strings.HasPrefix(line, "  kubectl ") // it is copied whole
				if n := utf8.RuneCountInString(line); n > int(test.width) && !isCommand {
					t.Errorf("%d columns: %q", n, line)
				}
			}
			for _, want := range test.want {
				if !strings.Contains(plain, want) {
					t.Errorf("no %q", want)
				}
			}
			for _, unwanted := range test.unwanted {
				if strings.Contains(plain, unwanted) {
					t.Errorf("there is %q", unwanted)
				}
			}
			if !strings.Contains(text, test.color) {
				t.Errorf("no %q", test.color)
			}
			if t.Failed() {
				t.Logf("the screen:\n%s", text)
			}
		})
	}
}

// TestPipe prints what a terminal would get into a pipe: the whole table, plain.
func TestPipe(t *testing.T) {
	create(t, checkout("checkout-service-7dfb7b87b-5vxwk", "10.35.1.7"))
	tests := []struct {
		name string
		args []string
		want string
	}{
		{name: "one Pod", args: []string{"10.35.1.7"}, want: "   ip-10-0-12-34.eu-central-1.compute.internal   deployment/checkout-service   "},
		{name: "wide", args: []string{"10.35.1.7", "-o", "wide"}, want: "   main,istio-proxy\n"},
		{name: "a card", args: []string{"10.35.1.7", "-o", "card"}, want: "Pod        production-checkout/checkout-service-7dfb7b87b-5vxwk\n"},
		{name: "a Pod", args: []string{"10.35.1.7", "-o", "pod"}, want: "-n production-checkout pod/checkout-service-7dfb7b87b-5vxwk\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := program(t, "kubectl-podinfo", test.args...)
			p.Cmd().Env = append(p.Cmd().Env, "TERM=xterm")
			p.Start(t)
			if code := p.Wait(t, testenv.Patience); code != 0 || p.Stdout.Has(test.want) != nil || p.Stdout.Has("\x1b") == nil {
				t.Errorf("code %d, standard output %q, want %q in it", code, p.Stdout, test.want)
			}
		})
	}
}

// TestCommandsOfACard runs a command of a card, and one by xargs, as they are printed.
func TestCommandsOfACard(t *testing.T) {
	create(t, checkout("checkout-service-7dfb7b87b-5vxwk", "10.35.2.7"))
	for name, script := range map[string]string{
		"a card": `eval "$(kubectl podinfo 10.35.2.7 -o card | grep 'kubectl describe')"`,
		"a Pod":  `kubectl podinfo 10.35.2.7 -o pod | xargs kubectl get -o name`,
		"a name": `kubectl get -n production-checkout -o name "$(kubectl podinfo 10.35.2.7 -o name)"`,
	} {
		t.Run(name, func(t *testing.T) {
			p := program(t, "kubectl", "version", "--client")
			p.Cmd().Path, p.Cmd().Args = "/bin/sh", []string{"sh", "-c", script}
			p.Start(t)
			if code := p.Wait(t, testenv.Patience); code != 0 || p.Stdout.Has("checkout-service-7dfb7b87b-5vxwk") != nil {
				t.Errorf("code %d, standard output %q, standard error %q", code, p.Stdout, p.Stderr)
			}
		})
	}
}

// TestWatch_Formats follows a Pod in each format for people and for kubectl.
func TestWatch_Formats(t *testing.T) {
	p := checkout("checkout-service-7dfb7b87b-5vxwk", "10.35.3.7")
	create(t, p)
	begins := map[string]string{
		"":      "production-checkout   checkout-service-7dfb7b87b-5vxwk   Running",
		"table": "production-checkout   checkout-service-7dfb7b87b-5vxwk   Running",
		"card":  "Pod        production-checkout/checkout-service-7dfb7b87b-5vxwk\n",
		"name":  "pod/checkout-service-7dfb7b87b-5vxwk\n",
		"pod":   "--kubeconfig=" + env.Kubeconfig + " -n production-checkout pod/checkout-service-7dfb7b87b-5vxwk\n",
	}
	runs := map[string]*running{}
	for format := range begins {
		runs[format] = start(t, env.Kubeconfig, "10.35.3.7", "-w", "-o", format)
	}
	for format, r := range runs {
		r.has(t, begins[format])
	}
	remove(t, p)
	for format, want := range map[string]string{
		"": "no longer found\n", "table": "no longer found\n", "card": "Note       no longer found\n", "name": begins["name"] + begins["name"], "pod": begins["pod"] + begins["pod"],
	} {
		runs[format].has(t, want)
		if code := runs[format].end(); code != 0 || runs[format].Stderr.String() != "" {
			t.Errorf("-o %q: code %d, standard error %q", format, code, runs[format].Stderr)
		}
	}
}
