package cli_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weiyuanke/PodInfoLookup/test/testenv"
)

// failure is how a start that cannot succeed must end: at once, with one line
// that names the cause and the remedy.
type failure struct {
	wantCode   int
	wantCause  string // regular expression
	wantRemedy string
}

// startTimeout is the program's own bound of 10 s, and something for a slow machine.
const startTimeout = 20 * time.Second

func (f *failure) check(t *testing.T, p *testenv.Program) {
	t.Helper()
	code := p.Wait(t, startTimeout)
	stderr := p.Stderr.String()
	if code != f.wantCode {
		t.Errorf("exit code %d, want %d", code, f.wantCode)
	}
	if !strings.HasPrefix(stderr, "podinfolookup: ") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("want one line that begins with %q, got:\n%s", "podinfolookup: ", stderr)
	}
	if !regexp.MustCompile(f.wantCause).MatchString(stderr) || !strings.Contains(stderr, f.wantRemedy) {
		t.Errorf("want the cause %q and the remedy %q in:\n%s", f.wantCause, f.wantRemedy, stderr)
	}
	if diff := cmp.Diff("", p.Stdout.String()); diff != "" {
		t.Errorf("standard output (-want +got):\n%s", diff)
	}
}

func TestWrongUsageIsToldOfInOneLine(t *testing.T) {
	t.Parallel()
	used, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = used.Close() })
	tests := []struct {
		name string
		args []string
		failure
	}{
		{"an unknown flag", []string{"--kubeconfi=x"}, failure{2, `unknown flag: --kubeconfi`, "see --help"}},
		{"an unknown short flag", []string{"-k"}, failure{2, `unknown shorthand flag: 'k'`, "see --help"}},
		{"an argument", []string{"default"}, failure{2, `unexpected argument "default"`, "only flags are taken, see --help"}},
		{"a flag without its value", []string{"--kubeconfig"}, failure{2, `flag needs an argument: --kubeconfig`, "see --help"}},
		{"a number that is none", []string{"--workers=many"}, failure{2, `invalid argument "many" for "--workers"`, "see --help"}},
		{"no workers", []string{"--workers=0"}, failure{2, `--workers=0`, "at least 1 is needed"}},
		{"workers below zero", []string{"--workers=-1"}, failure{2, `--workers=-1`, "at least 1 is needed"}},
		{"requests below zero", []string{"--kube-api-qps=-1"}, failure{2, `--kube-api-qps=-1`, "0 sets no limit"}},
		{"requests that are no number", []string{"--kube-api-qps=NaN"}, failure{2, `--kube-api-qps=NaN`, "0 sets no limit"}},
		{"requests without end", []string{"--kube-api-qps=Inf"}, failure{2, `--kube-api-qps=\+Inf`, "0 sets no limit"}},
		{"a burst below zero", []string{"--kube-api-burst=-1"}, failure{2, `--kube-api-burst=-1`, "must not be negative"}},
		{"a namespace in capitals", []string{"--namespace=Default"}, failure{2, `--namespace="Default"`, "must consist of lower case"}},
		{"a namespace with a slash", []string{"--namespace=default/nginx"}, failure{2, `--namespace="default/nginx"`, "must consist of lower case"}},
		{"an over-long namespace", []string{"--namespace=" + strings.Repeat("n", 64)}, failure{2, `--namespace="n{64}"`, "no more than 63"}},
		{"an empty namespace", []string{"--namespace="}, failure{2, `--namespace is empty`, "leave the flag out for all"}},
		{"an empty namespace among others", []string{"--namespace=default,"}, failure{2, `--namespace=""`, "must consist of lower case"}},
		{"two mistakes at once", []string{"--workers=0", "--namespace=A"}, failure{2, `--workers=0.*; --namespace="A"`, "at least 1 is needed"}},
		{"an unknown logging format", []string{"--logging-format=xml"}, failure{2, `Unsupported log format`, "see --help"}},
		{"a verbosity that is none", []string{"-v=high"}, failure{2, `invalid argument "high" for "-v, --v"`, "see --help"}},
		{"an address in use", []string{"--bind-address=" + used.Addr().String()},
			failure{1, `--bind-address=127.0.0.1:\d+: .*address already in use`, "choose another address, or stop what uses it"}},
		{"an address without a port", []string{"--bind-address=localhost"}, failure{2, `--bind-address=localhost: .*missing port`, "HOST:PORT is needed"}},
		{"a certificate without its key", []string{"--tls-cert-file=f"}, failure{2, `--tls-cert-file=f --tls-private-key-file=:`, "give both or neither"}},
		{"a log with tokens in it", []string{"--bind-address=:0", "-v=8"}, failure{2, `-v or --vmodule of 8 would log whole objects and the tokens`, "at most 7 is taken"}},
		{"an address of another machine", []string{"--bind-address=192.0.2.1:9090"},
			failure{1, `--bind-address=192.0.2.1:9090: .*cannot assign requested address`, "choose another address"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.check(t, command(t, append([]string{"--kubeconfig=" + env.Kubeconfig}, test.args...)...).Start(t))
		})
	}
}

