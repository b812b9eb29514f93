package chaos_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// nodes take 110 Pods each.
const nodes = 10

// cluster is a local cluster of its own, whose processes may be killed.
type cluster struct {
	dir        string // of the cluster
	kubeconfig string
	config     *rest.Config
	clients    kubernetes.Interface
	dynamic    dynamic.Interface
	extensions apiextensions.Interface
	etcd       string // URL
	parts      map[string]*part
	ended      sync.WaitGroup // of the processes that were started here
}

// part is one process of the cluster, with what it takes to start it again.
type part struct {
	name, dir string
	argv      []string
	pid       int
	exited    chan struct{} // nil for one that kwokctl has started
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{dir: filepath.Join(testenv.Root(), ".cluster", "chaos"), parts: map[string]*part{}}
	c.kubeconfig = filepath.Join(c.dir, "kubeconfig")
	c.script(t, "down") // of a run that was cut short
	t.Cleanup(func() {
		c.script(t, "down")
		c.ended.Wait()
	})
	c.script(t, "up")
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	must(t, err)
	config.QPS = -1
	c.config = config
	c.clients = kubernetes.NewForConfigOrDie(config)
	c.extensions = apiextensions.NewForConfigOrDie(config)
	other := rest.CopyConfig(config)
	other.UserAgent = "chaos"
	other.Impersonate = rest.ImpersonationConfig{UserName: "chaos", Groups: []string{"system:masters", "podinfolookup:editors"}}
	c.dynamic = dynamic.NewForConfigOrDie(other)
	port, err := os.ReadFile(filepath.Join(c.work(), "port"))
	must(t, err)
	c.etcd = "http://127.0.0.1:" + strings.TrimSpace(string(port))
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok-controller"} {
		p, err := c.find(name)
		must(t, err)
		c.parts[name] = p
	}
	// As in kubeadm: the policy of yaml/ matches the garbage collector by its own
	// service account, not by the administrator's login that kwokctl gives it.
	manager := c.parts["kube-controller-manager"]
	manager.argv = append(manager.argv, "--use-service-account-credentials=true")
	must(t, c.kill(t.Context(), manager.name))
	must(t, c.start(t.Context(), manager.name))
	return c
}

func (c *cluster) work() string { return filepath.Join(c.dir, ".kwok") }

func (c *cluster) in(name string) string {
	return filepath.Join(c.work(), "clusters", "podinfolookup", name)
}

func (c *cluster) script(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(testenv.Root(), "hack", "cluster", "cluster.sh"), args...)
	cmd.Env = append(os.Environ(), "CLUSTER_DIR="+c.dir, "NODES="+strconv.Itoa(nodes))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cluster.sh %s: %v\n%s", args, err, out)
	}
}

func (c *cluster) kubectl(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(testenv.Root(), ".cluster", "bin", "kubectl"), append([]string{"--kubeconfig=" + c.kubeconfig}, args...)...)
	cmd.Dir = testenv.Root()
	cmd.Env = []string{"HOME=" + c.dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", args, err, out)
	}
	return nil
}

// find reads off /proc how a part was started.
func (c *cluster) find(name string) (*part, error) {
	text, err := os.ReadFile(filepath.Join(c.in("pids"), name+".pid"))
	if err != nil {
		return nil, err
	}
	p := &part{name: name}
	if p.pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return nil, err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	if err != nil {
		return nil, err
	}
	p.argv = strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	p.dir, err = os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.pid))
	return p, err
}

// alive reports whether a part runs; a zombie does not.
func (p *part) alive() bool {
	if p.exited != nil {
		select {
		case <-p.exited:
			return false
		default:
			return true
		}
	}
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
	return err == nil
}

// kill ends a part as a crash of its machine would. One that has ended by itself
// stays so.
func (c *cluster) kill(ctx context.Context, name string) error {
	p := c.parts[name]
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, testenv.Poll, testenv.Patience, true, func(context.Context) (bool, error) { return !p.alive(), nil })
}

// start starts a part that has ended, as it was started before.
func (c *cluster) start(ctx context.Context, name string) error {
	p := c.parts[name]
	log, err := os.OpenFile(filepath.Join(c.in("logs"), name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.argv[0], p.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	p.pid, p.exited = cmd.Process.Pid, make(chan struct{})
	exited := p.exited
	c.ended.Go(func() {
		defer close(exited)
		_ = cmd.Wait() // it is killed in the end
	})
	return nil
}

// heal starts whatever part has ended, and waits until the API server is well.
func (c *cluster) heal(ctx context.Context) (restarted []string, err error) {
	for name, p := range c.parts {
		if !p.alive() {
			restarted = append(restarted, name)
			if err := c.start(ctx, name); err != nil {
				return restarted, err
			}
		}
	}
	return restarted, c.ready(ctx)
}

func (c *cluster) ready(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, testenv.Poll, giveUp, true, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		last = c.clients.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return last == nil, nil
	})
	return errors.Join(err, last)
}

// ask speaks to etcd through the JSON form of its API.
func (c *cluster) ask(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcd+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return errors.Join(err, fmt.Errorf("etcd: %s: %s: %s", path, response.Status, text))
	}
	return json.Unmarshal(text, answer)
}

// compact makes etcd forget all versions but the present ones.
func (c *cluster) compact(ctx context.Context) error {
	var now struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := c.ask(ctx, "/v3/kv/range", map[string]any{"key": []byte("/")}, &now); err != nil {
		return err
	}
	return c.ask(ctx, "/v3/kv/compaction", map[string]any{"revision": now.Header.Revision, "physical": true}, &struct{}{})
}

// full raises or clears etcd's alarm of a full disk: while it is up, etcd takes
// no writes but those that delete.
func (c *cluster) full(ctx context.Context, on bool) error {
	action := map[bool]string{true: "ACTIVATE", false: "DEACTIVATE"}[on]
	var member struct {
		Header struct {
			Member string `json:"member_id"`
		} `json:"header"`
	}
	if err := c.ask(ctx, "/v3/maintenance/status", map[string]any{}, &member); err != nil {
		return err
	}
	return c.ask(ctx, "/v3/maintenance/alarm", map[string]any{"action": action, "memberID": member.Header.Member, "alarm": "NOSPACE"}, &struct{}{})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
