package lookup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/weiyuanke/PodInfoLookup/api/v1"
	"github.com/weiyuanke/PodInfoLookup/bench/internal/harness"
)

// manyQueries is the number of IPs in one call of the plugin.
const manyQueries = 100

// command is a command line that finds Pods.
type command struct {
	name string
	pods int
	args func(pods []*corev1.Pod) []string
}

// commandsOf returns command lines of the plugin, and the equivalent ones of
// kubectl.
func (b *bench) commandsOf() []command {
	kubectl := func(args ...string) func([]*corev1.Pod) []string {
		return func(pods []*corev1.Pod) []string {
			last := args[len(args)-1] + pods[0].Status.PodIP
			return append(append([]string{b.o.kubectl, "get"}, args[:len(args)-1]...), last)
		}
	}
	commands := []command{
		{"kubectl get pods -A --field-selector status.podIP=IP", 1, kubectl("pods", "-A", "--field-selector", "status.podIP=")},
		{"kubectl get tc --field-selector spec.podip=IP", 1, kubectl("tc", "--field-selector", "spec.podip=")},
		{"kubectl get tc -l ip.stable.example.com/IP", 1, kubectl("tc", "-l", strings.TrimSuffix(v1.LabelIP(netip.IPv4Unspecified()), "0.0.0.0"))},
	}
	if b.o.plugin == "" {
		return commands
	}
	plugin := func(term func(*corev1.Pod) string) func([]*corev1.Pod) []string {
		return func(pods []*corev1.Pod) []string {
			args := []string{b.o.plugin}
			for _, pod := range pods {
				args = append(args, term(pod))
			}
			return args
		}
	}
	ip := plugin(func(pod *corev1.Pod) string { return pod.Status.PodIP })
	return append([]command{
		{"kubectl-podinfo IP", 1, ip},
		{"kubectl-podinfo UID", 1, plugin(func(pod *corev1.Pod) string { return string(pod.UID) })},
		{"kubectl-podinfo CONTAINER-ID", 1, plugin(func(pod *corev1.Pod) string { return pod.Status.ContainerStatuses[0].ContainerID })},
		{fmt.Sprintf("kubectl-podinfo, %d IPs", manyQueries), manyQueries, ip},
	}, commands...)
}

// commands measures the commands in turns, from start to end.
func (b *bench) commands(ctx context.Context) error {
	commands := b.commandsOf()
	cache, err := os.MkdirTemp("", "podinfolookup-bench-") // discovery cache of kubectl
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(cache) }() // a temporary folder
	kubeconfig, err := filepath.Abs(b.o.kubeconfig)
	if err != nil {
		return err
	}
	env := append(os.Environ(), "KUBECONFIG="+kubeconfig, "KUBECACHEDIR="+cache, "KUBERC=off")
	for call := range b.o.calls + 1 {
		if err := harness.Quiet(ctx, b.o.clusterDir, nil, b.o.Patience); err != nil {
			return err
		}
		for i := range commands {
			c := &commands[(i+call)%len(commands)]
			r, err := b.call(ctx, c, env)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if r.Round = call; call == 0 {
				r.Measure += ", the first" // it fills the discovery cache
			}
			if err := b.Add(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// someWithContainer returns n random Pods that have a container ID.
func (b *bench) someWithContainer(n int) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, i := range rand.Perm(len(b.pods)) { //nolint:gosec // G404: no secret
		if pod := b.pods[i]; len(pods) < n && len(pod.Status.ContainerStatuses) > 0 {
			pods = append(pods, pod)
		}
	}
	return pods
}

func (b *bench) call(ctx context.Context, c *command, env []string) (record, error) {
	r := record{Measure: c.name, Pods: len(b.pods)}
	pods := b.someWithContainer(c.pods)
	result, write, err := os.Pipe()
	if err != nil {
		return r, err
	}
	defer func() { _ = result.Close() }() // only read
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, b.o.timed, c.args(pods)...) //nolint:gosec // G204: of the commands above
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = env, &stdout, &stderr, []*os.File{write}
	err = errors.Join(cmd.Run(), write.Close())
	if err != nil {
		return r, fmt.Errorf("%w: %s", err, stderr.String())
	}
	out := stdout.String()
	wrong := strings.Count(out, "\n") != len(pods)+1 // a header and a line for each Pod
	for _, pod := range pods {
		wrong = wrong || !strings.Contains(out, pod.Name+" ") // the name of a Testcr contains that of its Pod
	}
	if wrong {
		return r, fmt.Errorf("lookup of the Pod %s and %d others: got %s", keyOf(pods[0]), len(pods)-1, out)
	}
	return r, json.NewDecoder(result).Decode(&r)
}