func TestAKubeconfigThatCannotBeUsedIsToldOfInOneLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		content string   // of the kubeconfig; "" is none
		args    []string // FILE is replaced by its path
		failure
	}{
		{"no kubeconfig at all", "", nil, failure{1, `no cluster is configured in \S+/\.kube/config`, "pass --kubeconfig=FILE"}},
		{"a file that is missing", "", []string{"--kubeconfig=FILE"}, failure{1, `kubeconfig: stat \S+/kubeconfig: no such file`, "correct the path"}},
		{"a folder", "", []string{"--kubeconfig=/"}, failure{1, `kubeconfig: .*is a directory`, "kubectl config view"}},
		{"no YAML", "\tnothing: [", []string{"--kubeconfig=FILE"}, failure{1, `kubeconfig: .*/kubeconfig.*yaml`, "kubectl config view"}},
		{"other YAML", "apiVersion: v1\nkind: Pod\n", []string{"--kubeconfig=FILE"}, failure{1, `kubeconfig: .*Pod`, "kubectl config view"}},
		{"an empty file", "\n", []string{"--kubeconfig=FILE"}, failure{1, `no cluster is configured in \S+/kubeconfig`, "pass --kubeconfig=FILE"}},
		{"an unknown context", twoContexts, []string{"--kubeconfig=FILE", "--context=three"},
			failure{1, `kubeconfig: context "three" does not exist`, "kubectl config get-contexts"}},
		{"no current context", twoContexts, []string{"--kubeconfig=FILE"}, failure{1, `no cluster is configured in \S+/kubeconfig`, "--context"}},
		{"a context without its cluster", twoContexts, []string{"--kubeconfig=FILE", "--context=two"},
			failure{1, `no cluster is configured in \S+/kubeconfig`, "--context"}},
		{"a certificate file that is missing", noAuthority, []string{"--kubeconfig=FILE"},
			failure{1, `kubeconfig: .*unable to read certificate-authority \S+/nowhere.crt`, "correct the path"}},
		{"an address that is none", strings.ReplaceAll(twoContexts, "127.0.0.1:1", "%"), []string{"--kubeconfig=FILE", "--context=one"},
			failure{1, `kubeconfig: .*invalid URL`, "kubectl config view"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "kubeconfig")
			if test.content != "" {
				if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := slices.Clone(test.args)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "FILE", path)
			}
			test.check(t, command(t, args...).Start(t))
		})
	}
}

const twoContexts = `apiVersion: v1
kind: Config
clusters: [{name: one, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: one, context: {cluster: one}}, {name: two, context: {cluster: two}}]
`

const noAuthority = `apiVersion: v1
kind: Config
clusters: [{name: one, cluster: {server: "https://127.0.0.1:1", certificate-authority: nowhere.crt}}]
contexts: [{name: one, context: {cluster: one}}]
current-context: one
`

