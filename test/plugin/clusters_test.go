package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weiyuanke/PodInfoLookup/internal/printable"
	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// otherCluster starts an API server with an etcd of its own, without Testcrs.
func otherCluster(t *testing.T) (testenv.Login, kubernetes.Interface) {
	t.Helper()
	log.SetLogger(logr.Discard()) // envtest's
	other := &envtest.Environment{BinaryAssetsDirectory: filepath.Join(testenv.Root(), ".cluster", "bin")}
	t.Cleanup(func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := other.Start()
	if err != nil {
		t.Fatal(err)
	}
	return loginOf(config), kubernetes.NewForConfigOrDie(config)
}

func loginOf(config *rest.Config) testenv.Login {
	return testenv.Login{
		Cluster: &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData},
		User:    &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData},
	}
}

// contexts returns a kubeconfig with a context for each login.
func contexts(t *testing.T, logins map[string]testenv.Login) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	for name, login := range logins {
		config.Clusters[name], config.AuthInfos[name] = login.Cluster, login.User
		config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// listen returns the address of a server that never answers. After end it is refused.
func listen(t *testing.T) (address string, end func()) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end = func() { _ = listener.Close() }
	t.Cleanup(end)
	return listener.Addr().String(), end
}

// createIn creates a Pod in a cluster with a kube-apiserver of its own.
func createIn(t *testing.T, clients kubernetes.Interface, p *corev1.Pod) {
	t.Helper()
	p = p.DeepCopy()
	p.UID = ""
	p.Spec.TerminationGracePeriodSeconds = new(int64)
	pods, status := clients.CoreV1().Pods(p.Namespace), p.Status
	created, err := pods.Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	created.Status = status
	if _, err := pods.UpdateStatus(t.Context(), created, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// nameCluster gives the cluster of the tests a name, as --cluster-name does.
func nameCluster(t *testing.T, name string) {
	t.Helper()
	lease(t, "podinfolookup", time.Now())
	annotateLease(t, "podinfolookup", "cluster-name", name)
}

// annotateLease adds what a controller writes into its heartbeat.
func annotateLease(t *testing.T, name, key, value string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"stable.example.com/%s":%q}}}`, key, value)
	leases := env.Clients.CoordinationV1().Leases("podinfolookup")
	if _, err := leases.Patch(t.Context(), name+".heartbeat", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// clusterKeys makes the plugin print clusters and keys of Pods.
var clusterKeys = []string{"-o", `custom-columns=C:.metadata.annotations.stable\.example\.com/cluster,POD:.spec.podkey`, "--no-headers"}

// ages are those of Pods that were just created, or of Testcrs without a time.
var ages = regexp.MustCompile(`(<unknown>|[0-9]+s)(?m:$)`)

func TestSeveralClusters(t *testing.T) {
	begun := time.Now()
	west, inWest := otherCluster(t)
	t.Logf("another cluster took %s", time.Since(begun))
	silent, _ := listen(t)
	dead, end := listen(t)
	end()
	stranger := env.Login()
	stranger.User = &clientcmdapi.AuthInfo{Token: "nonsense"}
	file := contexts(t, map[string]testenv.Login{
		"east": loginOf(env.AdminConfig), "west": west, "refused": stranger, "again": loginOf(env.AdminConfig),
		"dead":   {Cluster: &clientcmdapi.Cluster{Server: "http://" + dead}, User: &clientcmdapi.AuthInfo{}},
		"silent": {Cluster: &clientcmdapi.Cluster{Server: "http://" + silent}, User: &clientcmdapi.AuthInfo{}},
	})
	create(t, pod("default/here", "10.31.0.7"), pod("default/twin", "10.31.0.8"), pod("default/exactly", "10.31.0.9"))
	owned := pod("default/twin-0", "10.31.0.10")
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "twin", UID: "u", Controller: new(true)}}
	for _, p := range []*corev1.Pod{pod("default/there", "10.31.0.7"), owned, pod("default/exactly-not", "10.31.0.11")} {
		createIn(t, inWest, p)
	}
	const (
		note      = "note: cluster west: there are no Testcrs in this cluster: reading the Pods\n"
		notFound  = "error: no Pod matches %q: looked for it as name, node, workload in all namespaces of %s%s\n"
		isSilent  = "warning: cluster silent: no answer within 1s: check that it can be reached, or give it longer, such as --request-timeout=30s\n"
		isRefused = "warning: cluster refused: You must be logged in to the server (Unauthorized)\n"
	)
	isDead := "warning: cluster dead: The connection to the server " + dead + " was refused - did you specify the right host or port?\n"
	tests := []struct {
		name string
		args []string
		raw  bool // without clusterKeys
		in   string
		want result
	}{
		{name: "a table of both", args: []string{"--contexts=east,west", "10.31.0.7", "10.31.0.8"}, raw: true,
			want: result{Stderr: note, Stdout: `CLUSTER   QUERY       NAMESPACE   NAME    STATUS    READY   RESTARTS   IP          NODE       WORKLOAD   AGE