func TestAnUnreadableKubeconfigIsToldOfInOneLine(t *testing.T) {
	t.Parallel()
	path := env.Login().Write(t)
	if err := os.Chmod(path, 0o000); err != nil {
		t.Fatal(err)
	}
	p := command(t, "--kubeconfig="+path)
	if os.Getuid() == 0 { // root reads everything
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		id, err := strconv.ParseUint(nobody.Uid, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		p.Cmd().SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(id), Gid: uint32(id)}}
	}
	(&failure{1, `kubeconfig: .*permission denied`, "make the file readable"}).check(t, p.Start(t))
}

func TestAServerThatCannotBeUsedIsToldOfInOneLine(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "<html>\n<p>It works!\n</html>\n")
	}))
	t.Cleanup(page.Close)
	tests := []struct {
		name   string
		change func(*testenv.Login)
		failure
	}{
		{"no such host", func(l *testenv.Login) { l.Cluster.Server = "https://no..host" }, // which no resolver is asked for
			failure{1, `no\.\.host: no such host`, "check the kubeconfig's server address"}},
		{"a web page answers", func(l *testenv.Login) { l.Cluster.Server = page.URL },
			failure{1, `unable to parse the server version`, "check the kubeconfig's server address"}},
		{"HTTP answers where TLS is asked", func(l *testenv.Login) { l.Cluster.Server = strings.Replace(page.URL, "http", "https", 1) },
			failure{1, `server gave HTTP response to HTTPS client`, "check the kubeconfig's server address"}},
		{"another certificate authority", func(l *testenv.Login) { l.Cluster.CertificateAuthorityData = otherAuthority(t) },
			failure{1, `certificate signed by unknown authority`, "certificate-authority does not belong to this server"}},
		{"a certificate for another name", func(l *testenv.Login) { l.Cluster.TLSServerName = "other.example.com" },
			failure{1, `certificate is valid for .*, not other\.example\.com`, "does not belong to this server"}},
		{"credentials that are not valid", func(l *testenv.Login) { l.User = &clientcmdapi.AuthInfo{Token: "wrong"} },
			failure{1, `answered 401`, "the kubeconfig's credentials are not (or no longer) valid"}},
		{"no credentials", func(l *testenv.Login) { l.User = &clientcmdapi.AuthInfo{} },
			failure{1, `answered 401|forbidden: User "system:anonymous"`, "credentials"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			login := env.Login()
			test.change(&login)
			test.check(t, command(t, "--kubeconfig="+login.Write(t)).Start(t))
		})
	}
}

// TestAServerThatIsAwayIsWaitedFor covers errors that may pass. The program
// serves, logs once what it waits for, and stops on a signal.
func TestAServerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	silent := blackHole(t)
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "first line\nsecond line", http.StatusInternalServerError)
	}))
	t.Cleanup(failing.Close)
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "later", http.StatusTooManyRequests)
	}))
	t.Cleanup(busy.Close)
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(cut.Close)
	tests := []struct{ name, server, cause, remedy string }{
		{"nobody listens", "https://127.0.0.1:1", `127\.0\.0\.1:1: .*connection refused`, "check the kubeconfig's server address, and that the API server runs"},
		{"TLS is never answered", "https://" + silent, `no answer within 10s|TLS handshake timeout`, "check the "},
		{"HTTP is never answered", "http://" + silent, `no answer within 10s`, "check the server's address and the network"},
		{"a server that fails answers", failing.URL, `an error on the server`, "check the kubeconfig's server address"},
		{"a server that is busy answers", busy.URL, `the server has received too many requests`, "check the kubeconfig's server address"},
		{"connections are cut", cut.URL, `EOF|no answer within 10s`, "check the "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			login := env.Login()
			login.Cluster.Server = test.server
			p := command(t, "--kubeconfig="+login.Write(t)).Start(t)
			testenv.Eventually(t, func(context.Context) error { return p.Stderr.Has("Waiting for the API server, trying again") })
			if stderr := p.Stderr.String(); !regexp.MustCompile(test.cause).MatchString(stderr) || !strings.Contains(stderr, test.remedy) {
				t.Errorf("want the cause %q and the remedy %q in:\n%s", test.cause, test.remedy, stderr)
			}
			for path, want := range map[string]int{"/livez": 200, "/readyz": 503, "/": 503, "/v1/pods/default/nginx": 503, "/metrics": 503} {
				code, body, err := p.Get(t.Context(), t, path)
				if err != nil || code != want {
					t.Errorf("%s: %d %q %v, want %d", path, code, body, err, want)
				}
				if path == "/readyz" && !regexp.MustCompile(`^waiting for the API server: .*(`+test.cause+`).*\n$`).MatchString(body) {
					t.Errorf("/readyz: %q", body)
				}
			}
			p.Signal(t, syscall.SIGINT)
			if code := p.Wait(t, testenv.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if n := strings.Count(p.Stderr.String(), "Waiting for the API server"); n != 1 {
				t.Errorf("it is logged %d times:\n%s", n, p.Stderr)
			}
			if diff := cmp.Diff("", p.Stdout.String()); diff != "" {
				t.Errorf("standard output (-want +got):\n%s", diff)
			}
		})
	}
}