east      10.31.0.7   default     here    Running   0/1     0          10.31.0.7   worker-1   <none>     AGE
west      10.31.0.7   default     there   Running   0/1     0          10.31.0.7   worker-1   <none>     AGE
east      10.31.0.8   default     twin    Running   0/1     0          10.31.0.8   worker-1   <none>     AGE
`}},
		{name: "in the order given", args: []string{"--contexts=west,east,west", "10.31.0.7"},
			want: result{Stderr: note, Stdout: "west   default/there\neast   default/here\n"}},
		{name: "in the second alone", args: []string{"--contexts=east,west", "10.31.0.11"}, want: result{Stderr: note, Stdout: "west   default/exactly-not\n"}},
		{name: "one context", args: []string{"--contexts=east", "10.31.0.7"}, want: result{Stdout: "east   default/here\n"}},
		{name: "the same cluster twice", args: []string{"--contexts=east,again", "10.31.0.7"},
			want: result{Stdout: "east    default/here\nagain   default/here\n"}},
		{name: "in none", args: []string{"--contexts=east,west", "nobody"},
			want: result{Code: 1, Stderr: note + fmt.Sprintf(notFound, "nobody", "clusters east, west", "")}},
		{name: "one of two questions in none", args: []string{"--contexts=east,west", "nobody", "10.31.0.7"},
			want: result{Code: 1, Stderr: note + fmt.Sprintf(notFound, "nobody", "clusters east, west", ""), Stdout: "east   default/here\nwest   default/there\n"}},
		{name: "in a namespace", args: []string{"--contexts=east,west", "-n", "shop", "--by=name", "here"},
			want: result{Code: 1, Stderr: note + fmt.Sprintf("error: no Pod matches %q: looked for it as name in namespace %q of clusters east, west; "+
				"cluster east: there is no namespace %[2]q; cluster west: there is no namespace %[2]q\n", "here", "shop")}},
		{name: "found, and one is dead", args: []string{"--contexts=dead,east", "10.31.0.7"},
			want: result{Stderr: isDead, Stdout: "east   default/here\n"}},
		{name: "not found, and one is dead", args: []string{"--contexts=dead,east", "nobody"},
			want: result{Code: 1, Stderr: isDead + fmt.Sprintf(notFound, "nobody", "cluster east", "; not searched: dead")}},
		{name: "all are dead", args: []string{"--contexts=dead,refused", "10.31.0.7"},
			want: result{Code: 1, Stderr: isDead + isRefused + "error: no cluster has answered: nothing was searched\n"}},
		{name: "all contexts", args: []string{"--all-contexts", "--request-timeout=1s", "10.31.0.7"},
			want: result{Stderr: isDead + isRefused + isSilent + note, Stdout: "again   default/here\neast    default/here\nwest    default/there\n"}},
		{name: "a silent one has 3 s", args: []string{"--contexts=silent,east", "10.31.0.7"},
			want: result{Stderr: strings.Replace(isSilent, "1s", "3s", 1), Stdout: "east   default/here\n"}},
		{name: "different readings", args: []string{"--contexts=east,west", "twin"}, want: result{Stdout: "east   default/twin\nwest   default/twin-0\n",
			Stderr: note + "note: \"twin\" was read as the name in cluster east, as the workload in cluster west\n"}},
		{name: "TYPE NAME", args: []string{"--contexts=east,west", "sts", "twin"}, want: result{Stderr: note, Stdout: "west   default/twin-0\n"}},
		{name: "two words of which the first is found in one", args: []string{"--contexts=west,east", "here", "twin-0"},
			want: result{Stderr: note, Stdout: "east   default/here\nwest   default/twin-0\n"}},
		{name: "a part counts only if nothing else matches", args: []string{"--contexts=west,east", "exactly"},
			want: result{Stderr: note, Stdout: "east   default/exactly\n"}},
		{name: "a part in both", args: []string{"--contexts=east,west", "exactl"}, want: result{Stdout: "east   default/exactly\nwest   default/exactly-not\n",
			Stderr: note + "note: cluster east: \"exactl\" was read as a part of the name of 1 Pod\n" +
				"note: cluster west: \"exactl\" was read as a part of the name of 1 Pod\n"}},
		{name: "a similar name", args: []string{"--contexts=east,west", "exactly-nut"}, want: result{Code: 1,
			Stderr: note + "error: no Pod matches \"exactly-nut\": looked for it as name, node, workload in all namespaces of clusters east, west; " +
				"did you mean default/exactly-not in cluster west?\n"}},
		{name: "a line that cannot be read", args: []string{"--contexts=east,west", "-"}, in: "?\n10.31.0.7\n",
			want: result{Code: 1, Stdout: "east   default/here\nwest   default/there\n",
				Stderr: note + "error: line 1: \"?\" is neither an IP, a UID, a container ID nor a name: say what it is with --by or another parameter\n"}},
		{name: "a list of facts of one Pod", args: []string{"--contexts=east,west", "10.31.0.7,default/here"},
			want: result{Code: 0, Stderr: note, Stdout: "east   default/here\nwest   default/there\n"}},
		{name: "JSONPath of a list", args: []string{"--contexts=east", "10.31.0.7", "-o", `jsonpath={.kind} {.items[*].metadata.annotations.stable\.example\.com/cluster}`},
			raw: true, want: result{Stdout: "List east"}},
		{name: "names", args: []string{"--contexts=east", "10.31.0.7", "-o", "name"}, raw: true, want: result{Code: 2,
			Stderr: "error: -o name has no place for the cluster: use -o pod, or -o json, -o jsonpath or -o custom-columns with .metadata.annotations.stable\\.example\\.com/cluster\n"}},
		{name: "Pods", args: []string{"--contexts=east,west", "10.31.0.7", "-o", "pod"}, raw: true, want: result{Stderr: note,
			Stdout: "--kubeconfig=" + file + " --context=east -n default pod/here\n--kubeconfig=" + file + " --context=west -n default pod/there\n"}},
		{name: "annotate", args: []string{"annotate", "--all-contexts"}, raw: true, want: result{Code: 2,
			Stderr: "error: annotate labels from one cluster, because several may have the same IP: choose it by --context\n"}},
		{name: "an unknown context", args: []string{"--contexts=nowhere", "10.31.0.7"},
			want: result{Code: 2, Stderr: "error: --contexts: there is no context \"nowhere\": there are again, dead, east, refused, silent and 1 others\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := test.args
			if !test.raw {
				args = slices.Concat(args, clusterKeys)
			}
			got := run(t, file, test.in, args...)
			got.Stdout = ages.ReplaceAllString(got.Stdout, "AGE")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", args, diff)
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		isListOf(t, run(t, file, "", "--contexts=east,west", "10.31.0.7", "-o", "json"), "east", "west")
	})
	t.Run("a Service", func(t *testing.T) {
		got := run(t, file, "", "--contexts=east,west", "10.96.0.1")
		for _, want := range []string{
			" in all namespaces of clusters east, west; ", "; cluster east: 10.96.0.1 is the cluster IP of service default/kubernetes -> 0 Pods", "; cluster west: 10.96.0.1 is ",
		} {
			if got.Code != 1 || !strings.Contains(got.Stderr, want) {
				t.Errorf("%+v, want %q", got, want)
			}
		}
	})
	t.Run("changes", func(t *testing.T) { followsClusters(t, file, inWest) })
}

// isListOf fails unless the output is a list of one object of each cluster.
func isListOf(t *testing.T, got result, clusters ...string) {
	t.Helper()
	var list struct {
		Kind  string
		Items []metav1.PartialObjectMetadata
	}
	if err := json.Unmarshal([]byte(got.Stdout), &list); err != nil {
		t.Fatalf("%v: %+v", err, got)
	}
	var of []string
	for i := range list.Items {
		of = append(of, list.Items[i].Annotations["stable.example.com/cluster"])
	}
	if diff := cmp.Diff(clusters, of); diff != "" || list.Kind != "List" || got.Code != 0 {
		t.Errorf("%+v (-want +got):\n%s", got, diff)
	}
}

// followsClusters checks -w: a Pod in each cluster, one of which then loses its IP.
func followsClusters(t *testing.T, file string, inWest kubernetes.Interface) {
	t.Helper()
	r := start(t, file, slices.Concat([]string{"--contexts=dead,west,east", "10.31.1.7"}, events)...)
	rows := func(want ...string) {
		t.Helper()
		testenv.Eventually(t, func(context.Context) error {
			var got []string
			for line := range strings.Lines(r.Stdout.String()) {
				if f := strings.Fields(line); f[0] != "CLUSTER" {
					got = append(got, strings.Join([]string{f[0], f[1], f[3]}, " "))
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Errorf("(-want +got):\n%s", diff)
			}
			return nil
		})
	}
	testenv.Eventually(t, func(context.Context) error { return r.Stderr.Has("of clusters west, east") })
	createIn(t, inWest, pod("default/late", "10.31.1.7"))
	rows("west ADDED late")
	later := pod("default/later", "10.31.1.7")
	create(t, later)
	rows("west ADDED late", "east ADDED later")
	moved, err := inWest.CoreV1().Pods("default").Get(t.Context(), "late", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	moved.Status.PodIP, moved.Status.PodIPs = "10.31.1.8", []corev1.PodIP{{IP: "10.31.1.8"}}
	if _, err := inWest.CoreV1().Pods("default").UpdateStatus(t.Context(), moved, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	rows("west ADDED late", "east ADDED later", "west DELETED late")
	if code := r.end(); code != 0 {
		t.Errorf("code %d", code)
	}
}

// TestClusterName reads the names from heartbeats.
func TestClusterName(t *testing.T) {
	create(t, pod("market/named", "10.32.0.7"))
	nameCluster(t, "prod-eu")
	limited := env.User(t, "plugin-names")
	grant(t, "plugin-names", "", "pods", []string{"list"})
	file := contexts(t, map[string]testenv.Login{"a": loginOf(env.AdminConfig), "b": loginOf(env.AdminConfig), "c": limited})
	may(t, file, "--context=c", "nobody")
	const noRight = "note: cluster c: you may not list Testcrs: reading the Pods\n"
	tests := []struct {
		name string
		args []string
		want result
	}{
		{name: "found", args: []string{"--contexts=a", "10.32.0.7"}, want: result{Stdout: "prod-eu   market/named\n"}},
		{name: "not found", args: []string{"--contexts=a", "nobody"}, want: result{Code: 1,
			Stderr: "error: no Pod matches \"nobody\": looked for it as name, node, workload in all namespaces of cluster prod-eu\n"}},
		{name: "not found in the only one", args: []string{"--context=a", "-n=default", "nobody"}, want: result{Code: 1,
			Stderr: "error: no Pod matches \"nobody\": looked for it as name, node, workload in namespace \"default\" of cluster prod-eu\n"}},
		{name: "found in the only one", args: []string{"--context=a", "10.32.0.7"}, want: result{Stdout: printable.None + "   market/named\n"}},
		{name: "one that may not be read", args: []string{"--contexts=a,c", "10.32.0.7"},
			want: result{Stdout: "prod-eu   market/named\nc         market/named\n", Stderr: noRight}},
		{name: "the same name", args: []string{"--contexts=a,b", "10.32.0.7"}, want: result{Stdout: "a     market/named\nb     market/named\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, run(t, file, "", slices.Concat(test.args, clusterKeys)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCredentials_OfSeveralClusters: a program that fetches credentials gets no standard
// input, and one that does not end does not hold up the others.
func TestCredentials_OfSeveralClusters(t *testing.T) {
	create(t, pod("market/credentials", "10.33.0.7"))
	withProgram := func(mode clientcmdapi.ExecInteractiveMode, script string) testenv.Login {
		login := loginOf(env.AdminConfig)
		login.User = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: "sh", Args: []string{"-c", script}, InteractiveMode: mode,
		}}
		return login
	}
	file := contexts(t, map[string]testenv.Login{
		"east":  loginOf(env.AdminConfig),
		"slow":  withProgram(clientcmdapi.IfAvailableExecInteractiveMode, "exec 2>/dev/null; while kill -0 $PPID; do sleep 0.1; done"),
		"login": withProgram(clientcmdapi.AlwaysExecInteractiveMode, "read password"),
	})
	args := slices.Concat([]string{"--kubeconfig=" + file, "--all-contexts", "--request-timeout=1s", "10.33.0.7"}, clusterKeys)
	p := program(t, "kubectl-podinfo", args...)
	_, p.Cmd().Stdin = terminal(t)
	p.Start(t)
	code := p.Wait(t, testenv.Patience)
	if code != 0 || p.Stdout.String() != "east   market/credentials\n" {
		t.Errorf("code %d, standard output %q, standard error %q", code, p.Stdout, p.Stderr)
	}
	for _, want := range []string{
		"warning: cluster login: ", "log in with --context first, several clusters are asked at once", "warning: cluster slow: no answer within 1s: ",
	} {
		if err := p.Stderr.Has(want); err != nil {
			t.Error(err)
		}
	}
}