// blackHole returns the address of a listener that accepts and says nothing.
func blackHole(t *testing.T) string {
	t.Helper()
	// What nobody accepts is accepted by the kernel.
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

// otherAuthority returns a certificate that has nothing to do with the cluster.
func otherAuthority(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func TestEachMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	tests := []struct{ group, resource, verb string }{
		{"", "pods", "list"},
		{"", "pods", "watch"},
		{"stable.example.com", "testcrs", "get"},
		{"stable.example.com", "testcrs", "list"},
		{"stable.example.com", "testcrs", "watch"},
		{"stable.example.com", "testcrs", "create"},
		{"stable.example.com", "testcrs", "update"},
		{"stable.example.com", "testcrs", "delete"},
	}
	all := map[string][]string{}
	for _, right := range tests {
		all[right.resource] = append(all[right.resource], right.verb)
	}
	for _, test := range tests {
		t.Run(test.verb+" "+test.resource, func(t *testing.T) {
			t.Parallel()
			pods, testcrs := slices.Clone(all["pods"]), slices.Clone(all["testcrs"])
			without := func(verbs []string) []string {
				return slices.DeleteFunc(verbs, func(verb string) bool { return verb == test.verb })
			}
			missing := test.verb + " " + test.resource
			if test.group == "" {
				pods = without(pods)
			} else {
				testcrs = without(testcrs)
				missing += "." + test.group
			}
			kubeconfig := userWith(t, "without-"+test.verb+"-"+test.resource,
				rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: pods},
				rbacv1.PolicyRule{APIGroups: []string{"stable.example.com"}, Resources: []string{"testcrs"}, Verbs: testcrs})
			(&failure{1, `forbidden: this user may not ` + regexp.QuoteMeta(missing) + `: `, "kubectl apply -f yaml/rbac.yaml"}).
				check(t, command(t, "--kubeconfig="+kubeconfig).Start(t))
		})
	}
}

func TestStart_RightsBeyondLoopback(t *testing.T) {
	t.Parallel()
	pods := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}}
	testcrs := rbacv1.PolicyRule{APIGroups: []string{"stable.example.com"}, Resources: []string{"testcrs"},
		Verbs: []string{"get", "list", "watch", "create", "update", "delete"}}
	tokens := rbacv1.PolicyRule{APIGroups: []string{"authentication.k8s.io"}, Resources: []string{"tokenreviews"}, Verbs: []string{"create"}}
	access := rbacv1.PolicyRule{APIGroups: []string{"authorization.k8s.io"}, Resources: []string{"subjectaccessreviews"}, Verbs: []string{"create"}}
	const mayTokens, mayAccess = `create tokenreviews\.authentication\.k8s\.io`, `create subjectaccessreviews\.authorization\.k8s\.io`
	tests := []struct {
		name    string
		rules   []rbacv1.PolicyRule
		missing string
		remedy  string
	}{
		{"neither", []rbacv1.PolicyRule{pods, testcrs}, mayTokens + ", " + mayAccess, "kubectl apply -f yaml/rbac-lookup.yaml and use"},
		{"not-the-first", []rbacv1.PolicyRule{pods, testcrs, access}, mayTokens, "kubectl apply -f yaml/rbac-lookup.yaml and use"},
		{"not-the-second", []rbacv1.PolicyRule{pods, testcrs, tokens}, mayAccess, "kubectl apply -f yaml/rbac-lookup.yaml and use"},
		{"only-these", []rbacv1.PolicyRule{testcrs, tokens}, `list pods, watch pods, ` + mayAccess, "kubectl apply -f yaml/rbac.yaml -f yaml/rbac-lookup.yaml and use"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			kubeconfig := userWith(t, "beyond-loopback-"+test.name, test.rules...)
			(&failure{1, `forbidden: this user may not ` + test.missing + `: `, test.remedy}).
				check(t, command(t, "--kubeconfig="+kubeconfig, "--bind-address=:0").Start(t))
		})
	}
}

func TestStart_RightsOfServicesAndNodes(t *testing.T) {
	t.Parallel()
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list", "watch"}},
		{APIGroups: []string{"stable.example.com"}, Resources: []string{"testcrs"}, Verbs: []string{"get", "list", "watch", "create", "update", "delete"}},
	}
	kubeconfig := userWith(t, "without-services", rules...)
	(&failure{1, `forbidden: this user may not list services, watch services, list endpointslices\.discovery\.k8s\.io, ` +
		`watch endpointslices\.discovery\.k8s\.io, list nodes, watch nodes: `, "kubectl apply -f yaml/rbac-services.yaml -f yaml/rbac-nodes.yaml and use"}).
		check(t, command(t, "--kubeconfig="+kubeconfig, "--services", "--nodes").Start(t))
}

func TestAllMissingRightsAreNamedWithTheirNamespace(t *testing.T) {
	t.Parallel()
	kubeconfig := userWith(t, "without-anything")
	(&failure{1, `may not list pods in namespace a, watch pods in namespace a, list pods in namespace b, .*` +
		`watch testcrs\.stable\.example\.com, create .*, update .*, delete testcrs\.stable\.example\.com: `, "kubectl apply -f yaml/rbac.yaml"}).
		check(t, command(t, "--kubeconfig="+kubeconfig, "--namespace=b", "--namespace=a").Start(t))
}

// userWith returns the kubeconfig of a new user with these cluster-wide rights.
func userWith(t *testing.T, name string, rules ...rbacv1.PolicyRule) string {
	t.Helper()
	kubeconfig := env.User(t, name).Write(t)
	grant(t, name, metav1.NamespaceAll, rules...)
	return kubeconfig
}

// grant gives a user rights in one namespace or in all, and returns once they
// are in force.
func grant(t *testing.T, name, namespace string, rules ...rbacv1.PolicyRule) {
	t.Helper()
	meta := metav1.ObjectMeta{GenerateName: "test-"}
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole"}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}}
	rbac := env.Clients.RbacV1()
	role, err := rbac.ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ref.Name = role.Name
	if namespace == metav1.NamespaceAll {
		_, err = rbac.ClusterRoleBindings().Create(t.Context(),
			&rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	} else {
		_, err = rbac.RoleBindings(namespace).Create(t.Context(),
			&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subjects}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User: name,
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: namespace, Verb: verb, Group: rule.APIGroups[0], Resource: rule.Resources[0],
				},
			}}
			testenv.Eventually(t, func(ctx context.Context) error {
				answer, err := env.Clients.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
				if err == nil && !answer.Status.Allowed {
					err = fmt.Errorf("%s may not %s %s yet", name, verb, rule.Resources[0])
				}
				return err
			})
		}
	}
}
